package itop

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
)

// Probe asks whether an earlier Deliver of m took effect. iTop keeps no marks:
// a create is looked for by the mark field, for journals and files it finds what
// looks like ours (Receipt.Either), for a change of state it compares the state.
func (t *ITop) Probe(ctx context.Context, m *passerelle.Message, _ passerelle.Spool) (*passerelle.Receipt, error) {
	body := cleanRich(m)
	var r *passerelle.Receipt
	var err error
	switch log := logOf(body); {
	case len(m.Files) > 0:
		r, err = t.probeFile(ctx, m, body)
	case m.Key == "":
		r, err = t.probeCreate(ctx, body)
	case log != "":
		r, err = t.probeJournal(ctx, m, body, log)
	case m.Goals != nil:
		r, err = t.probeState(ctx, m, body)
	default:
		return nil, passerelle.ErrAbsent // writing the same fields again changes nothing
	}
	return r, named(err, m)
}

func (t *ITop) probeState(ctx context.Context, m *passerelle.Message, body []byte) (*passerelle.Receipt, error) {
	there, _, err := t.stands(ctx, m, body)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, passerelle.ErrAbsent
	}
	return &passerelle.Receipt{Note: "found in effect"}, nil
}

// attached is an attachment of a ticket, without its bytes.
type attached struct{ id, item, user string }

// attachmentsOf lists those of some tickets, in the order in which they came.
func (t *ITop) attachmentsOf(ctx context.Context, keys ...string) ([]attached, error) {
	list, err := idList(keys)
	if err != nil {
		return nil, err
	}
	ans, err := t.call(ctx, call{body: query("Attachment", "SELECT Attachment WHERE item_class='"+t.cfg.Class+"' AND item_id IN ("+list+")", "item_id,user_id")})
	if err != nil {
		return nil, err
	}
	var out []attached
	for _, o := range objects(ans) {
		a := attached{o.Get("key").String(), o.Get("fields.item_id").String(), account(o.Get("fields.user_id").String())}
		if numeric(a.id) != nil || numeric(a.item) != nil {
			return nil, unsure(false, "the answer is not iTop's: attachment %q of ticket %q", t.quote(a.id, 80), t.quote(a.item, 80))
		}
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b attached) int { return byNumber(a.id, b.id) })
	return out, nil
}

// attachmentIDs lists the ids of a ticket's attachments.
func (t *ITop) attachmentIDs(ctx context.Context, key string) ([]string, error) {
	list, err := t.attachmentsOf(ctx, key)
	var ids []string
	for _, a := range list {
		ids = append(ids, a.id)
	}
	return ids, err
}

