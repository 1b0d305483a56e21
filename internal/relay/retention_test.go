package relay

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"passerelle"
	"passerelle/outbox"
)

const days = 24 * time.Hour

func keptFor(d time.Duration) func(*stage) {
	return func(s *stage) { s.Retention = Retention{Texts: d} }
}

// words tells whether anything of a text is left in a ticket's story or its link.
func (s *stage) words(link, text string) bool {
	s.t.Helper()
	l, err := s.Store.Find(s.t.Context(), "orleans-tours-gar", passerelle.Broker, link)
	if err != nil {
		s.t.Fatal(err)
	}
	all := ""
	for _, v := range l.Facts {
		all += v + " "
	}
	for e, err := range s.Store.Entries(s.t.Context(), outbox.Query{Link: link}) {
		if err != nil {
			s.t.Fatal(err)
		}
		all += e.Error + e.Note
		for _, v := range e.Event.Fields {
			all += v + " "
		}
	}
	return strings.Contains(all, text)
}

// closeTicket brings the ticket to its end, a day after it began.
func (s *stage) closeTicket() *passerelle.Link {
	s.t.Helper()
	l := s.must(createEvent())
	s.must(event(passerelle.PublicLog, "log/1", "public_log", "<p>canari</p>"))
	time.Sleep(days)
	resolved := event(passerelle.Resolve, "resolved/1", "solution", "<p>fait</p>")
	resolved.From, resolved.Key = passerelle.Partner, "10001"
	s.must(resolved)
	time.Sleep(time.Minute)
	s.must(event(passerelle.Close, "", "user_comment", "merci"))
	time.Sleep(time.Minute)
	return l
}

// TestRetention: the words of a ticket go when it has been closed for the time
// that is configured, not before, whatever is tried on it meanwhile; the log and a
// metric tell. What comes after the purge goes in its turn.
func TestRetention(t *testing.T) {
	run(t, func(s *stage) {
		l := s.closeTicket()
		time.Sleep(80 * days)
		if _, err := s.Accept(t.Context(), event(passerelle.PublicLog, "log/2", "public_log", "<p>trop tard</p>")); passerelle.ClassOf(err) != passerelle.Refused {
			t.Fatal(err)
		}
		time.Sleep(9 * days)
		if !s.words(l.ID, "canari") {
			t.Error("the words are gone before their time")
		}
		time.Sleep(2 * days)
		if s.words(l.ID, "canari") || s.words(l.ID, "fait") || s.words(l.ID, "merci") {
			t.Error("the words are still there")
		}
		if !strings.Contains(s.logs.String(), "msg=purged") || strings.Contains(s.logs.String(), "canari") {
			t.Errorf("the log says %s", s.logs)
		}
		if _, err := s.Accept(t.Context(), event(passerelle.PublicLog, "log/1", "public_log", "<p>canari</p>")); err != nil {
			t.Errorf("a fact of before, told again: %v", err)
		}
		for range 2 {
			if _, err := s.Accept(t.Context(), event(passerelle.PublicLog, "log/2", "public_log", "<p>trop tard</p>")); passerelle.ClassOf(err) != passerelle.Refused || !strings.Contains(err.Error(), "refused") {
				t.Errorf("a refusal of before, told again: %v", err)
			}
		}
		n := len(s.story(l.ID))
		if _, err := s.Accept(t.Context(), event(passerelle.PublicLog, "log/3", "public_log", "<p>encore</p>")); passerelle.ClassOf(err) != passerelle.Refused {
			t.Error(err)
		}
		if got := len(s.story(l.ID)); got != n+2 { // the refusal and its note
			t.Errorf("a late entry on a purged ticket made %d rows", got-n)
		}
		time.Sleep(time.Minute)
		if !s.words(l.ID, "a pas été transmis") {
			t.Error("the late note is not kept for its time")
		}
		time.Sleep(91 * days)
		if s.words(l.ID, "a pas été transmis") {
			t.Error("what came after the purge is kept for good")
		}
		s.counts("passerelle_purged_tickets_total", 2)
	}, keptFor(90*days))
}

func (s *stage) counts(name string, want float64) {
	s.t.Helper()
	reg := prometheus.NewRegistry()
	if err := s.Register(reg); err != nil {
		s.t.Fatal(err)
	}
	all, err := reg.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			if got := f.Metric[0].Counter.GetValue(); got != want {
				s.t.Errorf("%s is %v, not %v", name, got, want)
			}
			return
		}
	}
	s.t.Errorf("there is no %s", name)
}

