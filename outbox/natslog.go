package outbox

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
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

// pieces are the parts of a batch that is larger than a message.
type pieces struct {
	batch string
	body  map[int][]byte
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
