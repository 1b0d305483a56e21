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
		return idsWhere(r, storyBucket, numberKey(n), numberKey(n, after+1), page, func(id uint64, _ []byte) bool {
			return !queued || slices.ContainsFunc(q.Status, func(s Status) bool { return r.get(queueBucket, queueKey(s, id)) != nil })
		})
	case !queued:
		return pageOf(r, entryBucket, nil, numberKey(after+1))
	}
	var ids []uint64
	for _, s := range q.Status {
		ids = append(ids, idsWhere(r, queueBucket, []byte{s[0]}, queueKey(s, after+1), page, q.at)...)
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

// pageOf reads a page of ids that end the keys of an index.
func pageOf(r reader, b bucket, prefix, from []byte) []uint64 {
	return idsOf(r, b, prefix, from, page)
}

func idsOf(r reader, b bucket, prefix, from []byte, most int) []uint64 {
	return idsWhere(r, b, prefix, from, most, func(uint64, []byte) bool { return true })
}

// idsWhere reads those that are wanted, by their id and value.
func idsWhere(r reader, b bucket, prefix, from []byte, most int, wanted func(id uint64, value []byte) bool) []uint64 {
	var ids []uint64
	for k, v := range r.scan(b, prefix, from) {
		id := number(k[len(prefix):])
		if !wanted(id, v) {
			continue
		}
		if ids = append(ids, id); len(ids) == most {
			break
		}
	}
	return ids
}

// Links implements Store: all links, the oldest first. It reads as it goes.
func (s *engine) Links(ctx context.Context) iter.Seq2[*passerelle.Link, error] {
	return s.linksOf(ctx, "links", linkBucket, nil)
}

// linksOf reads the links whose numbers end the keys of an index.
func (s *engine) linksOf(ctx context.Context, verb string, index bucket, prefix []byte) iter.Seq2[*passerelle.Link, error] {
	return func(yield func(*passerelle.Link, error) bool) {
		var after uint64
		for more := true; more; {
			var found []*passerelle.Link
			err := s.view(ctx, verb, func(r reader) (err error) {
				numbers := pageOf(r, index, prefix, slices.Concat(prefix, numberKey(after+1)))
				if more = len(numbers) == page; more {
					after = numbers[page-1]
				}
				found, err = readLinks(r, numbers)
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
		}
	}
}

// linksAfter reads the links after a number, so many at most.
func linksAfter(r reader, after uint64, most int) ([]*passerelle.Link, error) {
	return readLinks(r, idsOf(r, linkBucket, nil, numberKey(after+1), most))
}

func readLinks(r reader, numbers []uint64) ([]*passerelle.Link, error) {
	var found []*passerelle.Link
	for _, n := range numbers {
		l, err := readLink(r, n)
		if err != nil {
			return nil, err
		}
		found = append(found, l)
	}
	return found, nil
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
	if b := s.kv.copied(); b != nil {
		st.Size, st.Unused = b.size(), b.unused()
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
		if len(at.lanes) > 0 {
			st.ByStatus[d], st.OldestWaiting[d], st.Blocked[d] = at.tell()
		}
		if st.Blocked[d] == 0 {
			delete(st.Blocked, d)
		}
	}
}

// tell counts what is not final at one destination: by its status, since when the
// oldest is there, and the lanes whose head is parked. The caller holds the lock,
// and others wait for it.
func (d *dest) tell() (counts map[Status]int, oldest time.Time, blocked int) {
	counts = map[Status]int{}
	for _, l := range d.lanes {
		if l.items[0].status == Parked {
			blocked++
		}
		for i := range l.items {
			counts[l.items[i].status]++
			if at := l.items[i].created; oldest.IsZero() || at.Before(oldest) {
				oldest = at
			}
		}
	}
	return counts, oldest, blocked
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
