package itopsim

import (
	"fmt"
	"strings"
	"testing"
)

// TestStockLifeCycle walks every arrow of a plain iTop's life cycle, and
// checks that no other stimulus is taken in any state.
func TestStockLifeCycle(t *testing.T) {
	arrows := strings.Fields(`new>ev_assign>assigned new>ev_timeout>escalated_tto new>ev_wait_for_approval>waiting_for_approval new>ev_autoresolve>resolved
		escalated_tto>ev_assign>assigned escalated_tto>ev_autoresolve>resolved
		waiting_for_approval>ev_approve>approved waiting_for_approval>ev_reject>rejected
		approved>ev_assign>assigned approved>ev_autoresolve>resolved rejected>ev_reopen>new
		assigned>ev_pending>pending assigned>ev_resolve>resolved assigned>ev_autoresolve>resolved assigned>ev_reassign>assigned assigned>ev_timeout>escalated_ttr
		escalated_ttr>ev_pending>pending escalated_ttr>ev_resolve>resolved escalated_ttr>ev_autoresolve>resolved escalated_ttr>ev_reassign>escalated_ttr
		pending>ev_assign>assigned pending>ev_autoresolve>resolved
		resolved>ev_close>closed resolved>ev_reopen>assigned resolved>ev_autoresolve>resolved`)
	want := map[string]string{}
	states, stimuli := map[string]bool{"closed": true}, map[string]bool{"ev_cex_pending": true, "ev_nope": true}
	for _, arrow := range arrows {
		part := strings.Split(arrow, ">")
		want[part[0]+" "+part[1]] = part[2]
		states[part[0]], stimuli[part[1]] = true, true
	}
	sim := open(t, "testdata/stock.json")
	admin := desk{t, sim, "/webservices/rest.php", "sumit-broker", "<password>"}
	admin.must(`{"operation":"core/create","comment":"c","class":"UserRequest","fields":{"title":"t","description":"d","org_id":2}}`)
	for from := range states {
		for stimulus := range stimuli {
			admin.must(fmt.Sprintf(`{"operation":"core/update","comment":"c","class":"UserRequest","key":1,"fields":{"status":%q}}`, from))
			r := admin.call(fmt.Sprintf(`{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":1,"stimulus":%q,"output_fields":"status","fields":{"pending_reason":"p","solution":"s"}}`, stimulus))
			to := want[from+" "+stimulus]
			if to == "" && (r.Code != 100 || !strings.HasPrefix(r.Message, "Invalid stimulus")) {
				t.Errorf("%s in %s was taken: code %d", stimulus, from, r.Code)
			}
			if to != "" && r.field("status") != to {
				t.Errorf("%s in %s leads to %v (%s), want %s", stimulus, from, r.field("status"), r.Message, to)
			}
		}
	}
}

// TestSUMiTTeams: what the team does to the state, from each place.
func TestSUMiTTeams(t *testing.T) {
	_, gateway, agent, _ := demo(t)
	agent.must(newTicket)
	move := func(params, status, team string) {
		t.Helper()
		r := agent.must(params)
		if r.field("status") != status || r.field("team_name") != team {
			t.Errorf("%s: %v in %v, want %s in %s", params, r.field("status"), r.field("team_name"), status, team)
		}
	}
	stimulus := func(name string, team int) string {
		return fmt.Sprintf(`{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":1,"stimulus":%q,"output_fields":"status,team_name","fields":{"team_id":%d}}`, name, team)
	}
	move(stimulus("ev_assign", 203), "assigned", "DSI")
	move(stimulus("ev_reassign", 202), "cex", "Support GAR")
	reject := `{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":1,"stimulus":"ev_cex_resolve","fields":{"resolutioncode_id":25,"solution":"non","last_update_by":"provider"}}`
	gateway.must(reject)
	move(stimulus("ev_reassign", 203), "assigned", "DSI")
	move(`{"operation":"core/update","comment":"c","class":"UserRequest","key":1,"output_fields":"status,team_name","fields":{"team_id":202}}`, "cex", "Support GAR")
	gateway.must(reject)
	update := `{"operation":"core/update","comment":"c","class":"UserRequest","key":1,"output_fields":"status,team_name","fields":{"team_id":%d}}`
	move(fmt.Sprintf(update, 202), "cex", "Support GAR")
	gateway.must(reject)
	move(fmt.Sprintf(update, 203), "assigned", "DSI")
}
