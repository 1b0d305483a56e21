package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"passerelle"
)

const deal = "orleans-tours-gar"

var (
	toPartner   = Dest{deal, passerelle.Partner}
	toRequester = Dest{deal, passerelle.Requester}
	who         = Decision{By: "agent", Why: "the table is mended"}
)

func aName(s string) Name { return Name{deal, passerelle.Requester, s} }

func anEvent(text string, files ...passerelle.File) *passerelle.Event {
	return &passerelle.Event{
		Contract: deal, From: passerelle.Requester, Kind: passerelle.PublicLog, Key: "1504",
		Fields: map[string]string{"text": text}, Files: files,
	}
}

func anEntry(to passerelle.Side, text string, files ...passerelle.File) *Entry {
	return &Entry{To: to, Terms: "v1", Template: "update", Event: anEvent(text, files...)}
}

func aLink(key string) *passerelle.Link {
	return &passerelle.Link{
		Contract: deal, Terms: "v1", State: passerelle.Open, Turn: 1,
		Requester: passerelle.Ref{Key: key, Number: "R-" + key},
	}
}

// ticket appends a new link with entries, and returns the link.
func (r *rig) ticket(key string, entries ...*Entry) *passerelle.Link {
	r.Helper()
	l := aLink(key)
	r.must(r.append(&Change{Link: l, OwnFormat: "FRS-%06d", Entries: entries}))
	return l
}

// add appends an entry to a link.
func (r *rig) add(l *passerelle.Link, entries ...*Entry) {
	r.Helper()
	r.must(r.append(&Change{Link: l, Entries: entries}))
}

// lend is next where something must be due.
func (r *rig) lend(d Dest) *Entry {
	r.Helper()
	e := r.next(d)
	if e == nil {
		r.Fatal("nothing is due")
	}
	return e
}

func TestR26OwnNumbers(t *testing.T) {
	eachStore(t, func(r *rig) {
		a := r.ticket("10")
		if a.Own.Key != "1" || a.Own.Number != "FRS-000001" || a.ID != "1" || a.Version != 1 {
			r.Fatalf("the first link is %+v", a)
		}
		b := aLink("11")
		r.must(r.append(&Change{Link: b, Names: []Name{aName("b")}}))
		refused := aLink("12") // takes no number
		if r.append(&Change{Link: refused, Names: []Name{aName("b")}}) == nil || refused.ID != "" {
			r.Fatalf("a change already seen made a link: %+v", refused)
		}
		r.reopen()
		if c := r.ticket("12"); c.ID != "3" {
			r.Fatalf("the third link is %s", c.ID)
		}
		for _, key := range []string{"1", "FRS-000001"} {
			if r.readLink(deal, passerelle.Broker, key) == nil {
				r.Errorf("no link %s", key)
			}
		}
		for _, side := range []passerelle.Side{passerelle.Partner, passerelle.Broker} {
			if r.readLink(deal, side, "R-10") != nil || r.readLink("other", passerelle.Requester, "R-10") != nil {
				r.Errorf("R-10 is found where it is not")
			}
		}
	})
}

func TestFindKeepsKeysApart(t *testing.T) {
	eachStore(t, func(r *rig) {
		for _, key := range []string{"1", "11", "1\x00", "1\x0012345678", "é", strings.Repeat("9", 300)} {
			r.ticket(key)
		}
		if _, err := r.s.Find(r.ctx, deal, passerelle.Requester, ""); !errors.Is(err, passerelle.ErrNotFound) {
			r.Errorf("an empty key: %v", err)
		}
	})
}

func TestAppendConflict(t *testing.T) {
	eachStore(t, func(r *rig) {
		l := r.ticket("10")
		stale := l.Clone()
		r.add(l, anEntry(passerelle.Partner, "first"))
		if err := r.append(&Change{Link: stale, Entries: []*Entry{anEntry(passerelle.Partner, "late")}, Names: []Name{aName("x")}}); !errors.Is(err, ErrConflict) {
			r.Errorf("a stale link: %v", err)
		}
		ghost := aLink("99")
		ghost.ID, ghost.Version = "77", 3
		if err := r.append(&Change{Link: ghost}); !errors.Is(err, ErrConflict) {
			r.Errorf("a link that is not there: %v", err)
		}
	})
}

