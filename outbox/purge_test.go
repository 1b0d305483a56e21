package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"passerelle"

	"go.etcd.io/bbolt"
)

// canary stands in texts that shall be gone.
const canary = "canari-à-purger-2f9c"

var thePurge = PurgeOrder{Decision: Decision{By: "dpo", Why: "a person asked"}, Keep: []string{"stood/requester"}}

// over makes a ticket with a story of every kind, closed.
func (r *rig) over(key string) *passerelle.Link {
	r.Helper()
	file := r.put("bytes " + canary)
	file.Name, file.MIME = canary+".pdf", "application/pdf"
	withFile := anEntry(passerelle.Partner, "", file)
	withFile.Event.Fields = nil
	refused := anEntry("", canary+" refused")
	refused.Status, refused.Rule, refused.Error = Refused, "R31", "refused: « "+canary+" »"
	never := anEntry("", "")
	never.Status, never.Error = Refused, "why "+canary
	never.Event, never.Trace = Strip(anEvent(canary + " never kept"))
	l := r.ticket(key, anEntry(passerelle.Partner, canary+" told"), withFile, refused, never)
	r.release(file)
	for range 2 {
		r.must(r.settle(r.lend(toPartner), Outcome{To: Done, Note: "about " + canary, Names: []Name{{deal, passerelle.Partner, "wrote/" + key}}}))
	}
	closed := r.m.link(l.ID).Clone()
	closed.State, closed.Facts = passerelle.Closed, map[string]string{"title": canary, "stood/requester": "yes"}
	r.must(r.append(&Change{Link: closed, Names: []Name{aName("fact/" + key)}}))
	return closed
}

// TestPurgeKeepsTheTrace: words go; who, when, the rule, sizes, hashes, names of
// facts and decisions stay, and the same fact is still known.
func TestPurgeKeepsTheTrace(t *testing.T) {
	eachStore(t, func(r *rig) {
		l := r.over("10")
		did, err := r.purge(l.ID, thePurge)
		r.must(err)
		if did.Entries != 4 || did.Files != 1 || did.Bytes == 0 || did.Waiting != 0 {
			r.Errorf("purged %+v", did)
		}
		var story []*Entry
		for e, err := range r.s.Entries(r.ctx, Query{Link: l.ID}) {
			r.must(err)
			story = append(story, e)
		}
		told := story[0]
		if told.Event.From != passerelle.Requester || told.Event.Kind != passerelle.PublicLog || told.Created.IsZero() || len(told.Trace.Sum) != 64 || told.Trace.Bytes != int64(len(canary)+5) || !slices.Equal(told.Wrote, []string{"wrote/10"}) {
			r.Errorf("the trace is %+v %+v", told, told.Trace)
		}
		if f := story[1].Event.Files[0]; f.Name != "" || f.Size == 0 || f.Sum == "" {
			r.Errorf("of the file stays %+v", f)
		}
		if !story[2].RefusedFor("refused: « "+canary+" »") || story[2].RefusedFor("another") || story[2].Rule != "R31" {
			r.Errorf("of the refusal stays %+v %+v", story[2], story[2].Trace)
		}
		if last := story[4]; len(story) != 5 || last.Decisions[0].Verb != "purge" || last.Decisions[0].By != "dpo" || last.Decisions[0].Why != "a person asked" {
			r.Errorf("the story ends with %+v", story[len(story)-1])
		}
		if err := r.append(&Change{Link: r.m.link(l.ID).Clone(), Names: []Name{aName("fact/10")}}); !errors.Is(err, ErrSeen) {
			r.Errorf("the same fact again: %v", err)
		}
		if facts := r.m.link(l.ID).Facts; len(facts) != 1 || facts["stood/requester"] != "yes" {
			r.Errorf("the facts are %v", facts)
		}
		before := r.m.link(l.ID).Version
		if did, err := r.purge(l.ID, thePurge); err != nil || *did != (Purged{}) || len(r.m.query(Query{Link: l.ID})) != 5 {
			r.Errorf("purged twice: %+v %v", did, err)
		}
		if now := r.m.link(l.ID); now.Version == before {
			r.Errorf("a judgement made before the purge would be taken: version %d", now.Version)
		}
	})
}

