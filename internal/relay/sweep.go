package relay

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"passerelle"
	"passerelle/mapping"
	"passerelle/outbox"
)

// Sweep says how often, and how gently, a tool is asked what it never told: a
// webhook is sent once, and one that meets no gateway is lost.
type Sweep struct {
	Every time.Duration // between two sweeps; 0: none
	Whole time.Duration // between two readings of every open ticket, changed or not; 0: none
	Batch int           // tickets named in one request; default 200
	Pause time.Duration // between two requests, and between two readings of a whole one
	// Quiet are the minutes of the day, local time, between which no sweep begins,
	// such as a tool's own night work; the same twice: none.
	QuietFrom, QuietTo int
}

// quiet tells whether no sweep shall begin at t.
func (s Sweep) quiet(t time.Time) bool {
	m := t.Hour()*60 + t.Minute()
	if s.QuietFrom <= s.QuietTo {
		return s.QuietFrom <= m && m < s.QuietTo
	}
	return m >= s.QuietFrom || m < s.QuietTo // over midnight
}

// swept is how far the sweeps of one tool have come: what is kept of them, so
// that one that was cut short goes on where it was.
type swept struct {
	Cursor string    `json:"cursor"`          // what the sweep under way asks for, or the next one will
	Next   string    `json:"next,omitempty"`  // the latest change that it has seen
	After  string    `json:"after,omitempty"` // the last pair it has asked about; empty: none is under way
	Whole  time.Time `json:"whole,omitzero"`  // when every open ticket was last read
	// First is the latest change that the very first sweep saw, empty if it saw no
	// ticket, and Begun that there was one: what stood with the partner's team by
	// then, and has not changed since, was perhaps carried by somebody else.
	First string `json:"first,omitempty"`
	Begun bool   `json:"begun,omitempty"`
}

// sweeper asks one tool what changed.
type sweeper struct {
	*Relay
	dest outbox.Dest
	tool passerelle.Sweeper
	c    *mapping.Contract
	at   swept
	// read are the tickets that were read at their present stamp; a stamp that is
	// not the tool's latest cannot come a second time.
	read map[string]string
	// fresh are tickets handed to the partner that the sweep before this one found
	// unknown too: their push is not just on its way.
	fresh map[string]bool
	told  map[string]string // what the log said of tickets that are left alone
}

// sweeps asks one tool again and again, until ctx ends.
func (r *Relay) sweeps(ctx context.Context, dest outbox.Dest, tool passerelle.Sweeper) {
	s := r.newSweeper(dest, tool)
	for {
		if !r.Sweep.quiet(time.Now()) {
			r.sweepOnce(ctx, s)
		}
		if !pause(ctx, r.Sweep.Every) {
			return
		}
	}
}

func (r *Relay) newSweeper(dest outbox.Dest, tool passerelle.Sweeper) *sweeper {
	return &sweeper{Relay: r, dest: dest, tool: tool, c: r.Contracts[dest.Contract], read: map[string]string{}, fresh: map[string]bool{}, told: map[string]string{}}
}

func (r *Relay) sweepOnce(ctx context.Context, s *sweeper) {
	g := r.gates[s.dest]
	if _, closed := g.closed(); closed {
		return
	}
	start := time.Now()
	n, err := s.sweep(ctx)
	switch {
	case err == nil:
		r.Metrics.swept.WithLabelValues(s.dest.Contract, string(s.dest.Side)).SetToCurrentTime()
		r.Log.Debug("swept", "contract", s.dest.Contract, "side", s.dest.Side, "to_read", n, "took", time.Since(start))
	case over(ctx, err):
	default:
		if passerelle.ClassOf(err) == passerelle.Denied {
			g.down(passerelle.Denied, 0)
		}
		r.Log.Warn("sweeping failed, and goes on where it was", "contract", s.dest.Contract, "side", s.dest.Side, "class", passerelle.ClassOf(err), "error", err)
	}
}

// sweepKey is where a tool's cursor is kept.
func sweepKey(d outbox.Dest) string { return "sweep/" + d.Contract + "/" + string(d.Side) }

// sweep asks once about all tickets that are open, and has those read that
// changed. It returns how many.
func (s *sweeper) sweep(ctx context.Context) (int, error) {
	if err := s.load(ctx); err != nil {
		return 0, err
	}
	known, err := s.open(ctx)
	if err != nil {
		return 0, err
	}
	if s.Sweep.Whole > 0 && s.at.After == "" && time.Since(s.at.Whole) > s.Sweep.Whole {
		if err := s.whole(ctx, known); err != nil {
			return 0, err
		}
	}
	found := 0
	first := s.at.After == ""
	resumed := !first
	if !first {
		known = known[s.position(known):]
	}
	for {
		batch := known[:min(len(known), s.batch())]
		known = known[len(batch):]
		n, err := s.ask(ctx, batch, first)
		if found += n; err != nil {
			return found, err
		}
		first = false
		if len(known) == 0 {
			break
		}
		if s.at.After = batch[len(batch)-1].ID; !pause(ctx, s.Sweep.Pause) {
			return found, ctx.Err()
		}
		if err := s.keep(ctx); err != nil {
			return found, err
		}
	}
	if s.at.After = ""; !resumed { // what changed while one was cut short, the next sweep asks for
		s.at.Cursor = max(s.at.Cursor, s.at.Next)
	}
	return found, s.keep(ctx)
}

