package outbox

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"passerelle"
)

// holds lists the files below some folders that hold a text.
func holds(t *testing.T, text string, dirs ...string) []string {
	t.Helper()
	var found []string
	for _, dir := range dirs {
		must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if bytes.Contains(b, []byte(text)) {
				found = append(found, path)
			}
			return err
		}))
	}
	return found
}

// TestScrubShared: what one gateway purges is gone from its replica, from that of
// another one, and from the log, where a copy without it takes its place. The
// servers' own files keep it until they are written anew (docs/operations.md).
func TestScrubShared(t *testing.T) {
	ctx := context.Background()
	c := startNATS(t, 1)
	var stores []Store
	var dirs []string
	for range 2 {
		o := c.options(t.TempDir())
		s, err := OpenNATS(ctx, o)
		must(t, err)
		defer s.Close()
		stores, dirs = append(stores, s), append(dirs, o.Dir)
	}
	const word = "canari-partage-fin"
	link := aLink("1")
	link.State = passerelle.Closed
	must(t, stores[0].Append(ctx, &Change{Link: link, Entries: []*Entry{{Event: anEvent("<p>" + word + "</p>")}}}))
	for _, key := range []string{"2", "3", "4"} { // what lies around it
		must(t, stores[0].Append(ctx, &Change{Link: aLink(key), Entries: []*Entry{anEntry(passerelle.Partner, "text "+key)}}))
	}
	if _, err := stores[1].Entry(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if n := len(holds(t, word, append(dirs, c.dir)...)); n < 3 {
		t.Fatalf("only %d files hold the word before the purge", n)
	}
	_, err := stores[0].Purge(ctx, link.ID, PurgeOrder{Decision: Decision{By: "dpo", Why: "request"}})
	must(t, err)
	must(t, stores[0].Scrub(ctx))
	log := stores[0].(*engine).shared.b
	info, err := log.stream.Info(ctx)
	must(t, err)
	if position, _ := log.at(); info.State.FirstSeq+1 < position {
		t.Errorf("the log still begins at %d of %d", info.State.FirstSeq, position)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	must(t, fetchOnce(ctx, stores[0].(*engine).shared.objects.copies, copied))
	if len(holds(t, word, copied)) > 0 {
		t.Error("the copy that the log begins with holds the word")
	}
	var left []string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if left = holds(t, word, dirs...); len(left) == 0 {
			break
		}
	}
	if len(left) > 0 {
		t.Errorf("still there: %v", left)
	}
	e, err := stores[1].Entry(ctx, 1)
	if err != nil || e.Trace == nil {
		t.Errorf("the trace at the other gateway: %+v, %v", e, err)
	}
	must(t, stores[1].Append(ctx, &Change{Link: aLink("5")})) // the log goes on
}
