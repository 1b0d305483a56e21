package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"passerelle"
	"passerelle/mapping"
	"passerelle/outbox"
)

const (
	largeWaiting = 100_000    // entries that wait, each on a pair of its own
	largeParked  = 1_000      // entries that wait for a person
	largeTickets = 48         // of a round of the load
	largeBodies  = 20         // of so many tickets at rest one keeps its texts
	largeFirst   = 10_000_000 // the requester's keys begin here: those of the load are smaller
	largeWriters = 1024       // that share commits: twice what one holds
)

// builder fills a store with what a gateway leaves there after years, by the
// store's own code: many writers share each commit.
type builder struct {
	c     *mapping.Contract
	store outbox.Store
	text  string // of an entry that has one
}

// newBuilder opens the store of a folder to fill it.
func newBuilder(b *bench, c *mapping.Contract, dir string) (*builder, error) {
	s, err := outbox.OpenBolt(dir)
	return &builder{c: c, store: s, text: strings.Repeat("La console ne répond pas. ", max(1, b.size/27))}, err
}

// each runs do for each number from one to before another, many at once, until
// one fails.
func each(from, to int, do func(n int) error) error {
	var next atomic.Int64
	next.Store(int64(from) - 1)
	errs := make([]error, largeWriters)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for n := int(next.Add(1)); n < to; n = int(next.Add(1)) {
				if errs[i] = do(n); errs[i] != nil {
					next.Store(int64(to))
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// wait adds pairs whose create waits or is parked. What waits is put off for a day:
// it is there, and goes nowhere while the others are measured.
func (l *builder) wait(ctx context.Context) error {
	return each(0, largeWaiting+largeParked, func(n int) error {
		link := l.link(2*largeFirst+n, passerelle.Open)
		link.Partner = passerelle.Ref{}
		e := l.entry(passerelle.Requester, passerelle.Partner, passerelle.Create, link.Requester.Key, "create/0", l.text)
		e.Status, e.Before = outbox.Waiting, time.Now().Add(24*time.Hour)
		if n >= largeWaiting {
			e.Status, e.Before, e.Attempts = outbox.Parked, time.Time{}, 3
			e.Class, e.Error = passerelle.Refused, "the partner's tool refuses it"
		}
		return l.store.Append(ctx, &outbox.Change{Link: link, OwnFormat: l.c.OwnRef, Entries: []*outbox.Entry{e}, Names: l.names(e)})
	})
}

// rest adds pairs from one number to before another that are closed: of all but a
// few retention has purged the words.
func (l *builder) rest(ctx context.Context, from, to int) error {
	return each(from, to, func(n int) error {
		link := l.link(largeFirst+n, passerelle.Closed)
		entries := []*outbox.Entry{
			l.entry(passerelle.Requester, passerelle.Partner, passerelle.Create, link.Requester.Key, "create/0", l.text),
			l.entry(passerelle.Broker, passerelle.Requester, passerelle.Reference, link.Partner.Key, "", link.Partner.Number),
			l.entry(passerelle.Partner, passerelle.Requester, passerelle.PublicLog, link.Partner.Key, fmt.Sprintf("comment/%d/public", n), l.text),
			l.entry(passerelle.Requester, passerelle.Partner, passerelle.Close, link.Requester.Key, "turn/3/close", "closed"),
		}
		change := &outbox.Change{Link: link, OwnFormat: l.c.OwnRef, Entries: entries, Names: l.names(entries...)}
		if err := l.store.Append(ctx, change); err != nil || n%largeBodies == 0 {
			return err
		}
		_, err := l.store.Purge(ctx, change.Link.ID, outbox.PurgeOrder{Keep: []string{"create_sum"}, Decision: outbox.Decision{By: "retention", Why: "closed since " + link.Moved.Format(time.DateOnly)}})
		return err
	})
}

func (l *builder) link(n int, state passerelle.State) *passerelle.Link {
	moved := time.Now().Add(-100 * 24 * time.Hour)
	return &passerelle.Link{Contract: l.c.Name, Terms: l.c.Version, State: state, Turn: 3, Shown: map[passerelle.Side]uint64{passerelle.Requester: 3, passerelle.Partner: 3},
		Requester: passerelle.Ref{Key: fmt.Sprint(n), Number: largeNumber(n)}, Partner: passerelle.Ref{Key: fmt.Sprint(n + 7), Number: fmt.Sprintf("OLD-%d", n)},
		Facts: map[string]string{"create_sum": fmt.Sprintf("%x", sha256.Sum256([]byte(fmt.Sprint(n)))), "title": "Un ticket"}, Born: moved.Add(-72 * time.Hour), Moved: moved}
}

// largeNumber is the number by which people know a requester's ticket.
func largeNumber(n int) string { return fmt.Sprintf("R-%06d", n) }

// entry is one that was delivered. Its name is that of its fact on the ticket,
// empty where it has none.
func (l *builder) entry(from, to passerelle.Side, kind passerelle.Kind, key, name, text string) *outbox.Entry {
	e := &passerelle.Event{Contract: l.c.Name, From: from, Kind: kind, Key: key, At: time.Now(), Fields: map[string]string{"text": text}}
	if name != "" {
		e.Names = []string{key + "/" + name}
	}
	return &outbox.Entry{Schema: outbox.EntrySchema, Contract: l.c.Name, Terms: l.c.Version, To: to, Template: string(kind), Event: e, State: passerelle.Open, Turn: 1, Rule: "R1",
		Status: outbox.Done, Parts: 1, Wrote: []string{fmt.Sprintf("%s/wrote/%s", key, kind)}}
}

// names are those of the facts that entries tell, and of what was written for them.
func (l *builder) names(entries ...*outbox.Entry) (out []outbox.Name) {
	for _, e := range entries {
		for _, n := range e.Event.Names {
			out = append(out, outbox.Name{Contract: l.c.Name, Side: e.Event.From, Name: n})
		}
		for _, n := range e.Wrote {
			out = append(out, outbox.Name{Contract: l.c.Name, Side: e.To, Name: n})
		}
	}
	return out
}

// open lists the pairs that a sweep asks about, and tells how long that took.
func (l *builder) open(ctx context.Context) (n int, took time.Duration, err error) {
	start := time.Now()
	for _, err := range l.store.OpenLinks(ctx, l.c.Name) {
		if err != nil {
			return n, 0, err
		}
		n++
	}
	return n, time.Since(start), nil
}

// database is the file of a folder's store.
func database(dir string) string { return filepath.Join(dir, "outbox.db") }
