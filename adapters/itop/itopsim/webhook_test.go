package itopsim

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// listener is the other end of the simulator's webhooks, without a network.
type listener struct {
	mu     sync.Mutex
	got    []*http.Request
	bodies []string
	serve  func(*http.Request) (*http.Response, error)
}

func (l *listener) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	l.mu.Lock()
	l.got, l.bodies = append(l.got, r), append(l.bodies, string(body))
	l.mu.Unlock()
	if l.serve != nil {
		return l.serve(r)
	}
	return answerWith(http.StatusOK), nil
}

func answerWith(status int) *http.Response {
	w := httptest.NewRecorder()
	w.WriteHeader(status)
	return w.Result()
}

// onPublicLog is a trigger on every public log entry.
func onPublicLog(a Action) []Trigger {
	return []Trigger{{Name: "log", On: "update", Class: "UserRequest", Attcodes: []string{"public_log"}, Action: a}}
}

const publicLog = `{"operation":"core/update","comment":"c","class":"UserRequest","key":1,"output_fields":"status","fields":{"public_log":"<p>dit \"oui\"</p>"}}`

func listening(t *testing.T, a Action) (*Sim, desk, *listener) {
	t.Helper()
	sim, _, agent, _ := demo(t)
	l := &listener{}
	sim.Client(&http.Client{Transport: l})
	agent.must(newTicket)
	sim.SetTriggers(onPublicLog(a))
	return sim, agent, l
}

func TestWebhookMethods(t *testing.T) {
	for method, body := range map[string]bool{"": true, "post": true, "put": true, "get": false, "delete": false, "patch": false} {
		sim, agent, l := listening(t, Action{URL: "http://gateway.example/x?ref=$this->ref$", Method: method, Payload: `{"a":"$this->ref$"}`})
		agent.must(publicLog)
		if len(l.got) != 1 {
			t.Fatalf("method %q: %d webhooks, want 1", method, len(l.got))
		}
		if got := l.bodies[0] != ""; got != body {
			t.Errorf("method %q carries a body: %v, want %v", method, got, body)
		}
		if want := "http://gateway.example/x?ref=R-000001"; sim.Sent()[0].URL != want {
			t.Errorf("url %q, want %q", sim.Sent()[0].URL, want)
		}
	}
}

// TestWebhookHeaderSpelling: one spelling escapes, the others do not.
func TestWebhookHeaderSpelling(t *testing.T) {
	for _, c := range []struct {
		headers []string
		want    string
	}{
		{[]string{"Content-type: application/json"}, `{"b":"<p>dit \"oui\"<\/p>"}`},
		{nil, `{"b":"<p>dit \"oui\"<\/p>"}`},
		{[]string{"Content-Type: application/json"}, `{"b":"<p>dit "oui"</p>"}`},
		{[]string{"Content-type: application/json; charset=utf-8"}, `{"b":"<p>dit "oui"</p>"}`},
		{[]string{"X-Key: k", "Content-type: application/json"}, `{"b":"<p>dit \"oui\"<\/p>"}`},
	} {
		_, agent, l := listening(t, Action{URL: "http://gateway.example/", Headers: c.headers, Payload: `{"b":"$this->head_html(public_log)$"}`})
		agent.must(publicLog)
		if l.bodies[0] != c.want {
			t.Errorf("headers %q: body %s, want %s", c.headers, l.bodies[0], c.want)
		}
	}
}

// TestWebhookITop: an ActioniTopWebhook is a form post with HTTP Basic.
func TestWebhookITop(t *testing.T) {
	_, agent, l := listening(t, Action{URL: "http://gateway.example/webservices/rest.php", ITop: true, User: "u", Password: "p",
		Headers: []string{"Content-type: application/x-www-form-urlencoded"}, Payload: `{"operation":"core/update","key":"$this->id$"}`})
	agent.must(publicLog)
	if user, password, _ := l.got[0].BasicAuth(); user != "u" || password != "p" {
		t.Errorf("Basic %s:%s, want u:p", user, password)
	}
	if want := "version=1.3&json_data=%7B%22operation%22%3A%22core%5C%2Fupdate%22%2C%22key%22%3A%221%22%7D"; l.bodies[0] != want {
		t.Errorf("body %s, want %s", l.bodies[0], want)
	}
}

