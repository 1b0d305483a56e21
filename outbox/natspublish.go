package outbox

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// publish appends a batch to the log, right behind another, and returns its
// sequence once a majority has it; errBehind if something else is there.
func (b *replicated) publish(batch string, prev uint64, body []byte) (uint64, error) {
	n, last, err := b.publishParts(batch, body)
	if err != nil {
		return 0, err
	}
	m := nats.NewMsg(b.o.logSubject())
	m.Data = last
	m.Header.Set(headerBatch, batch)
	m.Header.Set(headerFrom, b.me)
	m.Header.Set(headerPrev, strconv.FormatUint(prev, 10))
	if n > 0 {
		m.Header.Set(headerPart, strconv.Itoa(n))
	}
	ack, err := b.persist(m, jetstream.WithMsgID(batch), jetstream.WithExpectLastSequencePerSubject(prev))
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.rejected++
		return 0, errBehind
	}
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// headroom is what a message's headers may take of what the servers let pass, in
// bytes.
const headroom = 4 << 10

// mostPart is what a message may take even where the servers let more pass: less
// than a reader asks for at once (pullBytes), and not so much that a slow line is
// taken for a dead one.
const (
	mostPart  = 1 << 20
	pullBytes = 8 << 20
)

// publishParts publishes what does not fit into the batch's own message; it
// returns how many parts that made, and the rest.
func (b *replicated) publishParts(batch string, body []byte) (n int, rest []byte, err error) {
	most := mostPart
	if allowed := int(b.nc.MaxPayload()) - headroom; allowed > 0 {
		most = min(most, allowed)
	}
	for ; len(body) > most; n++ {
		m := nats.NewMsg(b.o.partSubject())
		m.Data = body[:most]
		m.Header.Set(headerBatch, batch)
		m.Header.Set(headerFrom, b.me)
		m.Header.Set(headerPart, strconv.Itoa(n))
		if _, err := b.persist(m, jetstream.WithMsgID(batch+"/"+strconv.Itoa(n))); err != nil {
			return 0, nil, err
		}
		body = body[most:]
	}
	return n, body, nil
}

// persist publishes a message until it is known what became of it: an answer that
// is lost is asked for again, and the servers know the message by its id, or by
// what it expects to come after.
//
// Once an answer was lost, a refusal says nothing of the try before it: only that
// something else stands in the message's place does.
func (b *replicated) persist(m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	lost := false
	defer b.published()
	for wait := tryPause / 100; ; wait = min(2*wait, 5*tryPause) {
		ctx, cancel := context.WithTimeout(b.connection(), tryFor)
		ack, err := b.js.PublishMsg(ctx, m, append(opts, jetstream.WithRetryAttempts(0))...)
		cancel()
		if err == nil || isOutcome(err, lost) {
			b.asked(nil)
			return ack, err
		}
		if b.ctx.Err() != nil {
			return nil, ErrClosed
		}
		if !isUnderWay(err) {
			lost = true
			b.asked(err)
			b.notPublished(err)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			_ = b.nc.ForceReconnect() // this server may be the one that hangs
		}
		select {
		case <-time.After(wait):
		case <-b.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// notPublished notes since when, and why, a message does not get through.
func (b *replicated) notPublished(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refusal = err; b.publishing.IsZero() {
		b.publishing = time.Now()
	}
}

func (b *replicated) published() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.publishing = time.Time{}
}

// isOutcome tells whether an answer says what became of a message.
func isOutcome(err error, lost bool) bool {
	var api *jetstream.APIError
	switch {
	case !errors.As(err, &api) || isUnderWay(err):
		return false
	case api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
		return true
	}
	return !lost && api.Code < 500
}

const errCodeDuplicateInProcess jetstream.ErrorCode = 10158 // the client has no name for it

// isUnderWay knows the answers of a cluster that has not decided yet: on this
// message, or on another in its place, which may still come to nothing.
func isUnderWay(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant || api.ErrorCode == errCodeDuplicateInProcess)
}
