package relay

import (
	"strings"
	"testing"
	"time"

	"passerelle"
)

// R13: what has not been transmitted for four hours is told to its sender once,
// in its own tool, however much more it writes; and once when all has arrived.
func TestSenderIsToldOfWhatIsOverdue(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		back := s.partner.stops()
		s.must(event(passerelle.PublicLog, "log#1", "public_log", "<p>un</p>"))
		time.Sleep(3 * time.Hour)
		s.must(event(passerelle.PublicLog, "log#2", "public_log", "<p>deux</p>"))
		if strings.Contains(s.requester.bodies(), "transmis") {
			t.Errorf("told before its time: %s", s.requester.bodies())
		}
		time.Sleep(9 * time.Hour)
		if n := strings.Count(s.requester.bodies(), "pas encore pu être transmis"); n != 1 {
			t.Errorf("told %d times: %s", n, s.requester.bodies())
		}
		back()
		time.Sleep(time.Hour)
		if n := strings.Count(s.requester.bodies(), "tout ce qui attendait a maintenant"); n != 1 {
			t.Errorf("told %d times that all has arrived: %s", n, s.requester.bodies())
		}
		if n := strings.Count(s.partner.bodies(), "transmis"); n != 0 {
			t.Error("the other side was told too")
		}
	})
}

// A contract may say that nobody is told.
func TestTellAfterZeroTellsNobody(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		s.partner.stops()
		s.must(event(passerelle.PublicLog, "log#1", "public_log", "<p>un</p>"))
		time.Sleep(24 * time.Hour)
		if strings.Contains(s.requester.bodies(), "transmis") {
			t.Errorf("told: %s", s.requester.bodies())
		}
	}, func(s *stage) { s.Contracts[ctr].TellAfter = 0 })
}
