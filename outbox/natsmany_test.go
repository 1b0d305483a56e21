package outbox

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"passerelle"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var clusterFlag = flag.Int("cluster", 40, "how many changes each gateway makes under load")

// gateway is one of several that share a store.
type gateway struct {
	*engine
	testing.TB
	name string
}

// gateway opens a store on the servers; change may alter its options.
func (c *natsCluster) gateway(name string, change ...func(*NATSOptions)) *gateway {
	c.Helper()
	g, err := c.tryGateway(name, change...)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { g.Close() })
	return g
}

// hasty options let a lead change hands within a test.
func hasty(o *NATSOptions) {
	o.Lease, o.Grace, o.Patience = time.Second, 500*time.Millisecond, 3*time.Second
}

func (c *natsCluster) tryGateway(name string, change ...func(*NATSOptions)) (*gateway, error) {
	o := c.options(filepath.Join(c.dir, name))
	hasty(&o)
	for _, f := range change {
		f(&o)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	s, err := OpenNATS(ctx, o)
	if err != nil {
		return nil, err
	}
	return &gateway{engine: s.(*engine), TB: c.TB, name: name}, nil
}

func (g *gateway) log() *replicated { return g.kv.(*replicated) }

// ticket makes a link with an entry for the partner's side, named as both.
func (g *gateway) ticket(key string, files ...passerelle.File) *Change {
	g.Helper()
	c := &Change{Link: aLink(key), Entries: []*Entry{anEntry(passerelle.Partner, key, files...)}, Names: []Name{aName(key)}}
	must(g, g.Append(context.Background(), c))
	return c
}

// lead waits until a gateway leads.
func (g *gateway) lead() (context.Context, func()) {
	g.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	term, resign, err := g.Lead(ctx, deal)
	must(g, err)
	return term, resign
}

// lent is the next entry for the partner.
func (g *gateway) lent() *Entry {
	g.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	e, err := g.Next(ctx, toPartner)
	must(g, err)
	return e
}

// soon polls until is says so.
func soon(t testing.TB, what string, within time.Duration, is func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

func (g *gateway) text(sum string) string {
	g.Helper()
	r, err := g.Files().Open(sum)
	must(g, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	must(g, err)
	return string(b)
}

// TestTwoSeeAtOnce: what one gateway acknowledged, another finds, sees, lists, keeps
// and refuses at once.
func TestTwoSeeAtOnce(t *testing.T) {
	ctx := context.Background()
	c := startNATS(t, 1)
	a, b := c.gateway("a"), c.gateway("b")
	for i := range 20 {
		key := fmt.Sprint("t", i)
		f, err := a.Files().Put(ctx, strings.NewReader("bytes of "+key))
		must(t, err)
		made := a.ticket(key, f)
		a.Files().Release(f)
		l, err := b.Find(ctx, deal, passerelle.Requester, key)
		if err != nil || l.ID != made.Link.ID {
			t.Fatalf("b finds %v, %v", l, err)
		}
		if seen, err := b.Seen(ctx, aName(key)); err != nil || !seen[key] {
			t.Fatalf("b has not seen %s: %v", key, err)
		}
		n := 0
		for e, err := range b.Entries(ctx, Query{Link: l.ID}) {
			must(t, err)
			n++
			if got := b.text(e.Event.Files[0].Sum); got != "bytes of "+key {
				t.Fatalf("b reads %q", got)
			}
		}
		if n != 1 {
			t.Fatalf("b lists %d entries", n)
		}
		must(t, a.Keep(ctx, "k", key))
		if v, err := b.Kept(ctx, "k"); err != nil || v != key {
			t.Fatalf("b keeps %q, %v", v, err)
		}
		must(t, b.Keep(ctx, "k", "other"))
		must(t, a.Keep(ctx, "k", key)) // what a's replica may still hold
		if v, err := b.Kept(ctx, "k"); err != nil || v != key {
			t.Fatalf("a's value is lost: b keeps %q, %v", v, err)
		}
		if err := b.Append(ctx, &Change{Link: aLink(key + "'"), Names: []Name{aName(key)}}); !errors.Is(err, ErrSeen) {
			t.Fatalf("b appends what a has seen: %v", err)
		}
		// The version that a made is judged by b.
		next := l.Clone()
		must(t, a.Append(ctx, &Change{Link: made.Link.Clone()}))
		if err := b.Append(ctx, &Change{Link: next}); !errors.Is(err, ErrConflict) {
			t.Fatalf("b changes an old version: %v", err)
		}
		if err := b.Append(ctx, &Change{Link: aLink(key)}); !errors.Is(err, ErrConflict) {
			t.Fatalf("b makes the link again: %v", err)
		}
	}
}

// TestTwoWorkForOneAnother: what b accepts is lent to a, which leads; hints for b are
// read by a; what a person decides at b opens the lane at a.
func TestTwoWorkForOneAnother(t *testing.T) {
	ctx := context.Background()
	c := startNATS(t, 1)
	a, b := c.gateway("a"), c.gateway("b")
	term, resign := a.lead()
	defer resign()
	first := b.ticket("1")
	must(t, b.Append(ctx, &Change{Link: first.Link.Clone(), Entries: []*Entry{anEntry(passerelle.Partner, "second")}}))
	for _, decide := range []func(uint64) error{
		func(id uint64) error { _, err := b.Retry(ctx, id, Decision{By: "x", Why: "y"}); return err },
		func(id uint64) error { _, err := b.Drop(ctx, id, Decision{By: "x", Why: "y"}); return err },
	} {
		e := a.lent()
		if e.ID != first.Entries[0].ID {
			t.Fatalf("a is lent %d", e.ID)
		}
		must(t, a.Settle(ctx, e, Outcome{To: Parked}))
		must(t, decide(e.ID)) // at once: b decides on what a acknowledged
	}
	if e := a.lent(); e.Event.Fields["text"] != "second" {
		t.Fatalf("a is lent %+v", e)
	}
	must(t, b.Look(ctx, Look{Contract: deal, Side: passerelle.Partner, Key: "k"}))
	short, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	l, err := a.NextLook(short, toPartner)
	must(t, err)
	must(t, a.Looked(ctx, l, time.Time{}, nil))
	if term.Err() != nil {
		t.Error("the term ended")
	}
	if err := b.Looked(ctx, l, time.Time{}, nil); err == nil {
		t.Error("b ends a hint that it does not lead")
	}
	if st, err := b.Stats(ctx); err != nil || len(st.Led) != 0 {
		t.Errorf("b leads %v, %v", st.Led, err)
	}
}

// TestTwoOpenTogether: gateways that begin at the same moment make one store.
func TestTwoOpenTogether(t *testing.T) {
	c := startNATS(t, 1)
	var wg sync.WaitGroup
	gs := make([]*gateway, 4)
	errs := make([]error, len(gs))
	for i := range gs {
		wg.Go(func() { gs[i], errs[i] = c.tryGateway(fmt.Sprint(i)) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("gateway %d: %v", i, err)
			continue
		}
		defer gs[i].Close()
	}
	if !t.Failed() {
		gs[0].ticket("1")
		_, err := gs[3].Find(context.Background(), deal, passerelle.Requester, "1")
		must(t, err)
	}
}

// TestLateGiveBack: a lane that is given back when its entry was finished by another
// gateway leaves the lane that came after it alone.
func TestLateGiveBack(t *testing.T) {
	q := newLanes()
	at := func(id uint64, s Status) step {
		return step{dest: toPartner, lane: "1", freed: s != Waiting, item: item{id: id, status: s}}
	}
	q.learn([]step{at(5, Waiting)})
	g, err := q.next(context.Background(), toPartner)
	must(t, err)
	q.learn([]step{at(5, Done)})
	q.learn([]step{at(6, Waiting)})
	q.giveBack(toPartner, g.lane)
	q.learn([]step{at(7, Waiting)})
	if n := len(q.dests[toPartner].lanes["1"].items); n != 2 {
		t.Fatalf("the lane holds %d entries", n)
	}
	g, err = q.next(context.Background(), toPartner)
	must(t, err)
	if g.id != 6 {
		t.Errorf("%d is handed out", g.id)
	}
}

// TestTwoParts: events larger than a message, by two gateways at once: each arrives
// whole, and what was rejected leaves nothing.
func TestTwoParts(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := startNATS(t, 1)
	gs := []*gateway{c.gateway("a", patiently), c.gateway("b", patiently)}
	want := sync.Map{}
	var wg sync.WaitGroup
	for w, g := range gs {
		wg.Go(func() {
			for i := range 4 {
				key := fmt.Sprint(w, "-", i)
				ch := &Change{Link: aLink(key), Entries: []*Entry{anEntry(passerelle.Partner, strings.Repeat(key+" ", 3<<18))}}
				if err := g.Append(ctx, ch); err != nil {
					t.Error(err)
					return
				}
				want.Store(ch.Entries[0].ID, key)
			}
		})
	}
	wg.Wait()
	info, err := gs[0].log().stream.Info(ctx)
	must(t, err)
	t.Logf("%d messages, %d + %d batches rejected", info.State.Msgs, gs[0].log().rejections(), gs[1].log().rejections())
	// An orphan, as a gateway leaves it that ends between a part and its batch.
	_, _, err = gs[0].log().publishParts("orphan", make([]byte, 3<<20))
	must(t, err)
	gs[1].ticket("after")
	for _, g := range append(gs, c.gateway("c")) {
		n := 0
		for e, err := range g.Entries(ctx, Query{}) {
			must(t, err)
			if key, ok := want.Load(e.ID); ok && e.Event.Fields["text"] == strings.Repeat(key.(string)+" ", 3<<18) {
				n++
			}
		}
		if n != 8 {
			t.Errorf("%s holds %d of 8", g.name, n)
		}
	}
	c.same(gs...)
}

// TestTwoLargeBesideMany: a change that takes many messages is not overtaken for ever
// by another gateway's small ones, which go on.
func TestTwoLargeBesideMany(t *testing.T) {
	ctx := context.Background()
	c := startNATS(t, 1)
	a, b := c.gateway("a", patiently), c.gateway("b", patiently)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var small atomic.Int64
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					must(t, b.Keep(ctx, fmt.Sprint(i), fmt.Sprint(n)))
					small.Add(1)
				}
			}
		})
	}
	var worst time.Duration
	for i := range 3 {
		at := time.Now()
		must(t, a.Append(ctx, &Change{Link: aLink(fmt.Sprint(i)), Entries: []*Entry{anEntry(passerelle.Partner, strings.Repeat("x", 6<<20))}}))
		worst = max(worst, time.Since(at))
	}
	close(stop)
	wg.Wait()
	t.Logf("large within %v, %d small ones, rejected %d and %d", worst, small.Load(), a.log().rejections(), b.log().rejections())
	if worst > 15*time.Second || small.Load() < 100 {
		t.Errorf("large within %v, %d small ones", worst, small.Load())
	}
}

