package jirasim_test

import (
	"strings"
	"testing"
)

func (b *bench) move(key, body string) reply {
	b.Helper()
	return b.ask("POST", "/rest/api/2/issue/"+key+"/transitions", body)
}

// R15: which transitions there are depends on the status, and what they ask
// on their own screen.
func TestR15TransitionsOfTheStatus(t *testing.T) {
	b := small(t, nil)
	key := b.open("")
	got := b.want(200, "GET", "/rest/api/2/issue/"+key+"/transitions?expand=transitions.fields", "")
	names := []any{}
	for i := range got.at("transitions").([]any) {
		names = append(names, got.at("transitions", i, "name"))
	}
	b.equal(names, []any{"Take", "Ask", "Resolve", "Reject", "Reopen"})
	b.equal(got.at("transitions", 1, "to", "name"), "Waiting")
	b.equal(got.at("transitions", 2, "to", "statusCategory", "key"), "done")
	b.equal(got.at("transitions", 2, "fields", "resolution", "required"), true)
	b.equal(got.at("transitions", 2, "fields", "resolution", "allowedValues", 0, "name"), "Done")
	plain := b.want(200, "GET", "/rest/api/2/issue/"+key+"/transitions", "")
	if strings.Contains(plain.text, `"fields"`) {
		t.Error("fields were told without expand=transitions.fields")
	}
	b.equal(b.as("customer", "customer-pw").want(200, "GET", "/rest/api/2/issue/"+key+"/transitions", "").at("transitions"), []any{})
}

func TestTransitionRefusals(t *testing.T) {
	b := small(t, nil)
	key := b.open("")
	for body, says := range map[string]string{
		`{}`:                      "Missing 'transition' identifier",
		`{"transition":{}}`:       "Missing 'transition' identifier",
		`{"transition":{"id":9}}`: "Transition id '9' is not valid for this issue.",
		`{"transition":{"id":"31"}}`: "It seems that you have tried to perform a workflow operation (Resume) that is not valid for the current state of this issue (ONE-1). " +
			"The likely cause is that somebody has changed the issue recently, please look at the issue history for details.",
	} {
		got := b.move(key, body)
		b.equal([]any{got.code, got.json}, []any{400, map[string]any{"errorMessages": []any{says}, "errors": map[string]any{}}})
	}
	for body, errs := range map[string]map[string]any{
		`{"transition":{"id":"41"}}`: {"resolution": "Resolution is required.", "customfield_8": "Reason is required."},
		`{"transition":{"id":"41"},"fields":{"resolution":{"name":"Nix"},"customfield_8":"r"}}`: {"resolution": "Resolution name 'Nix' is not valid"},
		`{"transition":{"id":"11"},"fields":{"resolution":{"name":"Done"}}}`:                    {"resolution": "Field 'resolution' cannot be set. It is not on the appropriate screen, or unknown."},
		`{"transition":{"id":"11"},"update":{"comment":[{"add":{"body":""}}]}}`:                 {"comment": "Comment body can not be empty!"},
	} {
		got := b.move(key, body)
		b.equal([]any{got.code, got.at("errors")}, []any{400, errs})
	}
	b.as("customer", "customer-pw").want(400, "POST", "/rest/api/2/issue/"+key+"/transitions", `{"transition":{"id":"11"}}`)
	b.equal(b.statusOf(key), "New")
	b.equal(b.kinds(), map[string]int{"issue": 1})
}

func TestTransitionWithScreenAndComment(t *testing.T) {
	b := small(t, nil)
	key := b.open("")
	got := b.move(key, `{"transition":{"id":"41"},"fields":{"resolution":{"name":"Done"},"customfield_8":"because"},"update":{"comment":[{"add":{"body":"there","properties":[{"key":"sd.public.comment","value":{"internal":true}}]}}]}}`)
	b.equal([]any{got.code, got.text}, []any{204, ""})
	is := b.want(200, "GET", "/rest/api/2/issue/"+key, "")
	b.equal([]any{is.at("fields", "status", "name"), is.at("fields", "resolution", "name"), is.at("fields", "customfield_8"), is.at("fields", "comment", "total")}, []any{"Resolved", "Done", "because", 1})
	if is.at("fields", "resolutiondate") == nil {
		t.Error("no resolutiondate")
	}
	b.equal(b.kinds(), map[string]int{"issue": 1, "transition": 1, "comment": 1})
}

func TestReopeningClearsTheResolution(t *testing.T) {
	b := small(t, nil)
	key := b.open("")
	b.equal(b.move(key, `{"transition":{"id":"51"}}`).code, 204)
	b.equal(b.field(key, "resolution").(map[string]any)["name"], "Rejected") // set by the workflow
	b.equal(b.move(key, `{"transition":{"id":"71"}}`).code, 204)
	b.equal([]any{b.field(key, "resolution"), b.field(key, "resolutiondate"), b.statusOf(key)}, []any{nil, nil, "Working"})
}

// R20: at the due date Jira leaves the waiting status by itself.
func TestR20Timer(t *testing.T) {
	b := small(t, nil)
	key := b.open("")
	b.want(409, "POST", "/sim/timer/"+key, "")
	b.equal(b.move(key, `{"transition":{"id":"21"},"fields":{"duedate":"2026-12-01"}}`).code, 204)
	b.equal(b.want(200, "POST", "/sim/timer/"+key, "").at("status"), "Working")
	got := b.want(200, "GET", "/rest/api/2/issue/"+key+"?expand=changelog", "")
	b.equal(got.at("changelog", "histories", 1, "author", "name"), "automation")
	b.want(200, "POST", "/sim/timer/"+key, `{"to":"Waiting"}`)
	b.want(404, "POST", "/sim/timer/ONE-99", "")
}
