package mapping

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"passerelle"
)

func TestR11Statuses(t *testing.T) {
	c := load(t, folder(t))
	for _, tt := range []struct {
		state              passerelle.State
		requester, partner string
	}{
		{passerelle.Open, "Traitement sous-traitant", "En cours|Nouveau"}, {passerelle.Pending, "A compléter", "En attente"}, {passerelle.Resolved, "Résolue", "A clôturer"},
		{passerelle.Closed, "Fermée", "Fermée"}, {passerelle.Rejected, "Réaffectée", "Rejeté"},
	} {
		if got := c.StatusWords(passerelle.Requester, tt.state)[0]; got != tt.requester {
			t.Errorf("%s is %q at the requester's, want %q", tt.state, got, tt.requester)
		}
		if got := strings.Join(c.StatusWords(passerelle.Partner, tt.state), "|"); got != tt.partner {
			t.Errorf("%s is %q at the partner's, want %q", tt.state, got, tt.partner)
		}
	}
	for word, want := range map[string]passerelle.Kind{"Nouveau": passerelle.Resume, "En cours": passerelle.Resume, "En attente": passerelle.Pend, "A clôturer": passerelle.Resolve, "Fermée": passerelle.Close, "Rejeté": passerelle.Reject} {
		e := &passerelle.Event{From: passerelle.Partner, Signal: word}
		if err := c.Interpret(e); err != nil || e.Kind != want {
			t.Errorf("« %s » means %q, %v; want %s", word, e.Kind, err, want)
		}
	}
	_, err := judge(c, passerelle.Open, &passerelle.Event{From: passerelle.Partner, Signal: "À l'étude"})
	refused(t, err, "R13", "« À l'étude » from the partner means nothing in contract orleans-tours-gar", "known: ev_cex_resolve with resolutioncode_id 25, ev_cex_resolve with resolutioncode_id 39, ev_cex_pending, ev_assign, Nouveau, En cours")
	// « Nouveau » → « En cours » says nothing to the requester.
	step, err := judge(c, passerelle.Open, &passerelle.Event{From: passerelle.Partner, Signal: "En cours"})
	if err != nil || !step.Same || len(step.Sends) > 0 {
		t.Errorf("« En cours » of an open ticket: %+v, %v", step, err)
	}
}

func TestR12WhenLogsAndFilesTravel(t *testing.T) {
	c := load(t, folder(t))
	kinds := []passerelle.Kind{passerelle.PublicLog, passerelle.PrivateLog, passerelle.Attach}
	for _, from := range []passerelle.Side{passerelle.Requester, passerelle.Partner} {
		for _, k := range kinds {
			for _, s := range passerelle.States() {
				step, err := judge(c, s, &passerelle.Event{From: from, Kind: k})
				open := s == passerelle.Open || s == passerelle.Pending || s == passerelle.Resolved
				answer := s == passerelle.Pending && from == passerelle.Requester && k == passerelle.PublicLog // R19
				silent := from == passerelle.Partner && k == passerelle.PrivateLog && s != passerelle.New
				switch {
				case silent && (err != nil || len(step.Sends) > 0 || !step.Same):
					t.Errorf("%s, %s of the %s: %+v, %v", s, k, from, step, err) // R16
				case silent:
				case open && (err != nil || len(step.Sends) == 0 || step.Sends[0].To != from.Other() || step.Same == answer):
					t.Errorf("%s, %s of the %s: %+v, %v", s, k, from, step, err)
				case !open && err == nil:
					t.Errorf("%s, %s of the %s is taken: %+v", s, k, from, step)
				}
			}
		}
	}
	_, err := judge(c, passerelle.Rejected, &passerelle.Event{From: passerelle.Requester, Kind: passerelle.PublicLog})
	refused(t, err, "R13", "public-log: R-001515 (GSN1-4711): in state rejected (« Réaffectée ») the requester may not write in the public journal", "allowed now: create, close, reopen, leave")
	var pe *passerelle.Error
	if want := "le contrat ne prévoit pas « journal public » quand le ticket est « Réaffectée » ; possible maintenant : création, fermeture, réouverture, réaffectation"; errors.As(err, &pe) && pe.Local != want {
		t.Errorf("in French: %s\nwant: %s", pe.Local, want)
	}
}