func (s *sweeper) batch() int {
	if s.Sweep.Batch <= 0 {
		return 200
	}
	return s.Sweep.Batch
}

func (s *sweeper) load(ctx context.Context) error {
	kept, err := s.Store.Kept(ctx, sweepKey(s.dest))
	if err != nil || kept == "" {
		return err
	}
	return json.Unmarshal([]byte(kept), &s.at)
}

// keep stores how far the sweep has come, if that is news.
func (s *sweeper) keep(ctx context.Context) error {
	b, err := json.Marshal(s.at)
	if err != nil {
		return err
	}
	if old, err := s.Store.Kept(ctx, sweepKey(s.dest)); err != nil || old == string(b) {
		return err
	}
	return s.Store.Keep(ctx, sweepKey(s.dest), string(b))
}

// open lists the pairs whose ticket in this tool may still change, in a fixed
// order: closed ones are final (R31).
func (s *sweeper) open(ctx context.Context) ([]*passerelle.Link, error) {
	var out []*passerelle.Link
	for l, err := range s.Store.OpenLinks(ctx, s.dest.Contract) {
		if err != nil {
			return nil, err
		}
		if l.Ref(s.dest.Side).Key != "" {
			out = append(out, l)
		}
	}
	return out, nil
}

// position is where a sweep that was cut short goes on.
func (s *sweeper) position(known []*passerelle.Link) int {
	i := slices.IndexFunc(known, func(l *passerelle.Link) bool {
		return len(l.ID) > len(s.at.After) || len(l.ID) == len(s.at.After) && l.ID > s.at.After
	})
	if i < 0 {
		return len(known)
	}
	return i
}

// whole has every open ticket read, changed or not, one after the other.
func (s *sweeper) whole(ctx context.Context, known []*passerelle.Link) error {
	for i, l := range known {
		look := outbox.Look{Contract: s.dest.Contract, Side: s.dest.Side, Key: l.Ref(s.dest.Side).Key, Before: time.Now().Add(time.Duration(i) * s.Sweep.Pause)}
		if err := s.Store.Look(ctx, look); err != nil {
			return err
		}
	}
	s.at.Whole = time.Now()
	return nil
}

// ask asks about one batch.
func (s *sweeper) ask(ctx context.Context, batch []*passerelle.Link, others bool) (int, error) {
	since := passerelle.Since{Cursor: s.at.Cursor, Others: others && s.tellsOthers()}
	for _, l := range batch {
		since.Known = append(since.Known, l.Ref(s.dest.Side))
	}
	ch, err := s.tool.Changed(ctx, since)
	if err != nil {
		return 0, err
	}
	latest := max(s.at.Next, ch.Next)
	found := 0
	look := func(key string) error {
		found++
		return s.Store.Look(ctx, outbox.Look{Contract: s.dest.Contract, Side: s.dest.Side, Key: key})
	}
	for _, key := range ch.Keys {
		stamp := ch.Stamps[key]
		if stamp != "" && s.read[key] == stamp {
			continue
		}
		if err := look(key); err != nil {
			return found, err
		}
		if delete(s.read, key); stamp < latest {
			s.read[key] = stamp
		}
	}
	for key, names := range ch.Attached {
		if unknown, err := s.unknown(ctx, names); err != nil {
			return found, err
		} else if unknown {
			if err := look(key); err != nil {
				return found, err
			}
		}
	}
	s.forget()
	s.at.Next = latest
	if !others {
		return found, nil
	}
	if s.at.Cursor == "" && !s.at.Begun {
		s.at.Begun, s.at.First = true, latest
		return found, nil
	}
	return found, s.handed(ctx, ch)
}

// tellsOthers tells whether it helps to ask for tickets that we do not know: at the
// requester's those handed over, at the partner's those that carry our mark, which
// an iTop does not keep.
func (s *sweeper) tellsOthers() bool {
	_, teller := s.tool.(passerelle.Teller)
	return s.dest.Side == passerelle.Requester || !teller
}

// forget keeps the memory of what was read within bounds.
func (s *sweeper) forget() {
	if len(s.read) > 100_000 {
		clear(s.read)
	}
}

