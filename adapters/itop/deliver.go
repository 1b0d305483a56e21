package itop

import (
	"context"
	"fmt"
	"io"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"passerelle"
	"passerelle/internal/richtext"
)

// Deliver makes one write at the iTop. Journals are read back, because iTop
// may lose an entry and only the stored text names it.
func (t *ITop) Deliver(ctx context.Context, m *passerelle.Message, files passerelle.Spool) (*passerelle.Receipt, error) {
	body := cleanRich(m)
	var r *passerelle.Receipt
	var err error
	switch log := logOf(body); {
	case len(m.Files) > 0:
		r, err = t.attach(ctx, m, body, files)
	case log != "":
		r, err = t.journal(ctx, m, body, log)
	default:
		r, err = t.plain(ctx, m, body)
	}
	return r, named(err, m)
}

// named adds the ticket to an error.
func named(err error, m *passerelle.Message) error {
	if e, ok := err.(*passerelle.Error); ok && e.Ticket == "" {
		e.Ticket, e.Op = m.Number, "itop: "+m.Op
	}
	return err
}

// cleanRich makes the message's HTML safe for iTop, whose own cleaning loses
// text (facts: a raw "<" ends it).
func cleanRich(m *passerelle.Message) []byte {
	body := []byte(m.Body)
	for _, path := range m.Rich {
		if b, err := sjson.SetBytes(body, path, richtext.Clean(gjson.GetBytes(body, path).String())); err == nil {
			body = b
		}
	}
	return body
}

func logOf(body []byte) string {
	for _, log := range []string{"public_log", "private_log"} {
		if gjson.GetBytes(body, "fields."+log).Exists() {
			return log
		}
	}
	return ""
}

func (t *ITop) plain(ctx context.Context, m *passerelle.Message, body []byte) (*passerelle.Receipt, error) {
	ans, err := t.call(ctx, body, true, nil)
	if err != nil {
		if m.Goals != nil && passerelle.ClassOf(err) == passerelle.Stuck && t.there(ctx, m) {
			return &passerelle.Receipt{Note: "was there already"}, nil
		}
		return nil, err
	}
	r := &passerelle.Receipt{}
	if m.Key == "" {
		r.Ref = created(ans)
	}
	return r, nil
}

// created is the reference of a ticket that was just made.
func created(ans gjson.Result) passerelle.Ref {
	for _, o := range objects(ans) {
		return passerelle.Ref{Key: o.Get("key").String(), Number: o.Get("fields.ref").String()}
	}
	return passerelle.Ref{}
}

// there tells whether the ticket stands in the message's goal.
func (t *ITop) there(ctx context.Context, m *passerelle.Message) bool {
	f, err := t.ticket(ctx, m.Key, "status")
	return err == nil && in(f.Get("status").String(), m.Goals)
}

func in(s string, list []string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// journal writes an entry and finds it again by a separate reading.
func (t *ITop) journal(ctx context.Context, m *passerelle.Message, body []byte, log string) (*passerelle.Receipt, error) {
	before, err := t.entries(ctx, m.Key, log)
	if err != nil {
		return nil, err
	}
	if _, err := t.call(ctx, body, true, nil); err != nil {
		return nil, err
	}
	after, err := t.entries(ctx, m.Key, log)
	if err != nil { // written, but not yet seen
		return nil, unsure(true, "written, but not read back: %w", err)
	}
	name := ours(before, after, gjson.GetBytes(body, "fields."+log).String())
	if name == "" {
		return nil, unsure(true, "the %s entry was written but is not there: another write at the same moment took its place", log)
	}
	return &passerelle.Receipt{Names: []string{name}}, nil
}

// entry is one journal entry as it is stored.
type entry struct {
	name, text   string // its identity, and the text that it is made of
	html         string // as stored
	author, date string // a friendly name; the iTop's local time, without offset
}

// entries reads a journal, oldest first, each entry with its name.
func (t *ITop) entries(ctx context.Context, key, log string) ([]entry, error) {
	f, err := t.ticket(ctx, key, log)
	if err != nil {
		return nil, err
	}
	return entriesOf(key, log, f.Get(log)), nil
}

func entriesOf(key, log string, v gjson.Result) []entry {
	var out []entry
	count := map[string]int{}
	for _, x := range v.Get("entries").Array() {
		e := entry{html: x.Get("message_html").String(), author: x.Get("user_login").String(), date: x.Get("date").String()}
		e.text = identity(e.html)
		count[e.text]++
		e.name = logName(key, log, e.html, count[e.text])
		out = append(out, e)
	}
	return out
}

// ours finds among the entries that were not there before the one we wrote:
// the one with our text, or the last.
func ours(before, after []entry, sent string) string {
	old := map[string]bool{}
	for _, e := range before {
		old[e.name] = true
	}
	last, text := "", identity(sent)
	for _, e := range after {
		if old[e.name] {
			continue
		}
		if e.text == text {
			return e.name
		}
		last = e.name
	}
	return last
}

// attach sends one file, and finds its id by comparing what the ticket had
// before and has after.
func (t *ITop) attach(ctx context.Context, m *passerelle.Message, body []byte, files passerelle.Spool) (*passerelle.Receipt, error) {
	before, err := t.attachmentIDs(ctx, m.Key)
	if err != nil {
		return nil, err
	}
	bytes, err := files.Open(m.Files[0].Sum)
	if err != nil {
		return nil, &passerelle.Error{Op: "itop", Class: passerelle.Stuck, Err: fmt.Errorf("« %s »: %w", m.Files[0].Name, err), Hint: "drop the entry; the file must be attached again"}
	}
	defer bytes.Close()
	if _, err := t.call(ctx, body, true, io.Reader(bytes)); err != nil {
		return nil, err
	}
	after, err := t.attachmentIDs(ctx, m.Key)
	if err != nil {
		return nil, unsure(true, "sent, but not read back: %w", err)
	}
	fresh := without(after, before)
	if len(fresh) > 1 {
		fresh, err = t.sameFile(ctx, m, fresh)
	}
	if err != nil || len(fresh) == 0 {
		return nil, unsure(true, "« %s » was sent but is not there: %v", m.Files[0].Name, err)
	}
	return &passerelle.Receipt{Names: []string{attachmentName(m.Key, fresh[0])}}, nil
}

func without(list, old []string) []string {
	var out []string
	for _, x := range list {
		if !in(x, old) {
			out = append(out, x)
		}
	}
	return out
}

func attachmentName(key, id string) string { return key + "/attachment/" + id }
