package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"passerelle"
	"passerelle/outbox"
)

const ctr = "orleans-tours-gar"

// storing puts something between the relay and its store.
func storing(f *failing) func(*stage) {
	return func(s *stage) { f.Store, s.Store = s.Store, f }
}

// R28: a create that is parked after a hiccup is noted all the same.
func TestR28NoteAfterHiccup(t *testing.T) {
	run(t, func(s *stage) {
		s.partner.fail = func(_ *passerelle.Message, try int) error {
			if try == 1 {
				return passerelle.Errorf(passerelle.Temporary, "tool", "409")
			}
			return passerelle.Errorf(passerelle.Stuck, "tool", "400 no such component")
		}
		l := s.must(createEvent())
		time.Sleep(48 * time.Hour)
		s.want(s.story(l.ID), "create→partner parked", "note→requester done")
	})
}

// R28: nor does it matter why it was parked.
func TestR28NoteWhenParkedByAge(t *testing.T) {
	run(t, func(s *stage) {
		s.partner.fail = func(_ *passerelle.Message, try int) error {
			return passerelle.Errorf(passerelle.Temporary, "tool", "409")
		}
		l := s.must(createEvent())
		time.Sleep(48 * time.Hour)
		s.want(s.story(l.ID), "create→partner parked", "note→requester done", "note→requester done") // after 4 h, and when it was parked
	})
}

// unknown: a partner whose Probe can never tell.
type unknown struct{ *tool }

func (unknown) Probe(context.Context, *passerelle.Message, passerelle.Spool) (*passerelle.Receipt, error) {
	return nil, passerelle.ErrUnknown
}

// An outcome that nobody knows is parked; the operator looks, and a retry then sends.
func TestRetryAfterUnknownSends(t *testing.T) {
	run(t, func(s *stage) {
		s.partner.fail = func(_ *passerelle.Message, try int) error {
			if try == 1 {
				return passerelle.Errorf(passerelle.Unsure, "tool", "cut off")
			}
			return nil
		}
		s.must(createEvent())
		time.Sleep(time.Hour)
		if _, err := s.Store.Retry(t.Context(), 1, outbox.Decision{By: "op", Why: "it is not there"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		s.want(s.partner.messages(), "core/create")
	}, with(passerelle.Partner, func(s *stage, t *Tool) { t.Out = unknown{s.partner} }))
}

// R17: a write of ours whose answer was lost is not read as news before the probe.
func TestR17UnsureWriteIsNoNews(t *testing.T) {
	run(t, func(s *stage) {
		s.requester.either = true
		s.must(createEvent())
		time.Sleep(time.Minute)
		s.requester.mu.Lock()
		s.requester.lose = func(m *passerelle.Message, try int) bool { return try == 1 }
		s.requester.mu.Unlock()
		s.must(&passerelle.Event{Contract: ctr, From: passerelle.Partner, Kind: passerelle.PublicLog, Key: "10001", Names: []string{"10001/comment/1"}, Fields: map[string]string{"public_log": "<p>quel est votre UAI ?</p>"}})
		s.must(&passerelle.Event{Contract: ctr, From: passerelle.Partner, Kind: passerelle.Pend, Key: "10001", Names: []string{"10001/history/1"}, Fields: map[string]string{}})
		time.Sleep(10 * time.Millisecond) // written, answer lost; a hint of that ticket comes (attachment, repeated push)
		s.requester.mu.Lock()
		var id string
		for _, m := range s.requester.told {
			if strings.Contains(string(m.Body), "quel est") {
				id = m.ID
			}
		}
		e := event(passerelle.PublicLog, "wrote/"+id, "public_log", "<p>quel est votre UAI ?</p>", "date", "2099-01-01 00:00:00")
		s.requester.snap = &passerelle.Snapshot{Ref: passerelle.Ref{Key: "7"}, Fields: map[string]string{"last_update": "2000-01-01 00:00:00"}, Events: []*passerelle.Event{e}}
		s.requester.mu.Unlock()
		s.Look(t.Context(), ctr, passerelle.Requester, "7")
		time.Sleep(time.Hour)
		l, _ := s.Find(t.Context(), ctr, passerelle.Requester, "7")
		s.want(s.partner.messages(), "core/create")
		n := strings.Count(s.requester.bodies(), "quel est")
		if n != 1 {
			t.Errorf("the question stands %d times at the requester", n)
		}
		if l.State != passerelle.Pending {
			t.Errorf("state %s", l.State)
		}
	})
}

// R17: a push that our own write fires, by a trigger without a context, is no news.
func TestR17PushDuringOwnWrite(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		s.requester.lately(func() {
			s.requester.lose = func(m *passerelle.Message, try int) bool {
				if strings.Contains(string(m.Body), "bonjour") { // iTop's webhook is synchronous: it fires inside our core/update
					s.must(event(passerelle.PublicLog, "wrote/"+m.ID, "public_log", "<p>bonjour</p>"))
				}
				return false
			}
		})
		s.must(&passerelle.Event{Contract: ctr, From: passerelle.Partner, Kind: passerelle.PublicLog, Key: "10001", Names: []string{"10001/comment/1"}, Fields: map[string]string{"public_log": "<p>bonjour</p>"}})
		time.Sleep(time.Hour)
		s.want(s.partner.messages(), "core/create")
	})
}

