package outbox

import (
	"context"
	"iter"
	"math"
	"slices"
	"time"

	"passerelle"
)

// page is how many entries are read in one transaction: a reader that dawdles
// must not keep one open, as the file could not grow meanwhile.
const page = 200

// Entries implements Store. It reads as it goes: what changes meanwhile is seen
// in its old or its new form.
func (s *engine) Entries(ctx context.Context, q Query) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		after, left := q.After, q.Limit
		if left <= 0 {
			left = math.MaxInt
		}
		for more := true; more && left > 0; {
			var found []*Entry
			err := s.view(ctx, "entries", func(r reader) (err error) {
				found, after, more, err = q.page(r, after)
				return err
			})
			if err != nil {
				yield(nil, err)
				return
			}
			found = found[:min(left, len(found))]
			left -= len(found)
			for _, e := range found {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// page reads the entries among the next ids after the given one.
func (q *Query) page(r reader, after uint64) (found []*Entry, last uint64, more bool, err error) {
	ids := q.ids(r, after)
	for _, id := range ids {
		e, err := q.read(r, id)
		if err != nil {
			return nil, 0, false, err
		}
		if e != nil {
			found = append(found, e)
		}
		after = id
	}
	return found, after, len(ids) == page, nil
}

// read returns an entry if it is asked for.
func (q *Query) read(r reader, id uint64) (*Entry, error) {
	rec, err := readRecord(r, id)
	if err != nil {
		return nil, err
	}
	if !q.wants(rec) {
		return nil, nil
	}
	if q.Bare {
		return &rec.Entry, nil
	}
	return readEvent(r, rec)
}

func (q *Query) wants(r *record) bool {
	return (q.Link == "" || r.Link == q.Link) &&
		(q.Contract == "" || r.Contract == q.Contract) &&
		(q.To == "" || r.To == q.To) &&
		(len(q.Status) == 0 || slices.Contains(q.Status, r.Status))
}

// ids returns a page of ids after the given one, in order, from the shortest
// index that holds all that is asked for.
func (q *Query) ids(r reader, after uint64) []uint64 {
	queued := len(q.Status) > 0 && !slices.ContainsFunc(q.Status, Status.Final)
	switch {
	case after == math.MaxUint64:
		return nil
	case q.Link != "":
		n := linkNumber(q.Link)
		return pageWhere(r, storyBucket, numberKey(n), numberKey(n, after+1), func(id uint64, _ []byte) bool {
			return !queued || slices.ContainsFunc(q.Status, func(s Status) bool { return r.get(queueBucket, queueKey(s, id)) != nil })
		})
	case !queued:
		return pageOf(r, entryBucket, nil, numberKey(after+1))
	}
	var ids []uint64
	for _, s := range q.Status {
		ids = append(ids, pageWhere(r, queueBucket, []byte{s[0]}, queueKey(s, after+1), q.at)...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	return ids[:min(len(ids), page)]
}

// at tells whether a place in the queue may be asked for. Of one that cannot be
// read, its entry tells.
func (q *Query) at(_ uint64, raw []byte) bool {
	if q.Contract == "" && q.To == "" {
		return true
	}
	p, err := decode[place](queueBucket, nil, raw)
	return err != nil || (q.Contract == "" || p.Contract == q.Contract) && (q.To == "" || p.To == q.To)
}

// pageOf reads ids that end the keys of an index.
func pageOf(r reader, b bucket, prefix, from []byte) []uint64 {
	return pageWhere(r, b, prefix, from, func(uint64, []byte) bool { return true })
}

// pageWhere reads those that are wanted, by their id and value.
func pageWhere(r reader, b bucket, prefix, from []byte, wanted func(id uint64, value []byte) bool) []uint64 {
	var ids []uint64
	for k, v := range r.scan(b, prefix, from) {
		id := number(k[len(prefix):])
		if !wanted(id, v) {
			continue
		}
		if ids = append(ids, id); len(ids) == page {
			break
		}
	}
	return ids
}

// Links implements Store: all links, the oldest first. It reads as it goes.
func (s *engine) Links(ctx context.Context) iter.Seq2[*passerelle.Link, error] {
	return func(yield func(*passerelle.Link, error) bool) {
		var after uint64
		for more := true; more; {
			var found []*passerelle.Link
			err := s.view(ctx, "links", func(r reader) (err error) {
				found, after, err = linkPage(r, after)
				return err
			})
			if err != nil {
				yield(nil, err)
				return
			}
			for _, l := range found {
				if !yield(l, nil) {
					return
				}
			}
			more = len(found) == page
		}
	}
}

func linkPage(r reader, after uint64) ([]*passerelle.Link, uint64, error) {
	var found []*passerelle.Link
	for _, n := range pageOf(r, linkBucket, nil, numberKey(after+1)) {
		l, err := readLink(r, n)
		if err != nil {
			return nil, 0, err
		}
		found, after = append(found, l), n
	}
	return found, after, nil
}

// Stats implements Store, from memory.
func (s *engine) Stats(ctx context.Context) (*Stats, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	st := &Stats{
		ByStatus:      map[Dest]map[Status]int{},
		OldestWaiting: map[Dest]time.Time{},
		Blocked:       map[Dest]int{},
		Due:           s.queue.due(),
		LooksDue:      s.looks.due(),
		Committing:    s.commit.since(),
	}
	if s.shared != nil {
		st.Led = s.shared.leading()
	}
	if r, ok := s.kv.(*replicated); ok {
		st.Rejected = r.rejections()
	}
	s.queue.tell(st)
	st.LooksAt = s.looks.sizes()
	for _, n := range st.LooksAt {
		st.Looks += n
	}
	return st, nil
}

// tell counts what is not final.
func (q *lanes) tell(st *Stats) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for d, at := range q.dests {
		for _, l := range at.lanes {
			if l.items[0].status == Parked {
				st.Blocked[d]++
			}
			for _, it := range l.items {
				st.count(d, it)
			}
		}
	}
}

func (st *Stats) count(d Dest, it item) {
	if st.ByStatus[d] == nil {
		st.ByStatus[d] = map[Status]int{}
	}
	st.ByStatus[d][it.status]++
	if old, ok := st.OldestWaiting[d]; !ok || it.created.Before(old) {
		st.OldestWaiting[d] = it.created
	}
}

// due tells for each destination since when something could have been handed
// out, where something could.
func (q *lanes) due() map[Dest]time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := map[Dest]time.Time{}
	for d, at := range q.dests {
		if t := at.due(time.Now()); !t.IsZero() {
			out[d] = t
		}
	}
	return out
}

// sizes counts the lanes of each destination.
func (q *lanes) sizes() map[Dest]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := map[Dest]int{}
	for d, at := range q.dests {
		out[d] = len(at.lanes)
	}
	return out
}
