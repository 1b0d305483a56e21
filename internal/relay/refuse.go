package relay

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"strings"
	"time"

	"passerelle"
	"passerelle/mapping"
	"passerelle/outbox"
)

// refuse stores a refusal with its events, and queues one private note for the
// sender's own ticket. It returns the refusal, or the error that kept it from
// being stored.
func (r *Relay) refuse(ctx context.Context, c *mapping.Contract, link *passerelle.Link, follows string, events []*passerelle.Event, why error) (*passerelle.Link, error) {
	events = copies(events)
	for _, e := range events {
		if e.Kind == "" { // a signal that means nothing: some change of the ticket
			e.Kind = passerelle.Change
		}
	}
	first := events[0]
	text := refusalText(first, why)
	name := outbox.Name{Contract: c.Name, Side: first.From, Name: refusalName(link, events, why)}
	if seen, err := r.Store.Seen(ctx, name); err != nil {
		return nil, err
	} else if seen[name.Name] { // told already
		r.refused(c, link, events, why)
		return nil, why
	}
	if told, err := r.refusedAlready(ctx, link, first, why); err != nil || told {
		return nil, cmp.Or(err, why)
	}
	change := &outbox.Change{Link: link.Clone(), OwnFormat: c.OwnRef, Follows: follows, Names: []outbox.Name{name}}
	for _, e := range events {
		change.Entries = append(change.Entries, refusal(c, link, e, why))
		if first.Kind != passerelle.Create && link.State != passerelle.New { // what a create carries later must still be news (R29)
			change.Names = append(change.Names, r.unseen(ctx, c, e)...)
			if !e.Read {
				names, err := r.standsNames(ctx, c, link, e)
				if err != nil {
					return nil, err
				}
				change.Names = append(change.Names, names...)
			}
		}
	}
	if note := r.note(c, link, first.From, text); note != nil {
		change.Entries = append(change.Entries, note)
	}
	if err := r.Store.Append(ctx, change); err != nil {
		return nil, err
	}
	r.refused(c, link, events, why)
	return nil, why
}

// refusedAlready tells whether a create that a sweep found was refused for the same
// reason before, when it was pushed or found earlier.
func (r *Relay) refusedAlready(ctx context.Context, link *passerelle.Link, e *passerelle.Event, why error) (bool, error) {
	if !e.Read || e.Kind != passerelle.Create || link.ID == "" {
		return false, nil
	}
	for old, err := range r.Store.Entries(ctx, outbox.Query{Link: link.ID, Status: []outbox.Status{outbox.Refused}}) {
		if err != nil {
			return false, err
		}
		if old.Event.Kind == passerelle.Create && old.Turn == link.Turn && old.RefusedFor(why.Error()) {
			return true, nil
		}
	}
	return false, nil
}

func (r *Relay) refused(c *mapping.Contract, link *passerelle.Link, events []*passerelle.Event, why error) {
	for _, e := range events {
		r.Metrics.events.WithLabelValues(c.Name, string(e.From), string(e.Kind), "refused").Inc()
	}
	r.Log.Warn("refused", "contract", c.Name, "ticket", link.Names(), "from", events[0].From, "kind", events[0].Kind, "rule", ruleOf(why))
}

// unseen are the names by which a tool keeps the refused fact, so that reading
// it again does not refuse it again.
func (r *Relay) unseen(ctx context.Context, c *mapping.Contract, e *passerelle.Event) []outbox.Name {
	var out []outbox.Name
	for _, n := range e.Names {
		name := outbox.Name{Contract: c.Name, Side: e.From, Name: n}
		if seen, err := r.Store.Seen(ctx, name); err == nil && !seen[n] {
			out = append(out, name)
		}
	}
	return out
}

func refusal(c *mapping.Contract, link *passerelle.Link, e *passerelle.Event, why error) *outbox.Entry {
	bare, trace := outbox.Strip(e)
	bare.Files = nil // the bytes of a refused file are not kept
	return &outbox.Entry{Schema: outbox.EntrySchema, Contract: c.Name, Terms: c.Version, Event: bare, Trace: trace, State: link.State, Turn: link.Turn,
		Status: outbox.Refused, Settled: time.Now(), Class: passerelle.Refused, Rule: ruleOf(why), Error: why.Error()}
}

func ruleOf(err error) string {
	var e *passerelle.Error
	if errors.As(err, &e) {
		return e.Rule
	}
	return ""
}

// refusalName is the identity of a refusal: what was refused, why, and at
// which turn of the ticket.
func refusalName(link *passerelle.Link, events []*passerelle.Event, why error) string {
	h := sha256.New()
	for _, e := range events {
		_ = json.NewEncoder(h).Encode([]any{e.Kind, e.Signal, e.Key, e.Claims, e.Names, e.Fields}) // plain data always encodes
	}
	fmt.Fprintf(h, "%s %d %s", link.ID, link.Turn, ruleOf(why))
	return "refused/" + hex.EncodeToString(h.Sum(nil))
}

// note is a private note on one side's own ticket, or nil where the ticket
// there is not known.
func (r *Relay) note(c *mapping.Contract, link *passerelle.Link, to passerelle.Side, text string) *outbox.Entry {
	if link.Ref(to).Key == "" || r.Tools[outbox.Dest{Contract: c.Name, Side: to}].Out == nil {
		return nil
	}
	e := &passerelle.Event{Contract: c.Name, From: passerelle.Broker, Kind: passerelle.Note, At: time.Now(), Fields: map[string]string{"private_log": text}}
	return &outbox.Entry{Schema: outbox.EntrySchema, Contract: c.Name, Terms: c.Version, To: to, Template: mapping.NoteTemplate, Event: e,
		State: link.State, Turn: link.Turn, Rule: "R13", Status: outbox.Waiting}
}

// fileNames lists an event's files for people.
func fileNames(e *passerelle.Event) string {
	var names []string
	for _, f := range e.Files {
		names = append(names, "« "+f.Name+" »")
	}
	return strings.Join(names, ", ")
}

// refusalText is what the sender's people read: French first, English second.
func refusalText(e *passerelle.Event, why error) string {
	text := "Passerelle : ceci n'a pas été transmis (" + strings.TrimSpace(e.Kind.French()+" "+fileNames(e)) + ")."
	var pe *passerelle.Error
	if errors.As(why, &pe) && pe.Local != "" {
		text = strings.TrimSuffix(text, ".") + " : " + pe.Local + "."
	}
	return paragraphs(text, "Gateway: not transmitted: "+why.Error()+".")
}

// paragraphs writes plain texts as HTML.
func paragraphs(texts ...string) string {
	var b strings.Builder
	for _, t := range texts {
		b.WriteString("<p>" + html.EscapeString(t) + "</p>")
	}
	return b.String()
}