// A create shows the newest public entry, which may be the very one that we are
// writing: it is a create all the same, and is not put down to an echo.
func TestR30CreateDuringOwnWrite(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		s.must(partnerSays("Rejeté", "h/1", "reject_reason", "<p>hors périmètre</p>"))
		time.Sleep(time.Minute)
		s.must(event(passerelle.Leave, ""))
		again := createEvent()
		again.Fields["public_log"] = "<p>un mot</p>"
		s.requester.lately(func() {
			s.requester.lose = func(m *passerelle.Message, _ int) bool {
				if strings.Contains(string(m.Body), "un mot") {
					s.must(again)
				}
				return false
			}
		})
		l := s.link()
		if err := s.Store.Append(t.Context(), &outbox.Change{Link: l, Entries: []*outbox.Entry{{Schema: outbox.EntrySchema, Contract: ctr, To: passerelle.Requester,
			Template: "update-public-log", Status: outbox.Waiting, Event: event(passerelle.PublicLog, "x", "public_log", "<p>un mot</p>")}}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if l := s.link(); l.State != passerelle.Open {
			t.Errorf("state %s, want open", l.State)
		}
	})
}

// badFetch fails for one file.
type badFetch struct {
	*tool
	class passerelle.Class
	reads int
}

func (b *badFetch) Read(ctx context.Context, k string) (*passerelle.Snapshot, error) {
	b.mu.Lock()
	b.reads++
	b.mu.Unlock()
	return b.tool.Read(ctx, k)
}
func (b *badFetch) Fetch(ctx context.Context, e *passerelle.Event, f passerelle.Spool) error {
	return passerelle.Errorf(b.class, "jira: download", "404 the file is missing on Jira's disk")
}

// A file that its tool cannot give is refused in sight; what comes after it goes on.
func TestUnreadableFileHoldsNothingUp(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		file := &passerelle.Event{Contract: ctr, From: passerelle.Partner, Kind: passerelle.Attach, Key: "10001", Names: []string{"10001/attachment/1"}, Source: "x", Fields: map[string]string{}}
		solved := &passerelle.Event{Contract: ctr, From: passerelle.Partner, Signal: "A clôturer", Key: "10001", Names: []string{"10001/history/2"}, Fields: map[string]string{}}
		s.partner.mu.Lock()
		s.partner.snap = &passerelle.Snapshot{Ref: passerelle.Ref{Key: "10001"}, Events: []*passerelle.Event{file, solved}}
		s.partner.mu.Unlock()
		s.Look(t.Context(), ctr, passerelle.Partner, "10001")
		time.Sleep(7 * 24 * time.Hour)
		l, _ := s.Find(t.Context(), ctr, passerelle.Requester, "7")
		if l.State != passerelle.Resolved {
			t.Errorf("after a week the ticket is %s", l.State)
		}
	}, with(passerelle.Partner, func(s *stage, t *Tool) { t.Watch = &badFetch{tool: s.partner, class: passerelle.Stuck} }))
}

type denied struct {
	*tool
	reads int
}

func (b *denied) Read(ctx context.Context, k string) (*passerelle.Snapshot, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	return nil, passerelle.Errorf(passerelle.Denied, "jira: read", "401")
}

// A refused account is not tried by reading either.
func TestReadersHeedDenied(t *testing.T) {
	w := &denied{}
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		for i := range 20 {
			s.Look(t.Context(), ctr, passerelle.Partner, fmt.Sprint(10001+i))
		}
		time.Sleep(time.Hour)
		s.partner.lately(func() {
			if w.reads > 12 {
				t.Errorf("%d reads in an hour with a refused account", w.reads)
			}
		})
	}, with(passerelle.Partner, func(s *stage, t *Tool) { w.tool, t.Watch = s.partner, w }))
}