func TestR13FrozenFields(t *testing.T) {
	c := load(t, folder(t))
	for _, name := range strings.Fields("title description urgency_id impact_id agent_id team_id caller_id beneficiary_id org_id domain_id service_id servicesubcategory_id establishment_id") {
		_, err := judge(c, passerelle.Open, &passerelle.Event{From: passerelle.Requester, Kind: passerelle.Change, Fields: map[string]string{name: "Autre", "origin": "mail"}})
		refused(t, err, "R13", "change: R-001515 (GSN1-4711): in state open these fields may not change any more: "+name+" [R13]", "write it in the journal; allowed now: public-log, private-log, attach, leave")
	}
	step, err := judge(c, passerelle.Open, &passerelle.Event{From: passerelle.Requester, Kind: passerelle.Change, Fields: map[string]string{"origin": "mail", "unheard_of": "x"}})
	if err != nil || !step.Same || len(step.Sends) > 0 || step.Next != passerelle.Open {
		t.Errorf("a change of nothing frozen: %+v, %v", step, err)
	}
	_, err = judge(c, passerelle.Closed, &passerelle.Event{From: passerelle.Requester, Kind: passerelle.Change, Fields: map[string]string{"title": "x"}})
	refused(t, err, "R13", "nothing more is exchanged on this ticket")
}

// TestR13WhatHasNoRowIsRefused: every event of every side in every state either
// has a row or a refusal that names the state.
func TestR13WhatHasNoRowIsRefused(t *testing.T) {
	c := load(t, folder(t))
	for _, s := range passerelle.States() {
		for _, from := range []passerelle.Side{passerelle.Requester, passerelle.Partner, passerelle.Broker} {
			for _, k := range passerelle.Kinds() {
				e := &passerelle.Event{From: from, Kind: k, Fields: map[string]string{"title": "x"}}
				if k == passerelle.Create {
					e.Fields = escalation(t).Fields
				}
				l := pair(s)
				step, err := c.Admit(e, l)
				if l.State != s {
					t.Fatalf("%s, %s, %s: Admit moved the link", s, from, k)
				}
				if err == nil {
					if r := c.lifecycle.find(s, from, k); r == nil || step.Next == "" || step.Same != (step.Next == s) || step.Rule == "" {
						t.Errorf("%s, %s, %s: %+v", s, from, k, step)
					}
					continue
				}
				var pe *passerelle.Error
				if !errors.As(err, &pe) || pe.Class != passerelle.Refused || pe.Rule == "" || pe.Hint == "" || pe.Local == "" || !strings.Contains(err.Error(), "in state "+string(s)) {
					t.Errorf("%s, %s, %s: %v", s, from, k, err)
				}
			}
		}
	}
}

func TestR13BeforeTheCreate(t *testing.T) {
	_, err := judge(load(t, folder(t)), passerelle.New, &passerelle.Event{From: passerelle.Partner, Kind: passerelle.Attach})
	refused(t, err, "R13", "in state new the partner may not attach files", "nothing is exchanged before the requester's create")
}

func TestR14Locked(t *testing.T) {
	c := load(t, folder(t))
	for _, k := range []passerelle.Kind{passerelle.Close, passerelle.Resolve, passerelle.Reject, passerelle.Pend} {
		_, err := judge(c, passerelle.Open, &passerelle.Event{From: passerelle.Requester, Kind: k})
		rule := "R13"
		if k == passerelle.Close {
			rule = "R14"
		}
		refused(t, err, rule, "in state open (« Traitement sous-traitant ») the requester may not ", "allowed now: public-log, private-log, attach, leave")
	}
}

