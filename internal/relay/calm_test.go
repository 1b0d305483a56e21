package relay

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"passerelle"
)

// TestCalm: a tool tells of each of our own writes. They are answered by one
// reading, once they are through; a ticket that we do not write to is read at once.
func TestCalm(t *testing.T) {
	w := &counted{}
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		hint := func() {
			if err := s.Look(t.Context(), ctr, passerelle.Partner, "10001"); err != nil {
				t.Error(err)
			}
		}
		s.partner.lately(func() {
			w.at = nil
			s.partner.snap = &passerelle.Snapshot{Ref: passerelle.Ref{Key: "10001", Number: "GSN1-1"}}
			s.partner.lose = func(*passerelle.Message, int) bool { hint(); return false }
		})
		for i := range 5 {
			s.must(event(passerelle.PublicLog, fmt.Sprintf("log#%d", i), "public_log", fmt.Sprintf("<p>n° %d</p>", i)))
		}
		reads := func(want int, when string) {
			t.Helper()
			synctest.Wait()
			s.partner.lately(func() {
				if len(w.at) != want {
					t.Errorf("%s: %d readings, want %d", when, len(w.at), want)
				}
			})
		}
		reads(0, "while we write")
		if n := len(s.partner.messages()); n != 6 {
			t.Fatalf("%d messages were delivered, want 6", n)
		}
		time.Sleep(2 * time.Second)
		reads(1, "afterwards")
		hint()
		reads(2, "at rest")
	}, with(passerelle.Partner, func(s *stage, t *Tool) { w.tool, t.Watch = s.partner, w; s.Calm = time.Second }))
}
