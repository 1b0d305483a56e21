package itopsim

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"passerelle/internal/fault"
)

// TestFaults: a connection dropped after the effect leaves the effect; one
// dropped before leaves nothing; people are never spoilt.
func TestFaults(t *testing.T) {
	for kind, effects := range map[fault.Kind]int{fault.DropBefore: 0, fault.Status: 0, fault.Late: 1, fault.DropAfter: 1, fault.Truncate: 1} {
		sim, gateway, agent, _ := demo(t)
		agent.must(newTicket)
		if err := sim.Faults().Add(fault.Rule{Match: "core/update UserRequest", Kind: kind, Code: 503}); err != nil {
			t.Fatal(err)
		}
		before := len(sim.Writes())
		func() {
			defer func() { _ = recover() }()
			gateway.post(publicLog)
		}()
		if got := len(sim.Writes()) - before; got != effects {
			t.Errorf("%s: %d effects, want %d", kind, got, effects)
		}
		gateway.must(`{"operation":"core/get","class":"UserRequest","key":1,"output_fields":"status"}`)
		agent.must(publicLog)
	}
}

// TestWrites: every effect is listed, with who, where and what.
func TestWrites(t *testing.T) {
	sim, gateway, agent, _ := demo(t)
	agent.must(newTicket)
	gateway.must(`{"operation":"core/update","comment":"c","class":"UserRequest","key":1,"fields":{"provider_ref":"GSN1-1","title":"Accès impossible"}}`)
	gateway.must(`{"operation":"core/update","comment":"c","class":"UserRequest","key":1,"fields":{"provider_ref":"GSN1-1"}}`)
	got := sim.Writes()
	if len(got) != 2 {
		t.Fatalf("%d effects, want 2: an update that changes nothing has none", len(got))
	}
	w := got[1]
	want := Change{"provider_ref", "", "GSN1-1"}
	if w.Login != "gateway" || w.Context != ContextREST || w.Effect != "update" || w.Key != 1 || len(w.Changed) != 1 || w.Changed[0] != want {
		t.Errorf("effect %+v, want an update of provider_ref by gateway", w)
	}
	if got[0].Context != ContextConsole || got[0].Effect != "create" {
		t.Errorf("effect %+v, want a creation in the console", got[0])
	}
}

// TestR14Lock: while the subcontractor has the ticket, people only write in
// its logs; "force" goes round the lock, and REST has none.
func TestR14Lock(t *testing.T) {
	_, gateway, agent, _ := demo(t)
	agent.must(newTicket)
	agent.must(`{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":1,"stimulus":"ev_assign","fields":{"team_id":202}}`)
	title := `{"operation":"core/update","comment":"c","class":"UserRequest","key":1,"output_fields":"title","fields":{"title":"autre"}%s}`
	if r := agent.call(fmt.Sprintf(title, "")); r.Code != 100 || !strings.Contains(r.Message, "title: locked") {
		t.Errorf("the console changed a locked title: %+v", r)
	}
	away := `{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":1,"stimulus":"ev_reassign","output_fields":"status,team_name","fields":{"team_id":203}%s}`
	if r := agent.call(fmt.Sprintf(away, "")); r.Code != 100 {
		t.Errorf("the console reassigned a locked ticket: %+v", r)
	}
	agent.must(publicLog)
	gateway.must(fmt.Sprintf(title, ""))
	r := agent.must(fmt.Sprintf(away, `,"force":true`))
	if r.field("status") != "assigned" || r.field("team_name") != "DSI" {
		t.Errorf("forced reassignment leaves %v in %v, want assigned in DSI", r.field("status"), r.field("team_name"))
	}
}

// TestR21Portal: the end user answers and adds files; closing and refusing a
// solution are the agents'.
func TestR21Portal(t *testing.T) {
	_, _, agent, portal := demo(t)
	agent.must(newTicket)
	portal.must(publicLog)
	portal.must(`{"operation":"core/create","comment":"c","class":"Attachment","output_fields":"id","fields":{"item_class":"UserRequest","item_id":1,"contents":{"data":"aGVsbG8=","filename":"a.txt","mimetype":"text/plain"}}}`)
	for _, params := range []string{
		`{"operation":"core/update","comment":"c","class":"UserRequest","key":1,"fields":{"private_log":"x"}}`,
		`{"operation":"core/update","comment":"c","class":"UserRequest","key":1,"fields":{"team_id":202}}`,
		`{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":1,"stimulus":"ev_close","fields":{}}`,
	} {
		if r := portal.call(params); r.Code != 1 {
			t.Errorf("%s: code %d, want 1", params, r.Code)
		}
	}
	portal.path = "/console/rest.php"
	if r := portal.call(publicLog); r.Code != 1 {
		t.Errorf("a portal user in the console: code %d, want 1", r.Code)
	}
}

