package jirasim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"passerelle/adapters/jira/jirasim"
)

// ear hears webhooks without sockets, and answers each with the next of its
// codes (200 once they are used up).
type ear struct {
	mu    sync.Mutex
	codes []int
	heard []heard
}

type heard struct {
	at   time.Time
	path string
	head http.Header
	body []byte
}

func (e *ear) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = append(e.heard, heard{time.Now(), r.URL.Path, r.Header.Clone(), body})
	code := 200
	if len(e.codes) > 0 {
		code, e.codes = e.codes[0], e.codes[1:]
	}
	if code == 0 {
		return nil, fmt.Errorf("connection refused")
	}
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
}

// listening is a bench whose webhooks an ear hears.
func listening(t *testing.T, change func(*jirasim.Fixture), hooks ...jirasim.Webhook) (*bench, *ear) {
	b, e := small(t, change), &ear{}
	b.sim.Client(&http.Client{Transport: e})
	if len(hooks) == 0 {
		hooks = []jirasim.Webhook{{Name: "all", URL: "http://gateway.example/jira"}}
	}
	b.sim.SetWebhooks(hooks)
	return b, e
}

// all tells what was heard since the last call, once nothing is on its way.
func (e *ear) all(b *bench) []reply {
	b.sim.Flush()
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []reply
	for _, h := range e.heard {
		r := reply{head: h.head, text: string(h.body)}
		_ = json.Unmarshal(h.body, &r.json)
		list = append(list, r)
	}
	e.heard = nil
	return list
}

// names is what was heard, shortly: event and type.
func (e *ear) names(b *bench) []string {
	list := []string{}
	for _, r := range e.all(b) {
		list = append(list, strings.TrimSpace(fmt.Sprint(r.at("webhookEvent"), " ", or(r.at("issue_event_type_name")))))
	}
	return list
}

func or(v any) any {
	if v == nil {
		return ""
	}
	return v
}

// shape lists every key of a body with its type, lists by their first element.
// Custom fields, and the sizes of avatars, depend on the instance.
func shape(into map[string]string, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		into[path] = "object"
		for k, x := range v {
			if !strings.HasPrefix(k, "customfield_") && !strings.HasSuffix(path, "avatarUrls") {
				shape(into, path+"."+k, x)
			}
		}
	case []any:
		into[path] = "list"
		for _, x := range v {
			shape(into, path+"[]", x)
		}
	case nil:
		into[path] = "null"
	default:
		into[path] = fmt.Sprintf("%T", v)
	}
}

// differences compares two bodies: - only in the sample, + only in ours. null
// agrees with everything, and so does what lies under it.
func differences(sample, ours any) []string {
	a, b := map[string]string{}, map[string]string{}
	shape(a, "", sample)
	shape(b, "", ours)
	var list []string
	missing := func(sign string, from, in map[string]string) {
		for path, kind := range from {
			other, has := in[path]
			switch {
			case !has && !blank(path, in):
				list = append(list, sign+path)
			case has && sign == "-" && other != kind && other != "null" && kind != "null":
				list = append(list, "!"+path+" "+kind+" "+other)
			}
		}
	}
	missing("-", a, b)
	missing("+", b, a)
	sort.Strings(list)
	return list
}

// blank says whether in has null, or an empty list, somewhere above path.
func blank(path string, in map[string]string) bool {
	for i := len(path); i > 0; i = strings.LastIndexAny(path[:i], ".[") {
		above := strings.TrimSuffix(path[:i], "[]")
		if kind, has := in[above]; has && kind == "null" || in[above] == "list" && in[above+"[]"] == "" {
			return true
		}
	}
	return false
}

