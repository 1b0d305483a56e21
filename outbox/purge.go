package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"passerelle"
)

// Purger takes out of a store what people wrote on tickets that are over.
type Purger interface {
	// Purge takes the words of one link's final entries out: fields, names of
	// files, errors and notes. Of each a Trace stays; so do who and when, the rule,
	// the names of facts, people's decisions. Of a link at rest the facts go too,
	// but for those that o.Keep names. The ticket's story says who had it purged
	// and why. It refuses a link that is not at rest (ErrAwake), or has entries that
	// are not final (ErrUnsettled), unless o.Force: then these alone are left as
	// they are, to be delivered in full, and Purged counts them.
	//
	// It goes on in steps, so that it holds nobody up; what an interrupted one has
	// done stays done. What it took out is still in unused parts of the disk until
	// Scrub.
	Purge(ctx context.Context, link string, o PurgeOrder) (*Purged, error)
	// Resting are the links that have been at rest since before a moment and were
	// not purged in that time, the longest first. It reads as it goes.
	Resting(ctx context.Context, before time.Time) iter.Seq2[*passerelle.Link, error]
	// Scrub returns when the disk holds no byte of what was purged before it was
	// asked, as far as a program can see to that. ErrReading: somebody read all the
	// while, as a backup does; ask again later.
	Scrub(ctx context.Context) error
}

// PurgeOrder is why a link is purged, and how.
type PurgeOrder struct {
	Decision Decision // By and Why; required
	Force    bool     // though it is not at rest, or entries are not final
	Keep     []string // facts of the link that hold no words
}

// Purged tells what a purge took out.
type Purged struct {
	Entries int   `json:"entries"` // that had words
	Files   int   `json:"files"`   // whose names went
	Bytes   int64 `json:"bytes"`   // of words
	Waiting int   `json:"waiting"` // entries that are not final: they keep their words
}

// The errors of Purge and Scrub that callers ask about.
var (
	ErrAwake     = errors.New("the ticket is not closed, rejected or out of the interface")
	ErrUnsettled = errors.New("something of it waits to be delivered or decided about")
	ErrReading   = errors.New("somebody reads the store all the time, as a backup does")
)

// PurgeRule is the rule of the entry that tells of a purge.
const PurgeRule = "RGPD"

// AtRest tells whether nothing is exchanged in a state until somebody begins
// anew: the words of such a ticket are needed no more.
func AtRest(s passerelle.State) bool {
	switch s {
	case passerelle.Closed, passerelle.Rejected, passerelle.Left, passerelle.New:
		return true
	}
	return false
}

// restBucket holds two rows for each link at rest that is not purged: 'l' and
// its number → since when; 't', that time and the number → nothing.
const restBucket bucket = "rest"

func restOf(n uint64) []byte { return append([]byte{'l'}, numberKey(n)...) }

// restAt orders by time.
func restAt(since, n uint64) []byte { return append([]byte{'t'}, numberKey(since, n)...) }

// rest keeps the index of links at rest, when a link is written. A ticket rests
// from its change of state on, whatever comes late.
func (t *tx) rest(l, old *passerelle.Link) {
	n, was := linkNumber(l.ID), old != nil && AtRest(old.State)
	switch {
	case !AtRest(l.State):
		if was {
			t.wake(n)
		}
	case was && old.State == l.State && t.get(restBucket, restOf(n)) != nil:
	default:
		t.wake(n)
		t.restSince(n, t.now)
	}
}

func (t *tx) restSince(n uint64, since time.Time) {
	at := uint64(max(since.Unix(), 0))
	t.put(restBucket, restOf(n), numberKey(at))
	t.put(restBucket, restAt(at, n), nil)
}

// wake takes a link out of the index.
func (t *tx) wake(n uint64) {
	if since := t.get(restBucket, restOf(n)); since != nil {
		at := restAt(number(since), n)
		t.del(restBucket, restOf(n))
		t.del(restBucket, at)
	}
}

