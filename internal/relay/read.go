package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"passerelle"
	"passerelle/mapping"
	"passerelle/outbox"
)

// read turns what a tool says of a ticket into events, and accepts those that
// are news.
func (r *Relay) read(ctx context.Context, l *outbox.Look) error {
	dest := outbox.Dest{Contract: l.Contract, Side: l.Side}
	tool := r.Tools[dest]
	if until, closed := r.gates[dest].closed(); closed {
		return &passerelle.Error{Op: "read", Class: passerelle.Down, After: time.Until(until), Err: errors.New("the destination is in trouble")}
	}
	c, err := r.contract(l.Contract)
	if err != nil || tool.Watch == nil {
		return err
	}
	link, err := r.Store.Find(ctx, l.Contract, l.Side, l.Key)
	if errors.Is(err, passerelle.ErrNotFound) {
		link, err = r.stranger(ctx, dest, tool, l.Key)
	}
	if err != nil || link == nil {
		return err
	}
	if link.State == passerelle.New {
		return nil // never escalated: what it holds is read then (R29)
	}
	defer r.locks.lock(lockKey(dest, link.ID))()
	defer r.locks.lock(ticketKey(dest, link))()
	if link, err = r.Store.Find(ctx, l.Contract, passerelle.Broker, link.ID); err != nil {
		return err
	}
	turn := link.Turn
	// Read under the lock: what we write there ourselves is either all noted as
	// seen by now, or not begun.
	snap, err := tool.Watch.Read(ctx, l.Key)
	if err != nil {
		return err
	}
	if snap.Gone && l.Side == passerelle.Requester && link.Baseline[l.Side] == "" && c.AtEscalation.PublicLog == "all" { // its pushes wait for this reading
		return &passerelle.Error{Op: "read", Class: passerelle.Stuck, Ticket: link.Names(), Err: errors.New("our account does not see the ticket that was escalated"),
			Hint: "give the technical account the right to read it: what its people wrote waits to be read"}
	}
	if snap.Gone { // R33: a deletion is never carried over
		r.Log.Warn("the ticket is gone from its tool", "contract", l.Contract, "side", l.Side, "ticket", link.Names())
		return nil
	}
	if link, err = r.Store.Find(ctx, l.Contract, passerelle.Broker, link.ID); err != nil {
		return err
	}
	p := &reading{r: r, ctx: ctx, c: c, dest: dest, tool: tool, link: link.Clone()}
	return p.take(snap, turn)
}

// take accepts what a ticket shows and is news. turn is the pair's before the
// ticket was read.
func (p *reading) take(snap *passerelle.Snapshot, turn uint64) error {
	if err := p.doubtful(); err != nil {
		return err
	}
	if p.link.Baseline[p.dest.Side] == "" && p.dest.Side == passerelle.Requester {
		if err := p.baseline(snap); err != nil {
			return err
		}
	}
	if e := p.moved(snap); e != nil {
		snap.Events = append(snap.Events, e)
	}
	// What was written on a rejected ticket was perhaps written after its people
	// took it up again; of any other, before they closed it.
	if p.isBack(snap) {
		return nil
	}
	back := p.link.State == passerelle.Rejected
	if back {
		if waits, err := p.standing(snap, turn); err != nil || waits {
			return err
		}
	}
	p.overtaken(snap.Events)
	p.unanswered(snap)
	for _, e := range snap.Events {
		if err := p.event(e); err != nil {
			return err
		}
	}
	if err := p.losses(snap); err != nil || back {
		return err
	}
	_, err := p.standing(snap, turn)
	return err
}

// overtaken marks the changes of state that came before one of ours: the ticket
// stands as ours left it (R34).
func (p *reading) overtaken(events []*passerelle.Event) {
	ours := false
	for _, e := range slices.Backward(events) {
		if e.Signal == "" {
			continue
		}
		e.Overtaken = ours
		ours = ours || p.isEcho(e)
	}
}

