package itop

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/tidwall/gjson"

	"passerelle"
)

// newTicket makes a ticket. Once iTop has named it, it is made, whatever
// happens afterwards: a number that comes late is better than a second ticket.
func (t *ITop) newTicket(ctx context.Context, m *passerelle.Message, body []byte) (*passerelle.Receipt, error) {
	ans, err := t.call(ctx, call{body: body, write: true})
	if err != nil {
		return nil, err
	}
	ref := created(ans)
	if ref.Key == "" {
		return nil, unsure(true, "the answer names no ticket")
	}
	if ref.Number != "" && logOf(body) == "" {
		return t.made(ref), nil
	}
	r, err := t.readMade(ctx, ref.Key, body)
	if err != nil {
		r = t.made(ref)
		r.Names = append(r.Names, sentNames(ref.Key, body)...)
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

// made is what a create leaves behind: its reference, never without a number,
// and, where this iTop's triggers tell the number too, the name of that fact.
func (t *ITop) made(ref passerelle.Ref) *passerelle.Receipt {
	if ref.Number == "" {
		ref.Number = ref.Key // a later reading brings the right one
	}
	r := &passerelle.Receipt{Ref: ref}
	if t.cfg.Side == passerelle.Partner {
		r.Names = []string{referenceName(ref.Key, ref.Key, ref.Number)}
	}
	return r
}

// readMade reads a new ticket's number, and its journals: what stands first in
// them came with the create, and is no news (R17).
func (t *ITop) readMade(ctx context.Context, key string, body []byte) (*passerelle.Receipt, error) {
	f, err := t.ticket(ctx, key, "ref,public_log,private_log")
	if err != nil {
		return nil, err
	}
	r := t.made(passerelle.Ref{Key: key, Number: f.Get("ref").String()})
	for _, log := range logs {
		entries := entriesOf(key, log, f.Get(log))
		if sent := gjson.GetBytes(body, "fields."+log); sent.Exists() && len(entries) > 0 {
			if e := t.written(entries[:1], wordsOf(sent)); e.name != "" {
				r.Names = append(r.Names, e.name)
			}
		}
	}
	return r, nil
}

// sentNames are what the journal entries of a create are most likely called,
// where the ticket cannot be read.
func sentNames(key string, body []byte) []string {
	var out []string
	for _, log := range logs {
		if sent := gjson.GetBytes(body, "fields."+log); wordsOf(sent) != "" {
			out = append(out, logName(key, log, wordsOf(sent), 1))
		}
	}
	return out
}

// probeCreate looks for the ticket of a create whose answer was lost, by the
// field that carries the broker's own reference.
func (t *ITop) probeCreate(ctx context.Context, body []byte) (*passerelle.Receipt, error) {
	mark := t.markOf(body)
	if mark == "" {
		return nil, passerelle.ErrUnknown
	}
	where := "SELECT " + t.cfg.Class + " WHERE " + t.cfg.MarkField + " = " + oqlString(mark)
	ans, err := t.call(ctx, call{body: query(t.cfg.Class, where, "id,"+t.cfg.MarkField)})
	if err != nil {
		return nil, err
	}
	keys := marked(ans, t.cfg.MarkField, mark)
	switch len(keys) {
	case 0:
		return nil, passerelle.ErrAbsent
	case 1:
		return t.foundMade(ctx, keys[0], body)
	}
	return nil, passerelle.ErrUnknown
}

func (t *ITop) foundMade(ctx context.Context, key string, body []byte) (*passerelle.Receipt, error) {
	r, err := t.readMade(ctx, key, body)
	if errors.Is(err, errGone) { // between two questions
		return nil, passerelle.ErrUnknown
	}
	if err != nil {
		return nil, err
	}
	r.Note = "found in effect"
	return r, nil
}

// markOf is the value that a create gives the mark field, "" for none.
func (t *ITop) markOf(body []byte) string {
	if t.cfg.MarkField == "" {
		return ""
	}
	v := gjson.GetBytes(body, "fields."+t.cfg.MarkField)
	if v.Type != gjson.String && v.Type != gjson.Number {
		return ""
	}
	return v.String()
}

// marked are the keys of the tickets whose mark is exactly that: iTop's
// database compares without regard to case and accents.
func marked(ans gjson.Result, field, mark string) []string {
	var keys []string
	for _, o := range objects(ans) {
		if o.Get("fields."+field).String() == mark {
			keys = append(keys, o.Get("key").String())
		}
	}
	return keys
}

// oqlString writes a text literal of OQL. Between single quotes iTop's lexer
// knows two escapes, \\ and \', and no other.
func oqlString(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// attributeCode is what may become part of a query.
var attributeCode = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
