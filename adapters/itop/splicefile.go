package itop

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"passerelle"
)

// token begins the text that stands where a file's base64 stood; a sender's
// own text can never be there, for every text there is taken out.
const token = "file:"

// file decodes a file. Text that is no base64 is remembered for the answer; the
// rest of the message is still read.
func (s *splicer) file() error {
	if err := s.open(); err != nil {
		return err
	}
	d := &dataReader{s: s}
	s.many++
	f, err := passerelle.File{}, error(errOver)
	if s.many > maxFiles { // it is read for the refusal only
		d.drain()
		if d.end != io.EOF {
			return d.end
		}
		s.write([]byte(`""`))
		return nil
	}
	if !s.over() {
		f, err = s.put(base64.NewDecoder(base64.StdEncoding, d))
	}
	d.drain()
	if err == nil && (d.end != io.EOF || s.over()) {
		s.drop(f)
	}
	var corrupt base64.CorruptInputError
	switch {
	case d.end != io.EOF:
		return d.end
	case s.over(): // nothing is kept, and what is read serves the refusal only
		return nil
	case errors.As(err, &corrupt) || errors.Is(err, io.ErrUnexpectedEOF):
		f, err = passerelle.File{}, errNotBase64
	case err != nil:
		return err
	}
	fmt.Fprintf(&s.out, `"%s%d"`, token, len(s.files))
	s.files = append(s.files, spliced{f, err})
	return nil
}

var (
	errNotBase64 = errors.New("data is not base64")
	errOver      = errors.New("the message is over its limit")
)

// dataReader reads a JSON string's bytes, without escapes and white space, up
// to the closing quote. Past the message's limit it gives errOver, so that
// nobody keeps the file; drain reads on.
type dataReader struct {
	s        *splicer
	end      error // io.EOF behind the closing quote
	draining bool
}

// Read implements io.Reader.
func (d *dataReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && d.end == nil {
		if d.s.over() && !d.draining {
			return n, errOver
		}
		run, err := buffered(d.s.r)
		if err != nil {
			d.end = err
			if err == io.EOF {
				d.end = d.s.wrong("a string has no end")
			}
			break
		}
		run = run[:min(len(run), len(p)-n)]
		k := until(run, &dataStop)
		n += copy(p[n:], run[:k])
		d.s.take(k)
		if k < len(run) {
			n += d.special(p[n:])
		}
	}
	if n > 0 {
		return n, nil
	}
	return 0, d.end
}

// drain reads what nobody wanted.
func (d *dataReader) drain() {
	d.draining = true
	var junk [512]byte
	for d.end == nil {
		_, _ = d.Read(junk[:]) // sets d.end
	}
}

// special reads what is no plain byte: the end, white space within base64, an
// escape.
func (d *dataReader) special(p []byte) int {
	c, _ := d.s.byte() // it is buffered
	switch c {
	case '"':
		d.end = io.EOF
		return 0
	case ' ':
		return 0
	case '\\':
		return d.escape(p)
	}
	d.end = d.s.wrong("a control character in a string")
	return 0
}

// escape decodes what base64 may hold behind a backslash: \/ \n \r \t \uXXXX.
func (d *dataReader) escape(p []byte) int {
	c, err := d.s.byte()
	if err == io.EOF {
		err = d.s.wrong("a string has no end")
	}
	if err != nil {
		d.end = err
		return 0
	}
	switch c {
	case 'n', 'r', 't':
		return 0
	case '/':
	case '"', '\\', 'b', 'f':
		c = noBase64
	case 'u':
		c = d.hex()
	default:
		d.end = d.s.wrong("a bad escape in a string")
	}
	if d.end != nil || c == '\n' || c == '\r' || c == '\t' || c == ' ' {
		return 0
	}
	p[0] = c
	return 1
}

// noBase64 stands for a character that no base64 has; the decoder says so.
const noBase64 = '!'

func (d *dataReader) hex() byte {
	r := 0
	for range 4 {
		h, err := d.s.byte()
		if err != nil && err != io.EOF {
			d.end = err
			return 0
		}
		if err != nil || unhex(h) < 0 {
			d.end = d.s.wrong("a bad escape in a string")
			return 0
		}
		r = r<<4 | unhex(h)
	}
	if r >= utf8.RuneSelf {
		return noBase64
	}
	return byte(r)
}
