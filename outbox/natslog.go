package outbox

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	positionKey = "position" // in a replica: the sequence of the last batch that it holds

	headerBatch = "Passerelle-Batch" // names the batch, the same at each try
	headerFrom  = "Passerelle-From"  // the gateway that wrote it
	headerPrev  = "Passerelle-Prev"  // the sequence of the batch before it
	headerPart  = "Passerelle-Part"  // of a part: which it is; of a batch: how many there are

	tryFor   = 3 * time.Second // how long one request of ours to the servers may take
	tryPause = 200 * time.Millisecond
)

// replicated is a backend that several gateways share: a log of batches in a
// JetStream stream, and beside each gateway a replica of the tables that the log
// makes.
//
// A batch holds the rows that a commit writes, and is accepted only as the next
// after the one that its writer had read: whoever has read less reads on and
// decides again. So all gateways see the same changes in the same order, each
// decided on all the earlier ones, as if one goroutine had made them.
//
// What is acknowledged was accepted by a majority of the servers of the stream.
// The replica is never synced: it is made again from the log, which starts anew
// with a copy of a replica from time to time.
type replicated struct {
	o       NATSOptions
	nc      *nats.Conn
	js      jetstream.JetStream
	stream  jetstream.Stream
	replica *bolt
	learn   func(news) // told of what other gateways committed
	me      string     // names this process among the gateways
	store   string     // what the stream's metadata say that it is

	line   context.Context // ends when the connection does: no answer comes by it any more
	cut    context.CancelFunc
	ctx    context.Context // ends with close
	cancel context.CancelFunc
	gone   sync.WaitGroup

	order sync.Mutex // held while a batch is made, published and applied

	mu         sync.Mutex
	position   uint64        // the sequence of the last batch that the replica holds
	seen       uint64        // everything up to here is applied, or no batch
	moved      chan struct{} // closed, and made anew, when one of them or broken changes
	pending    *pending      // the batch of ours whose answer was not heard
	broken     error         // why nothing more is read or written
	trouble    error         // why the last request to the servers failed; nil if it did not
	since      time.Time     // of the trouble
	publishing time.Time     // since when a message does not get through; zero if all do
	refusal    error         // why
	rejected   int           // batches that another gateway's came before
	unscrubbed bool          // unused pages of the replica may hold what was purged
	reread     func()        // ends the reading of the log: it begins again
	round      *round        // the reading of the log's end that the next reader waits for
	parts      map[string]*pieces
	pleas      map[string]plea // by gateway, see giveWay
}

// pending is a batch of ours that may be in the log although the servers refused
// it at last: as it is there, if it is.
type pending struct {
	batch     string
	committed func() // told of it instead of learn
	landed    bool   // it came back
}

// errBehind means that another gateway's batch came first.
var errBehind = errors.New("another gateway's change came first")

// view reads the replica once it holds everything that anybody acknowledged
// before.
func (b *replicated) view(fn func(reader) error) error {
	if err := b.fresh(); err != nil {
		return err
	}
	return b.replica.view(fn)
}

// update commits what fn writes. While the servers cannot be asked it goes on
// trying: only they know whether the batch is in the log.
func (b *replicated) update(fn func(writer) error, committed func()) error {
	for refused := 1; ; refused++ {
		b.giveWay()
		before, err := b.attempt(fn, committed)
		switch {
		case errors.Is(err, errNothing):
			if current, err := b.judged(before); err != nil || current {
				return cmp.Or(err, errNothing)
			}
			continue
		case !errors.Is(err, errBehind):
			return err
		}
		if err := b.after(before); err != nil {
			return err
		}
		if b.hasLanded() {
			return nil
		}
		if refused%pleadAfter == 0 {
			b.plead()
		}
	}
}

// judged tells whether nothing came after the batch on which it was decided that
// there is nothing to write. The log, which decides that of each batch, saw none.
func (b *replicated) judged(on uint64) (bool, error) {
	if err := b.fresh(); err != nil {
		return false, err
	}
	position, broken := b.at()
	return position == on, broken
}

