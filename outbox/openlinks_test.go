package outbox

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"passerelle"

	"go.etcd.io/bbolt"
)

// TestOpenLinks takes links of two contracts through every state and back, with a
// purge between: the open ones are listed, of the right contract, the oldest first.
func TestOpenLinks(t *testing.T) {
	eachStore(t, func(r *rig) {
		other := aLink("10")
		other.Contract = deal + "-2"
		r.must(r.append(&Change{Link: other}))
		var links []*passerelle.Link
		for i := range len(passerelle.States()) {
			links = append(links, r.ticket(fmt.Sprint(20+i)))
		}
		for turn := range 2 * len(passerelle.States()) {
			for i, l := range links {
				l.State = passerelle.States()[(i+turn)%len(passerelle.States())]
				r.add(l)
				if AtRest(l.State) {
					_, err := r.purge(l.ID, thePurge)
					r.must(err)
					links[i] = r.readLink(deal, passerelle.Broker, l.ID)
				}
			}
			if got, want := len(r.readOpen(deal)), len(passerelle.States())-2; got != want {
				r.Fatalf("%d links are open, not %d", got, want)
			}
		}
		if got := r.readOpen(other.Contract); len(got) != 1 || got[0].ID != other.ID {
			r.Errorf("of the other contract: %v", got)
		}
		if got := r.readOpen("no"); len(got) > 0 {
			r.Errorf("of no contract: %v", got)
		}
	})
}

// TestOpenLinksInPages lists more than one transaction reads.
func TestOpenLinksInPages(t *testing.T) {
	eachStore(t, func(r *rig) {
		for i := range 2 * page {
			l := r.ticket(fmt.Sprint(i))
			if i%3 == 0 {
				l.State = passerelle.Closed
				r.add(l)
			}
		}
	})
}

// TestOpenLinksAreListedAtOpening: where another program has written, the index is
// made when the store is opened next, of whatever kind that is.
func TestOpenLinksAreListedAtOpening(t *testing.T) {
	eachStore(t, func(r *rig) {
		for i := range 5 {
			r.ticket(fmt.Sprint(i))
		}
		r.must(r.s.(*engine).commit.do(func(t *tx) error {
			for n := range uint64(5) {
				t.del(openBucket, openKey(deal, n+1))
			}
			t.del(metaBucket, []byte(openedKey))
			return nil
		}))
		r.reopen()
		if got := r.readOpen(deal); len(got) != 5 {
			r.Errorf("%d links are listed", len(got))
		}
	})
}

// readOpen compares the open links of a contract, and sees that the index holds no
// others.
func (r *rig) readOpen(contract string) []*passerelle.Link {
	r.Helper()
	var got, want []*passerelle.Link
	for l, err := range r.s.OpenLinks(r.ctx, contract) {
		r.must(err)
		got = append(got, l)
	}
	for _, l := range r.m.links {
		if l.Contract == contract && l.State != passerelle.New && l.State != passerelle.Closed {
			want = append(want, l)
		}
	}
	r.same("open links", got, want)
	rows := 0
	r.must(r.s.(*engine).view(r.ctx, "rows", func(rd reader) error {
		for range rd.scan(openBucket, openPrefix(contract), nil) {
			rows++
		}
		return nil
	}))
	r.same("rows of the index", rows, len(want))
	return got
}

// TestAnOlderProgramsLinksAreListed: links that a program wrote which does not know
// the index of open ones are in it once a newer one opens the store, whether the
// index was never made or is behind; one that was closed meanwhile is not told.
func TestAnOlderProgramsLinksAreListed(t *testing.T) {
	for name, upTo := range map[string]int{"never made": 0, "behind": indexStep + 7} {
		t.Run(name, func(t *testing.T) {
			dir, n := t.TempDir(), 2*indexStep+10
			want := manyLinks(t, dir, n)
			db, err := bbolt.Open(filepath.Join(dir, dbName), 0o600, nil)
			must(t, err)
			must(t, db.Update(func(tx *bbolt.Tx) error {
				w := &boltTx{tx: tx, store: newBolt(db, dir)}
				for i := upTo + 1; i <= n; i++ {
					w.del(openBucket, openKey(deal, uint64(i)))
				}
				if upTo == 0 {
					must(t, tx.DeleteBucket([]byte(openBucket)))
					w.del(metaBucket, []byte(openedKey))
				} else {
					w.put(metaBucket, []byte(openedKey), numberKey(uint64(upTo)))
					w.put(openBucket, openKey(deal, 2), nil) // closed by the older program
				}
				return w.err()
			}))
			must(t, db.Close())
			for range 2 {
				s := openBolt(t, dir)
				var got []string
				for l, err := range s.OpenLinks(context.Background(), deal) {
					must(t, err)
					got = append(got, l.ID)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%d links are listed, %d are open", len(got), len(want))
				}
				must(t, s.Close())
			}
		})
	}
}

// manyLinks makes a store of so many links, of which every second is closed, in
// few commits, and returns the IDs of the others.
func manyLinks(t *testing.T, dir string, n int) (open []string) {
	t.Helper()
	s := openBolt(t, dir)
	must(t, s.(*engine).commit.do(func(t *tx) error {
		for i := 1; i <= n; i++ {
			l := aLink(fmt.Sprint(i))
			if i%2 == 0 {
				l.State = passerelle.Closed
			}
			t.baptize(l, "")
			t.saveLink(l, nil)
			if i%2 == 1 {
				open = append(open, l.ID)
			}
		}
		return nil
	}))
	must(t, s.Close())
	return open
}
