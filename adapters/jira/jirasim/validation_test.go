package jirasim_test

import (
	"strings"
	"testing"
)

// Every way a create can be wrong, with the field it is laid at and Jira's
// words.
func TestCreateRefusals(t *testing.T) {
	long := strings.Repeat("x", 201)
	usual := `"project":{"key":"ONE"},"issuetype":{"name":"Request"},"summary":"s",`
	cases := []struct{ name, fields, at, says string }{
		{"no project", `"summary":"s"`, "project", "project is required"},
		{"unknown project", `"project":{"key":"NIX"}`, "project", "valid project is required"},
		{"no issue type", `"project":{"key":"ONE"}`, "issuetype", "issue type is required"},
		{"unknown issue type", `"project":{"key":"ONE"},"issuetype":{"name":"Nix"}`, "issuetype", "The issue type selected is invalid."},
		{"no summary", `"project":{"key":"ONE"},"issuetype":{"id":"10"}`, "summary", "You must specify a summary of the issue."},
		{"blank summary", usual + `"summary":"  "`, "summary", "You must specify a summary of the issue."},
		{"summary of 255", usual + `"summary":"` + strings.Repeat("x", 255) + `"`, "summary", "Summary must be less than 255 characters."},
		{"emoji count twice", usual + `"summary":"` + strings.Repeat("😀", 128) + `"`, "summary", "Summary must be less than 255 characters."},
		{"newline in summary", usual + `"summary":"a\nb"`, "summary", "The summary is invalid because it contains newline characters."},
		{"unknown field", usual + `"customfield_999":"x"`, "customfield_999", "Field 'customfield_999' cannot be set. It is not on the appropriate screen, or unknown."},
		{"field not on the screen", usual + `"customfield_8":"x"`, "customfield_8", "Field 'customfield_8' cannot be set. It is not on the appropriate screen, or unknown."},
		{"system field not on the screen", usual + `"environment":"x"`, "environment", "Field 'environment' cannot be set. It is not on the appropriate screen, or unknown."},
		{"resolution at create", usual + `"resolution":{"name":"Done"}`, "resolution", "Field 'resolution' cannot be set. It is not on the appropriate screen, or unknown."},
		{"text too long", usual + `"description":"` + long + `"`, "description", "The entered text is too long. It exceeds the allowed limit of 200 characters."},
		{"string too long", usual + `"customfield_1":"` + strings.Repeat("x", 256) + `"`, "customfield_1", "The entered text is too long. It exceeds the allowed limit of 255 characters."},
		{"string not a string", usual + `"customfield_1":7`, "customfield_1", "Operation value must be a string"},
		{"unknown option", usual + `"customfield_3":{"value":"Nix"}`, "customfield_3", "Option value 'Nix' is not valid"},
		{"unknown option id", usual + `"customfield_3":{"id":"9"}`, "customfield_3", "Option id '9' is not valid"},
		{"option as a string", usual + `"customfield_3":"Fast"`, "customfield_3", "Could not find valid 'id' or 'value' in the Parent Option object."},
		{"number as a string", usual + `"customfield_4":"7"`, "customfield_4", "Operation value must be a number"},
		{"bad date", usual + `"customfield_5":"01/12/2026"`, "customfield_5", "Error parsing date string: 01/12/2026"},
		{"bad due date", usual + `"duedate":"2026-13-01"`, "duedate", "Error parsing date string: 2026-13-01"},
		{"RFC 3339 moment", usual + `"customfield_6":"2026-12-01T10:00:00Z"`, "customfield_6", "Error parsing time: 2026-12-01T10:00:00Z"},
		{"label with a space", usual + `"labels":["a b"]`, "labels", "The label 'a b' contains spaces which is invalid."},
		{"labels not a list", usual + `"labels":"a"`, "labels", "data was not an array"},
		{"unknown priority", usual + `"priority":{"name":"Nix"}`, "priority", "Priority name 'Nix' is not valid"},
		{"priority as a string", usual + `"priority":"High"`, "priority", "Could not find valid 'id' or 'name' in priority object."},
		{"unknown component", usual + `"components":[{"name":"Gamma"}]`, "components", "Component name 'Gamma' is not valid"},
		{"components not a list", usual + `"components":{"name":"Alpha"}`, "components", "data was not an array"},
		{"unknown reporter", usual + `"reporter":{"name":"nobody"}`, "reporter", "The reporter specified is not a user."},
		{"unknown assignee", usual + `"assignee":{"name":"nobody"}`, "assignee", "User 'nobody' does not exist."},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := small(t, nil)
			got := b.want(400, "POST", "/rest/api/2/issue", `{"fields":{`+c.fields+`}}`)
			b.equal(got.json, map[string]any{"errorMessages": []any{}, "errors": map[string]any{c.at: c.says}})
			if len(b.sim.Writes()) != 0 {
				t.Error("a refused create left an effect")
			}
		})
	}
}

