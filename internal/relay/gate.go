package relay

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"passerelle"
)

// gate is a destination's circuit breaker. While the destination is in
// trouble no message is lent to it, so that none is charged an attempt; after
// a pause that grows, one message tests the water.
type gate struct {
	Trouble
	mu      sync.Mutex
	fails   int       // in a row
	until   time.Time // closed before
	testing bool      // one message is on its way to find out
	denied  bool      // our account is refused there
	well    time.Time // when it last took a message
	slipped bool      // it failed once since
	moved   chan struct{}
}

// Trouble is when a destination is taken to be in trouble, and for how long at first.
type Trouble struct {
	// First is the first pause, about; each next one is twice as long, up to two
	// minutes.
	First time.Duration
	// Slip is for how long after it took a message a destination may fail once
	// without being in trouble: one answer in a hundred that is 503 holds up the
	// message that met it, not all others.
	Slip time.Duration
}

// The pauses of a destination in trouble. A refused account is tried rarely: some
// tools lock accounts that keep failing.
const (
	gateMax    = 2 * time.Minute
	gateDenied = 15 * time.Minute
	gateAsked  = time.Hour // the longest Retry-After that is honoured whole
)

func newGate(t Trouble) *gate { return &gate{Trouble: t, moved: make(chan struct{})} }

// enter waits until the destination may be tried. It returns false when ctx
// ends first.
func (g *gate) enter(ctx context.Context) bool {
	for {
		g.mu.Lock()
		wait, testing, moved := time.Until(g.until), g.testing, g.moved
		if g.fails == 0 {
			g.mu.Unlock()
			return ctx.Err() == nil
		}
		if wait <= 0 && !testing {
			g.testing = true
			g.mu.Unlock()
			return ctx.Err() == nil
		}
		g.mu.Unlock()
		if testing {
			wait = time.Hour // until it moves
		}
		if !sleepOr(ctx, wait, moved) {
			return false
		}
	}
}

func sleepOr(ctx context.Context, d time.Duration, moved <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-moved:
	case <-ctx.Done():
		return false
	}
	return true
}

// idle gives back a place that enter gave and nobody used.
func (g *gate) idle() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.testing = false
	g.wake()
}

// closed tells until when the destination is not to be tried, if it is not.
func (g *gate) closed() (time.Time, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.until, g.fails > 0 && time.Now().Before(g.until)
}

// up says that the destination answered.
func (g *gate) up() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.well, g.slipped = time.Now(), false
	if g.fails == 0 {
		return
	}
	g.fails, g.testing, g.denied = 0, false, false
	g.wake()
}

// down says that it failed; after, if not zero, is what it asked for. It returns
// when it will be tried again.
func (g *gate) down(class passerelle.Class, after time.Duration) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if class == passerelle.Down && after == 0 && g.fails == 0 && !g.slipped && time.Since(g.well) < g.Slip {
		g.slipped = true
		return time.Now()
	}
	g.fails++
	d := min(gateMax, g.First<<min(g.fails-1, 12))
	d = d/2 + rand.N(d/2+1)
	if class == passerelle.Denied {
		g.denied, d = true, gateDenied
	}
	if at := time.Now().Add(max(d, min(after, gateAsked))); at.After(g.until) {
		g.until = at
	}
	g.testing = false
	g.wake()
	return g.until
}

// wellSince tells whether the destination took a message after t.
func (g *gate) wellSince(t time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.well.After(t)
}

// state tells how the destination stands: up, down or denied.
func (g *gate) state() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.denied:
		return "denied"
	case g.fails > 0:
		return "down"
	}
	return "up"
}

// try lets the next message test the water at once: an operator says that the
// destination is well again.
func (g *gate) try() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until = time.Time{}
	g.wake()
}

func (g *gate) wake() {
	close(g.moved)
	g.moved = make(chan struct{})
}