func TestR16PrivateSwitch(t *testing.T) {
	c := load(t, folder(t))
	note := func() *passerelle.Event {
		return &passerelle.Event{From: passerelle.Partner, Kind: passerelle.PrivateLog, Fields: map[string]string{"private_log": "<p>secret</p>"}}
	}
	if step, err := judge(c, passerelle.Open, note()); err != nil || said(step) != "" {
		t.Errorf("off: %q, %v", said(step), err)
	}
	c.PrivateLogToRequester = true
	step, err := judge(c, passerelle.Open, note())
	if err != nil || said(step) != "requester:update-private-log" {
		t.Fatalf("on: %q, %v", said(step), err)
	}
	ms, _ := c.Render(step.Sends[0], note(), pair(passerelle.Open), passerelle.Open, "m")
	if fields := body(t, ms[0])["fields"].(map[string]any); ms[0].Public || fields["private_log"] != "<p>secret</p>" || fields["public_log"] != nil {
		t.Errorf("on: public %v, %v", ms[0].Public, fields)
	}
}

// TestR16NothingPrivateComesOutPublic: whatever template an event with a
// private text meets, the text is in no public message.
func TestR16NothingPrivateComesOutPublic(t *testing.T) {
	c := load(t, folder(t))
	e := escalation(t)
	e.Fields["private_log"], e.Files = "<p>canari</p>", []passerelle.File{{Name: "f"}}
	private := 0
	for send, tpl := range c.templates {
		ms, errs := c.Render(send, e, pair(passerelle.Open), passerelle.Open, "m")
		for i, m := range ms {
			switch {
			case errs[i] != nil && !tpl.fields["resolutioncode_id"]:
				t.Errorf("%v: %v", send, errs[i])
			case errs[i] != nil || !strings.Contains(string(m.Body), "canari"):
			case m.Public:
				t.Errorf("%v: the private text is in a public message", send)
			default:
				private++
			}
		}
	}
	if private != 2 {
		t.Errorf("%d private messages carry it, want 2", private)
	}
}

func TestR18Pending(t *testing.T) {
	c := load(t, folder(t))
	for _, tt := range []struct{ says, due, want string }{
		{"a date alone is the end of that day", "2026-12-01", "2026-12-01 23:59:59"},
		{"on the day the clock goes back", "2026-10-25", "2026-10-25 23:59:59"},
		{"winter time", "2026-12-01T10:00:00.000+0000", "2026-12-01 11:00:00"},
		{"summer time", "2026-07-01T10:00:00.000+0000", "2026-07-01 12:00:00"},
		{"another offset", "2026-07-01T23:30:00.000-0500", "2026-07-02 06:30:00"},
		{"RFC 3339", "2026-07-01T10:00:00Z", "2026-07-01 12:00:00"},
		{"local already", "2026-07-01 10:00:00", "2026-07-01 10:00:00"},
		{"no date at all", "", ""},
		{"what is no date stays", "bientôt", "bientôt"},
	} {
		e := &passerelle.Event{From: passerelle.Partner, Signal: "En attente", Fields: map[string]string{"duedate": tt.due}}
		step, err := judge(c, passerelle.Open, e)
		if err != nil || step.Next != passerelle.Pending || said(step) != "requester:pending" || e.Fields["pending_finish_date"] != tt.want {
			t.Errorf("%s: %+v, %v, %q; want %q", tt.says, step, err, e.Fields["pending_finish_date"], tt.want)
		}
	}
	_, err := judge(c, passerelle.Resolved, &passerelle.Event{From: passerelle.Partner, Signal: "En attente"})
	refused(t, err, "R18", "in state resolved (« A clôturer ») the partner may not ask for more: le ticket est résolu")
}

