package relay

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"passerelle"
	"passerelle/internal/admin"
)

// re-escalation with a changed text: the comment is delivered, the reopening is not yet,
// and the partner counts as having been shown the new state.
func TestShownByTheCommentAlone(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		s.must(partnerSays("Rejeté", "h/1", "reject_reason", "<p>non</p>"))
		time.Sleep(time.Minute)
		s.partner.lately(func() {
			s.partner.fail = func(m *passerelle.Message, _ int) error {
				if m.Op == "core/apply_stimulus" {
					return passerelle.Errorf(passerelle.Temporary, "tool", "409")
				}
				return nil
			}
		})
		c := createEvent()
		c.Fields["description"] = "<p>plus précisément</p>"
		s.must(c)
		time.Sleep(time.Minute)
		if l := s.link(); l.Shown[passerelle.Partner] >= l.Turn {
			t.Errorf("shown %d of turn %d: the reopening has not arrived, %q", l.Shown[passerelle.Partner], l.Turn, s.story(l.ID))
		}
		s.must(partnerSays("A clôturer", "h/2"))
		if l := s.link(); l.State != passerelle.Open {
			t.Errorf("state %s: a change of a side that had not been shown the present state (R34)", l.State)
		}
	})
}

// GET /api/outbox?status= and ?status=parked,waiting, as the comment says.
func TestAdminStatus(t *testing.T) {
	run(t, func(s *stage) {
		s.partner.lately(func() {
			s.partner.fail = func(*passerelle.Message, int) error { return passerelle.Errorf(passerelle.Stuck, "tool", "400") }
		})
		s.must(createEvent())
		time.Sleep(time.Minute)
		h := admin.Handler(s.Store, []string{ctr}, s.Terms, s.Decided)
		for _, q := range []string{"?status=parked,waiting", "?status=", "?status=parkd", "?limit=-1"} {
			func() {
				defer func() {
					if p := recover(); p != nil {
						t.Errorf("%s: panic %v", q, p)
					}
				}()
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", "/api/outbox"+q, nil))
				t.Logf("%s: %d %.80s", q, w.Code, w.Body)
				if w.Code == 200 && strings.TrimSpace(w.Body.String()) == "[]" {
					t.Errorf("%s: nothing is listed, though an entry is parked", q)
				}
			}()
		}
	})
}
