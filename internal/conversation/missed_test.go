package conversation

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"passerelle"
	"passerelle/internal/fault"
	"passerelle/internal/trial"
)

// missed is a change of state that no webhook told: how the pair came to where it
// was, what an agent then did unheard, and how the contract has it end.
type missed struct {
	name  string
	reach func(p *watched)
	act   func(p *watched)
	state passerelle.State
	ends  map[passerelle.Side]string // the status that each tool's people see in the end
	// hears are what each side's tool was told, by a word of each message: exactly
	// these.
	hears map[passerelle.Side][]string
}

// watched is one play of it.
type watched struct {
	*lookout
	ticket, issue string
}

const (
	requester = passerelle.Requester
	partner   = passerelle.Partner
)

// TestMissedStatusIsFound loses every webhook of a change of state: the sweep
// finds it, and both tickets end where the contract says. It is told once.
func TestMissedStatusIsFound(t *testing.T) {
	pending := func(p *watched) { p.move(p.issue, "21", `"duedate":"2026-12-01"`) }
	resolved := func(p *watched) { p.move(p.issue, "41", `"resolution":{"name":"Résolu"}`) }
	rejected := func(p *watched) { p.move(p.issue, "51", `"customfield_12040":"Hors périmètre"`) }
	reopen := func(p *watched) { p.stimulus(p.ticket, "ev_reopen", `"reopen_reason": "<p>toujours en panne</p>"`) }
	leave := func(p *watched) { p.update(p.ticket, `"team_id": 203`) }
	close := func(p *watched) { p.stimulus(p.ticket, "ev_close", `"user_comment": "merci bien"`) }
	for _, m := range []missed{
		{"closed from resolved", resolved, close, passerelle.Closed, map[passerelle.Side]string{requester: "closed (Support GAR)", partner: "Fermée"},
			map[passerelle.Side][]string{partner: {"customfield_12007", "/transitions merci bien"}}},
		{"reopened from resolved", resolved, reopen, passerelle.Open, map[passerelle.Side]string{requester: "cex (Support GAR)", partner: "En cours"},
			map[passerelle.Side][]string{partner: {"customfield_12007", "/transitions toujours en panne"}}},
		{"a rejection reopened", rejected, reopen, passerelle.Open, map[passerelle.Side]string{requester: "cex (Support GAR)", partner: "En cours"},
			map[passerelle.Side][]string{partner: {"customfield_12007", "/transitions Rejet du ticket non valide"}}},
		{"a rejection reopened with a word", rejected, func(p *watched) { reopen(p); p.update(p.ticket, `"public_log": "<p>voici pourquoi</p>"`) }, passerelle.Open, map[passerelle.Side]string{requester: "cex (Support GAR)", partner: "En cours"},
			map[passerelle.Side][]string{partner: {"customfield_12007", "/transitions Rejet du ticket non valide", "customfield_12007", "/comment voici pourquoi"}}},
		{"closed with a word", resolved, func(p *watched) { p.update(p.ticket, `"public_log": "<p>dernier mot</p>"`); close(p) }, passerelle.Closed, map[passerelle.Side]string{requester: "closed (Support GAR)", partner: "Fermée"},
			map[passerelle.Side][]string{partner: {"customfield_12007", "/comment dernier mot", "customfield_12007", "/transitions merci bien"}}},
		{"handed over again after it was taken away", func(p *watched) { rejected(p); p.rest(); leave(p) }, func(p *watched) { p.update(p.ticket, `"team_id": 202`) }, passerelle.Open,
			map[passerelle.Side]string{requester: "cex (Support GAR)", partner: "En cours"}, map[passerelle.Side][]string{partner: {"customfield_12007", "/transitions Rejet du ticket non valide"}}},
		{"a rejection closed", rejected, close, passerelle.Closed, map[passerelle.Side]string{requester: "closed (DRANE)", partner: "Rejeté"}, nil},
		{"taken away after a rejection", rejected, leave, passerelle.Left, map[passerelle.Side]string{requester: "assigned (DSI)", partner: "Rejeté"}, nil},
		{"taken away", nil, leave, passerelle.Open, map[passerelle.Side]string{requester: "assigned (DSI)", partner: "Nouveau"},
			map[passerelle.Side][]string{requester: {"private_log réaffecté"}, partner: {"customfield_12007", "/comment réaffecté"}}},
		{"taken away while pending", pending, leave, passerelle.Pending, map[passerelle.Side]string{requester: "assigned (DSI)", partner: "En attente"},
			map[passerelle.Side][]string{requester: {"private_log réaffecté"}, partner: {"customfield_12007", "/comment réaffecté"}}},
		{"taken away from resolved", resolved, leave, passerelle.Resolved, map[passerelle.Side]string{requester: "assigned (DSI)", partner: "A clôturer"},
			map[passerelle.Side][]string{requester: {"private_log réaffecté"}, partner: {"customfield_12007", "/comment réaffecté"}}},
		{"pending ended", pending, func(p *watched) { p.stimulus(p.ticket, "ev_assign", "") }, passerelle.Open, map[passerelle.Side]string{requester: "cex (Support GAR)", partner: "En cours"},
			map[passerelle.Side][]string{partner: {"customfield_12007", "/transitions"}}},
		{"pending answered", pending, func(p *watched) { p.update(p.ticket, `"public_log": "<p>la 145</p>"`) }, passerelle.Open, map[passerelle.Side]string{requester: "cex (Support GAR)", partner: "En cours"},
			map[passerelle.Side][]string{partner: {"customfield_12007", "/comment la 145", "customfield_12007", "/transitions"}}},
	} {
		t.Run(m.name, func(t *testing.T) { m.play(t, orleans) })
	}
}

