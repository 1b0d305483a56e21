package jira

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/tidwall/gjson"

	"passerelle"
)

const attachOp = "jira: attach file"

// attach sets the fields, then sends the file: an upload that was answered must
// be the last thing that can fail, since it cannot be repeated.
func (j *Jira) attach(ctx context.Context, m *passerelle.Message, w *wish, files passerelle.Spool) (*passerelle.Receipt, error) {
	c := call{op: attachOp, ticket: ticket(m)}
	if len(m.Files) != 1 {
		return nil, c.fail(passerelle.Stuck, "send one file a message", "the message holds %d files", len(m.Files))
	}
	f := m.Files[0]
	if limit := j.cfg.AttachmentLimit; limit > 0 && f.Size > limit {
		return nil, c.fail(passerelle.Stuck, "", "%q has %d bytes, Jira takes at most %d", f.Name, f.Size, limit)
	}
	if err := j.edit(ctx, m, w.fields); err != nil {
		return nil, err
	}
	bytes, err := files.Open(f.Sum)
	if errors.Is(err, passerelle.ErrNotFound) {
		return nil, c.fail(passerelle.Stuck, "have it attached again", "the bytes of %q are gone", f.Name)
	}
	if err != nil {
		return nil, c.fail(passerelle.Temporary, "", "%w", err)
	}
	defer func() { _ = bytes.Close() }()
	return j.upload(ctx, m, f, bytes)
}

// upload streams one file.
func (j *Jira) upload(ctx context.Context, m *passerelle.Message, f passerelle.File, content io.Reader) (*passerelle.Receipt, error) {
	from := &watched{r: &exact{content, f.Size}}
	body, kind, err := form(f, from)
	c := call{op: attachOp, ticket: ticket(m), method: http.MethodPost, path: issuePath(m.Key, "attachments"), writes: true, wait: j.cfg.Transfer}
	if err != nil {
		return nil, c.fail(passerelle.Stuck, "", "%w", err)
	}
	c.stream, c.head = body, map[string]string{"Content-Type": kind, "X-Atlassian-Token": "no-check"}
	a, err := j.do(ctx, c)
	if from.err != nil { // Jira cannot have taken half a form
		return nil, c.fail(passerelle.Temporary, "", "the bytes of %q cannot be read: %w", f.Name, from.err)
	}
	if statusOf(err) == http.StatusNotFound { // Data Center's word for "too large"
		return nil, c.fail(passerelle.Stuck, "no such issue, no permission, or a file beyond Jira's limit", "%q, %d bytes: %w", f.Name, f.Size, errors.Unwrap(err))
	}
	if err != nil {
		return nil, err
	}
	made := a.json.Get("0")
	if made.Get("id").String() == "" {
		return nil, c.fail(passerelle.Unsure, "", "the answer names no attachment")
	}
	j.sent.note(made.Get("id").String(), m.ID)
	unread, err := j.arrived(ctx, c, made, f)
	if err != nil {
		return nil, err
	}
	r := j.attachedReceipt(ctx, m, made)
	if unread != nil {
		r.Note += ", not read back: " + unread.Error()
	}
	return r, nil
}

// arrived compares what Jira holds with what was sent, and takes a damaged file
// back (R24). unread is why Jira does not let us read what it took: its word for
// the size must do then.
func (j *Jira) arrived(ctx context.Context, c call, made gjson.Result, f passerelle.File) (unread, err error) {
	have := attachment{id: made.Get("id").String(), size: made.Get("size").Int(), content: made.Get("content").String()}
	if have.size != f.Size {
		return nil, j.withdraw(ctx, c, have, f, fmt.Sprintf("with %d bytes of %d", have.size, f.Size))
	}
	same, err := j.sameContent(ctx, call{op: attachOp, ticket: c.ticket, method: http.MethodGet}, have, f.Sum)
	switch class := passerelle.ClassOf(err); {
	case err != nil && (class == passerelle.Stuck || class == passerelle.Denied):
		return err, nil
	case err != nil: // it is there, and a probe will tell
		return nil, c.fail(passerelle.Unsure, "", "%q is attachment %s, but was not read back: %w", f.Name, have.id, err)
	case !same:
		return nil, j.withdraw(ctx, c, have, f, fmt.Sprintf("with other content (not the SHA-256 %.12s…)", f.Sum))
	}
	return nil, nil
}

// form is a multipart body with one file, of which only the frame is held in
// memory.
func form(f passerelle.File, content io.Reader) (*sized, string, error) {
	var frame bytes.Buffer
	w := multipart.NewWriter(&frame)
	head := textproto.MIMEHeader{}
	head.Set("Content-Disposition", multipart.FileContentDisposition("file", safeName(f.Name)))
	head.Set("Content-Type", safeType(f.MIME))
	if _, err := w.CreatePart(head); err != nil {
		return nil, "", err
	}
	start := bytes.Clone(frame.Bytes())
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	end := frame.Bytes()[len(start):]
	all := io.MultiReader(bytes.NewReader(start), content, bytes.NewReader(end))
	return &sized{all, int64(frame.Len()) + f.Size}, w.FormDataContentType(), nil
}