func TestR31SecondLinkForAKey(t *testing.T) {
	eachStore(t, func(r *rig) {
		a := r.ticket("10")
		if err := r.append(&Change{Link: aLink("10")}); !errors.Is(err, ErrConflict) {
			r.Errorf("a second link that knows of none: %v", err)
		}
		b := aLink("10")
		r.must(r.append(&Change{Link: b, Follows: a.ID}))
		if got := r.readLink(deal, passerelle.Requester, "R-10"); got.ID != b.ID {
			r.Errorf("found link %s, the youngest is %s", got.ID, b.ID)
		}
		if err := r.append(&Change{Link: aLink("10"), Follows: a.ID}); !errors.Is(err, ErrConflict) {
			r.Errorf("a third link that knows of the first: %v", err)
		}
		r.add(a, anEntry("", "the older link still takes entries"))
		if got := r.readLink(deal, passerelle.Requester, "10"); got.ID != b.ID {
			r.Errorf("found link %s after a write to the older one", got.ID)
		}
		moved := b.Clone()
		moved.Requester = passerelle.Ref{Key: "20", Number: "R-20"}
		r.must(r.append(&Change{Link: moved}))
		if got := r.readLink(deal, passerelle.Requester, "10"); got == nil || got.ID != a.ID {
			r.Errorf("found %v, but 10 is the older link's again", got)
		}
	})
}

func TestAppendSeen(t *testing.T) {
	eachStore(t, func(r *rig) {
		l := aLink("10")
		r.must(r.append(&Change{Link: l, Names: []Name{aName("a"), aName("b"), aName("b")}}))
		for _, names := range [][]Name{{aName("b")}, {aName("new"), aName("a")}} {
			if err := r.append(&Change{Link: l.Clone(), Names: names, Entries: []*Entry{anEntry(passerelle.Partner, "again")}}); !errors.Is(err, ErrSeen) {
				r.Errorf("names %v: %v", names, err)
			}
		}
		r.must(r.append(&Change{Link: l, Names: []Name{
			{deal, passerelle.Partner, "a"}, {"other", passerelle.Requester, "a"}}}))
	})
}

func TestAppendStatus(t *testing.T) {
	eachStore(t, func(r *rig) {
		refused := anEntry(passerelle.Partner, "refused")
		refused.Status, refused.Rule = Refused, "R13"
		l := r.ticket("10", anEntry("", "told to nobody"), refused, anEntry(passerelle.Partner, "told"))
		if e := r.lend(toPartner); e.ID != 3 {
			r.Errorf("lent entry %d", e.ID)
		}
		r.must(r.append(&Change{Entries: []*Entry{{Contract: deal, Status: Refused, Event: anEvent("no ticket")}}}))
		lent := anEntry(passerelle.Partner, "lent")
		lent.Status = Lent
		for what, c := range map[string]*Change{
			"lent":      {Link: l, Entries: []*Entry{lent}},
			"no side":   {Link: l, Entries: []*Entry{{Status: Waiting, Event: anEvent("x")}}},
			"no link":   {Entries: []*Entry{anEntry(passerelle.Partner, "x")}},
			"a ghost":   {Entries: []*Entry{{Link: "12", To: passerelle.Partner, Event: anEvent("x")}}},
			"no event":  {Link: l, Entries: []*Entry{{To: passerelle.Partner}}},
			"no file":   {Link: l, Entries: []*Entry{anEntry(passerelle.Partner, "x", passerelle.File{Sum: "ab"})}},
			"no name":   {Link: l, Names: []Name{aName("")}},
			"long name": {Link: l, Names: []Name{aName(strings.Repeat("x", 5000))}},
			"no key":    {Link: l, Looks: []Look{{Contract: deal}}},
			"format":    {Link: aLink("77"), OwnFormat: "FRS"},
		} {
			if err := r.s.Append(r.ctx, c); err == nil {
				r.Errorf("%s: taken", what)
			}
		}
	})
}

