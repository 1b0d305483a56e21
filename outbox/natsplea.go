package outbox

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
)

// plea is a gateway's wish to be let through: it publishes parts of a batch, or was
// refused again and again.
type plea struct {
	seq         uint64 // of the first message that said so: of two pleas the older one counts
	begun, last time.Time
}

const (
	pleadAfter = 4               // refusals, until a gateway asks to be let through
	pleaFor    = time.Second     // how long a plea holds after what was last heard of it: a part on a slow line
	pleaMost   = 3 * time.Second // and in all: others must say that they lead
)

// giveWay lets another gateway's batch go first that could not catch up with our
// small ones otherwise: while its parts travel, each of ours would make them void.
func (b *replicated) giveWay() {
	for {
		wait, moved := b.pleaded(time.Now())
		if wait <= 0 {
			return
		}
		select {
		case <-moved:
		case <-time.After(wait):
		case <-b.ctx.Done():
			return
		}
	}
}

// pleaded tells for how long another's plea holds.
func (b *replicated) pleaded(now time.Time) (wait time.Duration, moved chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	mine, pleading := b.pleas[b.me]
	pleading = pleading && mine.holds(now) > 0
	for from, c := range b.pleas {
		if from != b.me && (!pleading || c.seq < mine.seq) {
			wait = max(wait, c.holds(now))
		}
	}
	return wait, b.moved
}

func (c plea) holds(now time.Time) time.Duration {
	return min(c.last.Add(pleaFor).Sub(now), c.begun.Add(pleaMost).Sub(now))
}

// hearPlea notes a part of a batch, or a plea without one.
func (b *replicated) hearPlea(from string, seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	c := b.pleas[from]
	if c.holds(now) <= 0 {
		c = plea{seq: seq, begun: now}
	}
	c.last = now
	b.pleas[from] = c
}

// endPlea notes that a gateway's batch came through.
func (b *replicated) endPlea(from string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pleas, from)
}

// plead asks to be let through. Whatever becomes of that, the batch is tried.
func (b *replicated) plead() {
	m := nats.NewMsg(b.o.partSubject())
	m.Header.Set(headerFrom, b.me)
	ctx, cancel := context.WithTimeout(b.connection(), tryPause)
	defer cancel()
	_, _ = b.js.PublishMsg(ctx, m)
}