// The webhooks have the keys, nesting and types of real ones. What differs
// stands here, with its reason.
func TestWebhookShapes(t *testing.T) {
	trimmed := map[string][]string{ // of this instance, or left out of the samples
		"dc-issue_created.json": {
			"+.issue.fields.fixVersions", "+.issue.fields.labels", "+.issue.fields.versions", // not in that project
			"+.issue.fields.project.projectTypeKey", // older Jira
			"+.issue.fields.creator.emailAddress", "+.issue.fields.creator.key", "+.issue.fields.creator.name",
			"+.issue.fields.reporter.emailAddress", "+.issue.fields.reporter.key", "+.issue.fields.reporter.name",
			"+.user.emailAddress", "+.user.key", "+.user.name",
			"-.issue.fields.creator.accountId", "-.issue.fields.reporter.accountId", // in the middle of a migration
			"-.changelog", "-.changelog.id", "-.changelog.items", "-.changelog.items[]", "-.changelog.items[].field", "-.changelog.items[].fieldtype",
			"-.changelog.items[].from", "-.changelog.items[].fromString", "-.changelog.items[].to", "-.changelog.items[].toString",
			"-.issue.fields.timetracking.originalEstimate", "-.issue.fields.timetracking.originalEstimateSeconds",
			"-.issue.fields.timetracking.remainingEstimate", "-.issue.fields.timetracking.remainingEstimateSeconds",
		},
		"dc-issue_updated-issue_commented.json": {"+.issue.fields.project.projectTypeKey"},
		"dc-issue_updated-issue_resolved.json": {
			"+.issue.fields.project.projectTypeKey",
			"-.issue.fields.aggregateprogress.percent", "-.issue.fields.progress.percent", // time was logged
			"-.issue.fields.timetracking.remainingEstimate", "-.issue.fields.timetracking.remainingEstimateSeconds",
			"-.issue.fields.timetracking.timeSpent", "-.issue.fields.timetracking.timeSpentSeconds",
		},
		"cloud-comment_created-jsdPublic.json": {
			"+.comment.author.accountType", "+.comment.author.emailAddress", "+.comment.updateAuthor.accountType", "+.comment.updateAuthor.emailAddress",
			"-.comment.author.key", "-.comment.author.name", "-.comment.updateAuthor.key", "-.comment.updateAuthor.name", // gone from Cloud since
		},
		"cloud-issue_updated-attachment.json": {
			"+.issue.fields.creator.accountType", "+.issue.fields.reporter.accountType", "+.issue.fields.statuscategorychangedate", "+.user.accountType",
			"-.issue.fields.creator.key", "-.issue.fields.creator.name", "-.issue.fields.reporter.key", "-.issue.fields.reporter.name", "-.user.key", "-.user.name",
		},
		"cloud-issue_created-select-fields.json": {
			"-.changelog.items[].tmpFromAccountId", "-.changelog.items[].tmpToAccountId", "-.issue.fields.project.simplified",
			"-.issue.fields.creator.key", "-.issue.fields.creator.name", "-.issue.fields.reporter.key", "-.issue.fields.reporter.name", "-.user.key", "-.user.name",
		},
	}
	act := func(b *bench) {
		key := b.open(`"customfield_4":44545556`)
		path := "/rest/api/2/issue/" + key
		id := b.want(201, "POST", path+"/comment", `{"body":"unik"}`).at("id").(string)
		b.want(200, "PUT", path+"/comment/"+id, `{"body":"higher"}`)
		b.want(204, "PUT", path, `{"fields":{"customfield_4":7}}`)
		b.equal(b.upload(key, "a.txt", "x").code, 200)
		b.equal(b.move(key, `{"transition":{"id":"41"},"fields":{"resolution":{"name":"Done"},"customfield_8":"r"}}`).code, 204)
	}
	dc, dcEar := listening(t, nil)
	act(dc)
	cl, clEar := listening(t, cloud)
	act(cl.cloudRobot())
	heard := map[string][]reply{"dc": dcEar.all(dc), "cloud": clEar.all(cl)}
	for file, at := range map[string]int{
		"dc-issue_created.json": 0, "dc-comment_created-without-issue.json": 1, "dc-issue_updated-issue_commented.json": 2,
		"dc-comment_updated-without-issue.json": 3, "dc-issue_updated-custom-field.json": 5, "dc-issue_updated-issue_resolved.json": 7,
		"cloud-issue_created-select-fields.json": 0, "cloud-comment_created-jsdPublic.json": 1, "cloud-issue_updated-attachment.json": 4,
	} {
		raw, err := os.ReadFile("testdata/webhooks/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var sample map[string]any
		if err := json.Unmarshal(raw, &sample); err != nil {
			t.Fatal(err)
		}
		flavour, _, _ := strings.Cut(file, "-")
		ours := heard[flavour][at]
		b := dc
		b.equal([]any{ours.at("webhookEvent"), ours.at("issue_event_type_name")}, []any{sample["webhookEvent"], sample["issue_event_type_name"]})
		want := trimmed[file]
		sort.Strings(want)
		if diff := cmp.Diff(want, differences(sample, ours.json)); diff != "" {
			t.Errorf("%s (-reasons given, +differences found):\n%s", file, diff)
		}
	}
}

// One act, these deliveries, in this order.
func TestWhichWebhooksAnActSends(t *testing.T) {
	file := jirasim.Webhook{Name: "files too", URL: "http://gateway.example", Events: []string{"jira:issue_updated", "attachment_created", "attachment_deleted"}}
	for _, c := range []struct {
		name    string
		flavour func(*jirasim.Fixture)
		hook    []jirasim.Webhook
		act     func(b *bench, key string)
		want    []string
	}{
		{"DC comment: two deliveries", nil, nil, comment, []string{"comment_created", "jira:issue_updated issue_commented"}},
		{"Cloud comment: one", cloud, nil, comment, []string{"comment_created"}},
		{"DC comment edited", nil, nil, editComment, []string{"comment_updated", "jira:issue_updated issue_comment_edited"}},
		{"DC comment deleted", nil, nil, deleteComment, []string{"comment_deleted", "jira:issue_updated issue_comment_deleted"}},
		{"DC comment with a transition: inside", nil, nil, commentWithTransition, []string{"jira:issue_updated issue_work_started"}},
		{"DC work started", nil, nil, transition("11"), []string{"jira:issue_updated issue_work_started"}},
		{"DC resolved", nil, nil, transition("51"), []string{"jira:issue_updated issue_resolved"}},
		{"DC closed", nil, nil, transition("51", "61"), []string{"jira:issue_updated issue_resolved", "jira:issue_updated issue_closed"}},
		{"DC reopened", nil, nil, transition("51", "71"), []string{"jira:issue_updated issue_resolved", "jira:issue_updated issue_reopened"}},
		{"DC other status", nil, nil, transition("11", "21"), []string{"jira:issue_updated issue_work_started", "jira:issue_updated issue_generic"}},
		{"Cloud status: one name for all", cloud, nil, transition("51"), []string{"jira:issue_updated issue_generic"}},
		{"attachment", nil, nil, attach, []string{"jira:issue_updated issue_updated"}},
		{"attachment, subscribed", nil, []jirasim.Webhook{file}, attach, []string{"attachment_created", "jira:issue_updated issue_updated"}},
		{"moved", nil, nil, func(b *bench, key string) { b.ask("POST", "/sim/move/"+key, `{"project":"TWO"}`) }, []string{"jira:issue_updated issue_moved"}},
		{"deleted", nil, nil, func(b *bench, key string) { b.ask("DELETE", "/rest/api/2/issue/"+key, "") }, []string{"jira:issue_deleted issue_deleted"}},
		{"nothing changed", nil, nil, func(b *bench, key string) { b.edit(key, `"summary":"A summary"`) }, []string{}},
		{"refused", nil, nil, func(b *bench, key string) { b.edit(key, `"summary":""`) }, []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, e := listening(t, c.flavour, c.hook...)
			if c.flavour != nil {
				b = b.cloudRobot()
			}
			key := b.open("")
			e.all(b)
			c.act(b, key)
			b.equal(e.names(b), c.want)
		})
	}
}

