package jirasim_test

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestEditBySetAddAndRemove(t *testing.T) {
	b := small(t, nil)
	key := b.open(`"labels":["a","b"],"components":[{"name":"Alpha"}]`)
	b.want(204, "PUT", "/rest/api/2/issue/"+key, `{"fields":{"summary":"new"},"update":{"labels":[{"add":"c"},{"remove":"a"}],"components":[{"add":{"name":"Beta"}}],"customfield_1":[{"set":"R"}]}}`)
	got := b.want(200, "GET", "/rest/api/2/issue/"+key, "")
	b.equal(got.at("fields", "labels"), []any{"b", "c"})
	b.equal([]any{got.at("fields", "components", 1, "name"), got.at("fields", "summary"), got.at("fields", "customfield_1")}, []any{"Beta", "new", "R"})
	b.want(204, "PUT", "/rest/api/2/issue/"+key, `{"fields":{"labels":[],"customfield_1":null}}`)
	b.equal([]any{b.field(key, "labels"), b.field(key, "customfield_1")}, []any{[]any{}, nil})
}

func TestEditRefusals(t *testing.T) {
	b := small(t, nil)
	key := b.open("")
	for _, c := range []struct{ body, at, says string }{
		{`{"fields":{"summary":"x"},"update":{"summary":[{"set":"y"}]}}`, "summary", "Field 'summary' cannot appear in both 'fields' and 'update'"},
		{`{"fields":{"customfield_9":"x"}}`, "customfield_9", "Field 'customfield_9' cannot be set. It is not on the appropriate screen, or unknown."},
		{`{"update":{"customfield_9":[{"set":"x"}]}}`, "customfield_9", "Field 'customfield_9' cannot be set. It is not on the appropriate screen, or unknown."},
		{`{"fields":{"project":{"key":"TWO"}}}`, "project", "Field 'project' cannot be set. It is not on the appropriate screen, or unknown."},
		{`{"fields":{"status":{"name":"Closed"}}}`, "status", "Field 'status' cannot be set. It is not on the appropriate screen, or unknown."},
		{`{"update":{"summary":[{"add":"x"}]}}`, "summary", "Field 'summary' does not support operation 'add'. Supported operation(s) are: 'set'"},
		{`{"update":{"components":[{"add":{"name":"Gamma"}}]}}`, "components", "Component name 'Gamma' is not valid"},
	} {
		got := b.want(400, "PUT", "/rest/api/2/issue/"+key, c.body)
		b.equal(got.at("errors"), map[string]any{c.at: c.says})
	}
	b.want(400, "PUT", "/rest/api/2/issue/"+key, `{}`)
	b.want(404, "PUT", "/rest/api/2/issue/ONE-99", `{"fields":{"summary":"x"}}`)
	b.equal(b.kinds(), map[string]int{"issue": 1})
}

// An edit that sets what already stands is no effect: no history, no new
// "updated", no write.
func TestEditWithoutChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := small(t, nil)
		key := b.open(`"labels":["a"],"customfield_6":"2026-12-01T10:00:00.000+0000"`)
		before := b.field(key, "updated")
		time.Sleep(time.Minute)
		b.want(204, "PUT", "/rest/api/2/issue/"+key, `{"fields":{"summary":"A summary","labels":["a"],"customfield_6":"2026-12-01T11:00:00.000+0100","customfield_1":null}}`)
		b.equal(b.field(key, "updated"), before)
		b.equal(b.kinds(), map[string]int{"issue": 1})
		b.want(204, "PUT", "/rest/api/2/issue/"+key, `{"fields":{"summary":"another"}}`)
		if b.field(key, "updated") == before {
			t.Error("a real edit left updated as it was")
		}
	})
}

func TestHistory(t *testing.T) {
	b := small(t, nil)
	key := b.open("")
	b.want(204, "PUT", "/rest/api/2/issue/"+key, `{"fields":{"priority":{"name":"High"},"customfield_1":"R"}}`)
	b.want(204, "POST", "/rest/api/2/issue/"+key+"/transitions", `{"transition":{"id":"11"},"historyMetadata":{"type":"gateway","extraData":{"id":"7"}}}`)
	got := b.want(200, "GET", "/rest/api/2/issue/"+key+"?expand=changelog&fields=summary", "")
	b.equal(got.at("changelog", "total"), 2)
	b.equal(got.at("changelog", "histories", 0, "items"), []any{
		map[string]any{"field": "priority", "fieldtype": "jira", "from": "3", "fromString": "Low", "to": "1", "toString": "High"},
		map[string]any{"field": "Reference", "fieldtype": "custom", "from": nil, "fromString": nil, "to": nil, "toString": "R"},
	})
	b.equal(got.at("changelog", "histories", 1, "items", 0, "toString"), "Working")
	b.equal(got.at("changelog", "histories", 1, "historyMetadata", "type"), "gateway")
	first, _ := strconv.Atoi(got.at("changelog", "histories", 0, "id").(string))
	second, _ := strconv.Atoi(got.at("changelog", "histories", 1, "id").(string))
	if first <= 0 || second <= first {
		t.Errorf("history ids %d and %d: want growing numbers", first, second)
	}
	if fields := got.at("fields").(map[string]any); len(fields) != 1 {
		t.Errorf("fields=summary gave %d fields", len(fields))
	}
}

