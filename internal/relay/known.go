package relay

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"passerelle"
	"passerelle/mapping"
	"passerelle/outbox"
)

// isKnown tells whether one of an event's names is seen.
func (j *judgement) isKnown(e *passerelle.Event, names []outbox.Name) (bool, error) {
	seen, err := j.r.Store.Seen(j.ctx, names...)
	if err != nil || len(seen) == 0 {
		return false, err
	}
	any := false
	for _, n := range names {
		any = any || seen[n.Name]
	}
	if !any {
		return false, nil
	}
	if e.Unread && (e.Kind == passerelle.PublicLog || e.Kind == passerelle.PrivateLog) {
		return j.repeated(e)
	}
	if old := j.link.Facts["create_sum"]; e.Kind == passerelle.Create && old != sumOf(e) && old != composed && !e.Read {
		return false, nil // another create for an open pair: the life cycle refuses it (R30)
	}
	// A pushed text that is known may be an old one pushed again, or the same
	// words written once more: only reading the ticket tells.
	if !e.Read && (e.Kind == passerelle.PublicLog || e.Kind == passerelle.PrivateLog || e.Kind == passerelle.Attach) {
		j.lookAgain(e)
	}
	return true, nil
}

// refusedBefore is the refusal of a fact that was refused when it first came: a
// sender that pushes it again is told the same.
func (j *judgement) refusedBefore(e *passerelle.Event) error {
	if e.Read || len(e.Names) == 0 || j.link.ID == "" {
		return nil
	}
	for old, err := range j.r.Store.Entries(j.ctx, outbox.Query{Link: j.link.ID, Status: []outbox.Status{outbox.Refused}}) {
		if err != nil {
			return err
		}
		if old.Event.From == e.From && old.Turn == j.link.Turn && len(old.Event.Names) > 0 && old.Event.Names[0] == e.Names[0] {
			j.again = true
			return &passerelle.Error{Op: "refused already", Class: passerelle.Refused, Err: errors.New(cmp.Or(old.Error, "why, is purged; rule "+cmp.Or(old.Rule, "unknown")))}
		}
	}
	return nil
}

// untold tells of a journal entry that stands in a create and that was known
// before, but went nowhere: refused, or written while nothing was exchanged. It
// is the newest there, and travels with the create (R29).
func (j *judgement) untold(e *passerelle.Event) (bool, error) {
	for _, id := range []string{j.link.ID, j.change.Follows} {
		if id == "" || len(e.Names) == 0 {
			continue
		}
		for old, err := range j.r.Store.Entries(j.ctx, outbox.Query{Link: id}) {
			if err != nil {
				return false, err
			}
			if old.To == "" && old.Event.From == e.From && slices.Contains(old.Event.Names, e.Names[0]) {
				return true, nil
			}
		}
	}
	return false, nil
}

// repeated tells a post that came twice from the same words written again by a
// sender whose tool cannot be read: the last entry of that journal, posted once
// more, is the same post. Other known words are a new entry, and get a name of
// their own.
func (j *judgement) repeated(e *passerelle.Event) (bool, error) {
	base, _, _ := strings.Cut(e.Names[0], "#")
	last := ""
	for old, err := range j.r.Store.Entries(j.ctx, outbox.Query{Link: j.link.ID}) {
		if err != nil {
			return false, err
		}
		if old.Event.From == e.From && old.Event.Kind == e.Kind && len(old.Event.Names) > 0 && (old.Status != outbox.Refused || old.Turn == j.link.Turn) {
			last, _, _ = strings.Cut(old.Event.Names[0], "#")
		}
	}
	if last == base {
		return true, nil
	}
	for k := 2; ; k++ {
		name := outbox.Name{Contract: j.c.Name, Side: e.From, Name: fmt.Sprintf("%s#%d", base, k)}
		seen, err := j.r.Store.Seen(j.ctx, name)
		if err != nil {
			return false, err
		}
		if !seen[name.Name] {
			e.Names = []string{name.Name}
			return false, nil
		}
	}
}

// racing tells of a pushed journal entry with the very words that we are
// writing to that ticket just now: most likely our own, whose name is not noted
// yet (R17). The ticket is read again afterwards, which tells. Whoever writes may be
// another gateway: the loans in the store tell.
func (j *judgement) racing(e *passerelle.Event) (bool, error) {
	dest := outbox.Dest{Contract: j.c.Name, Side: e.From}
	journal := e.Kind == passerelle.PublicLog || e.Kind == passerelle.PrivateLog
	if !journal || e.Read || j.r.Tools[dest].Watch == nil || j.link.ID == "" {
		return false, nil // a create shows the newest entry too, whoever wrote it
	}
	for ours, err := range j.r.Store.Entries(j.ctx, outbox.Query{Contract: j.c.Name, To: e.From, Status: []outbox.Status{outbox.Lent}}) {
		if err != nil {
			return false, err
		}
		link, err := j.r.Store.Find(j.ctx, j.c.Name, passerelle.Broker, ours.Link)
		if err != nil {
			return false, err
		}
		if ticketKey(dest, link) == ticketKey(dest, j.link) && tells(j.c, ours, link, e) {
			return true, nil
		}
	}
	return false, nil
}

// tells tells whether an entry writes the words of a pushed journal entry.
func tells(c *mapping.Contract, ours *outbox.Entry, link *passerelle.Link, e *passerelle.Event) bool {
	texts := []string{ours.Event.Fields["public_log"], ours.Event.Fields["private_log"]}
	messages, _ := c.Render(sendOf(ours), ours.Event, link, ours.State, messageID(ours)) // one that cannot be rendered writes nothing
	for _, m := range messages {
		if m == nil {
			continue
		}
		var v any
		_ = json.Unmarshal(m.Body, &v) // our own
		texts = stringsIn(v, texts)
	}
	for _, log := range []string{"public_log", "private_log"} {
		text := e.Fields[log]
		if text != "" && slices.ContainsFunc(texts, func(t string) bool { return mapping.SameText(text, t) }) {
			return true
		}
	}
	return false
}

func stringsIn(v any, out []string) []string {
	switch x := v.(type) {
	case string:
		return append(out, x)
	case []any:
		for _, y := range x {
			out = stringsIn(y, out)
		}
	case map[string]any:
		for _, y := range x {
			out = stringsIn(y, out)
		}
	}
	return out
}