// patiently is for callers that shall not be told that they wait for long.
func patiently(o *NATSOptions) { o.Patience = 20 * time.Second }

// rows are all rows of a replica, but for those on itself.
func (g *gateway) rows() map[string]string {
	g.Helper()
	out := map[string]string{}
	must(g, g.view(context.Background(), "rows", func(r reader) error {
		for _, b := range buckets() {
			for k, v := range r.scan(b, nil, nil) {
				out[string(b)+" "+string(k)] = string(v)
			}
		}
		return nil
	}))
	delete(out, "meta "+positionKey)
	maps.DeleteFunc(out, func(k, _ string) bool { return strings.HasPrefix(k, string(leadBucket)) }) // beats go on
	return out
}

// memory is what a gateway knows without its tables.
func (g *gateway) memory() map[string]string {
	out := map[string]string{}
	for name, q := range map[string]*lanes{"queue": g.queue, "looks": g.looks} {
		q.mu.Lock()
		for d, at := range q.dests {
			for key, l := range at.lanes {
				var items []string
				for _, it := range l.items {
					items = append(items, fmt.Sprint(it.id, " ", it.status))
				}
				out[fmt.Sprint(name, d, key)] = strings.Join(items, ", ")
			}
		}
		q.mu.Unlock()
	}
	g.files.mu.Lock()
	defer g.files.mu.Unlock()
	for sum, f := range g.files.refs {
		out["refs "+sum] = fmt.Sprint(f)
	}
	return out
}

