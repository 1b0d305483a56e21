package outbox

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"passerelle"
)

var (
	seedFlag  = flag.Uint64("seed", 1, "seed of the random tests; 0: a new one")
	stepsFlag = flag.Int("steps", 400, "random operations for each kind of store")
)

// chance is a source of random choices; its seed is in the test's output.
func chance(t testing.TB) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("again with: go test ./outbox -run %s -args -seed %d -steps %d -kills %d", t.Name(), seed, *stepsFlag, *killsFlag)
		}
	})
	return rand.New(rand.NewPCG(seed, 1))
}

// TestRandom does random operations to a store and to the model.
func TestRandom(t *testing.T) {
	rng := chance(t)
	eachStore(t, func(r *rig) {
		w := &walk{rig: r, Rand: rng}
		for i := range *stepsFlag {
			w.step()
			if i%200 == 0 {
				r.readBack()
			}
		}
	})
}

// walk is a random walk through a store's life.
type walk struct {
	*rig
	*rand.Rand
	loans []*Entry
	ended []*Entry // loans that are over
	looks []*Look
	named int
}

func (w *walk) step() {
	steps := []func(){
		w.newLink, w.newLink, w.change, w.change, w.change, w.change, w.lendOne, w.lendOne, w.lendOne, w.lendOne,
		w.settleOne, w.settleOne, w.settleOne, w.settleOne, w.sendOne, w.late, w.decideOne, w.decideOne, w.hint, w.readOne, w.readDone, w.readDone, w.sleep, w.keepOne, w.givenLink, w.purgeOne,
	}
	if w.IntN(100) == 0 {
		w.reopen()
		w.ended, w.loans, w.looks = append(w.ended, w.loans...), nil, nil
		return
	}
	steps[w.IntN(len(steps))]()
}

func (w *walk) sleep() { time.Sleep(w.Duration(time.Minute)) }

func (w *walk) Duration(most time.Duration) time.Duration {
	return time.Duration(w.Int64N(int64(most)))
}

func (w *walk) side() passerelle.Side {
	return []passerelle.Side{passerelle.Partner, passerelle.Requester}[w.IntN(2)]
}

func (w *walk) names() []Name {
	var names []Name
	for range w.IntN(3) {
		w.named++
		n := w.named
		if w.IntN(20) == 0 {
			n = 1 + w.IntN(w.named) // perhaps a known one
		}
		names = append(names, Name{deal, w.side(), fmt.Sprint("n", n)})
	}
	return names
}

func (w *walk) entries() ([]*Entry, []passerelle.File) {
	var es []*Entry
	var files []passerelle.File
	for range w.IntN(3) {
		if w.IntN(4) == 0 {
			files = append(files, w.put(fmt.Sprint("file ", w.IntN(5))))
		}
		e := anEntry(w.side(), fmt.Sprint("text ", w.Int()), files...)
		switch w.IntN(6) {
		case 0:
			e.To = ""
		case 1:
			e.Status = Refused
		case 2:
			e.Before = time.Now().Add(w.Duration(time.Minute)).UTC()
		}
		es = append(es, e)
	}
	return es, files
}

func (w *walk) hints() []Look {
	var looks []Look
	for range w.IntN(2) {
		looks = append(looks, Look{Contract: deal, Side: w.side(), Key: fmt.Sprint(w.IntN(5))})
		if w.IntN(3) == 0 {
			looks[0].Before = time.Now().Add(w.Duration(time.Minute)).UTC()
		}
	}
	return looks
}

func (w *walk) change() {
	c := &Change{Names: w.names(), Looks: w.hints()}
	if len(w.m.links) > 0 && w.IntN(10) > 0 {
		c.Link = w.m.links[w.IntN(len(w.m.links))].Clone()
		c.Link.Turn++
		if w.IntN(3) == 0 {
			c.Link.State = []passerelle.State{passerelle.Open, passerelle.Pending, passerelle.Closed, passerelle.Rejected, passerelle.Left}[w.IntN(5)]
			c.Link.Facts = map[string]string{"kept": "1", "title": fmt.Sprint(w.Int())}
		}
		if w.IntN(10) == 0 {
			c.Link.Version-- // perhaps 0: a new link
		}
		if w.IntN(10) == 0 {
			c.Link.Partner = passerelle.Ref{Key: fmt.Sprint(w.IntN(10))}
		}
	}
	w.give(c)
}

