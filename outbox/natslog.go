package outbox

import (
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

	ctx    context.Context // ends with close
	cancel context.CancelFunc
	gone   sync.WaitGroup

	order sync.Mutex // held while a batch is made, published and applied

	mu       sync.Mutex
	position uint64        // the sequence of the last batch that the replica holds
	seen     uint64        // everything up to here is applied, or no batch
	moved    chan struct{} // closed, and made anew, when one of them or broken changes
	landed   string        // the last batch of ours that came back before its answer did
	broken   error         // why nothing more is read or written
	trouble  error         // why the last request to the servers failed; nil if it did not
	since    time.Time     // of the trouble
	rejected int           // batches that another gateway's came before
	round    *round        // the reading of the log's end that the next reader waits for
	parts    map[string]*pieces
}

// pieces are the parts of a batch that is larger than a message.
type pieces struct {
	batch string
	body  map[int][]byte
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
	for {
		before, batch, err := b.attempt(fn, committed)
		if !errors.Is(err, errBehind) {
			return err
		}
		if err := b.after(before); err != nil {
			return err
		}
		if b.hasLanded(batch) { // and told of, as others' are
			return nil
		}
	}
}

// attempt makes a batch on what the replica holds, and publishes it.
func (b *replicated) attempt(fn func(writer) error, committed func()) (before uint64, batch string, err error) {
	b.order.Lock()
	defer b.order.Unlock()
	before, broken := b.at()
	if broken != nil {
		return 0, "", broken
	}
	batch = b.me + "." + rand.Text()
	seq := uint64(0)
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
		b.advance(seq, seq)
		committed()
	})
	if err != nil && seq != 0 { // the log has it, our replica does not
		err = b.breakOff(fmt.Errorf("the replica cannot be written: %w (restart: it is made again from the log)", err))
	}
	return before, batch, err
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

func (b *replicated) hasLanded(batch string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.landed == batch
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
	if errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
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

// publishParts publishes what does not fit into the batch's own message; it
// returns how many parts that made, and the rest.
func (b *replicated) publishParts(batch string, body []byte) (n int, rest []byte, err error) {
	most := int(b.nc.MaxPayload()) - headroom
	if most <= 0 {
		most = 1 << 20
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
func (b *replicated) persist(m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	for wait := tryPause / 8; ; wait = min(2*wait, 5*tryPause) {
		ctx, cancel := context.WithTimeout(b.ctx, tryFor)
		ack, err := b.js.PublishMsg(ctx, m, append(opts, jetstream.WithRetryAttempts(0))...)
		cancel()
		var api *jetstream.APIError
		if err == nil || errors.As(err, &api) {
			b.asked(nil)
			return ack, err
		}
		if b.ctx.Err() != nil {
			return nil, ErrClosed
		}
		b.asked(err)
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

// consume reads the log from where the replica stands, until something fails.
func (b *replicated) consume() error {
	ctx, cancel := context.WithTimeout(b.ctx, tryFor)
	defer cancel()
	position, _ := b.at()
	b.parts = map[string]*pieces{}
	c, err := b.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: position + 1, InactiveThreshold: forgetAfter})
	if err != nil {
		return err
	}
	in, err := c.Messages(jetstream.PullMaxBytes(8<<20), jetstream.PullHeartbeat(time.Second))
	if err != nil {
		return err
	}
	defer b.forget(c)
	defer in.Stop()
	defer context.AfterFunc(b.ctx, in.Stop)()
	for {
		m, err := in.Next()
		if err != nil {
			return err
		}
		if err := b.take(m); err != nil {
			return b.breakOff(err)
		}
	}
}

// forget has the servers forget that we read the log; they do it by themselves some
// time after we were killed.
func (b *replicated) forget(c jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), tryPause)
	defer cancel()
	_ = b.stream.DeleteConsumer(ctx, c.CachedInfo().Name)
}

// take applies one message of the stream.
func (b *replicated) take(m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	seq, h := meta.Sequence.Stream, m.Headers()
	from, batch := h.Get(headerFrom), h.Get(headerBatch)
	part, _ := strconv.Atoi(h.Get(headerPart)) // none: 0
	if m.Subject() == b.o.partSubject() {
		if p := b.parts[from]; p == nil || p.batch != batch {
			b.parts[from] = &pieces{batch: batch, body: map[int][]byte{}} // an older batch of that gateway's was never finished
		}
		b.parts[from].body[part] = m.Data()
		b.advance(0, seq)
		return nil
	}
	body := m.Data()
	if part > 0 {
		if body, err = b.whole(from, batch, part, body); err != nil {
			return fmt.Errorf("batch %d: %w", seq, err)
		}
	}
	delete(b.parts, from)
	prev, err := strconv.ParseUint(h.Get(headerPrev), 10, 64)
	if err != nil {
		return fmt.Errorf("batch %d is not one of ours (nobody else may publish to %s)", seq, m.Subject())
	}
	return b.apply(seq, prev, batch, body)
}

// whole puts the parts of a batch together.
func (b *replicated) whole(from, batch string, n int, rest []byte) ([]byte, error) {
	p := b.parts[from]
	if p == nil || p.batch != batch || len(p.body) != n {
		return nil, errors.New("its parts are not in the log")
	}
	var body []byte
	for i := range n {
		body = append(body, p.body[i]...)
	}
	return append(body, rest...), nil
}

// apply brings the replica up to a batch, unless it holds it already.
func (b *replicated) apply(seq, prev uint64, batch string, body []byte) error {
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
	b.mu.Lock()
	b.landed = batch
	b.mu.Unlock()
	b.advance(seq, seq)
	if b.learn != nil {
		b.learn(told)
	}
	return nil
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
	if _, broken := b.at(); broken != nil {
		return broken
	}
	ctx, cancel := context.WithTimeout(b.ctx, tryFor)
	defer cancel()
	info, err := b.stream.Info(ctx)
	b.asked(err)
	if b.ctx.Err() != nil {
		return ErrClosed
	}
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			_ = b.nc.ForceReconnect()
		}
		return b.ready()
	}
	if err := b.until(ctx, func() bool { return b.seen >= info.State.LastSeq }); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("the replica is behind the log, which ends at %d, and catches up (ask again in some seconds)", info.State.LastSeq)
}

// ready tells why nothing can be stored.
func (b *replicated) ready() error {
	if err := b.replica.ready(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.broken != nil:
		return b.broken
	case !b.nc.IsConnected():
		return fmt.Errorf("no NATS server answers (%s): nothing is accepted or sent (it goes on by itself when one does)", b.o.servers())
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
	return errors.Join(b.replica.close(), b.o.unmark())
}
