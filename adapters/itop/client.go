package itop

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/internal/foreign"
)

// maxAnswer bounds what is held of an answer, in bytes: the journals of a
// ticket that has lived long, and some. Files pass through.
const maxAnswer = 64 << 20

func newClient(cfg Config) *http.Client {
	transport := cfg.Transport
	if transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		transport = own
	}
	// A redirected POST would lose its body: an answer like any other.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &http.Client{Transport: transport, Timeout: cfg.Timeout, CheckRedirect: stay}
}

// call is one request to the iTop.
type call struct {
	body  []byte                          // the message
	write bool                            // it may have an effect, so that a lost answer is told from a failed request
	file  *upload                         // takes the place of passerelle.DataToken in body
	read  func(io.Reader) ([]byte, error) // reads the answer; nil: whole
}

// call makes one request and returns iTop's answer.
func (t *ITop) call(ctx context.Context, c call) (gjson.Result, error) {
	if t.cfg.BaseURL == "" {
		return gjson.Result{}, passerelle.Errorf(passerelle.Stuck, "itop", "no base_url is configured for the %s of %s", t.cfg.Side, t.cfg.Contract)
	}
	var tr trace
	req, err := t.request(tr.watch(ctx), c)
	if err != nil {
		return gjson.Result{}, passerelle.Errorf(passerelle.Stuck, "itop", "%w", err)
	}
	res, err := t.client.Do(req)
	if err != nil {
		return gjson.Result{}, tr.lost(err, c.write)
	}
	defer res.Body.Close()
	if err := httpError(res, c.write); err != nil {
		return gjson.Result{}, err
	}
	if c.read == nil {
		c.read = whole
	}
	b, err := c.read(res.Body)
	if err != nil {
		return gjson.Result{}, cutOff(err, c.write)
	}
	return t.judge(b, c.write, c.file != nil)
}

// cutOff classifies an answer that could not be read; what our own side could
// not keep of it has its class already.
func cutOff(err error, write bool) error {
	var e *passerelle.Error
	if errors.As(err, &e) {
		return err
	}
	var not *errNotJSON
	if errors.As(err, &not) {
		return unsure(write, "the answer is not iTop's: %w", err)
	}
	return unsure(write, "the answer was cut off: %w", err)
}

// whole reads an answer into memory.
func whole(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	if len(b) > maxAnswer {
		return nil, fmt.Errorf("it has more than %d bytes", maxAnswer)
	}
	return b, err
}

// request builds the HTTP request. A message with a file is a multipart body,
// in which base64 needs no escaping.
func (t *ITop) request(ctx context.Context, c call) (*http.Request, error) {
	fields := [][2]string{{"version", t.cfg.Version}}
	if t.cfg.Token == "" {
		fields = append(fields, [2]string{"auth_user", t.cfg.User}, [2]string{"auth_pwd", t.cfg.Password.Reveal()})
	}
	var body io.Reader
	var media string
	var size int64
	if c.file != nil {
		var err error
		if body, media, size, err = c.file.body(fields, c.body); err != nil {
			return nil, err
		}
	} else {
		form := url.Values{"json_data": {string(c.body)}}
		for _, f := range fields {
			form.Set(f[0], f[1])
		}
		text := form.Encode()
		body, media, size = strings.NewReader(text), "application/x-www-form-urlencoded", int64(len(text))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(t.cfg.BaseURL, "/")+"/webservices/rest.php", body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size // PHP behind a gateway may see no body without it
	req.Header.Set("Content-Type", media)
	if t.cfg.Token != "" {
		req.Header.Set("Auth-Token", t.cfg.Token.Reveal())
	}
	return req, nil
}

// judge gives an answer its fate. iTop says nearly everything with HTTP 200.
func (t *ITop) judge(b []byte, write, big bool) (gjson.Result, error) {
	if !foreign.Shallow(b) || !foreign.Few(b) || !gjson.ValidBytes(b) || !gjson.GetBytes(b, "code").Exists() {
		return gjson.Result{}, unsure(write, "the answer is not iTop's: %q", t.quote(string(b), 80))
	}
	if !utf8.Valid(b) { // as PHP would never write it: names and texts must be the same at each reading
		b = bytes.ToValidUTF8(b, []byte("\ufffd"))
	}
	ans := gjson.ParseBytes(b)
	if code := ans.Get("code").Int(); code != codeOK {
		return ans, t.codeError(int(code), ans.Get("message").String(), big)
	}
	// Each object has a code of its own.
	for _, o := range objects(ans) {
		if code := o.Get("code").Int(); code != codeOK {
			return ans, t.codeError(int(code), o.Get("message").String(), big)
		}
	}
	return ans, nil
}

// objects are an answer's objects; iTop writes null when there are none.
func objects(ans gjson.Result) []gjson.Result {
	var out []gjson.Result
	if list := ans.Get("objects"); list.IsObject() {
		list.ForEach(func(_, o gjson.Result) bool { out = append(out, o); return true })
	}
	return out
}

// trace notes how far a request came.
type trace struct{ asked, connected atomic.Bool }

func (tr *trace) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { tr.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { tr.connected.Store(true) },
	})
}