// R33: a moved issue answers under its old key, with the new one inside.
func TestR33MovedIssue(t *testing.T) {
	b := small(t, nil)
	key := b.open(`"components":[{"name":"Alpha"}]`)
	moved := b.want(200, "POST", "/sim/move/"+key, `{"project":"TWO"}`)
	b.equal(moved.at("key"), "TWO-1")
	got := b.want(200, "GET", "/rest/api/2/issue/"+key+"?expand=changelog", "")
	b.equal([]any{got.at("key"), got.at("id"), got.at("fields", "project", "key")}, []any{"TWO-1", "10001", "TWO"})
	b.equal(got.at("changelog", "histories", 0, "items", 1, "field"), "Key")
	b.equal(got.at("fields", "components"), []any{}) // they belong to the old project
	b.want(201, "POST", "/rest/api/2/issue/"+key+"/comment", `{"body":"by the old key"}`)
	b.want(400, "POST", "/sim/move/"+key, `{"project":"NIX"}`)
	b.want(404, "POST", "/sim/move/ONE-99", `{"project":"TWO"}`)
	b.equal(b.open(""), "ONE-2")
}

func TestDeletedIssueIsGone(t *testing.T) {
	b := small(t, nil)
	key := b.open("")
	b.as("customer", "customer-pw").want(403, "DELETE", "/rest/api/2/issue/"+key, "")
	b.want(204, "DELETE", "/rest/api/2/issue/"+key, "")
	got := b.want(404, "GET", "/rest/api/2/issue/"+key, "")
	b.equal(got.json, map[string]any{"errorMessages": []any{"Issue Does Not Exist"}, "errors": map[string]any{}})
	b.want(404, "GET", "/rest/api/2/issue/10001", "")
}

func TestWatchersAndLinks(t *testing.T) {
	b := small(t, nil)
	path := "/rest/api/2/issue/" + b.open("")
	b.want(204, "POST", path+"/watchers", `"agent"`)
	b.equal(b.want(200, "GET", path+"/watchers", "").at("watchCount"), 2)
	b.want(204, "DELETE", path+"/watchers?username=agent", "")
	b.want(400, "POST", path+"/watchers", `"nobody"`)
	b.equal(b.want(200, "GET", path+"/watchers", "").at("watchers", 0, "name"), "robot")
	b.want(400, "POST", path+"/remotelink", `{"object":{"url":"http://x"}}`)
	link := `{"globalId":"g","object":{"url":"http://x","title":"x"}}`
	first := b.want(201, "POST", path+"/remotelink", link)
	second := b.want(200, "POST", path+"/remotelink", strings.Replace(link, `"x"}`, `"y"}`, 1))
	b.equal(first.at("id"), second.at("id"))
	list := b.want(200, "GET", path+"/remotelink", "")
	b.equal([]any{len(list.list), list.at(0, "object", "title")}, []any{1, "y"})
}

// createmeta is what a start-up check asks: fields, needs, allowed values.
func TestCreateMeta(t *testing.T) {
	b := small(t, nil)
	b.want(404, "GET", "/rest/api/2/issue/createmeta?projectKeys=ONE", "") // gone since Data Center 9
	types := b.want(200, "GET", "/rest/api/2/issue/createmeta/ONE/issuetypes", "")
	b.equal([]any{types.at("values", 0, "name"), types.at("isLast"), types.at("total")}, []any{"Request", true, 2})
	fields := b.want(200, "GET", "/rest/api/2/issue/createmeta/ONE/issuetypes/10", "")
	found := map[string]any{}
	for i := range fields.at("values").([]any) {
		found[fields.at("values", i, "fieldId").(string)] = fields.at("values", i, "allowedValues")
	}
	if _, shown := found["customfield_8"]; shown || found["summary"] != nil || len(found["customfield_3"].([]any)) != 2 {
		t.Errorf("create fields: %v", found)
	}
	b.want(400, "GET", "/rest/api/2/issue/createmeta/NIX/issuetypes", "")
	b.want(400, "GET", "/rest/api/2/issue/createmeta/ONE/issuetypes/99", "")
	page := b.want(200, "GET", "/rest/api/2/issue/createmeta/ONE/issuetypes?maxResults=1&startAt=1", "")
	b.equal([]any{page.at("values", 0, "name"), page.at("isLast")}, []any{"Incident", true})
	cl := small(t, cloud).cloudRobot()
	cl.equal(cl.want(200, "GET", "/rest/api/2/issue/createmeta/ONE/issuetypes", "").at("issueTypes", 0, "name"), "Request")
}

func TestLists(t *testing.T) {
	b := small(t, nil)
	for path, first := range map[string]string{
		"project": "Project one", "project/ONE/components": "Alpha", "priority": "Low", "resolution": "Done",
		"status": "New", "issuetype": "Request", "project/10001/statuses": "Request",
	} {
		b.equal(b.want(200, "GET", "/rest/api/2/"+path, "").at(0, "name"), first)
	}
	b.equal(b.want(200, "GET", "/rest/api/2/project/ONE", "").at("issueTypes", 1, "name"), "Incident")
	b.equal(b.want(200, "GET", "/rest/api/2/project/ONE/versions", "").list, []any{})
	b.want(404, "GET", "/rest/api/2/project/NIX", "")
	b.equal(b.want(200, "GET", "/rest/api/2/serverInfo", "").at("deploymentType"), "Server")
	fields := b.want(200, "GET", "/rest/api/2/field", "")
	if !strings.Contains(fields.text, `"cf[3]"`) {
		t.Errorf("field list: %s", fields.text)
	}
}
