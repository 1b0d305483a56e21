package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"

	"passerelle/internal/cluster"
)

// shared is a kind of store on NATS servers that are processes of their own.
type shared struct {
	name string
	plan cluster.Plan
	*cluster.Cluster
	streams int
}

// sharedKinds are what bolt is compared with. The servers sync what they took
// together, or each change before they acknowledge it.
func sharedKinds() []*shared {
	return []*shared{
		{name: "one server", plan: cluster.Plan{Nodes: 1}},
		{name: "one server, synced", plan: cluster.Plan{Nodes: 1, Sync: true}},
		{name: "three servers", plan: cluster.Plan{Nodes: 3}},
		{name: "three servers, synced", plan: cluster.Plan{Nodes: 3, Sync: true}},
	}
}

func (s *shared) start(dir string) (err error) {
	if s.plan.Dir, err = os.MkdirTemp(dir, "bench-nats-"); err != nil {
		return err
	}
	s.Cluster, err = cluster.Start(s.plan)
	return err
}

func (s *shared) stop() error {
	var err error
	if s.Cluster != nil {
		err = s.Cluster.Close()
	}
	return errors.Join(err, os.RemoveAll(s.plan.Dir))
}

// outbox is what gateway.yaml says of a fresh store.
func (s *shared) outbox() map[string]any {
	s.streams++
	return map[string]any{"outbox": map[string]any{"kind": "nats", "urls": s.URLs(), "stream": fmt.Sprintf("bench-%d", s.streams), "replicas": s.plan.Nodes, "name": "bench"}}
}

const natsTitle = "A store on NATS servers beside bolt, one gateway, 64 senders"

// sharedRounds compares the same load on each kind of shared store with bolt, in
// turn. The servers run only while they are compared.
func (b *bench) sharedRounds(ctx context.Context, t *table, base *noop) (err error) {
	defer func() {
		for _, k := range b.kinds {
			err = errors.Join(err, k.stop())
		}
	}()
	for _, k := range b.kinds {
		if err := k.start(b.dir); err != nil {
			return fmt.Errorf("NATS, %s: %w", k.name, err)
		}
	}
	for range b.natsRounds {
		parsed, _, err := b.measureNoop(ctx, base, 64)
		if err != nil {
			return fmt.Errorf("no-op: %w", err)
		}
		p := b.fitting(64, parsed)
		bolt, err := b.fresh(ctx, p, nil)
		if err != nil {
			return fmt.Errorf("bolt: %w", err)
		}
		t.add(natsTitle, "bolt: accepted, events/s", nil, bolt.rate())
		t.add(natsTitle, "bolt: delivered, events/s", nil, bolt.delivered())
		for _, k := range b.kinds {
			f, err := b.fresh(ctx, p, k.outbox())
			if err != nil {
				return fmt.Errorf("NATS, %s: %w", k.name, err)
			}
			t.add(natsTitle, k.name+": accepted / bolt", nil, f.rate()/bolt.rate())
			t.add(natsTitle, k.name+": delivered / bolt", nil, f.delivered()/bolt.delivered())
			t.add(natsTitle, k.name+": accept p99 / bolt", nil, f.load.at(0.99)/bolt.load.at(0.99))
			t.add(natsTitle, k.name+": processor time of the gateway an event / bolt", nil, float64(f.cpu)/float64(bolt.cpu))
		}
	}
	return nil
}

// fresh measures a gateway of its own, on a store of its own.
func (b *bench) fresh(ctx context.Context, p point, extra map[string]any) (f *figures, err error) {
	conf := maps.Clone(quick)
	maps.Copy(conf, extra)
	h, err := openHouse(ctx, b.contract, b.dir, conf)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	return b.measure(ctx, h, p)
}
