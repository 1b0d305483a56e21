package itop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"passerelle"
	"passerelle/internal/foreign"
	"passerelle/internal/intake"
)

// splicer copies a JSON text and takes the attachments out of it on the way:
// each base64 text goes decoded to put, and a token stands in its place. So a
// message of 10 MB needs the memory of its words only.
type splicer struct {
	r     *bufio.Reader
	out   bytes.Buffer
	limit int64                                    // bytes; past it nothing is kept, only counted
	words int                                      // bytes of what is not a file, likewise; 0: as limit
	data  func([]step) bool                        // which texts are files
	put   func(io.Reader) (passerelle.File, error) // keeps one
	drop  func(passerelle.File)                    // undoes put
	admit func(words []byte) error                 // asked before the first file and before much text; nil: always
	room  func() error                             // asked, once, before much text; nil: there is
	files []spliced                                // in the order of their tokens, maxFiles at most
	many  int                                      // how many there are
	names []string                                 // of the files, the first few, for a refusal by size
	size  int64                                    // bytes of the whole JSON text (R24)
	path  []step
	raw   []byte // the name that is being read
	asked bool
	roomy bool // there is a place for much text
}

// spliced is one file of a message.
type spliced struct {
	file passerelle.File
	err  error // why it could not be read; then there is no file
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

// splice reads one JSON text to its end. Whether its words are JSON is for the
// parser to say: it checks what it must understand, the nesting and the strings.
func (s *splicer) splice() error {
	if err := s.value(); err != nil {
		return err
	}
	c, err := s.skip()
	if err == io.EOF {
		return nil
	}
	if err == nil {
		return s.wrong("%q after the end", c)
	}
	return err
}

func (s *splicer) wrong(format string, args ...any) error {
	return &errNotJSON{s.size, fmt.Sprintf(format, args...)}
}

func (s *splicer) over() bool { return s.size > s.limit || s.words > 0 && s.out.Len() > s.words }

func (s *splicer) byte() (byte, error) {
	c, err := s.r.ReadByte()
	if err == nil {
		s.size++
	}
	return c, err
}

func (s *splicer) unread() { _ = s.r.UnreadByte(); s.size-- }

// take passes n buffered bytes.
func (s *splicer) take(n int) { _, _ = s.r.Discard(n); s.size += int64(n) }

func (s *splicer) write(b []byte) {
	if !s.over() {
		s.out.Write(b)
	}
}

func (s *splicer) writeByte(c byte) {
	if !s.over() {
		s.out.WriteByte(c)
	}
}

// open asks, once, whether more may be kept.
func (s *splicer) open() error {
	if s.asked || s.admit == nil {
		return nil
	}
	s.asked = true
	return s.admit(s.out.Bytes())
}

// more gives what is there of a text or a scalar, at least one byte.
func (s *splicer) more() ([]byte, error) {
	if err := s.grow(); err != nil {
		return nil, err
	}
	return buffered(s.r)
}

// grow asks for room once there is much text.
func (s *splicer) grow() error {
	if s.roomy || s.out.Len() <= intake.Text {
		return nil
	}
	if err := s.open(); err != nil {
		return err
	}
	s.roomy = true
	if s.room == nil {
		return nil
	}
	return s.room()
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
		return 0, s.wrong("the text ends too early")
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
		if len(s.path) >= foreign.MaxDepth {
			return s.wrong("nested deeper than %d", foreign.MaxDepth)
		}
		s.writeByte(c)
		return s.container(c)
	case '"':
		if s.data(s.path) {
			return s.file()
		}
		return s.text()
	}
	s.writeByte(c)
	return s.scalar()
}

// text copies a string's value, and notes the name of a file.
func (s *splicer) text() error {
	s.writeByte('"')
	if len(s.names) >= maxNames || len(s.path) == 0 || s.path[len(s.path)-1].name != "filename" {
		return s.rest(nil)
	}
	var raw []byte
	if err := s.rest(&raw); err != nil {
		return err
	}
	s.names = append(s.names, plainText(raw))
	return nil
}

// maxNames bounds how many file names a refusal lists.
const maxNames = 10

