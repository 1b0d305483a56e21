package itop

import (
	"bufio"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"passerelle"
)

// part is one field of a request, whichever way it was sent. Its reader is
// good until the next part is asked for.
type part struct {
	name string
	r    io.Reader
}

// errTooLong says that a body goes past what the face reads.
var errTooLong = errors.New("the body is too long")

const (
	window  = 32 << 10 // bytes of a body that are held at a time
	maxHead = 64 << 10 // bytes of what stands around the values of a body: part headers, names
)

// parts walks through the fields of a request as a stream: the query,
// urlencoded form, multipart, or a bare JSON body (as iTop's webhooks send).
func (t *ITop) parts(r *http.Request, q *request, yield func(part) error) error {
	// As in iTop, auth_user and auth_pwd do not count in a query, where every
	// proxy on the way would log them.
	query := r.URL.Query()
	for _, name := range []string{"version", "auth_token", "json_data"} {
		if !query.Has(name) {
			continue
		}
		if err := yield(part{name, strings.NewReader(query.Get(name))}); err != nil {
			return err
		}
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	large := t.cfg.Intake.Body(r.Context(), r.Body)
	defer large.Done()
	body := t.capped(large)
	media, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if media == "multipart/form-data" {
		return eachPart(body, params["boundary"], yield)
	}
	b := bufio.NewReaderSize(body, view(r.ContentLength))
	if media == "application/json" || looksLikeJSON(b) {
		q.bare = true
		return yield(part{"json_data", b})
	}
	return (&formReader{r: b}).each(yield)
}

// view is how much of a body of that length is held at a time; -1: it is not said.
func view(length int64) int {
	if length < 0 || length >= window {
		return window
	}
	return max(int(length)+1, 512)
}

// looksLikeJSON tells a bare message by its first byte, which no form begins
// with: an administrator may give a webhook any Content-Type, or none.
func looksLikeJSON(b *bufio.Reader) bool {
	for n := 1; n <= 16; n++ {
		head, _ := b.Peek(n)
		if len(head) < n {
			return false
		}
		if c := head[n-1]; c > ' ' {
			return c == '{'
		}
	}
	return false
}

// capped bounds a body: three times the contract's limit, because urlencoding
// may triple a text, and maxHead (R24). What goes past the limit itself is read
// only to say how large it is and what it holds.
func (t *ITop) capped(body io.Reader) *cappedReader {
	return &cappedReader{r: body, left: 3*t.cfg.LimitBytes + maxHead}
}

// cappedReader gives errTooLong where a text goes on after left bytes.
type cappedReader struct {
	r     io.Reader
	left  int64
	floor int64 // of left, for a while
}

// Read implements io.Reader.
func (c *cappedReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	room := c.left - c.floor
	if int64(len(p)) > room {
		p = p[:max(room, 1)] // one more tells the end from too much
	}
	n, err := c.r.Read(p)
	if int64(n) > room {
		return 0, errTooLong
	}
	c.left -= int64(n)
	return n, err
}

// eachPart reads a multipart body. The mime package would hold a part's header
// whole, up to 10 MB, so headers have a bound of their own.
func eachPart(body *cappedReader, boundary string, yield func(part) error) error {
	if boundary == "" {
		return failf(codeInternal, "multipart body: the Content-Type names no boundary")
	}
	mr := multipart.NewReader(body, boundary)
	for {
		body.floor = max(0, body.left-maxHead)
		p, err := mr.NextPart()
		body.floor = 0
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return unreadable("multipart body", err)
		}
		if err := yield(part{p.FormName(), p}); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, p); err != nil {
			return unreadable("multipart body", err)
		}
	}
}

// unreadable says that a body is not what its type promises; a body that is
// too long stays errTooLong, and one for which there is no room what it is.
func unreadable(what string, err error) error {
	var full *passerelle.Error
	if errors.Is(err, errTooLong) || errors.As(err, &full) {
		return err
	}
	return failf(codeInternal, "%s: %v", what, err)
}

// formReader reads an urlencoded form as a stream.
type formReader struct {
	r *bufio.Reader
	b []byte // the name that is being read
}

func (f *formReader) each(yield func(part) error) error {
	v := &valueReader{f: f}
	for {
		name, value, err := f.name()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		v.over = !value
		if err := yield(part{name, v}); err != nil {
			return err
		}
		if err := v.skip(); err != nil {
			return unreadable("form", err)
		}
	}
}

// name reads up to "=" and tells whether a value follows.
func (f *formReader) name() (string, bool, error) {
	f.b = f.b[:0]
	for len(f.b) <= 256 {
		c, err := f.r.ReadByte()
		if err == io.EOF && len(f.b) > 0 {
			return unescapeName(f.b), false, nil
		}
		if err == io.EOF {
			return "", false, err
		}
		if err != nil {
			return "", false, unreadable("form", err)
		}
		if c == '=' || c == '&' {
			return unescapeName(f.b), c == '=', nil
		}
		f.b = append(f.b, c)
	}
	return "", false, failf(codeInternal, "form: a field's name has more than 256 bytes")
}

// unescapeName decodes a name; one that is badly escaped is nobody's.
func unescapeName(b []byte) string {
	s, err := url.QueryUnescape(string(b))
	if err != nil {
		return string(b)
	}
	return s
}

// valueReader decodes one value, up to the next "&" or the end of the form.
type valueReader struct {
	f    *formReader
	over bool
}

// Read decodes "+" and "%XX" (a stray "%" stays as it is, as in PHP).
func (v *valueReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && !v.over {
		run, err := buffered(v.f.r)
		if err != nil {
			v.over = true
			if err == io.EOF {
				break
			}
			return n, err
		}
		run = run[:min(len(run), len(p)-n)]
		k := until(run, &formStop)
		n += copy(p[n:], run[:k])
		_, _ = v.f.r.Discard(k) // it is buffered
		if k < len(run) {
			n += v.special(p[n:])
		}
	}
	if n == 0 && v.over {
		return 0, io.EOF
	}
	return n, nil
}

// skip passes what nobody read, without the buffer that io.Copy takes.
func (v *valueReader) skip() error {
	var junk [512]byte
	for !v.over {
		if _, err := v.Read(junk[:]); err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

// special reads one of the characters that mean something.
func (v *valueReader) special(p []byte) int {
	c, _ := v.f.r.ReadByte() // it is buffered
	switch c {
	case '&':
		v.over = true
		return 0
	case '+':
		c = ' '
	case '%':
		c = v.unescape()
	}
	p[0] = c
	return 1
}

func (v *valueReader) unescape() byte {
	b, err := v.f.r.Peek(2)
	if err != nil {
		return '%'
	}
	hi, lo := unhex(b[0]), unhex(b[1])
	if hi < 0 || lo < 0 {
		return '%'
	}
	_, _ = v.f.r.Discard(2) // they were peeked
	return byte(hi<<4 | lo)
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// buffered gives what a reader holds, at least one byte.
func buffered(r *bufio.Reader) ([]byte, error) {
	if r.Buffered() == 0 {
		if _, err := r.Peek(1); err != nil {
			return nil, err
		}
	}
	return r.Peek(r.Buffered())
}

// stops is a set of bytes at which a run of plain ones ends.
type stops [256]bool

// until counts the plain bytes that b begins with.
func until(b []byte, stop *stops) int {
	for i, c := range b {
		if stop[c] {
			return i
		}
	}
	return len(b)
}

var formStop = stops{'&': true, '+': true, '%': true}