// byNumber compares two keys: iTop counts them up.
func byNumber(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// account is the id of an account, "" for 0: none.
func account(id string) string {
	if id == "0" {
		return ""
	}
	return id
}

// sameFile keeps the ids whose name and bytes are the file's.
func (t *ITop) sameFile(ctx context.Context, f passerelle.File, ids []string) ([]string, error) {
	var out []string
	for _, id := range ids {
		have, err := t.document(ctx, "Attachment", id, digest, func(passerelle.File) {})
		if errors.Is(err, errNoFile) {
			continue // taken away meanwhile
		}
		if err != nil {
			return nil, err
		}
		if sameContent(have, f) && sameName(have.Name, f.Name) {
			out = append(out, id)
		}
	}
	return out, nil
}

// digest measures a file and keeps nothing.
func digest(r io.Reader) (passerelle.File, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return passerelle.File{Size: n, Sum: hex.EncodeToString(h.Sum(nil))}, err
}

// errNoFile says that a document is not there, or holds nothing readable.
var errNoFile = errors.New("the file is gone")

// maxDocument bounds the answer that brings a file, in bytes.
const maxDocument = 512 << 20

// document reads an Attachment or InlineImage. Its bytes go through put as they
// come; drop undoes that where the rest of the answer is bad.
func (t *ITop) document(ctx context.Context, class, id string, put func(io.Reader) (passerelle.File, error), drop func(passerelle.File)) (passerelle.File, error) {
	if err := numeric(id); err != nil {
		return passerelle.File{}, err
	}
	var files []spliced
	ans, err := t.call(ctx, call{body: query(class, id, "contents"), read: func(r io.Reader) ([]byte, error) {
		s := &splicer{r: bufio.NewReaderSize(r, window), limit: maxDocument, words: maxAnswer, data: documentData, put: put, drop: drop}
		err := s.splice()
		files = s.files
		if s.over() {
			err = passerelle.Errorf(passerelle.Stuck, "itop", "%s %s: the answer is too long to be one file", class, id)
		}
		return s.out.Bytes(), err
	}})
	found := objects(ans)
	if err == nil && (len(found) != 1 || len(files) != 1 || files[0].err != nil) {
		err = &passerelle.Error{Op: "itop", Class: passerelle.Stuck, Err: fmt.Errorf("%s %s: %w", class, id, errNoFile)}
	}
	if err != nil {
		for _, f := range files {
			if f.err == nil {
				drop(f.file)
			}
		}
		return passerelle.File{}, err
	}
	c := found[0].Get("fields.contents")
	f := files[0].file
	f.Name, f.MIME = c.Get("filename").String(), c.Get("mimetype").String()
	return f, nil
}

// documentData tells whether the value that comes is an attachment's base64, in
// an answer: objects.*.fields.contents.data.
func documentData(p []step) bool {
	return len(p) == 5 && p[0].name == "objects" && p[2].name == "fields" && p[3].name == "contents" && p[4].name == "data"
}

// Read returns the ticket's journals, the images that its texts show and its
// attachments as events, oldest first, and where it stands: iTop tells no steps.
// Dates are iTop's local ones and order nothing: within a journal the order is
// the array's.
func (t *ITop) Read(ctx context.Context, key string) (*passerelle.Snapshot, error) {
	f, err := t.ticket(ctx, key, "id,ref,status,last_update,description,public_log,private_log")
	if errors.Is(err, errGone) {
		return &passerelle.Snapshot{Ref: passerelle.Ref{Key: key}, Gone: true}, nil
	}
	if err != nil {
		return nil, err
	}
	s := &passerelle.Snapshot{Ref: passerelle.Ref{Key: key, Number: f.Get("ref").String()}, Status: f.Get("status").String(), Forgets: true,
		Fields: map[string]string{"status": f.Get("status").String(), "last_update": f.Get("last_update").String()}}
	s.Events = byDate(t.logEvents(key, "private_log", passerelle.PrivateLog, f), t.logEvents(key, "public_log", passerelle.PublicLog, f))
	s.Events = append(s.Events, t.inlineImages(key, f.Get("description").String(), s.Events)...)
	files, err := t.attachmentsOf(ctx, key)
	if err != nil {
		return nil, err
	}
	for _, a := range files {
		e := t.event(key, passerelle.Attach, attachmentName(key, a.id), a.id)
		e.Account = a.user
		s.Events = append(s.Events, e)
	}
	if s.Away, err = t.away(ctx, key); err != nil {
		return nil, err
	}
	if s.Overwritten, err = t.overwritten(ctx, key, f); err != nil {
		return nil, err
	}
	return s, nil
}

// byDate merges two journals. The order within each stays: iTop's clock goes
// back an hour in October.
func byDate(a, b []*passerelle.Event) []*passerelle.Event {
	var out []*passerelle.Event
	for len(a) > 0 && len(b) > 0 {
		if a[0].Fields["date"] <= b[0].Fields["date"] {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

func (t *ITop) event(key string, k passerelle.Kind, name, source string) *passerelle.Event {
	return &passerelle.Event{Contract: t.cfg.Contract, From: t.cfg.Side, Kind: k, Key: key, Names: []string{name}, Source: source, At: time.Now(), Fields: map[string]string{}}
}

func (t *ITop) logEvents(key, log string, k passerelle.Kind, ticket gjson.Result) []*passerelle.Event {
	var out []*passerelle.Event
	for _, e := range entriesOf(key, log, ticket.Get(log)) {
		ev := t.event(key, k, e.name, "")
		ev.Fields = map[string]string{log: e.html, "author": e.author, "date": e.date}
		ev.Account = account(e.user)
		out = append(out, ev)
	}
	return out
}

// fetch brings the bytes of a document into the spool, as they come.
func (t *ITop) fetch(ctx context.Context, class, id string, files passerelle.Spool) (passerelle.File, error) {
	put := func(r io.Reader) (passerelle.File, error) {
		f, err := files.Put(ctx, r)
		if err != nil {
			err = passerelle.Errorf(passerelle.Temporary, "itop", "%s %s: %w", class, id, err)
		}
		return f, err
	}
	return t.document(ctx, class, id, put, func(f passerelle.File) { files.Release(f) })
}

// Fetch brings the bytes of an attachment, or of an image that was pasted into a
// text, into the spool.
func (t *ITop) Fetch(ctx context.Context, e *passerelle.Event, files passerelle.Spool) error {
	if id, is := strings.CutPrefix(e.Source, inlineSource); is {
		return t.fetchInline(ctx, e, id, files)
	}
	f, err := t.fetch(ctx, "Attachment", e.Source, files)
	if err != nil {
		return err
	}
	if f.Name = cleanName(f.Name); f.Name == "" {
		f.Name = "attachment-" + e.Source
	}
	e.Files, e.Alias = []passerelle.File{f}, fileAlias(e.Key, f)
	return nil
}
