package relay

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"passerelle"
	"passerelle/mapping"
	"passerelle/outbox"
)

const insaName = "insa-groupe"

// runInsa is run with an iTop on both sides.
func runInsa(t *testing.T, change func(c *mapping.Contract), play func(s *stage)) {
	t.Helper()
	c, err := mapping.Load(os.DirFS("../../contracts/insa-groupe/v1"))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(c)
	}
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, requester: &tool{}, partner: &tool{}, logs: &logs{}}
		store := outbox.NewMem()
		s.Relay = New(Config{Store: store, Log: slog.New(slog.NewTextHandler(s.logs, nil)), Contracts: map[string]*mapping.Contract{c.Name: c}, Tools: map[outbox.Dest]Tool{
			{Contract: c.Name, Side: passerelle.Requester}: {Out: s.requester, Watch: s.requester},
			{Contract: c.Name, Side: passerelle.Partner}:   {Out: s.partner, Watch: s.partner}}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		play(s)
		cancel()
		<-done
		store.Close()
	})
}

func insaCreate() *passerelle.Event {
	return &passerelle.Event{Contract: insaName, From: passerelle.Requester, Kind: passerelle.Create, Key: "7",
		Claims: []passerelle.Claim{{Side: passerelle.Requester, Key: "7"}, {Side: passerelle.Requester, Key: "R-000007"}},
		Fields: map[string]string{"customer_id": "7", "customer_ref": "R-000007", "last_update": "2026-01-01 10:00:00", "start_date": "2026-01-01 10:00:00", "org_id": "École Démo",
			"title": "t", "description": "<p>d</p>", "service_id": "x", "servicesubcategory_id": "y", "urgency": "4", "impact": "3", "request_type": "incident", "origin": "portal"}}
}

func insaEvent(from passerelle.Side, k passerelle.Kind, key, name string, fields ...string) *passerelle.Event {
	e := event(k, name, fields...)
	e.Contract, e.From, e.Key = insaName, from, key
	e.Claims = []passerelle.Claim{{Side: from, Key: key}}
	return e
}

// the group's agent answers before the answer to our create arrives.
func TestPartnerPushBeforeCreateSettles(t *testing.T) {
	runInsa(t, nil, func(s *stage) {
		s.partner.lately(func() {
			s.partner.lose = func(m *passerelle.Message, try int) bool { return m.Op == "core/create" && try == 1 }
		})
		l, err := s.Accept(t.Context(), insaCreate())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // made there, answer lost
		first := insaEvent(passerelle.Partner, passerelle.PublicLog, "10001", "10001/public_log/a#1", "public_log", "<p>Bonjour, je m'en occupe</p>")
		_, err = s.Accept(t.Context(), first)
		t.Logf("first push: %v", err)
		time.Sleep(time.Hour)
		second := insaEvent(passerelle.Partner, passerelle.PublicLog, "10001", "10001/public_log/b#1", "public_log", "<p>C'est réparé</p>")
		_, err = s.Accept(t.Context(), second)
		t.Logf("second push: %v", err)
		time.Sleep(time.Hour)
		own, _ := s.Find(t.Context(), insaName, passerelle.Broker, l.ID)
		by, _ := s.Find(t.Context(), insaName, passerelle.Partner, "10001")
		t.Logf("the pair is %s %+v; the partner's key 10001 means link %s %s; story %q", own.ID, own.Partner, by.ID, by.State, s.story(l.ID))
		if !strings.Contains(s.requester.bodies(), "réparé") {
			t.Error("long after the create settled, the group's entries do not reach the school")
		}
	})
}

