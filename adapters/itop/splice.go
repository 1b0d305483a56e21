package itop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"passerelle"
)

// maxDepth bounds the nesting of a message: deeper JSON is refused before any
// parser that recurses sees it.
const maxDepth = 100

// splicer copies a JSON text and takes the attachments out of it on the way:
// each base64 text goes decoded into the spool, and a token stands in its
// place. So a message of 10 MB needs the memory of its words only.
type splicer struct {
	ctx   context.Context
	r     *bufio.Reader
	out   bytes.Buffer
	spool passerelle.Spool
	files []passerelle.File // in the order of their tokens
	bad   map[int]error     // by token: why a file could not be read
	size  int64             // bytes of the whole JSON text (R24)
	limit int64             // bytes; past it nothing is kept, only counted
	path  []step
}

// step is one level of nesting: a member's name, or an array.
type step struct {
	name  string
	array bool
}

// errNotJSON says where a text stops being JSON.
type errNotJSON struct {
	at   int64
	what string
}

// Error says where and what.
func (e *errNotJSON) Error() string { return fmt.Sprintf("%s at byte %d", e.what, e.at) }

// splice reads one JSON text to its end.
func (s *splicer) splice() error {
	if err := s.value(); err != nil {
		return err
	}
	c, err := s.skip()
	if err == io.EOF {
		return nil
	}
	if err == nil {
		return s.bad1("%q after the end", c)
	}
	return err
}

func (s *splicer) bad1(format string, args ...any) error {
	return &errNotJSON{s.size, fmt.Sprintf(format, args...)}
}

func (s *splicer) byte() (byte, error) {
	c, err := s.r.ReadByte()
	if err == nil {
		s.size++
	}
	return c, err
}

func (s *splicer) unread() { _ = s.r.UnreadByte(); s.size-- }

func (s *splicer) put(c byte) {
	if s.size <= s.limit {
		s.out.WriteByte(c)
	}
}

// skip reads past white space to the next byte.
func (s *splicer) skip() (byte, error) {
	for {
		c, err := s.byte()
		if err != nil || c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c, err
		}
	}
}

func (s *splicer) must() (byte, error) {
	c, err := s.skip()
	if err == io.EOF {
		return 0, s.bad1("the text ends too early")
	}
	return c, err
}

func (s *splicer) value() error {
	c, err := s.must()
	if err != nil {
		return err
	}
	switch c {
	case '{', '[':
		if len(s.path) >= maxDepth {
			return s.bad1("nested deeper than %d", maxDepth)
		}
		s.put(c)
		return s.container(c)
	case '"':
		if s.isData() {
			return s.file()
		}
		s.put(c)
		return s.rest(nil)
	}
	s.put(c)
	return s.scalar()
}

// scalar copies a number or a word; whether it is one is for the parser.
func (s *splicer) scalar() error {
	for {
		c, err := s.byte()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch c {
		case ',', '}', ']', ' ', '\t', '\n', '\r', ':', '"', '{', '[':
			s.unread()
			return nil
		}
		s.put(c)
	}
}

func (s *splicer) container(open byte) error {
	end := open + 2 // ']' and '}' stand two after '[' and '{'
	s.path = append(s.path, step{array: open == '['})
	defer func() { s.path = s.path[:len(s.path)-1] }()
	for first := true; ; first = false {
		c, err := s.must()
		if err != nil {
			return err
		}
		if c == end && first {
			s.put(c)
			return nil
		}
		s.unread()
		if err := s.element(open); err != nil {
			return err
		}
		if c, err = s.must(); err != nil {
			return err
		}
		s.put(c)
		if c == end {
			return nil
		}
		if c != ',' {
			return s.bad1("%q where a comma or the end belongs", c)
		}
	}
}

func (s *splicer) element(open byte) error {
	if open == '{' {
		if err := s.key(); err != nil {
			return err
		}
	}
	return s.value()
}

