package itop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"passerelle"
	"passerelle/internal/login"
)

// recorder is a Desk that remembers what it is told, with a spool in memory.
type recorder struct {
	mu       sync.Mutex
	accepted []*passerelle.Event
	looked   []string
	links    map[string]*passerelle.Link // by the broker's key and number
	refuse   error                       // of Accept, Look and Find
	full     error                       // of Put
	puts     int
	content  map[string][]byte // by sum
	pins     map[string]int    // by sum
	wrong    []string          // releases of what was never put
}

func newRecorder() *recorder {
	own := &passerelle.Link{ID: "2", Own: passerelle.Ref{Key: "2", Number: "R-000002"}, State: passerelle.Open,
		Requester: passerelle.Ref{Key: "1505", Number: "R-001516"}, Partner: passerelle.Ref{Key: "10042", Number: "GSN1-1"}}
	return &recorder{links: map[string]*passerelle.Link{"2": own, "R-000002": own}, content: map[string][]byte{}, pins: map[string]int{}}
}

func (d *recorder) Accept(_ context.Context, events ...*passerelle.Event) (*passerelle.Link, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse != nil {
		return nil, d.refuse
	}
	d.accepted = append(d.accepted, events...)
	key := "7"
	for _, c := range events[0].Claims {
		if c.Side == passerelle.Broker {
			key = c.Key
		}
	}
	return &passerelle.Link{ID: key, Own: passerelle.Ref{Key: key, Number: "FRS-" + key}, State: passerelle.Open}, nil
}

func (d *recorder) Look(_ context.Context, contract string, side passerelle.Side, key string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.looked = append(d.looked, fmt.Sprint(contract, "/", side, "/", key))
	return d.refuse
}

func (d *recorder) Find(_ context.Context, _ string, side passerelle.Side, key string) (*passerelle.Link, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse != nil {
		return nil, d.refuse
	}
	if l := d.links[key]; l != nil && side == passerelle.Broker {
		return l, nil
	}
	return nil, passerelle.ErrNotFound
}

func (d *recorder) Put(_ context.Context, r io.Reader) (passerelle.File, error) {
	h := sha256.New()
	var b bytes.Buffer
	n, err := io.Copy(io.MultiWriter(h, &b), r)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.puts++
	if err == nil {
		err = d.full
	}
	if err != nil {
		return passerelle.File{}, fmt.Errorf("spool: %w", err)
	}
	f := passerelle.File{Size: n, Sum: hex.EncodeToString(h.Sum(nil))}
	d.content[f.Sum] = b.Bytes()
	d.pins[f.Sum]++
	return f, nil
}

func (d *recorder) Release(files ...passerelle.File) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range files {
		if d.pins[f.Sum]--; d.pins[f.Sum] < 0 {
			d.wrong = append(d.wrong, f.Sum)
		}
	}
}

func (d *recorder) Open(sum string) (io.ReadCloser, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok := d.content[sum]
	if !ok {
		return nil, passerelle.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// events takes what was accepted so far.
func (d *recorder) events() []*passerelle.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.accepted
	d.accepted = nil
	return out
}

// released fails where a file is still pinned, or was released too often.
func (d *recorder) released(t testing.TB) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for sum, n := range d.pins {
		if n > 0 {
			t.Errorf("file %.8s is still pinned %d times", sum, n)
		}
	}
	for _, sum := range d.wrong {
		t.Errorf("file %q was released but never put", sum)
	}
}

// bytesOf reads a file of an event.
func (d *recorder) bytesOf(t testing.TB, f passerelle.File) string {
	t.Helper()
	r, err := d.Open(f.Sum)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(r)
	return string(b)
}

const (
	faceUser     = "sumit-broker"
	facePassword = "<password>" // as the recordings have it
	faceToken    = "<token>"
)

func faceConfig() Config {
	return Config{Contract: "c", Side: passerelle.Requester, LimitBytes: 1 << 20,
		Door: faceDoor()}
}

// faceDoor lets in the accounts of the tests.
func faceDoor() *login.Door {
	d, err := login.NewGuard(login.Config{}).Door("c/requester", []login.Account{
		{User: faceUser, Password: faceHash}, {User: "gateway", Password: faceHash}, {User: "webhook", Token: login.HashToken(faceToken)}})
	if err != nil {
		panic(err)
	}
	return d
}

// faceHash is that of facePassword, as cheap as one may be.
const faceHash = "$2a$10$sZ6muIkmbtVXCJlwH8VTUOgdfDuSF76dt4/WSVVESJp17cuxEAjpK"

// face is an ITop behind a real server.
type face struct {
	t    testing.TB
	itop *ITop
	desk *recorder
	url  string
}

func newFace(t testing.TB, change ...func(*Config)) *face {
	t.Helper()
	cfg := faceConfig()
	for _, c := range change {
		c(&cfg)
	}
	it, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d := newRecorder()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { it.Serve(w, r, d) }))
	t.Cleanup(func() { srv.Close(); d.released(t) })
	return &face{t, it, d, srv.URL + "/webservices/rest.php"}
}

func partner(c *Config) { c.Side = passerelle.Partner }

// heard is an answer as a caller hears it.
type heard struct {
	status     int
	raw        string
	Code       int
	Message    *string
	Version    string
	Authorized *bool
	Operations []operation
	Objects    map[string]object
	has        map[string]json.RawMessage
}

func (h heard) message() string {
	if h.Message == nil {
		return ""
	}
	return *h.Message
}

func (f *face) do(r *http.Request) heard {
	f.t.Helper()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		f.t.Fatalf("the caller did not hear the answer: %v", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	h := heard{status: res.StatusCode, raw: string(b)}
	if json.Unmarshal(b, &h) != nil || json.Unmarshal(b, &h.has) != nil {
		f.t.Fatalf("not an answer of iTop's shape: %s", b)
	}
	if got := res.Header.Get("Content-Type"); got != "application/json" {
		f.t.Errorf("Content-Type %q", got)
	}
	return h
}

func (f *face) post(contentType, body string, header ...string) heard {
	f.t.Helper()
	r, err := http.NewRequest(http.MethodPost, f.url, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return f.do(r)
}

// hook posts bare JSON with a good token, as a webhook does.
func (f *face) hook(body string) heard {
	f.t.Helper()
	return f.post("application/json", body, "Auth-Token", faceToken)
}

// one is the only event that a webhook gives.
func (f *face) one(body string) *passerelle.Event {
	f.t.Helper()
	h := f.hook(body)
	events := f.desk.events()
	if h.Code != 0 || len(events) != 1 {
		f.t.Fatalf("%s: code %d, %s, %d events", body, h.Code, h.message(), len(events))
	}
	return events[0]
}

// fails posts a webhook that must be refused with a code and words, and must
// leave nothing.
func (f *face) fails(body string, code int, words ...string) {
	f.t.Helper()
	h := f.hook(body)
	if h.Code != code || h.status != http.StatusOK {
		f.t.Errorf("%.200s: HTTP %d, code %d (%s), want code %d", body, h.status, h.Code, h.message(), code)
	}
	for _, w := range words {
		if !strings.Contains(h.message(), w) {
			f.t.Errorf("%.200s: %q does not say %q", body, h.message(), w)
		}
	}
	if n := len(f.desk.events()); n != 0 {
		f.t.Errorf("%.200s: %d events were accepted", body, n)
	}
}