// TestComputedAttributes: what cannot be set is refused, never taken in silence.
func TestComputedAttributes(t *testing.T) {
	_, gateway, agent, _ := demo(t)
	agent.must(newTicket)
	for _, name := range []string{"team_name", "friendlyname", "operational_status", "contacts_list", "tto"} {
		r := gateway.call(`{"operation":"core/update","comment":"c","class":"UserRequest","key":1,"fields":{"` + name + `":"x"}}`)
		if r.Code != 100 || !strings.Contains(r.Message, name+": ") {
			t.Errorf("%s: code %d, %q, want a refusal", name, r.Code, r.Message)
		}
	}
}

// TestExternalKeys: the four ways to name an object.
func TestExternalKeys(t *testing.T) {
	_, gateway, agent, _ := demo(t)
	agent.must(newTicket)
	for key, want := range map[string]string{`202`: "202", `"202"`: "202", `{"name":"Support GAR"}`: "202", `"SELECT Team WHERE name='Support GAR'"`: "202",
		`0`: "0", `"0"`: "0", `{"name":"Support GAR","org_id":10}`: "202", `{"external":"yes"}`: "202"} {
		r := gateway.must(`{"operation":"core/update","comment":"c","class":"UserRequest","key":1,"output_fields":"team_id","fields":{"team_id":` + key + `}}`)
		if r.field("team_id") != want {
			t.Errorf("team_id %s gives %v, want %s", key, r.field("team_id"), want)
		}
		gateway.must(`{"operation":"core/update","comment":"c","class":"UserRequest","key":1,"fields":{"team_id":201}}`)
	}
	for key, want := range map[string]string{`"Support GAR"`: "team_id: Unexpected token NAME", `null`: "team_id: Wrong format for key", `999`: "team_id: Invalid object Team::999",
		`{"name":"x"}`: "team_id: No item found with criteria: name: x (x)", `{"org_id":10}`: "team_id: Several items found (3)"} {
		r := gateway.call(`{"operation":"core/update","comment":"c","class":"UserRequest","key":1,"fields":{"team_id":` + key + `}}`)
		if r.Code != 100 || !strings.HasPrefix(r.Message, "Error: "+want) {
			t.Errorf("team_id %s: code %d, %q, want %q…", key, r.Code, r.Message, want)
		}
	}
}