// Workers that waited for work heed a gate that fell meanwhile.
func TestIdleWorkersHeedDenied(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		var tries atomic.Int64
		s.partner.lately(func() {
			s.partner.fail = func(*passerelle.Message, int) error {
				tries.Add(1)
				return passerelle.Errorf(passerelle.Denied, "tool", "401")
			}
		})
		for i := range 8 { // one a minute: nothing is "under way"
			e := createEvent()
			e.Key, e.Claims = fmt.Sprint(100+i), nil
			s.must(e)
			time.Sleep(time.Minute)
		}
		if n := tries.Load(); n > 2 {
			t.Errorf("%d tries with a refused account in eight minutes", n)
		}
	})
}

// The age that parks is of the message's own failures: an outage does not count.
func TestAgeIsTheMessagesOwn(t *testing.T) {
	run(t, func(s *stage) {
		back := time.Now().Add(26 * time.Hour)
		s.partner.fail = func(_ *passerelle.Message, try int) error {
			switch {
			case time.Now().Before(back):
				return passerelle.Errorf(passerelle.Down, "tool", "connection refused")
			case time.Now().Before(back.Add(10 * time.Minute)): // just up: conflicts, timeouts
				return passerelle.Errorf(passerelle.Temporary, "tool", "409")
			}
			return nil
		}
		l := s.must(createEvent())
		time.Sleep(30 * time.Hour)
		s.want(s.story(l.ID), "create→partner done", "note→requester done", "reference→requester done", "note→requester done")
	})
}

// A message that always brings a 5xx while others pass is charged, and parked in the end.
func TestPoisonThatLooksLikeAnOutageIsParked(t *testing.T) {
	run(t, func(s *stage) {
		poison := 0
		s.partner.fail = func(m *passerelle.Message, _ int) error {
			if strings.Contains(string(m.Body), `"R-000103"`) {
				poison++
				return passerelle.Errorf(passerelle.Down, "tool", "500 on the GET of this issue only")
			}
			return nil
		}
		for i := range 200 {
			e := createEvent()
			e.Key = fmt.Sprint(100 + i)
			e.Claims = []passerelle.Claim{{Side: passerelle.Requester, Key: fmt.Sprintf("R-%06d", 100+i)}}
			s.must(e)
			time.Sleep(30 * time.Minute)
		}
		st, _ := s.Store.Stats(t.Context())
		if len(st.Blocked) == 0 {
			t.Error("never parked")
		}
	})
}

// R29: what came with a refused create goes with the corrected one.
func TestR29CorrectedCreateCarriesItsLog(t *testing.T) {
	run(t, func(s *stage) {
		bad := createEvent()
		delete(bad.Fields, "impact_id")
		if _, err := s.Accept(t.Context(), bad, event(passerelle.PublicLog, "7/public/sha#1", "public_log", "<p>le détail important</p>")); err == nil {
			t.Fatal("accepted")
		}
		time.Sleep(time.Minute)
		s.must(createEvent(), event(passerelle.PublicLog, "7/public/sha#1", "public_log", "<p>le détail important</p>"))
		time.Sleep(time.Minute)
		s.want(s.partner.messages(), "core/create", "core/update")
	})
}

// R29: a ticket that was heard of before its escalation keeps its files for it.
func TestR29FilesOfATicketEscalatedLate(t *testing.T) {
	run(t, func(s *stage) {
		file := event(passerelle.Attach, "7/attachment/1")
		file.Source = "plan.txt"
		s.requester.snap = &passerelle.Snapshot{Ref: passerelle.Ref{Key: "7"}, Fields: map[string]string{"last_update": "2026-11-21 12:00:00"}, Events: []*passerelle.Event{file}}
		for range 2 {
			s.Accept(t.Context(), event(passerelle.PublicLog, "7/public/sha#1", "public_log", "<p>x</p>"))
			time.Sleep(time.Minute)
		}
		c := createEvent()
		c.Fields["last_update"] = "2026-11-21 12:00:00"
		s.must(c)
		time.Sleep(time.Minute)
		s.want(s.partner.messages(), "core/create", "syn/addattachment")
	})
}

// failing fails some Settle, Looked, or lets something slip in before an Append.
type failing struct {
	outbox.Store
	settle func(*outbox.Entry) error
	looked func() error
	before func(*outbox.Change)
}

func (f *failing) Settle(ctx context.Context, e *outbox.Entry, o outbox.Outcome) error {
	if f.settle != nil {
		if err := f.settle(e); err != nil {
			return err
		}
	}
	return f.Store.Settle(ctx, e, o)
}
func (f *failing) Looked(ctx context.Context, l *outbox.Look, again time.Time, e error) error {
	if f.looked != nil {
		if err := f.looked(); err != nil {
			return err
		}
	}
	return f.Store.Looked(ctx, l, again, e)
}
func (f *failing) Append(ctx context.Context, c *outbox.Change) error {
	if f.before != nil {
		f.before(c)
	}
	return f.Store.Append(ctx, c)
}

