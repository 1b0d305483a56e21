package outbox

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"passerelle"

	"go.etcd.io/bbolt"
)

func TestKept(t *testing.T) {
	eachStore(t, func(r *rig) {
		r.keep("cursor/jira", "2026-11-21T12:00:00Z")
		r.keep("cursor/itop", `{"at":"now"}`)
		r.keep("cursor/itop", "é\x00\n")
		r.keep("gone", "x")
		r.keep("gone", "")
		r.keep("never there", "")
		r.readBack()
		r.reopen()
		r.readBack()
		for _, key := range []string{"", strings.Repeat("x", longestKey+1)} {
			if err := r.s.Keep(r.ctx, key, "x"); err == nil || !strings.Contains(err.Error(), "keep: the key") {
				r.Errorf("a key of %d bytes: %v", len(key), err)
			}
			if v, err := r.s.Kept(r.ctx, key); v != "" || err != nil {
				r.Errorf("a key of %d bytes holds %q, %v", len(key), v, err)
			}
		}
		r.must(r.s.Close())
		_, kept := r.s.Kept(r.ctx, "gone")
		for what, err := range map[string]error{"kept": kept, "keep": r.s.Keep(r.ctx, "a", "b")} {
			if !errors.Is(err, ErrClosed) {
				r.Errorf("%s after Close: %v", what, err)
			}
		}
		r.s = r.open(r.TB)
	})
}

// TestKeptTableIsAdded: databases had none at first. Any other table that is
// missing is a damage.
func TestKeptTableIsAdded(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	must(t, openBolt(t, dir).Close())
	dropTable(t, dir, keptBucket)
	for range 2 {
		s := openBolt(t, dir)
		must(t, s.Keep(ctx, "a", "b"))
		if v, err := s.Kept(ctx, "a"); v != "b" || err != nil {
			t.Errorf("kept %q, %v", v, err)
		}
		must(t, s.Close())
	}
	dropTable(t, dir, nameBucket)
	if _, err := OpenBolt(dir); err == nil || !strings.Contains(err.Error(), "is damaged: table names is missing") {
		t.Errorf("without a table: %v", err)
	}
}

func dropTable(t *testing.T, dir string, name bucket) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, dbName), 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(name)) }))
	must(t, db.Close())
}

func TestWrote(t *testing.T) {
	eachStore(t, func(r *rig) {
		at := func(s passerelle.Side, names ...string) (out []Name) {
			for _, n := range names {
				out = append(out, Name{deal, s, n})
			}
			return out
		}
		r.ticket("10", anEntry(passerelle.Partner, "a"))
		e := r.lend(toPartner)
		r.must(r.sent(e, 1, append(at(passerelle.Partner, "one"), at(passerelle.Requester, "not there")...)...))
		r.must(r.settle(e, Outcome{To: Waiting, Names: at(passerelle.Partner, "one", "two")}))
		r.reopen()
		e = r.lend(toPartner)
		r.must(r.sent(e, 2, at(passerelle.Partner, "three")...))
		r.must(r.settle(e, Outcome{To: Done, Names: at(passerelle.Partner, "four", "three")}))
		if want := []string{"one", "two", "three", "four"}; !slices.Equal(e.Wrote, want) {
			r.Errorf("wrote %q, not %q", e.Wrote, want)
		}
	})
}

func TestGivenNumber(t *testing.T) {
	given := func(key, id string) *passerelle.Link {
		l := aLink(key)
		l.ID, l.Own = id, passerelle.Ref{Key: id}
		return l
	}
	eachStore(t, func(r *rig) {
		r.ticket("10")
		r.skip(5)
		l := given("11", "4")
		r.must(r.append(&Change{Link: l, OwnFormat: "FRS-%06d", Entries: []*Entry{anEntry(passerelle.Partner, "x")}}))
		if l.Own.Number != "FRS-000004" || l.Version != 1 {
			r.Errorf("the link is %+v", l)
		}
		named := given("12", "6")
		named.Own.Number = "OLD-6"
		r.must(r.append(&Change{Link: named, OwnFormat: "FRS-%06d"}))
		if got := r.readLink(deal, passerelle.Broker, "OLD-6"); got == nil || got.ID != "6" {
			r.Errorf("OLD-6 finds %+v", got)
		}
		if next := r.ticket("13"); next.ID != "7" {
			r.Errorf("the next link is %s", next.ID)
		}
		if e := r.lend(toPartner); e.Link != "4" {
			r.Errorf("lent an entry of link %s", e.Link)
		}
		r.refusesGiven(given)
	})
}

func (r *rig) refusesGiven(given func(key, id string) *passerelle.Link) {
	r.Helper()
	for _, id := range []string{"1", "4", "7"} {
		if err := r.append(&Change{Link: given("20", id)}); !errors.Is(err, ErrConflict) {
			r.Errorf("the number %s of another: %v", id, err)
		}
	}
	if err := r.append(&Change{Link: given("20", "8")}); err == nil || !strings.Contains(err.Error(), "number 8, after the last 7, was never given") {
		r.Errorf("a number never given: %v", err)
	}
	if err := r.append(&Change{Link: given("10", "3")}); !errors.Is(err, ErrConflict) {
		r.Errorf("another's requester key: %v", err)
	}
	other := given("20", "3")
	other.Own.Key = "5"
	for what, l := range map[string]*passerelle.Link{"other key": other, "zeros": given("20", "03"), "word": given("20", "three"), "zero": given("20", "0")} {
		if err := r.s.Append(r.ctx, &Change{Link: l}); err == nil || errors.Is(err, ErrConflict) {
			r.Errorf("%s: %v", what, err)
		}
	}
	r.must(r.append(&Change{Link: given("10", "3"), Follows: "1"})) // knowing of it
}
