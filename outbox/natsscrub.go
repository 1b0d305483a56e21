package outbox

import (
	"context"
	"errors"
	"time"
)

// scrubShared is Scrub where several gateways share the store: what was purged lies
// in unused pages of this gateway's replica, in the log, in the copy that the log
// began with, and in the replicas of the others, who see to their own (tend).
func (s *engine) scrubShared(ctx context.Context) error {
	if err := s.shared.b.scrubReplica(ctx); err != nil {
		return err
	}
	return s.shared.b.beginAnew(ctx, s.shared.objects)
}

// tend overwrites unused pages of this gateway's own replica when another one purged
// something, and once after the start, until ctx ends.
func (s *engine) tend(ctx context.Context) {
	b := s.shared.b
	for sleep(ctx, tendEvery) {
		if !b.owesScrub(false) {
			continue
		}
		if err := b.scrubReplica(ctx); err != nil { // somebody reads, as a backup does
			b.owesScrub(true)
		}
	}
}

const tendEvery = time.Second

// owesScrub tells whether the replica is to be scrubbed, and notes whether it is
// from now on.
func (b *replicated) owesScrub(now bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.unscrubbed
	b.unscrubbed = now
	return was
}

// scrubReplica overwrites the unused pages of the replica.
func (b *replicated) scrubReplica(ctx context.Context) error {
	for next, more := 0, true; more; more = next != 0 {
		for try := 0; ; try++ {
			from := next
			err := b.scrubPages(from, &next)
			if err == nil {
				break
			}
			if !errors.Is(err, ErrReading) || try == scrubTries || !sleep(ctx, scrubWait) {
				return err
			}
		}
	}
	return nil
}

func (b *replicated) scrubPages(from int, next *int) error {
	b.order.Lock()
	defer b.order.Unlock()
	err := b.replica.update(func(w writer) (err error) {
		if *next, err = w.(*boltTx).scrub(from, scrubMost); err == nil {
			err = errNothing // it wrote beside the transaction
		}
		return err
	}, func() {})
	if errors.Is(err, errNothing) {
		err = nil
	}
	return err
}
