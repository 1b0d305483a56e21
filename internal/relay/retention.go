package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"passerelle"
	"passerelle/mapping"
	"passerelle/outbox"
)

// Retention says how long what people wrote is kept: the tools are where it
// belongs, the gateway needs it to deliver it and, for some weeks, to mend.
type Retention struct {
	// Texts is how long after a ticket was closed, rejected or taken out of the
	// interface its words are kept; 0: for good.
	Texts time.Duration
}

const (
	// retireEvery is the time between two looks for tickets that are due.
	retireEvery = 10 * time.Minute
	// retirePause is the time between two tickets: what comes in goes first.
	retirePause = 20 * time.Millisecond
)

// retire purges tickets that are due, until ctx ends. What an earlier process
// purged and had not yet scrubbed from the disk goes first.
func (r *Relay) retire(ctx context.Context) {
	for {
		r.retireOnce(ctx)
		if !pause(ctx, retireEvery) {
			return
		}
	}
}

func (r *Relay) retireOnce(ctx context.Context) {
	n, err := 0, error(nil)
	if r.Retention.Texts > 0 {
		n, err = r.purgeDue(ctx, time.Now().Add(-r.Retention.Texts))
	}
	if err != nil && !over(ctx, err) {
		r.Log.Error("retention: cannot purge, and tries again", "error", err, "again_in", retireEvery)
	}
	if n > 0 {
		r.Log.Info("retention: purged", "tickets", n)
	}
	if err := r.Store.Scrub(ctx); err != nil && !over(ctx, err) {
		r.Log.Warn("retention: what is purged still lies in unused parts of the database file", "error", err, "again_in", retireEvery)
	}
}

// purgeDue purges what has been at rest since before a moment, and tells how many
// tickets that were. One that waits for something is due again the next time.
func (r *Relay) purgeDue(ctx context.Context, before time.Time) (int, error) {
	n := 0
	for l, err := range r.Store.Resting(ctx, before) {
		if err != nil {
			return n, err
		}
		order := outbox.PurgeOrder{Keep: keptFacts(), Decision: outbox.Decision{By: "retention", Why: fmt.Sprintf("%s since %s", l.State, l.Moved.Format(time.DateOnly))}}
		did, err := r.Store.Purge(ctx, l.ID, order)
		switch {
		case errors.Is(err, outbox.ErrUnsettled) || errors.Is(err, outbox.ErrAwake):
			continue
		case err != nil:
			return n, err
		}
		n++
		r.purged(l, did, "retention", order.Decision)
		if !pause(ctx, retirePause) {
			return n, ctx.Err()
		}
	}
	return n, nil
}

func (r *Relay) purged(l *passerelle.Link, did *outbox.Purged, why string, d outbox.Decision) {
	r.Metrics.purged.WithLabelValues(l.Contract, why).Inc()
	r.Metrics.purgedSize.WithLabelValues(l.Contract, why).Add(float64(did.Bytes))
	r.Log.Info("purged", "contract", l.Contract, "ticket", l.Names(), "own", l.Own.Number, "state", l.State, "entries", did.Entries, "bytes", did.Bytes, "waiting", did.Waiting, "by", d.By)
}

// keptFacts are the facts of a link that hold no words of people: hashes, dates and
// numbers by which the same thing is known to be the same.
func keptFacts() []string {
	return []string{"create_sum", "last_update", mapping.PreviousRef, stoodFact(passerelle.Requester), stoodFact(passerelle.Partner)}
}

// Purge is what a purge for a person's request did.
type Purge struct {
	Contract string           `json:"contract"`
	Own      passerelle.Ref   `json:"own"`
	State    passerelle.State `json:"state"`
	outbox.Purged
	// OnDisk is why bytes of it may still lie in unused parts of the database
	// file; empty: none does.
	OnDisk string `json:"on_disk,omitempty"`
	// Previous is the partner's number of the closed ticket that this one follows:
	// a pair of its own, which is not purged with it.
	Previous string `json:"previous,omitempty"`
}

// Purge takes the words of one pair out of the store at once, for a person's
// request. Its refusal says what the ticket still needs.
func (r *Relay) Purge(ctx context.Context, contract, own string, o outbox.PurgeOrder) (*Purge, error) {
	l, err := r.Store.Find(ctx, contract, passerelle.Broker, own)
	if err != nil {
		return nil, err
	}
	o.Keep = keptFacts()
	did, err := r.Store.Purge(ctx, l.ID, o)
	switch {
	case errors.Is(err, outbox.ErrAwake):
		return nil, fmt.Errorf("%w (close it in its tool, or take it out of the interface: gateway ticket end; with --force the words of what is delivered or refused go now, and what is written on it later is kept until the next purge)", err)
	case errors.Is(err, outbox.ErrUnsettled):
		return nil, fmt.Errorf("%w (wait, or decide: gateway outbox; with --force all other words go now, and what waits keeps its own until it is delivered and purged in its turn)", err)
	case err != nil:
		return nil, err
	}
	r.purged(l, did, "request", o.Decision)
	out := &Purge{Contract: contract, Own: l.Own, State: l.State, Purged: *did, Previous: l.Facts[mapping.PreviousRef]}
	if err := r.Store.Scrub(ctx); err != nil {
		out.OnDisk = err.Error()
	}
	return out, nil
}
