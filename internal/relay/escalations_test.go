package relay

import (
	"strings"
	"testing"
	"time"

	"passerelle"
	"passerelle/internal/admin"
	"passerelle/outbox"

	"net/http/httptest"
)

// an agent answers a rejection in the journal (refused, noted), then assigns the
// ticket to the partner again: the create shows that same entry as its newest.
func TestReescalationAfterARefusedLog(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		s.must(partnerSays("Rejeté", "h/1", "reject_reason", "<p>hors périmètre</p>"))
		time.Sleep(time.Minute)
		why := event(passerelle.PublicLog, "7/public_log/aaa#1", "public_log", "<p>Si, c'est pour vous, parce que…</p>")
		if _, err := s.Accept(t.Context(), why); passerelle.ClassOf(err) != passerelle.Refused {
			t.Fatalf("a log in « Réaffectée »: %v", err)
		}
		time.Sleep(time.Minute)
		c := createEvent()
		head := event(passerelle.PublicLog, "7/public_log/aaa#1", "public_log", "<p>Si, c'est pour vous, parce que…</p>")
		if _, err := s.Accept(t.Context(), c, head); err != nil {
			t.Errorf("the re-escalation is refused: %v", err)
		}
		time.Sleep(time.Hour)
		if l := s.link(); l.State != passerelle.Open {
			t.Errorf("state %s, want open", l.State)
		}
		if !strings.Contains(s.partner.bodies(), "parce que") {
			t.Error("the words never reached the partner")
		}
	})
}

// the same for a ticket that was never escalated: the log trigger fires first.
func TestCreateAfterARefusedLog(t *testing.T) {
	run(t, func(s *stage) {
		log := func() *passerelle.Event {
			return event(passerelle.PublicLog, "7/public_log/aaa#1", "public_log", "<p>mon imprimante fume</p>")
		}
		if _, err := s.Accept(t.Context(), log()); passerelle.ClassOf(err) != passerelle.Refused {
			t.Fatal(err)
		}
		if _, err := s.Accept(t.Context(), createEvent(), log()); err != nil {
			t.Errorf("the escalation is refused: %v", err)
		}
		time.Sleep(time.Hour)
		if got := s.partner.messages(); len(got) == 0 {
			t.Error("the partner heard nothing: the ticket is lost")
		}
		if !strings.Contains(s.partner.bodies(), "imprimante") {
			t.Error("the words are lost")
		}
	})
}

// closed ticket: the log in « Fermée » was refused (« créez-en un autre »), the new create's newest entry.
func TestCreateAfterClosedLog(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		s.must(partnerSays("A clôturer", "h/1"))
		time.Sleep(time.Minute)
		s.must(event(passerelle.Close, ""))
		time.Sleep(time.Minute)
		log := func() *passerelle.Event {
			return event(passerelle.PublicLog, "7/public_log/aaa#1", "public_log", "<p>cela recommence</p>")
		}
		s.Accept(t.Context(), log())
		time.Sleep(time.Minute)
		if _, err := s.Accept(t.Context(), createEvent(), log()); err != nil {
			t.Errorf("refused: %v", err)
		}
		time.Sleep(time.Hour)
		if !strings.Contains(s.partner.bodies(), "cela recommence") {
			t.Error("the words are lost")
		}
	})
}