// what we write by a template of its own, pushed back in the midst of the write.
func TestEchoOfAReference(t *testing.T) {
	runInsa(t, nil, func(s *stage) {
		s.requester.lately(func() {
			s.requester.lose = func(m *passerelle.Message, try int) bool {
				if strings.Contains(string(m.Body), "private_log") {
					var text string
					if _, after, ok := strings.Cut(string(m.Body), `"private_log":"`); ok {
						text, _, _ = strings.Cut(after, `"`)
					}
					if _, err := s.Accept(t.Context(), insaEvent(passerelle.Requester, passerelle.PrivateLog, "7", "wrote/"+m.ID, "private_log", text)); err != nil {
						t.Log(err)
					}
				}
				return false
			}
		})
		if _, err := s.Accept(t.Context(), insaCreate()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		t.Logf("requester %s", s.requester.bodies())
		if strings.Contains(s.partner.bodies(), "private_log") {
			t.Errorf("an echo: %s", s.partner.bodies())
		}
	})
}

// the team's notification, at an iTop, pushed back in the midst of the write.
func TestEchoOfANotification(t *testing.T) {
	runInsa(t, func(c *mapping.Contract) {
		c.Notify.By = "comment"
		c.Notify.On = []passerelle.Kind{passerelle.Create, passerelle.PublicLog}
	}, func(s *stage) {
		s.partner.lately(func() {
			s.partner.lose = func(m *passerelle.Message, try int) bool {
				if strings.Contains(string(m.Body), "nouvelle entr") {
					s.Accept(t.Context(), insaEvent(passerelle.Partner, passerelle.PrivateLog, "10001", "wrote/"+m.ID, "private_log",
						"<p>Passerelle : R-000007 : nouvelle entrée du journal (journal public).</p><p>Gateway: R-000007: a new entry in the journal (public-log).</p>"))
				}
				return false
			}
		})
		if _, err := s.Accept(t.Context(), insaCreate()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		s.Accept(t.Context(), insaEvent(passerelle.Requester, passerelle.PublicLog, "7", "7/public_log/z#1", "public_log", "<p>bonjour</p>"))
		time.Sleep(time.Hour)
		t.Log(s.partner.bodies())
		if strings.Contains(s.requester.bodies(), "nouvelle entr") {
			t.Errorf("an echo: %s", s.requester.bodies())
		}
	})
}

// a private journal that comes with a change of state.
func TestPrivatePictureOfAChangeOfState(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		e := &passerelle.Event{Contract: ctr, From: passerelle.Partner, Key: "10001", Signal: "ev_cex_resolve",
			Fields: map[string]string{"resolutioncode_id": "resolve", "solution": "<p>fait</p>",
				"private_log": `<p>entre nous <img src="data:image/png;base64,iVBORw0KGgo="></p>`}}
		s.must(e)
		time.Sleep(time.Hour)
		for _, op := range s.requester.messages() {
			if op == "syn/addattachment" {
				t.Errorf("an image of the private journal became a public file: %s", s.requester.bodies())
			}
		}
	})
}

// a re-escalation with the same text sends its pictures once more.
func TestReescalationRepeatsPictures(t *testing.T) {
	run(t, func(s *stage) {
		c := func() *passerelle.Event {
			e := createEvent()
			e.Fields["description"] = `<p>voir <img src="data:image/png;base64,iVBORw0KGgo="></p>`
			return e
		}
		s.must(c())
		time.Sleep(time.Minute)
		s.must(partnerSays("Rejeté", "h/1", "reject_reason", "<p>non</p>"))
		time.Sleep(time.Minute)
		s.must(c())
		time.Sleep(time.Hour)
		t.Log(s.partner.messages())
		n := 0
		for _, op := range s.partner.messages() {
			if op == "syn/addattachment" {
				n++
			}
		}
		if n != 1 {
			t.Errorf("the same picture was attached %d times", n)
		}
	})
}

// a partner's own agent says again what was refused then and is allowed now.
func TestAgentSaysAgainWhatWasRefused(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		say := func() *passerelle.Event {
			return &passerelle.Event{Contract: ctr, From: passerelle.Partner, Key: "10001", Kind: passerelle.PublicLog, Unread: true, Names: []string{"10001/public_log/x#1"},
				Fields: map[string]string{"public_log": "<p>merci de rappeler</p>"}}
		}
		s.must(partnerSays("Rejeté", "h/1", "reject_reason", "<p>non</p>"))
		time.Sleep(time.Minute)
		_, err := s.Accept(t.Context(), say())
		t.Log(err)
		reopen := event("", "", "reopen_reason", "<p>si</p>")
		reopen.Signal = "ev_reopen"
		s.must(reopen)
		time.Sleep(time.Minute)
		if _, err = s.Accept(t.Context(), say()); err != nil {
			t.Errorf("state %s: %v", s.link().State, err)
		}
		time.Sleep(time.Minute)
		if !strings.Contains(s.requester.bodies(), "rappeler") {
			t.Error("lost")
		}
	}, with(passerelle.Partner, func(s *stage, t *Tool) { t.Watch = nil }))
}