// TestOQL beyond what the recordings ask.
func TestOQL(t *testing.T) {
	_, gateway, _, _ := demo(t)
	for source, want := range map[string]string{
		`SELECT Team`:                                                                            "Found: 3",
		`SELECT Team WHERE name LIKE 'D%'`:                                                       "Found: 2",
		`SELECT Team WHERE name NOT LIKE 'D%'`:                                                   "Found: 1",
		`SELECT Team WHERE name = 'drane'`:                                                       "Found: 1",
		`SELECT Team WHERE id IN (201, 202)`:                                                     "Found: 2",
		`SELECT Team WHERE id NOT IN (201, 202)`:                                                 "Found: 1",
		`SELECT Team WHERE id = 201 OR id = 202 AND external = 'yes'`:                            "Found: 2",
		`SELECT Team WHERE (id = 201 OR id = 202) AND external = "yes"`:                          "Found: 1",
		`SELECT T FROM Team AS T JOIN Organization AS O ON T.org_id = O.id WHERE O.code = 'ORT'`: "Found: 3",
		`SELECT O FROM Team AS T JOIN Organization AS O ON T.org_id = O.id`:                      "Found: 1",
		`SELECT Service WHERE id IN (SELECT S FROM Service AS S JOIN ServiceSubcategory AS C ON C.service_id = S.id WHERE C.name = 'Import')`:        "Found: 2",
		`SELECT ServiceSubcategory WHERE name = "Import" AND servicefamily_name = "Incident" AND domain_name = "Usage pédagogique du numérique"`:     "Found: 1",
		`SELECT ServiceSubcategory WHERE name = "Import" AND service_name = "Alimentation/qualité des données" AND familygroup_name = "Support GAR"`: "Found: 2",
		`SELECT Team WHERE id <= 202`:                                      "Found: 2",
		`SELECT Team WHERE id < 202`:                                       "Found: 1",
		`SELECT Team WHERE id >= 202`:                                      "Found: 2",
		`SELECT Team WHERE id > 202`:                                       "Found: 1",
		`SELECT Team WHERE id <> 202`:                                      "Found: 2",
		`SELECT Team WHERE id NOT IN (SELECT Team WHERE external = 'yes')`: "Found: 2",
		`SELECT Team WHERE id IN (SELECT Team WHERE external = 'yes' OR name = 'DSI') AND id >= 203`:          "Found: 1",
		`SELECT Team WHERE id = 203 AND id IN (SELECT Team WHERE id NOT IN (SELECT Team WHERE name = 'DSI'))`: "Found: 0",
		`SELECT Team WHERE id = 202 AND id IN (SELECT Team WHERE id NOT IN (SELECT Team WHERE name = 'DSI'))`: "Found: 1",
		`SELECT Person WHERE id = :current_contact_id`:                                                        "Found: 1",
		`SELECT ResolutionCode WHERE id = 39 AND name = 'Solution apportée ticket distant'`:                   "Found: 1",
		`SELECT UserRequest WHERE last_update >= DATE_SUB(NOW(), INTERVAL 1 DAY)`:                             "Found: 0",
	} {
		out := gateway.call(`{"operation":"core/get","class":"Team","output_fields":"id","key":` + string(encodePHP(source)) + `}`)
		if out.Code != 0 || out.Message != want {
			t.Errorf("%s: code %d, %q, want %q", source, out.Code, out.Message, want)
		}
	}
	for source, want := range map[string]string{
		`SELECT Nope`:                           "Unknown class",
		`SELECT Team WHERE`:                     "Unexpected token EOF",
		`SELECT Team WHERE name = 'x`:           "Unexpected end of string",
		`SELECT Team WHERE T.name = 'x'`:        "Unknown class [alias]",
		`DELETE Team`:                           "Unexpected token NAME",
		`SELECT Team WHERE name REGEXP 'x'`:     "Unexpected token NAME",
		`SELECT Team WHERE id IN (SELECT Nope)`: "Unknown class",
		`SELECT UserRequest WHERE id = 0 AND id IN (SELECT UserRequest WHERE group_name = 'x')`: "Unknown filter code - found 'group_name'", // although there is no ticket
		`SELECT Team WHERE DATE_FORMAT(name) = 1`:                                               "not simulated",
	} {
		out := gateway.call(`{"operation":"core/get","class":"Team","output_fields":"id","key":` + string(encodePHP(source)) + `}`)
		if out.Code != 100 || !strings.Contains(out.Message, want) {
			t.Errorf("%s: code %d, %q, want …%q…", source, out.Code, out.Message, want)
		}
	}
}

// TestLostLogWrites: off by default; on, clients that write at once lose
// entries although each answer was 0 and showed its own.
func TestLostLogWrites(t *testing.T) {
	for _, lose := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			sim, gateway, agent, _ := demo(t)
			sim.LoseConcurrentLogWrites = lose
			agent.must(newTicket)
			var wg sync.WaitGroup
			for range 4 {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for range 5 {
						gateway.must(publicLog)
					}
				}()
			}
			wg.Wait()
			log := gateway.must(`{"operation":"core/get","class":"UserRequest","key":1,"output_fields":"public_log"}`).field("public_log")
			kept := len(log.(map[string]any)["entries"].([]any)) - 1
			if lost := kept < 20; lost != lose {
				t.Errorf("lose %v: %d of 20 entries kept", lose, kept)
			}
			ops := gateway.must(`{"operation":"core/get","class":"CMDBChangeOpSetAttributeCaseLog","key":"SELECT CMDBChangeOpSetAttributeCaseLog WHERE attcode='public_log'","output_fields":"lastentry"}`)
			positions := map[any]bool{}
			for _, o := range ops.Objects {
				positions[o.Fields["lastentry"]] = true
			}
			if len(ops.Objects) != 20 || len(positions) != kept {
				t.Errorf("lose %v: the history has %d writes at %d positions, want 20 at %d", lose, len(ops.Objects), len(positions), kept)
			}
			if kept < 5 {
				t.Errorf("lose %v: only %d of 20 entries kept: writers one after the other must lose nothing", lose, kept)
			}
		})
	}
}

