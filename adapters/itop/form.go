package itop

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// part is one field of a request, whichever way it was sent. Its reader is
// good until the next part is asked for.
type part struct {
	name string
	r    io.Reader
}

// errTooLong says that a body goes past what the face reads.
var errTooLong = errors.New("the body is too long")

// parts walks through the fields of a request as a stream: urlencoded form,
// multipart, the query, or a bare JSON body (as iTop's webhooks send), which is
// given the name json_data.
func (t *ITop) parts(r *http.Request, yield func(part) error) error {
	for name, values := range r.URL.Query() {
		if err := yield(part{name, strings.NewReader(values[0])}); err != nil {
			return err
		}
	}
	if r.Method == http.MethodGet {
		return nil
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch media {
	case "application/json":
		return yield(part{"json_data", t.capped(r, 1)})
	case "multipart/form-data":
		return t.multipart(r, yield)
	default:
		f := &formReader{r: bufio.NewReaderSize(t.capped(r, 3), 32<<10)}
		return f.each(yield)
	}
}

// capped bounds a body: factor times the contract's limit and 64 KiB, because
// urlencoding may triple a text (R24).
func (t *ITop) capped(r *http.Request, factor int64) io.Reader {
	return &cappedReader{r: r.Body, left: factor*t.cfg.LimitBytes + 64<<10}
}

type cappedReader struct {
	r    io.Reader
	left int64
}

func (c *cappedReader) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTooLong
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.left -= int64(n)
	return n, err
}

func (t *ITop) multipart(r *http.Request, yield func(part) error) error {
	r.Body = io.NopCloser(t.capped(r, 1))
	mr, err := r.MultipartReader()
	if err != nil {
		return fmt.Errorf("multipart body: %w", err)
	}
	for {
		p, err := mr.NextPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := yield(part{p.FormName(), p}); err != nil {
			return err
		}
	}
}

// formReader reads an urlencoded form as a stream.
type formReader struct{ r *bufio.Reader }

func (f *formReader) each(yield func(part) error) error {
	for {
		name, value, err := f.name()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		v := &valueReader{f: f, over: !value}
		if err := yield(part{name, v}); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, v); err != nil {
			return err
		}
		if v.end == io.EOF {
			return nil
		}
	}
}

// name reads up to "=" and tells whether a value follows.
func (f *formReader) name() (string, bool, error) {
	var b strings.Builder
	for b.Len() < 256 {
		c, err := f.r.ReadByte()
		if err == io.EOF && b.Len() > 0 {
			return b.String(), false, nil
		}
		if err != nil {
			return "", false, err
		}
		if c == '=' || c == '&' {
			s, err := url.QueryUnescape(b.String())
			return s, c == '=', err
		}
		b.WriteByte(c)
	}
	return "", false, fmt.Errorf("a form field's name has more than %d bytes", b.Len())
}

// valueReader decodes one value, up to the next "&".
type valueReader struct {
	f    *formReader
	over bool
	end  error // io.EOF at the end of the form
}

// Read decodes "+" and "%XX" (a stray "%" stays as it is, as in PHP).
func (v *valueReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && !v.over {
		c, err := v.f.r.ReadByte()
		if err != nil {
			v.over = true
			if v.end = err; err != io.EOF {
				return n, err
			}
			break
		}
		switch c {
		case '&':
			v.over = true
			continue
		case '+':
			c = ' '
		case '%':
			c = v.unescape()
		}
		p[n] = c
		n++
	}
	if n == 0 && v.over {
		return 0, io.EOF
	}
	return n, nil
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
