package relay

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"passerelle"
	"passerelle/outbox"
)

// reader reads tickets of one tool that changed, one at a time.
func (r *Relay) reader(ctx, term context.Context, dest outbox.Dest) {
	for {
		l, err := r.Store.NextLook(ctx, dest)
		if err != nil {
			if over(ctx, err) {
				return
			}
			r.Log.Error("outbox: cannot read hints", "error", err)
			if !pause(ctx, time.Second) {
				return
			}
			continue
		}
		r.look(ctx, term, l)
	}
}

// look reads one ticket, even when stop ends; a failure puts it off.
func (r *Relay) look(stop, ctx context.Context, l *outbox.Look) {
	defer r.progress.begin("reading a ticket", outbox.Dest{Contract: l.Contract, Side: l.Side})()
	err := r.safely(ctx, l)
	if g := r.gates[outbox.Dest{Contract: l.Contract, Side: l.Side}]; err != nil && passerelle.ClassOf(err) == passerelle.Denied {
		g.down(passerelle.Denied, 0) // a refused account is not tried again by reading either
	}
	var again time.Time
	if err != nil {
		again = time.Now().Add(r.Backoff.Delay(l.Tries))
		var pe *passerelle.Error
		if errors.As(err, &pe) && pe.After > 0 {
			again = time.Now().Add(pe.After)
		}
		r.Log.Warn("reading a ticket failed", "contract", l.Contract, "side", l.Side, "key", l.Key, "tries", l.Tries, "class", passerelle.ClassOf(err), "error", err, "again", again)
	}
	persist(stop, func() error { return r.Store.Looked(context.WithoutCancel(ctx), l, again, err) }, func(err error) {
		r.cannot("put off a hint", err, "contract", l.Contract, "side", l.Side, "key", l.Key)
	})
}

// cannot tells of what the store did not take. That another gateway has taken a loan
// over is no trouble: it goes on with it.
func (r *Relay) cannot(what string, err error, about ...any) {
	if errors.Is(err, outbox.ErrLost) {
		r.Log.Warn("outbox: another gateway has taken this over, and goes on with it", about...)
		return
	}
	r.Log.Error("outbox: cannot "+what, append(about, "error", err)...)
}

// persist does something until the store takes it, however long the disk is
// full: what is on loan would otherwise stay so until a restart. It ends when the
// store is closed or the loan is over, and some seconds after stop ends.
func persist(stop context.Context, do func() error, told func(error)) {
	wait, left := time.Second, 10
	for {
		err := do()
		if err == nil {
			return
		}
		told(err)
		if errors.Is(err, outbox.ErrLost) || errors.Is(err, outbox.ErrClosed) || left == 0 {
			return
		}
		if pause(stop, wait) {
			wait = min(2*wait, 30*time.Second)
			continue
		}
		left--
		time.Sleep(time.Second)
	}
}

// safely reads a ticket; a mistake of ours that panics puts this one off, and
// takes nothing else down.
func (r *Relay) safely(ctx context.Context, l *outbox.Look) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.Log.Error("a mistake of the gateway's", "contract", l.Contract, "side", l.Side, "key", l.Key, "panic", p, "stack", string(debug.Stack()))
			err = passerelle.Errorf(passerelle.Stuck, "read", "a mistake of the gateway's: %v", p)
		}
	}()
	return r.read(ctx, l)
}