func comment(b *bench, key string) {
	b.ask("POST", "/rest/api/2/issue/"+key+"/comment", `{"body":"x"}`)
}

func (b *bench) edit(key, fields string) {
	b.ask("PUT", "/rest/api/2/issue/"+key, `{"fields":{`+fields+`}}`)
}

func editComment(b *bench, key string) {
	b.sim.SetWebhooks(nil)
	comment(b, key)
	b.sim.SetWebhooks([]jirasim.Webhook{{URL: "http://gateway.example"}})
	b.ask("PUT", "/rest/api/2/issue/"+key+"/comment/10001", `{"body":"y"}`)
}

func deleteComment(b *bench, key string) {
	b.sim.SetWebhooks(nil)
	comment(b, key)
	b.sim.SetWebhooks([]jirasim.Webhook{{URL: "http://gateway.example"}})
	b.ask("DELETE", "/rest/api/2/issue/"+key+"/comment/10001", "")
}

func commentWithTransition(b *bench, key string) {
	b.move(key, `{"transition":{"id":"11"},"update":{"comment":[{"add":{"body":"inside"}}]}}`)
}

func transition(ids ...string) func(*bench, string) {
	return func(b *bench, key string) {
		for _, id := range ids {
			b.move(key, `{"transition":{"id":"`+id+`"}}`)
		}
	}
}