// TestDatesOfTwoITops: where the partner too writes local times, they stay.
func TestDatesOfTwoITops(t *testing.T) {
	c := load(t, folder(t))
	c.Between.Partner.Dates = "local"
	if got := c.dateFor(passerelle.Partner, "2026-07-14 08:00:00"); got != "2026-07-14 08:00:00" {
		t.Errorf("got %s", got)
	}
	p := &passerelle.Event{From: passerelle.Partner, Kind: passerelle.Pend, Fields: map[string]string{"duedate": "2026-12-01"}}
	if err := c.Interpret(p); err != nil || p.Fields["pending_finish_date"] != "2026-12-01 23:59:59" { // R18
		t.Errorf("got %s, %v", p.Fields["pending_finish_date"], err)
	}
	c.Between.Requester.Dates = "offset" // a requester with Jira
	e := create(map[string]string{"reporting_date": "2026-01-14T08:00:00.000+0000"})
	if err := c.Interpret(e); err != nil || e.Fields["reporting_date"] != "2026-01-14 09:00:00" {
		t.Errorf("got %s, %v", e.Fields["reporting_date"], err)
	}
	if got := c.dateFor(passerelle.Requester, "2026-01-14 09:00:00"); got != "2026-01-14T09:00:00.000+0100" {
		t.Errorf("got %s", got)
	}
}

// transitions checks rows of the life cycle by what they do.
func transitions(t *testing.T, rows ...transition) {
	t.Helper()
	c := load(t, folder(t))
	for _, r := range rows {
		step, err := judge(c, r.state, &passerelle.Event{From: r.from, Signal: r.signal, Kind: r.kind, Fields: maps.Clone(r.fields)})
		if err != nil {
			t.Errorf("%+v: %v", r, err)
			continue
		}
		if step.Next != r.next || said(step) != r.sends || !strings.Contains(step.Rule, r.rule) {
			t.Errorf("%s, %s says %s%s: → %s, sends %q, by %s; want → %s, %q, by %s", r.state, r.from, r.signal, r.kind, step.Next, said(step), step.Rule, r.next, r.sends, r.rule)
		}
	}
}

type transition struct {
	state  passerelle.State
	from   passerelle.Side
	signal string
	kind   passerelle.Kind
	next   passerelle.State
	sends  string
	rule   string
	fields map[string]string
}

func TestR19TheAnswerEndsPending(t *testing.T) {
	transitions(t,
		transition{state: "pending", from: "requester", kind: "public-log", next: "open", sends: "partner:update-public-log partner:end-pending", rule: "R19"},
		transition{state: "pending", from: "requester", signal: "ev_assign", next: "open", sends: "partner:end-pending", rule: "R19"},
		transition{state: "open", from: "requester", signal: "ev_assign", next: "open", rule: "R34"}, // its own, after the entry
		transition{state: "pending", from: "requester", kind: "private-log", next: "pending", sends: "partner:update-private-log", rule: "R12"},
		transition{state: "pending", from: "partner", kind: "public-log", next: "pending", sends: "requester:update-public-log", rule: "R12"},
	)
}

func TestR20ThePartnerTakesItBack(t *testing.T) {
	transitions(t,
		transition{state: "pending", from: "partner", signal: "En cours", next: "open", sends: "requester:end-pending", rule: "R20"},
		transition{state: "pending", from: "partner", signal: "ev_assign", next: "open", sends: "requester:end-pending", rule: "R20"},
	)
	_, err := judge(load(t, folder(t)), passerelle.Pending, &passerelle.Event{From: passerelle.Partner, Signal: "A clôturer"})
	refused(t, err, "R20", "in state pending (« En attente ») the partner may not resolve the ticket: reprenez d'abord le ticket")
}

func TestR21DefaultSolution(t *testing.T) {
	c := load(t, folder(t))
	for given, want := range map[string]string{"": "Le ticket a été résolu", "<p>&nbsp;</p>": "Le ticket a été résolu", "<p>Fait.</p>": "<p>Fait.</p>"} {
		e := &passerelle.Event{From: passerelle.Partner, Signal: "A clôturer", Fields: map[string]string{"customfield_12041": given}}
		step, err := judge(c, passerelle.Open, e)
		if err != nil || step.Next != passerelle.Resolved || e.Fields["solution"] != want || e.Fields["resolutioncode_id"] != "resolve" {
			t.Errorf("%q: %+v, %v, %v", given, step, err, e.Fields)
		}
	}
	e := &passerelle.Event{From: passerelle.Partner, Signal: "A clôturer"} // no fields at all
	if _, err := judge(c, passerelle.Open, e); err != nil || e.Fields["solution"] != "Le ticket a été résolu" {
		t.Errorf("%v, %v", e.Fields, err)
	}
}

