package jirasim_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"passerelle/internal/fault"
)

// post asks over a real connection: faults break it.
func post(t *testing.T, server *httptest.Server, path, body string) (*http.Response, string, error) {
	t.Helper()
	r, err := http.NewRequest("POST", server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer robot-token")
	resp, err := server.Client().Do(r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

const oneIssue = `{"fields":{"project":{"key":"ONE"},"issuetype":{"name":"Request"},"summary":"s"}}`

// An answer can be lost before or after the effect: only the list of writes
// tells.
func TestFaultsBeforeAndAfterTheEffect(t *testing.T) {
	for _, c := range []struct {
		kind   fault.Kind
		writes int
	}{{fault.DropBefore, 0}, {fault.DropAfter, 1}, {fault.Truncate, 1}} {
		b, e := listening(t, nil)
		server := httptest.NewServer(b.sim)
		defer server.Close()
		if err := b.sim.Faults().Add(fault.Rule{Match: "POST /rest/api/2/issue", Kind: c.kind, Times: 1}); err != nil {
			t.Fatal(err)
		}
		_, _, err := post(t, server, "/rest/api/2/issue", oneIssue)
		if err == nil {
			t.Errorf("%s: the answer arrived", c.kind)
		}
		b.equal([]any{len(b.sim.Writes()), len(e.all(b))}, []any{c.writes, c.writes}) // the webhook tells of it too
		resp, _, err := post(t, server, "/rest/api/2/issue", oneIssue)
		if err != nil || resp.StatusCode != 201 {
			t.Errorf("%s: the fault stayed: %v", c.kind, err)
		}
	}
}

func TestFaultWithAStatus(t *testing.T) {
	b := small(t, nil)
	b.want(200, "POST", "/sim/faults", `{"match":"/comment","kind":"status","code":500,"times":1}`)
	b.want(200, "POST", "/sim/faults", `{"match":"GET /rest/api/2/myself","kind":"status","code":429,"retry_after":7,"times":1}`)
	key := b.open("")
	got := b.want(500, "POST", "/rest/api/2/issue/"+key+"/comment", `{"body":"x"}`)
	if !strings.Contains(got.text, "<html>") {
		t.Errorf("want an HTML page, got %s", got.text)
	}
	b.equal(b.want(429, "GET", "/rest/api/2/myself", "").head.Get("Retry-After"), "7")
	b.want(201, "POST", "/rest/api/2/issue/"+key+"/comment", `{"body":"x"}`)
	b.equal(b.kinds(), map[string]int{"issue": 1, "comment": 1})
}

// A body that ends too soon is refused and leaves no effect.
func TestTruncatedRequest(t *testing.T) {
	b := small(t, nil)
	r := httptest.NewRequest("POST", "/rest/api/2/issue", io.MultiReader(strings.NewReader(oneIssue), broken{}))
	r.Header.Set("Content-Type", "application/json")
	b.equal(b.do(r).code, 400)
	b.equal(len(b.sim.Writes()), 0)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }
