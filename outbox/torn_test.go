package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"passerelle"

	"go.etcd.io/bbolt"
)

var flipsFlag = flag.Int("flips", 25, "how often a test damages a store")

// tornStore is a folder with a store that has something in every table.
func tornStore(t *testing.T) string {
	dir := t.TempDir()
	s := openBolt(t, dir)
	ctx := context.Background()
	for i := range 120 {
		f, err := s.Files().Put(ctx, strings.NewReader(fmt.Sprint("file ", i%7)))
		must(t, err)
		must(t, s.Append(ctx, &Change{
			Link:    aLink(fmt.Sprint(i)),
			Entries: []*Entry{anEntry(passerelle.Partner, strings.Repeat("text ", i), f), anEntry("", "nobody")},
			Names:   []Name{aName(fmt.Sprint("name ", i))},
			Looks:   []Look{{Contract: deal, Key: fmt.Sprint(i)}},
		}))
		s.Files().Release(f)
	}
	for i := range 40 {
		e, err := s.Next(ctx, toPartner)
		must(t, err)
		must(t, s.Settle(ctx, e, Outcome{To: []Status{Done, Parked}[i%2]}))
	}
	must(t, s.Close())
	return dir
}

// readAll reads all that a store says, one line for each thing.
func readAll(s Store) ([]string, error) {
	ctx := context.Background()
	var all []string
	note := func(v ...any) {
		raw, _ := json.Marshal(v)
		all = append(all, string(raw))
	}
	for l, err := range s.Links(ctx) {
		if err != nil {
			return nil, err
		}
		note("link", l)
		found, err := s.Find(ctx, deal, passerelle.Requester, l.Requester.Key)
		if err == nil {
			note("found", found)
		} else if !errors.Is(err, passerelle.ErrNotFound) {
			return nil, err
		}
	}
	for _, q := range []Query{{}, {Status: []Status{Parked}}, {Status: []Status{Waiting}}} {
		for e, err := range s.Entries(ctx, q) {
			if err != nil {
				return nil, err
			}
			note(q, e)
		}
	}
	return all, nil
}

// damage copies a store, spoils the copy's database, and tells what becomes of
// it: it is refused at opening, says at some reading that it is damaged, hides
// some rows, or is whole. It never says anything that was not there: each row is
// sealed. That rows can be hidden is because bbolt does not seal its pages.
func damage(t *testing.T, from string, want []string, spoil func(db []byte) []byte) string {
	t.Helper()
	dir := t.TempDir()
	db, err := os.ReadFile(filepath.Join(from, dbName))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, dbName), spoil(db), 0o600))
	s, err := OpenBolt(dir)
	if err != nil {
		if !strings.Contains(err.Error(), filepath.Join(dir, dbName)) {
			t.Errorf("the error does not name the file: %v", err)
		}
		return "refused"
	}
	defer s.Close()
	got, err := readAll(s)
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("what was never written: %s", line)
		}
	}
	_ = s.Append(context.Background(), &Change{Link: aLink("after")}) // an error or none, but no panic
	if err != nil {
		return "damaged"
	}
	if len(got) < len(want) {
		return "hidden"
	}
	return "whole"
}

