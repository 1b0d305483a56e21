package outbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"passerelle"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// maker opens a store: empty the first time, then again with what it held.
type maker func(t testing.TB) Store

// stores are all that the suite holds for. A new kind of store is one line.
func stores() map[string]func(t testing.TB) maker {
	all := map[string]func(t testing.TB) maker{
		"mem": func(testing.TB) maker {
			kv, shelf := newMemory(), newCupboard()
			return func(t testing.TB) Store {
				kv.shut = false
				s, err := open(kv, shelf)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
		},
		"bolt": func(t testing.TB) maker {
			dir := t.TempDir()
			return func(t testing.TB) Store { return openBolt(t, dir) }
		},
		"nats": natsMaker(1),
	}
	if *clusterFlag >= 100 { // make cluster: three servers take some seconds to begin
		all["nats on three"] = natsMaker(3)
	}
	return all
}

func openBolt(t testing.TB, dir string) Store {
	t.Helper()
	s, err := OpenBolt(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rig drives a store and the model together, and compares each answer.
type rig struct {
	testing.TB
	ctx  context.Context
	open maker
	s    Store
	m    *model
}

// eachStore runs a test over every kind of store, in a bubble where time moves
// only when all sleep, and ends it with a full comparison.
func eachStore(t *testing.T, test func(r *rig)) {
	for name, prepare := range stores() {
		t.Run(name, func(t *testing.T) {
			open := prepare(t)
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, open)
				defer func() { r.s.Close() }()
				test(r)
				r.readBack()
				r.reopen()
				r.readBack()
			})
		})
	}
}

func newRig(t testing.TB, open maker) *rig {
	return &rig{TB: t, ctx: context.Background(), open: open, s: open(t), m: newModel()}
}

func (r *rig) reopen() {
	r.Helper()
	r.must(r.s.Close())
	r.s = r.open(r.TB)
	r.m.reopen()
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// same compares what the store and the model say of one thing.
func (r *rig) same(what string, got, want any) {
	r.Helper()
	a, errA := json.Marshal(got)
	b, errB := json.Marshal(want)
	if errA == nil && errB == nil && bytes.Equal(a, b) {
		return // the quick way
	}
	if d := gocmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Stats{}, "LooksAt", "Due", "LooksDue", "Committing", "Led", "Rejected", "Size", "Unused")); d != "" {
		r.Fatalf("%s (- model, + store):\n%s", what, d)
	}
}

func (r *rig) sameError(what string, got, want error) bool {
	r.Helper()
	if want == nil && got == nil {
		return true
	}
	if want == nil || !errors.Is(got, want) {
		r.Fatalf("%s: store says %v, model says %v", what, got, want)
	}
	return false
}

// append gives a change to both; it returns what both said.
func (r *rig) append(c *Change) error {
	r.Helper()
	mine := copyChange(c)
	want := r.m.append(mine)
	got := r.s.Append(r.ctx, c)
	if r.sameError("append", got, want) {
		r.same("appended link", c.Link, mine.Link)
		r.same("appended entries", c.Entries, mine.Entries)
	}
	return got
}

func copyChange(c *Change) *Change {
	mine := *c
	mine.Link, mine.Entries = copyOf(c.Link), copyAll(c.Entries)
	return &mine
}

func copyAll(es []*Entry) []*Entry {
	var mine []*Entry
	for _, e := range es {
		mine = append(mine, copyOf(e))
	}
	return mine
}