func (s *splicer) key() error {
	c, err := s.must()
	if err != nil {
		return err
	}
	if c != '"' {
		return s.bad1("%q where a name belongs", c)
	}
	s.put(c)
	var name []byte
	if err := s.rest(&name); err != nil {
		return err
	}
	s.path[len(s.path)-1].name = string(name)
	if c, err = s.must(); err != nil {
		return err
	}
	if c != ':' {
		return s.bad1("%q where a colon belongs", c)
	}
	s.put(c)
	return nil
}

// rest copies a string after its opening quote, and keeps its first bytes.
func (s *splicer) rest(keep *[]byte) error {
	escaped := false
	for {
		c, err := s.byte()
		if err == io.EOF {
			return s.bad1("a string has no end")
		}
		if err != nil {
			return err
		}
		s.put(c)
		switch {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case c == '"':
			return nil
		case c < ' ':
			return s.bad1("a control character in a string")
		}
		if keep != nil && len(*keep) < 64 {
			*keep = append(*keep, c)
		}
	}
}

// isData tells whether the value that comes is a file's base64:
// attachments[].data (syn/addattachment) or fields.contents.data (core/create
// of an Attachment).
func (s *splicer) isData() bool {
	switch p := s.path; len(p) {
	case 3:
		return p[0].name == "attachments" && p[1].array && p[2].name == "data" ||
			p[0].name == "fields" && p[1].name == "contents" && p[2].name == "data"
	}
	return false
}

// file decodes a file into the spool. Text that is no base64 is remembered for
// the answer; the rest of the message is still read.
func (s *splicer) file() error {
	d := &dataReader{s: s}
	var f passerelle.File
	var err error
	if s.size <= s.limit {
		f, err = s.spool.Put(s.ctx, base64.NewDecoder(base64.StdEncoding, d))
	}
	if d.err == nil {
		_, _ = io.Copy(io.Discard, d) // sets d.err
	}
	if !errors.Is(d.err, io.EOF) {
		if err == nil {
			s.spool.Release(f)
		}
		return d.err
	}
	var corrupt base64.CorruptInputError
	if errors.As(err, &corrupt) || errors.Is(err, io.ErrUnexpectedEOF) {
		s.bad[len(s.files)] = fmt.Errorf("data is not base64")
		err = nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(&s.out, `"%s%d"`, token, len(s.files))
	s.files = append(s.files, f)
	return nil
}

// token begins the text that stands where a file's base64 stood; a sender's
// own text can never be there, for every text there is taken out.
const token = "file:"

// dataReader reads a JSON string's bytes, without its escapes, up to the
// closing quote.
type dataReader struct {
	s   *splicer
	err error
}

func (d *dataReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && d.err == nil {
		c, err := d.s.byte()
		switch {
		case err == io.EOF:
			d.err = d.s.bad1("a string has no end")
		case err != nil:
			d.err = err
		case c == '"':
			d.err = io.EOF
		case c == '\\':
			n += d.escape(p[n:])
		default:
			p[n] = c
			n++
		}
	}
	if n > 0 {
		return n, nil
	}
	return 0, d.err
}

// escape decodes what base64 may hold behind a backslash: \/ \n \r \t \uXXXX.
func (d *dataReader) escape(p []byte) int {
	c, err := d.s.byte()
	if err != nil {
		d.err = d.s.bad1("a string has no end")
		return 0
	}
	switch c {
	case 'n', 'r', 't', 'b', 'f':
		return 0 // white space within base64
	case 'u':
		r := rune(0)
		for range 4 {
			h, err := d.s.byte()
			if err != nil || unhex(h) < 0 {
				d.err = d.s.bad1("a bad escape in a string")
				return 0
			}
			r = r<<4 | rune(unhex(h))
		}
		if r >= utf8.RuneSelf {
			r = '!' // no base64, and said so by the decoder
		}
		c = byte(r)
	}
	p[0] = c
	return 1
}
