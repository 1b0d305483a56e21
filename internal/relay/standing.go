package relay

import (
	"context"
	"fmt"
	"slices"
	"time"

	"passerelle"
	"passerelle/mapping"
	"passerelle/outbox"
)

// standsName is the identity of the fact that a ticket was found in another
// state than the pair's, once for each turn of the pair.
func standsName(key string, turn uint64) string { return fmt.Sprintf("%s/turn/%d/stands", key, turn) }

// standsNames is that name for a change of state that was pushed, unless it is
// seen already: what a push told, a reading need not tell again.
func (r *Relay) standsNames(ctx context.Context, c *mapping.Contract, l *passerelle.Link, e *passerelle.Event) ([]outbox.Name, error) {
	key := l.Ref(e.From).Key
	if key == "" || e.Kind != passerelle.Leave && !changesState(e.Kind) {
		return nil, nil
	}
	return r.unseenOf(ctx, []outbox.Name{{Contract: c.Name, Side: e.From, Name: standsName(key, l.Turn)}})
}

// standing compares where a ticket stands with where the pair does, for a tool
// that does not tell its steps. If its people moved it and no push said so, the
// event is composed as the tool would have pushed it, the second time it is found:
// waits says that this was the first. turn is the pair's before the ticket was
// read.
func (p *reading) standing(snap *passerelle.Snapshot, turn uint64) (waits bool, err error) {
	teller, ok := p.tool.Watch.(passerelle.Teller)
	if !ok || snap.Status == "" {
		return false, nil
	}
	side := p.dest.Side
	link, err := p.r.Store.Find(p.ctx, p.dest.Contract, passerelle.Broker, p.link.ID)
	if err != nil {
		return false, err
	}
	if link.Turn != turn || link.Shown[side] < link.Turn || link.Ref(side).Key != snap.Ref.Key || p.atRest(link) {
		return false, nil
	}
	if moving, err := p.moving(); err != nil || moving {
		return false, err
	}
	stands := p.c.Standing(side, snap.Status, snap.Away)
	if slices.Contains(stands, link.State) {
		return false, p.stood(link)
	}
	kind, ok := p.c.Moved(side, link.State, stands, snap.Away)
	if link.Facts[stoodFact(side)] == "" {
		return false, nil // it was never seen where the pair stands: it cannot have moved from there
	}
	if !ok {
		if _, told := p.r.stands.LoadOrStore(p.dest.Contract+"/"+standsName(snap.Ref.Key, turn), time.Now()); told {
			return false, nil
		}
		p.r.Log.Warn("a ticket stands where the contract has no way to", "contract", p.dest.Contract, "side", side, "ticket", link.Names(), "state", link.State, "status", snap.Status)
		return false, nil
	}
	name := standsName(snap.Ref.Key, turn)
	if known, err := p.known(&passerelle.Event{Names: []string{name}}); err != nil || known {
		return false, err
	}
	if !p.secondTime(name) {
		look := outbox.Look{Contract: p.dest.Contract, Side: side, Key: snap.Ref.Key, Before: time.Now().Add(p.r.Again)}
		return true, p.r.Store.Look(p.ctx, look)
	}
	events, err := teller.Tell(p.ctx, snap.Ref.Key, p.c.Told(side, kind))
	if err != nil {
		return false, err
	}
	for _, e := range events {
		e.Names = []string{name}
		if err := p.event(e); err != nil {
			return false, err
		}
	}
	return false, nil
}

// isBack tells of a ticket that had left, stands with the partner's team again,
// and whose create has not reached us: what was written on it since is read when
// it has been escalated, by its push or by a sweep.
func (p *reading) isBack(snap *passerelle.Snapshot) bool {
	return p.r.comesBack(p.c, p.dest.Side, p.link) && p.r.Sweep.Every > 0 && p.c.Escalation(p.dest.Side) != nil && !snap.Away &&
		slices.Contains(p.c.Standing(p.dest.Side, snap.Status, snap.Away), passerelle.Open)
}

// comesBack tells of a pair that only another create takes to the partner again,
// and whose ticket its people were shown to be back at theirs (R30).
func (r *Relay) comesBack(c *mapping.Contract, side passerelle.Side, l *passerelle.Link) bool {
	return l.State == passerelle.Left || c.ComesBack(side, l.State) && l.Shown[side] >= l.Turn
}

// secondTime tells whether a ticket was found to stand so some time ago already:
// what happened a moment ago is perhaps on its way to us, or not wholly written.
func (p *reading) secondTime(name string) bool {
	key := p.dest.Contract + "/" + name
	first, known := p.r.stands.LoadOrStore(key, time.Now())
	if !known || time.Since(first.(time.Time)) < p.r.Again {
		return false
	}
	p.r.stands.Delete(key)
	return true
}

// stoodFact is set once a side's ticket was seen where the pair stands.
func stoodFact(side passerelle.Side) string { return "stood/" + string(side) }

// stood notes that a ticket was seen where the pair stands, once.
func (p *reading) stood(l *passerelle.Link) error {
	name := stoodFact(p.dest.Side)
	if l.Facts[name] != "" {
		return nil
	}
	return p.record(nil, func(l *passerelle.Link) { l.Facts[name] = "yes" })
}

// atRest tells of a pair whose tickets go their own ways.
func (p *reading) atRest(l *passerelle.Link) bool {
	return l.State == passerelle.New || l.State == passerelle.Closed || l.State == passerelle.Left
}

// moving tells whether a message of ours that changes the ticket's state is on
// its way there.
func (p *reading) moving() (bool, error) {
	for e, err := range p.r.Store.Entries(p.ctx, outbox.Query{Link: p.link.ID, To: p.dest.Side, Status: unsettled, Bare: true}) {
		if err != nil {
			return false, err
		}
		if p.r.moves(e) {
			return true, nil
		}
	}
	return false, nil
}
