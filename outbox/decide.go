package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrNotParked means that an entry is in no state to be retried or dropped.
var ErrNotParked = errors.New("the entry is not parked")

// Retry implements Store. The attempts charged so far are forgiven; the
// decision's At and Verb are filled in.
func (s *engine) Retry(ctx context.Context, id uint64, d Decision) (*Entry, error) {
	return s.decide(ctx, "retry", id, d, func(r *record, _ time.Time) error {
		if r.Status != Parked && r.Status != Waiting {
			return fmt.Errorf("%w: it is %s (a parked or waiting entry can be retried)", ErrNotParked, r.Status)
		}
		r.Status, r.Attempts = Waiting, 0
		r.Before, r.Settled, r.Tried = time.Time{}, time.Time{}, time.Time{}
		if d.Terms != "" {
			r.Terms = d.Terms
		}
		return nil
	})
}

// Drop implements Store. The decision's At and Verb are filled in.
func (s *engine) Drop(ctx context.Context, id uint64, d Decision) (*Entry, error) {
	return s.decide(ctx, "drop", id, d, func(r *record, now time.Time) error {
		if r.Status != Parked {
			return fmt.Errorf("%w: it is %s (only a parked entry can be dropped)", ErrNotParked, r.Status)
		}
		r.Status, r.Settled = Dropped, now
		return nil
	})
}

// decide changes an entry by a person's decision, and records who and why.
func (s *engine) decide(ctx context.Context, verb string, id uint64, d Decision, change func(*record, time.Time) error) (*Entry, error) {
	if d.By == "" || d.Why == "" {
		return nil, fmt.Errorf("outbox: %s: entry %d: a decision needs By and Why", verb, id)
	}
	d.Verb = verb
	var decided *Entry
	err := s.ask(ctx, verb, func(t *tx) error {
		decided = nil
		e, err := readEntry(t, id)
		if err != nil {
			return err
		}
		r, err := readRecord(t, id)
		if err != nil {
			return err
		}
		old := r.Status
		if err := change(r, t.now); err != nil {
			return fmt.Errorf("entry %d: %w", id, err)
		}
		made := d
		if made.At.IsZero() {
			made.At = t.now
		}
		r.Decisions = append(r.Decisions, made)
		t.saveRecord(r, old)
		decided, r.Entry.Event = &r.Entry, e.Event
		return nil
	})
	if err != nil {
		return nil, err // one that nobody waits for any more may still be deciding
	}
	return decided, nil
}
