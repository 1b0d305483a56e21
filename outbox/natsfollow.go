package outbox

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// pieces are the parts of a batch that is larger than a message.
type pieces struct {
	batch string
	body  map[int][]byte
}

// follow applies what the log says, for as long as the store is open.
func (b *replicated) follow() {
	for b.ctx.Err() == nil {
		err := b.consume()
		if _, broken := b.at(); broken != nil || b.ctx.Err() != nil {
			return
		}
		b.asked(err)
		select {
		case <-time.After(tryPause):
		case <-b.ctx.Done():
		}
	}
}

// consume reads the log from where the replica stands, until something fails: a
// server that ends, a connection that breaks, a message that did not arrive. The
// client's own consumer that starts again by itself would do so at its leisure,
// also while the store closes.
func (b *replicated) consume() error {
	line := b.connection()
	ctx, cancel := context.WithTimeout(line, tryFor)
	defer cancel()
	position, _ := b.at()
	b.parts = map[string]*pieces{}
	c, err := b.stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: position + 1,
		AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: forgetAfter, Replicas: 1, MemoryStorage: true})
	if err != nil {
		return err
	}
	defer b.unfollow(c.CachedInfo().Name)
	in, err := c.Messages(jetstream.PullMaxBytes(pullBytes), jetstream.PullHeartbeat(time.Second), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return err
	}
	defer context.AfterFunc(line, in.Stop)() // the client would go on by itself, and sometimes waits for ever
	defer in.Stop()
	b.rereads(in.Stop)
	for n := uint64(1); ; n++ {
		m, err := in.Next()
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Consumer != n {
			return fmt.Errorf("message %d of the log came where %d should", meta.Sequence.Consumer, n)
		}
		if err := b.take(m, meta.Sequence.Stream); err != nil {
			return b.breakOff(err)
		}
	}
}

// rereads notes how the reading of the log is ended.
func (b *replicated) rereads(by func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reread = by
}

// unfollow removes a consumer, if its server can be asked; else that removes it.
func (b *replicated) unfollow(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), tryPause)
	defer cancel()
	_ = b.stream.DeleteConsumer(ctx, name)
}

// take applies one message of the stream.
func (b *replicated) take(m jetstream.Msg, seq uint64) error {
	h := m.Headers()
	from, batch := h.Get(headerFrom), h.Get(headerBatch)
	part, _ := strconv.Atoi(h.Get(headerPart)) // none: 0
	if m.Subject() == b.o.partSubject() {
		b.hearPlea(from, seq)
		if p := b.parts[from]; p == nil || p.batch != batch {
			b.parts[from] = &pieces{batch: batch, body: map[int][]byte{}} // an older batch of that gateway's was never finished
		}
		b.parts[from].body[part] = m.Data()
		b.advance(0, seq)
		return nil
	}
	prev, err := strconv.ParseUint(h.Get(headerPrev), 10, 64)
	if err != nil {
		return fmt.Errorf("batch %d is not one of ours (nobody else may publish to %s)", seq, m.Subject())
	}
	whole := func() ([]byte, error) { return b.whole(from, batch, part, m.Data()) }
	defer delete(b.parts, from)
	b.endPlea(from)
	return b.apply(seq, prev, batch, whole)
}

// whole puts the parts of a batch together.
func (b *replicated) whole(from, batch string, n int, rest []byte) ([]byte, error) {
	if n == 0 {
		return rest, nil
	}
	p := b.parts[from]
	if p == nil || p.batch != batch || len(p.body) != n {
		return nil, errors.New("its parts are not in the log, which was shortened meanwhile (restart: the replica begins with the newest copy)")
	}
	var body []byte
	for i := range n {
		body = append(body, p.body[i]...)
	}
	return append(body, rest...), nil
}

// apply brings the replica up to a batch, unless it holds it already.
func (b *replicated) apply(seq, prev uint64, batch string, whole func() ([]byte, error)) error {
	b.order.Lock()
	defer b.order.Unlock()
	position, broken := b.at()
	if broken != nil {
		return broken
	}
	if seq <= position {
		b.advance(0, seq)
		return nil
	}
	if prev != position {
		return fmt.Errorf("the log goes on after batch %d, and our replica ends with %d: the log was shortened meanwhile (restart: the replica begins with the newest copy)", prev, position)
	}
	body, err := whole()
	if err != nil {
		return fmt.Errorf("batch %d: %w", seq, err)
	}
	rows, err := decodeRows(body)
	if err != nil {
		return fmt.Errorf("batch %d: %w", seq, err)
	}
	told, err := newsOf(rows)
	if err != nil {
		return fmt.Errorf("batch %d: %w", seq, err)
	}
	err = b.replica.update(func(w writer) error {
		t := w.(*boltTx)
		for _, r := range rows {
			if err := t.ensure(r.bucket); err != nil { // of a newer program
				return err
			}
		}
		write(w, rows)
		w.put(metaBucket, []byte(positionKey), numberKey(seq))
		return nil
	}, func() {})
	if err != nil {
		return err
	}
	if p := b.arrived(batch); p != nil {
		p.committed() // its callers wait for that, and know what it freed
	} else if b.learn != nil {
		b.learn(told)
	}
	if told.purged {
		b.owesScrub(true)
	}
	b.advance(seq, seq)
	return nil
}

// arrived returns the batch that waits for its outcome, if it is this one.
func (b *replicated) arrived(batch string) *pending {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending == nil || b.pending.batch != batch {
		return nil
	}
	b.pending.landed = true
	return b.pending
}
