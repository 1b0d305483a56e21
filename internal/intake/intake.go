// Package intake bounds what the faces take in at a time, whoever sends and
// however much: how many large bodies are worked on at once, and how many
// messages with much text are held.
//
// It keeps nothing on disk. What can go wrong: there is no room within the wait;
// then the sender is told to come again.
package intake

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"passerelle"
)

const (
	// Free is how much of a body is read without a turn, in bytes: nearly all
	// messages have less.
	Free = 256 << 10
	// Text is how much text of a message is held without a place, in bytes.
	Text = 64 << 10
)

// How long a body may take that arrives slowly: where its sender is known, and
// where he is not (yet).
const (
	KnownBody    = 5 * time.Minute
	UnprovenBody = time.Minute
)

// Config is what an Intake needs. The zero value will do.
type Config struct {
	// Large is how many large bodies are decoded at once; default DefaultLarge.
	Large int
	// Wait is how long a sender waits for room before he is told to come again;
	// default 30 s.
	Wait time.Duration
}

// DefaultLarge is half of the cores, one at least: the others are for small
// messages.
func DefaultLarge() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// Texts is how many messages with much text are held at once of known senders,
// and how many of others. While it is judged, one of 10 MB takes about 130 MB.
const Texts = 2

// Intake is shared by all faces of a gateway. Its methods may be called at once
// from several goroutines.
type Intake struct {
	wait    time.Duration
	turns   chan struct{} // large bodies that are worked on
	known   chan struct{} // messages with much text, of known senders
	others  chan struct{} // likewise, of senders not known
	waiting atomic.Int64
	refused atomic.Int64
}

// New makes an Intake.
func New(cfg Config) *Intake {
	if cfg.Large <= 0 {
		cfg.Large = DefaultLarge()
	}
	if cfg.Wait <= 0 {
		cfg.Wait = 30 * time.Second
	}
	return &Intake{wait: cfg.Wait, turns: make(chan struct{}, cfg.Large), known: make(chan struct{}, Texts), others: make(chan struct{}, Texts)}
}

// Figures are what an operator watches.
type Figures struct {
	Large   int // large bodies that are worked on
	Texts   int // messages with much text that are held
	Waiting int // senders who wait for one of these
	Refused int // of them so far: those who were told to come again
}

// Figures tells how it stands.
func (in *Intake) Figures() Figures {
	return Figures{len(in.turns), len(in.known) + len(in.others), int(in.waiting.Load()), int(in.refused.Load())}
}

// Place is a place for a message with much text. The sender gives it back by
// calling leave. An error is of class Down: come again.
func (in *Intake) Place(ctx context.Context, known bool) (leave func(), err error) {
	places := in.others
	if known {
		places = in.known
	}
	if err := in.take(ctx, places); err != nil {
		return nil, err
	}
	return func() { <-places }, nil
}

// take waits for room in one of the channels.
func (in *Intake) take(ctx context.Context, room chan struct{}) error {
	select {
	case room <- struct{}{}:
		return nil
	default:
	}
	in.waiting.Add(1)
	defer in.waiting.Add(-1)
	enough := time.NewTimer(in.wait)
	defer enough.Stop()
	select {
	case room <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-enough.C:
		in.refused.Add(1)
		return &passerelle.Error{Op: "intake", Class: passerelle.Down, After: 10 * time.Second, Err: errFull, Hint: "nothing was stored; send it again later"}
	}
}

var errFull = errors.New("too many large messages at once")

// Body is a request's body. Behind its first Free bytes it is large, and worked
// on in turns: between two Reads its reader has a turn, and while it waits for
// the sender it has none, so that slow senders take nobody's.
type Body struct {
	in   *Intake
	ctx  context.Context
	r    io.Reader
	n    int64
	turn bool
}

// Body wraps a body. Whoever reads it calls Done.
func (in *Intake) Body(ctx context.Context, r io.Reader) *Body { return &Body{in: in, ctx: ctx, r: r} }

// Read implements io.Reader. An error of class Down says that there was no turn
// in time.
func (b *Body) Read(p []byte) (int, error) {
	b.Done()
	n, err := b.r.Read(p)
	if b.n += int64(n); err != nil || b.n <= Free {
		return n, err
	}
	if err := b.in.take(b.ctx, b.in.turns); err != nil {
		return 0, err
	}
	b.turn = true
	return n, nil
}

// Done ends the turn that Body may have.
func (b *Body) Done() {
	if b.turn {
		b.turn = false
		<-b.in.turns
	}
}

// Within gives the rest of a request's body so long to arrive. Where the server
// cannot do that, its own bounds hold.
func Within(w http.ResponseWriter, d time.Duration) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(d)) // see above
}