func attach(b *bench, key string) { b.upload(key, "a.txt", "x") }

func TestWebhookBodies(t *testing.T) {
	b, e := listening(t, nil)
	key := b.open("")
	e.all(b)
	commentWithTransition(b, key)
	got := e.all(b)[0]
	b.equal([]any{got.at("changelog", "items", 0, "toString"), got.at("comment", "body"), got.at("user", "name")}, []any{"Working", "inside", "robot"})
	b.want(201, "POST", "/rest/api/2/issue/"+key+"/comment", internalComment)
	created := e.all(b)[0]
	b.equal([]any{created.at("issue"), created.at("user"), created.at("comment", "self")}, []any{nil, nil, "http://example.com/rest/api/2/issue/10001/comment/10002"})
	if strings.Contains(created.text, "jsdPublic") || strings.Contains(created.text, "internal") {
		t.Errorf("a Data Center webhook told that the comment is internal: %s", created.text)
	}
	b.upload(key, "a.txt", "x", "b.txt", "y")
	items := e.all(b)[0].at("changelog", "items").([]any)
	b.equal(len(items), 2)
}

func TestWebhookFilters(t *testing.T) {
	b, e := listening(t, nil,
		jirasim.Webhook{Name: "two", URL: "http://two.example/${project.key}/${issue.key}/${issue.id}", JQL: "project = TWO"},
		jirasim.Webhook{Name: "resolved", URL: "http://resolved.example", JQL: "status = Resolved", ExcludeBody: true},
	)
	key := b.open("")
	transition("51")(b, key)
	got := e.all(b)
	b.equal([]any{len(got), got[0].text}, []any{1, ""})
	b.ask("POST", "/sim/move/"+key, `{"project":"TWO"}`)
	b.sim.Flush()
	b.equal(e.heard[0].path+e.heard[len(e.heard)-1].path, "/TWO/TWO-1/10001")
}

// The published vector, and the same on a real delivery.
func TestSignature(t *testing.T) {
	got := jirasim.Sign("It's a Secret to Everybody", []byte("Hello World!"))
	if want := "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	b, e := listening(t, nil, jirasim.Webhook{URL: "http://x", Secret: "s", User: "u", Password: "p"})
	b.open("")
	h := e.all(b)[0]
	b.equal([]any{h.head.Get("X-Hub-Signature"), h.head.Get("Authorization"), h.head.Get("X-Atlassian-Webhook-Identifier")},
		[]any{jirasim.Sign("s", []byte(h.text)), "Basic dTpw", ""})
	shown := b.want(200, "GET", "/sim/webhooks", "")
	b.equal([]any{shown.at(0, "secret"), shown.at(0, "password")}, []any{"***", "***"})
}

// Data Center never sends a webhook again.
func TestDataCenterDoesNotRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, e := listening(t, nil)
		e.codes = []int{503, 0}
		b.open("")
		b.open("")
		time.Sleep(24 * time.Hour)
		b.equal(len(e.all(b)), 2)
		sent := b.sim.Sent()
		b.equal([]any{sent[0].Status, sent[1].Error != ""}, []any{503, true})
	})
}

