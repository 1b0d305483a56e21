package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"passerelle"
)

// engine is the Store over any backend: the tables hold everything, memory
// only what is not final.
type engine struct {
	kv     backend
	commit *committer
	queue  *lanes // entries, by destination and link
	looks  *lanes // hints, each a lane of its own
	files  *spool
	shared *sharing // nil: no other gateway writes here
}

// open reads what is not final into memory, and starts the committer.
func open(kv backend, bytes shelf) (*engine, error) {
	s := &engine{kv: kv, queue: newLanes(), looks: newLanes(), files: newSpool(bytes, kv.doubtful)}
	me, err := s.recover()
	if err != nil {
		return nil, errors.Join(err, kv.close())
	}
	s.commit = newCommitter(kv, me, s.learn, s.tidy)
	return s, nil
}

// recover takes back the loans that a crash cut short, makes the indexes that an
// older program did not keep, and rebuilds memory. It returns the name of this
// gateway where several share the store: there a loan may be another's, see Lead.
func (s *engine) recover() (me string, err error) {
	r, shared := s.kv.(*replicated)
	if !shared {
		if err := s.kv.update(recallLoans, func() {}); err != nil && !errors.Is(err, errNothing) {
			return "", err
		}
	}
	if err := indexRest(s.kv); err != nil {
		return "", err
	}
	if err := indexOpen(s.kv); err != nil {
		return "", err
	}
	if shared {
		return r.me, r.tell(s.hear, s.remember)
	}
	return "", s.remember(s.kv)
}

// remember reads what is not final into memory.
func (s *engine) remember(from backend) error {
	var entries, looks []step
	refs := map[string]fileRefs{}
	err := from.view(func(r reader) error {
		var errs [3]error
		entries, errs[0] = queued(r)
		looks, errs[1] = lookSteps(r)
		refs, errs[2] = referred(r)
		return errors.Join(append(errs[:], r.err())...)
	})
	if err != nil {
		return err
	}
	s.queue.learn(entries)
	s.looks.learn(looks)
	return s.files.sweep(refs)
}

// recallLoans makes lent entries wait again: their outcome is unknown.
func recallLoans(w writer) error {
	var ids []uint64
	prefix := []byte{Lent[0]}
	for k := range w.scan(queueBucket, prefix, prefix) {
		ids = append(ids, number(k[1:]))
	}
	if len(ids) == 0 {
		return cmp.Or(w.err(), errNothing)
	}
	t := &tx{writer: w}
	for _, id := range ids {
		r, err := readRecord(w, id)
		if err != nil {
			return err
		}
		r.Status, r.Probe = Waiting, true
		t.saveRecord(r, Lent)
	}
	return w.err()
}

// queued lists what is not final.
func queued(r reader) ([]step, error) {
	var steps []step
	for _, status := range []Status{Waiting, Lent, Parked} {
		prefix := []byte{status[0]}
		for k, v := range r.scan(queueBucket, prefix, prefix) {
			p, err := decode[place](queueBucket, k, v)
			if err != nil {
				return nil, err
			}
			steps = append(steps, step{
				dest: Dest{p.Contract, p.To}, lane: p.Link,
				item: item{id: number(k[1:]), status: status, before: within(p.Before), created: p.Created},
			})
		}
	}
	return steps, nil
}

// longestDelay is more than anything is ever put off by. What lies further ahead
// was written before the clock was put back.
const longestDelay = 2 * time.Hour

func within(t time.Time) time.Time {
	if most := time.Now().Add(longestDelay); t.After(most) {
		return most
	}
	return t
}

// learn brings memory up to what a commit made true.
func (s *engine) learn(batch []*op) {
	var all news
	for _, o := range batch {
		all.entries = append(all.entries, o.news.entries...)
		all.looks = append(all.looks, o.news.looks...)
		s.files.refer(o.news.files)
	}
	s.hear(all)
}

// hear brings memory up to what anybody committed.
func (s *engine) hear(n news) {
	s.files.refer(n.files)
	s.queue.learn(n.entries)
	s.looks.learn(n.looks)
}

