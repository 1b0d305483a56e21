package relay

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"passerelle"
	"passerelle/outbox"
)

// partnerSays is an event read in the partner's Jira.
func partnerSays(signal, name string, fields ...string) *passerelle.Event {
	e := event("", name, fields...)
	e.From, e.Key, e.Signal, e.Read = passerelle.Partner, "10001", signal, true
	return e
}

// pending brings a fresh ticket to « A compléter », with both sides knowing it.
func (s *stage) pending() *passerelle.Link {
	s.must(createEvent())
	time.Sleep(time.Minute)
	s.must(partnerSays("En attente", "h/1"))
	time.Sleep(time.Minute)
	return s.link()
}

func (s *stage) link() *passerelle.Link {
	s.t.Helper()
	l, err := s.Find(s.t.Context(), ctr, passerelle.Requester, "7")
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

// stops has a tool answer nothing but errors of its own; the returned function
// brings it back.
func (t *tool) stops() (back func()) {
	t.lately(func() {
		t.fail = func(*passerelle.Message, int) error {
			return passerelle.Errorf(passerelle.Down, "tool", "503")
		}
	})
	return func() { t.lately(func() { t.fail = nil }) }
}

// R34: the first accepted change wins. The partner, who has not been shown the
// answer, rejects: the ticket stays open, the reason travels, Jira hears why.
func TestR34LateChangeHasNoEffect(t *testing.T) {
	run(t, func(s *stage) {
		s.pending()
		back := s.partner.stops()
		s.must(event(passerelle.PublicLog, "log#1", "public_log", "<p>La réponse</p>"))
		s.must(partnerSays("Rejeté", "h/2", "reject_reason", "<p>hors périmètre</p>"))
		if l := s.link(); l.State != passerelle.Open {
			t.Errorf("state %s, want open", l.State)
		}
		back()
		time.Sleep(time.Hour)
		if b := s.requester.bodies(); !strings.Contains(b, "hors périmètre") || strings.Contains(b, "ev_cex_resolve") {
			t.Errorf("the requester heard %s", b)
		}
		if b := s.partner.bodies(); !strings.Contains(b, "a croisé une action") || strings.Count(b, "ev_assign") != 1 {
			t.Errorf("the partner heard %s", b)
		}
	})
}

// R34: a change that was made in the tool before ours arrived there, but read
// only afterwards, is late too: the tool stands as ours left it.
func TestR34OvertakenChangeHasNoEffect(t *testing.T) {
	run(t, func(s *stage) {
		l := s.pending()
		s.must(event(passerelle.PublicLog, "log#1", "public_log", "<p>La réponse</p>"))
		time.Sleep(time.Minute) // « En cours » has arrived
		ours := partnerSays("En cours", "wrote/x")
		ours.Mark = fmt.Sprintf("%s/%s/4", ctr, l.ID)
		s.partner.lately(func() {
			s.partner.snap = &passerelle.Snapshot{Ref: passerelle.Ref{Key: "10001", Number: "GSN1-1"}, Events: []*passerelle.Event{partnerSays("A clôturer", "h/2"), ours}}
		})
		if err := s.Look(t.Context(), ctr, passerelle.Partner, "10001"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if l := s.link(); l.State != passerelle.Open {
			t.Errorf("state %s, want open", l.State)
		}
	})
}

// R34: while the message that shows the state is under way nobody knows which
// came first: the tool is brought back once more.
func TestR34BroughtBackAfterMessageUnderWay(t *testing.T) {
	run(t, func(s *stage) {
		s.pending()
		s.partner.lately(func() {
			s.partner.lose = func(m *passerelle.Message, try int) bool {
				if strings.Contains(string(m.Body), "ev_assign") && try == 1 {
					s.must(partnerSays("A clôturer", "h/2"))
				}
				return false
			}
		})
		s.must(event(passerelle.PublicLog, "log#1", "public_log", "<p>La réponse</p>"))
		time.Sleep(time.Hour)
		if n := strings.Count(s.partner.bodies(), "ev_assign"); n != 2 {
			t.Errorf("the partner was brought to « En cours » %d times, want 2", n)
		}
		if l := s.link(); l.State != passerelle.Open {
			t.Errorf("state %s, want open", l.State)
		}
	})
}

// R34: closing always wins, and what was queued for the one who closed is
// superseded.
func TestR34ClosingWins(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		s.must(partnerSays("A clôturer", "h/1"))
		time.Sleep(time.Minute)
		back := s.requester.stops()
		s.must(partnerSays("Rejeté", "h/2", "reject_reason", "<p>non</p>"))
		s.must(event(passerelle.Close, ""))
		back()
		time.Sleep(time.Hour)
		l := s.link()
		if l.State != passerelle.Closed {
			t.Errorf("state %s, want closed", l.State)
		}
		if got := s.story(l.ID); !slices.Contains(got, "reject→requester superseded") {
			t.Errorf("the queued rejection was sent: %q", got)
		}
	})
}

// R34: a side that has gone to the present state by itself knows it: its next
// change is not late.
func TestR34SameStateIsShown(t *testing.T) {
	run(t, func(s *stage) {
		s.pending()
		back := s.partner.stops()
		s.must(event(passerelle.PublicLog, "log#1", "public_log", "<p>La réponse</p>"))
		s.must(partnerSays("En cours", "h/2"))
		s.must(partnerSays("A clôturer", "h/3"))
		back()
		time.Sleep(time.Hour)
		l := s.link()
		if l.State != passerelle.Resolved {
			t.Errorf("state %s, want resolved", l.State)
		}
		for e, err := range s.Store.Entries(t.Context(), outbox.Query{Link: l.ID}) {
			if err == nil && e.Template == "end-pending" && e.Status != outbox.Superseded {
				t.Errorf("end-pending is %s: it would undo the resolution", e.Status)
			}
		}
	})
}
