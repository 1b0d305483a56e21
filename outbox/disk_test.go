package outbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"passerelle"
)

// TestHeadIsSyncedBeforeUse: after a failed sync the head page may be in the
// system's memory only. A new process writes and syncs it before anything else.
func TestHeadIsSyncedBeforeUse(t *testing.T) {
	dir := t.TempDir()
	must(t, openBolt(t, dir).Close())
	_, calls := traced(t, dir, "one by one")
	database := regexp.MustCompile(`^(pwrite64|fdatasync)\(\d+<.*/outbox\.db>(.*)`)
	var done []string
	for _, call := range calls {
		if m := database.FindStringSubmatch(call); m != nil {
			done = append(done, m[1]+m[2])
		}
	}
	if len(done) < 2 || !strings.HasSuffix(done[0], ", 8192, 0) = 8192") || !regexp.MustCompile(`^fdatasync\) += 0`).MatchString(done[1]) {
		t.Errorf("the database is written thus: %q", done[:min(3, len(done))])
	}
}

// TestHeadCannotBeSynced: then the store does not open.
func TestHeadCannotBeSynced(t *testing.T) {
	dir := t.TempDir()
	must(t, openBolt(t, dir).Close())
	said, _ := traced(t, dir, "one by one", "fdatasync:error=EIO")
	if len(said) != 1 || !strings.Contains(said[0], "cannot be written and synced: input/output error (check the disk)") {
		t.Errorf("the child says %q", said)
	}
}

// TestNoLongerFile: a database that cannot grow is full, not broken.
func TestNoLongerFile(t *testing.T) {
	dir := t.TempDir()
	cmd := child(dir, "one by one", "sh", "-c", `ulimit -f 128; exec "$0"`)
	out, err := cmd.Output()
	must(t, err)
	said := lines(string(out))
	last := said[len(said)-1]
	if !begins("failed")(last) || !strings.Contains(last, "file too large (make room)") || strings.Contains(last, "closed") {
		t.Errorf("the child ends with %q", last)
	}
	checkSaid(t, dir, said)
}

// TestFileOfADoubtfulCommit: where the head page was written and its sync failed,
// the entry may be there after a restart, though it was not acknowledged. Its
// file is then there too.
func TestFileOfADoubtfulCommit(t *testing.T) {
	dir := t.TempDir()
	must(t, openBolt(t, dir).Close())
	ctx := context.Background()
	found := 0
	for when := 12; when < 17; when++ {
		traced(t, dir, "one by one", fmt.Sprintf("fdatasync:error=EIO:when=%d+", when))
		s := openBolt(t, dir)
		for e, err := range s.Entries(ctx, Query{}) {
			must(t, err)
			for _, f := range e.Event.Files {
				r, err := s.Files().Open(f.Sum)
				if err != nil {
					t.Errorf("entry %d is there, its file: %v", e.ID, err)
					continue
				}
				must(t, r.Close())
				found++
			}
		}
		must(t, s.Close())
	}
	if found == 0 {
		t.Error("no entry was found")
	}
}

// TestFolderIsGone: what would be written into a file that nobody finds again
// is refused, and goes on when the folder is back.
func TestFolderIsGone(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "data")
	s := openBolt(t, dir)
	defer s.Close()
	add := func() error {
		return s.Append(ctx, &Change{Link: aLink("1"), Entries: []*Entry{anEntry(passerelle.Partner, "x")}})
	}
	f, err := s.Files().Put(ctx, strings.NewReader("x"))
	must(t, err)
	must(t, os.Rename(dir, dir+".gone"))
	if _, err := s.Files().Open(f.Sum); err == nil || errors.Is(err, passerelle.ErrNotFound) {
		t.Errorf("gone: a file of it: %v", err)
	}
	_, seen := s.Seen(ctx, aName("x"))
	for what, err := range map[string]error{"append": add(), "ready": s.Ready(ctx), "seen": seen} {
		if err == nil || !strings.Contains(err.Error(), "put the folder back") {
			t.Errorf("gone: %s: %v", what, err)
		}
	}
	must(t, openBolt(t, dir).Close())
	if err := add(); err == nil || !strings.Contains(err.Error(), "another file lies there") {
		t.Errorf("another: %v", err)
	}
	if _, err := s.Files().Open(f.Sum); err == nil || errors.Is(err, passerelle.ErrNotFound) {
		t.Errorf("another: a file of it: %v", err)
	}
	must(t, os.RemoveAll(dir))
	must(t, os.Rename(dir+".gone", dir))
	must(t, s.Ready(ctx))
	must(t, add())
	r, err := s.Files().Open(f.Sum)
	must(t, err)
	must(t, r.Close())
	must(t, os.RemoveAll(filepath.Join(dir, fileDir, f.Sum[:2])))
	if _, err := s.Files().Open(f.Sum); !errors.Is(err, passerelle.ErrNotFound) {
		t.Errorf("removed: %v", err)
	}
}

// TestReadyTries: where a file could not be kept, Ready finds out when it can be.
func TestReadyTries(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := openBolt(t, dir)
	defer s.Close()
	files := filepath.Join(dir, fileDir)
	must(t, os.Remove(files))
	if _, err := s.Files().Put(ctx, strings.NewReader("x")); err == nil {
		t.Fatal("a file was put nowhere")
	}
	for range 2 {
		if err := s.Ready(ctx); err == nil || !strings.Contains(err.Error(), "put file") {
			t.Errorf("ready: %v", err)
		}
	}
	must(t, os.Mkdir(files, 0o700))
	must(t, s.Ready(ctx))
	left, err := filepath.Glob(filepath.Join(files, "*", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q %v", left, err)
	}
	if _, err := s.Files().Put(ctx, &broken{}); err == nil {
		t.Error("a file was put that could not be read")
	}
	must(t, s.Ready(ctx)) // the sender's trouble, not the disk's
}

// TestDatabaseIsMissing: attachments without their database are no new store.
func TestDatabaseIsMissing(t *testing.T) {
	dir := t.TempDir()
	must(t, openBolt(t, dir).Close())
	must(t, os.Remove(filepath.Join(dir, dbName)))
	_, err := OpenBolt(dir)
	if err == nil || !strings.Contains(err.Error(), "is missing") || !strings.Contains(err.Error(), "restore a backup") {
		t.Error(err)
	}
}