// TestMissingEvent: an entry is never shown, or lent, without its event.
func TestMissingEvent(t *testing.T) {
	s := NewMem()
	defer s.Close()
	ctx := context.Background()
	must(t, s.Append(ctx, &Change{Link: aLink("1"), Entries: []*Entry{anEntry(passerelle.Partner, "x")}}))
	must(t, s.(*engine).kv.update(func(w writer) error {
		w.del(eventBucket, numberKey(1))
		return nil
	}, func() {}))
	_, entry := s.Entry(ctx, 1)
	_, next := s.Next(ctx, toPartner)
	for what, err := range map[string]error{"entry": entry, "next": next} {
		if err == nil || errors.Is(err, passerelle.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestTruncated(t *testing.T) {
	dir := tornStore(t)
	s := openBolt(t, dir)
	want, err := readAll(s)
	must(t, err)
	must(t, s.Close())
	info, err := os.Stat(filepath.Join(dir, dbName))
	must(t, err)
	fates := map[string]int{}
	size := int(info.Size())
	for _, n := range []int{0, 1, 100, 4095, 4096, 4097, 8191, 8192, 12288, 16384, size / 3, size / 2, size * 3 / 4, size - 4096, size - 1, size} {
		fate := damage(t, dir, want, func(db []byte) []byte { return db[:n] })
		if fate != "refused" && fate != "whole" || n < size/2 && fate == "whole" {
			t.Errorf("cut to %d of %d bytes: %s", n, size, fate)
		}
		fates[fate]++
	}
	if fates["whole"] == 0 || fates["refused"] == 0 {
		t.Errorf("%v", fates)
	}
}

// TestFlipped changes single bytes, and whole pages as a torn write does.
func TestFlipped(t *testing.T) {
	rng := chance(t)
	dir := tornStore(t)
	s := openBolt(t, dir)
	want, err := readAll(s)
	must(t, err)
	must(t, s.Close())
	fates := map[string]int{}
	for i := range *flipsFlag {
		var what string
		fate := damage(t, dir, want, func(db []byte) []byte {
			what = spoilSome(rng, db, i%5 == 0)
			return db
		})
		if t.Failed() {
			t.Fatal(what)
		}
		fates[fate]++
	}
	if fates["whole"] == 0 || fates["damaged"] == 0 {
		t.Errorf("%v", fates)
	}
	t.Log(fates)
}

// spoilSome changes one byte, or half a page.
func spoilSome(rng *rand.Rand, db []byte, half bool) string {
	at := rng.IntN(len(db))
	if !half {
		db[at] ^= byte(1 + rng.IntN(255))
		return fmt.Sprintf("byte %d of page %d", at%4096, at/4096)
	}
	at = at/4096*4096 + 2048
	for i := range 2048 {
		db[at+i] = byte(rng.Int())
	}
	return fmt.Sprintf("second half of page %d", at/4096)
}

func TestOpenRefuses(t *testing.T) {
	for what, c := range map[string]struct {
		make func(dir string)
		says string
	}{
		"no database": {func(dir string) {
			must(t, os.WriteFile(filepath.Join(dir, dbName), []byte(strings.Repeat("#!/bin/sh\n", 2000)), 0o600))
		}, "no database of ours"},
		"empty": {func(dir string) {
			must(t, os.WriteFile(filepath.Join(dir, dbName), nil, 0o600))
		}, "cut short"},
		"newer": {func(dir string) { setSchema(t, dir, schema+1) }, "a newer one"},
		"open elsewhere": {func(dir string) {
			s := openBolt(t, dir)
			t.Cleanup(func() { s.Close() })
		}, "another process"},
		"a folder": {func(dir string) { must(t, os.Mkdir(filepath.Join(dir, dbName), 0o700)) }, "directory"},
	} {
		dir := t.TempDir()
		c.make(dir)
		_, err := OpenBolt(dir)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), filepath.Join(dir, dbName)) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestFaultIsAnError touches mapped memory that its file has lost, which is what
// a file cut short under a running store comes to.
func TestFaultIsAnError(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "mapped"))
	must(t, err)
	defer f.Close()
	must(t, f.Truncate(4096))
	page, err := syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ, syscall.MAP_SHARED)
	must(t, err)
	defer syscall.Munmap(page)
	must(t, f.Truncate(0))
	err = shielded("the file", func() error { return fmt.Errorf("read %d", page[7]) })
	if err == nil || !strings.Contains(err.Error(), "the file is damaged: it is cut short, or its disk cannot be read") {
		t.Error(err)
	}
}

func setSchema(t *testing.T, dir string, v uint64) {
	must(t, openBolt(t, dir).Close())
	path := filepath.Join(dir, dbName)
	db, err := bbolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bbolt.Tx) error {
		bt := &boltTx{tx: tx, store: newBolt(db, path)}
		bt.put(metaBucket, []byte(schemaKey), numberKey(v))
		return bt.err()
	}))
	must(t, db.Close())
}

// TestModes: what lies on disk is for the gateway's user alone.
func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := openBolt(t, dir)
	defer s.Close()
	f, err := s.Files().Put(context.Background(), strings.NewReader("x"))
	must(t, err)
	for path, want := range map[string]os.FileMode{
		dir: 0o700, filepath.Join(dir, dbName): 0o600, filepath.Join(dir, fileDir): 0o700,
		filepath.Join(dir, fileDir, f.Sum[:2], f.Sum): 0o600,
	} {
		info, err := os.Stat(path)
		must(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, should be %o", path, got, want)
		}
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	if len(names) != 2 {
		t.Errorf("the folder holds %v", names)
	}
}
