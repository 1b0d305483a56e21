package relay

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"passerelle"
	"passerelle/mapping"
	"passerelle/outbox"
)

// pairing is one pair being compared with what both tools show.
type pairing struct {
	r     *Relay
	ctx   context.Context
	c     *mapping.Contract
	link  *passerelle.Link
	snaps map[passerelle.Side]*passerelle.Snapshot // nil where the tool cannot be read
}

var bothSides = []passerelle.Side{passerelle.Requester, passerelle.Partner}

// learnPair compares one pair, "contract/own id".
func (r *Relay) learnPair(ctx context.Context, id string) error {
	contract, own, _ := strings.Cut(id, "/")
	link, err := r.Store.Find(ctx, contract, passerelle.Broker, own)
	if err != nil {
		return err
	}
	c, err := r.contract(contract)
	if err != nil {
		return nil // of a contract that is not carried out any more
	}
	p := &pairing{r: r, ctx: ctx, c: c, link: link, snaps: map[passerelle.Side]*passerelle.Snapshot{}}
	for _, side := range bothSides {
		tool := r.Tools[outbox.Dest{Contract: contract, Side: side}]
		if key := link.Ref(side).Key; tool.Watch != nil && key != "" {
			snap, err := tool.Watch.Read(ctx, key)
			if err != nil {
				return err
			}
			if snap.Gone {
				r.askPerson("%s: the ticket is gone from the %s's tool", link.Names(), side)
				continue
			}
			p.snaps[side] = snap
		}
	}
	return p.learn()
}

func (p *pairing) learn() error {
	if err := p.accounts(); err != nil {
		return err
	}
	base, mover := p.standing()
	waits, err := p.underWay(base, mover)
	if err != nil {
		return err
	}
	if waits {
		base, mover = p.link.State, ""
	}
	for _, side := range bothSides {
		if snap := p.snaps[side]; snap != nil {
			if err := p.facts(side, snap, mover == side); err != nil {
				return err
			}
		}
	}
	return p.settle(base, waits)
}

// underWay tells whether the move that sets the tickets apart is one that the
// backup knows, and whose message is still in its lane: it goes on there.
func (p *pairing) underWay(base passerelle.State, mover passerelle.Side) (bool, error) {
	if mover == "" || base == p.link.State || !slices.Contains(p.stands(mover), p.link.State) {
		return false, nil
	}
	for e, err := range p.r.Store.Entries(p.ctx, outbox.Query{Link: p.link.ID, Status: unsettled}) {
		if err != nil {
			return false, err
		}
		if e.To == mover.Other() && e.Turn == p.link.Turn && p.r.moves(e) {
			return true, nil
		}
	}
	return false, nil
}

func (p *pairing) reading(side passerelle.Side) *reading {
	dest := outbox.Dest{Contract: p.link.Contract, Side: side}
	return &reading{r: p.r, ctx: p.ctx, c: p.c, dest: dest, tool: p.r.Tools[dest], link: p.link.Clone()}
}

// accounts learns which account of a tool is ours: the one that wrote what the
// backup knows to be ours.
func (p *pairing) accounts() error {
	wrote := map[passerelle.Side]map[string]bool{passerelle.Requester: {}, passerelle.Partner: {}}
	for e, err := range p.r.Store.Entries(p.ctx, outbox.Query{Link: p.link.ID}) {
		if err != nil {
			return err
		}
		for _, n := range e.Wrote {
			wrote[e.To][n] = true
		}
	}
	for side, snap := range p.snaps {
		p.ours(side, snap, wrote[side])
	}
	return nil
}

// ours notes the accounts behind names of what we wrote.
func (p *pairing) ours(side passerelle.Side, snap *passerelle.Snapshot, wrote map[string]bool) {
	m, dest := &p.r.memory, outbox.Dest{Contract: p.link.Contract, Side: side}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range snap.Events {
		if e.Account != "" && slices.ContainsFunc(e.Names, func(n string) bool { return wrote[n] }) {
			m.accounts[dest][e.Account] = true
		}
	}
}

