package outbox

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"passerelle"
)

// Stats tells since when an entry could have been lent and was not: what nobody
// takes is seen.
func TestDueTellsWhatNobodyTakes(t *testing.T) {
	eachStore(t, func(r *rig) {
		want := func(what string, ago time.Duration) {
			r.Helper()
			st, err := r.s.Stats(r.Context())
			r.must(err)
			got, due := st.Due[toPartner]
			if due != (ago > 0) || due && time.Since(got) != ago {
				r.Errorf("%s: due since %v (%v), want %v ago", what, got, due, ago)
			}
		}
		r.ticket("7", anEntry(toPartner.Side, "a"))
		time.Sleep(time.Hour)
		want("nobody took it", time.Hour)
		e := r.lend(toPartner)
		want("lent", 0)
		r.must(r.settle(e, Outcome{To: Waiting, Before: time.Now().Add(time.Minute)}))
		want("put off", 0)
		time.Sleep(2 * time.Minute)
		want("due again", time.Minute)
	})
}

// What was put off is due after that time has passed, however the clock of the
// wall is changed meanwhile; at a start nothing lies further ahead than anything
// is ever put off by.
func TestClockPutBack(t *testing.T) {
	wall := time.Now().Add(time.Minute).Round(0)
	if d := time.Until(steady(wall)); d < 59*time.Second || d > time.Minute {
		t.Errorf("a minute ahead became %v", d)
	}
	if steady(wall).String() == wall.String() {
		t.Error("the time hangs on the clock of the wall")
	}
	if ahead := time.Until(within(time.Now().Add(26 * time.Hour))); ahead > longestDelay {
		t.Errorf("%v ahead after the clock was put back", ahead)
	}
}

// TestStatsWhileTheFileGrows asks what waits while commits make the file longer, and
// move it in memory.
func TestStatsWhileTheFileGrows(t *testing.T) {
	for range 4 {
		s := openBolt(t, t.TempDir())
		var done atomic.Bool
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for !done.Load() {
					if _, err := s.Stats(t.Context()); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for i := range 12 { // the file's length doubles
			must(t, s.Append(t.Context(), &Change{Link: aLink(fmt.Sprint(i)), Entries: []*Entry{anEntry(passerelle.Partner, strings.Repeat("x", 8192<<min(i, 10)))}}))
		}
		done.Store(true)
		wg.Wait()
		must(t, s.Close())
	}
}