// TestRetentionWaits: a closed ticket of which something is parked keeps its words
// until somebody decides; one that is open keeps them; without a time all do.
func TestRetentionWaits(t *testing.T) {
	run(t, func(s *stage) {
		s.partner.fail = func(m *passerelle.Message, _ int) error {
			if m.Kind == passerelle.Close {
				return passerelle.Errorf(passerelle.Stuck, "tool", "no")
			}
			return nil
		}
		l := s.closeTicket()
		time.Sleep(120 * days)
		if !s.words(l.ID, "canari") {
			t.Error("the words of a parked ticket are gone")
		}
		var parked uint64
		for e, err := range s.Store.Entries(t.Context(), outbox.Query{Status: []outbox.Status{outbox.Parked}}) {
			if err != nil {
				t.Fatal(err)
			}
			parked = e.ID
		}
		if _, err := s.Purge(t.Context(), l.Contract, l.ID, outbox.PurgeOrder{Decision: outbox.Decision{By: "dpo", Why: "asked"}}); !errors.Is(err, outbox.ErrUnsettled) || !strings.Contains(err.Error(), "--force") {
			t.Errorf("purged by hand: %v", err)
		}
		if _, err := s.Store.Drop(t.Context(), parked, outbox.Decision{By: "op", Why: "said by telephone"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if s.words(l.ID, "canari") {
			t.Error("the words are still there after the decision")
		}
		if strings.Contains(s.logs.String(), "cannot purge") {
			t.Errorf("what waits holds the others up: %s", s.logs)
		}
	}, keptFor(90*days))
	run(t, func(s *stage) {
		l := s.must(createEvent())
		time.Sleep(150 * days)
		if !s.words(l.ID, "0750655E") {
			t.Error("an open ticket is purged")
		}
	}, keptFor(90*days))
	run(t, func(s *stage) {
		l := s.closeTicket()
		time.Sleep(150 * days)
		if !s.words(l.ID, "canari") {
			t.Error("purged, where nothing says so")
		}
	})
}

// TestErrorsDoNotQuote: what a tool quotes of a text stays out of the story.
func TestErrorsDoNotQuote(t *testing.T) {
	run(t, func(s *stage) {
		s.partner.fail = func(m *passerelle.Message, _ int) error {
			if m.Kind == passerelle.PrivateLog {
				return passerelle.Errorf(passerelle.Stuck, "jira", "customfield_12003: « le mot de passe est canari-très-long-mot » cannot be set")
			}
			return nil
		}
		l := s.must(createEvent())
		s.must(event(passerelle.PrivateLog, "log/1", "private_log", "<p>Bonjour, le mot de passe est canari-très-long-mot&nbsp;!</p>"))
		time.Sleep(time.Hour)
		for e, err := range s.Store.Entries(t.Context(), outbox.Query{Link: l.ID, Status: []outbox.Status{outbox.Parked}}) {
			if err != nil || strings.Contains(e.Error, "canari") || strings.Contains(e.Error, "le mot de") || !strings.Contains(e.Error, "customfield_12003: « […]") || !strings.Contains(e.Error, "cannot be set") {
				t.Errorf("the story says %q %v", e.Error, err)
			}
			return
		}
		t.Error("nothing is parked")
	})
}

var byHand = outbox.PurgeOrder{Decision: outbox.Decision{By: "dpo", Why: "asked"}}

// TestPurgedIsNotWrittenAgain: what the gateway wrote and a tool shows no more is
// written again, whatever its age, when a pair is compared; but not in words that
// are purged.
func TestPurgedIsNotWrittenAgain(t *testing.T) {
	run(t, func(s *stage) {
		l := s.closeTicket()
		there := &passerelle.Event{Contract: l.Contract, From: passerelle.Requester, Kind: passerelle.PublicLog, Key: "7", Fields: map[string]string{}} // what has no words is still there
		for e, err := range s.Store.Entries(t.Context(), outbox.Query{Link: l.ID}) {
			if err != nil {
				t.Fatal(err)
			}
			if len(e.Event.Fields) == 0 {
				there.Names = append(there.Names, e.Wrote...)
			}
		}
		s.requester.lately(func() {
			s.requester.snap = &passerelle.Snapshot{Ref: passerelle.Ref{Key: "7"}, Forgets: true, Status: "closed", Fields: map[string]string{}, Events: []*passerelle.Event{there}}
		})
		found, err := s.Resync(t.Context(), l.Contract, l.ID, false)
		if err != nil || len(found.Sides[0].Gone) == 0 {
			t.Fatalf("before the purge: %+v %v", found, err)
		}
		if _, err := s.Purge(t.Context(), l.Contract, l.ID, byHand); err != nil {
			t.Fatal(err)
		}
		found, err = s.Resync(t.Context(), l.Contract, l.ID, false)
		if err != nil || found.Missing() {
			t.Errorf("after the purge: %+v %v", found, err)
		}
	})
}

// TestPurgedRefusalIsKnown: a create that a sweep finds, and that was refused for
// the same reason before, is not refused again because the reason's words are
// purged.
func TestPurgedRefusalIsKnown(t *testing.T) {
	run(t, func(s *stage) {
		found := func(title string) (*passerelle.Link, error) {
			e := createEvent()
			e.Read, e.Fields["title"] = true, title
			delete(e.Fields, "org_id")
			return s.Accept(t.Context(), e)
		}
		if _, err := found("un"); passerelle.ClassOf(err) != passerelle.Refused {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		n := len(s.story("1"))
		if _, err := s.Purge(t.Context(), "orleans-tours-gar", "1", byHand); err != nil {
			t.Fatal(err)
		}
		if _, err := found("un autre"); passerelle.ClassOf(err) != passerelle.Refused {
			t.Error(err)
		}
		if got := s.story("1"); len(got) != n+1 { // the purge
			t.Errorf("refused again: %q", got)
		}
	})
}
