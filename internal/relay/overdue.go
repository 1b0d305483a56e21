package relay

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"passerelle"
	"passerelle/mapping"
	"passerelle/outbox"
)

// overdue tells senders, in their own tools, what has not been transmitted for
// a time that the contract sets; another note says when all of it has arrived.
func (r *Relay) overdue(ctx context.Context) {
	for pause(ctx, overdueEvery) {
		if err := r.tellOverdue(ctx); err != nil && !over(ctx, err) {
			r.Log.Error("outbox: cannot look for what is overdue", "error", err)
		}
	}
}

const overdueEvery = 5 * time.Minute

// lane is what waits for one side of one ticket.
type lane struct {
	link, contract string
	to, from       passerelle.Side
	entries        []*outbox.Entry // overdue, oldest first
}

func (r *Relay) tellOverdue(ctx context.Context) error {
	lanes := map[string]*lane{}
	for e, err := range r.Store.Entries(ctx, outbox.Query{Status: []outbox.Status{outbox.Waiting, outbox.Lent, outbox.Parked}}) {
		if err != nil {
			return err
		}
		if !r.isOverdue(e) {
			continue
		}
		key := fmt.Sprintf("%s/%s", e.Link, e.To)
		if lanes[key] == nil {
			lanes[key] = &lane{link: e.Link, contract: e.Contract, to: e.To, from: e.Event.From}
		}
		lanes[key].entries = append(lanes[key].entries, e)
	}
	for _, l := range lanes {
		if err := r.tellLane(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// isOverdue tells whether an entry's sender should know that it has not arrived.
func (r *Relay) isOverdue(e *outbox.Entry) bool {
	c := r.Contracts[e.Contract]
	if e.Event.Kind == passerelle.Create && e.Status == outbox.Parked {
		return false // noted when it was parked (R28)
	}
	return c != nil && c.TellAfter > 0 && e.Event.From != passerelle.Broker && e.Template != mapping.NotifyTemplate && time.Since(e.Created) >= c.TellAfter
}

// toldName marks an entry whose sender was told that it is late.
func toldName(e *outbox.Entry) outbox.Name {
	return outbox.Name{Contract: e.Contract, Side: e.To, Name: "told/" + strconv.FormatUint(e.ID, 10)}
}

// tellLane notes on the sender's ticket that something is late, once until the
// lane is clear again.
func (r *Relay) tellLane(ctx context.Context, l *lane) error {
	var names, fresh []outbox.Name
	for _, e := range l.entries {
		names = append(names, toldName(e))
	}
	seen, err := r.Store.Seen(ctx, names...)
	if err != nil {
		return err
	}
	for _, n := range names {
		if !seen[n.Name] {
			fresh = append(fresh, n)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	link, err := r.Store.Find(ctx, l.contract, passerelle.Broker, l.link)
	if err != nil {
		return err
	}
	c, change := r.Contracts[l.contract], &outbox.Change{Link: link.Clone(), Names: fresh}
	change.OwnFormat = c.OwnRef
	if note := r.note(c, link, l.from, overdueText(l.entries[0], c)); note != nil && len(fresh) == len(names) {
		note.Rule = "R13"
		change.Entries = append(change.Entries, note)
	}
	r.Log.Warn("overdue: the sender is told", "contract", l.contract, "ticket", link.Names(), "to", l.to, "entries", len(l.entries), "since", l.entries[0].Created)
	return r.Store.Append(ctx, change) // a ticket that changed meanwhile is told at the next look
}

func overdueText(oldest *outbox.Entry, c *mapping.Contract) string {
	since := oldest.Created.In(c.Zone).Format("02/01/2006 15:04")
	return paragraphs(
		fmt.Sprintf("Passerelle : ce qui a été saisi ici depuis le %s n'a pas encore pu être transmis à l'autre partie (%s). Rien n'est perdu : l'envoi reprendra de lui-même ou par l'exploitant de la passerelle, et une note le dira ici.", since, oldest.Event.Kind.French()),
		fmt.Sprintf("Gateway: what was entered here since %s has not been transmitted yet (%s). Nothing is lost: it will go by itself or by the gateway's operator, and a note will say so here.", since, oldest.Event.Kind))
}

// caughtUp is the note that all which was late has arrived, if the entry that
// arrives now was the last of it.
func (d *delivery) caughtUp(c *mapping.Contract) []*outbox.Entry {
	if !d.r.isOverdue(d.e) {
		return nil
	}
	names := []outbox.Name{toldName(d.e)}
	for e, err := range d.r.Store.Entries(d.ctx, outbox.Query{Link: d.e.Link}) {
		if err != nil {
			return nil // the story tells it too
		}
		if e.To == d.e.To && e.ID > d.e.ID && !e.Status.Final() {
			names = append(names, toldName(e))
		}
	}
	seen, err := d.r.Store.Seen(d.ctx, names...)
	if err != nil || !seen[names[0].Name] || len(seen) != 1 {
		return nil
	}
	note := d.r.note(c, d.link, d.e.Event.From, paragraphs("Passerelle : tout ce qui attendait a maintenant été transmis à l'autre partie.", "Gateway: all that was waiting has now been transmitted."))
	if note == nil {
		return nil
	}
	note.Link = d.link.ID
	return []*outbox.Entry{note}
}