// unanswered marks the public entries of a ticket that still stands in
// « A compléter », in a tool that leaves it by itself at an answer (R19): they
// were written before the question came, and end nothing (R34).
func (p *reading) unanswered(snap *passerelle.Snapshot) {
	words := p.c.StatusWords(p.dest.Side, passerelle.Pending)
	if snap.Status == "" || p.link.State != passerelle.Pending || !slices.Contains(words, snap.Status) || p.c.EndsPending(p.dest.Side) {
		return
	}
	for _, e := range snap.Events {
		e.Overtaken = e.Overtaken || e.Kind == passerelle.PublicLog
	}
}

// doubtful puts the reading off while nobody knows whether an earlier write of
// ours took effect there: read now, it would be taken for news (R17). The probe
// that comes first names it.
func (p *reading) doubtful() error {
	for e, err := range p.r.Store.Entries(p.ctx, outbox.Query{Link: p.link.ID, To: p.dest.Side, Status: unsettled, Bare: true}) {
		if err != nil {
			return err
		}
		if e.Probe {
			return passerelle.Errorf(passerelle.Temporary, "read", "%s: entry %d: nobody knows yet whether we wrote there", p.link.Names(), e.ID)
		}
	}
	return nil
}

// moved is the event of a partner's ticket that has another number than the one
// we know, as a moved Jira issue has: the requester is told the new one (R33).
func (p *reading) moved(snap *passerelle.Snapshot) *passerelle.Event {
	old, now := p.link.Ref(p.dest.Side), snap.Ref
	if p.dest.Side != passerelle.Partner || old.Number == "" || now.Number == "" || old.Number == now.Number {
		return nil
	}
	return &passerelle.Event{Contract: p.dest.Contract, From: p.dest.Side, Kind: passerelle.Reference, Key: now.Key, At: time.Now(),
		Names:  []string{fmt.Sprintf("%s/reference/%s/%d", now.Key, now.Number, p.link.Version)},
		Fields: map[string]string{"provider_id": now.Key, "provider_ref": now.Number}}
}