// TestRace: of two who write one journal at the same moment the first is lost,
// although its own answer and its webhook showed it; the history has both
// writes, at one place. It happens once, and only to whom it is told.
func TestRace(t *testing.T) {
	sim, gateway, agent, portal := demo(t)
	agent.must(newTicket)
	agent.must(`{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":1,"stimulus":"ev_assign","fields":{"team_id":{"name":"Support GAR"}}}`)
	say := func(d desk, log, text string) string {
		t.Helper()
		r := d.must(`{"operation":"core/update","comment":"c","class":"UserRequest","key":1,"output_fields":"` + log + `","fields":{"` + log + `":"<p>` + text + `</p>"}}`)
		return texts(r.field(log))
	}
	read := func(log string) string {
		t.Helper()
		return texts(gateway.must(`{"operation":"core/get","class":"UserRequest","key":1,"output_fields":"` + log + `"}`).field(log))
	}
	sim.Overwrite(Race{Key: 1, Log: "private_log"})
	say(agent, "private_log", "first of all") // nothing is there yet that it could take the place of
	sim.Overwrite(Race{Key: 2, Log: "public_log"})
	sim.Overwrite(Race{Key: 1, Log: "public_log", By: "agent"})
	if got := say(gateway, "public_log", "ours"); got != "premier message|ours" {
		t.Errorf("the first writer's answer shows %s", got)
	}
	if got := say(portal, "public_log", "a portal user's"); got != "premier message|ours|a portal user's" {
		t.Errorf("not the one who was told: %s", got)
	}
	if got := say(agent, "public_log", "an agent's"); got != "premier message|ours|an agent's" {
		t.Errorf("the second writer's answer shows %s", got)
	}
	if got := say(agent, "public_log", "another"); got != "premier message|ours|an agent's|another" || read("public_log") != got {
		t.Errorf("it happened twice: %s, %s", got, read("public_log"))
	}
	if got := say(gateway, "private_log", "second"); got != "second" || read("private_log") != got {
		t.Errorf("the private journal shows %s, %s", got, read("private_log"))
	}
	sim.Overwrite(Race{Log: "public_log"})
	if got := say(agent, "public_log", "another"); got != "premier message|ours|an agent's|another" { // the same words at the same moment are two writes
		t.Errorf("the same words: %s", got)
	}
	ops := gateway.must(`{"operation":"core/get","class":"CMDBChangeOpSetAttributeCaseLog","key":"SELECT CMDBChangeOpSetAttributeCaseLog WHERE attcode='public_log' AND objkey = 1","output_fields":"lastentry,userinfo,user_id,date"}`)
	var places []string
	for id := 1; id <= 100; id++ {
		if o, ok := ops.Objects[fmt.Sprint("CMDBChangeOpSetAttributeCaseLog::", id)]; ok {
			places = append(places, fmt.Sprint(o.Fields["lastentry"], " ", o.Fields["user_id"]))
		}
	}
	if got := strings.Join(places, ", "); got != "1 2, 2 4, 2 3, 3 3, 3 3" {
		t.Errorf("the history has %s", got)
	}
}

func texts(log any) string {
	var out []string
	for _, e := range log.(map[string]any)["entries"].([]any) {
		out = append(out, e.(map[string]any)["message"].(string))
	}
	return strings.Join(out, "|")
}

// TestRaceByStimulus: words that come with a change of state are lost, too.
func TestRaceByStimulus(t *testing.T) {
	sim, gateway, agent, _ := demo(t)
	agent.must(newTicket)
	sim.Overwrite(Race{Log: "public_log"})
	r := agent.must(`{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":1,"stimulus":"ev_assign","output_fields":"public_log,status","fields":{"team_id":{"name":"Support GAR"},"public_log":"<p>quick</p>"}}`)
	if got := texts(r.field("public_log")); got != "quick" || r.field("status") != "cex" {
		t.Errorf("the journal shows %s, status %v", got, r.field("status"))
	}
	gateway.must(publicLog)
	defer func() {
		if recover() == nil {
			t.Error("a race on what is no journal")
		}
	}()
	sim.Overwrite(Race{Log: "title"})
}

// TestConcurrentWriters: every door at once, for the race detector.
func TestConcurrentWriters(t *testing.T) {
	sim, gateway, agent, portal := demo(t)
	agent.must(newTicket)
	var wg sync.WaitGroup
	for _, d := range []desk{gateway, agent, portal} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 10 {
				d.must(publicLog)
				sim.Writes()
			}
		}()
	}
	wg.Wait()
	if got := len(sim.Writes()); got != 31 {
		t.Errorf("%d effects, want 31", got)
	}
}

// TestTimezone: stored dates are PHP's local time, in winter and in summer.
func TestTimezone(t *testing.T) {
	for instant, want := range map[string]string{"2026-01-15T12:00:00Z": "2026-01-15 13:00:00", "2026-07-15T12:00:00Z": "2026-07-15 14:00:00"} {
		synctest.Test(t, func(t *testing.T) {
			at, _ := time.Parse(time.RFC3339, instant)
			time.Sleep(time.Until(at))
			_, gateway, agent, _ := demo(t)
			agent.must(newTicket)
			r := gateway.must(`{"operation":"core/get","class":"UserRequest","key":1,"output_fields":"start_date"}`)
			if r.field("start_date") != want {
				t.Errorf("at %s start_date is %v, want %s", instant, r.field("start_date"), want)
			}
		})
	}
}

