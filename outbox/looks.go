package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"passerelle"
)

// Look implements Store. A hint brings a waiting one forward, unless that was
// put off after an error. One that is on disk already, and that nobody has begun to
// follow, serves for this one too: where no other gateway could have begun.
func (s *engine) Look(ctx context.Context, l Look) error {
	if err := checkLooks([]Look{l}); err != nil {
		return wrap("look", err)
	}
	if s.shared == nil && s.looks.waits(Dest{l.Contract, l.Side}, string(sideKey(l.Contract, l.Side, l.Key)), l.Before) {
		return nil
	}
	return s.ask(ctx, "look", func(t *tx) error {
		t.addLooks([]Look{l})
		return nil
	})
}

func checkLooks(looks []Look) error {
	for _, l := range looks {
		if l.Key == "" || len(l.Key) > longestKey {
			return fmt.Errorf("a look at the key %.40q of %d bytes (1 to %d work)", l.Key, len(l.Key), longestKey)
		}
	}
	return nil
}

func (t *tx) addLooks(looks []Look) {
	for _, l := range looks {
		t.addLook(l)
	}
}

func (t *tx) addLook(l Look) {
	k := sideKey(l.Contract, l.Side, l.Key)
	known, err := load[Look](t, lookBucket, k)
	if err != nil { // none, or one that cannot be read: this one takes its place
		t.saveLook(&Look{Contract: l.Contract, Side: l.Side, Key: l.Key, Count: 1, Since: t.now, Before: l.Before}, false)
		return
	}
	known.Count++
	if known.Tries == 0 && l.Before.Before(known.Before) {
		known.Before = l.Before
	}
	t.saveLook(known, false)
}

// saveLook writes a hint; freed tells that whoever read the ticket is done.
func (t *tx) saveLook(l *Look, freed bool) {
	k := sideKey(l.Contract, l.Side, l.Key)
	save(t, lookBucket, k, l)
	t.news.looks = append(t.news.looks, lookStep(k, l, freed))
}

func lookStep(k []byte, l *Look, freed bool) step {
	return step{
		dest: Dest{l.Contract, l.Side}, lane: string(k), freed: freed,
		item: item{id: 1, status: Waiting, before: l.Before, created: l.Since},
	}
}

// lookSteps lists the hints on disk.
func lookSteps(r reader) ([]step, error) {
	var steps []step
	for k, v := range r.scan(lookBucket, nil, nil) {
		l, err := decode[Look](lookBucket, k, v)
		if err != nil {
			return nil, err
		}
		steps = append(steps, lookStep(bytes.Clone(k), l, true))
	}
	return steps, nil
}

// NextLook implements Store. Until Looked, nobody else is given the hint.
func (s *engine) NextLook(ctx context.Context, d Dest) (*Look, error) {
	g, err := s.looks.next(ctx, d)
	if err != nil {
		return nil, err
	}
	var l *Look
	err = s.view(context.WithoutCancel(ctx), "next look", func(r reader) (err error) {
		l, err = load[Look](r, lookBucket, []byte(g.lane.key))
		return err
	})
	if err != nil {
		s.looks.giveBack(d, g.lane)
	}
	return l, err
}

// Looked implements Store. With an error the hint waits until again; without
// one it is dropped, or waits until again if that is set. A hint that came
// since NextLook is due at once, unless there was an error. ErrLost: another reader
// has seen to it.
func (s *engine) Looked(ctx context.Context, l *Look, again time.Time, failure error) error {
	return s.do(ctx, "looked", func(t *tx) error {
		k := sideKey(l.Contract, l.Side, l.Key)
		if err := t.leads(l.Contract); err != nil {
			return err
		}
		known, err := load[Look](t, lookBucket, k)
		if errors.Is(err, passerelle.ErrNotFound) { // read in an earlier term, and by somebody else since
			return ErrLost
		}
		if err != nil {
			return fmt.Errorf("%s %s %s: %w", l.Contract, l.Side, l.Key, err)
		}
		t.looked(known, l.Count, again, failure)
		return nil
	})
}

func (t *tx) looked(known *Look, count uint64, again time.Time, failure error) {
	newer := known.Count != count
	switch {
	case failure != nil:
		known.Before, known.Error = again, failure.Error()
		known.Tries++
	case !newer && again.IsZero():
		k := sideKey(known.Contract, known.Side, known.Key)
		t.del(lookBucket, k)
		gone := lookStep(k, known, true)
		gone.status = Done
		t.news.looks = append(t.news.looks, gone)
		return
	case newer:
		known.Before, known.Since, known.Tries, known.Error = time.Time{}, t.now, 0, ""
	default:
		known.Before, known.Tries, known.Error = again, 0, ""
	}
	t.saveLook(known, true)
}
