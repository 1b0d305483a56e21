package itop

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime/multipart"

	"passerelle"
)

// upload is a file on its way to iTop. It passes through: only the words of
// its message are held in memory.
type upload struct {
	r    io.Reader
	size int64 // bytes
}

// body is the multipart body of a message in which the file's base64 takes the
// place of passerelle.DataToken, its Content-Type and its size.
func (u *upload) body(fields [][2]string, message []byte) (io.Reader, string, int64, error) {
	before, after, ok := bytes.Cut(message, []byte(passerelle.DataToken))
	if !ok {
		return nil, "", 0, fmt.Errorf("the message has no %s, the place of the file", passerelle.DataToken)
	}
	var b bytes.Buffer // writing to it cannot fail
	mw := multipart.NewWriter(&b)
	for _, f := range fields {
		_ = mw.WriteField(f[0], f[1])
	}
	w, _ := mw.CreateFormField("json_data")
	_, _ = w.Write(before)
	cut := b.Len()
	_, _ = w.Write(after)
	_ = mw.Close()
	head, tail := b.Bytes()[:cut], b.Bytes()[cut:]
	n := (u.size + 2) / 3 * 4
	return io.MultiReader(bytes.NewReader(head), &encodingReader{r: u.r}, bytes.NewReader(tail)), mw.FormDataContentType(), int64(len(head)+len(tail)) + n, nil
}

// encodingReader gives the base64 of what r gives.
type encodingReader struct {
	r    io.Reader
	raw  [24 << 10]byte // a multiple of 3: padding stands at the end only
	text [32 << 10]byte
	rest []byte // of text, not yet given
	err  error
}

// Read implements io.Reader.
func (e *encodingReader) Read(p []byte) (int, error) {
	if len(e.rest) == 0 && e.err == nil {
		var n int
		n, e.err = io.ReadFull(e.r, e.raw[:])
		if e.err == io.ErrUnexpectedEOF {
			e.err = io.EOF
		}
		if e.err == nil || e.err == io.EOF {
			base64.StdEncoding.Encode(e.text[:], e.raw[:n])
			e.rest = e.text[:base64.StdEncoding.EncodedLen(n)]
		}
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	if n == 0 && len(p) > 0 {
		return 0, e.err
	}
	return n, nil
}