// stranger finds the link of a ticket that is not known by this key: one of
// ours whose making is not yet recorded carries our own id. Anything else is
// not ours: nil (R1).
func (r *Relay) stranger(ctx context.Context, dest outbox.Dest, tool Tool, key string) (*passerelle.Link, error) {
	snap, err := tool.Watch.Read(ctx, key)
	if err != nil {
		return nil, err
	}
	if snap.Own == "" {
		r.Log.Debug("not ours", "contract", dest.Contract, "side", dest.Side, "key", key)
		return nil, nil
	}
	link, err := r.Store.Find(ctx, dest.Contract, passerelle.Broker, snap.Own)
	if errors.Is(err, passerelle.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if have := link.Ref(dest.Side).Key; have != "" && have != snap.Ref.Key {
		r.Log.Error("two tickets carry our id", "contract", dest.Contract, "side", dest.Side, "ticket", link.Names(), "other", snap.Ref.String())
		return nil, nil
	}
	return link, nil
}

// reading is one ticket being read.
type reading struct {
	r    *Relay
	ctx  context.Context
	c    *mapping.Contract
	dest outbox.Dest
	tool Tool
	link *passerelle.Link
	// anyAge has what we wrote and is gone written again however old it is.
	anyAge bool
}

func (p *reading) name(n string) outbox.Name {
	return outbox.Name{Contract: p.dest.Contract, Side: p.dest.Side, Name: n}
}

// baseline records as seen what the ticket held before it was escalated,
// except what the contract lets travel (R29).
func (p *reading) baseline(snap *passerelle.Snapshot) error {
	until := p.link.Facts["last_update"]
	if until == "" {
		until = snap.Fields["last_update"]
	}
	var names []outbox.Name
	var unsure []*passerelle.Event
	note, entry := newest(snap.Events, passerelle.PrivateLog), newest(snap.Events, passerelle.PublicLog)
	found := p.link.Facts["create_sum"] == composed // by a reading: nobody knows when it was handed over
	for _, e := range snap.Events {
		old := until == "" || e.Fields["date"] <= until && !p.withEscalation(e, until)
		if found { // of that very second nobody knows
			old = e.Fields["date"] < until
		}
		stays, err := p.staysBehind(e, names)
		if err != nil {
			return err
		}
		switch {
		case len(e.In) > 0 && !stays:
		case len(e.In) == 0 && e.Kind == passerelle.Attach && p.c.AtEscalation.Attachments == "all", e.Kind == passerelle.PublicLog && p.c.AtEscalation.PublicLog == "all",
			e == note && p.c.AtEscalation.PrivateLog == "newest", e == entry && found && p.c.AtEscalation.PublicLog == "newest":
		case found && e.Kind == passerelle.PrivateLog && !old:
			unsure = append(unsure, e)
		case e.Kind == passerelle.Attach, old:
			for _, n := range e.Names {
				names = append(names, p.name(n))
			}
		}
	}
	if until == "" {
		until = "read"
	}
	err := p.record(names, func(l *passerelle.Link) { l.Baseline[p.dest.Side] = until })
	for _, e := range unsure {
		if err == nil {
			err = p.leaveBehind(e)
		}
	}
	return err
}

// leaveBehind refuses, in sight, a private note that was written before or after
// an escalation of which nobody told when it was: those of before stay (R29).
func (p *reading) leaveBehind(e *passerelle.Event) error {
	if known, err := p.known(e); err != nil || known {
		return err
	}
	why := &passerelle.Error{Op: string(e.Kind), Class: passerelle.Refused, Ticket: p.link.Names(), Rule: "R29",
		Err: errors.New("nobody told when the ticket was escalated, so it may be older than that, and stays"), Hint: "write it again if the partner shall read it",
		Local: "le moment de l'escalade n'a pas été signalé : cette note peut la précéder, et reste ici ; récrivez-la si le partenaire doit la lire"}
	_, err := p.r.refuse(p.ctx, p.c, p.link, "", []*passerelle.Event{e}, why)
	if passerelle.ClassOf(err) == passerelle.Refused {
		return nil
	}
	return err
}

// staysBehind tells whether all the texts that show an image are among those
// that stay behind: left, unless the create brought them itself.
func (p *reading) staysBehind(e *passerelle.Event, left []outbox.Name) (bool, error) {
	var in []outbox.Name
	for _, n := range e.In {
		if !slices.Contains(left, p.name(n)) {
			return false, nil
		}
		in = append(in, p.name(n))
	}
	if p.c.AtEscalation.PublicLog == "none" { // seen, but not carried
		return true, nil
	}
	fresh, err := p.r.unseenOf(p.ctx, in)
	return len(fresh) == len(in), err
}

// newest is the last event of a kind, nil if there is none.
func newest(events []*passerelle.Event, k passerelle.Kind) *passerelle.Event {
	for _, e := range slices.Backward(events) {
		if e.Kind == k {
			return e
		}
	}
	return nil
}

// record makes names seen without an event (echoes, and what stays behind), and
// changes the link with it where change is given.
func (p *reading) record(names []outbox.Name, change func(*passerelle.Link)) error {
	for try := 0; ; try++ {
		link, err := p.r.Store.Find(p.ctx, p.dest.Contract, passerelle.Broker, p.link.ID)
		if err != nil {
			return err
		}
		fresh, err := p.r.unseenOf(p.ctx, names)
		if err != nil || len(fresh) == 0 && change == nil {
			return err
		}
		p.link = link.Clone()
		if change != nil {
			change(p.link)
		}
		err = p.r.Store.Append(p.ctx, &outbox.Change{Link: p.link, Names: fresh, OwnFormat: p.c.OwnRef})
		again := errors.Is(err, outbox.ErrConflict) || errors.Is(err, outbox.ErrSeen)
		if !again || try == maxTries {
			return err
		}
	}
}

// withEscalation tells of a private note of the last seconds before the
// escalation, which happened at a local time: it may be older, or written with
// it. Only its push tells: a reading leaves it alone (R29), unless the newest
// note travels in any case.
func (p *reading) withEscalation(e *passerelle.Event, at string) bool {
	date, err := time.Parse(mapping.LocalTime, e.Fields["date"])
	t, err2 := time.Parse(mapping.LocalTime, at)
	age := t.Sub(date)
	told := p.link.Facts["create_sum"] != composed // by a push, which knew when
	return told && e.Kind == passerelle.PrivateLog && p.c.AtEscalation.PrivateLog != "newest" && err == nil && err2 == nil && age >= 0 && age <= 2*time.Second
}

// event accepts one fact of the ticket, if it is news.
func (p *reading) event(e *passerelle.Event) error {
	e.Read = true
	known, err := p.known(e)
	if err != nil || known {
		return err
	}
	if p.withEscalation(e, p.link.Baseline[p.dest.Side]) {
		return nil
	}
	if p.isEcho(e) {
		return p.note(e.Names)
	}
	if e.Kind == passerelle.Attach {
		if err := p.tool.Watch.Fetch(p.ctx, e, p.r.Store.Files()); err != nil {
			return p.unreadable(e, err)
		}
		defer p.r.Release(e.Files...)
		if claimed, err := p.claimed(e); err != nil || claimed {
			return err
		}
	}
	e.Claims = append(e.Claims, passerelle.Claim{Side: passerelle.Broker, Key: p.link.ID})
	_, err = p.r.Accept(p.ctx, e)
	if passerelle.ClassOf(err) == passerelle.Refused && err != nil {
		return nil // stored, counted and noted on its ticket
	}
	return err
}

// unreadable gives one file up that its tool cannot give: refused in sight, so
// that what comes after it on the ticket is not held up. Other trouble puts the
// reading off.
func (p *reading) unreadable(e *passerelle.Event, err error) error {
	if k := passerelle.ClassOf(err); k != passerelle.Stuck && k != passerelle.Refused {
		return err
	}
	why := &passerelle.Error{Op: "attach", Class: passerelle.Refused, Ticket: p.link.Names(), Rule: "R23", Err: fmt.Errorf("the file cannot be read: %w", err),
		Hint: "attach it again", Local: "la pièce jointe ne peut pas être lue : joignez-la de nouveau"}
	var told *passerelle.Error
	if errors.As(err, &told) && told.Local != "" {
		why.Hint, why.Local = told.Hint, told.Local
	}
	if _, err := p.r.refuse(p.ctx, p.c, p.link, "", []*passerelle.Event{e}, why); passerelle.ClassOf(err) != passerelle.Refused {
		return err
	}
	return nil
}

func (p *reading) known(e *passerelle.Event) (bool, error) {
	var names []outbox.Name
	for _, n := range e.Names {
		names = append(names, p.name(n))
	}
	seen, err := p.r.Store.Seen(p.ctx, names...)
	for _, n := range names {
		if seen[n.Name] {
			return true, err
		}
	}
	return false, err
}

// isEcho tells a change that we made ourselves by the mark that its tool keeps.
func (p *reading) isEcho(e *passerelle.Event) bool {
	prefix := p.dest.Contract + "/" + p.link.ID + "/"
	if p.r.ourAccount(p.dest, e.Account) && e.Mark == "" {
		learning, err := p.r.isLearning(p.ctx)
		return err == nil && !learning
	}
	return len(e.Mark) > len(prefix) && e.Mark[:len(prefix)] == prefix
}

// note records names as seen.
func (p *reading) note(names []string) error {
	var scoped []outbox.Name
	for _, n := range names {
		scoped = append(scoped, p.name(n))
	}
	return p.record(scoped, nil)
}

// claimed tells whether a file that was read is one that had been pushed: its
// alias is seen, and no other attachment has claimed it yet.
func (p *reading) claimed(e *passerelle.Event) (bool, error) {
	if e.Alias == "" {
		return false, nil
	}
	mine := e.Alias + "@claimed"
	seen, err := p.r.Store.Seen(p.ctx, p.name(e.Alias), p.name(mine))
	if err != nil {
		return false, err
	}
	if !seen[e.Alias] || seen[mine] {
		e.Alias = "" // its own id names it
		return false, nil
	}
	return true, p.note(append([]string{mine}, e.Names...))
}
