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
func (r *Relay) overdue(ctx context.Context, c *mapping.Contract) {
	told := uint64(0) // entries up to here have been looked at
	for pause(ctx, overdueEvery) {
		upTo, err := r.tellOverdue(ctx, c, told)
		if err != nil && !over(ctx, err) {
			r.Log.Error("outbox: cannot look for what is overdue", "contract", c.Name, "error", err)
		}
		told = upTo
	}
}

const overdueEvery = 5 * time.Minute

// lane is what waits for one side of one ticket.
type lane struct {
	link    string
	to      passerelle.Side
	entries []*outbox.Entry // overdue, oldest first
}

// tellOverdue looks at a contract's entries after one, oldest first, until it
// comes to those that may still take their time. It returns the last that was
// looked at.
func (r *Relay) tellOverdue(ctx context.Context, c *mapping.Contract, after uint64) (upTo uint64, err error) {
	if c.TellAfter == 0 {
		return 0, nil
	}
	lanes := map[string]*lane{}
	upTo = after
	for e, err := range r.Store.Entries(ctx, outbox.Query{Contract: c.Name, Status: []outbox.Status{outbox.Waiting, outbox.Lent, outbox.Parked}, After: after}) {
		if err != nil {
			return after, err
		}
		if time.Since(e.Created) < c.TellAfter {
			break // the later ones are younger
		}
		upTo = e.ID
		if !isTold(e) {
			continue
		}
		key := e.Link + "/" + string(e.To)
		if lanes[key] == nil {
			lanes[key] = &lane{link: e.Link, to: e.To}
		}
		lanes[key].entries = append(lanes[key].entries, e)
	}
	for _, l := range lanes {
		if err := r.tellLane(ctx, c, l); err != nil {
			return after, err
		}
	}
	return upTo, nil
}

// unsettled are the statuses of what has not come to its end.
var unsettled = []outbox.Status{outbox.Waiting, outbox.Lent, outbox.Parked}

// givenUp is the note that something of which the sender was told that it waits
// will not be sent; none if it was not told.
func (r *Relay) givenUp(ctx context.Context, e *outbox.Entry, l *passerelle.Link) []*outbox.Entry {
	untold, err := r.unseenOf(ctx, []outbox.Name{toldName(e)})
	if err != nil || len(untold) > 0 {
		return nil
	}
	note := r.note(r.Contracts[e.Contract], l, e.Event.From, paragraphs(
		"Passerelle : ce qui attendait ("+e.Event.Kind.French()+") ne sera pas transmis : c'est dépassé, ou l'exploitant de la passerelle y a renoncé. Écrivez-le de nouveau si c'est encore nécessaire.",
		"Gateway: what was waiting ("+string(e.Event.Kind)+") will not be transmitted: it is overtaken, or the gateway's operator gave it up. Write it again if it is still needed."))
	if note == nil {
		return nil
	}
	note.Link = l.ID
	return []*outbox.Entry{note}
}

// isTold tells whether an entry's sender should know when it does not arrive. A
// parked create was noted when it was parked (R28).
func isTold(e *outbox.Entry) bool {
	return e.Event.From != passerelle.Broker && e.Template != mapping.NotifyTemplate && !(e.Event.Kind == passerelle.Create && e.Status == outbox.Parked)
}

// toldName marks an entry whose sender was told that it is late.
func toldName(e *outbox.Entry) outbox.Name {
	return outbox.Name{Contract: e.Contract, Side: e.To, Name: "told/" + strconv.FormatUint(e.ID, 10)}
}

// tellLane notes on the sender's ticket that something is late, once until the
// lane is clear again.
func (r *Relay) tellLane(ctx context.Context, c *mapping.Contract, l *lane) error {
	first := l.entries[0]
	told, err := r.toldBefore(ctx, l)
	if err != nil {
		return err
	}
	link, err := r.Store.Find(ctx, c.Name, passerelle.Broker, l.link)
	if err != nil {
		return err
	}
	change := &outbox.Change{Link: link.Clone(), OwnFormat: c.OwnRef}
	for _, e := range l.entries {
		change.Names = append(change.Names, toldName(e))
	}
	if change.Names, err = r.unseenOf(ctx, change.Names); err != nil || len(change.Names) == 0 {
		return err
	}
	if note := r.note(c, link, first.Event.From, overdueText(first, c)); note != nil && !told {
		change.Entries = append(change.Entries, note)
	}
	r.Log.Warn("overdue: the sender is told", "contract", c.Name, "ticket", link.Names(), "to", l.to, "entries", len(l.entries), "since", first.Created)
	return r.Store.Append(ctx, change) // a ticket that changed meanwhile is told at the next look
}

// toldBefore tells whether the sender knows already that something in this lane
// is late.
func (r *Relay) toldBefore(ctx context.Context, l *lane) (bool, error) {
	first := l.entries[0]
	var names []outbox.Name
	for e, err := range r.Store.Entries(ctx, outbox.Query{Link: first.Link, Status: unsettled}) {
		if err != nil {
			return false, err
		}
		if e.To == first.To && e.ID <= l.entries[len(l.entries)-1].ID && !e.Status.Final() {
			names = append(names, toldName(e))
		}
	}
	fresh, err := r.unseenOf(ctx, names)
	return len(fresh) < len(names), err
}

// unseenOf are those of the names that are not seen yet.
func (r *Relay) unseenOf(ctx context.Context, names []outbox.Name) ([]outbox.Name, error) {
	seen, err := r.Store.Seen(ctx, names...)
	var out []outbox.Name
	for _, n := range names {
		if !seen[n.Name] {
			out = append(out, n)
		}
	}
	return out, err
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
	if c.TellAfter == 0 || time.Since(d.e.Created) < c.TellAfter || !isTold(d.e) {
		return nil
	}
	for e, err := range d.r.Store.Entries(d.ctx, outbox.Query{Link: d.e.Link, Status: unsettled}) {
		if err != nil || e.To == d.e.To && e.ID != d.e.ID && isTold(e) {
			return nil // not yet all; or the story tells it
		}
	}
	untold, err := d.r.unseenOf(d.ctx, []outbox.Name{toldName(d.e)})
	if err != nil || len(untold) > 0 {
		return nil
	}
	note := d.r.note(c, d.link, d.e.Event.From, paragraphs("Passerelle : tout ce qui attendait a maintenant été transmis à l'autre partie.", "Gateway: all that was waiting has now been transmitted."))
	if note == nil {
		return nil
	}
	note.Link = d.link.ID
	return []*outbox.Entry{note}
}
