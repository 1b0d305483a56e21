package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"passerelle"
)

// backupOf makes a backup in memory.
func backupOf(t testing.TB, s Store) ([]byte, *BackupReport) {
	t.Helper()
	var b bytes.Buffer
	report, err := s.Backup(context.Background(), &b, nil)
	must(t, err)
	return b.Bytes(), report
}

// restored is a new folder with what a backup holds.
func restored(t testing.TB, backup []byte) (dir string, _ *Restored) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	what, err := Restore(bytes.NewReader(backup), dir, RestoreOptions{})
	must(t, err)
	return dir, what
}

// TestBackupWhileOthersWrite makes backups while links and files come and go.
// Each holds whole changes only, and all that were acknowledged before it began.
func TestBackupWhileOthersWrite(t *testing.T) {
	s := openBolt(t, t.TempDir())
	g := &openLedger{ledger: newLedger(t)}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() { send(s, fmt.Sprint("s", i), g.hear) })
	}
	for range 2 {
		wg.Go(func() { deliver(s, toPartner, g.hear) })
		wg.Go(func() { deliver(s, toRequester, g.hear) })
	}
	for range 2 {
		time.Sleep(40 * time.Millisecond)
		known := g.copy()
		backup, report := backupOf(t, s)
		dir, _ := restored(t, backup)
		known.check(dir)
		checkRestored(t, dir, report)
		if n := len(known.appended); report.Entries < uint64(n) || len(report.Missing) > 0 {
			t.Errorf("%d entries were acknowledged, the backup is %+v", n, report)
		}
		t.Logf("%d acknowledged, then %+v", len(known.appended), report)
	}
	must(t, s.Close())
	wg.Wait()
	if len(g.appended) < 10 || len(g.settled) < 10 {
		t.Errorf("too little happened: %d appended, %d settled", len(g.appended), len(g.settled))
	}
}

// openLedger is a ledger that many write into while others read it.
type openLedger struct {
	mu sync.Mutex
	*ledger
}

func (g *openLedger) hear(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if line := fmt.Sprintf(format, args...); line != fmt.Sprint("error ", ErrClosed) {
		g.line(line)
	}
}

func (g *openLedger) copy() *ledger {
	g.mu.Lock()
	defer g.mu.Unlock()
	return &ledger{TB: g.TB, begun: maps.Clone(g.begun), appended: maps.Clone(g.appended), lent: maps.Clone(g.lent), settled: maps.Clone(g.settled)}
}

// checkRestored: what was not final is marked, nothing else is.
func checkRestored(t *testing.T, dir string, report *BackupReport) {
	t.Helper()
	s := openBolt(t, dir)
	defer s.Close()
	entries := 0
	for e, err := range s.Entries(context.Background(), Query{}) {
		must(t, err)
		entries++
		if e.Restored == e.Status.Final() || e.Restored && !e.Probe {
			t.Errorf("entry %d is %s, restored %t, probe %t", e.ID, e.Status, e.Restored, e.Probe)
		}
	}
	if uint64(entries) != report.Entries {
		t.Errorf("%d entries of %+v", entries, report)
	}
}

// TestBackupKeepsItsFiles: an attachment that is delivered while a backup goes on
// is in it, and goes when the backup ends.
func TestBackupKeepsItsFiles(t *testing.T) {
	dir := t.TempDir()
	s := openBolt(t, dir)
	defer s.Close()
	text := strings.Repeat("a long text ", 100000) // more than a pipe or a buffer takes
	addFile(t, s, "1", text)
	addFile(t, s, "2", "short")
	backup := slowly(t, s, func() { settleAll(t, s) })
	if left := filesIn(t, dir); len(left) > 0 {
		t.Errorf("after the backup there is %q", left)
	}
	to, _ := restored(t, backup)
	if got := filesIn(t, to); len(got) != 2 {
		t.Errorf("the backup has %q", got)
	}
	again := openBolt(t, to)
	defer again.Close()
	e, err := again.Next(context.Background(), toPartner)
	must(t, err)
	f, err := again.Files().Open(e.Event.Files[0].Sum)
	must(t, err)
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || string(got) != text {
		t.Errorf("the file has %d bytes: %v", len(got), err)
	}
}