// TestPurgeRefuses: an open ticket, and what waits, keep their words; with force
// all that is final loses them, and what waits is delivered in full.
func TestPurgeRefuses(t *testing.T) {
	eachStore(t, func(r *rig) {
		l := r.ticket("10", anEntry(passerelle.Partner, "first"), anEntry(passerelle.Partner, "second"))
		r.must(r.settle(r.lend(toPartner), Outcome{To: Done}))
		if _, err := r.purge(l.ID, thePurge); !errors.Is(err, ErrAwake) || !strings.Contains(err.Error(), "R-10 is open") {
			r.Errorf("an open ticket: %v", err)
		}
		closed := r.m.link(l.ID).Clone()
		closed.State = passerelle.Closed
		r.must(r.append(&Change{Link: closed}))
		if _, err := r.purge(l.ID, thePurge); !errors.Is(err, ErrUnsettled) || !strings.Contains(err.Error(), "entry 2 is waiting") {
			r.Errorf("what waits: %v", err)
		}
		forced := thePurge
		forced.Force = true
		if did, err := r.purge(l.ID, forced); err != nil || did.Entries != 1 || did.Waiting != 1 {
			r.Errorf("with force: %+v %v", did, err)
		}
		if e := r.lend(toPartner); e.Event.Fields["text"] != "second" {
			r.Errorf("what waited says %v", e.Event.Fields)
		}
		for what, o := range map[string]PurgeOrder{"no name": {Decision: Decision{Why: "x"}}, "no reason": {Decision: Decision{By: "x"}}} {
			if _, err := r.s.Purge(r.ctx, l.ID, o); err == nil {
				r.Errorf("%s: purged", what)
			}
		}
		if _, err := r.purge("77", thePurge); !errors.Is(err, passerelle.ErrNotFound) {
			r.Errorf("a link that is not there: %v", err)
		}
	})
}

// TestResting: a ticket is due by the time of its closing, whatever came late; one
// that is opened again is not; one that is purged is, if something comes after.
func TestResting(t *testing.T) {
	eachStore(t, func(r *rig) {
		start := time.Now()
		l := r.over("10")
		time.Sleep(24 * time.Hour)
		r.add(r.m.link(l.ID).Clone(), anEntry("", "late"))
		other := r.over("11")
		ids := func(before time.Time) (out []string) {
			for _, l := range r.readResting(before) {
				out = append(out, l.ID)
			}
			return out
		}
		if got := ids(start.Add(time.Hour)); !slices.Equal(got, []string{l.ID}) {
			r.Errorf("due: %v", got)
		}
		time.Sleep(time.Hour)
		if got := ids(time.Now()); !slices.Equal(got, []string{l.ID, other.ID}) {
			r.Errorf("due later: %v", got)
		}
		moved := r.m.link(l.ID).Clone() // from one rest to another: it begins anew
		moved.State = passerelle.Rejected
		r.must(r.append(&Change{Link: moved}))
		if got := ids(start.Add(20 * time.Hour)); len(got) != 0 {
			r.Errorf("due by its earlier state: %v", got)
		}
		time.Sleep(time.Second)
		again := r.m.link(other.ID).Clone()
		again.State = passerelle.Open
		r.must(r.append(&Change{Link: again}))
		if _, err := r.purge(l.ID, thePurge); err != nil {
			r.Error(err)
		}
		if got := ids(time.Now().Add(time.Hour)); len(got) != 0 {
			r.Errorf("opened again, and purged: still due %v", got)
		}
		r.add(r.m.link(l.ID).Clone(), anEntry("", "later still"))
		if got := ids(time.Now().Add(time.Hour)); !slices.Equal(got, []string{l.ID}) {
			r.Errorf("what came after the purge: due %v", got)
		}
	})
}

