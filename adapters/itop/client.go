package itop

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/tidwall/gjson"

	"passerelle"
)

// maxAnswer bounds what is read of an answer, in bytes: an attachment of the
// contract's limit in base64, and some.
const maxAnswer = 64 << 20

func newClient(cfg Config) *resty.Client {
	c := resty.New().SetTimeout(cfg.Timeout).SetRetryCount(0).
		SetRedirectPolicy(resty.NoRedirectPolicy()).SetDoNotParseResponse(true)
	if cfg.Transport != nil {
		c.SetTransport(cfg.Transport)
	}
	if cfg.Transport == nil {
		c.SetTLSClientConfig(&tls.Config{MinVersion: tls.VersionTLS12})
	}
	return c
}

// call makes one request and returns iTop's answer. write tells whether it may
// have an effect, so that a lost answer is told from a failed request. file, if
// any, takes the place of passerelle.DataToken in body.
func (t *ITop) call(ctx context.Context, body []byte, write bool, file io.Reader) (gjson.Result, error) {
	if t.cfg.BaseURL == "" {
		return gjson.Result{}, passerelle.Errorf(passerelle.Stuck, "itop", "no base_url is configured for the %s of %s", t.cfg.Side, t.cfg.Contract)
	}
	req := t.client.R().SetContext(ctx)
	if t.cfg.Token != "" {
		req.SetHeader("Auth-Token", t.cfg.Token.Reveal())
	}
	if file != nil {
		t.streamed(req, body, file)
	} else {
		form := url.Values{"version": {t.cfg.Version}, "json_data": {string(body)}}
		if t.cfg.Token == "" {
			form.Set("auth_user", t.cfg.User)
			form.Set("auth_pwd", t.cfg.Password.Reveal())
		}
		req.SetFormDataFromValues(form)
	}
	res, err := req.Post(strings.TrimRight(t.cfg.BaseURL, "/") + "/webservices/rest.php")
	if err != nil {
		return gjson.Result{}, lost(err, write)
	}
	defer res.RawBody().Close()
	b, err := io.ReadAll(io.LimitReader(res.RawBody(), maxAnswer+1))
	if err != nil || len(b) > maxAnswer {
		return gjson.Result{}, unsure(write, "the answer was cut off: %v", err)
	}
	return t.judge(res, b, write, file != nil)
}

// streamed sends the message as a multipart field, in which base64 needs no
// escaping; the file passes through without being held in memory.
func (t *ITop) streamed(req *resty.Request, body []byte, file io.Reader) {
	pr, pw := io.Pipe()
	mw := multipart.NewWriter(pw)
	req.SetHeader("Content-Type", mw.FormDataContentType()).SetBody(pr)
	go func() { pw.CloseWithError(t.writeParts(mw, body, file)) }() // ends when the request has read all, or closed its body
}

func (t *ITop) writeParts(mw *multipart.Writer, body []byte, file io.Reader) error {
	fields := [][2]string{{"version", t.cfg.Version}}
	if t.cfg.Token == "" {
		fields = append(fields, [2]string{"auth_user", t.cfg.User}, [2]string{"auth_pwd", t.cfg.Password.Reveal()})
	}
	for _, f := range fields {
		if err := mw.WriteField(f[0], f[1]); err != nil {
			return err
		}
	}
	w, err := mw.CreateFormField("json_data")
	if err != nil {
		return err
	}
	before, after, _ := bytes.Cut(body, []byte(passerelle.DataToken))
	if _, err := w.Write(before); err != nil {
		return err
	}
	enc := base64.NewEncoder(base64.StdEncoding, w)
	if _, err := io.Copy(enc, file); err != nil {
		return err
	}
	if err := enc.Close(); err != nil {
		return err
	}
	if _, err := w.Write(after); err != nil {
		return err
	}
	return mw.Close()
}

// judge gives an answer its fate. iTop says nearly everything with HTTP 200.
func (t *ITop) judge(res *resty.Response, b []byte, write, big bool) (gjson.Result, error) {
	if err := httpError(res, write); err != nil {
		return gjson.Result{}, err
	}
	if !shallow(b) || !gjson.ValidBytes(b) || !gjson.GetBytes(b, "code").Exists() {
		return gjson.Result{}, unsure(write, "the answer is not iTop's: %s", snippet(b))
	}
	ans := gjson.ParseBytes(b)
	if code := ans.Get("code").Int(); code != codeOK {
		return ans, codeError(int(code), ans.Get("message").String(), big)
	}
	// Each object has a code of its own.
	var err error
	for _, o := range objects(ans) {
		if code := o.Get("code").Int(); code != codeOK && err == nil {
			err = codeError(int(code), o.Get("message").String(), big)
		}
	}
	return ans, err
}