// standing tells where the pair stands by what both tickets show. Where they
// stand apart, one side moved and the other was not told: base is then where the
// pair stood before that move, and mover who made it.
func (p *pairing) standing() (base passerelle.State, mover passerelle.Side) {
	requester, partner := p.stands(passerelle.Requester), p.stands(passerelle.Partner)
	switch {
	case len(requester)+len(partner) == 0:
		return p.link.State, ""
	case len(requester) == 0:
		return pick(p.link.State, partner), ""
	case len(partner) == 0:
		return pick(p.link.State, requester), ""
	}
	both := slices.DeleteFunc(slices.Clone(requester), func(s passerelle.State) bool { return !slices.Contains(partner, s) })
	if len(both) > 0 {
		return pick(p.link.State, both), ""
	}
	var ways []way
	for _, r := range requester {
		for _, t := range partner {
			if p.c.Leads(r, passerelle.Partner, t) {
				ways = append(ways, way{r, passerelle.Partner})
			}
			if p.c.Leads(t, passerelle.Requester, r) {
				ways = append(ways, way{t, passerelle.Requester})
			}
		}
	}
	if i := slices.IndexFunc(ways, func(w way) bool { return w.base == p.link.State }); i >= 0 {
		return ways[i].base, ways[i].mover
	}
	if len(ways) > 0 {
		return ways[0].base, ways[0].mover
	}
	p.r.askPerson("%s: its tickets stand apart in a way that the contract does not know (%v at the requester's, %v at the partner's)", p.link.Names(), requester, partner)
	return pick(p.link.State, requester), ""
}

// way is how two tickets came to stand apart.
type way struct {
	base  passerelle.State
	mover passerelle.Side
}

// pick prefers the state that the backup knows.
func pick(known passerelle.State, of []passerelle.State) passerelle.State {
	if slices.Contains(of, known) {
		return known
	}
	return of[0]
}

// stands lists the states that go with what one side shows. A requester's ticket
// that was escalated again belongs to the younger pair.
func (p *pairing) stands(side passerelle.Side) []passerelle.State {
	snap := p.snaps[side]
	if snap == nil {
		return nil
	}
	if side == passerelle.Requester {
		youngest, err := p.r.Store.Find(p.ctx, p.link.Contract, side, p.link.Requester.Key)
		if err == nil && youngest.ID != p.link.ID {
			return nil
		}
	}
	status := snap.Status
	if status == "" {
		status = snap.Fields["status"]
	}
	return p.c.Standing(side, status, snap.Away)
}