// TestWebhookAtMostOnce: iTop never sends again, an HTTP 500 counts as sent,
// and the agent's action stands whatever happens to its webhook.
func TestWebhookAtMostOnce(t *testing.T) {
	refused := errors.New("connection refused")
	for _, c := range []struct {
		serve  func(*http.Request) (*http.Response, error)
		status int
		log    string
	}{
		{func(*http.Request) (*http.Response, error) { return answerWith(500), nil }, 500, "Sent"},
		{func(*http.Request) (*http.Response, error) { return nil, refused }, 0, "Errors: "},
	} {
		sim, agent, l := listening(t, Action{URL: "http://gateway.example/", Payload: `{}`})
		l.serve = c.serve
		agent.must(publicLog)
		sent := sim.Sent()
		if len(sent) != 1 || len(l.got) != 1 {
			t.Fatalf("%d events, %d posts, want one of each", len(sent), len(l.got))
		}
		if sent[0].Status != c.status || !strings.HasPrefix(sent[0].Message, c.log) || (sent[0].Error == "") != (c.status != 0) {
			t.Errorf("event %+v, want status %d and message %q…", sent[0], c.status, c.log)
		}
	}
}

// TestWebhookCallsBack: whoever hears a synchronous webhook can read the ticket
// before the agent has its answer, and sees the change.
func TestWebhookCallsBack(t *testing.T) {
	sim, agent, l := listening(t, Action{URL: "http://gateway.example/", Payload: `{}`})
	gateway := desk{t, sim, "/webservices/rest.php", "gateway", "demo-itop-gateway"}
	seen := 0
	l.serve = func(*http.Request) (*http.Response, error) {
		log := gateway.must(`{"operation":"core/get","class":"UserRequest","key":1,"output_fields":"public_log"}`).field("public_log")
		seen = len(log.(map[string]any)["entries"].([]any))
		return answerWith(200), nil
	}
	agent.must(publicLog)
	if seen != 2 {
		t.Errorf("the listener saw %d entries, want 2", seen)
	}
}

// TestWebhookAsync: a synchronous webhook makes the click wait, an
// asynchronous one does not; Close waits for it.
func TestWebhookAsync(t *testing.T) {
	for _, async := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			sim, agent, l := listening(t, Action{URL: "http://gateway.example/", Payload: `{}`, Async: async})
			l.serve = func(*http.Request) (*http.Response, error) {
				time.Sleep(4 * time.Second)
				return answerWith(200), nil
			}
			start := time.Now()
			agent.must(publicLog)
			if waited := time.Since(start) >= 4*time.Second; waited == async {
				t.Errorf("async %v: the click waited %v", async, time.Since(start))
			}
			sim.Close()
			if len(sim.Sent()) != 1 {
				t.Errorf("async %v: %d events after Close, want 1", async, len(sim.Sent()))
			}
		})
	}
}

// TestContexts: a trigger limited to people is silent on REST; one without a
// context is not.
func TestContexts(t *testing.T) {
	sim, agent, l := listening(t, Action{URL: "http://gateway.example/", Payload: `{}`})
	gateway := desk{t, sim, "/webservices/rest.php", "gateway", "demo-itop-gateway"}
	limited := onPublicLog(Action{URL: "http://gateway.example/", Payload: `{}`})
	gateway.must(publicLog)
	if len(l.got) != 1 {
		t.Errorf("no context: %d webhooks from REST, want 1", len(l.got))
	}
	limited[0].Context = []string{ContextConsole, ContextPortal}
	sim.SetTriggers(limited)
	gateway.must(publicLog)
	if len(l.got) != 1 {
		t.Errorf("context of people: REST fired")
	}
	agent.must(publicLog)
	if len(l.got) != 2 {
		t.Errorf("context of people: the console did not fire")
	}
}

// TestPlaceholders of the kinds that the recordings do not show.
func TestPlaceholders(t *testing.T) {
	_, agent, l := listening(t, Action{URL: "http://gateway.example/", Headers: []string{"Content-type: text/plain"}, Payload: strings.Join([]string{
		"$this->label(urgency)$", "$this->urgency_name$", "$this->impact_id_friendlyname$", "$this->caller_id->org_id->name$", "$this->agent_id->email$",
		"$this->nope$", "$this->nope(title)$", "$this->html(title)$", "$current_contact->friendlyname$", "$this->-&gt;$", "$this-&gt;ref$", "%24this->ref%24",
		"$this->text(description)$", "$this->establishment_id->uai$", "$this->provider_ref$"}, "|")})
	agent.must(publicLog)
	want := "Haute|Haute|Un établissement ou un service|Académie d'Orléans-Tours|non défini|$this->nope$|$this->nope(title)$|Accès impossible|Agent DRANÉ|$this->-&gt;$|R-000001|R-000001|Bonjour|0750655E|"
	if l.bodies[0] != want {
		t.Errorf("got  %s\nwant %s", l.bodies[0], want)
	}
}
