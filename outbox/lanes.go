package outbox

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"
)

// recheck bounds a sleep, as the clock of the wall may jump forward meanwhile.
const recheck = time.Minute

// lanes holds in memory what is not final, and hands the heads of due lanes to
// those who wait for one. It knows what is on disk, nothing else: it learns of
// a change when that is committed.
type lanes struct {
	mu    sync.Mutex
	dests map[Dest]*dest
	shut  bool
}

// item is an entry that is not final.
type item struct {
	id      uint64
	status  Status
	before  time.Time
	created time.Time
}

// steady puts a time of the wall on the clock that never jumps: an hour put on
// or back neither hurries an entry nor holds it up.
func steady(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	now := time.Now()
	return now.Add(t.Sub(now.Round(0)))
}

// step is one change of one item.
type step struct {
	dest Dest
	lane string
	item
	freed bool // whoever had taken the lane is done with it
}

// dest is one destination: its lanes and those who wait for work.
type dest struct {
	lanes   map[string]*lane
	ready   laneHeap // due: the one that waits longest first
	later   laneHeap // not due yet: the next one first
	waiters []*waiter
	timer   *time.Timer
	timerAt time.Time
}

// lane is what waits for one link at one destination, by id.
type lane struct {
	key   string
	items []item
	taken bool      // handed out, and not on disk yet
	in    *laneHeap // where it stands, nil if its head is not free to go
	pos   int
	order time.Time // its keys in that heap
	first uint64
}

// waiter is one who waits for a lane. The channel is closed at the end.
type waiter struct{ got chan grant }

// grant is a lane handed out, and the id at its head.
type grant struct {
	lane *lane
	id   uint64
}

func newLanes() *lanes { return &lanes{dests: map[Dest]*dest{}} }

// next hands out a due lane of d, waiting until there is one.
func (q *lanes) next(ctx context.Context, d Dest) (grant, error) {
	if err := ctx.Err(); err != nil {
		return grant{}, err
	}
	w := q.enter(d)
	select {
	case g, ok := <-w.got:
		if !ok {
			return grant{}, ErrClosed
		}
		return g, nil
	case <-ctx.Done():
		q.leave(d, w)
		return grant{}, ctx.Err()
	}
}

// waits tells whether a lane is there that nobody has taken, and that is due by then;
// the zero time is now.
func (q *lanes) waits(d Dest, lane string, by time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.dests[d] == nil || q.shut {
		return false
	}
	l := q.dests[d].lanes[lane]
	if by.IsZero() {
		by = time.Now()
	}
	return l != nil && !l.taken && !l.items[0].before.After(by)
}

func (q *lanes) enter(d Dest) *waiter {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := &waiter{got: make(chan grant, 1)}
	if q.shut {
		close(w.got)
		return w
	}
	at := q.at(d)
	at.waiters = append(at.waiters, w)
	q.dispatch(at)
	return w
}

func (q *lanes) leave(d Dest, w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.at(d)
	if i := slices.Index(at.waiters, w); i >= 0 {
		at.waiters = slices.Delete(at.waiters, i, i+1)
		return
	}
	if g, ok := <-w.got; ok { // handed over at the very moment
		q.release(at, g.lane)
	}
}

// giveBack returns a lane whose head could not be lent.
func (q *lanes) giveBack(d Dest, l *lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.release(q.at(d), l)
}

// free returns all lanes of a contract that are handed out.
func (q *lanes) free(contract string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for to, at := range q.dests {
		if to.Contract != contract {
			continue
		}
		for _, l := range at.lanes {
			if l.taken {
				q.release(at, l)
			}
		}
	}
}

func (q *lanes) release(at *dest, l *lane) {
	l.taken = false
	at.place(l)
	q.dispatch(at)
}

// learn takes in what was committed, in its order.
func (q *lanes) learn(steps []step) {
	if len(steps) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	moved := map[*dest]bool{}
	for _, s := range steps {
		at := q.at(s.dest)
		s.before = steady(s.before)
		at.learn(s)
		moved[at] = true
	}
	for at := range moved {
		q.dispatch(at)
	}
}

// at returns a destination, new if it was not known. The caller holds the lock.
func (q *lanes) at(d Dest) *dest {
	at := q.dests[d]
	if at == nil {
		at = &dest{lanes: map[string]*lane{}}
		q.dests[d] = at
	}
	return at
}

