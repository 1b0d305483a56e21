package relay

import (
	"strings"
	"testing"
	"time"

	"passerelle"
	"passerelle/mapping"
)

// at_escalation: all, and our account may not see that ticket: what its people write
// is taken, answered « 0 » and never stored.
func TestLogOfATicketWeCannotRead(t *testing.T) {
	runInsa(t, nil, func(s *stage) {
		if _, err := s.Accept(t.Context(), insaCreate()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // snap is nil: « gone »
		l, err := s.Accept(t.Context(), insaEvent(passerelle.Requester, passerelle.PublicLog, "7", "7/public_log/z#1", "public_log", "<p>bonjour</p>"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(48 * time.Hour)
		st, err := s.Store.Stats(t.Context())
		if err != nil || st.Looks == 0 {
			t.Errorf("accepted, and gone without a trace: %q (%v)", s.story(l.ID), err)
		}
	})
}

// what the team reads of a re-escalation.
func TestNotificationOfAReescalation(t *testing.T) {
	run(t, func(s *stage) {
		s.Contracts[ctr].Notify = mapping.Notify{By: "comment", On: []passerelle.Kind{passerelle.Reopen}}
		s.must(createEvent())
		time.Sleep(time.Minute)
		s.must(partnerSays("Rejeté", "h/1", "reject_reason", "<p>non</p>"))
		time.Sleep(time.Minute)
		s.must(createEvent())
		time.Sleep(time.Hour)
		if strings.Contains(s.partner.bodies(), "nouveau ticket du demandeur") {
			t.Error("the team is told of a new ticket; it is the old one, reopened")
		}
	})
}

// an answer that comes too late to be one is a public entry all the same (R25).
func TestLateAnswerIsNotified(t *testing.T) {
	run(t, func(s *stage) {
		s.Contracts[ctr].Notify = mapping.Notify{By: "comment", On: []passerelle.Kind{passerelle.PublicLog}}
		s.must(createEvent())
		time.Sleep(time.Minute)
		back := s.requester.stops()
		s.must(partnerSays("En attente", "h/1"))
		s.must(event(passerelle.PublicLog, "log#1", "public_log", "<p>un détail</p>"))
		back()
		time.Sleep(time.Hour)
		if !strings.Contains(s.partner.bodies(), "un détail") || !strings.Contains(s.partner.bodies(), "nouvelle entrée du journal") {
			t.Errorf("the team is not told of it: %s", s.partner.messages())
		}
	})
}
