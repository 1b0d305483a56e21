package agent

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"

	"passerelle"
)

// fill puts our credentials where the message's template has a place for them,
// and tells whether it has one (R26). Everything else stays as rendered.
func (a *Agent) fill(message []byte) (text []byte, filled bool, err error) {
	list, err := members(message)
	if err != nil {
		return nil, false, err
	}
	values := map[string]string{"auth_url": a.cfg.AuthURL, "auth_user": a.cfg.User, "auth_pwd": a.cfg.Password.Reveal()}
	last := 0
	for _, m := range list {
		v, ok := values[m.name]
		if !ok {
			continue
		}
		text = append(append(text, message[last:m.from]...), quoted(v)...)
		last = m.to
		filled = filled || m.name != "auth_url"
	}
	return append(text, message[last:]...), filled, nil
}

// member is a top-level member of a JSON object, and where its value stands.
type member struct {
	name     string
	from, to int
}

func members(object []byte) ([]member, error) {
	dec := json.NewDecoder(bytes.NewReader(object))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("the message is no JSON object")
	}
	var out []member
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, err
		}
		to := int(dec.InputOffset())
		out = append(out, member{name.(string), to - len(v), to})
	}
	_, err := dec.Token() // the closing brace
	return out, err
}

// quoted is s as a JSON string. A password that looks like the DataToken is
// never taken for the place of the file.
func quoted(s string) []byte {
	return bytes.ReplaceAll(encoded(s), []byte(passerelle.DataToken), []byte(`\u0024`+passerelle.DataToken[1:]))
}

func encoded(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// body is a request's body: what stands before the file, and after it. The file
// itself is never held in memory.
type body struct {
	head, tail []byte
	form       bool
	name       string // of the file
	bytes      int64  // of the file
	open       func() (io.ReadCloser, error)
}

// version is of the iTop protocol that the form speaks.
const version = "1.3"

// body dresses a message for the wire.
func (a *Agent) body(before, after []byte) *body {
	if !a.cfg.Form {
		return &body{head: before, tail: after}
	}
	return &body{form: true, head: []byte("version=" + version + "&json_data=" + url.QueryEscape(string(before))), tail: []byte(url.QueryEscape(string(after)))}
}

// withFile is the body of a message with its one file.
func (a *Agent) withFile(text []byte, list []passerelle.File, files passerelle.Spool) (*body, error) {
	if len(list) != 1 {
		return nil, fail(passerelle.Stuck, "", "a message carries one file, not %d", len(list))
	}
	before, after, ok := bytes.Cut(text, []byte(passerelle.DataToken))
	if !ok {
		return nil, fail(passerelle.Stuck, "correct the template and retry", "the message has no %s, the place of the file", passerelle.DataToken)
	}
	f := list[0]
	b := a.body(before, after)
	b.name, b.bytes, b.open = f.Name, f.Size, func() (io.ReadCloser, error) { return files.Open(f.Sum) }
	return b, nil
}

// unread classifies a file that our own side could not read. The message did
// not take effect: its JSON has no end.
func (b *body) unread(err error) error {
	if errors.Is(err, passerelle.ErrNotFound) || errors.Is(err, errSize) {
		return fail(passerelle.Stuck, "drop the entry; the file must be attached again", "« %s »: %w", b.name, err)
	}
	return fail(passerelle.Temporary, "", "« %s »: %w", b.name, err)
}

var errSize = errors.New("the file is not as long as it was")

// size counts the bytes that write will write.
func (b *body) size() (int64, error) {
	var n counter
	w := bufio.NewWriterSize(&n, chunk)
	if err := b.write(w); err != nil {
		return 0, err
	}
	return int64(n), w.Flush()
}

// counter counts what is written to it.
type counter int64

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// chunk is what passes at once, in bytes.
const chunk = 32 << 10

func (b *body) write(w io.Writer) error {
	if _, err := w.Write(b.head); err != nil {
		return err
	}
	if err := b.encode(w); err != nil {
		return err
	}
	_, err := w.Write(b.tail)
	return err
}

// encode writes the file's base64, which in a form is percent-escaped.
func (b *body) encode(w io.Writer) error {
	f, err := b.open()
	if err != nil {
		return err
	}
	defer f.Close()
	if b.form {
		w = &escaper{w: w}
	}
	enc := base64.NewEncoder(base64.StdEncoding, w)
	n, err := io.Copy(enc, f)
	if err != nil {
		return err
	}
	if n != b.bytes {
		return fmt.Errorf("%w: %d bytes, not %d", errSize, n, b.bytes)
	}
	return enc.Close()
}

// escaper escapes base64 for a form.
type escaper struct {
	w   io.Writer
	buf []byte
}

// Write implements io.Writer.
func (e *escaper) Write(p []byte) (int, error) {
	e.buf = e.buf[:0]
	for _, c := range p {
		switch c {
		case '+':
			e.buf = append(e.buf, "%2B"...)
		case '/':
			e.buf = append(e.buf, "%2F"...)
		case '=':
			e.buf = append(e.buf, "%3D"...)
		default:
			e.buf = append(e.buf, c)
		}
	}
	if _, err := e.w.Write(e.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// stream is a body on its way. Whoever starts one ends it.
type stream struct {
	r    *io.PipeReader
	done chan struct{}
	err  error // of the writing, once done is closed
}

func (b *body) stream() *stream {
	r, w := io.Pipe()
	s := &stream{r: r, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		buf := bufio.NewWriterSize(w, chunk)
		if s.err = b.write(buf); s.err == nil {
			s.err = buf.Flush()
		}
		_ = w.CloseWithError(s.err) // never fails
	}()
	return s
}

// end stops what is still under way and waits for it: nil if all was read,
// io.ErrClosedPipe if nobody wanted the rest, or what went wrong with the file.
func (s *stream) end() error {
	_ = s.r.Close() // never fails
	<-s.done
	return s.err
}
