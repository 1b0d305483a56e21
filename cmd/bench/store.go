package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"passerelle"
	"passerelle/outbox"
)

// storeValue is the bytes of a value, or of an event's text.
const storeValue = 2048

var storeWriters = []int{1, 16, 64, 256}

// storeRound measures the gateway's store alone, and bbolt without it, in turn.
func (b *bench) storeRound(ctx context.Context, t *table) (err error) {
	dir, err := os.MkdirTemp(b.dir, "bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	raw, err := openRawBolt(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.close()) }()
	ours, err := openOurs(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ours.close()) }()
	disk, err := b.rawSync()
	if err != nil {
		return err
	}
	t.add(storeTitle, "fdatasync of a 4 KB append, ms", nil, disk.Seconds()*1000)
	for _, writers := range storeWriters {
		r, err := b.putsPerSync(writers, raw.put)
		if err != nil {
			return fmt.Errorf("bbolt: %w", err)
		}
		o, err := b.putsPerSync(writers, ours.put)
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		var goal *goal
		if writers == 64 {
			goal = atLeast(2.4)
		}
		t.add(storeTitle, "raw bbolt: puts per raw fdatasync, "+count(writers, "writer"), nil, r)
		t.add(storeTitle, "store: puts per raw fdatasync, "+count(writers, "writer"), goal, o)
	}
	return ours.check(ctx)
}

const storeTitle = "The store alone: values of 2 KB, each writer waits for its own commit"

// putsPerSync is how many puts are made in the time of one fdatasync, which is
// measured before and after.
func (b *bench) putsPerSync(writers int, put func(writer, i int) error) (float64, error) {
	before, errA := b.rawSync()
	rate, errB := puts(writers, b.still/2, put)
	after, errC := b.rawSync()
	return rate * ((before + after) / 2).Seconds(), errors.Join(errA, errB, errC)
}

// ours is the gateway's store, with a ticket for each writer.
type ours struct {
	ctx   context.Context
	store outbox.Store
	links []*passerelle.Link
	puts  []int // that were acknowledged, of each writer
}

const storeContract = "bench"

func openOurs(ctx context.Context, dir string) (*ours, error) {
	s, err := outbox.OpenBolt(filepath.Join(dir, "data"))
	if err != nil {
		return nil, err
	}
	most := slices.Max(storeWriters)
	o := &ours{ctx: ctx, store: s, links: make([]*passerelle.Link, most), puts: make([]int, most)}
	errs := make([]error, most)
	var wg sync.WaitGroup
	for w := range o.links {
		key := fmt.Sprint(w)
		o.links[w] = &passerelle.Link{Contract: storeContract, Terms: "v1", State: passerelle.Open, Turn: 1, Requester: passerelle.Ref{Key: key, Number: "R-" + key}}
		wg.Go(func() { errs[w] = s.Append(ctx, &outbox.Change{Link: o.links[w]}) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return o, nil
}

var storeText = strings.Repeat("x", storeValue)

// put accepts an event on the writer's ticket, under a name of its own.
func (o *ours) put(w, _ int) error {
	e := &passerelle.Event{Contract: storeContract, From: passerelle.Requester, Kind: passerelle.PublicLog, Key: o.links[w].Requester.Key, Fields: map[string]string{"text": storeText}}
	name := fmt.Sprintf("%08x/%d/%d", uint32(w*7919+o.puts[w])*2654435761, w, o.puts[w])
	err := o.store.Append(o.ctx, &outbox.Change{
		Link:    o.links[w],
		Entries: []*outbox.Entry{{To: passerelle.Partner, Terms: "v1", Template: "update", Event: e}},
		Names:   []outbox.Name{{Contract: storeContract, Side: passerelle.Requester, Name: name}},
	})
	if err == nil {
		o.puts[w]++
	}
	return err
}

// check counts what the store holds.
func (o *ours) check(ctx context.Context) error {
	s, err := o.store.Stats(ctx)
	if err != nil {
		return err
	}
	want, held := 0, s.ByStatus[outbox.Dest{Contract: storeContract, Side: passerelle.Partner}][outbox.Waiting]
	for _, n := range o.puts {
		want += n
	}
	if held != want {
		return fmt.Errorf("the store holds %d entries, %d were put", held, want)
	}
	return nil
}

func (o *ours) close() error { return o.store.Close() }