// an issue that moves to another project and back, twice.
func TestMovedThereAndBack(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		for i, number := range []string{"SUP-9", "GSN1-1", "SUP-9"} {
			s.partner.lately(func() { s.partner.snap = &passerelle.Snapshot{Ref: passerelle.Ref{Key: "10001", Number: number}} })
			s.Look(t.Context(), ctr, passerelle.Partner, "10001")
			time.Sleep(time.Minute)
			if l := s.link(); l.Partner.Number != number {
				t.Errorf("move %d: the requester knows %s, Jira calls it %s", i+1, l.Partner.Number, number)
			}
		}
	})
}

// « tout a été transmis » while another is parked.
func TestAllTransmittedIsFalse(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		down := true
		s.partner.lately(func() {
			s.partner.fail = func(m *passerelle.Message, _ int) error {
				if strings.Contains(string(m.Body), "deux") {
					return passerelle.Errorf(passerelle.Stuck, "tool", "400")
				}
				if down {
					return passerelle.Errorf(passerelle.Down, "tool", "503")
				}
				return nil
			}
		})
		s.must(event(passerelle.PublicLog, "log#1", "public_log", "<p>un</p>"))
		time.Sleep(3 * time.Hour)
		s.must(event(passerelle.PublicLog, "log#2", "public_log", "<p>deux</p>"))
		time.Sleep(90 * time.Minute)
		s.partner.lately(func() { down = false })
		time.Sleep(30 * time.Minute)
		b := s.requester.bodies()
		l := s.link()
		t.Logf("%q", s.story(l.ID))
		if strings.Contains(b, "tout ce qui attendait a maintenant") {
			t.Error("the sender is told that all has been transmitted; « deux » is parked")
		}
	})
}

// told once more after a restart.
func TestToldAgainAfterRestart(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		s.partner.stops()
		s.must(event(passerelle.PublicLog, "log#1", "public_log", "<p>un</p>"))
		time.Sleep(3 * time.Hour)
		s.must(event(passerelle.PublicLog, "log#2", "public_log", "<p>deux</p>"))
		time.Sleep(2 * time.Hour)
		one := strings.Count(s.requester.bodies(), "pas encore pu")
		time.Sleep(118 * time.Minute)
		// a new process begins with what it knows: nothing
		time.Sleep(10 * time.Minute)
		before := strings.Count(s.requester.bodies(), "pas encore pu")
		s.must(event(passerelle.PublicLog, "log#3", "public_log", "<p>trois</p>"))
		time.Sleep(4*time.Hour + time.Second)
		if _, err := s.tellOverdue(t.Context(), s.Contracts[ctr], 0); err != nil {
			t.Log(err)
		}
		time.Sleep(time.Minute)
		after := strings.Count(s.requester.bodies(), "pas encore pu")
		t.Log(one, before, after)
		if after > before {
			t.Errorf("told %d times, then %d", before, after)
		}
	})
}

// dropped by an operator after « Rien n'est perdu … une note le dira ici ».
func TestDroppedAfterTold(t *testing.T) {
	run(t, func(s *stage) {
		l := s.must(createEvent())
		time.Sleep(time.Minute)
		s.partner.lately(func() {
			s.partner.fail = func(*passerelle.Message, int) error { return passerelle.Errorf(passerelle.Stuck, "tool", "400") }
		})
		s.must(event(passerelle.PublicLog, "log#1", "public_log", "<p>La réponse</p>"))
		time.Sleep(6 * time.Hour)
		if !strings.Contains(s.requester.bodies(), "est perdu") {
			t.Error("not told", s.requester.bodies())
		}
		n := len(s.requester.messages())
		for e := range s.Store.Entries(t.Context(), outbox.Query{Link: l.ID, Status: []outbox.Status{outbox.Parked}}) {
			dropped, err := s.Store.Drop(t.Context(), e.ID, outbox.Decision{By: "op", Why: "cannot be sent"})
			if err != nil {
				t.Fatal(err)
			}
			s.Decided(t.Context(), dropped)
		}
		time.Sleep(24 * time.Hour)
		if len(s.requester.messages()) == n {
			t.Error("the sender was told that nothing is lost and that a note will say when it went; it was dropped, and nothing tells so")
		}
	})
}

var _ = fmt.Sprint