// tidy removes the files that a commit left without a reference.
func (s *engine) tidy(batch []*op) {
	for _, o := range batch {
		for sum, f := range o.news.files {
			if f.Refs == 0 {
				s.files.forget(sum)
			}
		}
	}
}

// do commits one operation. Once asked for it is waited for, whatever becomes
// of ctx: its outcome would be unknown.
func (s *engine) do(ctx context.Context, verb string, apply func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return wrap(verb, s.commit.do(apply))
}

// ask is do for one who cannot wait for ever: where the servers of a shared store
// do not answer, he is told that nobody knows what became of it, which is settled
// when they do.
func (s *engine) ask(ctx context.Context, verb string, apply func(*tx) error) error {
	if s.shared == nil {
		return s.do(ctx, verb, apply)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.do(ctx, verb, apply) }() // ends with the commit, or with Close
	patience := time.NewTimer(s.shared.patience)
	defer patience.Stop()
	select {
	case err := <-ended:
		return err
	case <-patience.C:
		return fmt.Errorf("outbox: %s: not known to be stored after %v: %w (say it again: what was stored is known then)", verb, s.shared.patience,
			cmp.Or(s.kv.ready(), errors.New("the servers are slow")))
	}
}

// view reads at one moment.
func (s *engine) view(ctx context.Context, verb string, fn func(reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return wrap(verb, s.kv.view(func(r reader) error {
		err := fn(r)
		return cmp.Or(r.err(), err)
	}))
}

// wrap says what was being done, but leaves our own errors as they are.
func wrap(verb string, err error) error {
	for _, ours := range []error{nil, ErrSeen, ErrConflict, ErrLost, ErrClosed} {
		if err == ours {
			return err
		}
	}
	return fmt.Errorf("outbox: %s: %w", verb, err)
}

// Find implements Store.
func (s *engine) Find(ctx context.Context, contract string, side passerelle.Side, key string) (*passerelle.Link, error) {
	var found *passerelle.Link
	err := s.view(ctx, "find", func(r reader) (err error) {
		found, err = youngest(r, contract, side, key)
		if err == nil && found == nil {
			err = fmt.Errorf("%s %s %q: %w", contract, side, key, passerelle.ErrNotFound)
		}
		return err
	})
	return found, err
}

// Seen implements Store.
func (s *engine) Seen(ctx context.Context, names ...Name) (map[string]bool, error) {
	seen := make(map[string]bool, len(names))
	err := s.view(ctx, "seen", func(r reader) error {
		for _, n := range names {
			seen[n.Name] = seen[n.Name] || r.get(nameBucket, sideKey(n.Contract, n.Side, n.Name)) != nil
		}
		return nil
	})
	return seen, err
}

// Entry implements Store.
func (s *engine) Entry(ctx context.Context, id uint64) (*Entry, error) {
	var e *Entry
	err := s.view(ctx, "entry", func(r reader) (err error) {
		e, err = readEntry(r, id)
		return err
	})
	return e, err
}

// Ready implements Store. While others wait for the disk they find out; else it
// writes what is there already.
func (s *engine) Ready(ctx context.Context) error {
	err := s.kv.ready()
	switch {
	case err == nil:
	case s.shared != nil: // a change could wait for long; a question tells as much
		err = cmp.Or(s.kv.view(func(reader) error { return nil }), s.kv.ready())
	case s.commit.since().IsZero():
		err = s.commit.do(func(t *tx) error {
			t.put(metaBucket, []byte(schemaKey), numberKey(schema))
			return nil
		})
	}
	return wrap("ready", errors.Join(err, s.files.ready(ctx)))
}

// Files implements Store.
func (s *engine) Files() passerelle.Spool { return s.files }

// Close implements Store.
func (s *engine) Close() error {
	if s.shared != nil {
		defer time.AfterFunc(s.shared.patience, s.kv.hurry).Stop()
		s.shared.end()
		s.shared.gone.Wait()
	}
	s.queue.close()
	s.looks.close()
	s.commit.close()
	s.files.close()
	return s.kv.close()
}
