package itop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

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

// named adds the operation and the ticket, as people call it, to an error.
func named(err error, m *passerelle.Message) error {
	var e *passerelle.Error
	if !errors.As(err, &e) {
		return err
	}
	if e.Op = "itop: " + m.Op; m.Number != "" {
		e.Ticket = m.Number
	} else if e.Ticket == "" {
		e.Ticket = m.Key
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
	ans, err := t.call(ctx, call{body: body, write: true})
	if err != nil {
		if m.Goals != nil && passerelle.ClassOf(err) == passerelle.Stuck && t.there(ctx, m) {
			return &passerelle.Receipt{Note: "was there already"}, nil
		}
		return nil, err
	}
	r := &passerelle.Receipt{}
	if m.Key == "" {
		if r.Ref = created(ans); r.Ref.Key == "" {
			return nil, unsure(true, "the answer names no ticket")
		}
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
	return err == nil && slices.Contains(m.Goals, f.Get("status").String())
}

// journal writes an entry and finds it again by a separate reading.
func (t *ITop) journal(ctx context.Context, m *passerelle.Message, body []byte, log string) (*passerelle.Receipt, error) {
	before, err := t.entries(ctx, m.Key, log)
	if err != nil {
		return nil, err
	}
	if _, err := t.call(ctx, call{body: body, write: true}); err != nil {
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

// ours finds among the entries that were not there before the one we wrote. An
// entry of somebody else's that came meanwhile is never taken for it: it would
// not be carried.
func ours(before, after []entry, sent string) string {
	old := map[string]bool{}
	for _, e := range before {
		old[e.name] = true
	}
	for _, alike := range []func(a, b string) bool{equal, sameLetters} {
		for _, e := range after {
			if !old[e.name] && alike(e.text, identity(sent)) {
				return e.name
			}
		}
	}
	return ""
}

func equal(a, b string) bool { return a == b }

// sameLetters compares what no cleaning of HTML changes.
func sameLetters(a, b string) bool { return letters(a) == letters(b) }

func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, s)
}

// attach sends one file, and finds its id by comparing what the ticket had
// before and has after.
func (t *ITop) attach(ctx context.Context, m *passerelle.Message, body []byte, files passerelle.Spool) (*passerelle.Receipt, error) {
	if len(m.Files) != 1 {
		return nil, passerelle.Errorf(passerelle.Stuck, "itop", "a message carries one file, not %d", len(m.Files))
	}
	before, err := t.attachmentIDs(ctx, m.Key)
	if err != nil {
		return nil, err
	}
	f := m.Files[0]
	content, err := files.Open(f.Sum)
	if err != nil {
		return nil, &passerelle.Error{Op: "itop", Class: passerelle.Stuck, Err: fmt.Errorf("« %s »: %w", f.Name, err), Hint: "drop the entry; the file must be attached again"}
	}
	defer content.Close()
	if _, err := t.call(ctx, call{body: body, write: true, file: &upload{content, f.Size}}); err != nil {
		return nil, err
	}
	after, err := t.attachmentIDs(ctx, m.Key)
	if err != nil {
		return nil, unsure(true, "sent, but not read back: %w", err)
	}
	fresh := without(after, before)
	if len(fresh) > 1 { // somebody attached another at the same moment
		if fresh, err = t.sameFile(ctx, f, fresh); err != nil {
			return nil, unsure(true, "sent, but not read back: %w", err)
		}
	}
	if len(fresh) == 0 {
		return nil, unsure(true, "« %s » was sent but is not there", f.Name)
	}
	return &passerelle.Receipt{Names: []string{attachmentName(m.Key, fresh[0])}}, nil
}

func without(list, old []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(x string) bool { return slices.Contains(old, x) })
}

func attachmentName(key, id string) string { return key + "/attachment/" + id }