// same compares gateways at rest, in their tables and their memory, with one that
// opens the store anew, which it returns.
func (c *natsCluster) same(gs ...*gateway) *gateway {
	c.Helper()
	anew := c.gateway(fmt.Sprint("anew-", time.Now().UnixNano()))
	for _, g := range gs {
		if d := gocmp.Diff(anew.rows(), g.rows()); d != "" {
			c.Errorf("the replica of %s (- anew, + its own):\n%.2000s", g.name, d)
		}
		if d := gocmp.Diff(anew.memory(), g.memory()); d != "" {
			c.Errorf("the memory of %s (- anew, + its own):\n%.2000s", g.name, d)
		}
	}
	return anew
}

// crowd loads several gateways at once, and notes what they were told.
type crowd struct {
	*natsCluster
	gs      []*gateway
	mu      sync.Mutex
	stored  map[string]uint64 // text → entry id of what was acknowledged
	maybe   map[string]bool   // text of what is not known to be stored
	lent    map[uint64]int    // open loans
	sent    map[string][]uint64
	workers sync.WaitGroup
}

// deadline of whatever a loaded gateway does.
const crowdFor = 2 * time.Minute

// write appends to shared tickets until it was told so n times, or that nobody
// knows.
func (w *crowd) write(g *gateway, rng *rand.Rand, n int) {
	ctx := context.Background()
	for i := range n {
		text := fmt.Sprint(g.name, "-", i)
		key := fmt.Sprint("shared ", rng.IntN(6))
		for {
			err := w.writeOne(ctx, g, key, text)
			if errors.Is(err, ErrConflict) {
				continue
			}
			w.mu.Lock()
			if err != nil && !errors.Is(err, ErrSeen) {
				w.maybe[text] = true
			}
			w.mu.Unlock()
			if err != nil && !strings.Contains(err.Error(), "not known to be stored") && !errors.Is(err, ErrSeen) && !w.away(err) {
				w.Errorf("append: %v", err)
			}
			break
		}
		w.aside(ctx, g, rng, text)
	}
}