// Resting implements Purger.
func (s *engine) Resting(ctx context.Context, before time.Time) iter.Seq2[*passerelle.Link, error] {
	return func(yield func(*passerelle.Link, error) bool) {
		from := []byte{'t'}
		for more := true; more; {
			var found []*passerelle.Link
			err := s.view(ctx, "resting", func(r reader) (err error) {
				found, from, more, err = restingPage(r, from, before)
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

// restingPage reads a page of the index from a key on, and where the next begins.
func restingPage(r reader, from []byte, before time.Time) (found []*passerelle.Link, next []byte, more bool, err error) {
	var ids []uint64
	for k := range r.scan(restBucket, []byte{'t'}, from) {
		if len(k) != 17 || number(k[1:9]) >= uint64(max(before.Unix(), 0)) {
			break
		}
		ids, next = append(ids, number(k[9:])), append(slices.Clone(k), 0)
		if len(ids) == page {
			break
		}
	}
	for _, n := range ids {
		l, err := readLink(r, n)
		if err != nil {
			return nil, nil, false, err
		}
		found = append(found, l)
	}
	return found, next, len(ids) == page, nil
}

// Purge implements Purger.
func (s *engine) Purge(ctx context.Context, link string, o PurgeOrder) (*Purged, error) {
	if o.Decision.By == "" || o.Decision.Why == "" {
		return nil, fmt.Errorf("outbox: purge: link %s: a decision needs By and Why", link)
	}
	n, total := linkNumber(link), &Purged{}
	if err := s.mayPurge(ctx, n, o.Force); err != nil {
		return nil, err
	}
	var after uint64
	for more := true; more; {
		var step Purged
		var last uint64
		err := s.do(ctx, "purge", func(t *tx) (err error) {
			step, last, more, err = t.purge(n, after, o.Force)
			return err
		})
		if err != nil {
			return total, err
		}
		total.add(step)
		after = last
	}
	return total, s.do(ctx, "purge", func(t *tx) error { return t.purged(n, &o, *total) })
}

func (p *Purged) add(q Purged) {
	p.Entries, p.Files, p.Bytes, p.Waiting = p.Entries+q.Entries, p.Files+q.Files, p.Bytes+q.Bytes, p.Waiting+q.Waiting
}

// mayPurge refuses before anything is taken out.
func (s *engine) mayPurge(ctx context.Context, n uint64, force bool) error {
	var after uint64
	for more := true; more; {
		err := s.view(ctx, "purge", func(r reader) error {
			l, err := readLink(r, n)
			if err != nil {
				return err
			}
			if err := awake(l, force); err != nil {
				return err
			}
			ids := pageOf(r, storyBucket, numberKey(n), numberKey(n, after+1))
			for _, id := range ids {
				rec, err := readRecord(r, id)
				if err == nil && !force && !rec.Status.Final() {
					err = fmt.Errorf("%s: entry %d is %s: %w", l.Names(), id, rec.Status, ErrUnsettled)
				}
				if err != nil {
					return err
				}
				after = id
			}
			more = len(ids) == page
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func awake(l *passerelle.Link, force bool) error {
	if force || AtRest(l.State) {
		return nil
	}
	return fmt.Errorf("%s is %s: %w", l.Names(), l.State, ErrAwake)
}

// purge takes the words out of the final ones among the next entries after one.
func (t *tx) purge(n, after uint64, force bool) (did Purged, last uint64, more bool, err error) {
	l, err := readLink(t, n)
	if err == nil {
		err = awake(l, force) // it may have moved since the last step
	}
	if err != nil {
		return did, after, false, err
	}
	ids := pageOf(t, storyBucket, numberKey(n), numberKey(n, after+1))
	var taken []stripped
	for _, id := range ids {
		s, err := t.strip(id, &did)
		if err != nil {
			return Purged{}, after, false, err
		}
		if s.record != nil {
			taken = append(taken, s)
		}
		after = id
	}
	for _, s := range taken { // nothing is written before all is read
		s.write(t)
	}
	if len(taken) > 0 {
		t.put(keptBucket, []byte(scrubKey), numberKey(uint64(t.now.UnixNano())))
	}
	return did, after, len(ids) == page, nil
}

// stripped is an entry that is to lose its words.
type stripped struct {
	record *record // nil: it has none
	event  *passerelle.Event
}

// strip reads an entry without its words.
func (t *tx) strip(id uint64, did *Purged) (stripped, error) {
	r, err := readRecord(t, id)
	if err != nil {
		return stripped{}, err
	}
	if !r.Status.Final() {
		did.Waiting++
		return stripped{}, nil
	}
	e, err := load[passerelle.Event](t, eventBucket, numberKey(id))
	if err != nil {
		return stripped{}, fmt.Errorf("entry %d: its event: %v (%s)", id, err, restoreHint)
	}
	bare, trace := Strip(e)
	names := slices.ContainsFunc(e.Files, func(f passerelle.File) bool { return f.Name != "" || f.MIME != "" })
	if trace == nil && !names && r.Error == "" {
		return stripped{}, nil
	}
	if trace != nil || names { // how it went may name whose words they were, or the file
		r.Note = ""
	}
	if trace == nil {
		trace = cmp.Or(r.Trace, &Trace{})
	}
	if did.Entries++; names {
		did.Files += len(e.Files)
	}
	if trace != r.Trace {
		did.Bytes += trace.Bytes
	}
	if trace.Purged = t.now; r.Error != "" {
		trace.Error = sumOf([]byte(r.Error))
	}
	r.Trace, r.Error = trace, ""
	return stripped{r, bare}, nil
}

func (s stripped) write(t *tx) {
	save(t, eventBucket, numberKey(s.record.ID), s.event)
	t.saveRecord(s.record, s.record.Status)
}

// purged ends a purge: the link has lost its facts, and its story says why.
func (t *tx) purged(n uint64, o *PurgeOrder, total Purged) error {
	old, err := readLink(t, n)
	if err != nil {
		return err
	}
	d := o.Decision
	if d.Verb = "purge"; d.At.IsZero() {
		d.At = t.now
	}
	told, err := newFresh(&Entry{Contract: old.Contract, Terms: old.Terms, State: old.State, Turn: old.Turn, Rule: PurgeRule, Status: Done,
		Note:      fmt.Sprintf("purged: %d entries, %d bytes", total.Entries, total.Bytes),
		Event:     &passerelle.Event{Contract: old.Contract, From: passerelle.Broker, Kind: passerelle.Note, At: t.now},
		Decisions: []Decision{d}}, noObject)
	if err != nil {
		return err
	}
	l := old.Clone()
	l.Purged = t.now
	if AtRest(l.State) {
		for name := range old.Facts {
			if !slices.Contains(o.Keep, name) {
				delete(l.Facts, name)
			}
		}
	}
	t.saveLink(l, old)
	t.put(keptBucket, []byte(scrubKey), numberKey(uint64(t.now.UnixNano()))) // the link's old form had facts
	if total.Waiting == 0 {
		t.wake(n)
	}
	if total.Entries > 0 || old.Purged.IsZero() {
		t.addEntry(told, l)
	}
	return nil
}

// noObject is for an entry without files.
func noObject(string) string { return "" }

// indexedKey says, in meta, that every link at rest is in the index: one that an
// older program wrote has none.
const indexedKey = "rest"

// indexRest makes the index in a store that an older program wrote: a link rests
// from its last change of state on. A store without links has nothing to index.
func indexRest(kv backend) error {
	for after, next, more := uint64(0), uint64(0), true; more; after = next {
		err := kv.update(func(w writer) error {
			if w.get(metaBucket, []byte(indexedKey)) != nil {
				more = false
				return cmp.Or(w.err(), errNothing)
			}
			found, err := linksAfter(w, after, indexStep)
			if err != nil {
				return err
			}
			t := &tx{writer: w}
			for _, l := range found {
				if n := linkNumber(l.ID); AtRest(l.State) && l.Purged.IsZero() && w.get(restBucket, restOf(n)) == nil {
					t.restSince(n, l.Moved)
				}
			}
			if more = len(found) == indexStep; more {
				next = linkNumber(found[indexStep-1].ID)
			} else {
				w.put(metaBucket, []byte(indexedKey), numberKey(1))
			}
			if w.writes() == 0 {
				return errNothing
			}
			return nil
		}, func() {})
		if err != nil && !errors.Is(err, errNothing) {
			return err
		}
	}
	return nil
}
