package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"passerelle"
)

// spool holds files in memory, and counts the readers that are still open.
type spool struct {
	passerelle.Spool
	open    map[string]func() io.Reader // by sum
	readers atomic.Int64
}

func spoolOf(sum string, content []byte) *spool {
	return &spool{open: map[string]func() io.Reader{sum: func() io.Reader { return bytes.NewReader(content) }}}
}

func (s *spool) Open(sum string) (io.ReadCloser, error) {
	f := s.open[sum]
	if f == nil {
		return nil, passerelle.ErrNotFound
	}
	s.readers.Add(1)
	return &reader{f(), s}, nil
}

type reader struct {
	io.Reader
	s *spool
}

func (r *reader) Close() error { r.s.readers.Add(-1); return nil }

// heard is a request as an agent got it.
type heard struct {
	*http.Request
	body []byte
}

// listen starts an agent that answers all with a status and a text, and gives
// what it heard.
func listen(t *testing.T, status int, text string) (url string, requests *[]heard) {
	t.Helper()
	requests = new([]heard)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the body: %v", err)
		}
		*requests = append(*requests, heard{r, b})
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/agent.php", requests
}

const (
	user     = "sumit-gw"
	password = `Zx"9/é<q>&+ %42`
)

func open(t *testing.T, url string, change func(*Config)) *Agent {
	t.Helper()
	cfg := Config{Contract: "orleans-tours-gar", Side: passerelle.Partner, URL: url, User: user, Password: password}
	if change != nil {
		change(&cfg)
	}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const withAuth = `{"auth_url":"x","auth_user":"x","auth_pwd":"x",`

func create() *passerelle.Message {
	return &passerelle.Message{Op: "core/create", Kind: passerelle.Create, Body: []byte(withAuth + `"operation":"core/create","output_fields":{"ref":"FRS-000007","id":"7"}}`)}
}

func attachment(size int) *passerelle.Message {
	return &passerelle.Message{Op: "syn/addattachment", Kind: passerelle.Attach, Key: "10042", Number: "GSN1-4711", Files: []passerelle.File{{Name: "écran.png", Sum: "aa", Size: int64(size)}},
		Body: []byte(withAuth + `"title":"\u0024this->data$ é+/= &","attachments":[{"data":"$this->data$","filename":"écran.png"}],"end":1}`)}
}

func deliver(a *Agent, m *passerelle.Message, s passerelle.Spool) (*passerelle.Receipt, error) {
	return a.Deliver(context.Background(), m, s)
}

// fails checks an error's class, and that it is our own.
func fails(t *testing.T, err error, want passerelle.Class) *passerelle.Error {
	t.Helper()
	var e *passerelle.Error
	if !errors.As(err, &e) || e.Class != want {
		t.Fatalf("got %v of class %s, want %s", err, passerelle.ClassOf(err), want)
	}
	return e
}