// TestBackupOfASlowReader: whoever takes a backup slowly does not hold up the
// store, even if the database must be mapped anew.
func TestBackupOfASlowReader(t *testing.T) {
	s := openBolt(t, t.TempDir())
	defer s.Close()
	ctx := context.Background()
	must(t, s.Append(ctx, &Change{Link: aLink("1")}))
	backup := slowly(t, s, func() {
		ended := make(chan error, 1)
		go func() {
			for i := range 4 {
				e := anEntry(passerelle.Partner, strings.Repeat("x", 1<<20))
				if err := s.Append(ctx, &Change{Link: aLink(fmt.Sprint("big", i)), Entries: []*Entry{e}}); err != nil {
					ended <- err
					return
				}
			}
			_, err := s.Find(ctx, deal, passerelle.Requester, "1")
			ended <- err
		}()
		select {
		case err := <-ended:
			must(t, err)
		case <-time.After(10 * time.Second):
			t.Error("the store waits for the reader of a backup")
		}
	})
	if dir, what := restored(t, backup); what.Links != 1 {
		t.Errorf("%s holds %+v", dir, what)
	}
}

// slowly makes a backup, and does something when its first bytes are read.
func slowly(t *testing.T, s Store, meanwhile func()) []byte {
	t.Helper()
	r, w := io.Pipe()
	go func() {
		_, err := s.Backup(context.Background(), w, nil)
		_ = w.CloseWithError(err) // never fails
	}()
	first := make([]byte, 512)
	_, err := io.ReadFull(r, first)
	must(t, err)
	meanwhile()
	rest, err := io.ReadAll(r)
	must(t, err)
	return append(first, rest...)
}

// addFile adds a link, and an entry with a file.
func addFile(t testing.TB, s Store, key, text string) passerelle.File {
	t.Helper()
	ctx := context.Background()
	f, err := s.Files().Put(ctx, strings.NewReader(text))
	must(t, err)
	must(t, s.Append(ctx, &Change{Link: aLink(key), Entries: []*Entry{anEntry(passerelle.Partner, key, f)}}))
	s.Files().Release(f)
	return f
}

// settleAll delivers what waits for the partner.
func settleAll(t testing.TB, s Store) {
	t.Helper()
	ctx := context.Background()
	st, err := s.Stats(ctx)
	must(t, err)
	for range st.ByStatus[toPartner][Waiting] {
		e, err := s.Next(ctx, toPartner)
		must(t, err)
		must(t, s.Settle(ctx, e, Outcome{To: Done}))
	}
}

func filesIn(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, fileDir, "*", "*"))
	must(t, err)
	return names
}

// TestBackupWithoutLostFiles: attachments that the disk has lost, or not kept as
// they were, are named, and the rest is a backup that restores.
func TestBackupWithoutLostFiles(t *testing.T) {
	dir := t.TempDir()
	s := openBolt(t, dir)
	defer s.Close()
	lost, bad := addFile(t, s, "1", "lost"), addFile(t, s, "2", "altered")
	addFile(t, s, "3", "there")
	at := func(f passerelle.File) string { return filepath.Join(dir, fileDir, f.Sum[:2], f.Sum) }
	must(t, os.Remove(at(lost)))
	must(t, os.WriteFile(at(bad), []byte("alterer"), 0o600))
	backup, report := backupOf(t, s)
	want := []string{lost.Sum, bad.Sum}
	slices.Sort(want)
	if !slices.Equal(report.Missing, want) || report.Files != 1 {
		t.Errorf("%+v", report)
	}
	_, what := restored(t, backup)
	if !slices.Equal(what.Missing, want) || what.Unsettled != 3 || what.Files != 1 {
		t.Errorf("%+v", what)
	}
	must(t, os.Rename(filepath.Join(dir, fileDir), filepath.Join(dir, "away")))
	if _, err := s.Backup(context.Background(), io.Discard, nil); err == nil || !strings.Contains(err.Error(), "put the folder back") {
		t.Errorf("without the folder: %v", err)
	}
}

