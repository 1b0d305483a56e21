package jira

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/tidwall/gjson"

	"passerelle"
)

// maxAnswer bounds what is read of one answer, in bytes.
const maxAnswer = 32 << 20

// call is one request to the REST API.
type call struct {
	op     string // for errors: "jira: create issue"
	ticket string // for errors
	method string
	path   string // below the base, escaped
	query  url.Values
	body   any    // sent as JSON, unless stream is set
	stream *sized // sent as it is, with head
	head   map[string]string
	writes bool // has an effect: a lost answer leaves it unsure
	wait   time.Duration
}

// answer is what Jira said, read whole.
type answer struct {
	status int
	head   http.Header
	body   []byte
	json   gjson.Result
}

// do makes the call. Its error is classified; a nil error means success (2xx)
// and a body that is JSON or empty.
func (j *Jira) do(ctx context.Context, c call) (*answer, error) {
	body, err := c.payload()
	if err != nil {
		return nil, c.fail(passerelle.Stuck, "", "%w", err)
	}
	if c.wait == 0 {
		c.wait = j.cfg.Timeout
	}
	within, cancel := context.WithTimeout(ctx, c.wait)
	defer cancel()
	var sent atomic.Bool
	res, err := request(traced(within, &sent), j.through(c.stream), c.head, body).Execute(c.method, j.link(c.path, c.query))
	if err != nil {
		return nil, c.broken(ctx, err, sent.Load())
	}
	defer func() { _ = res.RawBody().Close() }()
	return c.take(ctx, res)
}

// sized is a body that is streamed. Its length is announced, so that no proxy
// has to cope with a chunked upload.
type sized struct {
	io.Reader
	length int64
}

// through is the client for a request. resty reads every body into memory that
// it is given (also one given as an io.Reader), so a stream is put in its place
// at the last moment.
func (j *Jira) through(stream *sized) *resty.Client {
	if stream == nil {
		return j.api
	}
	return j.api.Clone().SetPreRequestHook(func(_ *resty.Client, r *http.Request) error {
		r.Body, r.ContentLength = io.NopCloser(stream), stream.length
		return nil
	})
}

// traced tells in sent whether anything of a request has left.
func traced(ctx context.Context, sent *atomic.Bool) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
}

func request(ctx context.Context, c *resty.Client, head map[string]string, body io.Reader) *resty.Request {
	r := c.R().SetContext(ctx).SetHeader("Accept", "application/json").SetHeaders(head)
	if body != nil {
		r.SetBody(body)
	}
	return r
}

// payload is what goes over the wire; nil for nothing.
func (c *call) payload() (io.Reader, error) {
	if c.body == nil {
		return nil, nil
	}
	raw, err := encode(c.body)
	if err != nil {
		return nil, err
	}
	c.head = map[string]string{"Content-Type": "application/json"}
	return bytes.NewReader(raw), nil
}

// encode writes JSON without escaping < and >.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// take reads an answer whole and judges it.
func (c call) take(ctx context.Context, res *resty.Response) (*answer, error) {
	a := &answer{status: res.StatusCode(), head: res.Header()}
	good := a.status >= 200 && a.status < 300
	var err error
	a.body, err = io.ReadAll(io.LimitReader(res.RawBody(), maxAnswer+1))
	switch {
	case !good:
		return nil, c.refused(a)
	case err != nil:
		return nil, c.broken(ctx, fmt.Errorf("the answer is cut short: %w", err), true)
	case len(a.body) > maxAnswer:
		return nil, c.fail(c.after(passerelle.Stuck), "", "the answer is larger than %d bytes", maxAnswer)
	case len(bytes.TrimSpace(a.body)) == 0:
		return a, nil
	}
	if a.json, err = parse(a.body); err != nil {
		return nil, c.fail(c.after(passerelle.Down), "is a login page or a proxy in front of Jira?", "the answer to %s is %w", c.method, err)
	}
	return a, nil
}

// after is the class of trouble with an answer: the effect is there already.
func (c call) after(read passerelle.Class) passerelle.Class {
	if c.writes {
		return passerelle.Unsure
	}
	return read
}

// link is a full address below the base.
func (j *Jira) link(path string, query url.Values) string {
	s := j.cfg.BaseURL + path
	if len(query) > 0 {
		s += "?" + query.Encode()
	}
	return s
}

// issuePath is the address of an issue, or of what hangs on it.
func issuePath(key string, rest ...string) string {
	p := "/rest/api/2/issue/" + url.PathEscape(key)
	for _, r := range rest {
		p += "/" + url.PathEscape(r)
	}
	return p
}

// account is who we are in Jira, and where its dates are local.
type account struct{ id, key, name, zone string }

// whoami asks once which account is ours.
func (j *Jira) whoami(ctx context.Context) (*account, error) {
	j.mu.Lock()
	me := j.me
	j.mu.Unlock()
	if me != nil {
		return me, nil
	}
	return j.askAccount(ctx)
}

// askAccount asks which account is ours.
func (j *Jira) askAccount(ctx context.Context) (*account, error) {
	c := call{op: "jira: who am I", method: http.MethodGet, path: "/rest/api/2/myself"}
	a, err := j.do(ctx, c)
	if err != nil {
		return nil, err
	}
	me := &account{id: a.json.Get("accountId").String(), key: a.json.Get("key").String(), name: a.json.Get("name").String(), zone: a.json.Get("timeZone").String()}
	if me.id+me.key+me.name == "" {
		return nil, c.fail(passerelle.Down, "is this a Jira?", "%w", errors.New("the answer names no account"))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.me = me
	return me, nil
}

// is tells whether a user object of Jira's is this account.
func (a *account) is(user gjson.Result) bool {
	for _, p := range []struct{ ours, field string }{{a.id, "accountId"}, {a.key, "key"}, {a.name, "name"}} {
		if theirs := user.Get(p.field).String(); theirs != "" && p.ours != "" {
			return theirs == p.ours
		}
	}
	return false
}

// accountOf is Jira's id of a user: the account's on Cloud, the user's key or
// else name on Data Center.
func accountOf(user gjson.Result) string {
	for _, field := range []string{"accountId", "key", "name"} {
		if id := user.Get(field).String(); id != "" {
			return id
		}
	}
	return ""
}

// paging follows a list that comes in pages, and ends it where Jira does not.
type paging struct{ pages, bytes int }

const (
	maxPages  = 1000
	maxListed = 100_000       // entries of a list
	maxHeld   = 4 * maxAnswer // bytes of its pages
)

// end refuses a page too many; have is how many entries the others had.
func (p *paging) end(c call, a *answer, have int) error {
	p.pages, p.bytes = p.pages+1, p.bytes+len(a.body)
	if p.pages > maxPages || p.bytes > maxHeld || have > maxListed {
		return c.fail(passerelle.Stuck, "", "the list has no end: %d pages, %d entries, %d bytes so far", p.pages, have, p.bytes)
	}
	return nil
}