// facts looks, for each thing that the ticket shows and that we do not know,
// whether the other tool has it already. What it has not is left for the readings
// that follow, as news. The steps that led to where the ticket stands are known
// now; only the last one of a mover's has still to be told.
func (p *pairing) facts(side passerelle.Side, snap *passerelle.Snapshot, mover bool) error {
	rd := p.reading(side)
	if rd.link.Baseline[side] == "" && side == passerelle.Requester {
		if err := rd.baseline(snap); err != nil {
			return err
		}
		p.link = rd.link
	}
	news := -1
	for i, e := range snap.Events {
		if e.Signal != "" && mover && !rd.isEcho(e) {
			news = i
		}
	}
	for i, e := range snap.Events {
		known, err := rd.known(e)
		if err != nil {
			return err
		}
		switch {
		case known || i == news || rd.withEscalation(e, rd.link.Baseline[side]):
		case e.Signal != "":
			err = rd.note(e.Names)
		case rd.isEcho(e), p.r.ourAccount(rd.dest, e.Account):
			// Ours. It stays unknown until the lanes have asked about all that was under
			// way: one of those messages may be what wrote it.
		default:
			err = p.there(rd, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// there records a fact that the other tool has already.
func (p *pairing) there(rd *reading, found *passerelle.Event) error {
	e := copies([]*passerelle.Event{found})[0]
	e.Read = true
	if e.Kind == passerelle.Attach {
		if err := rd.tool.Watch.Fetch(p.ctx, e, p.r.Store.Files()); err != nil {
			if k := passerelle.ClassOf(err); k == passerelle.Stuck || k == passerelle.Refused {
				return nil // the reading that follows says so on the ticket
			}
			return err
		}
		defer p.r.Release(e.Files...)
		if claimed, err := rd.claimed(e); err != nil || claimed {
			return err
		}
	}
	if p.c.Interpret(e) != nil {
		return nil
	}
	for _, s := range passerelle.States() {
		asked, err := p.carried(rd, e, s)
		if err != nil || asked {
			return err
		}
	}
	return p.refusedThen(rd, e)
}

// carried asks whether what a fact would have sent in a state is there. It
// returns false where the contract carries nothing of it in that state.
func (p *pairing) carried(rd *reading, fact *passerelle.Event, state passerelle.State) (bool, error) {
	e := copies([]*passerelle.Event{fact})[0]
	link := p.link.Clone()
	link.State = state
	step, err := p.c.Admit(e, link)
	if err != nil {
		return false, nil
	}
	j := &judgement{r: p.r, c: p.c, ctx: p.ctx, before: link, link: link, change: &outbox.Change{}}
	defer func() { p.r.Release(j.files...) }()
	if err := j.entries(e, step); err != nil {
		return false, err
	}
	entries := slices.DeleteFunc(j.change.Entries, func(e *outbox.Entry) bool {
		return e.To == "" || e.Template == mapping.NotifyTemplate || p.r.moves(e)
	})
	if len(entries) == 0 {
		return false, nil
	}
	change := &outbox.Change{}
	any := false
	for _, en := range entries {
		names, sent, sure, err := p.ask(en)
		if err != nil {
			return false, err
		}
		any = any || sent > 0 || !sure
		en.Parts, en.Wrote = sent, names
		if en.Status, en.Note = outbox.Done, learnedNote; sent < p.messages(en) {
			en.Status, en.Note, en.Probe, en.Restored = outbox.Waiting, "", true, true
		}
		for _, n := range names {
			change.Names = append(change.Names, outbox.Name{Contract: p.link.Contract, Side: en.To, Name: n})
		}
	}
	if !any {
		return true, nil // asked, and not there: news
	}
	change.Entries = entries
	return true, p.record(rd, e, change)
}

func (p *pairing) messages(en *outbox.Entry) int {
	ms, _ := p.c.Render(sendOf(en), en.Event, p.link, en.State, "")
	return len(ms)
}

// ask asks the tool for each message of an entry, until one is not there. It
// returns the names of those that are, how many, and false where the tool cannot
// tell of the next.
func (p *pairing) ask(en *outbox.Entry) (names []string, sent int, sure bool, err error) {
	dest := outbox.Dest{Contract: p.link.Contract, Side: en.To}
	if p.link.Ref(en.To).Key == "" {
		return nil, 0, true, nil
	}
	messages, errs := p.c.Render(sendOf(en), en.Event, p.link, en.State, p.link.Contract+"/"+p.link.ID+"/0")
	for i, m := range messages {
		if errs[i] != nil {
			return names, sent, true, nil
		}
		m.Of, m.Restored = factOf(en, i), true
		receipt, err := p.r.Tools[dest].Out.Probe(p.ctx, m, p.r.Store.Files())
		switch {
		case errors.Is(err, passerelle.ErrAbsent):
			return names, sent, true, nil
		case errors.Is(err, passerelle.ErrUnknown):
			return names, sent, false, nil
		case err != nil:
			return nil, 0, false, err
		}
		if len(receipt.Either) > 0 {
			fresh, err := p.unseen(dest, receipt.Either, names)
			if err != nil {
				return nil, 0, false, err
			}
			if fresh == "" {
				return names, sent, true, nil
			}
			receipt.Names = append(receipt.Names, fresh)
		}
		names, sent = append(names, receipt.Names...), sent+1
	}
	return names, sent, true, nil
}

// unseen is the first of names that no entry is known to have written.
func (p *pairing) unseen(dest outbox.Dest, names, taken []string) (string, error) {
	var scoped []outbox.Name
	for _, n := range names {
		if !slices.Contains(taken, n) {
			scoped = append(scoped, outbox.Name{Contract: dest.Contract, Side: dest.Side, Name: n})
		}
	}
	fresh, err := p.r.unseenOf(p.ctx, scoped)
	if err != nil || len(fresh) == 0 {
		return "", err
	}
	return fresh[0].Name, nil
}

// refusedThen looks for the note that says that a fact was refused: it is known,
// and not told again.
func (p *pairing) refusedThen(rd *reading, e *passerelle.Event) error {
	base, _ := p.standing()
	link := p.link.Clone()
	link.State = base
	_, why := p.c.Admit(copies([]*passerelle.Event{e})[0], link)
	if why == nil {
		return nil
	}
	note := p.r.note(p.c, link, e.From, refusalText(e, why))
	if note == nil {
		return nil
	}
	names, sent, _, err := p.ask(note)
	if err != nil || sent == 0 {
		return err
	}
	e.Files = nil
	change := &outbox.Change{Entries: []*outbox.Entry{refusal(p.c, link, e, why)}}
	for _, n := range names {
		change.Names = append(change.Names, outbox.Name{Contract: link.Contract, Side: e.From, Name: n})
	}
	return p.record(rd, e, change)
}

// record stores what was learned of one fact, with all its names.
func (p *pairing) record(rd *reading, e *passerelle.Event, change *outbox.Change) error {
	for _, n := range e.Names {
		change.Names = append(change.Names, rd.name(n))
	}
	if e.Alias != "" {
		change.Names = append(change.Names, rd.name(e.Alias))
	}
	var err error
	if change.Names, err = p.r.unseenOf(p.ctx, change.Names); err != nil {
		return err
	}
	link, err := p.r.Store.Find(p.ctx, p.link.Contract, passerelle.Broker, p.link.ID)
	if err != nil {
		return err
	}
	change.Link = link.Clone()
	if err := p.r.Store.Append(p.ctx, change); err != nil {
		return err
	}
	p.link = change.Link
	rd.link = change.Link.Clone()
	p.r.told(func(rep *Relearned) { rep.There++ })
	for side, snap := range p.snaps {
		wrote := map[string]bool{}
		for _, en := range change.Entries {
			for _, n := range en.Wrote {
				wrote[n] = en.To == side
			}
		}
		p.ours(side, snap, wrote)
	}
	return nil
}

// settle records where the pair stands, and has both tickets read once the lanes
// are open. A message that waits to bring a ticket there is not sent any more,
// unless the ticket waits for it.
func (p *pairing) settle(base passerelle.State, waits bool) error {
	link, err := p.r.Store.Find(p.ctx, p.link.Contract, passerelle.Broker, p.link.ID)
	if err != nil {
		return err
	}
	next := link.Clone()
	change := &outbox.Change{Link: next}
	for side := range p.snaps {
		change.Looks = append(change.Looks, outbox.Look{Contract: link.Contract, Side: side, Key: link.Ref(side).Key})
	}
	if base != link.State {
		next.State, next.Moved = base, time.Now()
		p.r.told(func(rep *Relearned) { rep.States++ })
		if base == passerelle.Rejected || base == passerelle.Left || base == passerelle.Closed {
			next.Generation++
		}
	}
	if !waits {
		next.Turn++ // what waits is of an earlier turn than both sides were shown
		for side := range p.snaps {
			next.Shown[side] = next.Turn
			next.Facts[stoodFact(side)] = "yes"
		}
	}
	return p.r.Store.Append(p.ctx, change)
}