func (w *walk) newLink() {
	c := &Change{Link: aLink(fmt.Sprint(w.IntN(50))), OwnFormat: "FRS-%06d", Names: w.names()}
	if old := w.m.find(deal, passerelle.Requester, c.Link.Requester.Key); old != nil && w.IntN(2) == 0 {
		c.Follows = old.ID
	}
	w.give(c)
}

// givenLink asks for a number: one that a link has, that was skipped, or that was
// never given.
func (w *walk) givenLink() {
	w.skip(w.IntN(2))
	c := &Change{Link: aLink(fmt.Sprint("given ", w.Int())), OwnFormat: "FRS-%06d"}
	c.Link.ID = fmt.Sprint(1 + w.IntN(w.m.own+2))
	c.Link.Own = passerelle.Ref{Key: c.Link.ID, Number: []string{"", "OLD-" + c.Link.ID}[w.IntN(2)]}
	w.give(c)
}

// purgeOne purges a link, whatever its state.
func (w *walk) purgeOne() {
	id := fmt.Sprint(1 + w.IntN(w.m.own+2))
	_, _ = w.purge(id, PurgeOrder{Decision: who, Force: w.IntN(3) == 0, Keep: []string{"kept"}})
}

func (w *walk) keepOne() {
	w.keep(fmt.Sprint("key ", w.IntN(3)), []string{"", "a", "b"}[w.IntN(3)])
}

func (w *walk) give(c *Change) {
	var files []passerelle.File
	if c.Link != nil {
		c.Entries, files = w.entries()
	}
	_ = w.append(c)
	for _, f := range files {
		w.release(f)
	}
}

func (w *walk) lendOne() {
	if e := w.next(Dest{deal, w.side()}); e != nil {
		w.loans = append(w.loans, e)
	}
}

// aLoan takes one of the loans that go on.
func (w *walk) aLoan() *Entry {
	if len(w.loans) == 0 {
		return nil
	}
	i := w.IntN(len(w.loans))
	e := w.loans[i]
	w.loans = append(w.loans[:i], w.loans[i+1:]...)
	old := *e
	w.ended = append(w.ended, &old)
	return e
}

func (w *walk) settleOne() {
	e := w.aLoan()
	if e == nil {
		return
	}
	o := Outcome{To: []Status{Done, Done, Waiting, Parked, Superseded}[w.IntN(5)], Names: w.names(), Looks: w.hints()}
	o.Charge, o.Probe = w.IntN(2) == 0, w.IntN(4) == 0
	if o.To == Waiting {
		o.Before, o.Class, o.Error = time.Now().Add(w.Duration(time.Minute)).UTC(), passerelle.Temporary, "503"
	}
	if o.To == Done && w.IntN(3) == 0 {
		o.Ref, o.Note = passerelle.Ref{Key: fmt.Sprint(w.IntN(20)), Number: fmt.Sprint("GSN-", w.IntN(20))}, "created"
	}
	if w.IntN(4) == 0 {
		o.Shown = uint64(w.IntN(4))
	}
	if w.IntN(4) == 0 {
		o.Follow = []*Entry{anEntry(w.side(), "follows")}
	}
	w.must(w.settle(e, o))
}

func (w *walk) sendOne() {
	if len(w.loans) > 0 {
		w.must(w.sent(w.loans[w.IntN(len(w.loans))], w.IntN(4), w.names()...))
	}
}

// late ends a loan that is over.
func (w *walk) late() {
	if len(w.ended) > 0 {
		e := *w.ended[w.IntN(len(w.ended))]
		if w.m.lost(&e) {
			_ = w.settle(&e, Outcome{To: Done})
		}
	}
}

func (w *walk) decideOne() {
	id := uint64(w.IntN(len(w.m.entries) + 2))
	if parked := w.m.query(Query{Status: []Status{Parked}}); len(parked) > 0 && w.IntN(4) > 0 {
		id = parked[w.IntN(len(parked))].ID
	}
	if w.IntN(2) == 0 {
		_ = w.retry(id, who)
	} else {
		_ = w.drop(id, who)
	}
}

func (w *walk) hint() {
	for _, l := range w.hints() {
		w.look(l)
	}
}

func (w *walk) readOne() {
	if l := w.nextLook(Dest{deal, w.side()}); l != nil {
		w.looks = append(w.looks, l)
	}
}

func (w *walk) readDone() {
	if len(w.looks) == 0 {
		return
	}
	l := w.looks[0]
	w.looks = w.looks[1:]
	var again time.Time
	if w.IntN(3) == 0 {
		again = time.Now().Add(w.Duration(time.Minute)).UTC()
	}
	var err error
	if w.IntN(3) == 0 {
		err = errors.New("503")
	}
	w.looked(l, again, err)
}