func TestR21Closing(t *testing.T) {
	transitions(t, transition{state: "resolved", from: "requester", signal: "ev_close", next: "closed", sends: "partner:close", rule: "R21"})
	c := load(t, folder(t))
	_, err := judge(c, passerelle.Pending, &passerelle.Event{From: passerelle.Requester, Signal: "ev_close"})
	refused(t, err, "R21", "seul un ticket « Résolue » se ferme")
	for _, s := range []passerelle.State{passerelle.Open, passerelle.Pending, passerelle.Resolved} {
		_, err := judge(c, s, &passerelle.Event{From: passerelle.Partner, Signal: "Fermée"})
		refused(t, err, "R21", "the partner may not close the ticket: seul le demandeur ferme le ticket")
	}
	_, err = judge(c, passerelle.Resolved, &passerelle.Event{From: passerelle.Partner, Signal: "En cours"})
	refused(t, err, "R21", "the partner may not resume the ticket: seul le demandeur peut rouvrir")
}

func TestR22CodesTellRejectionFromResolution(t *testing.T) {
	c := load(t, folder(t))
	for code, want := range map[string]passerelle.Kind{"39": passerelle.Resolve, "25": passerelle.Reject, "resolve": passerelle.Resolve, "reject": passerelle.Reject} {
		e := &passerelle.Event{From: passerelle.Partner, Signal: "ev_cex_resolve", Fields: map[string]string{"resolutioncode_id": code}}
		if err := c.Interpret(e); err != nil || e.Kind != want {
			t.Errorf("code %s is a %q, %v; want %s", code, e.Kind, err, want)
		}
	}
	for kind, code := range map[string]string{"resolve": "39", "reject": "25"} {
		if words, _ := c.values.words("resolutioncode_id", passerelle.Requester, kind); words[0] != code {
			t.Errorf("%s has code %s at the requester's, want %s", kind, words[0], code)
		}
	}
	_, err := judge(c, passerelle.Open, &passerelle.Event{From: passerelle.Partner, Signal: "ev_cex_resolve", Fields: map[string]string{"resolutioncode_id": "40"}})
	refused(t, err, "R13", "« ev_cex_resolve » from the partner with resolutioncode_id « 40 » means nothing", "ev_cex_resolve with resolutioncode_id 25")
	_, err = judge(c, passerelle.Open, &passerelle.Event{From: passerelle.Partner, Signal: "ev_cex_resolve"})
	refused(t, err, "R13", "« ev_cex_resolve » from the partner without resolutioncode_id means nothing")
}

func TestR22Rejection(t *testing.T) {
	c := load(t, folder(t))
	for _, tt := range []struct{ says, reason, solution, want string }{
		{"the partner's field for it", "<p>Hors périmètre.</p>", "", "<p>Hors périmètre.</p>"},
		{"the solution of its own agent", "", "<p>Doublon.</p>", "<p>Doublon.</p>"},
		{"both: the solution may be an older one, which was refused", "<p>a</p>", "<p>b</p>", "<p>a</p>"},
		{"neither", "", "<p></p>", "Le ticket a été rejeté"},
	} {
		e := &passerelle.Event{From: passerelle.Partner, Signal: "Rejeté", Fields: map[string]string{"customfield_12040": tt.reason, "customfield_12041": tt.solution}}
		step, err := judge(c, passerelle.Pending, e)
		if err != nil || step.Next != passerelle.Rejected || said(step) != "requester:update-public-log requester:reject" {
			t.Errorf("%s: %+v, %v", tt.says, step, err)
		}
		if e.Fields["solution"] != tt.want || e.Fields["public_log"] != tt.want || e.Fields["resolutioncode_id"] != "reject" {
			t.Errorf("%s: %v", tt.says, e.Fields)
		}
	}
	_, err := judge(c, passerelle.Rejected, &passerelle.Event{From: passerelle.Partner, Signal: "En cours"})
	refused(t, err, "R22", "seul le demandeur peut refuser le rejet")
}