func TestLaneOrder(t *testing.T) {
	eachStore(t, func(r *rig) {
		a := r.ticket("10", anEntry(passerelle.Partner, "a1"), anEntry(passerelle.Requester, "back"))
		b := r.ticket("11", anEntry(passerelle.Partner, "b1"))
		r.add(a, anEntry(passerelle.Partner, "a2"))
		a1, b1 := r.lend(toPartner), r.lend(toPartner)
		if a1.Link != a.ID || b1.Link != b.ID {
			r.Fatalf("lent %d and %d", a1.ID, b1.ID)
		}
		if e := r.next(toPartner); e != nil {
			r.Fatalf("entry %d overtakes one that is lent", e.ID)
		}
		back := r.lend(toRequester) // the other direction goes on
		r.must(r.settle(back, Outcome{To: Superseded}))
		r.must(r.settle(a1, Outcome{To: Waiting, Before: time.Now().Add(time.Minute), Charge: true}))
		if e := r.next(toPartner); e != nil {
			r.Fatalf("entry %d overtakes one that waits", e.ID)
		}
		time.Sleep(time.Minute)
		r.must(r.settle(r.lend(toPartner), Outcome{To: Done}))
		if a2 := r.lend(toPartner); a2.Event.Fields["text"] != "a2" {
			r.Fatalf("lent entry %d", a2.ID)
		}
	})
}

func TestParkedBlocksItsLaneOnly(t *testing.T) {
	eachStore(t, func(r *rig) {
		a := r.ticket("10", anEntry(passerelle.Partner, "a1"), anEntry(passerelle.Partner, "a2"), anEntry(passerelle.Requester, "back"))
		r.must(r.settle(r.lend(toPartner), Outcome{To: Parked, Class: passerelle.Stuck, Error: "no such field"}))
		if e := r.next(toPartner); e != nil {
			r.Fatalf("entry %d goes past a parked one", e.ID)
		}
		r.reopen()
		if e := r.next(toPartner); e != nil {
			r.Fatalf("entry %d goes past a parked one after a restart", e.ID)
		}
		r.lend(toRequester)
		r.ticket("11", anEntry(passerelle.Partner, "b1"))
		r.lend(toPartner)
		r.readBack()
		r.must(r.drop(1, who))
		if a2 := r.lend(toPartner); a2.Link != a.ID {
			r.Fatalf("lent entry %d", a2.ID)
		}
	})
}

func TestDecisions(t *testing.T) {
	eachStore(t, func(r *rig) {
		r.ticket("10", anEntry(passerelle.Partner, "a1"), anEntry(passerelle.Partner, "a2"))
		e := r.lend(toPartner)
		for what, err := range map[string]error{"retry": r.retry(e.ID, who), "drop": r.drop(e.ID, who), "drop of a waiting one": r.drop(2, who)} {
			if !errors.Is(err, ErrNotParked) {
				r.Errorf("%s of a lent entry: %v", what, err)
			}
		}
		r.must(r.settle(e, Outcome{To: Parked, Charge: true, Probe: true, Error: "no"}))
		newer := who
		newer.Terms = "v2"
		r.must(r.retry(1, newer))
		e = r.lend(toPartner)
		if e.Terms != "v2" || e.Attempts != 0 || !e.Probe || len(e.Decisions) != 1 {
			r.Errorf("a retried entry is %+v", e)
		}
		r.must(r.settle(e, Outcome{To: Waiting, Before: time.Now().Add(time.Hour)}))
		r.must(r.retry(1, who)) // at once
		r.must(r.settle(r.lend(toPartner), Outcome{To: Parked}))
		r.must(r.drop(1, who))
		if err := r.drop(1, who); !errors.Is(err, ErrNotParked) {
			r.Errorf("drop of a dropped entry: %v", err)
		}
		if err := r.retry(99, who); !errors.Is(err, passerelle.ErrNotFound) {
			r.Errorf("retry of no entry: %v", err)
		}
		if _, err := r.s.Retry(r.ctx, 2, Decision{By: "agent"}); err == nil {
			r.Error("a decision without a reason")
		}
	})
}