// unknown tells whether one of the facts is not known yet.
func (s *sweeper) unknown(ctx context.Context, names []string) (bool, error) {
	var scoped []outbox.Name
	for _, n := range names {
		scoped = append(scoped, outbox.Name{Contract: s.dest.Contract, Side: s.dest.Side, Name: n})
	}
	fresh, err := s.unseenOf(ctx, scoped)
	return len(fresh) > 0, err
}

// handed escalates tickets that stand with the partner's team and whose create
// never reached us. One that is found for the first time may be on its way: it
// waits for the next sweep.
func (s *sweeper) handed(ctx context.Context, ch *passerelle.Changes) error {
	again := map[string]bool{}
	for _, key := range ch.Handed {
		waits, err := s.untold(ctx, key, ch.Stamps[key])
		if err == nil && waits && s.fresh[key] {
			err = s.escalate(ctx, key)
		}
		if waits {
			again[key] = true
		}
		if k := passerelle.ClassOf(err); err != nil && (k == passerelle.Stuck || k == passerelle.Refused) { // this ticket alone: the others need not wait for it
			s.Log.Error("a ticket that nobody told of cannot be escalated", "contract", s.dest.Contract, "side", s.dest.Side, "key", key, "error", err)
			continue
		}
		if err != nil {
			return err
		}
	}
	s.fresh = again
	return nil
}

// untold tells whether a ticket stands with the partner's team as one that it
// has to work on, and no pair that is open knows it.
func (s *sweeper) untold(ctx context.Context, key, stamp string) (bool, error) {
	teller, ok := s.tool.(passerelle.Teller)
	if !ok || s.dest.Side != passerelle.Requester || s.c.Escalation(s.dest.Side) == nil {
		return false, nil
	}
	link, err := s.Store.Find(ctx, s.dest.Contract, s.dest.Side, key)
	switch {
	case errors.Is(err, passerelle.ErrNotFound) && stamp <= s.at.First:
		return false, nil // it stood there before anybody looked
	case errors.Is(err, passerelle.ErrNotFound):
	case err != nil:
		return false, err
	case link.State != passerelle.Left && link.State != passerelle.Closed && link.State != passerelle.New && !s.comesBack(s.c, s.dest.Side, link):
		return false, nil // a pair that is open, or whose ticket's reading tells (R30)
	}
	snap, err := teller.Read(ctx, key)
	if err != nil || snap.Gone {
		return false, err
	}
	return slices.Contains(s.c.Standing(s.dest.Side, snap.Status, snap.Away), passerelle.Open), nil
}

// escalate takes a ticket as if its tool had just pushed it, unless it names a
// partner's ticket already: then another gateway, or a store that is lost, made
// that one, and a person must decide.
func (s *sweeper) escalate(ctx context.Context, key string) error {
	teller := s.tool.(passerelle.Teller)
	events, err := teller.Tell(ctx, key, s.c.Escalation(s.dest.Side))
	if err != nil {
		return err
	}
	theirs, err := s.theirs(ctx, teller, key)
	if err != nil {
		return err
	}
	if _, err := s.Store.Find(ctx, s.dest.Contract, s.dest.Side, key); theirs != "" && errors.Is(err, passerelle.ErrNotFound) {
		if s.told[key] == theirs {
			return nil
		}
		s.told[key] = theirs
		s.Log.Error("a ticket stands with the partner's team, is not known here, and names a partner's ticket: it is left alone", "contract", s.dest.Contract, "side", s.dest.Side,
			"key", key, "names", theirs, "hint", "gateway resync --escalate makes a new one at the partner's; or empty the reference in its tool")
		return nil
	}
	events = slices.DeleteFunc(events, func(e *passerelle.Event) bool { return e.Kind == passerelle.PublicLog }) // read in its turn
	for _, e := range events {
		if e.Read = true; e.Kind == passerelle.Create { // it was handed over after the last sweep: nobody knows when, and what was written since travels
			e.Fields["last_update"] = s.at.Cursor
		}
	}
	link, err := s.Accept(ctx, events...)
	if passerelle.ClassOf(err) == passerelle.Refused && err != nil {
		return nil // stored, counted and noted on its ticket
	}
	if err == nil {
		s.Log.Info("escalated though nobody told it", "contract", s.dest.Contract, "ticket", link.Names())
	}
	return err
}

// theirs is what a ticket's own fields say of the partner's number, those that
// the contract's update-reference writes.
func (s *sweeper) theirs(ctx context.Context, teller passerelle.Teller, key string) (string, error) {
	payload, fields := s.c.ReferenceProbe(s.dest.Side)
	if payload == nil {
		return "", nil
	}
	events, err := teller.Tell(ctx, key, payload)
	if err != nil {
		return "", err
	}
	var out []string
	for _, e := range events {
		for _, f := range fields {
			if v := e.Fields[f]; v != "" && v != "0" && !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
	}
	return strings.Join(out, " "), nil
}