func TestR22Reopening(t *testing.T) {
	transitions(t,
		transition{state: "resolved", from: "requester", signal: "ev_reopen", next: "open", sends: "partner:reopen", rule: "R22"},
		transition{state: "rejected", from: "requester", signal: "ev_reopen", next: "open", sends: "partner:reopen-rejection-refused", rule: "R22"},
		transition{state: "rejected", from: "requester", signal: "ev_leave", next: "left", rule: "R22"},
	)
}

func TestR30CreateAgain(t *testing.T) {
	fields := given(t)
	transitions(t,
		transition{state: "rejected", from: "requester", kind: "create", next: "open", sends: "partner:reopen-rejection-refused", rule: "R30", fields: fields},
		transition{state: "left", from: "requester", kind: "create", next: "open", sends: "partner:reopen-rejection-refused", rule: "R30", fields: fields},
		transition{state: "open", from: "requester", signal: "ev_reopen", next: "open", rule: "R30"}, // the tool pushed both
	)
	c := load(t, folder(t))
	for _, s := range []passerelle.State{passerelle.Open, passerelle.Pending, passerelle.Resolved} {
		_, err := judge(c, s, create(given(t)))
		refused(t, err, "R30", "in state "+string(s), "the requester may not create the ticket: le ticket est déjà chez le partenaire")
	}
}

func TestR31ClosedIsFinal(t *testing.T) {
	c := load(t, folder(t))
	for _, k := range []passerelle.Kind{passerelle.PublicLog, passerelle.PrivateLog, passerelle.Attach, passerelle.Reopen} {
		_, err := judge(c, passerelle.Closed, &passerelle.Event{From: passerelle.Requester, Kind: k})
		refused(t, err, "R31", "in state closed (« Fermée ») the requester may not ", "le ticket est fermé : créez-en un autre", "nothing more is exchanged on this ticket")
	}
	_, err := judge(c, passerelle.Closed, &passerelle.Event{From: passerelle.Partner, Kind: passerelle.PublicLog})
	refused(t, err, "R31", "ce commentaire n'a pas été transmis")
	_, err = judge(c, passerelle.Closed, &passerelle.Event{From: passerelle.Partner, Kind: passerelle.Attach})
	refused(t, err, "R31", "cette pièce jointe n'a pas été transmise")
}

func TestR32TakenAwayInSpiteOfTheLock(t *testing.T) {
	for _, s := range []passerelle.State{passerelle.Open, passerelle.Pending, passerelle.Resolved} {
		transitions(t, transition{state: s, from: "requester", signal: "ev_leave", next: s, sends: "partner:note requester:note", rule: "R32"})
	}
}

func TestR34TheSameAgainIsNothing(t *testing.T) {
	transitions(t,
		transition{state: "pending", from: "partner", signal: "En attente", next: "pending", rule: "R34"},
		transition{state: "resolved", from: "partner", signal: "A clôturer", next: "resolved", rule: "R34"},
		transition{state: "rejected", from: "partner", signal: "Rejeté", next: "rejected", rule: "R34"},
		transition{state: "closed", from: "partner", signal: "Fermée", next: "closed", rule: "R34"},
		transition{state: "closed", from: "requester", signal: "ev_close", next: "closed", rule: "R34"},
		transition{state: "open", from: "requester", signal: "ev_reopen", next: "open", rule: "R34"},
	)
}

func TestR35Rejected(t *testing.T) {
	transitions(t,
		transition{state: "rejected", from: "requester", signal: "ev_close", next: "closed", rule: "R35"},
		transition{state: "rejected", from: "requester", signal: "ev_leave", next: "left", rule: "R35"},
		transition{state: "rejected", from: "broker", kind: "reference", next: "rejected", sends: "requester:update-reference", rule: "R5"},
	)
}