// away tells an error that servers which do not answer explain.
func (w *crowd) away(err error) bool {
	for _, part := range []string{"no NATS server answers", "does not answer since", "catches up", "put file", "connection", "the stream "} {
		if strings.Contains(err.Error(), part) {
			return true
		}
	}
	return false
}

func (w *crowd) writeOne(ctx context.Context, g *gateway, key, text string) error {
	l, err := g.Find(ctx, deal, passerelle.Requester, key)
	if errors.Is(err, passerelle.ErrNotFound) {
		l, err = aLink(key), nil
	}
	if err != nil {
		return err
	}
	f, err := g.Files().Put(ctx, strings.NewReader("file of "+text))
	if err != nil {
		return err
	}
	defer g.Files().Release(f)
	c := &Change{Link: l, Entries: []*Entry{anEntry(passerelle.Partner, text, f)}, Names: []Name{aName(text)}}
	if err := g.Append(ctx, c); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stored[text] = c.Entries[0].ID
	return nil
}

// aside does one of the other things.
func (w *crowd) aside(ctx context.Context, g *gateway, rng *rand.Rand, text string) {
	var err error
	switch rng.IntN(4) {
	case 0:
		err = g.Look(ctx, Look{Contract: deal, Side: passerelle.Partner, Key: fmt.Sprint(rng.IntN(3))})
	case 1:
		err = g.Keep(ctx, fmt.Sprint(rng.IntN(3)), text)
	case 2:
		for e, bad := range g.Entries(ctx, Query{Status: []Status{Parked}}) {
			if err = bad; bad == nil {
				if _, err = g.Retry(ctx, e.ID, Decision{By: "x", Why: "y"}); errors.Is(err, ErrNotParked) {
					err = nil
				}
			}
			break
		}
	}
	if err != nil && !strings.Contains(err.Error(), "not known to be stored") && !w.away(err) {
		w.Errorf("aside: %v", err)
	}
}

// work leads when it can, and delivers.
func (w *crowd) work(ctx context.Context, g *gateway, seed uint64) {
	for ctx.Err() == nil {
		term, resign, err := g.Lead(ctx, deal)
		if err != nil {
			continue
		}
		short, cancel := context.WithTimeout(ctx, time.Second+time.Duration(seed%5)*300*time.Millisecond)
		end := context.AfterFunc(term, cancel)
		var wg sync.WaitGroup
		for i := range 3 {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			wg.Go(func() { w.deliver(short, term, g, rng) })
		}
		wg.Go(func() { w.read(short, g) })
		wg.Wait()
		end()
		cancel()
		resign()
	}
}