// lost classifies a request without an answer: certainly not sent (no
// connection, no such name, no trust), or nobody knows.
func (tr *trace) lost(err error, write bool) error {
	var op *net.OpError
	if tr.asked.Load() && !tr.connected.Load() || errors.As(err, &op) && op.Op == "dial" {
		return passerelle.Errorf(passerelle.Down, "itop", "not sent: %w", err)
	}
	return unsure(write, "no answer: %w", err)
}

// newMask hides the configured secrets, also as a form would spell them: an
// iTop in debug mode, or a proxy, may echo what it got.
func newMask(cfg Config) *strings.Replacer {
	var pairs []string
	for _, s := range []passerelle.Secret{cfg.Password, cfg.Token} {
		if s != "" {
			pairs = append(pairs, s.Reveal(), s.String(), url.QueryEscape(s.Reveal()), s.String())
		}
	}
	return strings.NewReplacer(pairs...)
}

// quote is the beginning of what an iTop said, fit for an error.
func (t *ITop) quote(s string, most int) string {
	s = t.mask.Replace(s) // before it is cut: half a secret would not be found
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// query is a core/get, built as JSON so that no value is taken for syntax.
func query(class, key, fields string) []byte {
	body, _ := json.Marshal(map[string]string{"operation": "core/get", "class": class, "key": key, "output_fields": fields}) // strings always marshal
	return body
}

// errGone says that iTop knows no ticket of this key. It is an ErrNotFound.
var errGone error = gone{}

type gone struct{}

// Error implements error.
func (gone) Error() string { return "there is no such ticket" }

// Unwrap makes it an ErrNotFound.
func (gone) Unwrap() error { return passerelle.ErrNotFound }

// ticket reads some fields of one ticket; errGone if there is none. Asking by
// OQL tells absence by an empty list rather than by a message to parse.
func (t *ITop) ticket(ctx context.Context, key, fields string) (gjson.Result, error) {
	if err := numeric(key); err != nil {
		return gjson.Result{}, err
	}
	ans, err := t.call(ctx, call{body: query(t.cfg.Class, "SELECT "+t.cfg.Class+" WHERE id = "+key, fields)})
	if err != nil {
		return gjson.Result{}, err
	}
	found := objects(ans)
	if len(found) == 0 {
		return gjson.Result{}, &passerelle.Error{Op: "itop", Class: passerelle.Stuck, Ticket: key, Err: errGone, Hint: "was it deleted? drop the entry, or restore the ticket"}
	}
	return found[0].Get("fields"), nil
}

// idList writes keys as the list of a query.
func idList(keys []string) (string, error) {
	for _, key := range keys {
		if err := numeric(key); err != nil {
			return "", err
		}
	}
	return strings.Join(keys, ","), nil
}

// numeric refuses a key that is no number, before it becomes part of a query.
func numeric(key string) error {
	if strings.Trim(key, "0123456789") != "" || key == "" {
		return passerelle.Errorf(passerelle.Stuck, "itop", "%q is no key of a ticket", key)
	}
	return nil
}
