package outbox

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// faulty is a backend that can be told to go wrong.
type faulty struct {
	backend
	commit error         // what a commit comes to
	poison string        // a value that cannot be written
	gate   chan struct{} // closed: commits pass
	tries  atomic.Int32
}

func (f *faulty) update(fn func(writer) error, committed func()) error {
	f.tries.Add(1)
	<-f.gate
	return f.backend.update(func(w writer) error {
		pw := &poisoned{writer: w, word: f.poison}
		if err := fn(pw); err != nil {
			return err
		}
		return f.commit
	}, committed)
}

// poisoned is a writer that fails at one word, after it wrote others.
type poisoned struct {
	writer
	word string
	bad  error
}

func (p *poisoned) put(b bucket, key, value []byte) {
	if p.word != "" && strings.Contains(string(value), p.word) {
		if p.word == "panic" {
			panic("page 7 is no page")
		}
		p.bad = errors.New("cannot be written")
	}
	p.writer.put(b, key, value)
}

func (p *poisoned) err() error { return p.bad }

func newFaulty(t *testing.T) (*faulty, *rig) {
	f := &faulty{backend: newMemory(), gate: make(chan struct{})}
	close(f.gate)
	shelf := newCupboard()
	return f, newRig(t, func(t testing.TB) Store {
		f.backend.(*memory).shut = false
		s, err := open(f, shelf)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestFailedCommitChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := newFaulty(t)
		defer func() { r.s.Close() }()
		l := r.ticket("10", anEntry("partner", "a1"), anEntry("partner", "a2"))
		e := r.lend(toPartner)
		file := r.put("file")
		r.ticket("11", anEntry("partner", "b"))
		f.commit = errors.New("disk full")
		given := aLink("12")
		c := &Change{Link: given, Entries: []*Entry{anEntry("partner", "x", file)}, Names: []Name{aName("x")}, Looks: []Look{{Contract: deal, Key: "1"}}}
		_, next := r.s.Next(r.ctx, toPartner)
		was := *e
		for what, err := range map[string]error{
			"append": r.s.Append(r.ctx, c), "settle": r.s.Settle(r.ctx, e, Outcome{To: Done}), "next": next,
			"look": r.s.Look(r.ctx, Look{Contract: deal, Key: "1"}),
		} {
			if !errors.Is(err, f.commit) {
				t.Errorf("%s: %v", what, err)
			}
		}
		r.same("the given link", given, aLink("12"))
		r.same("the given entry", e, &was)
		r.readBack()
		f.commit = nil
		r.lend(toPartner) // b is there to be lent again
		r.must(r.settle(e, Outcome{To: Done}))
		r.add(found2(r, "10"), anEntry("partner", "a3"))
		r.lend(toPartner)
		_ = l
		r.readBack()
		r.reopen()
		r.readBack()
	})
}

// TestSeenOnlyWhatIsStored: who asks in the same batch must not hear that a name
// is seen, if the commit that would make it seen fails.
func TestSeenOnlyWhatIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := newFaulty(t)
		defer func() { r.s.Close() }()
		f.commit, f.gate = errors.New("disk full"), make(chan struct{})
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				err := r.s.Append(r.ctx, &Change{Link: aLink(fmt.Sprint(i)), Names: []Name{aName("one fact")}})
				if !errors.Is(err, f.commit) {
					t.Errorf("append: %v", err)
				}
			})
		}
		synctest.Wait()
		close(f.gate)
		wg.Wait()
	})
}

// TestOneSpoilsNothing holds a commit back until many operations wait, one of
// which fails in the midst of its writing.
func TestOneSpoilsNothing(t *testing.T) {
	for _, word := range []string{"poison", "panic"} {
		t.Run(word, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, r := newFaulty(t)
				defer func() { r.s.Close() }()
				f.poison, f.gate = word, make(chan struct{})
				before := f.tries.Load()
				var wg sync.WaitGroup
				var mu sync.Mutex
				failed := map[string]error{}
				for i := range 20 {
					wg.Go(func() {
						text := fmt.Sprint("text ", i)
						if i == 7 {
							text = word
						}
						err := r.s.Append(r.ctx, &Change{Link: aLink(fmt.Sprint(i)), Entries: []*Entry{anEntry("partner", text)}, Names: []Name{aName(fmt.Sprint(i % 19))}})
						mu.Lock()
						defer mu.Unlock()
						if err != nil {
							failed[text] = err
						}
					})
				}
				synctest.Wait()
				close(f.gate)
				wg.Wait()
				if n := f.tries.Load() - before; n < 3 || n > 23 {
					t.Errorf("%d commits", n)
				}
				if len(failed) != 2 || failed[word] == nil {
					t.Errorf("failed: %v (one is spoiled, one of 0 and 19 is seen)", failed)
				}
				var n int
				for _, err := range r.s.Links(r.ctx) {
					r.must(err)
					n++
				}
				if n != 18 {
					t.Errorf("%d links", n)
				}
				st, err := r.s.Stats(r.ctx)
				r.must(err)
				if st.ByStatus[toPartner][Waiting] != 18 {
					t.Errorf("memory counts %d", st.ByStatus[toPartner][Waiting])
				}
			})
		})
	}
}

// TestOneCommitForAll counts the commits of many operations.
func TestOneCommitForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := newFaulty(t)
		defer func() { r.s.Close() }()
		f.gate = make(chan struct{})
		before := f.tries.Load()
		var wg sync.WaitGroup
		const many = 300
		for i := range many {
			wg.Go(func() { r.must(r.s.Append(r.ctx, &Change{Link: aLink(fmt.Sprint(i))})) })
		}
		synctest.Wait()
		close(f.gate)
		wg.Wait()
		if n := f.tries.Load() - before; n > 3 {
			t.Errorf("%d commits for %d operations that wait together", n, many)
		}
		before = f.tries.Load()
		if err := r.s.Append(r.ctx, &Change{Link: aLink("1")}); !errors.Is(err, ErrConflict) || f.tries.Load() != before+1 {
			t.Errorf("a conflict: %v, in %d commits", err, f.tries.Load()-before)
		}
	})
}