// exact reads left bytes; fewer or more are an error.
type exact struct {
	r    io.Reader
	left int64
}

func (e *exact) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.left -= int64(n)
	if e.left < 0 || err == io.EOF && e.left > 0 {
		return 0, errors.New("the file's size is not the one it was stored with")
	}
	return n, err
}

// safeName is a file's name without folders and control characters, short
// enough for any disk.
func safeName(name string) string {
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	name = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "")))
	if strings.Trim(name, "./ ") == "" {
		return "attachment"
	}
	const longest = 200
	ext := path.Ext(name)
	if len(name) > longest && len(ext) < 20 {
		return strings.ToValidUTF8(name[:longest-len(ext)], "") + ext
	}
	if len(name) > longest {
		return strings.ToValidUTF8(name[:longest], "")
	}
	return name
}

func safeType(mime string) string {
	if mime == "" || strings.ContainsFunc(mime, unicode.IsControl) {
		return "application/octet-stream"
	}
	return mime
}

// withdraw takes back a file that arrived damaged, so that it can be sent again.
func (j *Jira) withdraw(ctx context.Context, c call, have attachment, f passerelle.File, how string) error {
	_, err := j.do(ctx, call{op: attachOp, ticket: c.ticket, method: http.MethodDelete, path: "/rest/api/2/attachment/" + url.PathEscape(have.id), writes: true})
	if err != nil {
		return c.fail(passerelle.Stuck, "delete attachment "+have.id+" in Jira, then retry", "%q arrived %s and cannot be taken back: %w", f.Name, how, err)
	}
	return c.fail(passerelle.Temporary, "", "%q arrived %s and was taken back", f.Name, how)
}

func (j *Jira) attachedReceipt(ctx context.Context, m *passerelle.Message, made gjson.Result) *passerelle.Receipt {
	id, issue := made.Get("id").String(), m.Key
	r := &passerelle.Receipt{Note: "attachment " + id} // by its id: the log shows notes, and a name may name a person
	if !numeric(issue) {
		full, err := j.issue(ctx, attachOp, m)
		if err != nil {
			return r // our account tells later that the file is ours
		}
		issue = full.Get("id").String()
	}
	r.Names = []string{fileName(issue, id)}
	return r
}

// probeAttach looks at the newest file of our account that is not known to be
// another message's: writes to one issue are serial, so an upload whose answer
// was lost is that one or did not happen. Name, size and content must fit. After
// a restore, uploads of ours that nobody remembers may have followed: then it may
// be any file that fits, also one that this process knows to be another message's.
func (j *Jira) probeAttach(ctx context.Context, m *passerelle.Message, spool passerelle.Spool) (*passerelle.Receipt, error) {
	const op = "jira: find attachment"
	if len(m.Files) != 1 {
		return nil, passerelle.ErrUnknown
	}
	issue, err := j.issue(ctx, op, m)
	if err != nil {
		return nil, err
	}
	list, err := j.attached(ctx, issue)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(f attachment) bool { return !f.ours })
	sortBy(list, func(f attachment) order { return order{at: f.created, id: number(f.id)} })
	if !m.Restored && len(list) > 0 {
		list = list[len(list)-1:]
		if by := j.sent.of(list[0].id); by != "" && by != m.ID {
			return nil, passerelle.ErrAbsent
		}
	}
	list, err = j.fitting(ctx, call{op: op, ticket: ticket(m)}, list, m.Files[0])
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, passerelle.ErrAbsent
	}
	r := &passerelle.Receipt{Note: "attachment " + list[0].id}
	for _, f := range list {
		r.Either = append(r.Either, fileName(issue.Get("id").String(), f.id))
	}
	if !m.Restored {
		j.sent.note(list[0].id, m.ID)
		r.Names, r.Either = r.Either, nil
	}
	return r, nil
}

// fitting keeps the files whose name, size and content are those of a file.
func (j *Jira) fitting(ctx context.Context, c call, list []attachment, want passerelle.File) ([]attachment, error) {
	var fit []attachment
	for _, f := range list {
		if f.name != safeName(want.Name) || f.size != want.Size {
			continue
		}
		same, err := j.sameContent(ctx, c, f, want.Sum)
		if err != nil {
			return nil, err
		}
		if same {
			fit = append(fit, f)
		}
	}
	return fit, nil
}

// sameContent downloads a file and compares its sum.
func (j *Jira) sameContent(ctx context.Context, c call, f attachment, sum string) (bool, error) {
	h := sha256.New()
	err := j.download(ctx, c, f.content, f.size, func(r io.Reader) error {
		_, err := io.Copy(h, r)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)) == sum, err
}