// TestMissedStatusIsFoundBetweenTwoITops does so where neither tool tells its
// steps.
func TestMissedStatusIsFoundBetweenTwoITops(t *testing.T) {
	theirs := func(stimulus, fields string) func(*watched) {
		return func(p *watched) {
			p.does(partner, `{"operation": "core/apply_stimulus", "class": "UserRequest", "comment": "agent", "key": `+p.issue+`, "stimulus": "`+stimulus+`", "fields": {`+fields+`}}`)
		}
	}
	ours := func(stimulus, fields string) func(*watched) {
		return func(p *watched) { p.stimulus(p.ticket, stimulus, fields) }
	}
	pend, resume := theirs("ev_pending", `"pending_reason": "Quelle version ?"`), theirs("ev_assign", "")
	resolve := theirs("ev_resolve", `"solution": "<p>Le compte est créé.</p>"`)
	back := theirs("ev_reassign", `"team_id": {"name": "Retour école"}`)
	leave := ours("ev_reassign", `"team_id": {"name": "Informatique de proximité"}`)
	const atGroup, elsewhere, atSchool = "Support groupe INSA", "Informatique de proximité", "Support école"
	for _, m := range []missed{
		{"the group puts on hold", nil, pend, passerelle.Pending, map[passerelle.Side]string{requester: "pending (" + atGroup + ")", partner: "pending (Support Scénari)"},
			map[passerelle.Side][]string{requester: {"ev_pending Quelle version ?"}}},
		{"the group takes up again", pend, resume, passerelle.Open, map[passerelle.Side]string{requester: "assigned (" + atGroup + ")", partner: "assigned (Support Scénari)"},
			map[passerelle.Side][]string{requester: {"ev_assign"}}},
		{"the group solves", nil, resolve, passerelle.Resolved, map[passerelle.Side]string{requester: "resolved (" + atGroup + ")", partner: "resolved (Support Scénari)"},
			map[passerelle.Side][]string{requester: {"ev_resolve Le compte est créé."}}},
		{"the group gives back", nil, back, passerelle.Rejected, map[passerelle.Side]string{requester: "assigned (" + atSchool + ")", partner: "assigned (Retour école)"},
			map[passerelle.Side][]string{requester: {"private_log rend ce ticket", "ev_reassign"}}},
		{"the group gives back what is on hold", pend, theirs("ev_assign", `"team_id": {"name": "Retour école"}`), passerelle.Rejected,
			map[passerelle.Side]string{requester: "assigned (" + atSchool + ")", partner: "assigned (Retour école)"},
			map[passerelle.Side][]string{requester: {"private_log rend ce ticket", "ev_assign"}}},
		{"the school closes", resolve, ours("ev_close", `"user_comment": "merci bien"`), passerelle.Closed, map[passerelle.Side]string{requester: "closed (" + atGroup + ")", partner: "closed (Support Scénari)"},
			map[passerelle.Side][]string{partner: {"ev_close merci bien"}}},
		{"the school reopens", resolve, ours("ev_reopen", ""), passerelle.Open, map[passerelle.Side]string{requester: "assigned (" + atGroup + ")", partner: "assigned (Support Scénari)"},
			map[passerelle.Side][]string{partner: {"ev_reopen"}}},
		{"the school ends the hold", pend, ours("ev_assign", ""), passerelle.Open, map[passerelle.Side]string{requester: "assigned (" + atGroup + ")", partner: "assigned (Support Scénari)"},
			map[passerelle.Side][]string{partner: {"ev_assign"}}},
		{"the school takes away", nil, leave, passerelle.Open, map[passerelle.Side]string{requester: "assigned (" + elsewhere + ")", partner: "assigned (Support Scénari)"},
			map[passerelle.Side][]string{requester: {"private_log affecté"}, partner: {"private_log affecté"}}},
		{"the school closes what was given back", back, func(p *watched) {
			p.stimulus(p.ticket, "ev_resolve", `"solution": "<p>sans objet</p>"`)
			p.stimulus(p.ticket, "ev_close", "")
		}, passerelle.Closed,
			map[passerelle.Side]string{requester: "closed (" + atSchool + ")", partner: "assigned (Retour école)"}, nil},
		{"the group closes what it solved", resolve, theirs("ev_close", ""), passerelle.Resolved, map[passerelle.Side]string{requester: "resolved (" + atGroup + ")", partner: "closed (Support Scénari)"},
			map[passerelle.Side][]string{partner: {"private_log seule l"}}},
		{"the school solves by itself", nil, ours("ev_resolve", `"solution": "<p>trouvé</p>"`), passerelle.Open, map[passerelle.Side]string{requester: "resolved (" + atGroup + ")", partner: "assigned (Support Scénari)"},
			map[passerelle.Side][]string{requester: {"private_log rouvrez-le"}}},
		{"the school hands over again what was given back", back, ours("ev_reassign", `"team_id": {"name": "`+atGroup+`"}`), passerelle.Open,
			map[passerelle.Side]string{requester: "assigned (" + atGroup + ")", partner: "assigned (C2IP)"}, map[passerelle.Side][]string{partner: {"ev_reassign"}}},
	} {
		t.Run(m.name, func(t *testing.T) { m.play(t, insa) })
	}
}