func TestAllErrorsOfACreateAreToldAtOnce(t *testing.T) {
	b := small(t, nil)
	got := b.want(400, "POST", "/rest/api/2/issue", `{"fields":{"project":{"key":"ONE"},"issuetype":{"name":"Request"},"customfield_4":"x","labels":"y"}}`)
	if errs := got.at("errors").(map[string]any); len(errs) != 3 {
		t.Errorf("want errors for summary, customfield_4 and labels, got %v", errs)
	}
}

func TestRequiredFieldOfTheFixture(t *testing.T) {
	b := small(t, requireReference)
	got := b.want(400, "POST", "/rest/api/2/issue", `{"fields":{"project":{"key":"ONE"},"issuetype":{"name":"Request"},"summary":"s"}}`)
	b.equal(got.at("errors"), map[string]any{"customfield_1": "Reference is required."})
	key := b.open(`"customfield_1":"R-1"`)
	got = b.want(400, "PUT", "/rest/api/2/issue/"+key, `{"fields":{"customfield_1":null}}`)
	b.equal(got.at("errors"), map[string]any{"customfield_1": "Reference is required."})
}

func TestOnlyStaffSetsTheReporter(t *testing.T) {
	b := small(t, nil).as("customer", "customer-pw")
	got := b.want(400, "POST", "/rest/api/2/issue", `{"fields":{"project":{"key":"ONE"},"issuetype":{"name":"Request"},"summary":"s","reporter":{"name":"agent"}}}`)
	b.equal(got.at("errors", "reporter"), "Field 'reporter' cannot be set. It is not on the appropriate screen, or unknown.")
}

func TestBadJSONAndBadContentType(t *testing.T) {
	b := small(t, nil)
	if got := b.want(400, "POST", "/rest/api/2/issue", `{"fields":`); got.at("errorMessages", 0) == nil {
		t.Errorf("want an error message, got %s", got.text)
	}
	r := multipartRequest(t, "/rest/api/2/issue")
	r.Header.Set("Content-Type", "text/plain")
	if got := b.do(r); got.code != 415 {
		t.Errorf("text/plain: %d, want 415", got.code)
	}
}

// What was set comes back, in the form in which Jira gives it.
func TestCreatedValuesComeBack(t *testing.T) {
	b := small(t, nil)
	key := b.open(`"description":"d","customfield_1":"R","customfield_3":{"value":"Slow"},"customfield_4":2.5,"customfield_5":"2026-12-01",
		"customfield_6":"2026-12-01T10:00:00.000+0000","customfield_7":["t"],"labels":["l"],"priority":{"id":"1"},
		"components":[{"name":"Beta"}],"reporter":{"name":"Generic Reporter"},"duedate":"2026-12-24"`)
	fields := b.want(200, "GET", "/rest/api/2/issue/"+key, "")
	for _, c := range []struct {
		want any
		path []any
	}{
		{"d", []any{"description"}}, {"R", []any{"customfield_1"}}, {"Slow", []any{"customfield_3", "value"}},
		{2.5, []any{"customfield_4"}}, {"2026-12-01", []any{"customfield_5"}},
		{"2026-12-01T11:00:00.000+0100", []any{"customfield_6"}}, {"t", []any{"customfield_7", 0}}, {"l", []any{"labels", 0}},
		{"High", []any{"priority", "name"}}, {"Beta", []any{"components", 0, "name"}},
		{"Generic Reporter", []any{"reporter", "name"}}, {"robot", []any{"creator", "name"}}, {"2026-12-24", []any{"duedate"}},
		{nil, []any{"resolution"}}, {"New", []any{"status", "name"}}, {"new", []any{"status", "statusCategory", "key"}},
	} {
		b.equal(fields.at(append([]any{"fields"}, c.path...)...), c.want)
	}
}
