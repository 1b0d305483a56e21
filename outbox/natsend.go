package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// round is one reading of where the log ends, for all who wait for it.
type round struct {
	begun bool
	done  chan struct{}
	err   error
}

// fresh returns when the replica holds everything that was acknowledged before it
// was called. One reading of the log's end serves all who came before it began.
func (b *replicated) fresh() error {
	b.mu.Lock()
	r := b.round
	first := r == nil || r.begun
	if first {
		r = &round{done: make(chan struct{})}
		prior := b.round
		b.round = r
		b.mu.Unlock()
		if prior != nil {
			<-prior.done
		}
		b.mu.Lock()
		r.begun = true
		b.mu.Unlock()
		r.err = b.catchUp()
		close(r.done)
		return r.err
	}
	b.mu.Unlock()
	<-r.done
	return r.err
}

// catchUp asks where the log ends, and waits until the replica is there.
func (b *replicated) catchUp() error {
	ctx, cancel := context.WithTimeout(b.ctx, tryFor)
	defer cancel()
	had, _ := b.at()
	last, err := b.end(ctx)
	if err == nil {
		err = b.until(ctx, func() bool { return b.seen >= last })
		if errors.Is(err, context.DeadlineExceeded) {
			b.againFrom(had)
			err = fmt.Errorf("the replica is behind the log, which ends at %d, and catches up (ask again in some seconds)", last)
		}
	}
	if b.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}

// againFrom has the log read anew if nothing came since: whoever sends it may have
// forgotten us.
func (b *replicated) againFrom(had uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.position == had && b.reread != nil {
		b.reread()
	}
}

// end asks where the log ends, again if a connection just broke or a leader is just
// being chosen, until ctx ends.
func (b *replicated) end(ctx context.Context) (uint64, error) {
	for {
		had, broken := b.at()
		if broken != nil {
			return 0, broken
		}
		last, err := b.endOnce(ctx, had)
		if b.asked(err); err == nil {
			return last, nil
		}
		if !sleep(ctx, tryPause/4) {
			return 0, cmp.Or(b.ready(), fmt.Errorf("the stream %s: %w", b.o.Stream, err)) // another request may have done better
		}
	}
}

func (b *replicated) endOnce(ctx context.Context, had uint64) (uint64, error) {
	ask, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.connection(), cancel)()
	began := time.Now()
	info, err := b.stream.Info(ask)
	if errors.Is(err, context.DeadlineExceeded) && time.Since(began) > tryFor/2 {
		_ = b.nc.ForceReconnect() // this server may be the one that hangs
	}
	if err == nil {
		err = cmp.Or(b.isOurs(info, had), b.isLed(info))
	}
	if err != nil {
		return 0, err
	}
	return info.State.LastSeq, nil
}

// isOurs refuses a stream that is not the one that we read so far, or does not
// hold any more what we had read before we asked.
func (b *replicated) isOurs(info *jetstream.StreamInfo, had uint64) error {
	if is := info.Config.Metadata[storeKey]; is != b.store {
		return b.breakOff(fmt.Errorf("the stream %s was removed and made anew: it is another store (restart, on a folder that is empty, to begin on it; docs/operations.md: when the servers lost something)", b.o.Stream))
	}
	return b.o.ahead(had, info.State.LastSeq) // no breakOff: a server that is cut off may say so, and soon another answers
}

// quietFor is how long the leader of the stream may not have heard from a majority
// of its servers, and still be believed where the log ends. They choose another
// after four seconds at the soonest, which may have acknowledged more by then; the
// old one notices much later.
const quietFor = 2500 * time.Millisecond

// isLed refuses what a leader says that may have been succeeded, and what a server
// says that knows of none. Of one replica there is nothing to disagree about.
func (b *replicated) isLed(info *jetstream.StreamInfo) error {
	want, c := info.Config.Replicas, info.Cluster
	if want <= 1 {
		return nil
	}
	if c == nil || c.Leader == "" {
		return fmt.Errorf("none of its %d servers leads", want)
	}
	heard := 1
	for _, r := range c.Replicas {
		if !r.Offline && r.Active > 0 && r.Active < quietFor {
			heard++
		}
	}
	if 2*heard <= want {
		return fmt.Errorf("its leader hears from %d of its %d servers, itself among them", heard, want)
	}
	return nil
}