func TestLoanIsLost(t *testing.T) {
	eachStore(t, func(r *rig) {
		r.ticket("10", anEntry(passerelle.Partner, "a1"))
		first := r.lend(toPartner)
		old := *first
		r.must(r.sent(first, 1, aName("part 1")))
		r.must(r.sent(first, 2, aName("part 2")))
		r.must(r.settle(first, Outcome{To: Waiting, Charge: true, Probe: true, Class: passerelle.Unsure, Error: "cut"}))
		for what, err := range map[string]error{"sent": r.sent(&old, 3, aName("part 3")), "settle": r.settle(&old, Outcome{To: Done})} {
			if !errors.Is(err, ErrLost) {
				r.Errorf("%s after the end of the loan: %v", what, err)
			}
		}
		second := r.lend(toPartner)
		if second.Parts != 2 || !second.Probe || second.Attempts != 1 || second.Lend != 2 {
			r.Errorf("the second loan is %+v", second)
		}
		if err := r.settle(&old, Outcome{To: Done}); !errors.Is(err, ErrLost) {
			r.Errorf("settle of the first loan during the second: %v", err)
		}
		r.must(r.settle(second, Outcome{To: Done, Note: "went well", Names: []Name{aName("part 1"), aName("part 3")}}))
		if err := r.s.Settle(r.ctx, second, Outcome{To: Refused}); err == nil {
			r.Error("a loan ended refused")
		}
	})
}

func TestLentBecomesProbe(t *testing.T) {
	eachStore(t, func(r *rig) {
		r.ticket("10", anEntry(passerelle.Partner, "a1"))
		old := r.lend(toPartner)
		r.reopen()
		r.readBack()
		if err := r.settle(old, Outcome{To: Done}); !errors.Is(err, ErrLost) {
			r.Errorf("settle of a loan before the restart: %v", err)
		}
		e := r.lend(toPartner)
		if !e.Probe || e.Lend != 2 {
			r.Errorf("lent again as %+v", e)
		}
		if err := r.settle(old, Outcome{To: Done}); !errors.Is(err, ErrLost) {
			r.Errorf("settle of a loan before the restart: %v", err)
		}
	})
}

func TestSettleTeaches(t *testing.T) {
	eachStore(t, func(r *rig) {
		l := r.ticket("10", anEntry(passerelle.Partner, "create"))
		e := r.lend(toPartner)
		reference := anEntry(passerelle.Requester, "R5: the partner's number")
		r.must(r.settle(e, Outcome{
			To: Done, Shown: 1, Names: []Name{aName("jira/1")},
			Ref:    passerelle.Ref{Key: "10042", Number: "GSN1-4711"},
			Follow: []*Entry{reference},
			Looks:  []Look{{Contract: deal, Side: passerelle.Partner, Key: "10042"}},
		}))
		if reference.ID != 2 || reference.Link != l.ID {
			r.Errorf("the entry that follows is %+v", reference)
		}
		found := r.readLink(deal, passerelle.Partner, "GSN1-4711")
		if found == nil || found.Version != 2 || found.Shown[passerelle.Partner] != 1 {
			r.Fatalf("found %+v", found)
		}
		if err := r.append(&Change{Link: l}); !errors.Is(err, ErrConflict) {
			r.Errorf("a link that has learned since: %v", err)
		}
		r.must(r.settle(r.lend(toRequester), Outcome{To: Done, Shown: 1}))
		r.add(found2(r, "10"), anEntry(passerelle.Partner, "more"))
		r.must(r.settle(r.lend(toPartner), Outcome{To: Done, Ref: passerelle.Ref{Key: "10050"}}))
		if r.readLink(deal, passerelle.Partner, "10042") != nil {
			r.Error("a key that the link has no more")
		}
	})
}

func found2(r *rig, key string) *passerelle.Link {
	l, err := r.s.Find(r.ctx, deal, passerelle.Requester, key)
	r.must(err)
	return l
}

func TestNextWaits(t *testing.T) {
	eachStore(t, func(r *rig) {
		start := time.Now()
		late := anEntry(passerelle.Partner, "late")
		late.Before = start.Add(90*time.Minute + time.Second)
		soon := anEntry(passerelle.Partner, "soon")
		soon.Before = start.Add(30*time.Minute + time.Second)
		r.ticket("10", late)
		var wg sync.WaitGroup
		got := make([]time.Duration, 2)
		for i := range got {
			wg.Go(func() {
				if _, err := r.s.Next(r.ctx, toPartner); err != nil {
					r.Error(err)
				}
				got[i] = time.Since(start)
			})
		}
		synctest.Wait()
		r.ticket("11", soon)
		wg.Wait()
		if got[0]+got[1] != 2*time.Hour+2*time.Second || max(got[0], got[1]) != 90*time.Minute+time.Second {
			r.Errorf("lent after %v, should be a second after 30 and 90 minutes", got)
		}
		for _, e := range r.m.entries {
			r.m.lend(e)
		}
	})
}

