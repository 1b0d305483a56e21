package outbox

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"passerelle"
)

// filled makes a folder with a store of some tickets: one entry done, some waiting
// with a file, one lent, one parked; and returns the sum of the file.
func filled(t *testing.T, dir string) (sum string) {
	t.Helper()
	ctx := context.Background()
	s := openBolt(t, dir)
	f, err := s.Files().Put(ctx, strings.NewReader(strings.Repeat("a file of some length. ", 20000)))
	must(t, err)
	f.Name = "a.txt"
	for _, key := range []string{"1", "2", "3", "4"} {
		must(t, s.Append(ctx, &Change{Link: aLink(key), Entries: []*Entry{anEntry(passerelle.Partner, "text "+key, f)},
			Names: []Name{{deal, passerelle.Requester, "name " + key}}, Looks: []Look{{Contract: deal, Side: passerelle.Requester, Key: key}}}))
	}
	for _, to := range []Status{Done, Parked} {
		e, err := s.Next(ctx, toPartner)
		must(t, err)
		must(t, s.Settle(ctx, e, Outcome{To: to, Error: "why"}))
	}
	_, err = s.Next(ctx, toPartner)
	must(t, err)
	must(t, s.Keep(ctx, "k", "v"))
	must(t, s.Close())
	return f.Sum
}

// TestMigrate takes a store to NATS and back: nothing is missing on either way, what
// was lent is asked about, and no folder is left that holds an old state unnoticed.
func TestMigrate(t *testing.T) {
	ctx := context.Background()
	c := startNATS(t, 1)
	dir, back := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "back")
	sum := filled(t, dir)
	o := c.options("")
	m, err := ToNATS(ctx, dir, o)
	must(t, err)
	if m.Pairs != 4 || m.Events != 4 || m.Files != 1 || m.Bytes != 460000 {
		t.Errorf("taken: %+v", m)
	}
	if _, err := OpenBolt(dir); err == nil || !strings.Contains(err.Error(), "outbox.db is missing") {
		t.Errorf("the old folder opens: %v", err)
	}
	filled(t, dir+"2")
	if _, err := ToNATS(ctx, dir+"2", o); err == nil || !strings.Contains(err.Error(), "holds a store already") {
		t.Errorf("a second store in one stream: %v", err)
	}
	if s, err := OpenBolt(dir + "2"); err != nil {
		t.Errorf("after an error the folder is not as it was: %v", err)
	} else {
		s.Close()
	}

	o.Dir = t.TempDir()
	s, err := OpenNATS(ctx, o)
	must(t, err)
	if _, err := FromNATS(ctx, o, back); err == nil || !strings.Contains(err.Error(), "other gateways read the stream") {
		t.Errorf("migrated under a running gateway: %v", err)
	}
	r, err := s.Files().Open(sum)
	must(t, err)
	b, err := io.ReadAll(r)
	if err != nil || sumOf(b) != sum {
		t.Errorf("the file: %d bytes, %v", len(b), err)
	}
	must(t, r.Close())
	if kept, err := s.Kept(ctx, "k"); err != nil || kept != "v" {
		t.Errorf("kept %q, %v", kept, err)
	}
	_, resign, err := s.Lead(ctx, deal)
	must(t, err)
	e, err := s.Next(ctx, toPartner)
	must(t, err)
	if !e.Probe || e.Link != "3" {
		t.Errorf("what was lent comes back as %+v", e)
	}
	must(t, s.Settle(ctx, e, Outcome{To: Done}))
	resign()
	must(t, s.Close())

	m, err = FromNATS(ctx, o, back)
	must(t, err)
	if m.Pairs != 4 || m.Events != 4 || m.Files != 1 {
		t.Errorf("taken back: %+v", m)
	}
	s = openBolt(t, back)
	defer s.Close()
	var got []string
	for e, err := range s.Entries(ctx, Query{}) {
		must(t, err)
		got = append(got, string(e.Status))
	}
	if want := "done parked done waiting"; strings.Join(got, " ") != want {
		t.Errorf("the entries are %v, should be %s", got, want)
	}
	if _, err := s.Files().Open(sum); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, dbStage+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestMigrateIsReadBack: a row or a file that did not arrive is noticed.
func TestMigrateIsReadBack(t *testing.T) {
	dir, other := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	sum := filled(t, dir)
	filled(t, other)
	a, shelf, err := openFolder(dir, filepath.Join(dir, dbName))
	must(t, err)
	defer a.close()
	b, theirs, err := openFolder(other, filepath.Join(other, dbName))
	must(t, err)
	defer b.close()
	must(t, (&Migrated{}).compare(context.Background(), a, a, shelf))
	must(t, os.WriteFile(theirs.path(sum), []byte("something else"), 0o600))
	if err := (&Migrated{}).compare(context.Background(), a, a, theirs); err == nil || !strings.Contains(err.Error(), "not what it was") {
		t.Errorf("an altered file: %v", err)
	}
	if err := (&Migrated{}).compare(context.Background(), a, b, shelf); err == nil || !strings.Contains(err.Error(), "is another there") {
		t.Errorf("other times in the rows: %v", err)
	}
	must(t, b.update(func(w writer) error { w.put(keptBucket, []byte("new"), []byte("x")); return nil }, func() {}))
	if _, err := sameTableOf(a, b, keptBucket); err == nil || !strings.Contains(err.Error(), "2 rows there, and 1 here") {
		t.Errorf("a row too many: %v", err)
	}
}

func sameTableOf(a, b *bolt, table bucket) (n int, err error) {
	_ = a.view(func(ra reader) error {
		return b.view(func(rb reader) error {
			n, err = sameTable(ra, rb, table)
			return nil
		})
	})
	return n, err
}

// TestReplicaBecomesAStore: where the servers lost everything, a replica that is put
// where the database of a folder belongs is a store, and goes back to new servers.
func TestReplicaBecomesAStore(t *testing.T) {
	ctx := context.Background()
	c := startNATS(t, 1)
	dir, o := filepath.Join(t.TempDir(), "data"), c.options(t.TempDir())
	filled(t, dir)
	_, err := ToNATS(ctx, dir, o)
	must(t, err)
	s, err := OpenNATS(ctx, o)
	must(t, err)
	must(t, s.Keep(ctx, "k", "later"))
	must(t, s.Close())

	saved := filepath.Join(t.TempDir(), "saved")
	must(t, os.MkdirAll(filepath.Join(saved, "files"), 0o700))
	b, err := os.ReadFile(filepath.Join(o.Dir, "replica.db"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(saved, "outbox.db"), b, 0o600))
	o.Stream, o.Dir = "again", t.TempDir()
	m, err := ToNATS(ctx, saved, o)
	must(t, err)
	if m.Pairs != 4 || m.Events != 4 || len(m.Missing) != 1 {
		t.Errorf("taken: %+v", m)
	}
	s, err = OpenNATS(ctx, o)
	must(t, err)
	defer s.Close()
	if kept, err := s.Kept(ctx, "k"); err != nil || kept != "later" {
		t.Errorf("kept %q, %v", kept, err)
	}
}
