package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"passerelle"
)

// random gives n bytes that look like nothing, the same each time.
func random(n int) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{1}), int64(n))
}

// TestFileArrives: every length of the last group, and those around a chunk.
func TestFileArrives(t *testing.T) {
	for _, size := range []int{0, 1, 2, 3, 767, 768, 769, 24<<10 - 1, 24 << 10, 24<<10 + 1, 300_001} {
		content, _ := io.ReadAll(random(size))
		for _, form := range []bool{false, true} {
			at, got := listen(t, 200, "")
			s := spoolOf("aa", content)
			if _, err := deliver(open(t, at, func(c *Config) { c.Form = form; c.Password = "p$this->data$" }), attachment(size), s); err != nil {
				t.Fatal(size, form, err)
			}
			var m struct {
				Pwd         string `json:"auth_pwd"`
				Title       string
				Attachments []struct{ Data []byte }
				End         int
			}
			if err := json.Unmarshal([]byte(message(t, (*got)[0], form)), &m); err != nil {
				t.Fatal(size, form, err)
			}
			if !bytes.Equal(m.Attachments[0].Data, content) || m.Title != "$this->data$ é+/= &" || m.Pwd != "p$this->data$" || m.End != 1 || s.readers.Load() != 0 {
				t.Errorf("size %d, form %v: %d bytes arrived, %q, %d readers left open", size, form, len(m.Attachments[0].Data), m.Title, s.readers.Load())
			}
		}
	}
}

// TestBigFilePassesThrough: 20 MB arrive exactly, and are never in memory.
func TestBigFilePassesThrough(t *testing.T) {
	const size = 20 << 20
	for _, form := range []bool{false, true} {
		t.Run(fmt.Sprintf("form=%v", form), func(t *testing.T) {
			m := attachment(size)
			want := sum(expected(m, size, form))
			var got [32]byte
			var length int64
			srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				h := sha256.New()
				_, _ = io.Copy(h, r.Body)
				got, length = [32]byte(h.Sum(nil)), r.ContentLength
			}))
			defer srv.Close()
			a := open(t, srv.URL, func(c *Config) { c.AuthURL, c.User, c.Password, c.Form = "x", "x", "x", form })
			s := &spool{open: map[string]func() io.Reader{"aa": func() io.Reader { return random(size) }}}
			held := allocated()
			if _, err := deliver(a, m, s); err != nil {
				t.Fatal(err)
			}
			if held = allocated() - held; held > 4<<20 {
				t.Errorf("%d bytes of memory were used for %d", held, size)
			}
			if got != want || length <= size {
				t.Errorf("another body arrived, of %d bytes", length)
			}
		})
	}
}

func allocated() uint64 {
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	return ms.TotalAlloc
}

func sum(text string) [32]byte { return sha256.Sum256([]byte(text)) }

// expected is the whole body, made in memory.
func expected(m *passerelle.Message, size int, form bool) string {
	content, _ := io.ReadAll(random(size))
	text := strings.Replace(string(m.Body), passerelle.DataToken, base64.StdEncoding.EncodeToString(content), 1)
	if form {
		text = "version=1.3&json_data=" + url.QueryEscape(text)
	}
	return text
}

// quits fails without a look at the body, and without closing it.
type quits struct{}

func (quits) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("no road") }

// hasty answers without a look at the body.
type hasty struct{ status int }

func (h hasty) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: h.status, Header: http.Header{}, Body: http.NoBody}, nil
}