// TestPurgeInSteps: a long story is purged in several commits, and a store that is
// stopped in between goes on where it was when it is asked again.
func TestPurgeInSteps(t *testing.T) {
	eachStore(t, func(r *rig) {
		l := r.over("10")
		for i := range 5 {
			var more []*Entry
			for range page / 2 {
				e := anEntry("", canary)
				e.Note = fmt.Sprint(i)
				more = append(more, e)
			}
			r.add(r.m.link(l.ID).Clone(), more...)
		}
		s := r.s.(*engine)
		r.must(s.do(r.ctx, "purge", func(t *tx) error {
			_, _, _, err := t.purge(linkNumber(l.ID), 0, false)
			return err
		}))
		r.reopen()
		did, err := r.s.Purge(r.ctx, l.ID, thePurge)
		if err != nil || did.Entries != 4+5*page/2-page {
			r.Errorf("went on: %+v %v", did, err)
		}
		for e, err := range r.s.Entries(r.ctx, Query{Link: l.ID}) {
			if r.must(err); len(e.Event.Fields) > 0 {
				r.Fatalf("entry %d says %v", e.ID, e.Event.Fields)
			}
		}
		r.m.purge(l.ID, thePurge) // the model does it in one go
		r.m.entry(uint64(len(r.m.entries))).Note = fmt.Sprintf("purged: %d entries, %d bytes", did.Entries, did.Bytes)
	})
}

// scan tells where a text stands in a folder, byte by byte.
func scan(t testing.TB, dir, text string) (found []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(path, text) || bytes.Contains(b, []byte(text)) {
			found = append(found, path)
		}
		return err
	}))
	return found
}

// TestPurgedIsGoneFromDisk: bbolt leaves what is deleted in pages that it does not
// use. After Scrub no byte of it is in the data folder, nor in a backup; and the
// file is whole.
func TestPurgedIsGoneFromDisk(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(t testing.TB) Store { return openBolt(t, dir) })
		var gone []string
		for i := range 20 {
			l := r.over(fmt.Sprint(100 + i))
			gone = append(gone, l.ID)
			r.ticket(fmt.Sprint(200+i), anEntry(passerelle.Requester, strings.Repeat("stays ", 2000)))
		}
		for _, id := range gone {
			if _, err := r.s.Purge(r.ctx, id, thePurge); err != nil {
				t.Fatal(err)
			}
			_, _ = r.m.purge(id, thePurge)
		}
		if len(scan(t, dir, canary)) == 0 {
			t.Fatal("it is gone before Scrub: nothing is tested")
		}
		r.must(r.s.Close()) // a crash between the two
		r.s = openBolt(t, dir)
		r.m.reopen()
		r.must(r.s.Scrub(r.ctx))
		if found := scan(t, dir, canary); len(found) > 0 {
			t.Errorf("it is still in %v", found)
		}
		var backup bytes.Buffer
		_, err := r.s.Backup(r.ctx, &backup, nil)
		r.must(err)
		if bytes.Contains(backup.Bytes(), []byte(canary)) {
			t.Error("it is in a backup")
		}
		r.readBack()
		for range 20 { // the scrubbed pages are used again
			r.ticket(fmt.Sprint("after ", r.m.own), anEntry(passerelle.Partner, strings.Repeat("more ", 500)))
		}
		r.reopen()
		r.readBack()
		r.must(r.s.Close())
		db, err := bbolt.Open(filepath.Join(dir, dbName), 0o600, nil)
		r.must(err)
		r.must(db.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				t.Error(err)
			}
			return nil
		}))
		r.must(db.Close())
	})
}

// TestScrubSparesReaders: who reads an earlier moment still reads it; Scrub comes
// back later.
func TestScrubSparesReaders(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(t testing.TB) Store { return openBolt(t, dir) })
		l := r.over("10")
		s := r.s.(*engine)
		began, end, read := make(chan bool), make(chan bool), make(chan error)
		go func() { // ends with end
			read <- s.kv.view(func(rd reader) error {
				close(began)
				<-end
				e, err := readEntry(rd, 1)
				if err == nil && !strings.Contains(e.Event.Fields["text"], canary) {
					err = fmt.Errorf("the reader of before the purge reads %v", e.Event.Fields)
				}
				return err
			})
		}()
		<-began
		_, err := r.s.Purge(r.ctx, l.ID, thePurge)
		r.must(err)
		if err := r.s.Scrub(r.ctx); !errors.Is(err, ErrReading) {
			t.Errorf("while somebody reads: %v", err)
		}
		close(end)
		r.must(<-read)
		r.must(r.s.Scrub(r.ctx))
		if found := scan(t, dir, canary); len(found) > 0 {
			t.Errorf("it is still in %v", found)
		}
		r.must(r.s.Close())
	})
}

