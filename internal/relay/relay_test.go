package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"passerelle"
	"passerelle/mapping"
	"passerelle/outbox"
)

// tool is a tool in memory: it keeps what it is told, and fails on demand.
type tool struct {
	mu      sync.Mutex
	told    []*passerelle.Message
	fail    func(m *passerelle.Message, try int) error // before the effect
	lose    func(m *passerelle.Message, try int) bool  // take effect, lose the answer
	either  bool                                       // keeps no marks: a probe finds look-alikes
	tries   map[string]int
	probes  int
	snap    *passerelle.Snapshot
	fetched int
}

func (t *tool) Deliver(_ context.Context, m *passerelle.Message, _ passerelle.Spool) (*passerelle.Receipt, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tries == nil {
		t.tries = map[string]int{}
	}
	t.tries[m.ID]++
	if t.fail != nil {
		if err := t.fail(m, t.tries[m.ID]); err != nil {
			return nil, err
		}
	}
	t.told = append(t.told, m)
	if t.lose != nil && t.lose(m, t.tries[m.ID]) {
		return nil, passerelle.Errorf(passerelle.Unsure, "tool", "the answer was lost")
	}
	return t.receipt(m), nil
}

func (t *tool) receipt(m *passerelle.Message) *passerelle.Receipt {
	r := &passerelle.Receipt{Names: []string{"wrote/" + m.ID}}
	if m.Op == "core/create" {
		r.Ref = passerelle.Ref{Key: "10001", Number: "GSN1-1"}
	}
	return r
}

func (t *tool) Probe(_ context.Context, m *passerelle.Message, _ passerelle.Spool) (*passerelle.Receipt, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.probes++
	var found []string
	for _, told := range t.told {
		if told.ID == m.ID || t.either && string(told.Body) == string(m.Body) {
			found = append(found, "wrote/"+told.ID)
		}
	}
	switch {
	case len(found) == 0:
		return nil, passerelle.ErrAbsent
	case t.either:
		return &passerelle.Receipt{Either: found}, nil
	}
	return t.receipt(m), nil
}

func (t *tool) Read(context.Context, string) (*passerelle.Snapshot, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.snap == nil {
		return &passerelle.Snapshot{Gone: true}, nil
	}
	s := *t.snap
	s.Events = nil
	for _, e := range t.snap.Events {
		c := *e
		s.Events = append(s.Events, &c)
	}
	return &s, nil
}

func (t *tool) Fetch(ctx context.Context, e *passerelle.Event, files passerelle.Spool) error {
	t.mu.Lock()
	t.fetched++
	t.mu.Unlock()
	f, err := files.Put(ctx, strings.NewReader("content of "+e.Source))
	f.Name = e.Source
	e.Files = []passerelle.File{f}
	return err
}

// messages are the ids of the operations told so far, in order.
func (t *tool) messages() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for _, m := range t.told {
		out = append(out, m.Op)
	}
	return out
}

func (t *tool) bodies() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, m := range t.told {
		b.Write(m.Body)
	}
	return b.String()
}

// stage is a relay of the reference contract between two such tools, running
// in a synctest bubble: its clock is fake.
type stage struct {
	*Relay
	t                  *testing.T
	requester, partner *tool
	logs               *logs
}