// attempt makes a batch on what the replica holds, and publishes it.
func (b *replicated) attempt(fn func(writer) error, committed func()) (before uint64, err error) {
	b.order.Lock()
	defer b.order.Unlock()
	before, broken := b.at()
	if broken != nil {
		return 0, broken
	}
	batch, seq := b.me+"."+rand.Text(), uint64(0)
	b.expect(&pending{batch: batch, committed: committed})
	err = b.replica.update(func(w writer) error {
		rec := &recorder{writer: w}
		if err := fn(rec); err != nil {
			return err
		}
		var err error
		if seq, err = b.publish(batch, before, encodeRows(rec.rows)); err != nil {
			return err
		}
		w.put(metaBucket, []byte(positionKey), numberKey(seq))
		return nil
	}, func() {
		committed()
		b.advance(seq, seq)
	})
	if err != nil && seq != 0 { // the log has it, our replica does not
		err = b.breakOff(fmt.Errorf("the replica cannot be written: %w (restart: it is made again from the log)", err))
	}
	return before, err
}

func (b *replicated) expect(p *pending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending = p
}

// tell has somebody told of what other gateways commit after the moment at which
// he reads the replica.
func (b *replicated) tell(learn func(news), read func(backend) error) error {
	b.order.Lock()
	defer b.order.Unlock()
	b.learn = learn
	return read(b.replica)
}

func (b *replicated) at() (position uint64, broken error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.position, b.broken
}

// advance notes how far the replica has come.
func (b *replicated) advance(position, seen uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.position, b.seen = max(b.position, position), max(b.seen, seen)
	b.stir()
}

// stir wakes all who wait for something to change. The caller holds the lock.
func (b *replicated) stir() {
	close(b.moved)
	b.moved = make(chan struct{})
}

func (b *replicated) breakOff(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken == nil {
		b.broken = err
		b.stir()
	}
	return b.broken
}

// until waits until is says so, or ctx ends.
func (b *replicated) until(ctx context.Context, is func() bool) error {
	for {
		b.mu.Lock()
		done, broken, moved := is(), b.broken, b.moved
		b.mu.Unlock()
		switch {
		case broken != nil:
			return broken
		case done:
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		case <-b.ctx.Done():
			return ErrClosed
		}
	}
}

// after waits for a batch behind the given one.
func (b *replicated) after(before uint64) error {
	return b.until(b.ctx, func() bool { return b.position > before })
}

// hasLanded tells whether the batch of the last attempt is in the log. It is asked
// when there is something behind the batch before it: that is ours, or ours is not.
func (b *replicated) hasLanded() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pending.landed
}

// connection lasts as long as the one that there is now.
func (b *replicated) connection() context.Context {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.line
}

// disconnected gives up what was asked by a connection that is gone: waiting for it
// would only end when the time of the request does.
func (b *replicated) disconnected(*nats.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut()
	b.line, b.cut = context.WithCancel(b.ctx)
}

// asked notes how a request to the servers ended.
func (b *replicated) asked(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil && b.trouble == nil {
		b.since = time.Now()
	}
	b.trouble = err
}

// ready tells why nothing can be stored.
func (b *replicated) ready() error {
	if err := b.replica.ready(); err != nil {
		return err
	}
	connected := b.nc.IsConnected()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.broken != nil:
		return b.broken
	case !connected:
		return errors.New("no NATS server answers: nothing is accepted or sent (it goes on by itself when one does)")
	case !b.publishing.IsZero() && time.Since(b.publishing) > b.o.Patience:
		return fmt.Errorf("the stream %s takes nothing since %s: %w (a majority of its servers must be up, and this gateway's account must be allowed to publish there; it goes on by itself)",
			b.o.Stream, b.publishing.Format(time.RFC3339), b.refusal)
	case b.trouble != nil:
		return fmt.Errorf("the stream %s does not answer since %s: %w (a majority of its servers must be up; it goes on by itself)", b.o.Stream, b.since.Format(time.RFC3339), b.trouble)
	}
	return nil
}

func (b *replicated) rejections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rejected
}

func (b *replicated) doubtful() bool {
	_, broken := b.at()
	return broken != nil
}

func (b *replicated) copied() *bolt { return b.replica }

// hurry ends what waits for the servers.
func (b *replicated) hurry() { b.cancel() }

func (b *replicated) close() error {
	b.cancel()
	b.gone.Wait()
	b.nc.Close()
	return b.closeReplica()
}

// closeReplica syncs the replica, and says so as long as the folder is ours.
func (b *replicated) closeReplica() error {
	err := b.replica.db.Sync()
	if err == nil {
		err = b.o.unmark()
	}
	return errors.Join(err, b.replica.close())
}