// TestStreamEnds: however a delivery fails, the file is closed when it returns.
func TestStreamEnds(t *testing.T) {
	reset := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, 100_000)
		panic(http.ErrAbortHandler)
	}))
	defer reset.Close()
	full := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusRequestEntityTooLarge) }))
	defer full.Close()
	stop := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	defer silent.Close()
	defer close(stop)
	for _, c := range []struct {
		name   string
		url    string
		change func(*Config)
		want   passerelle.Class
	}{
		{"no road", "http://x", func(c *Config) { c.Transport = quits{} }, passerelle.Unsure},
		{"answered too early", "http://x", func(c *Config) { c.Transport = hasty{200} }, passerelle.Unsure},
		{"refused before the file", "http://x", func(c *Config) { c.Transport = hasty{401} }, passerelle.Denied},
		{"reset", reset.URL, nil, passerelle.Unsure},
		{"too big", full.URL, nil, passerelle.Stuck},
		{"silence", silent.URL, func(c *Config) { c.Timeout = 50 * time.Millisecond }, passerelle.Unsure},
		{"nobody there", "http://127.0.0.1:1", nil, passerelle.Down},
	} {
		t.Run(c.name, func(t *testing.T) {
			const size = 8 << 20
			s := &spool{open: map[string]func() io.Reader{"aa": func() io.Reader { return random(size) }}}
			_, err := deliver(open(t, c.url, c.change), attachment(size), s)
			fails(t, err, c.want)
			if n := s.readers.Load(); n != 0 {
				t.Errorf("%d readers are open", n)
			}
		})
	}
}

// TestFileFails: what our own side cannot read is told apart from the agent's
// failures; the message had no end, and so no effect.
func TestFileFails(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 100_000)
	broken := io.MultiReader(bytes.NewReader(content[:50_000]), iotest.ErrReader(errors.New("disk")))
	whole := func() io.Reader { return bytes.NewReader(content) }
	second := func(r io.Reader) func() io.Reader { // the first reading counts the bytes
		n := 0
		return func() io.Reader {
			if n++; n == 2 {
				return r
			}
			return whole()
		}
	}
	for _, c := range []struct {
		name string
		sum  string
		open func() io.Reader
		want passerelle.Class
		sent bool
	}{
		{"gone", "bb", nil, passerelle.Stuck, false},
		{"short", "aa", func() io.Reader { return bytes.NewReader(content[1:]) }, passerelle.Stuck, false},
		{"unreadable", "aa", func() io.Reader { return broken }, passerelle.Temporary, false},
		{"unreadable on the way", "aa", second(broken), passerelle.Temporary, true},
		{"shorter on the way", "aa", second(bytes.NewReader(content[1:])), passerelle.Stuck, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked, whole := false, false
			srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, err := io.Copy(io.Discard, r.Body)
				asked, whole = true, err == nil
			}))
			m := attachment(len(content))
			m.Files[0].Sum = c.sum
			s := &spool{open: map[string]func() io.Reader{}}
			if c.open != nil {
				s.open["aa"] = c.open
			}
			_, err := deliver(open(t, srv.URL, nil), m, s)
			srv.Close() // waits for the agent
			e := fails(t, err, c.want)
			if !strings.Contains(e.Error(), "« écran.png »") || e.Ticket != "GSN1-4711" || asked && !c.sent || whole || s.readers.Load() != 0 {
				t.Errorf("%v; asked %v, whole %v, %d readers", e, asked, whole, s.readers.Load())
			}
		})
	}
}

// TestNoPlaceForTheFile: such a message is never sent.
func TestNoPlaceForTheFile(t *testing.T) {
	at, got := listen(t, 200, "")
	none, two := attachment(1), attachment(1)
	none.Body = []byte(`{"title":"\u0024this->data$"}`)
	two.Files = append(two.Files, two.Files[0])
	for _, m := range []*passerelle.Message{none, two} {
		_, err := deliver(open(t, at, func(c *Config) { c.Password = "$this->data$" }), m, spoolOf("aa", []byte("x")))
		fails(t, err, passerelle.Stuck)
	}
	if len(*got) != 0 {
		t.Errorf("%d requests", len(*got))
	}
}

// TestGivenUpBefore: a caller that has given up leaves nothing unknown.
func TestGivenUpBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := open(t, "http://127.0.0.1:1", nil).Deliver(ctx, create(), nil)
	fails(t, err, passerelle.Temporary)
}