// logs is a log that a test can read while it is written.
type logs struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func run(t *testing.T, play func(s *stage), before ...func(s *stage)) {
	t.Helper()
	c, err := mapping.Load(os.DirFS("../../contracts/orleans-tours-gar/v1"))
	if err != nil {
		t.Fatal(err)
	}
	c.Notify.By = "none" // told apart by tests of its own
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, requester: &tool{}, partner: &tool{}, logs: &logs{}}
		store := outbox.NewMem()
		s.Relay = New(Config{Store: store, Log: slog.New(slog.NewTextHandler(s.logs, nil)), Contracts: map[string]*mapping.Contract{c.Name: c}, Tools: map[outbox.Dest]Tool{
			{Contract: c.Name, Side: passerelle.Requester}: {Out: s.requester, Watch: s.requester},
			{Contract: c.Name, Side: passerelle.Partner}:   {Out: s.partner, Watch: s.partner}}})
		for _, change := range before {
			change(s)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		play(s)
		cancel()
		<-done
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

// with changes one side's tool before the relay runs.
func with(side passerelle.Side, change func(s *stage, t *Tool)) func(*stage) {
	return func(s *stage) {
		d := outbox.Dest{Contract: "orleans-tours-gar", Side: side}
		t := s.Tools[d]
		change(s, &t)
		s.Tools[d] = t
	}
}

// lately changes what a tool does while the relay runs.
func (t *tool) lately(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
}

func createEvent() *passerelle.Event {
	return &passerelle.Event{Contract: "orleans-tours-gar", From: passerelle.Requester, Kind: passerelle.Create, Key: "7",
		Claims: []passerelle.Claim{{Side: passerelle.Requester, Key: "7"}, {Side: passerelle.Requester, Key: "R-000007"}},
		Fields: map[string]string{"beneficiary_id": "A", "customer_id": "7", "caller_id": "A", "description": "<p>d</p>", "domain_id": "Usage pédagogique du numérique",
			"servicefamily_id": "Incident", "familygroup_id": "Support GAR", "service_id": "Médiacentre", "servicesubcategory_id": "Médiacentre", "establishment_id": "0750655E",
			"last_update_by": "customer", "title": "t", "org_id": "o", "customer_app_id": "a", "customer_ref": "R-000007", "urgency_id": "Haute", "impact_id": "Une personne"}}
}

func event(k passerelle.Kind, name string, fields ...string) *passerelle.Event {
	e := &passerelle.Event{Contract: "orleans-tours-gar", From: passerelle.Requester, Kind: k, Key: "7", Fields: map[string]string{}}
	if name != "" {
		e.Names = []string{name}
	}
	for i := 0; i+1 < len(fields); i += 2 {
		e.Fields[fields[i]] = fields[i+1]
	}
	return e
}

func (s *stage) must(events ...*passerelle.Event) *passerelle.Link {
	s.t.Helper()
	l, err := s.Accept(s.t.Context(), events...)
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

// story is the status of each entry of the ticket, in order.
func (s *stage) story(link string) []string {
	s.t.Helper()
	var out []string
	for e, err := range s.Store.Entries(s.t.Context(), outbox.Query{Link: link}) {
		if err != nil {
			s.t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s→%s %s", e.Event.Kind, e.To, e.Status))
	}
	return out
}

func (s *stage) want(got []string, want ...string) {
	s.t.Helper()
	if !slices.Equal(got, want) {
		s.t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestR5NumberComesBack: a create done brings update-reference to the
// requester, once, in the same commit.
func TestR5NumberComesBack(t *testing.T) {
	run(t, func(s *stage) {
		l := s.must(createEvent())
		time.Sleep(time.Minute)
		s.want(s.story(l.ID), "create→partner done", "reference→requester done")
		if !strings.Contains(s.requester.bodies(), `"provider_ref":"GSN1-1","provider_id":"10001","last_update_by":"na"`) {
			t.Errorf("the requester heard %s", s.requester.bodies())
		}
	})
}

// TestSameCreateIsOneFact: R30, identical = answered with the existing ids.
func TestR30SameCreateIsOneFact(t *testing.T) {
	run(t, func(s *stage) {
		first := s.must(createEvent())
		again := s.must(createEvent())
		if first.ID != again.ID {
			t.Errorf("two links, %s and %s", first.ID, again.ID)
		}
		other := createEvent()
		other.Fields["title"] = "another"
		if _, err := s.Accept(t.Context(), other); passerelle.ClassOf(err) != passerelle.Refused {
			t.Errorf("another create for an open pair: %v, want a refusal", err)
		}
		time.Sleep(time.Minute)
		s.want(s.partner.messages(), "core/create")
	})
}

// TestR31NewPairAfterClosing: a create for a closed pair makes a new issue.
func TestR31NewPairAfterClosing(t *testing.T) {
	run(t, func(s *stage) {
		first := s.must(createEvent())
		time.Sleep(time.Minute)
		solved := &passerelle.Event{Contract: "orleans-tours-gar", From: passerelle.Partner, Signal: "A clôturer", Key: "10001", Names: []string{"h/1"}, Fields: map[string]string{}}
		s.must(solved)
		s.must(event(passerelle.Close, ""))
		second := s.must(createEvent())
		if second.ID == first.ID || second.State != passerelle.Open {
			t.Errorf("the second create made %s in state %s", second.ID, second.State)
		}
	})
}

// TestLostAnswerIsProbed: after a lost answer the tool is asked before another
// try, and the effect is there once.
func TestLostAnswerIsProbed(t *testing.T) {
	for _, either := range []bool{false, true} {
		t.Run(fmt.Sprintf("either=%v", either), func(t *testing.T) {
			run(t, func(s *stage) {
				s.partner.either = either
				s.must(createEvent())
				time.Sleep(time.Minute)
				s.partner.mu.Lock()
				s.partner.lose = func(m *passerelle.Message, try int) bool { return try == 1 }
				s.partner.mu.Unlock()
				s.must(event(passerelle.PublicLog, "log#1", "public_log", "<p>ok</p>"))
				s.must(event(passerelle.PublicLog, "log#2", "public_log", "<p>ok</p>"))
				time.Sleep(10 * time.Minute)
				s.want(s.partner.messages(), "core/create", "core/update", "core/update")
				if s.partner.probes != 2 {
					t.Errorf("%d probes, want 2: first tries never ask", s.partner.probes)
				}
			})
		})
	}
}

// TestAbsentIsTriedAgain: what a probe knows to be absent is sent again.
func TestAbsentIsTriedAgain(t *testing.T) {
	run(t, func(s *stage) {
		s.partner.fail = func(_ *passerelle.Message, try int) error {
			if try == 1 {
				return passerelle.Errorf(passerelle.Unsure, "tool", "cut off")
			}
			return nil
		}
		l := s.must(createEvent())
		time.Sleep(10 * time.Minute)
		s.want(s.partner.messages(), "core/create")
		s.want(s.story(l.ID), "create→partner done", "reference→requester done")
	})
}

// TestOutageChargesNothing: a destination in trouble costs the messages no
// attempt, and keeps their order; they go through when it is back.
func TestOutageChargesNothing(t *testing.T) {
	run(t, func(s *stage) {
		back := time.Now().Add(26 * time.Hour)
		s.partner.fail = func(*passerelle.Message, int) error {
			if time.Now().Before(back) {
				return passerelle.Errorf(passerelle.Down, "tool", "connection refused")
			}
			return nil
		}
		l := s.must(createEvent())
		s.must(event(passerelle.PrivateLog, "log#1", "private_log", "<p>n</p>"))
		time.Sleep(25 * time.Hour)
		for e, err := range s.Store.Entries(t.Context(), outbox.Query{Link: l.ID}) {
			if err == nil && e.To == passerelle.Requester {
				continue // the note that tells the sender
			}
			if err != nil || e.Attempts != 0 || e.Status.Final() || e.Status == outbox.Parked {
				t.Errorf("during the outage entry %d has %d attempts and is %s (%v)", e.ID, e.Attempts, e.Status, err)
			}
		}
		time.Sleep(2 * time.Hour)
		s.want(s.partner.messages(), "core/create", "core/update")
	})
}

// TestDeniedStopsTraffic: a refused account is tried rarely, whatever waits.
func TestDeniedStopsTraffic(t *testing.T) {
	run(t, func(s *stage) {
		var tries atomic.Int64
		s.partner.fail = func(*passerelle.Message, int) error {
			tries.Add(1)
			return passerelle.Errorf(passerelle.Denied, "tool", "401")
		}
		for i := range 20 {
			e := createEvent()
			e.Key = fmt.Sprint(100 + i)
			e.Claims = nil
			s.must(e)
		}
		time.Sleep(time.Hour)
		// The workers that were under way when the first 401 came may each have
		// one; afterwards one try every 15 minutes.
		if n := tries.Load(); n > 8+4 {
			t.Errorf("%d tries in an hour with a refused account", n)
		}
	})
}

// TestR28ParkedCreateIsNoted: a create that cannot be delivered is parked, its
// lane waits, and the requester's ticket gets a visible note.
func TestR28ParkedCreateIsNoted(t *testing.T) {
	run(t, func(s *stage) {
		s.partner.fail = func(*passerelle.Message, int) error {
			return passerelle.Errorf(passerelle.Stuck, "tool", "no such project")
		}
		l := s.must(createEvent())
		s.must(event(passerelle.PublicLog, "log#1", "public_log", "<p>suite</p>"))
		time.Sleep(time.Hour)
		story := s.story(l.ID)
		slices.Sort(story) // the note may come before or after the journal entry
		s.want(story, "create→partner parked", "note→requester done", "public-log→partner waiting")
		if !strings.Contains(s.requester.bodies(), "pas encore pu être transmis au partenaire") {
			t.Errorf("the requester heard %s", s.requester.bodies())
		}
		s.partner.mu.Lock()
		s.partner.fail = nil
		s.partner.mu.Unlock()
		if _, err := s.Store.Retry(t.Context(), 1, outbox.Decision{By: "operator", Why: "project made"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		s.want(s.partner.messages(), "core/create", "core/update")
	})
}

// TestR13RefusalIsNotedOnce: the same refusal, pushed again and again, makes
// one note.
func TestR13RefusalIsNotedOnce(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		for range 3 {
			if _, err := s.Accept(t.Context(), event(passerelle.Close, "")); passerelle.ClassOf(err) != passerelle.Refused {
				t.Fatalf("closing an open ticket: %v", err)
			}
		}
		time.Sleep(time.Minute)
		if n := strings.Count(s.requester.bodies(), "pas été transmis (fermeture)"); n != 1 {
			t.Errorf("%d notes, want 1: %s", n, s.requester.bodies())
		}
	})
}

// TestR24TooBigLeavesANote: a file that cannot travel leaves a note on the
// ticket that it could not reach, and what follows goes through.
func TestR24TooBigLeavesANote(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		e := event(passerelle.Attach, "file/1")
		f, err := s.Put(t.Context(), strings.NewReader(strings.Repeat("x", 8<<20)))
		if err != nil {
			t.Fatal(err)
		}
		f.Name = "gros.bin"
		e.Files = []passerelle.File{f}
		s.must(e)
		s.Release(f)
		s.must(event(passerelle.PublicLog, "log#1", "public_log", "<p>après</p>"))
		time.Sleep(time.Minute)
		s.want(s.partner.messages(), "core/create", "core/update", "core/update")
		if !strings.Contains(s.partner.bodies(), "gros.bin") || s.partner.told[1].Public {
			t.Errorf("no private note about the file: %s", s.partner.bodies())
		}
	})
}

// TestR29Baseline: what the ticket held before its escalation is not news
// afterwards, its files are.
func TestR29Baseline(t *testing.T) {
	run(t, func(s *stage) {
		old := event(passerelle.PublicLog, "7/public/1", "public_log", "<p>vieux</p>", "date", "2026-11-01 10:00:00")
		late := event(passerelle.PublicLog, "7/public/2", "public_log", "<p>récent</p>", "date", "2026-11-21 12:00:01")
		file := event(passerelle.Attach, "7/attachment/1")
		file.Source = "plan.txt"
		s.requester.snap = &passerelle.Snapshot{Ref: passerelle.Ref{Key: "7"}, Events: []*passerelle.Event{old, late, file}}
		create := createEvent()
		create.Fields["last_update"] = "2026-11-21 12:00:00"
		s.must(create)
		time.Sleep(time.Minute)
		s.want(s.partner.messages(), "core/create", "core/update", "syn/addattachment")
		if strings.Contains(s.partner.bodies(), "vieux") {
			t.Errorf("old history travelled: %s", s.partner.bodies())
		}
		// Read again, nothing is news.
		if err := s.Look(t.Context(), "orleans-tours-gar", passerelle.Requester, "7"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		s.want(s.partner.messages(), "core/create", "core/update", "syn/addattachment")
	})
}

// TestR17EchoByMark: a change that carries our own mark is no news.
func TestR17EchoByMark(t *testing.T) {
	run(t, func(s *stage) {
		l := s.must(createEvent())
		time.Sleep(time.Minute)
		ours := &passerelle.Event{Contract: "orleans-tours-gar", From: passerelle.Partner, Kind: passerelle.PublicLog, Key: "10001", Names: []string{"10001/comment/5"},
			Mark: "orleans-tours-gar/" + l.ID + "/99", Fields: map[string]string{"public_log": "<p>ours</p>"}}
		theirs := &passerelle.Event{Contract: "orleans-tours-gar", From: passerelle.Partner, Kind: passerelle.PublicLog, Key: "10001", Names: []string{"10001/comment/6"},
			Mark: "orleans-tours-gar/" + l.ID + "9/99", Fields: map[string]string{"public_log": "<p>theirs</p>"}}
		s.partner.mu.Lock()
		s.partner.snap = &passerelle.Snapshot{Ref: passerelle.Ref{Key: "10001"}, Events: []*passerelle.Event{ours, theirs}}
		s.partner.mu.Unlock()
		if err := s.Look(t.Context(), "orleans-tours-gar", passerelle.Partner, "10001"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if b := s.requester.bodies(); strings.Contains(b, "ours") || !strings.Contains(b, "theirs") {
			t.Errorf("the requester heard %s", b)
		}
	})
}

// TestPushedFileReadAgain: a pushed file and the attachment that a reading
// finds are one fact; the same file attached once more is another.
func TestPushedFileReadAgain(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		pushed := event(passerelle.Attach, "")
		f, err := s.Put(t.Context(), strings.NewReader("content of a.txt"))
		if err != nil {
			t.Fatal(err)
		}
		f.Name = "a.txt"
		pushed.Files, pushed.Alias = []passerelle.File{f}, "7/file/"+f.Sum
		s.must(pushed)
		s.Release(f)
		time.Sleep(time.Minute)
		read := func(ids ...string) {
			snap := &passerelle.Snapshot{Ref: passerelle.Ref{Key: "7"}}
			for _, id := range ids {
				e := event(passerelle.Attach, "7/attachment/"+id)
				e.Source, e.Alias = "a.txt", "7/file/"+f.Sum
				snap.Events = append(snap.Events, e)
			}
			s.requester.mu.Lock()
			s.requester.snap = snap
			s.requester.mu.Unlock()
			if err := s.Look(t.Context(), "orleans-tours-gar", passerelle.Requester, "7"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		read("1")
		s.want(s.partner.messages(), "core/create", "syn/addattachment")
		read("1", "2")
		s.want(s.partner.messages(), "core/create", "syn/addattachment", "syn/addattachment")
	})
}

// TestPoisonedTicketHoldsNobodyElse: one lane of many is stuck, the others
// finish.
func TestPoisonedTicketHoldsNobodyElse(t *testing.T) {
	run(t, func(s *stage) {
		s.partner.fail = func(m *passerelle.Message, _ int) error {
			if strings.Contains(string(m.Body), `"R-000103"`) {
				return passerelle.Errorf(passerelle.Stuck, "tool", "poison")
			}
			return nil
		}
		for i := range 20 {
			e := createEvent()
			e.Key = fmt.Sprint(100 + i)
			e.Claims = []passerelle.Claim{{Side: passerelle.Requester, Key: fmt.Sprintf("R-%06d", 100+i)}}
			s.must(e)
		}
		time.Sleep(time.Hour)
		if n := len(s.partner.messages()); n != 19 {
			t.Errorf("%d of 19 healthy tickets went through", n)
		}
		st, err := s.Store.Stats(t.Context())
		if err != nil || st.Blocked[outbox.Dest{Contract: "orleans-tours-gar", Side: passerelle.Partner}] != 1 {
			t.Errorf("blocked lanes: %v (%v)", st.Blocked, err)
		}
	})
}

// TestUnknownTicketIsRefusedInSight: an event about a ticket that was never
// escalated is refused, stored and noted on that ticket.
func TestR28UnknownTicketIsRefusedInSight(t *testing.T) {
	run(t, func(s *stage) {
		_, err := s.Accept(t.Context(), event(passerelle.PublicLog, "7/public/1", "public_log", "<p>x</p>"))
		var pe *passerelle.Error
		if !errors.As(err, &pe) || pe.Rule != "R28" {
			t.Fatalf("got %v", err)
		}
		time.Sleep(time.Minute)
		l, err := s.Find(t.Context(), "orleans-tours-gar", passerelle.Requester, "7")
		if err != nil || l.State != passerelle.New {
			t.Fatalf("the ticket is %v (%v)", l, err)
		}
		s.want(s.story(l.ID), "public-log→ refused", "note→requester done")
		// Escalated afterwards, it goes its way, under the same link.
		again := s.must(createEvent())
		if again.ID != l.ID {
			t.Errorf("a second link, %s", again.ID)
		}
	})
}

// TestPanicIsParked: a mistake of ours stops one lane, not the gateway.
func TestPanicIsParked(t *testing.T) {
	run(t, func(s *stage) {
		s.partner.fail = func(m *passerelle.Message, _ int) error {
			if strings.Contains(string(m.Body), `"R-000007"`) {
				panic("a nil map")
			}
			return nil
		}
		l := s.must(createEvent())
		other := createEvent()
		other.Key, other.Claims = "8", nil
		s.must(other)
		time.Sleep(time.Hour)
		s.want(s.story(l.ID), "create→partner parked", "note→requester done")
		s.want(s.partner.messages(), "core/create")
	})
}

// TestAgentSaysTheSameAgain: an agent whose tool cannot be read posts a text
// twice at once (a retry), and the same words again later (news).
func TestAgentSaysTheSameAgain(t *testing.T) {
	run(t, func(s *stage) {
		l := s.must(createEvent())
		time.Sleep(time.Minute)
		says := func(text string) {
			s.must(&passerelle.Event{Contract: "orleans-tours-gar", From: passerelle.Partner, Kind: passerelle.PublicLog, Unread: true,
				Claims: []passerelle.Claim{{Side: passerelle.Broker, Key: l.ID}}, Names: []string{l.ID + "/public_log/" + text + "#1"}, Fields: map[string]string{"public_log": "<p>" + text + "</p>"}})
			time.Sleep(time.Minute)
		}
		for _, text := range []string{"ok", "ok", "autre", "ok", "ok", "autre", "ok"} {
			says(text)
		}
		b := s.requester.bodies()
		if ok, other := strings.Count(b, "<p>ok</p>"), strings.Count(b, "<p>autre</p>"); ok != 3 || other != 2 {
			t.Errorf("%d times ok and %d autre, want 3 and 2", ok, other)
		}
	})
}

// TestR33MovedIssue: a moved Jira issue has a new number, which the requester
// is told once.
func TestR33MovedIssue(t *testing.T) {
	run(t, func(s *stage) {
		l := s.must(createEvent())
		time.Sleep(time.Minute)
		for range 2 {
			s.partner.lately(func() {
				s.partner.snap = &passerelle.Snapshot{Ref: passerelle.Ref{Key: "10001", Number: "AUTRE-7"}}
			})
			if err := s.Look(t.Context(), "orleans-tours-gar", passerelle.Partner, "10001"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if n := strings.Count(s.requester.bodies(), `"provider_ref":"AUTRE-7"`); n != 1 {
			t.Errorf("the requester was told %d times: %s", n, s.requester.bodies())
		}
		found, err := s.Find(t.Context(), "orleans-tours-gar", passerelle.Partner, "AUTRE-7")
		if err != nil || found.ID != l.ID {
			t.Errorf("the ticket is not known by its new number: %v", err)
		}
	})
}

// TestLogQuotesNoTool: what a tool answers about a message may quote a person;
// the log does not.
func TestLogQuotesNoTool(t *testing.T) {
	run(t, func(s *stage) {
		s.partner.fail = func(*passerelle.Message, int) error {
			return passerelle.Errorf(passerelle.Stuck, "tool", "user 'Canary Person' does not exist")
		}
		s.must(createEvent())
		time.Sleep(time.Hour)
		if log := s.logs.String(); strings.Contains(log, "Canary") || !strings.Contains(log, "gateway outbox show 1") {
			t.Errorf("the log says %s", log)
		}
		if e, err := s.Store.Entry(t.Context(), 1); err != nil || !strings.Contains(e.Error, "Canary Person") {
			t.Errorf("the operator is not told: %+v, %v", e, err)
		}
	})
}
