package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"passerelle"
	"passerelle/outbox"
)

// Resync is what reading both tickets of one pair again shows: what is missing,
// and what became of it where that was asked for. It holds no text of a ticket.
type Resync struct {
	Contract string           `json:"contract"`
	Own      passerelle.Ref   `json:"own"`
	State    passerelle.State `json:"state"`
	Sides    []ResyncSide     `json:"sides"`
	// Underway are the messages that are not settled: they are sent in any case.
	Underway []string `json:"underway,omitempty"`
	Applied  bool     `json:"applied"` // what Sides tell was mended, or is on its way
}

// ResyncSide is one of the two tickets.
type ResyncSide struct {
	Side   passerelle.Side `json:"side"`
	Ticket passerelle.Ref  `json:"ticket"`
	Status string          `json:"status,omitempty"`
	// Trouble is why the ticket cannot be compared: gone, not yet made, a tool that
	// cannot be read.
	Trouble string   `json:"trouble,omitempty"`
	News    []string `json:"news,omitempty"`   // what was done there and is not known here: it will be carried, or refused in sight
	Gone    []string `json:"gone,omitempty"`   // what we wrote there and is not there any more: it will be written again
	Stands  string   `json:"stands,omitempty"` // where it stands apart from the pair, and what follows
}

// Missing tells whether anything is to be mended.
func (s *Resync) Missing() bool {
	return slices.ContainsFunc(s.Sides, func(side ResyncSide) bool { return len(side.News)+len(side.Gone) > 0 || side.Stands != "" })
}

// Resync reads both tickets of a pair and tells what is missing; with apply it
// has that mended: news is taken as if it had been pushed, entries of ours that
// are gone are written again, whatever their age.
func (r *Relay) Resync(ctx context.Context, contract, own string, apply bool) (*Resync, error) {
	link, err := r.Store.Find(ctx, contract, passerelle.Broker, own)
	if err != nil {
		return nil, err
	}
	if err := r.here(ctx, contract, link.Names()); err != nil {
		return nil, err
	}
	if learning, err := r.isLearning(ctx); err != nil || learning {
		return nil, errors.Join(err, passerelle.Errorf(passerelle.Temporary, "resync", "%s: the gateway still compares all pairs after a restore", link.Names()))
	}
	out := &Resync{Contract: contract, Own: link.Own, State: link.State, Applied: apply}
	for e, err := range r.Store.Entries(ctx, outbox.Query{Link: link.ID, Status: unsettled}) {
		if err != nil {
			return nil, err
		}
		if !e.Status.Final() {
			out.Underway = append(out.Underway, fmt.Sprintf("entry %d, %s to the %s, %s", e.ID, e.Template, e.To, e.Status))
		}
	}
	for _, side := range bothSides {
		one, err := r.resyncSide(ctx, outbox.Dest{Contract: contract, Side: side}, link, apply)
		if err != nil {
			return nil, err
		}
		out.Sides = append(out.Sides, *one)
	}
	return out, nil
}

// here refuses what only the gateway that works for a contract can do: it alone
// knows that it is not writing to the tickets just now.
func (r *Relay) here(ctx context.Context, contract, ticket string) error {
	s, err := r.Store.Stats(ctx)
	if err != nil || s.Led == nil || s.Led[contract] {
		return err
	}
	leaders, err := r.Store.Leaders(ctx)
	if err != nil {
		return err
	}
	name := leaders[contract].Name
	if name == "" {
		return passerelle.Errorf(passerelle.Temporary, "resync", "%s: no gateway works for the contract just now (ask again in a minute)", ticket)
	}
	return &passerelle.Error{Op: "resync", Class: passerelle.Refused, Ticket: ticket, Err: fmt.Errorf("another gateway works for the contract: %s", name), Hint: "ask there: --admin with its address"}
}

func (r *Relay) resyncSide(ctx context.Context, dest outbox.Dest, link *passerelle.Link, apply bool) (*ResyncSide, error) {
	out := &ResyncSide{Side: dest.Side, Ticket: link.Ref(dest.Side)}
	tool := r.Tools[dest]
	switch {
	case tool.Watch == nil:
		out.Trouble = "this tool cannot be read"
		return out, nil
	case out.Ticket.Key == "":
		out.Trouble = "the ticket is not made yet"
		return out, nil
	}
	defer r.locks.lock(lockKey(dest, link.ID))()
	defer r.locks.lock(ticketKey(dest, link))()
	snap, err := tool.Watch.Read(ctx, out.Ticket.Key)
	if err != nil {
		return nil, err
	}
	if snap.Gone {
		out.Trouble = "the ticket is gone from its tool, or hidden from our account"
		return out, nil
	}
	c, err := r.contract(dest.Contract)
	if err != nil {
		return nil, err
	}
	p := &reading{r: r, ctx: ctx, c: c, dest: dest, tool: tool, link: link.Clone(), anyAge: true}
	if err := p.compare(snap, out); err != nil {
		return nil, err
	}
	if apply {
		err = p.take(snap, link.Turn)
	}
	return out, err
}

// compare tells what a reading would find.
func (p *reading) compare(snap *passerelle.Snapshot, out *ResyncSide) error {
	if out.Status = snap.Status; out.Status == "" {
		out.Status = snap.Fields["status"]
	}
	for _, e := range snap.Events {
		known, err := p.known(e)
		if err != nil {
			return err
		}
		if !known && !p.isEcho(e) && !p.withEscalation(e, p.link.Baseline[p.dest.Side]) {
			out.News = append(out.News, whatOf(e))
		}
	}
	gone, err := p.gone(snap)
	if err != nil {
		return err
	}
	for _, e := range gone {
		out.Gone = append(out.Gone, fmt.Sprintf("entry %d, %s, delivered %s", e.ID, e.Template, e.Settled.Format(time.RFC3339)))
	}
	if p.atRest(p.link) || snap.Status == "" {
		return nil
	}
	if stands := p.c.Standing(p.dest.Side, snap.Status, snap.Away); !slices.Contains(stands, p.link.State) {
		out.Stands = "it stands in " + snap.Status + ", the pair in " + string(p.link.State)
		if kind, ok := p.c.Moved(p.dest.Side, p.link.State, stands, snap.Away); ok {
			out.Stands += ": taken as « " + kind.French() + " »"
		}
	}
	return nil
}

// whatOf names an event without its words.
func whatOf(e *passerelle.Event) string {
	what := string(e.Kind)
	if e.Signal != "" {
		what = "« " + e.Signal + " »"
	}
	if date := e.Fields["date"]; date != "" {
		return what + " of " + date
	}
	if e.Kind == passerelle.Attach {
		return strings.TrimSpace(what + " " + e.Source)
	}
	return what + " of " + e.At.Format(time.RFC3339)
}

// Escalate takes a ticket of the requester's tool as if it had just been handed
// over, for an operator who knows that its create never came. One that an open
// pair knows stays as it is.
func (r *Relay) Escalate(ctx context.Context, contract, key string) (*passerelle.Link, error) {
	dest := outbox.Dest{Contract: contract, Side: passerelle.Requester}
	c, err := r.contract(contract)
	if err != nil {
		return nil, err
	}
	teller, ok := r.Tools[dest].Watch.(passerelle.Teller)
	if !ok || c.Escalation(dest.Side) == nil {
		return nil, passerelle.Errorf(passerelle.Refused, "escalate", "the contract has no from-requester/create.json to compose a create by (have the ticket assigned again in its tool)")
	}
	events, err := teller.Tell(ctx, key, c.Escalation(dest.Side))
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		e.Read = true
	}
	return r.Accept(ctx, events...)
}
