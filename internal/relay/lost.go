package relay

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"passerelle"
	"passerelle/outbox"
)

// rewriteFor is how long after it was written an entry of ours that is not there
// is written again; later, people may have had a reason to take it away.
const rewriteFor = 24 * time.Hour

// rewrites is how often one entry is written again at most.
const rewrites = 3

// losses finds what the tool lost: entries of ours, which are written again, and
// those of people, which only they can write again (R17).
func (p *reading) losses(snap *passerelle.Snapshot) error {
	if p.r.forgets.Store(p.dest, snap.Forgets); !snap.Forgets {
		return nil
	}
	gone, err := p.gone(snap)
	if err != nil {
		return err
	}
	for _, e := range gone {
		if err := p.writeAgain(e); err != nil {
			return err
		}
	}
	if len(snap.Overwritten) == 0 {
		return nil
	}
	ours, err := p.ourAccounts(snap)
	if err != nil {
		return err
	}
	for _, o := range snap.Overwritten {
		if ours[o.Account] {
			continue
		}
		if err := p.reportLoss(o); err != nil {
			return err
		}
	}
	return nil
}

// gone lists what we wrote in the ticket's journals and is not there any more, in
// a tool that loses entries.
func (p *reading) gone(snap *passerelle.Snapshot) ([]*outbox.Entry, error) {
	if !snap.Forgets {
		return nil, nil
	}
	there := map[string]bool{}
	for _, e := range snap.Events {
		for _, n := range e.Names {
			there[n] = true
		}
	}
	var out, waiting []*outbox.Entry
	for e, err := range p.r.Store.Entries(p.ctx, outbox.Query{Link: p.link.ID, To: p.dest.Side, Bare: true}) {
		if err != nil {
			return nil, err
		}
		missing := slices.ContainsFunc(e.Wrote, func(n string) bool { return !there[n] })
		if e.Status.Final() && (!missing || !p.mayRewrite(e)) {
			continue
		}
		if e, err = p.r.Store.Entry(p.ctx, e.ID); err != nil {
			return nil, err
		}
		if !e.Status.Final() {
			waiting = append(waiting, e)
		} else if len(e.Event.Files) == 0 {
			for _, n := range e.Wrote { // where it was written a second time, that is the same entry
				there[n] = true
			}
			out = append(out, e)
		}
	}
	return slices.DeleteFunc(out, func(e *outbox.Entry) bool {
		return slices.ContainsFunc(waiting, func(w *outbox.Entry) bool { return sameWords(e, w) })
	}), nil
}

// sameWords tells whether an entry is another one that is written again.
func sameWords(a, b *outbox.Entry) bool {
	return a.Template == b.Template && a.Event.From == b.Event.From && a.Event.At.Equal(b.Event.At) && maps.Equal(a.Event.Fields, b.Event.Fields)
}

// mayRewrite tells whether an entry that this tool was told would be written
// again, if it has no files: nothing but words is. Of one with a trace nobody has
// the words any more.
func (p *reading) mayRewrite(e *outbox.Entry) bool {
	return e.Template != string(passerelle.Create) && e.Trace == nil && e.Status == outbox.Done && (p.anyAge || time.Since(e.Settled) < rewriteFor)
}

// ourAccounts are our accounts there, as the entries that we wrote tell them.
func (p *reading) ourAccounts(snap *passerelle.Snapshot) (map[string]bool, error) {
	wrote := map[string]bool{}
	for e, err := range p.r.Store.Entries(p.ctx, outbox.Query{Link: p.link.ID, To: p.dest.Side, Bare: true}) {
		if err != nil {
			return nil, err
		}
		for _, n := range e.Wrote {
			wrote[n] = true
		}
	}
	accounts := map[string]bool{}
	for _, e := range snap.Events {
		if e.Account != "" && slices.ContainsFunc(e.Names, func(n string) bool { return wrote[n] }) {
			accounts[e.Account] = true
		}
	}
	return accounts, nil
}

// writeAgain queues an entry once more, in the same words.
func (p *reading) writeAgain(e *outbox.Entry) error {
	again := &outbox.Entry{Schema: outbox.EntrySchema, Contract: e.Contract, Terms: e.Terms, To: e.To, Template: e.Template, Event: e.Event,
		State: e.State, Turn: e.Turn, Rule: "R17", Status: outbox.Waiting, Note: fmt.Sprintf("written again: entry %d was overwritten", e.ID)}
	for try := 1; try <= rewrites; try++ {
		name := p.name(fmt.Sprintf("%s/again/%d/%d", p.link.Ref(p.dest.Side).Key, e.ID, try))
		seen, err := p.r.Store.Seen(p.ctx, name)
		if err != nil {
			return err
		}
		if seen[name.Name] {
			continue
		}
		return p.append(again, name, "ours")
	}
	p.r.Log.Error("a journal entry of ours is lost again and again", "contract", e.Contract, "ticket", p.link.Names(), "event", e.ID, "hint", "somebody takes it away, or another program writes at the same moment")
	return nil
}

// reportLoss makes a row of the ticket's story of a person's entry that another
// one took the place of, with its author and time, and tells the log.
func (p *reading) reportLoss(o passerelle.Overwritten) error {
	name := p.name(o.Name)
	seen, err := p.r.Store.Seen(p.ctx, name)
	if err != nil || seen[name.Name] {
		return err
	}
	e := &passerelle.Event{Contract: p.dest.Contract, From: p.dest.Side, Kind: passerelle.Note, Key: p.link.Ref(p.dest.Side).Key, At: time.Now(), Names: []string{o.Name},
		Fields: map[string]string{"author": o.Author, "date": o.At}}
	row := &outbox.Entry{Schema: outbox.EntrySchema, Contract: p.dest.Contract, Terms: p.c.Version, Event: e, State: p.link.State, Turn: p.link.Turn, Rule: "R17", Status: outbox.Done,
		Note: fmt.Sprintf("an entry of %s in %s, written at %s, was overwritten in its own tool by another one of the same moment: ask the author to write it again", o.Author, o.Log, o.At)}
	return p.append(row, name, "person")
}

// append stores an entry of the gateway's own under a name, once.
func (p *reading) append(e *outbox.Entry, name outbox.Name, whose string) error {
	for {
		link, err := p.r.Store.Find(p.ctx, p.dest.Contract, passerelle.Broker, p.link.ID)
		if err != nil {
			return err
		}
		err = p.r.Store.Append(p.ctx, &outbox.Change{Link: link.Clone(), Entries: []*outbox.Entry{e}, Names: []outbox.Name{name}})
		switch {
		case errors.Is(err, outbox.ErrConflict):
			continue
		case errors.Is(err, outbox.ErrSeen):
			return nil
		case err == nil:
			p.r.Metrics.lost.WithLabelValues(p.dest.Contract, string(p.dest.Side), whose).Inc()
			p.r.Log.Warn("a journal entry was overwritten in its tool", "contract", p.dest.Contract, "side", p.dest.Side, "ticket", link.Names(), "whose", whose, "event", e.ID, "hint", "gateway ticket "+link.Own.Number+" tells whose and when")
		}
		return err
	}
}
