package jirasim_test

import (
	"net/url"
	"sort"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"passerelle/adapters/jira/jirasim"
)

// keys lists what a query finds, in the order of the answer.
func (b *bench) keys(jql string) string {
	b.Helper()
	body := `{"jql":` + quote(jql) + `,"fields":["summary"]}`
	got := b.want(200, "POST", "/rest/api/2/search", body)
	var list []string
	for i := range got.at("issues").([]any) {
		list = append(list, got.at("issues", i, "key").(string))
	}
	return strings.Join(list, " ")
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

func TestJQL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := small(t, nil)
		b.open(`"labels":["frs:7"],"customfield_1":"R-000123","customfield_3":{"value":"Fast"},"components":[{"name":"Alpha"}]`) // ONE-1, 2000-01-01 01:00 Paris
		time.Sleep(time.Hour)
		b.open(`"labels":["frs:8","x"],"customfield_1":"R-000124 bis","reporter":{"name":"agent"},"priority":{"name":"High"}`) // ONE-2
		time.Sleep(time.Hour)
		b.open(`"customfield_2":"the quick brown fox","duedate":"2026-12-01"`) // ONE-3
		b.want(200, "POST", "/sim/move/ONE-3", `{"project":"TWO"}`)            // TWO-1
		time.Sleep(time.Hour)
		b.move("ONE-1", `{"transition":{"id":"11"}}`)
		cases := map[string]string{
			``:                                    "TWO-1 ONE-2 ONE-1",
			`order by key asc`:                    "ONE-1 ONE-2 TWO-1",
			`ORDER BY updated DESC`:               "ONE-1 TWO-1 ONE-2",
			`order by updated`:                    "ONE-2 TWO-1 ONE-1",
			`order by priority, created`:          "ONE-2 ONE-1 TWO-1",
			`project = ONE`:                       "ONE-2 ONE-1",
			`project = "Project two"`:             "TWO-1",
			`project != ONE`:                      "TWO-1",
			`project in (ONE, TWO) and key=one-1`: "ONE-1",
			`key in (ONE-1, TWO-1)`:               "TWO-1 ONE-1",
			`issue in (ONE-3)`:                    "TWO-1", // a moved issue by its old key
			`id = 10002`:                          "ONE-2",
			`key >= ONE-2`:                        "ONE-2",
			`key not in (ONE-1)`:                  "TWO-1 ONE-2",
			`status = Working`:                    "ONE-1",
			`status in (New, 2) AND NOT status = "New"`: "ONE-1",
			`statusCategory = new`:                      "TWO-1 ONE-2",
			`labels = "frs:7"`:                          "ONE-1",
			`labels = frs:7 OR labels = x`:              "ONE-2 ONE-1",
			`labels != x`:                               "ONE-1", // not the empty one
			`labels is EMPTY`:                           "TWO-1",
			`labels is not empty`:                       "ONE-2 ONE-1",
			`labels = fr`:                               "",
			`cf[1] ~ "R-000123"`:                        "ONE-1",
			`cf[1] ~ "000124"`:                          "ONE-2",
			`cf[1] ~ "00012"`:                           "", // whole words only
			`cf[1] ~ "00012*"`:                          "ONE-2 ONE-1",
			`Reference ~ bis`:                           "ONE-2",
			`cf[2] ~ "fox quick"`:                       "TWO-1",
			`cf[2] ~ "\"fox quick\""`:                   "",
			`"Public log" ~ "\"quick brown\""`:          "TWO-1",
			`cf[2] !~ fox`:                              "ONE-2 ONE-1",
			`cf[2] is not null`:                         "TWO-1",
			`cf[3] = Fast`:                              "ONE-1",
			`summary ~ summary`:                         "TWO-1 ONE-2 ONE-1",
			`text ~ fox`:                                "TWO-1",
			`component = Alpha`:                         "ONE-1",
			`priority = High`:                           "ONE-2",
			`issuetype = Request and reporter = currentUser()`: "TWO-1 ONE-1",
			`reporter = agent`:                                  "ONE-2",
			`duedate <= 2026-12-01`:                             "TWO-1",
			`created >= "2000-01-01 02:00"`:                     "TWO-1 ONE-2",
			`created < "2000/01/01 02:00"`:                      "ONE-1",
			`created > -90m`:                                    "TWO-1",
			`updated >= "-1h"`:                                  "TWO-1 ONE-1",
			`updated >= 946692000000`:                           "TWO-1 ONE-1",
			`updated <= now() and (key = ONE-1 or key = ONE-2)`: "ONE-2 ONE-1",
			`resolved is empty`:                                 "TWO-1 ONE-2 ONE-1",
			`labels = x || labels = "frs:7" && status = New`:    "ONE-2", // AND binds stronger
		}
		for _, jql := range sorted(cases) {
			if got := b.keys(jql); got != cases[jql] {
				t.Errorf("%s:\n got %q\nwant %q", jql, got, cases[jql])
			}
		}
	})
}