func TestBackupProgress(t *testing.T) {
	s := openBolt(t, t.TempDir())
	defer s.Close()
	addFile(t, s, "1", strings.Repeat("x", 100000))
	var told []int64
	total := int64(0)
	report, err := s.Backup(context.Background(), io.Discard, func(done, of int64) { told, total = append(told, done), of })
	must(t, err)
	if total != report.Bytes || told[len(told)-1] != total || !slices.IsSorted(told) || len(told) < 5 {
		t.Errorf("%+v; told %v of %d", report, told, total)
	}
	if report.Files != 1 || report.Links != 1 || report.Entries != 1 || time.Since(report.Made) > time.Minute {
		t.Errorf("%+v", report)
	}
}

// TestBackupFails: then it says so, and leaves nothing behind.
func TestBackupFails(t *testing.T) {
	dir := t.TempDir()
	s := openBolt(t, dir)
	f := addFile(t, s, "1", "text")
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := s.Backup(ctx, io.Discard, func(int64, int64) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	r, w := io.Pipe()
	must(t, r.CloseWithError(errBroken))
	if _, err := s.Backup(context.Background(), w, nil); !errors.Is(err, errBroken) || !strings.HasPrefix(err.Error(), "outbox: backup: ") {
		t.Errorf("to nowhere: %v", err)
	}
	if _, err := NewMem().Backup(context.Background(), io.Discard, nil); err == nil || !strings.Contains(err.Error(), "in memory") {
		t.Errorf("of a store in memory: %v", err)
	}
	if err := room(dir, math.MaxInt64); err == nil || !strings.Contains(err.Error(), "make room") {
		t.Errorf("without room: %v", err)
	}
	settleAll(t, s)
	if _, err := s.Files().Open(f.Sum); !errors.Is(err, passerelle.ErrNotFound) {
		t.Errorf("its file is still there: %v", err)
	}
	must(t, s.Close())
	if _, err := s.Backup(context.Background(), io.Discard, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 2 {
		t.Errorf("the folder holds %q %v", names, err)
	}
}

// TestBackupOfADamagedStore: damage is told when the backup is made, not when it
// is needed.
func TestBackupOfADamagedStore(t *testing.T) {
	dir := t.TempDir()
	s := openBolt(t, dir)
	must(t, s.Append(context.Background(), &Change{Link: aLink("1"), Entries: []*Entry{anEntry(passerelle.Partner, "what was said")}}))
	must(t, s.Close())
	path := filepath.Join(dir, dbName)
	db, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, bytes.ReplaceAll(db, []byte("was said"), []byte("is sayed")), 0o600))
	s = openBolt(t, dir)
	defer s.Close()
	if _, err := s.Backup(context.Background(), io.Discard, nil); err == nil || !strings.Contains(err.Error(), path+": events") || !strings.Contains(err.Error(), "is damaged") {
		t.Error(err)
	}
}

// TestBackupOfAnUnevenStore: rows that are gone without a trace in their table
// show in another.
func TestBackupOfAnUnevenStore(t *testing.T) {
	s := openBolt(t, t.TempDir())
	defer s.Close()
	must(t, s.Append(context.Background(), &Change{Link: aLink("1"), Entries: []*Entry{anEntry(passerelle.Partner, "x")}}))
	must(t, s.(*engine).commit.do(func(t *tx) error {
		t.del(eventBucket, numberKey(1))
		return nil
	}))
	if _, err := s.Backup(context.Background(), io.Discard, nil); err == nil || !strings.Contains(err.Error(), "1 entries have 0 events") {
		t.Error(err)
	}
}

// TestReleaseAfterClose: a backup may end after its store, when the folder is
// another's. It removes nothing there.
func TestReleaseAfterClose(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := openBolt(t, dir)
	f, err := s.Files().Put(ctx, strings.NewReader("x"))
	must(t, err)
	must(t, s.Close())
	other := openBolt(t, dir)
	defer other.Close()
	addFile(t, other, "1", "x")
	s.Files().Release(f)
	r, err := other.Files().Open(f.Sum)
	must(t, err)
	must(t, r.Close())
}