// A disk that is full for a day: what was delivered meanwhile is settled when
// there is room again, and sent once; a stop does not wait for the room.
func TestFullDiskForADay(t *testing.T) {
	f := &failing{}
	var room atomic.Bool
	f.settle = func(*outbox.Entry) error {
		if room.Load() {
			return nil
		}
		return errors.New("no space left on device")
	}
	run(t, func(s *stage) {
		l := s.must(createEvent())
		time.Sleep(24 * time.Hour)
		room.Store(true)
		time.Sleep(time.Minute)
		s.want(s.story(l.ID), "create→partner done", "note→requester done", "reference→requester done")
		s.want(s.partner.messages(), "core/create")
		room.Store(false)
		s.must(event(passerelle.PublicLog, "log#1", "public_log", "<p>suite</p>"))
		time.Sleep(time.Hour)
	}, storing(f))
}

// A loan that could not be settled for a moment is settled later.
func TestFailedSettleIsRepeated(t *testing.T) {
	f := &failing{}
	var n atomic.Int64
	f.settle = func(*outbox.Entry) error {
		if n.Add(1) == 1 {
			return errors.New("no space left on device")
		}
		return nil
	}
	run(t, func(s *stage) {
		l := s.must(createEvent())
		s.must(event(passerelle.PublicLog, "log#1", "public_log", "<p>suite</p>"))
		time.Sleep(7 * 24 * time.Hour)
		s.want(s.story(l.ID), "create→partner done", "public-log→partner done", "reference→requester done")
	}, storing(f))
}

// A refusal that lost a race is judged again with its file.
func TestRefusalThatLostARaceKeepsItsFile(t *testing.T) {
	f := &failing{}
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		s.must(&passerelle.Event{Contract: ctr, From: passerelle.Partner, Kind: passerelle.Reject, Key: "10001", Names: []string{"10001/history/1"}, Fields: map[string]string{}})
		time.Sleep(time.Minute)
		once := false
		f.before = func(c *outbox.Change) {
			for _, e := range c.Entries {
				if e.Status == outbox.Refused && !once {
					once = true
					s.must(event(passerelle.Reopen, "", "reopen_reason", "non valide"))
				}
			}
		}
		file, err := s.Put(t.Context(), strings.NewReader("le plan"))
		if err != nil {
			t.Fatal(err)
		}
		file.Name = "plan.txt"
		e := event(passerelle.Attach, "")
		e.Files, e.Alias = []passerelle.File{file}, "7/file/1"
		_, err = s.Accept(t.Context(), e)
		s.Release(file)
		time.Sleep(time.Minute)
		if err == nil {
			m := s.partner.messages()
			if m[len(m)-1] != "syn/addattachment" {
				t.Errorf("the partner heard %v", m)
			}
		}
	}, storing(f))
}

type slow struct{ *tool }

func (b slow) Read(ctx context.Context, k string) (*passerelle.Snapshot, error) {
	time.Sleep(30 * time.Second)
	return nil, passerelle.Errorf(passerelle.Down, "jira: read", "timeout")
}

type counted struct {
	*tool
	at []time.Time
}

func (b *counted) Read(ctx context.Context, k string) (*passerelle.Snapshot, error) {
	b.mu.Lock()
	b.at = append(b.at, time.Now())
	b.mu.Unlock()
	return b.tool.Read(ctx, k)
}

// A tool that hangs holds up the reading of its own tickets only.
func TestHangingPartnerStarvesNobody(t *testing.T) {
	w := &counted{}
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		for i := range 300 {
			s.Look(t.Context(), ctr, passerelle.Partner, fmt.Sprint(10001+i))
		}
		start := time.Now()
		s.Look(t.Context(), ctr, passerelle.Requester, "7")
		time.Sleep(6 * time.Hour)
		w.mu.Lock()
		defer w.mu.Unlock()
		last := w.at[len(w.at)-1] // the first reading was the create's
		if last.Before(start) || last.Sub(start) > time.Minute {
			t.Errorf("read %v after the hint", last.Sub(start))
		}
	}, with(passerelle.Partner, func(s *stage, t *Tool) { t.Watch = slow{s.partner} }),
		with(passerelle.Requester, func(s *stage, t *Tool) { w.tool, t.Watch = s.requester, w }))
}
