package jirasim_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"passerelle/adapters/jira/jirasim"
)

func TestWrongPasswordIsAnHTMLPage(t *testing.T) {
	b := small(t, nil).as("robot", "wrong")
	got := b.want(401, "GET", "/rest/api/2/myself", "")
	if !strings.HasPrefix(got.head.Get("Content-Type"), "text/html") || !strings.Contains(got.text, "<html>") {
		t.Errorf("want an HTML page, got %s", got.text)
	}
	b.equal(got.head.Get("X-Seraph-LoginReason"), "AUTHENTICATED_FAILED")
	for _, auth := range []string{"Bearer nix", "Basic !!", "Digest x"} {
		b.auth = auth
		b.want(401, "GET", "/rest/api/2/myself", "")
	}
}

// Three wrong passwords in a row, and the right one does not help any more,
// until a person solves the CAPTCHA. Other accounts and tokens go on.
func TestCaptcha(t *testing.T) {
	right := small(t, nil).as("robot", "robot-pw")
	wrong := right.as("robot", "wrong")
	for range 2 {
		wrong.want(401, "GET", "/rest/api/2/myself", "")
	}
	right.want(200, "GET", "/rest/api/2/myself", "") // in a row: the count begins again
	for range 3 {
		wrong.want(401, "GET", "/rest/api/2/myself", "")
	}
	got := right.want(403, "GET", "/rest/api/2/myself", "")
	right.equal(got.head.Get("X-Seraph-LoginReason"), "AUTHENTICATION_DENIED")
	right.as("agent", "agent-pw").want(200, "GET", "/rest/api/2/myself", "")
	right.want(204, "DELETE", "/sim/captcha/robot", "")
	right.want(200, "GET", "/rest/api/2/myself", "")
}

func TestNobodyIsRefusedExceptForServerInfo(t *testing.T) {
	b := small(t, nil)
	key := b.open("")
	b.upload(key, "a.txt", "x")
	b.auth = ""
	b.want(200, "GET", "/rest/api/2/serverInfo", "")
	if got := b.want(401, "GET", "/rest/api/2/issue/"+key, ""); got.at("errorMessages", 0) == nil {
		t.Errorf("want an error message, got %s", got.text)
	}
	got := b.want(302, "GET", "/secure/attachment/10001/a.txt", "")
	if !strings.Contains(got.head.Get("Location"), "/login.jsp?") {
		t.Errorf("want the login page, got %q", got.head.Get("Location"))
	}
	b.want(200, "GET", "/login.jsp", "")
}

func TestCloudLogsInWithEmailAndToken(t *testing.T) {
	b := small(t, cloud)
	b.want(401, "GET", "/rest/api/2/myself", "") // Bearer is Data Center's
	got := b.cloudRobot().want(200, "GET", "/rest/api/2/myself", "")
	b.equal([]any{got.at("accountId"), got.at("name")}, []any{"JIRAUSER1", nil})
}

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := small(t, nil)
		b.sim.RateLimit(0.5, 2)
		b.want(200, "GET", "/rest/api/2/myself", "")
		b.want(200, "GET", "/rest/api/2/myself", "")
		got := b.want(429, "GET", "/rest/api/2/myself", "")
		b.equal(got.head.Get("Retry-After"), "2")
		if !strings.Contains(got.text, "<html>") {
			t.Errorf("want an HTML page, got %s", got.text)
		}
		b.as("agent", "agent-pw").want(200, "GET", "/rest/api/2/myself", "") // each account has its own
		time.Sleep(2 * time.Second)
		b.want(200, "GET", "/rest/api/2/myself", "")
		b.want(200, "PUT", "/sim/rate", `{"perSecond":0}`)
		for range 5 {
			b.want(200, "GET", "/rest/api/2/myself", "")
		}
	})
}

func TestUnimplementedIsSaidSo(t *testing.T) {
	b := small(t, nil)
	for _, ask := range []string{"GET /rest/api/2/worklog/x", "POST /rest/api/2/issue/bulk", "GET /rest/servicedeskapi/info", "PATCH /rest/api/2/myself", "GET /rest/api/2/issue/createmeta/ONE/x"} {
		method, path, _ := strings.Cut(ask, " ")
		if got := b.want(501, method, path, ""); !strings.Contains(got.text, "not implemented by this simulator") {
			t.Errorf("%s: %s", ask, got.text)
		}
	}
}

func TestContextPath(t *testing.T) {
	b := small(t, func(fx *jirasim.Fixture) { fx.ContextPath = "/jira" })
	got := b.want(201, "POST", "/jira/rest/api/2/issue", `{"fields":{"project":{"key":"ONE"},"issuetype":{"name":"Request"},"summary":"s"}}`)
	b.equal(got.at("self"), "http://example.com/jira/rest/api/2/issue/10001")
	b.want(404, "GET", "/rest/api/2/myself", "")
	b.want(200, "GET", "/jira/sim/writes", "")
	b.want(200, "GET", "/jira/rest/api/latest/issue/ONE-1", "")
	r := httptest.NewRequest("GET", "/jirax", nil)
	if got := b.do(r); got.code != 404 {
		t.Errorf("/jirax: %d, want 404", got.code)
	}
}