func sorted(cases map[string]string) []string {
	var list []string
	for k := range cases {
		list = append(list, k)
	}
	sort.Strings(list)
	return list
}

func TestJQLRefusals(t *testing.T) {
	b := small(t, nil)
	for jql, says := range map[string]string{
		`project = NIX`:          "The value 'NIX' does not exist for the field 'project'.",
		`status = Nix`:           "The value 'Nix' does not exist for the field 'status'.",
		`key = ONE-99`:           "An issue with key 'ONE-99' does not exist for field 'key'.",
		`nix = 1`:                "Field 'nix' does not exist or you do not have permission to view it.",
		`cf[1] = "R"`:            "The operator '=' is not supported by the 'cf[1]' field.",
		`labels ~ x`:             "The operator '~' is not supported by the 'labels' field.",
		`labels > x`:             "The operator '>' is not supported by the 'labels' field.",
		`created ~ x`:            "Date value 'x' for field 'created' is invalid.",
		`created = 1/2/2026`:     "Date value '1/2/2026' for field 'created' is invalid.",
		`reporter = membersOf()`: "Unable to find JQL function 'membersOf()'.",
		`labels = `:              "Expecting either a value, list or function",
		`labels`:                 "Expecting an operator",
		`labels = x labels = y`:  "Expecting operator AND, OR or ORDER BY but got 'labels'",
		`(labels = x`:            "Expecting ')'",
		`labels = "x`:            "has not been completed",
		`labels in x`:            "Expecting '('",
		`labels is x`:            "Expecting EMPTY or NULL",
		`key > EMPTY`:            "The operator '>' is not supported by the 'key' field.",
		`key ~ ONE-1`:            "An issue with key 'ONE-1' does not exist",
		`order labels`:           "Expecting 'by'",
		`order by labels`:        "not imitated",
		strings.Repeat("not ", 99) + strings.Repeat("(", 9) + "labels = x": "nested too deeply",
	} {
		got := b.want(400, "GET", "/rest/api/2/search?jql="+url.QueryEscape(jql), "")
		if message, _ := got.at("errorMessages", 0).(string); !strings.Contains(message, says) {
			t.Errorf("%s:\n got %s\nwant %s", jql, got.text, says)
		}
	}
}

func TestSearchPages(t *testing.T) {
	b := small(t, nil)
	for range 5 {
		b.open("")
	}
	got := b.want(200, "GET", "/rest/api/2/search?jql=order+by+key&startAt=3&maxResults=10&fields=summary,-summary,status", "")
	b.equal([]any{got.at("total"), got.at("startAt"), got.at("issues", 0, "key"), len(got.at("issues").([]any))}, []any{5, 3, "ONE-4", 2})
	b.equal(len(got.at("issues", 0, "fields").(map[string]any)), 1)
	all := b.want(200, "POST", "/rest/api/2/search", `{"jql":"","maxResults":1}`)
	if all.at("issues", 0, "fields", "summary") == nil || all.at("issues", 0, "fields", "comment") != nil {
		t.Error("the default of a search is *navigable: a summary, no comment")
	}
	b.want(501, "POST", "/rest/api/3/search/jql", `{"jql":"project=ONE"}`)
}

// Cloud: ids only unless fields are asked for, a token for the next page, no
// unbounded query, no old search.
func TestCloudSearch(t *testing.T) {
	b := small(t, cloud).cloudRobot()
	for range 3 {
		b.open(`"description":"two\nlines"`)
	}
	b.want(410, "POST", "/rest/api/2/search", `{"jql":"project=ONE"}`)
	b.want(400, "POST", "/rest/api/3/search/jql", `{"jql":"order by key"}`)
	first := b.want(200, "POST", "/rest/api/3/search/jql", `{"jql":"project=ONE order by key asc","maxResults":2}`)
	b.equal(first.at("issues"), []any{map[string]any{"id": "10001"}, map[string]any{"id": "10002"}})
	b.equal(first.at("isLast"), false)
	token := first.at("nextPageToken").(string)
	next := b.want(200, "POST", "/rest/api/3/search/jql", `{"jql":"project=ONE order by key asc","maxResults":2,"fields":["description"],"nextPageToken":"`+token+`"}`)
	b.equal([]any{next.at("issues", 0, "key"), next.at("isLast"), next.at("nextPageToken")}, []any{"ONE-3", true, nil})
	b.equal(next.at("issues", 0, "fields", "description", "content", 1, "content", 0, "text"), "lines")
	b.want(400, "POST", "/rest/api/3/search/jql", `{"jql":"project=ONE","nextPageToken":"bad"}`)
}

