package relay

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"passerelle"
	"passerelle/internal/admin"
	"passerelle/mapping"
)

// the same at the requester, by the reference contract: an agent refuses the
// solution while the rejection is on its way, is told to do it again, and does.
func TestLateReopenMadeAgain(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		s.must(partnerSays("A clôturer", "h/1"))
		time.Sleep(time.Minute)
		back := s.requester.stops()
		s.must(partnerSays("Rejeté", "h/2", "reject_reason", "<p>non</p>"))
		reopen := func(why string) *passerelle.Event {
			e := event("", "", "reopen_reason", why)
			e.Signal = "ev_reopen"
			return e
		}
		s.must(reopen("<p>toujours en panne</p>"))
		back()
		time.Sleep(time.Hour) // the rejection and the note have arrived
		if !strings.Contains(s.requester.bodies(), "Recommencez si") || s.link().Shown[passerelle.Requester] != s.link().Turn {
			t.Fatal("not told")
		}
		s.must(reopen("<p>je le refuse, car …</p>"))
		time.Sleep(time.Hour)
		if l := s.link(); l.State != passerelle.Open || !strings.Contains(s.partner.bodies(), "ev_reopen") {
			t.Errorf("state %s; the agent's second ev_reopen was swallowed: %q", l.State, s.story(l.ID))
		}
	})
}

// an operator ends what was never escalated (a log was refused): its first create makes no ticket.
func TestEndOfANewPair(t *testing.T) {
	run(t, func(s *stage) {
		s.Accept(t.Context(), event(passerelle.PrivateLog, "7/private_log/a#1", "private_log", "<p>x</p>"))
		h := admin.Handler(s.Store, []string{ctr}, s.Terms, s.Decided)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/api/end/7", strings.NewReader(`{"by":"op","why":"noise"}`)))
		t.Log(w.Code)
		s.must(createEvent())
		time.Sleep(time.Hour)
		if got := s.partner.messages(); len(got) != 1 || got[0] != "core/create" {
			t.Errorf("the partner heard %q, want a create", got)
		}
	})
}

// taken away, given back, taken away again: R32 tells once.
func TestLeftTwice(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		leave := func() *passerelle.Event { e := event("", ""); e.Signal, e.At = "ev_leave", time.Now(); return e }
		s.must(leave())
		time.Sleep(24 * time.Hour)
		one := strings.Count(s.partner.bodies(), "réaffecté")
		s.Accept(t.Context(), createEvent()) // given back: the trigger pushes a create, which is known
		time.Sleep(24 * time.Hour)
		s.must(leave())
		time.Sleep(time.Hour)
		if n := strings.Count(s.partner.bodies(), "réaffecté"); n != 2*one {
			t.Errorf("told %d times, want %d", n, 2*one)
		}
	})
}

// ended while its create waits: it is made all the same, and nobody learns its number.
func TestEndedBeforeItsCreateWent(t *testing.T) {
	run(t, func(s *stage) {
		back := s.partner.stops()
		l := s.must(createEvent())
		time.Sleep(time.Minute) // it was tried, and is not under way
		h := admin.Handler(s.Store, []string{ctr}, s.Terms, s.Decided)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/api/end/"+l.Own.Number, strings.NewReader(`{"by":"op","why":"theirs"}`)))
		back()
		time.Sleep(time.Hour)
		if strings.Contains(strings.Join(s.partner.messages(), " "), "core/create") {
			t.Errorf("made after the pair was ended; the requester heard %q; story %q", s.requester.messages(), s.story(l.ID))
		}
	})
}

// a notification by comment, at an iTop, pushed back in the midst of the write.
func TestEchoOfANotificationToo(t *testing.T) {
	runInsa(t, func(c *mapping.Contract) { c.Notify.By = "comment" }, func(s *stage) {
		s.partner.lately(func() {
			s.partner.lose = func(m *passerelle.Message, try int) bool {
				if strings.Contains(string(m.Body), "nouveau ticket du demandeur") {
					s.Accept(t.Context(), insaEvent(passerelle.Partner, passerelle.PrivateLog, "10001", "wrote/"+m.ID, "private_log",
						"<p>Passerelle : R-000007 : nouveau ticket du demandeur.</p><p>Gateway: R-000007: a new ticket of the requester's.</p>"))
				}
				return false
			}
		})
		if _, err := s.Accept(t.Context(), insaCreate()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if strings.Contains(s.requester.bodies(), "nouveau ticket du demandeur") {
			t.Errorf("an echo: %s", s.requester.bodies())
		}
	})
}

// told that it waits and that a note will follow, then superseded: no note.
func TestSupersededAfterTold(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		s.must(partnerSays("A clôturer", "h/1"))
		time.Sleep(time.Minute)
		back := s.requester.stops()

		s.must(partnerSays("Rejeté", "h/2", "reject_reason", "<p>non</p>"))
		time.Sleep(6 * time.Hour)
		n := strings.Count(s.partner.bodies(), "pas encore pu")
		s.must(event(passerelle.Close, ""))
		back()
		time.Sleep(time.Hour)
		l := s.link()
		t.Logf("told %d; %q", n, s.story(l.ID))
		if n > 0 && !strings.Contains(s.partner.bodies(), "ne sera pas transmis") {
			t.Error("no second note")
		}
	})
}
