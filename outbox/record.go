package outbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"passerelle"
)

// record is an entry as it lies in its bucket: without its event, which is
// written once and read only to be lent or shown, and with the sums of its
// files.
type record struct {
	Entry
	Event *struct{} `json:"event,omitempty"` // always nil: hides Entry.Event from the encoder
	Sums  []string  `json:"sums,omitempty"`
}

// place is where an entry that is not final stands in its queue.
type place struct {
	Contract string          `json:"c"`
	To       passerelle.Side `json:"t"`
	Link     string          `json:"l"`
	Created  time.Time       `json:"at"`
	Before   time.Time       `json:"b,omitzero"`
}

// fileRefs counts what keeps a file alive.
type fileRefs struct {
	Refs   int    `json:"refs"`             // entries that are not final
	Size   int64  `json:"size"`             // bytes
	Object string `json:"object,omitempty"` // what its shelf calls it, where that is not its sum
}

// tx is one operation at work: it decides what it can from what it reads, and
// then writes. What it returns an error for, it must not have begun to write.
// Everything that is not in the tables is passed in, so that the same
// operations in the same order make the same tables.
type tx struct {
	writer
	now  time.Time
	me   string // this gateway among those that share the store; empty if none does
	news news
}

// news is what memory must learn when an operation is on disk.
type news struct {
	entries []step
	looks   []step
	files   map[string]fileRefs // by sum
	purged  bool                // another gateway took words out: they are in unused pages of our replica
}

// readRecord reads an entry without its event.
func readRecord(r reader, id uint64) (*record, error) {
	rec, err := load[record](r, entryBucket, numberKey(id))
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", id, err)
	}
	return rec, nil
}

// readEntry reads an entry with its event.
func readEntry(r reader, id uint64) (*Entry, error) {
	rec, err := readRecord(r, id)
	if err != nil {
		return nil, err
	}
	return readEvent(r, rec)
}

// readEvent adds to an entry its event.
func readEvent(r reader, rec *record) (e *Entry, err error) {
	e = &rec.Entry
	e.Event, err = load[passerelle.Event](r, eventBucket, numberKey(e.ID))
	if err != nil { // every entry was written with one: this is no ErrNotFound
		return nil, fmt.Errorf("entry %d: its event: %v (%s)", e.ID, err, restoreHint)
	}
	return e, nil
}

// fresh is an entry on its way into the store: its event is encoded before the
// committing goroutine has it.
type fresh struct {
	record
	event  []byte
	files  map[string]fileRefs // as they are if nobody else refers to them
	stored Entry               // what became of it
}

func newFresh(e *Entry, object func(sum string) string) (*fresh, error) {
	f := &fresh{record: record{Entry: *e}, files: map[string]fileRefs{}}
	f.Entry.Event, f.Decisions, f.Wrote = nil, slices.Clone(e.Decisions), slices.Clone(e.Wrote)
	if e.Event == nil {
		return nil, errors.New("an entry without an event")
	}
	raw, err := json.Marshal(e.Event)
	if err != nil {
		return nil, err
	}
	f.event = raw
	for _, file := range e.Event.Files {
		if _, twice := f.files[file.Sum]; !twice && file.Sum != "" {
			f.Sums = append(f.Sums, file.Sum)
		}
		f.files[file.Sum] = fileRefs{Size: file.Size, Object: object(file.Sum)}
	}
	return f, f.startStatus()
}

// startStatus fills the status that an entry begins with, and refuses what
// cannot be one.
func (f *fresh) startStatus() error {
	switch {
	case f.Status == "" && f.To == "":
		f.Status = Done
	case f.Status == "":
		f.Status = Waiting
	case f.Status == Lent:
		return errors.New("an entry cannot begin lent (leave Status empty)")
	}
	if !f.Status.Final() && f.To == "" {
		return fmt.Errorf("an entry cannot begin %s without To (name the side that shall hear it)", f.Status)
	}
	return nil
}

// addEntry writes a new entry for a link, empty for none.
func (t *tx) addEntry(f *fresh, link *passerelle.Link) {
	r := f.record
	r.ID, r.Schema, r.Created = count(t, entryCounter), EntrySchema, t.now
	if link != nil && r.Link == "" {
		r.Link = link.ID
	}
	if link != nil && r.Contract == "" {
		r.Contract = link.Contract
	}
	if r.Status != Waiting {
		r.Settled = t.now
	}
	f.stored = r.Entry
	t.put(eventBucket, numberKey(r.ID), f.event)
	if n := linkNumber(r.Link); n != 0 {
		t.put(storyBucket, numberKey(n, r.ID), nil)
	}
	t.saveRecord(&r, "")
	if !r.Status.Final() {
		t.countFiles(r.Sums, f.files, 1)
	}
}

// saveRecord writes an entry and moves it in the queue from its old status.
func (t *tx) saveRecord(r *record, old Status) {
	save(t, entryBucket, numberKey(r.ID), r)
	wasQueued := old != "" && !old.Final()
	if wasQueued && old != r.Status {
		t.del(queueBucket, queueKey(old, r.ID))
	}
	if !r.Status.Final() {
		save(t, queueBucket, queueKey(r.Status, r.ID), place{r.Contract, r.To, r.Link, r.Created, r.Before})
	}
	if wasQueued && r.Status.Final() {
		t.countFiles(r.Sums, nil, -1)
	}
	if wasQueued || !r.Status.Final() {
		t.news.entries = append(t.news.entries, r.step())
	}
}

// step is what the lanes learn of an entry. One that is lent, or out of its lane,
// ends whoever had taken it.
func (r *record) step() step {
	return step{
		dest: Dest{r.Contract, r.To}, lane: r.Link, freed: r.Status != Waiting,
		item: item{id: r.ID, status: r.Status, before: r.Before, created: r.Created},
	}
}

// countFiles moves the number of references to each file.
func (t *tx) countFiles(sums []string, unknown map[string]fileRefs, by int) {
	for _, sum := range sums {
		one := unknown[sum]
		refs := &one
		if old, err := load[fileRefs](t, fileBucket, []byte(sum)); err == nil {
			refs = old
		}
		refs.Refs += by
		if refs.Refs = max(refs.Refs, 0); refs.Refs > 0 {
			save(t, fileBucket, []byte(sum), refs)
		} else {
			t.del(fileBucket, []byte(sum))
		}
		if t.news.files == nil {
			t.news.files = map[string]fileRefs{}
		}
		t.news.files[sum] = *refs
	}
}

// wrote notes the names that are its own at the side that hears it; a part may
// be told twice, as sent and as settled.
func (r *record) wrote(names []Name) {
	for _, n := range names {
		if n.Side == r.To && !slices.Contains(r.Wrote, n.Name) {
			r.Wrote = append(r.Wrote, n.Name)
		}
	}
}

// see records names as seen for a link; the first link keeps them.
func (t *tx) see(names []Name, link string) {
	for _, n := range names {
		k := sideKey(n.Contract, n.Side, n.Name)
		if t.get(nameBucket, k) == nil {
			t.put(nameBucket, k, []byte(link))
		}
	}
}

// checkNames refuses what no table could hold.
func checkNames(names []Name) error {
	for _, n := range names {
		if n.Name == "" || len(n.Name) > longestKey {
			return fmt.Errorf("the name %.40q of %d bytes (1 to %d work)", n.Name, len(n.Name), longestKey)
		}
	}
	return nil
}