// A date in a query is in the time zone of the account that asks.
func TestDatesOfAQueryAreTheAccounts(t *testing.T) {
	b := small(t, func(fx *jirasim.Fixture) { fx.Users[0].Timezone = "America/Los_Angeles" })
	at := time.Date(2024, 7, 14, 12, 0, 30, 0, time.UTC)
	b.sim.Clock(func() time.Time { return at })
	key := b.open("")
	b.equal(b.want(200, "GET", "/rest/api/2/myself", "").at("timeZone"), "America/Los_Angeles")
	b.equal(b.field(key, "updated"), "2024-07-14T14:00:30.000+0200") // the server's own zone
	agent := b.as("agent", "agent-pw")
	b.equal([]string{b.keys(`updated >= "2024/07/14 05:00"`), b.keys(`updated >= "2024/07/14 05:01"`)}, []string{key, ""})
	b.equal([]string{agent.keys(`updated >= "2024/07/14 14:00"`), agent.keys(`updated >= "2024/07/14 14:01"`)}, []string{key, ""})
	b.equal(b.sim.Writes()[0].Time, at)
	// The hour that comes twice: the second is meant.
	at = time.Date(2024, 10, 27, 0, 30, 0, 0, time.UTC)
	b.want(204, "PUT", "/rest/api/2/issue/"+key, `{"fields":{"summary":"new"}}`)
	b.equal([]string{agent.keys(`updated >= "2024/10/27 01:59"`), agent.keys(`updated >= "2024/10/27 02:00"`)}, []string{key, ""})
	at = time.Date(2024, 11, 3, 8, 30, 0, 0, time.UTC)
	b.want(204, "PUT", "/rest/api/2/issue/"+key, `{"fields":{"summary":"newer"}}`)
	b.equal([]string{b.keys(`updated >= "2024/11/03 00:59"`), b.keys(`updated >= "2024/11/03 01:00"`)}, []string{key, ""})
	if _, err := jirasim.New(&jirasim.Fixture{Users: []jirasim.User{{Name: "u", Timezone: "Nowhere"}}}); err == nil || !strings.Contains(err.Error(), `user u: timezone "Nowhere"`) {
		t.Error(err)
	}
}

// Data Center's search knows no properties; Cloud gives them with the list.
func TestSearchForProperties(t *testing.T) {
	const ask = `{"jql":"project=ONE","fields":["summary"],"properties":["p"]}`
	b := small(t, nil)
	b.want(400, "POST", "/rest/api/2/search", ask)
	key := b.open("")
	b.want(201, "PUT", "/rest/api/2/issue/"+key+"/properties/p", `{"a":1}`)
	b.equal(b.want(200, "GET", "/rest/api/2/search?jql=project=ONE&properties=p", "").at("issues", 0, "properties"), nil)
	c := small(t, cloud).cloudRobot()
	key = c.open("")
	c.want(201, "PUT", "/rest/api/2/issue/"+key+"/properties/p", `{"a":1}`)
	b.equal(c.want(200, "POST", "/rest/api/3/search/jql", ask).at("issues", 0, "properties"), map[string]any{"p": map[string]any{"a": 1}})
}

// The index is late: a new issue is not found, a changed one is found as it
// was.
func TestIndexLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := small(t, nil)
		key := b.open(`"labels":["old"]`)
		b.want(200, "PUT", "/sim/lag", `{"millis":5000}`)
		time.Sleep(4 * time.Second)
		b.equal(b.keys("labels = old"), "")
		time.Sleep(time.Second)
		b.equal(b.keys("labels = old"), key)
		b.want(204, "PUT", "/rest/api/2/issue/"+key, `{"fields":{"labels":["new"]}}`)
		time.Sleep(2 * time.Second)
		b.want(204, "PUT", "/rest/api/2/issue/"+key, `{"fields":{"summary":"another"}}`)
		b.equal([]string{b.keys("labels = old"), b.keys("labels = new")}, []string{key, ""})
		time.Sleep(3 * time.Second)
		b.equal([]string{b.keys("labels = old"), b.keys("labels = new"), b.keys("summary ~ another")}, []string{"", key, ""})
		time.Sleep(2 * time.Second)
		b.equal(b.keys("summary ~ another"), key)
		b.sim.IndexLag(0)
		b.equal(b.open(""), strings.Fields(b.keys(""))[0])
	})
}

// No query, however odd, may crash or hang the simulator.
func FuzzJQL(f *testing.F) {
	for _, seed := range []string{`project = ONE and (labels in ("a", b) or not key = ONE-1) order by key desc`, `updated >= -`, `cf[ ~ "\"`, `created > ""`, `key > ONE-1`, `key is empty`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, jql string) {
		b := small(t, nil)
		b.open("")
		if got := b.ask("GET", "/rest/api/2/search?jql="+url.QueryEscape(jql), ""); got.code != 200 && got.code != 400 {
			t.Errorf("%q: %d %s", jql, got.code, got.text)
		}
	})
}