func (d *dest) learn(s step) {
	l := d.lanes[s.lane]
	if l == nil {
		l = &lane{key: s.lane}
		d.lanes[s.lane] = l
	}
	i, known := slices.BinarySearchFunc(l.items, s.id, func(it item, id uint64) int { return cmp.Compare(it.id, id) })
	if i == 0 && s.freed {
		l.taken = false
	}
	switch {
	case s.status.Final() && known && i == 0:
		l.items = l.items[1:] // the common case, in any length of lane
	case s.status.Final() && known:
		l.items = slices.Delete(l.items, i, i+1)
	case s.status.Final():
	case known:
		l.items[i] = s.item
	default:
		l.items = slices.Insert(l.items, i, s.item)
	}
	d.place(l)
}

// place puts a lane where it belongs now.
func (d *dest) place(l *lane) {
	if l.in != nil {
		heap.Remove(l.in, l.pos)
	}
	switch {
	case len(l.items) == 0:
		if d.lanes[l.key] == l { // one that is given back late may have a successor
			delete(d.lanes, l.key)
		}
	case l.items[0].status == Waiting && !l.taken:
		d.push(&d.later, l, l.items[0].before)
	}
}

func (d *dest) push(h *laneHeap, l *lane, order time.Time) {
	l.in, l.order, l.first = h, order, l.items[0].id
	heap.Push(h, l)
}

// dispatch brings together what is due and who waits, and sets the alarm for
// what is due next. The caller holds the lock.
func (q *lanes) dispatch(d *dest) {
	now := time.Now()
	for len(d.later) > 0 && !d.later[0].order.After(now) {
		l := d.later[0]
		heap.Pop(&d.later)
		d.push(&d.ready, l, since(l.items[0]))
	}
	for len(d.ready) > 0 && len(d.waiters) > 0 {
		l, w := d.ready[0], d.waiters[0]
		heap.Pop(&d.ready)
		d.waiters = slices.Delete(d.waiters, 0, 1)
		l.taken = true
		w.got <- grant{l, l.first}
	}
	q.alarm(d, now)
}

// since tells from when on an item could have been lent.
func since(it item) time.Time {
	if it.before.IsZero() {
		return it.created
	}
	return it.before
}

// due is since when the head of a lane could have been handed out, the longest
// of all; zero if none is due. The caller holds the lock.
func (d *dest) due(now time.Time) time.Time {
	var oldest time.Time
	if len(d.ready) > 0 {
		oldest = d.ready[0].order
	}
	if len(d.later) > 0 && !d.later[0].order.After(now) {
		if at := since(d.later[0].items[0]); oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	return oldest
}

func (q *lanes) alarm(d *dest, now time.Time) {
	if len(d.waiters) == 0 || len(d.later) == 0 || q.shut {
		if d.timer != nil {
			d.timer.Stop()
			d.timer = nil
		}
		return
	}
	next := d.later[0].order
	if d.timer != nil {
		if d.timerAt.Equal(next) {
			return
		}
		d.timer.Stop()
	}
	d.timerAt = next
	d.timer = time.AfterFunc(min(next.Sub(now), recheck), func() { q.ring(d) })
}

// ring is the alarm: it runs for a moment, in no goroutine that could be left.
func (q *lanes) ring(d *dest) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d.timer = nil
	if !q.shut {
		q.dispatch(d)
	}
}

// close sends home everyone who waits.
func (q *lanes) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.shut = true
	for _, d := range q.dests {
		for _, w := range d.waiters {
			close(w.got)
		}
		d.waiters = nil
		q.alarm(d, time.Now())
	}
}

// laneHeap is a heap of lanes by order, then by id.
type laneHeap []*lane

func (h laneHeap) Len() int { return len(h) }
func (h laneHeap) Less(i, j int) bool {
	if c := h[i].order.Compare(h[j].order); c != 0 {
		return c < 0
	}
	return h[i].first < h[j].first
}
func (h laneHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}

// Push is for container/heap.
func (h *laneHeap) Push(x any) {
	l := x.(*lane)
	l.pos = len(*h)
	*h = append(*h, l)
}

// Pop is for container/heap.
func (h *laneHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	l.in = nil
	return l
}