func (w *crowd) deliver(ctx, term context.Context, g *gateway, rng *rand.Rand) {
	for ctx.Err() == nil {
		e, err := g.Next(ctx, toPartner)
		if err != nil {
			continue
		}
		w.mu.Lock()
		if w.lent[e.ID]++; w.lent[e.ID] != 1 && term.Err() == nil {
			w.Errorf("entry %d is lent %d times at once", e.ID, w.lent[e.ID])
		}
		w.mu.Unlock()
		o := Outcome{To: Done}
		switch rng.IntN(8) {
		case 0:
			o.To = Parked
		case 1:
			o.To, o.Before = Waiting, time.Now().Add(10*time.Millisecond)
		}
		if len(e.Event.Files) == 1 && o.To == Done {
			if got := w.fileOf(g, e); got != "" && got != "file of "+e.Event.Fields["text"] {
				w.Errorf("file of entry %d: %q", e.ID, got)
			}
		}
		w.mu.Lock()
		w.lent[e.ID]--
		if o.To == Done && term.Err() == nil { // the tool is told
			w.sent[e.Link] = append(w.sent[e.Link], e.ID)
		}
		w.mu.Unlock()
		_ = g.Settle(context.Background(), e, o) // lost with the lead: it comes back
	}
}

func (w *crowd) fileOf(g *gateway, e *Entry) string {
	r, err := g.Files().Open(e.Event.Files[0].Sum)
	if err == nil {
		defer r.Close()
		if b, err := io.ReadAll(r); err == nil {
			return string(b)
		}
	}
	if errors.Is(err, passerelle.ErrNotFound) {
		w.Errorf("the file of entry %d, which is lent, is gone: %v", e.ID, err)
	}
	return ""
}

func (w *crowd) read(ctx context.Context, g *gateway) {
	for ctx.Err() == nil {
		if l, err := g.NextLook(ctx, toPartner); err == nil {
			_ = g.Looked(context.Background(), l, time.Time{}, nil)
		}
	}
}

// finish lets one gateway work all off, and looks at what is there.
func (w *crowd) finish() {
	w.Helper()
	ctx := context.Background()
	soon(w, "all is delivered", crowdFor, func() bool {
		open := 0
		for e, err := range w.gs[0].Entries(ctx, Query{Status: []Status{Waiting, Lent, Parked}}) {
			if err != nil {
				return false
			}
			if open++; e.Status == Parked {
				_, _ = w.gs[0].Retry(ctx, e.ID, Decision{By: "x", Why: "y"})
			}
		}
		st, err := w.gs[0].Stats(ctx)
		return err == nil && open+st.Looks == 0
	})
}

func (w *crowd) check() {
	w.Helper()
	ctx := context.Background()
	anew := w.same(w.gs...)
	found := map[string][]uint64{}
	for e, err := range anew.Entries(ctx, Query{}) {
		must(w, err)
		found[e.Event.Fields["text"]] = append(found[e.Event.Fields["text"]], e.ID)
	}
	for text, id := range w.stored {
		if !slices.Equal(found[text], []uint64{id}) {
			w.Errorf("%s was acknowledged as %d, and is there as %v", text, id, found[text])
		}
	}
	for text, ids := range found {
		if len(ids) != 1 || w.stored[text] == 0 && !w.maybe[text] {
			w.Errorf("%s is there as %v, acknowledged as %d", text, ids, w.stored[text])
		}
	}
	for link, ids := range w.sent {
		if !slices.IsSorted(ids) {
			w.Errorf("link %s was told %v", link, ids)
		}
	}
	rejected := 0
	for _, g := range w.gs {
		rejected += g.log().rejections()
	}
	w.Logf("%d acknowledged, %d not known, %d in the store, %d batches rejected", len(w.stored), len(w.maybe), len(found), rejected)
}

func newCrowd(c *natsCluster, gs ...*gateway) *crowd {
	return &crowd{natsCluster: c, gs: gs, stored: map[string]uint64{}, maybe: map[string]bool{}, lent: map[uint64]int{}, sent: map[string][]uint64{}}
}