// a late pushed status change, made again as the note asks.
func TestLateChangeMadeAgain(t *testing.T) {
	run(t, func(s *stage) {
		s.pending()
		back := s.partner.stops()
		s.must(event(passerelle.PublicLog, "log#1", "public_log", "<p>La réponse</p>"))
		reject := func() *passerelle.Event { // an agent or an iTop pushes: no name of its own
			return &passerelle.Event{Contract: ctr, From: passerelle.Partner, Key: "10001", Signal: "ev_cex_resolve",
				Fields: map[string]string{"resolutioncode_id": "reject", "solution": "<p>hors périmètre</p>"}}
		}
		if _, err := s.Accept(t.Context(), reject()); err != nil {
			t.Fatal(err)
		}
		back()
		time.Sleep(time.Hour)
		if b := s.partner.bodies(); !strings.Contains(b, "Recommencez si") {
			t.Fatalf("the partner heard %s", b)
		}
		if _, err := s.Accept(t.Context(), reject()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if l := s.link(); l.State != passerelle.Rejected {
			t.Errorf("the partner did it again as it was told: state %s, want rejected; the requester heard %s", l.State, s.requester.bodies())
		}
	})
}

// the text of a late change that has no row for a log is said to be carried.
func TestLateTextThatIsNotCarried(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		s.must(partnerSays("A clôturer", "h/1"))
		time.Sleep(time.Minute)
		back := s.requester.stops()
		s.must(partnerSays("Rejeté", "h/2", "reject_reason", "<p>non</p>"))
		reopen := event("", "", "reopen_reason", "<p>toujours en panne au bâtiment C</p>")
		reopen.Signal = "ev_reopen"
		if _, err := s.Accept(t.Context(), reopen); err != nil {
			t.Fatal(err)
		}
		back()
		time.Sleep(time.Hour)
		if strings.Contains(s.requester.bodies(), "Son texte a été transmis") && !strings.Contains(s.partner.bodies(), "bâtiment C") {
			t.Errorf("the requester is told that its text was carried, and it was not: partner heard %s", s.partner.bodies())
		}
	})
}

// a dropped create: nothing ever makes the ticket.
func TestDroppedCreate(t *testing.T) {
	run(t, func(s *stage) {
		s.partner.lately(func() {
			s.partner.fail = func(*passerelle.Message, int) error { return passerelle.Errorf(passerelle.Stuck, "tool", "400") }
		})
		l := s.must(createEvent())
		time.Sleep(time.Minute)
		if _, err := s.Store.Drop(t.Context(), 1, outbox.Decision{By: "op", Why: "wrong by mistake"}); err != nil {
			t.Fatal(err)
		}
		s.partner.lately(func() { s.partner.fail = nil })
		_, err := s.Accept(t.Context(), createEvent())
		time.Sleep(time.Hour)
		t.Logf("same create again: %v; partner heard %v", err, s.partner.messages())
		_, err = s.Store.Retry(t.Context(), 1, outbox.Decision{By: "op", Why: "the hint says so"})
		t.Logf("retry of the dropped: %v", err)
		h := admin.Handler(s.Store, []string{ctr}, s.Terms, s.Decided)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/api/end/"+l.Own.Number, strings.NewReader(`{"by":"op","why":"start over"}`)))
		t.Logf("end: %d", w.Code)
		_, err = s.Accept(t.Context(), createEvent())
		time.Sleep(time.Hour)
		t.Logf("create after end: %v; partner heard %v; story %q", err, s.partner.messages(), s.story(l.ID))
		found := false
		for _, op := range s.partner.messages() {
			found = found || op == "core/create"
		}
		if !found {
			t.Error("no way is left to make the partner's ticket")
		}
	})
}

// ended by an operator: « both tickets stay as they are ».
func TestEndedPairStaysAsItIs(t *testing.T) {
	run(t, func(s *stage) {
		l := s.must(createEvent())
		time.Sleep(time.Minute)
		back := s.requester.stops()
		s.must(partnerSays("A clôturer", "h/1", "solution", "<p>fait</p>"))
		time.Sleep(time.Minute) // it was tried, and is not under way
		s.must(event(passerelle.Leave, "7/leave"))
		h := admin.Handler(s.Store, []string{ctr}, s.Terms, s.Decided)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/api/end/"+l.Own.Number, strings.NewReader(`{"by":"op","why":"it is theirs now"}`)))
		if w.Code != 200 {
			t.Fatal(w.Body)
		}
		back()
		time.Sleep(time.Hour)
		if strings.Contains(s.requester.bodies(), "ev_cex_resolve") {
			t.Errorf("the requester's ticket, out of the interface, was resolved: story %q", s.story(l.ID))
		}
	})
}