// next lends what the model says is due; nil, after an hour of waiting, if that
// is nothing.
func (r *rig) next(d Dest) *Entry {
	r.Helper()
	want := r.m.due(d)
	if want == nil {
		ctx, cancel := context.WithTimeout(r.ctx, time.Nanosecond)
		defer cancel()
		if e, err := r.s.Next(ctx, d); !errors.Is(err, context.DeadlineExceeded) {
			r.Fatalf("next lends %+v, %v where nothing is due", e, err)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(r.ctx, time.Minute)
	defer cancel()
	got, err := r.s.Next(ctx, d)
	if err != nil {
		r.Fatalf("next: %v, where entry %d is due", err, want.ID)
	}
	r.m.lend(want)
	r.same("lent entry", got, want)
	return got
}

func (r *rig) sent(e *Entry, parts int, names ...Name) error {
	r.Helper()
	want := r.m.sent(e, parts, names)
	got := r.s.Sent(r.ctx, e, parts, names)
	if r.sameError("sent", got, want) {
		r.same("sent entry", e, r.m.entry(e.ID))
	}
	return got
}

func (r *rig) settle(e *Entry, o Outcome) error {
	r.Helper()
	mine := o
	mine.Follow = copyAll(o.Follow)
	want := r.m.settle(e, mine)
	got := r.s.Settle(r.ctx, e, o)
	if r.sameError("settle", got, want) {
		r.same("settled entry", e, r.m.entry(e.ID))
		r.same("following entries", o.Follow, mine.Follow)
	}
	return got
}

func (r *rig) look(l Look) {
	r.Helper()
	r.m.look(l)
	r.must(r.s.Look(r.ctx, l))
}

func (r *rig) nextLook(d Dest) *Look {
	r.Helper()
	want := r.m.lookDue(d)
	ctx, cancel := context.WithTimeout(r.ctx, time.Nanosecond)
	defer cancel()
	got, err := r.s.NextLook(ctx, d)
	if want == nil {
		if !errors.Is(err, context.DeadlineExceeded) {
			r.Fatalf("next look: %+v, %v where nothing is due", got, err)
		}
		return nil
	}
	r.must(err)
	same := r.m.looks[lookID(*got)]
	if orElse(same.Before, same.Since).After(orElse(want.Before, want.Since)) {
		r.Fatalf("next look is %+v, but %+v is due before", got, want)
	}
	r.m.reading[lookID(*got)] = true
	r.same("look", got, same)
	return got
}

func (r *rig) looked(l *Look, again time.Time, err error) {
	r.Helper()
	r.m.looked(l, again, err)
	r.must(r.s.Looked(r.ctx, l, again, err))
}

func (r *rig) retry(id uint64, d Decision) error {
	r.Helper()
	want := r.m.retry(id, d)
	got, err := r.s.Retry(r.ctx, id, d)
	if r.sameError("retry", err, want) {
		r.same("retried entry", got, r.m.entry(id))
	}
	return err
}

func (r *rig) drop(id uint64, d Decision) error {
	r.Helper()
	want := r.m.drop(id, d)
	got, err := r.s.Drop(r.ctx, id, d)
	if r.sameError("drop", err, want) {
		r.same("dropped entry", got, r.m.entry(id))
	}
	return err
}

// purge purges a link in both, and compares the links at rest.
func (r *rig) purge(id string, o PurgeOrder) (*Purged, error) {
	r.Helper()
	want, wantErr := r.m.purge(id, o)
	got, err := r.s.Purge(r.ctx, id, o)
	if r.sameError("purge", err, wantErr) {
		r.same("purged", got, want)
		r.must(r.s.Scrub(r.ctx))
	}
	return got, err
}

// readResting compares what is at rest since before a moment.
func (r *rig) readResting(before time.Time) []*passerelle.Link {
	r.Helper()
	var got []*passerelle.Link
	for l, err := range r.s.Resting(r.ctx, before) {
		r.must(err)
		got = append(got, l)
	}
	r.same("resting", got, r.m.resting(before))
	return got
}

func (r *rig) keep(key, value string) {
	r.Helper()
	r.m.kept[key] = value
	r.must(r.s.Keep(r.ctx, key, value))
}

// skip lets the next own number be n further on, as Restore does.
func (r *rig) skip(n int) {
	r.Helper()
	r.m.own += n
	r.must(r.s.(*engine).commit.do(func(t *tx) error {
		t.skip(ownCounter, uint64(n))
		return nil
	}))
}

// put spools a text, and returns its file, pinned.
func (r *rig) put(text string) passerelle.File {
	r.Helper()
	f, err := r.s.Files().Put(r.ctx, strings.NewReader(text))
	r.must(err)
	sum := sha256.Sum256([]byte(text))
	r.same("spooled file", f, passerelle.File{Size: int64(len(text)), Sum: hex.EncodeToString(sum[:])})
	r.m.pins[f.Sum]++
	return f
}

func (r *rig) release(f passerelle.File) {
	if r.m.pins[f.Sum] > 0 {
		r.m.pins[f.Sum]--
	}
	r.s.Files().Release(f)
}

// fileText reads a file of the spool, "" if it is gone.
func (r *rig) fileText(sum string) string {
	r.Helper()
	synctest.Wait() // files go after the answer that ends their last use
	f, err := r.s.Files().Open(sum)
	if errors.Is(err, passerelle.ErrNotFound) {
		return ""
	}
	r.must(err)
	defer f.Close()
	b, err := io.ReadAll(f)
	r.must(err)
	return string(b)
}

// readBack compares all that the store can say with the model.
func (r *rig) readBack() {
	r.Helper()
	r.readLinks()
	r.readEntries()
	r.readNames()
	r.readFiles()
	r.readResting(time.Now())
	r.readResting(time.Now().Add(time.Hour))
	for key, want := range r.m.kept {
		got, err := r.s.Kept(r.ctx, key)
		r.must(err)
		r.same("kept "+key, got, want)
	}
	st, err := r.s.Stats(r.ctx)
	r.must(err)
	r.same("stats", st, r.m.stats())
}

func (r *rig) readLinks() {
	r.Helper()
	var links []*passerelle.Link
	for l, err := range r.s.Links(r.ctx) {
		r.must(err)
		links = append(links, l)
	}
	r.same("links", links, r.m.links)
	r.readOpen(deal)
	for _, l := range r.m.links {
		for _, side := range []passerelle.Side{passerelle.Requester, passerelle.Partner, passerelle.Broker} {
			for _, key := range []string{l.Ref(side).Key, l.Ref(side).Number} {
				r.readLink(l.Contract, side, key)
			}
		}
	}
}

// readLink compares what Find finds, and returns it; nil for nothing.
func (r *rig) readLink(contract string, side passerelle.Side, key string) *passerelle.Link {
	r.Helper()
	want := r.m.find(contract, side, key)
	got, err := r.s.Find(r.ctx, contract, side, key)
	if errors.Is(err, passerelle.ErrNotFound) {
		got, err = nil, nil
	}
	r.must(err)
	r.same("link "+key, got, want)
	return got
}

func (r *rig) readEntries() {
	r.Helper()
	r.query(Query{})
	for _, s := range []Status{Waiting, Lent, Parked, Done, Refused, Superseded, Dropped} {
		r.query(Query{Status: []Status{s}})
	}
	r.query(Query{Status: []Status{Waiting, Lent, Parked}})
	for _, l := range r.m.links {
		r.query(Query{Link: l.ID})
	}
	for _, want := range r.m.entries {
		got, err := r.s.Entry(r.ctx, want.ID)
		r.must(err)
		r.same("entry", got, want)
	}
}

func (r *rig) query(q Query) {
	r.Helper()
	var got []*Entry
	for e, err := range r.s.Entries(r.ctx, q) {
		r.must(err)
		got = append(got, e)
	}
	r.same("entries", got, r.m.query(q))
}

func (r *rig) readNames() {
	r.Helper()
	for n := range r.m.names {
		seen, err := r.s.Seen(r.ctx, n, Name{n.Contract, n.Side, n.Name + "?"})
		r.must(err)
		r.same("seen", seen, map[string]bool{n.Name: true, n.Name + "?": false})
	}
}

func (r *rig) readFiles() {
	r.Helper()
	there := r.m.files()
	for _, e := range r.m.entries {
		for _, f := range e.Event.Files {
			if got := r.fileText(f.Sum) != ""; got != there[f.Sum] {
				r.Fatalf("file %s of entry %d (%s): there %t, should be %t", f.Sum, e.ID, e.Status, got, there[f.Sum])
			}
		}
	}
}
