package outbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"passerelle"

	"go.etcd.io/bbolt"
)

// grown makes a store of so many closed tickets with a text each, purges all of
// them, and returns it open, with the bytes that its pages took before the purge.
func grown(t *testing.T, dir string, tickets int) (s Store, size int64) {
	t.Helper()
	s = openBolt(t, dir)
	closed(t, s, 0, tickets)
	size = pagesOf(t, s)
	for l, err := range s.Resting(context.Background(), time.Now().Add(time.Hour)) {
		must(t, err)
		_, err := s.Purge(context.Background(), l.ID, thePurge)
		must(t, err)
	}
	return s, size
}

// pagesOf is how many bytes of the file were ever used.
func pagesOf(t *testing.T, s Store) (n int64) {
	must(t, s.(*engine).kv.(*bolt).db.View(func(tx *bbolt.Tx) error {
		n = tx.Size()
		return nil
	}))
	return n
}

// closed appends tickets that are over, each with a text of 2 KB.
func closed(t *testing.T, s Store, from, to int) {
	t.Helper()
	var ready []*change
	for i := from; i < to; i++ {
		l := aLink(fmt.Sprint("closed ", i))
		l.State = passerelle.Closed
		c, err := prepare(&Change{Link: l, Entries: []*Entry{anEntry("", strings.Repeat(canary, 2000/len(canary)))}}, noObject)
		must(t, err)
		ready = append(ready, c)
	}
	must(t, s.(*engine).commit.do(func(t *tx) error {
		for _, c := range ready {
			if _, err := t.append(c, func(string) bool { return true }); err != nil {
				return err
			}
		}
		return nil
	}))
}

// TestPurgedRoomIsUsedAgain: what was purged makes room for as much again in the
// same file.
func TestPurgedRoomIsUsedAgain(t *testing.T) {
	s, size := grown(t, t.TempDir(), 500)
	closed(t, s, 500, 800)
	if now := pagesOf(t, s); now > size*11/10 {
		t.Errorf("the pages grew from %d to %d bytes", size, now)
	}
	must(t, s.Close())
}

// TestCompact compacts a store whose tickets were purged: it is smaller and holds
// the same, and the old file is overwritten. One that is open is refused; what an
// end cuts short leaves nothing.
func TestCompact(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	sum := filled(t, dir)
	s, _ := grown(t, dir, 500)
	if _, err := Compact(ctx, dir); err == nil || !strings.Contains(err.Error(), "another process has it open") {
		t.Errorf("a store that is open: %v", err)
	}
	want, was := told(t, s), unusedOf(t, s)
	must(t, s.Close())
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Compact(ended, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("ended before it began: %v", err)
	}
	old, err := os.Open(filepath.Join(dir, dbName))
	must(t, err)
	defer old.Close()
	done, err := Compact(ctx, dir)
	must(t, err)
	if t.Logf("%+v", done); done.After > done.Before/3 || done.Rows < 5000 {
		t.Errorf("compacted: %+v", done)
	}
	if left, err := io.ReadAll(old); err != nil || len(left) == 0 || len(bytes.Trim(left, "\x00")) > 0 {
		t.Errorf("the old file was not overwritten: %v", err)
	}
	s = openBolt(t, dir)
	if got := told(t, s); got != want {
		t.Error("it does not hold what it held")
	}
	f, err := s.Files().Open(sum)
	must(t, err)
	must(t, f.Close())
	if now := unusedOf(t, s); was < done.Before/4 || now > was/4 {
		t.Errorf("%d bytes hold nothing, and %d did before", now, was)
	}
	closed(t, s, 3000, 3100)
	must(t, s.Close())
	if stages, err := filepath.Glob(filepath.Join(dir, dbStage+"*")); err != nil || len(stages) > 0 {
		t.Errorf("left behind: %v, %v", stages, err)
	}
}

func unusedOf(t *testing.T, s Store) int64 {
	t.Helper()
	st, err := s.Stats(context.Background())
	must(t, err)
	return st.Unused
}

// told is all that a store tells of its links and entries.
func told(t *testing.T, s Store) string {
	t.Helper()
	var all bytes.Buffer
	out := json.NewEncoder(&all)
	for l, err := range s.Links(context.Background()) {
		must(t, err)
		must(t, out.Encode(l))
	}
	for e, err := range s.Entries(context.Background(), Query{}) {
		must(t, err)
		must(t, out.Encode(e))
	}
	return all.String()
}
