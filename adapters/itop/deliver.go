package itop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"passerelle"
	"passerelle/internal/richtext"
)

// Deliver makes one write at the iTop. Journals are read back, because iTop
// may lose an entry and only the stored text names it; files, because a damaged
// one looks like any other.
func (t *ITop) Deliver(ctx context.Context, m *passerelle.Message, files passerelle.Spool) (*passerelle.Receipt, error) {
	if m.Op == passerelle.OpNotify { // R25
		return &passerelle.Receipt{Note: "not told: an iTop has no watchers or labels (take notify: comment)"}, nil
	}
	body := cleanRich(m)
	var r *passerelle.Receipt
	var err error
	switch log := logOf(body); {
	case len(m.Files) > 0:
		r, err = t.attach(ctx, m, body, files)
	case m.Key == "":
		r, err = t.newTicket(ctx, m, body)
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

// logs are the journals of a ticket.
var logs = []string{"public_log", "private_log"}

// logOf is the journal that a message writes in, "" for none.
func logOf(body []byte) string {
	for _, log := range logs {
		if gjson.GetBytes(body, "fields."+log).Exists() {
			return log
		}
	}
	return ""
}

// plain writes fields, or changes the ticket's state.
func (t *ITop) plain(ctx context.Context, m *passerelle.Message, body []byte) (*passerelle.Receipt, error) {
	if _, err := t.call(ctx, call{body: body, write: true}); err != nil {
		return t.already(ctx, m, body, err)
	}
	return &passerelle.Receipt{}, nil
}

// already judges a refused change of state by where the ticket stands: where
// the message brings it all is well, else the error says where it stands.
func (t *ITop) already(ctx context.Context, m *passerelle.Message, body []byte, refused error) (*passerelle.Receipt, error) {
	var e *passerelle.Error
	if len(m.Goals) == 0 || !errors.As(refused, &e) || e.Class != passerelle.Stuck {
		return nil, refused
	}
	there, where, err := t.stands(ctx, m, body)
	switch {
	case errors.Is(err, errGone):
		return nil, err
	case err != nil:
		return nil, refused
	case there:
		return &passerelle.Receipt{Note: "was there already"}, nil
	}
	if e.Hint != "" {
		e.Hint += "; "
	}
	e.Hint += fmt.Sprintf("the ticket stands in %s, the message wants %s: bring it there by hand and drop this entry, or to where the stimulus is valid and retry it",
		where, place(m.Goals, namedKeys(body)))
	return nil, e
}

// stands tells whether the ticket is where the message brings it, in status and
// in the objects that the message points at: to give a ticket to another team
// may leave its status as it is, and a solution and a rejection differ by their
// code alone. It says where the ticket stands.
func (t *ITop) stands(ctx context.Context, m *passerelle.Message, body []byte) (there bool, where string, err error) {
	want, ids, have := namedKeys(body), numberedKeys(body), map[string]string{}
	fields := "status"
	for attr := range want {
		fields += "," + attr + "_friendlyname"
	}
	for attr := range ids {
		fields += "," + attr
	}
	f, err := t.ticket(ctx, m.Key, fields)
	if err != nil {
		return false, "", err
	}
	status := f.Get("status").String()
	there = slices.Contains(m.Goals, status)
	for attr, name := range want {
		have[attr] = f.Get(attr + "_friendlyname").String()
		there = there && strings.Contains(strings.ToLower(have[attr]), strings.ToLower(name))
	}
	for attr, id := range ids {
		have[attr] = f.Get(attr).String()
		there = there && have[attr] == id
	}
	return there, place([]string{status}, have), nil
}

// numberedKeys are the external keys that a message gives by id.
func numberedKeys(body []byte) map[string]string {
	out := map[string]string{}
	gjson.GetBytes(body, "fields").ForEach(func(attr, v gjson.Result) bool {
		if name := attr.String(); strings.HasSuffix(name, "_id") && attributeCode.MatchString(name) && numeric(v.String()) == nil {
			out[name] = v.String()
		}
		return true
	})
	return out
}

// namedKeys are the external keys that a message gives by name.
func namedKeys(body []byte) map[string]string {
	out := map[string]string{}
	gjson.GetBytes(body, "fields").ForEach(func(attr, v gjson.Result) bool {
		if name := v.Get("name"); v.IsObject() && name.Type == gjson.String && attributeCode.MatchString(attr.String()) {
			out[attr.String()] = name.String()
		}
		return true
	})
	return out
}

// place says where a ticket is: « assigned » (team_id « N1 »).
func place(statuses []string, keys map[string]string) string {
	s := "« " + strings.Join(statuses, " » or « ") + " »"
	for _, attr := range slices.Sorted(maps.Keys(keys)) {
		s += " (" + attr + " « " + keys[attr] + " »)"
	}
	return s
}