// scalar copies a number or a word; whether it is one is for the parser.
func (s *splicer) scalar() error {
	for {
		run, err := s.more()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		n := until(run, &scalarStop)
		s.write(run[:n])
		s.take(n)
		if n < len(run) {
			return nil
		}
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
			s.writeByte(c)
			return nil
		}
		s.unread()
		if err := s.grow(); err != nil {
			return err
		}
		if err := s.element(open); err != nil {
			return err
		}
		if c, err = s.must(); err != nil {
			return err
		}
		s.writeByte(c)
		if c == end {
			return nil
		}
		if c != ',' {
			return s.wrong("%q where a comma or the end belongs", c)
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
		return s.wrong("%q where a name belongs", c)
	}
	s.writeByte(c)
	s.raw = s.raw[:0]
	if err := s.rest(&s.raw); err != nil {
		return err
	}
	s.path[len(s.path)-1].name = known(s.raw)
	if c, err = s.must(); err != nil {
		return err
	}
	if c != ':' {
		return s.wrong("%q where a colon belongs", c)
	}
	s.writeByte(c)
	return nil
}

// known gives the name of a member that means something here, and "" for any
// other: a message may have a million of them.
func known(raw []byte) string {
	if bytes.IndexByte(raw, '\\') >= 0 {
		raw = []byte(plainText(raw))
	}
	for _, name := range []string{"data", "filename", "attachments", "fields", "contents", "objects"} {
		if string(raw) == name {
			return name
		}
	}
	return ""
}

// plainText undoes a string's escapes, as the parser will: "\u0064ata" is data.
func plainText(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw)
	}
	var text string
	if json.Unmarshal(append(append([]byte{'"'}, raw...), '"'), &text) != nil {
		return string(raw)
	}
	return text
}

// maxKept bounds what rest keeps: more than twice the longest name that means
// something, written in escapes.
const maxKept = 300

// rest copies a string after its opening quote, and keeps its first bytes.
func (s *splicer) rest(keep *[]byte) error {
	for {
		run, err := s.more()
		if err == io.EOF {
			return s.wrong("a string has no end")
		}
		if err != nil {
			return err
		}
		n := until(run, &textStop)
		s.copy(run[:n], keep)
		if n == len(run) {
			continue
		}
		c, _ := s.byte() // it is buffered
		s.writeByte(c)
		switch {
		case c == '"':
			return nil
		case c != '\\':
			return s.wrong("a control character in a string")
		}
		escaped, err := s.byte()
		if err == io.EOF {
			return s.wrong("a string has no end")
		}
		if err != nil {
			return err
		}
		s.writeByte(escaped)
		keepMore(keep, c, escaped)
	}
}

func (s *splicer) copy(run []byte, keep *[]byte) {
	keepMore(keep, run...)
	s.write(run)
	s.take(len(run))
}

func keepMore(keep *[]byte, b ...byte) {
	if keep != nil && len(*keep)+len(b) <= maxKept {
		*keep = append(*keep, b...)
	}
}

// loneSurrogate tells whether a JSON text has half of a \uXXXX pair, which is
// no character.
func loneSurrogate(b []byte) bool {
	pending := false
	for i := 0; ; {
		k := bytes.IndexByte(b[i:], '\\')
		if k < 0 || i+k+1 >= len(b) {
			return pending
		}
		if pending && k > 0 {
			return true
		}
		i += k + 2
		unit, ok := codeUnit(b[i-1:])
		low := ok && unit>>10 == 0xDC00>>10
		if pending != low {
			return true
		}
		pending = ok && unit>>10 == 0xD800>>10
		if ok {
			i += 4
		}
	}
}

// codeUnit reads "uXXXX".
func codeUnit(b []byte) (unit int, ok bool) {
	if len(b) < 5 || b[0] != 'u' {
		return 0, false
	}
	for _, c := range b[1:5] {
		if unhex(c) < 0 {
			return 0, false
		}
		unit = unit<<4 | unhex(c)
	}
	return unit, true
}

var (
	textStop   = control(stops{'"': true, '\\': true})
	dataStop   = control(stops{'"': true, '\\': true, ' ': true})
	scalarStop = stops{',': true, '}': true, ']': true, ' ': true, '\t': true, '\n': true, '\r': true, ':': true, '"': true, '{': true, '[': true}
)

// control adds the control characters, which no JSON string holds as they are.
func control(s stops) stops {
	for c := range ' ' {
		s[c] = true
	}
	return s
}
