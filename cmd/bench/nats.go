package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"passerelle/internal/cluster"
	"passerelle/outbox"
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

// open makes a fresh store.
func (s *shared) open(dir string) (outbox.Store, error) {
	s.streams++
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return outbox.OpenNATS(ctx, outbox.NATSOptions{URLs: s.URLs(), Stream: fmt.Sprintf("bench-%d", s.streams), Replicas: s.plan.Nodes, Dir: filepath.Join(dir, "replica")})
}

func openBolt(dir string) (outbox.Store, error) { return outbox.OpenBolt(filepath.Join(dir, "data")) }

// sharedRounds compares the same load on each kind of shared store with bolt, in
// turn.
func (b *bench) sharedRounds(ctx context.Context) (out []*series, err error) {
	kinds := sharedKinds()
	defer func() {
		for _, k := range kinds {
			err = errors.Join(err, k.stop())
		}
	}()
	bolt := &series{name: "accepted on bolt, events/s"}
	boltAll := &series{name: "delivered on bolt, events/s"}
	accepted, delivered := map[*shared]*series{}, map[*shared]*series{}
	for _, k := range kinds {
		if err := k.start(b.dir); err != nil {
			return nil, err
		}
		accepted[k], delivered[k] = &series{name: "accepted on NATS, " + k.name + " / bolt"}, &series{name: "delivered on NATS, " + k.name + " / bolt"}
	}
	for range b.rounds {
		a, d, err := b.gateway(ctx, openBolt)
		if err != nil {
			return nil, fmt.Errorf("bolt: %w", err)
		}
		bolt.add(a)
		boltAll.add(d)
		for _, k := range kinds {
			na, nd, err := b.gateway(ctx, k.open)
			if err != nil {
				return nil, fmt.Errorf("NATS, %s: %w", k.name, err)
			}
			accepted[k].add(na / a)
			delivered[k].add(nd / d)
		}
	}
	out = []*series{bolt, boltAll}
	for _, k := range kinds {
		out = append(out, accepted[k], delivered[k])
	}
	return out, nil
}