// TestAnOlderStoreIsIndexed: a database without the index of tickets at rest gets
// one when it is opened.
func TestAnOlderStoreIsIndexed(t *testing.T) {
	dir := t.TempDir()
	s := openBolt(t, dir)
	for i := range 3 * page {
		l := aLink(fmt.Sprint(i))
		if l.Moved = time.Unix(int64(1000+i), 0); i%2 == 0 {
			l.State = passerelle.Closed
		}
		must(t, s.Append(context.Background(), &Change{Link: l}))
	}
	must(t, s.Close())
	dropTable(t, dir, restBucket)
	db, err := bbolt.Open(filepath.Join(dir, dbName), 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(metaBucket)).Delete([]byte(indexedKey)) }))
	must(t, db.Close())
	for range 2 {
		s = openBolt(t, dir)
		n := 0
		for l, err := range s.Resting(context.Background(), time.Unix(1000+2*page, 0)) {
			must(t, err)
			if n++; l.State != passerelle.Closed {
				t.Errorf("link %s is %s", l.ID, l.State)
			}
		}
		if n != page {
			t.Errorf("%d links are at rest, not %d", n, page)
		}
		must(t, s.Close())
	}
}

// TestOnlyTheUserReads: whatever the umask, every file and folder of a store and
// of a restored one is for its user alone.
func TestOnlyTheUserReads(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	top := t.TempDir()
	dir, again := filepath.Join(top, "a", "data"), filepath.Join(top, "b", "data")
	s := openBolt(t, dir)
	f, err := s.Files().Put(context.Background(), strings.NewReader("x"))
	must(t, err)
	must(t, s.Append(context.Background(), &Change{Link: aLink("1"), Entries: []*Entry{anEntry(passerelle.Partner, "x", f)}}))
	var backup bytes.Buffer
	_, err = s.Backup(context.Background(), &backup, nil)
	must(t, err)
	_, err = Restore(&backup, again, RestoreOptions{})
	must(t, err)
	n := 0
	for _, of := range []string{"a", "b"} {
		must(t, filepath.WalkDir(filepath.Join(top, of), func(path string, d fs.DirEntry, err error) error {
			must(t, err)
			info, err := d.Info()
			must(t, err)
			if n++; info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s is %s", path, info.Mode())
			}
			return nil
		}))
	}
	if n < 10 {
		t.Errorf("only %d files and folders", n)
	}
	must(t, s.Close())
}

// TestScrubAmongReaders has many read and write while tickets are purged and the
// disk is scrubbed: nobody reads a page that was taken away.
func TestScrubAmongReaders(t *testing.T) {
	ctx, s := context.Background(), openBolt(t, t.TempDir())
	var wg sync.WaitGroup
	end := make(chan struct{})
	for i := range 4 {
		wg.Go(func() { // ends with end
			for n := 0; ; n++ {
				select {
				case <-end:
					return
				default:
				}
				l := aLink(fmt.Sprint(i, "/", n))
				l.State = passerelle.Closed
				if err := s.Append(ctx, &Change{Link: l, Entries: []*Entry{anEntry("", strings.Repeat(canary, 1+n%300))}}); err != nil {
					t.Error(err)
				}
				for e, err := range s.Entries(ctx, Query{Link: l.ID}) {
					if err != nil || e.Event.Kind != passerelle.PublicLog {
						t.Errorf("entry: %+v %v", e, err)
					}
				}
				if _, err := s.Find(ctx, deal, passerelle.Requester, fmt.Sprint(i, "/", n/2)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	scrubbed := 0
	for stop := time.Now().Add(700 * time.Millisecond); time.Now().Before(stop) || scrubbed == 0; {
		for l, err := range s.Resting(ctx, time.Now().Add(time.Hour)) {
			must(t, err)
			if _, err := s.Purge(ctx, l.ID, thePurge); err != nil {
				t.Fatal(err)
			}
			break
		}
		switch err := s.Scrub(ctx); {
		case err == nil:
			scrubbed++
		case !errors.Is(err, ErrReading):
			t.Fatal(err)
		}
	}
	close(end)
	wg.Wait()
	t.Logf("scrubbed %d times", scrubbed)
	must(t, s.Close())
}
