package itop

import (
	"context"
	"encoding/base64"
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
// for journals and files it finds what looks like ours (Receipt.Either), for a
// change of state it compares the state.
func (t *ITop) Probe(ctx context.Context, m *passerelle.Message, _ passerelle.Spool) (*passerelle.Receipt, error) {
	body := cleanRich(m)
	var r *passerelle.Receipt
	var err error
	switch log := logOf(body); {
	case len(m.Files) > 0:
		r, err = t.probeFile(ctx, m)
	case log != "":
		r, err = t.probeJournal(ctx, m, body, log)
	case m.Goals != nil:
		r, err = t.probeState(ctx, m)
	case m.Key == "":
		return nil, passerelle.ErrUnknown // a create without a mark of ours
	default:
		return nil, passerelle.ErrAbsent // writing the same fields again changes nothing
	}
	return r, named(err, m)
}

func (t *ITop) probeState(ctx context.Context, m *passerelle.Message) (*passerelle.Receipt, error) {
	f, err := t.ticket(ctx, m.Key, "status")
	if err != nil {
		return nil, err
	}
	if in(f.Get("status").String(), m.Goals) {
		return &passerelle.Receipt{Note: "found in effect"}, nil
	}
	return nil, passerelle.ErrAbsent
}

func (t *ITop) probeJournal(ctx context.Context, m *passerelle.Message, body []byte, log string) (*passerelle.Receipt, error) {
	entries, err := t.entries(ctx, m.Key, log)
	if err != nil {
		return nil, err
	}
	r := &passerelle.Receipt{Note: "found in effect"}
	text := identity(gjson.GetBytes(body, "fields."+log).String())
	for _, e := range entries {
		if identity(e.html) == text {
			r.Either = append(r.Either, e.name)
		}
	}
	if len(r.Either) == 0 {
		return nil, passerelle.ErrAbsent
	}
	return r, nil
}

func (t *ITop) probeFile(ctx context.Context, m *passerelle.Message) (*passerelle.Receipt, error) {
	ids, err := t.attachmentIDs(ctx, m.Key)
	if err != nil {
		return nil, err
	}
	ids, err = t.sameFile(ctx, m, ids)
	if err != nil {
		return nil, err
	}
	r := &passerelle.Receipt{Note: "found in effect"}
	for _, id := range ids {
		r.Either = append(r.Either, attachmentName(m.Key, id))
	}
	if len(r.Either) == 0 {
		return nil, passerelle.ErrAbsent
	}
	return r, nil
}

// attachmentIDs lists the ids of a ticket's attachments, without their bytes.
func (t *ITop) attachmentIDs(ctx context.Context, key string) ([]string, error) {
	if strings.Trim(key, "0123456789") != "" || key == "" {
		return nil, passerelle.Errorf(passerelle.Stuck, "itop", "%q is no key of a ticket", key)
	}
	ans, err := t.query(ctx, "Attachment", "SELECT Attachment WHERE item_class='"+t.cfg.Class+"' AND item_id="+key, "id")
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, o := range objects(ans) {
		ids = append(ids, o.Get("key").String())
	}
	slices.SortFunc(ids, func(a, b string) int { // by number: the order in which they came
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return ids, nil
}

// sameFile keeps the ids whose name and size are the message's file's.
func (t *ITop) sameFile(ctx context.Context, m *passerelle.Message, ids []string) ([]string, error) {
	var out []string
	for _, id := range ids {
		name, _, size, err := t.contents(ctx, id)
		if err != nil {
			return nil, err
		}
		if name == m.Files[0].Name && size == m.Files[0].Size {
			out = append(out, id)
		}
	}
	return out, nil
}

func (t *ITop) contents(ctx context.Context, id string) (name, mime string, size int64, err error) {
	c, err := t.document(ctx, id)
	if err != nil {
		return "", "", 0, err
	}
	data := c.Get("data").String()
	size = int64(base64.StdEncoding.DecodedLen(len(data)) - strings.Count(data[max(0, len(data)-2):], "="))
	return c.Get("filename").String(), c.Get("mimetype").String(), size, nil
}

func (t *ITop) document(ctx context.Context, id string) (gjson.Result, error) {
	ans, err := t.query(ctx, "Attachment", id, "contents")
	if err != nil {
		return gjson.Result{}, err
	}
	found := objects(ans)
	if len(found) == 0 {
		return gjson.Result{}, passerelle.Errorf(passerelle.Stuck, "itop", "attachment %s is gone", id)
	}
	return found[0].Get("fields.contents"), nil
}

// Read returns the ticket's journals and attachments as events, oldest first.
// Dates are iTop's local ones and order nothing: within a journal the order is
// the array's.
func (t *ITop) Read(ctx context.Context, key string) (*passerelle.Snapshot, error) {
	f, err := t.ticket(ctx, key, "id,ref,status,last_update,public_log,private_log")
	if errors.Is(err, errGone) {
		return &passerelle.Snapshot{Ref: passerelle.Ref{Key: key}, Gone: true}, nil
	}
	if err != nil {
		return nil, err
	}
	s := &passerelle.Snapshot{Ref: passerelle.Ref{Key: key, Number: f.Get("ref").String()},
		Fields: map[string]string{"status": f.Get("status").String(), "last_update": f.Get("last_update").String()}}
	for _, log := range []struct {
		field string
		kind  passerelle.Kind
	}{{"private_log", passerelle.PrivateLog}, {"public_log", passerelle.PublicLog}} {
		for _, e := range entriesOf(key, log.field, f.Get(log.field)) {
			s.Events = append(s.Events, t.logEvent(key, log.field, log.kind, e))
		}
	}
	slices.SortStableFunc(s.Events, func(a, b *passerelle.Event) int { return strings.Compare(a.Fields["date"], b.Fields["date"]) })
	ids, err := t.attachmentIDs(ctx, key)
	for _, id := range ids {
		s.Events = append(s.Events, t.event(key, passerelle.Attach, attachmentName(key, id), id))
	}
	return s, err
}

func (t *ITop) event(key string, k passerelle.Kind, name, source string) *passerelle.Event {
	return &passerelle.Event{Contract: t.cfg.Contract, From: t.cfg.Side, Kind: k, Key: key, Names: []string{name}, Source: source, At: time.Now(), Fields: map[string]string{}}
}

func (t *ITop) logEvent(key, log string, k passerelle.Kind, e entry) *passerelle.Event {
	ev := t.event(key, k, e.name, "")
	ev.Fields = map[string]string{log: e.html, "author": e.author, "date": e.date}
	return ev
}

// Fetch brings an attachment's bytes into the spool.
func (t *ITop) Fetch(ctx context.Context, e *passerelle.Event, files passerelle.Spool) error {
	c, err := t.document(ctx, e.Source)
	if err != nil {
		return err
	}
	f, err := files.Put(ctx, base64.NewDecoder(base64.StdEncoding, io.Reader(strings.NewReader(c.Get("data").String()))))
	if err != nil {
		return fmt.Errorf("itop: attachment %s: %w", e.Source, err)
	}
	f.Name, f.MIME = cleanName(c.Get("filename").String()), c.Get("mimetype").String()
	if f.Name == "" {
		f.Name = "attachment-" + e.Source
	}
	e.Files, e.Alias = []passerelle.File{f}, fileAlias(e.Key, f)
	return nil
}