// run loads the gateways; meanwhile runs beside it until the writers are done.
func (w *crowd) run(seed uint64, n int, meanwhile func(done <-chan struct{})) {
	w.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i, g := range w.gs {
		w.workers.Go(func() { w.work(ctx, g, seed+uint64(i)) })
	}
	var writers sync.WaitGroup
	done := make(chan struct{})
	for i, g := range w.gs {
		writers.Go(func() { w.write(g, rand.New(rand.NewPCG(seed, 100+uint64(i))), n) })
	}
	go func() { writers.Wait(); close(done) }()
	if meanwhile != nil {
		meanwhile(done)
	}
	<-done
	w.finish()
	cancel()
	w.workers.Wait()
	w.check()
}

// TestManyUnderLoad: three gateways on one server, then on three.
func TestManyUnderLoad(t *testing.T) {
	for _, servers := range []int{1, 3} {
		t.Run(fmt.Sprint(servers), func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Log("seed", seed)
			c := startNATS(t, servers)
			w := newCrowd(c, c.gateway("a"), c.gateway("b"), c.gateway("c"))
			if w.run(seed, *clusterFlag, nil); len(w.maybe) > 0 {
				t.Errorf("not known, where all answer: %v", w.maybe)
			}
		})
	}
}

// TestManyTidy: a file goes when it had no reference twice.
func TestManyTidy(t *testing.T) {
	ctx := context.Background()
	c := startNATS(t, 1)
	g := c.gateway("a")
	kept, err := g.Files().Put(ctx, strings.NewReader("kept"))
	must(t, err)
	stray, err := g.Files().Put(ctx, strings.NewReader("stray"))
	must(t, err)
	g.ticket("1", kept)
	shelf := g.files.shelf.(*objects)
	mine := &objects{ctx: shelf.ctx, files: shelf.files}
	for _, want := range []int{0, 1, 0} {
		var refs map[string]fileRefs
		must(t, g.view(ctx, "refs", func(r reader) (err error) { refs, err = referred(r); return err }))
		if n, err := mine.tidy(ctx, refs); err != nil || n != want {
			t.Fatalf("%d files go, %v; should be %d", n, err, want)
		}
	}
	if g.text(kept.Sum) != "kept" {
		t.Error("the file that an entry needs is gone")
	}
	if _, err := g.Files().Open(stray.Sum); !errors.Is(err, passerelle.ErrNotFound) {
		t.Errorf("the stray file: %v", err)
	}
}

// TestManyBackup: a backup that one gateway makes while another writes restores into
// a folder of a single gateway, with what was acknowledged before.
func TestManyBackup(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := startNATS(t, 1)
	a, b := c.gateway("a"), c.gateway("b")
	for i := range 30 {
		f, err := a.Files().Put(ctx, strings.NewReader(fmt.Sprint("file ", i)))
		must(t, err)
		a.ticket(fmt.Sprint("before ", i), f)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				a.ticket(fmt.Sprint("meanwhile ", i))
			}
		}
	})
	for i := range max(2, *clusterFlag/20) { // b may be behind
		a.ticket(fmt.Sprint("last ", i))
		var tape bytes.Buffer
		report, err := b.Backup(ctx, &tape, nil)
		must(t, err)
		if len(report.Missing) > 0 {
			t.Fatalf("missing: %v", report.Missing)
		}
		dir := filepath.Join(t.TempDir(), "restored")
		_, err = Restore(&tape, dir, RestoreOptions{})
		must(t, err)
		s := openBolt(t, dir)
		if _, err := s.Find(ctx, deal, passerelle.Requester, fmt.Sprint("last ", i)); err != nil {
			t.Errorf("backup %d: %v", i, err)
		}
		n := 0
		for e, err := range s.Entries(ctx, Query{Status: []Status{Waiting}}) {
			must(t, err)
			for _, f := range e.Event.Files {
				r, err := s.Files().Open(f.Sum)
				must(t, err)
				r.Close()
				n++
			}
		}
		if n != 30 {
			t.Errorf("%d files are restored", n)
		}
		must(t, s.Close())
		if t.Failed() {
			break
		}
	}
	close(stop)
	wg.Wait()
}

// stream is the log as an operator reaches it.
func (c *natsCluster) stream() (jetstream.JetStream, jetstream.Stream) {
	c.Helper()
	nc, err := nats.Connect(c.options("").URLs[0])
	must(c, err)
	c.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	must(c, err)
	s, err := js.Stream(context.Background(), "passerelle")
	must(c, err)
	return js, s
}