// Cloud sends up to five times more, 5 to 15 minutes apart, under the same
// identifier, on what may pass by itself.
func TestCloudRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, e := listening(t, cloud)
		for _, c := range []struct {
			codes []int
			tries int
		}{{[]int{500, 429, 0, 408, 409, 425, 500}, 6}, {[]int{503, 200}, 2}, {[]int{400}, 1}, {[]int{404}, 1}, {nil, 1}} {
			e.codes = c.codes
			b.cloudRobot().open("")
			b.sim.Flush()
			time.Sleep(2 * time.Hour)
			got := e.all(b)
			b.equal(len(got), c.tries)
			for i, h := range got {
				b.equal(h.head.Get("X-Atlassian-Webhook-Identifier"), got[0].head.Get("X-Atlassian-Webhook-Identifier"))
				want := ""
				if i > 0 {
					want = fmt.Sprint(i)
				}
				b.equal(h.head.Get("X-Atlassian-Webhook-Retry"), want)
			}
		}
	})
}

// Closing waits for what is queued and gives later retries up.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, e := listening(t, cloud)
		e.codes = []int{500}
		b.sim.SetWebhookFaults(jirasim.WebhookFaults{DelayMillis: 3600_000})
		b.cloudRobot().open("")
		start := time.Now()
		b.sim.Close()
		b.equal([]any{len(e.heard), time.Since(start)}, []any{1, 0})
	})
}

func TestWebhookFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, e := listening(t, nil)
		b.want(200, "PUT", "/sim/webhooks/faults", `{"drop":1}`)
		b.open("")
		b.equal(len(e.all(b)), 0)
		if got := b.sim.Sent(); len(got) != 1 || !strings.Contains(got[0].Error, "dropped") {
			t.Errorf("a dropped webhook stays on the list: %+v", got)
		}
		b.sim.SetWebhookFaults(jirasim.WebhookFaults{DelayMillis: 5000, OutOfOrder: true})
		start := time.Now()
		comment(b, "ONE-1")
		b.equal(e.names(b), []string{"jira:issue_updated issue_commented", "comment_created"})
		if waited := time.Since(start); waited != 10*time.Second {
			t.Errorf("waited %s, want 5 s for each", waited)
		}
		b.sim.SetWebhookFaults(jirasim.WebhookFaults{})
		comment(b, "ONE-1")
		b.equal(e.names(b), []string{"comment_created", "jira:issue_updated issue_commented"})
	})
}

// A slow listener delays neither Jira's answers nor the other webhooks.
func TestWebhooksAreAsynchronousAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, e := listening(t, nil, jirasim.Webhook{Name: "a", URL: "http://a/a"}, jirasim.Webhook{Name: "b", URL: "http://b/b"})
		b.sim.SetWebhookFaults(jirasim.WebhookFaults{DelayMillis: 60_000})
		start := time.Now()
		for range 3 {
			b.open("")
		}
		b.equal(time.Since(start), 0)
		b.sim.Flush()
		b.equal(time.Since(start), 3*time.Minute)
		order := map[string]string{}
		for _, h := range e.heard {
			var body struct{ Issue struct{ Key string } }
			_ = json.Unmarshal(h.body, &body)
			order[h.path] += body.Issue.Key + " "
		}
		b.equal(order, map[string]string{"/a": "ONE-1 ONE-2 ONE-3 ", "/b": "ONE-1 ONE-2 ONE-3 "})
	})
}

func TestWebhooksSetOverHTTP(t *testing.T) {
	b, e := listening(t, nil)
	b.want(400, "PUT", "/sim/webhooks", `[{"url":"nowhere"}]`)
	b.want(400, "PUT", "/sim/webhooks", `[{"url":"http://x","jql":"nix = 1"}]`)
	b.want(400, "PUT", "/sim/webhooks", `{}`)
	b.want(200, "PUT", "/sim/webhooks", `[{"url":"http://x","events":["comment_created"]}]`)
	comment(b, b.open(""))
	b.equal(e.names(b), []string{"comment_created"})
	b.equal(b.want(200, "GET", "/sim/sent", "").at(0, "event"), "comment_created")
}
