package mapping

import (
	"fmt"
	"os"
	"testing"

	"passerelle"
)

// What a tool shows, and what it means for the pair, for both contracts.
func TestStandingAndMoved(t *testing.T) {
	load := func(name string) *Contract {
		c, err := Load(os.DirFS("../contracts/" + name))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	sumit, insa := load("orleans-tours-gar/v1"), load("insa-groupe/v1")
	for _, tt := range []struct {
		c      *Contract
		side   passerelle.Side
		state  passerelle.State
		status string
		away   bool
		stands string
		kind   string // "" for what the life cycle has no word for
	}{
		{sumit, passerelle.Requester, passerelle.Open, "cex", false, "[open]", ""},
		{sumit, passerelle.Requester, passerelle.Pending, "cex", false, "[open]", "resume"},
		{sumit, passerelle.Requester, passerelle.Resolved, "cex", false, "[open]", "reopen"},
		{sumit, passerelle.Requester, passerelle.Rejected, "cex", false, "[open]", "reopen"},
		{sumit, passerelle.Requester, passerelle.Resolved, "resolved", false, "[resolved]", ""},
		{sumit, passerelle.Requester, passerelle.Rejected, "resolved", true, "[rejected]", ""},
		{sumit, passerelle.Requester, passerelle.Resolved, "closed", false, "[closed]", "close"},
		{sumit, passerelle.Requester, passerelle.Rejected, "closed", true, "[closed]", "close"},
		{sumit, passerelle.Requester, passerelle.Open, "closed", false, "[closed]", "close"}, // refused in sight
		{sumit, passerelle.Requester, passerelle.Open, "assigned", true, "[]", "leave"},
		{sumit, passerelle.Requester, passerelle.Rejected, "assigned", true, "[]", "leave"},
		{sumit, passerelle.Requester, passerelle.Open, "assigned", false, "[]", ""},
		{sumit, passerelle.Requester, passerelle.Open, "cex_pending", false, "[pending]", ""},
		{insa, passerelle.Requester, passerelle.Open, "assigned", true, "[rejected]", "leave"},
		{insa, passerelle.Requester, passerelle.Resolved, "assigned", false, "[open]", "reopen"},
		{insa, passerelle.Partner, passerelle.Open, "assigned", false, "[open]", ""},
		{insa, passerelle.Partner, passerelle.Open, "assigned", true, "[rejected]", "reject"},
		{insa, passerelle.Partner, passerelle.Open, "pending", false, "[pending]", "pend"},
		{insa, passerelle.Partner, passerelle.Open, "resolved", false, "[resolved]", "resolve"},
		{insa, passerelle.Partner, passerelle.Pending, "assigned", false, "[open]", "resume"},
	} {
		stands := tt.c.Standing(tt.side, tt.status, tt.away)
		if fmt.Sprint(stands) != tt.stands {
			t.Errorf("%s %s « %s », away %v: stands %v, want %s", tt.c.Name, tt.side, tt.status, tt.away, stands, tt.stands)
		}
		kind, ok := passerelle.Kind(""), false
		if len(stands) != 1 || stands[0] != tt.state {
			kind, ok = tt.c.Moved(tt.side, tt.state, stands, tt.away)
		}
		if ok != (tt.kind != "") || ok && string(kind) != tt.kind {
			t.Errorf("%s %s from %s « %s », away %v: %q %v, want %q", tt.c.Name, tt.side, tt.state, tt.status, tt.away, kind, ok, tt.kind)
		}
	}
	for _, tt := range []struct{ got, want string }{
		{sumit.Scope(passerelle.Requester), "SELECT UserRequest WHERE team_name = 'Support GAR'"},
		{sumit.Scope(passerelle.Partner), ""},
		{insa.Scope(passerelle.Partner), "SELECT UserRequest WHERE id NOT IN (SELECT UserRequest WHERE title LIKE '[INSA-%' AND team_name = 'Retour école')"},
	} {
		if tt.got != tt.want {
			t.Errorf("scope %q, want %q", tt.got, tt.want)
		}
	}
	payload, fields := sumit.ReferenceProbe(passerelle.Requester)
	if fmt.Sprint(fields) != "[provider_ref provider_id]" || len(payload) == 0 {
		t.Errorf("the number is written in %v", fields)
	}
	if _, fields := insa.ReferenceProbe(passerelle.Requester); fmt.Sprint(fields) != "[escalation_reason]" {
		t.Errorf("the number is written in %v", fields)
	}
}

// The messages that bring a ticket back, and who ends « A compléter ».
func TestBackAndEndsPending(t *testing.T) {
	for name, ends := range map[string]bool{"orleans-tours-gar/v1": false, "insa-groupe/v1": true} {
		c, err := Load(os.DirFS("../contracts/" + name))
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := c.Back(passerelle.Requester, passerelle.Pending, passerelle.Open); !ok || s.Template != "end-pending" {
			t.Errorf("%s: %v %v", name, s, ok)
		}
		if c.EndsPending(passerelle.Requester) != ends {
			t.Errorf("%s: ends « A compléter » by a message: %v", name, !ends)
		}
	}
}