// TestHistory: the interface account reads it, the agent's does not; a file
// added in the console leaves an operation, one added by REST does not.
func TestHistory(t *testing.T) {
	_, gateway, agent, _ := demo(t)
	agent.must(newTicket)
	file := `{"operation":"core/create","comment":"c","class":"Attachment","output_fields":"id,item_id,temp_id","fields":{"item_class":"UserRequest","item_id":1,"contents":{"data":"aGVsbG8=","filename":"a.txt","mimetype":"text/plain"}}}`
	agent.must(file)
	gateway.must(file)
	gateway.must(strings.Replace(file, `"item_id":1`, `"item_id":0`, 1))
	gateway.must(`{"operation":"core/update","comment":"c","class":"Attachment","key":3,"fields":{"item_id":1}}`)
	ops := `{"operation":"core/get","class":"CMDBChangeOp","key":"SELECT CMDBChangeOpAttachmentAdded WHERE objclass='UserRequest' AND objkey=1","output_fields":"id"}`
	if r := gateway.must(ops); len(r.Objects) != 1 {
		t.Errorf("%d operations on attachments, want 1 (%s)", len(r.Objects), r.Message)
	}
	if r := agent.call(ops); r.Code != 1 {
		t.Errorf("an agent reads the history: code %d", r.Code)
	}
}

// TestSimulatorPages: /sim/ needs no login, and refuses what it cannot do.
func TestSimulatorPages(t *testing.T) {
	sim, _, agent, _ := demo(t)
	agent.must(newTicket)
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/sim/writes", "", 200, `"operation": "core/create"`},
		{"GET", "/sim/sent", "", 200, "[]"},
		{"GET", "/sim/objects/UserRequest", "", 200, `"ref":"R-000001"`},
		{"GET", "/sim/objects/Nope", "", 404, "no class"},
		{"PUT", "/sim/triggers", `[{"name":"n","on":"update","class":"UserRequest","action":{"url":"http://x/"}}]`, 204, ""},
		{"GET", "/sim/triggers", "", 200, `"url": "http://x/"`},
		{"PUT", "/sim/triggers", `[{"nope":1}]`, 400, "unknown field"},
		{"PUT", "/sim/triggers", `[{"name":"n","on":"never","class":"UserRequest","action":{"url":"http://x/"}}]`, 400, "one of create, update"},
		{"PUT", "/sim/triggers", `[{"name":"n","on":"update","class":"UserRequest","attcodes":["nope"],"action":{"url":"http://x/"}}]`, 400, "no attribute"},
		{"PUT", "/sim/triggers", `[{"name":"n","on":"update","class":"UserRequest","filter":"SELEC","action":{"url":"http://x/"}}]`, 400, "filter"},
		{"PUT", "/sim/triggers", `[{"name":"n","on":"enter","class":"UserRequest","action":{"url":"http://x/"}}]`, 400, "wants a state"},
		{"POST", "/sim/races", `{"key":1,"log":"public_log","by":"agent"}`, 204, ""},
		{"POST", "/sim/races", `{"log":"title"}`, 400, "one of public_log"},
		{"POST", "/sim/races", `{"nope":1}`, 400, "unknown field"},
		{"PUT", "/sim/mode", `"read-only"`, 204, ""},
		{"PUT", "/sim/mode", `"nope"`, 400, "one of"},
		{"POST", "/sim/faults", `{"kind":"status","code":500}`, 200, "status"},
		{"DELETE", "/sim/faults", "", 200, ""},
		{"DELETE", "/sim/writes", "", 405, "use GET"},
		{"GET", "/sim/nope", "", 404, "/sim/writes"},
		{"GET", "/nope", "", 404, "/webservices/rest.php"},
	} {
		w := visit(sim, c.method, c.path, c.body)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s %s: %d %.200s, want %d and %q", c.method, c.path, c.body, w.Code, w.Body, c.status, c.want)
		}
	}
	if r := agent.call(newTicket); r.Code != 1 {
		t.Errorf("a read-only iTop took a ticket: code %d", r.Code)
	}
	if w := visit(sim, http.MethodGet, "/webservices/rest.php", ""); !strings.Contains(w.Body.String(), "Invalid login") {
		t.Errorf("GET without login: %s", w.Body)
	}
}