// TestGivenBackWhileSchoolCannotBeWritten: a ticket that the group gave back, and
// that stands with the group's team at the school because nothing can be written
// there yet, is not taken for one that is handed over again.
func TestGivenBackWhileSchoolCannotBeWritten(t *testing.T) {
	t.Parallel()
	l := newLookout(t, insa, nil)
	ticket := l.ticket()
	l.hands(ticket)
	l.rest()
	gate := l.tools[requester].ITop.Faults()
	l.must(gate.Add(fault.Rule{Match: "core/apply_stimulus", Kind: fault.Status, Code: http.StatusOK, Body: `{"code": 100, "message": "Error: locked"}`}))
	issue := l.link(ticket).Partner.Key
	for _, team := range []string{"Support Scénari", "Retour école"} {
		l.does(partner, `{"operation": "core/update", "class": "UserRequest", "comment": "agent", "key": `+issue+`, "fields": {"team_id": {"name": "`+team+`"}}}`)
	}
	l.until("the rejection", func() bool { return l.link(ticket).State == passerelle.Rejected })
	l.nextSecond()
	l.update(ticket, `"public_log": "<p>où en est-on ?</p>"`)
	l.swept(6)
	l.rest()
	if s := l.link(ticket).State; s != passerelle.Rejected {
		t.Errorf("the pair is %s:\n%s", s, l.stories())
	}
}

func (m *missed) play(t *testing.T, dir string) {
	t.Parallel()
	p := &watched{lookout: newLookout(t, dir, nil)}
	p.ticket = p.lookout.ticket()
	p.hands(p.ticket)
	p.must(p.settle())
	p.issue = p.link(p.ticket).Partner.Key
	if dir == insa {
		p.does(partner, `{"operation": "core/apply_stimulus", "class": "UserRequest", "comment": "agent", "key": `+p.issue+`, "stimulus": "ev_assign", "fields": {"team_id": {"name": "Support Scénari"}}}`)
	}
	p.rest()
	if m.reach != nil {
		m.reach(p)
		p.rest()
	}
	p.forget()
	p.mute.Store(true)
	m.act(p)
	p.until("the "+string(m.state)+" pair", func() bool {
		for side, words := range m.hears {
			if p.ears[side].heardSoFar() < len(words) {
				return false
			}
		}
		return p.link(p.ticket).State == m.state
	})
	p.rest()
	p.rest()
	if l := p.link(p.ticket); l.State != m.state {
		t.Errorf("the pair is %s, want %s", l.State, m.state)
	}
	for side, want := range m.ends {
		status, err := p.tools[side].Status(p.ctx, p.link(p.ticket).Ref(side))
		p.must(err)
		if status != want {
			t.Errorf("the %s's ticket is %s, want %s", side, status, want)
		}
	}
	for _, side := range trial.Sides {
		if err := heardAs(p.ears[side], m.hears[side]); err != nil {
			t.Errorf("the %s: %v", side, err)
		}
	}
	if t.Failed() {
		t.Logf("%s\n%s", p.stories(), p.written())
	}
}

// heardAs compares what a tool was told with the words of each message.
func heardAs(e *ear, words []string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.list) != len(words) {
		return fmt.Errorf("it heard %d messages, want %d", len(e.list), len(words))
	}
	for i, w := range words {
		first, rest, _ := strings.Cut(w, " ")
		if !strings.Contains(e.list[i], first) || !strings.Contains(e.list[i], rest) {
			return fmt.Errorf("message %d says nothing of %q:\n%s", i+1, w, e.list[i])
		}
	}
	return nil
}
