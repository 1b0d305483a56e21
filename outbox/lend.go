package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"passerelle"
)

// errNotDue means that the head of a lane changed while it was being lent.
var errNotDue = errors.New("not waiting any more")

// Next implements Store.
func (s *engine) Next(ctx context.Context, d Dest) (*Entry, error) {
	for {
		g, err := s.queue.next(ctx, d)
		if err != nil {
			return nil, err
		}
		// From here on ctx is not asked: the loan may be on disk already.
		e, err := s.lend(context.WithoutCancel(ctx), g.id)
		if err == nil {
			return e, nil
		}
		s.queue.giveBack(d, g.lane)
		if !errors.Is(err, errNotDue) {
			return nil, err
		}
	}
}

func (s *engine) lend(ctx context.Context, id uint64) (*Entry, error) {
	var lent *record
	var event []byte
	err := s.do(ctx, "lend", func(t *tx) (err error) {
		raw := t.get(eventBucket, numberKey(id))
		if raw == nil {
			return fmt.Errorf("entry %d: its event is missing (%s)", id, restoreHint)
		}
		event = bytes.Clone(raw)
		lent, err = t.lend(id)
		return err
	})
	if err != nil {
		return nil, err
	}
	e := lent.Entry
	e.Event, err = decode[passerelle.Event](eventBucket, numberKey(id), event)
	return &e, wrap("lend", err)
}

func (t *tx) lend(id uint64) (*record, error) {
	r, err := readRecord(t, id)
	if err == nil {
		err = t.leads(r.Contract)
	}
	if err != nil {
		return nil, err
	}
	if r.Status != Waiting {
		return nil, errNotDue
	}
	r.Status, r.Lend = Lent, r.Lend+1
	t.saveRecord(r, Waiting)
	return r, nil
}

// loan reads an entry that is lent, and refuses a loan that is over.
func (t *tx) loan(id, lend uint64) (*record, error) {
	r, err := readRecord(t, id)
	if err != nil {
		return nil, err
	}
	if r.Status != Lent || r.Lend != lend {
		return nil, ErrLost
	}
	return r, t.leads(r.Contract)
}

// Sent implements Store.
func (s *engine) Sent(ctx context.Context, e *Entry, parts int, names []Name) error {
	if err := checkNames(names); err != nil {
		return wrap("sent", err)
	}
	var sent *record
	err := s.do(ctx, "sent", func(t *tx) (err error) {
		sent, err = t.sent(e.ID, e.Lend, parts, names)
		return err
	})
	if err == nil {
		e.Parts, e.Wrote = max(e.Parts, parts), sent.Wrote
	}
	return err
}

func (t *tx) sent(id, lend uint64, parts int, names []Name) (*record, error) {
	r, err := t.loan(id, lend)
	if err != nil {
		return nil, err
	}
	r.Parts = max(r.Parts, parts)
	r.wrote(names)
	t.saveRecord(r, Lent)
	t.see(names, r.Link)
	return r, nil
}

// Settle implements Store.
func (s *engine) Settle(ctx context.Context, e *Entry, o Outcome) error {
	follow, err := prepareEntries(o.Follow, s.files.object)
	if err == nil {
		err = errors.Join(checkOutcome(o), checkNames(o.Names), checkLooks(o.Looks))
	}
	if err != nil {
		return wrap("settle", err)
	}
	var settled *record
	err = s.do(ctx, "settle", func(t *tx) (err error) {
		settled, err = t.settle(e.ID, e.Lend, &o, follow, s.files.has)
		return err
	})
	if err != nil {
		return err
	}
	event := e.Event
	*e = settled.Entry
	e.Event = event
	copyBack(o.Follow, follow)
	return nil
}

func checkOutcome(o Outcome) error {
	switch o.To {
	case Done, Waiting, Parked, Superseded, Dropped:
	default:
		return fmt.Errorf("a loan cannot end %q (done, waiting, parked, superseded and dropped work)", o.To)
	}
	if len(o.Ref.Key) > longestKey || len(o.Ref.Number) > longestKey {
		return fmt.Errorf("a reference of more than %d bytes", longestKey)
	}
	return nil
}

// settle ends a loan: the entry, its link, and what follows.
func (t *tx) settle(id, lend uint64, o *Outcome, follow []*fresh, pinned func(string) bool) (*record, error) {
	r, err := t.loan(id, lend)
	if err != nil {
		return nil, err
	}
	old, err := readLink(t, linkNumber(r.Link))
	if err != nil {
		return nil, err
	}
	if err := t.checkEntries(follow, old, pinned); err != nil {
		return nil, err
	}
	t.saveRecord(t.outcome(r, o), Lent)
	if link := taught(old, r.To, o); link != nil {
		t.saveLink(link, old)
	}
	t.see(o.Names, r.Link)
	t.addEntries(follow, old)
	t.addLooks(o.Looks)
	return r, nil
}

// outcome writes an outcome into an entry. The last error stays readable when
// a later try goes well.
func (t *tx) outcome(r *record, o *Outcome) *record {
	r.Status, r.Probe = o.To, o.Probe
	r.wrote(o.Names)
	if o.Charge {
		if r.Attempts++; r.Tried.IsZero() {
			r.Tried = t.now
		}
	}
	if o.To == Waiting {
		r.Before = o.Before
	} else {
		r.Settled = t.now
	}
	if o.Error != "" || o.Class != "" {
		r.Class, r.Error = o.Class, o.Error
	}
	if o.Note != "" {
		r.Note = o.Note
	}
	return r
}

// taught is the link with what a delivery taught it; nil if that was nothing.
func taught(old *passerelle.Link, to passerelle.Side, o *Outcome) *passerelle.Link {
	link := old.Clone()
	learned := o.Ref != passerelle.Ref{} && o.Ref != old.Ref(to)
	if learned {
		link.SetRef(to, o.Ref)
	}
	shown := o.Shown > old.Shown[to]
	if shown {
		link.Shown[to] = o.Shown
	}
	if !learned && !shown {
		return nil
	}
	return link
}