// objects are an answer's objects; iTop writes null when there are none.
func objects(ans gjson.Result) []gjson.Result {
	var out []gjson.Result
	if list := ans.Get("objects"); list.IsObject() {
		list.ForEach(func(_, o gjson.Result) bool { out = append(out, o); return true })
	}
	return out
}

func httpError(res *resty.Response, write bool) error {
	code := res.StatusCode()
	fail := func(class passerelle.Class, hint string) error {
		return &passerelle.Error{Op: "itop", Class: class, Err: fmt.Errorf("HTTP %s", res.Status()), Hint: hint, After: retryAfter(res.Header())}
	}
	switch {
	case code == http.StatusOK:
		return nil
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fail(passerelle.Denied, "check the account and the address that iTop allows")
	case code == http.StatusTooManyRequests:
		return fail(passerelle.Down, "")
	case code == http.StatusServiceUnavailable:
		return fail(passerelle.Down, "maintenance, or a proxy without its iTop")
	case code == http.StatusRequestEntityTooLarge:
		return fail(passerelle.Stuck, "raise the web server's body limit, PHP's post_max_size and upload_max_filesize")
	case code >= 500 && write:
		return fail(passerelle.Unsure, "")
	case code >= 500, code == http.StatusNotFound, code >= 300 && code < 400:
		return fail(passerelle.Down, "is base_url the address of this iTop?")
	}
	return fail(passerelle.Stuck, "")
}

// codeError classifies iTop's own codes. Its messages are in the account's
// language: shown, never parsed.
func codeError(code int, message string, big bool) error {
	e := &passerelle.Error{Op: "itop", Class: passerelle.Stuck, Err: fmt.Errorf("code %d: %s", code, message)}
	switch {
	case code <= codeNoJSON && big:
		// PHP drops the whole form of a body over post_max_size, so that the
		// login looks wrong.
		e.Hint = "most likely the file is over PHP's post_max_size: raise it on the iTop, or drop this entry"
	case code == codeUnauthorised:
		e.Class, e.Hint = passerelle.Denied, "check the technical account, its profile « REST Services User », and that the iTop is not read-only"
	}
	return e
}

func unsure(write bool, format string, args ...any) error {
	if write {
		return passerelle.Errorf(passerelle.Unsure, "itop", format, args...)
	}
	return passerelle.Errorf(passerelle.Down, "itop", format, args...)
}

// lost classifies a request without an answer: certainly not sent, or nobody
// knows.
func lost(err error, write bool) error {
	var dns *net.DNSError
	if errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &dns) {
		return passerelle.Errorf(passerelle.Down, "itop", "%w", err)
	}
	return unsure(write, "no answer: %w", err)
}

func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.Atoi(v); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// shallow tells whether a JSON text nests no deeper than maxDepth.
func shallow(b []byte) bool {
	depth, quoted, escaped := 0, false, false
	for _, c := range b {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return true
}

func snippet(b []byte) string {
	if len(b) > 80 {
		b = b[:80]
	}
	return strconv.Quote(strings.ToValidUTF8(string(b), "?"))
}

// query is a core/get, built as JSON so that no value is taken for syntax.
func (t *ITop) query(ctx context.Context, class, key, fields string) (gjson.Result, error) {
	body, err := json.Marshal(map[string]string{"operation": "core/get", "class": class, "key": key, "output_fields": fields})
	if err != nil {
		return gjson.Result{}, err
	}
	return t.call(ctx, body, false, nil)
}

// errGone says that iTop knows no ticket of this key.
var errGone = errors.New("there is no such ticket")

// ticket reads some fields of one ticket; errGone if there is none. Asking by
// OQL tells absence by an empty list rather than by a message to parse.
func (t *ITop) ticket(ctx context.Context, key, fields string) (gjson.Result, error) {
	if strings.Trim(key, "0123456789") != "" || key == "" {
		return gjson.Result{}, passerelle.Errorf(passerelle.Stuck, "itop", "%q is no key of a ticket", key)
	}
	ans, err := t.query(ctx, t.cfg.Class, "SELECT "+t.cfg.Class+" WHERE id = "+key, fields)
	if err != nil {
		return gjson.Result{}, err
	}
	found := objects(ans)
	if len(found) == 0 {
		return gjson.Result{}, &passerelle.Error{Op: "itop", Class: passerelle.Stuck, Ticket: key, Err: errGone, Hint: "was it deleted? drop the entry, or restore the ticket"}
	}
	return found[0].Get("fields"), nil
}