func TestNextEnds(t *testing.T) {
	eachStore(t, func(r *rig) {
		ctx, cancel := context.WithCancel(r.ctx)
		ends := make(chan error, 3)
		go func() { _, err := r.s.Next(ctx, toPartner); ends <- err }()
		go func() { _, err := r.s.NextLook(ctx, toPartner); ends <- err }()
		synctest.Wait()
		cancel()
		for range 2 {
			if err := <-ends; !errors.Is(err, context.Canceled) {
				r.Errorf("cancelled: %v", err)
			}
		}
		r.ticket("10", anEntry(passerelle.Partner, "not for the one who left"))
		r.lend(toPartner)
		go func() { _, err := r.s.Next(r.ctx, toPartner); ends <- err }()
		go func() { _, err := r.s.NextLook(r.ctx, toPartner); ends <- err }()
		synctest.Wait()
		r.must(r.s.Close())
		for range 2 {
			if err := <-ends; !errors.Is(err, ErrClosed) {
				r.Errorf("closed: %v", err)
			}
		}
		r.closed()
		r.s = r.open(r.TB)
		r.m.reopen()
	})
}

// closed asks everything of a closed store.
func (r *rig) closed() {
	r.Helper()
	_, find := r.s.Find(r.ctx, deal, passerelle.Requester, "10")
	_, next := r.s.Next(r.ctx, toPartner)
	_, retry := r.s.Retry(r.ctx, 1, who)
	for what, err := range map[string]error{
		"find": find, "next": next, "retry": retry,
		"append": r.s.Append(r.ctx, &Change{Link: aLink("12")}),
		"look":   r.s.Look(r.ctx, Look{Contract: deal, Key: "1"}),
	} {
		if !errors.Is(err, ErrClosed) {
			r.Errorf("%s after Close: %v", what, err)
		}
	}
	for _, err := range r.s.Entries(r.ctx, Query{}) {
		if !errors.Is(err, ErrClosed) {
			r.Errorf("entries after Close: %v", err)
		}
	}
}

func TestOldestDueFirst(t *testing.T) {
	eachStore(t, func(r *rig) {
		put := anEntry(passerelle.Partner, "put off")
		put.Before = time.Now().Add(2 * time.Minute)
		r.ticket("10", put)
		time.Sleep(time.Minute)
		r.ticket("11", anEntry(passerelle.Partner, "second"))
		time.Sleep(2 * time.Minute)
		r.ticket("12", anEntry(passerelle.Partner, "third"))
		for _, want := range []uint64{2, 1, 3} {
			if e := r.lend(toPartner); e.ID != want {
				r.Fatalf("lent %d, due is %d", e.ID, want)
			}
		}
	})
}

func TestManyWorkers(t *testing.T) {
	eachStore(t, func(r *rig) {
		const lanes, deep = 40, 5
		ctx, cancel := context.WithCancel(r.ctx)
		var wg sync.WaitGroup
		var mu sync.Mutex
		heard := map[string][]uint64{}
		for range 8 {
			wg.Go(func() {
				for {
					e, err := r.s.Next(ctx, toPartner)
					if err != nil {
						return
					}
					mu.Lock()
					heard[e.Link] = append(heard[e.Link], e.ID)
					mu.Unlock()
					if err := r.s.Settle(r.ctx, e, Outcome{To: Done}); err != nil {
						r.Error(err)
					}
				}
			})
		}
		for i := range lanes {
			var es []*Entry
			for range deep {
				es = append(es, anEntry(passerelle.Partner, "x"))
			}
			r.ticket(fmt.Sprint(i), es...)
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		for _, e := range r.m.entries {
			e.Status, e.Lend, e.Settled = Done, 1, time.Now()
			if len(heard[e.Link]) == 0 || heard[e.Link][0] != e.ID {
				r.Fatalf("link %s heard %v", e.Link, heard[e.Link])
			}
			heard[e.Link] = heard[e.Link][1:]
		}
	})
}
