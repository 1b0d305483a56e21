package jira_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"passerelle"
	"passerelle/adapters/jira"
	"passerelle/adapters/jira/jirasim"
	"passerelle/internal/login"
)

// desk notes what it is told to look at.
type desk struct {
	passerelle.Desk
	looked []string
	err    error
}

func (d *desk) Look(_ context.Context, contract string, side passerelle.Side, key string) error {
	d.looked = append(d.looked, contract+"/"+string(side)+"/"+key)
	return d.err
}

// listener is an adapter that takes webhooks with these proofs.
func listener(t *testing.T, w jira.Webhook) *jira.Jira {
	t.Helper()
	return stub(t, nil, func(c *jira.Config) { c.Contract, c.Side, c.Webhook = "c", passerelle.Partner, w })
}

func open(t *testing.T) *jira.Jira {
	return listener(t, jira.Webhook{Door: door(t, "t"), Limit: 2 << 20})
}

// door lets in who has one of the tokens, and u by the password p.
func door(t testing.TB, tokens ...string) *login.Door {
	t.Helper()
	accounts := []login.Account{{User: "u", Password: hashOfP}}
	for _, token := range tokens {
		accounts = append(accounts, login.Account{Token: login.HashToken(jira.Secret(token))})
	}
	d, err := login.NewGuard(login.Config{}).Door("c/partner/webhook", accounts)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// hashOfP is that of the password "p", as cheap as one may be.
const hashOfP = "$2a$10$FCvetGoT34TgdOIdILV8veoSF.rTBpt9qbWR9hC9h/YQCv7JXesu6"

// post sends a webhook to j.
func post(j *jira.Jira, d passerelle.Desk, target, body string, head ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", target, strings.NewReader(body))
	for i := 0; i+1 < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	w := httptest.NewRecorder()
	j.Serve(w, r, d)
	return w
}

func TestWebhookSamples(t *testing.T) {
	want := map[string]string{
		"cloud-attachment_created.json":          "c/partner/10000",
		"cloud-comment_created-jsdPublic.json":   "c/partner/10040",
		"cloud-issue_created-select-fields.json": "c/partner/10509",
		"cloud-issue_updated-attachment.json":    "c/partner/10040",
		"dc-comment_created-without-issue.json":  "c/partner/10013",
		"dc-comment_updated-without-issue.json":  "c/partner/10013",
		"dc-issue_created.json":                  "c/partner/30369",
		"dc-issue_updated-custom-field.json":     "c/partner/10106",
		"dc-issue_updated-issue_commented.json":  "c/partner/10231",
		"dc-issue_updated-issue_resolved.json":   "c/partner/10300",
		"dc-issuelink_created.json":              "",
		"jsm-automation-issue-payload.json":      "c/partner/18001",
	}
	files, err := os.ReadDir("testdata/webhooks")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "samples", len(files), len(want))
	for _, f := range files {
		body, err := os.ReadFile("testdata/webhooks/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		d := &desk{}
		w := post(open(t), d, "/?token=t", string(body))
		same(t, f.Name()+" status", w.Code, 200)
		same(t, f.Name(), strings.Join(d.looked, " "), want[f.Name()])
		same(t, f.Name()+" says ignored", strings.Contains(w.Body.String(), "ignored"), want[f.Name()] == "")
	}
}

func TestWebhookThatNamesNoIssue(t *testing.T) {
	for body, status := range map[string]int{
		`{"webhookEvent":"attachment_created","attachment":{"id":"1"}}`: 200,
		`{"webhookEvent":"worklog_updated","issue":{"id":"1"}}`:         200,
		`{"webhookEvent":7}`: 400,
		`{"webhookEvent":"jira:issue_updated","issue":{"id":"../1"}}`:                   400,
		`{"webhookEvent":"jira:issue_updated","issue":{"id":{}}}`:                       400,
		`{"webhookEvent":"jira:issue_updated","issue":{"key":"a/b"}}`:                   400,
		`{"webhookEvent":"comment_created","comment":{"self":"http://x/"}}`:             400,
		`{"webhookEvent":"comment_created","comment":{"self":"/issue/1?x=/comment/2"}}`: 400,
		`[]`: 400, `7`: 400, `{"a":`: 400, ``: 400, "\xff": 400,
	} {
		d := &desk{}
		w := post(open(t), d, "/?token=t", body)
		same(t, body, w.Code, status)
		same(t, body+" looked", len(d.looked), 0)
		if status == 400 && !strings.HasPrefix(w.Body.String(), `{"errorMessages":["jira: webhook: `) {
			t.Errorf("%s: not in Jira's form: %s", body, w.Body)
		}
	}
}

func TestWebhookWithoutBody(t *testing.T) {
	d := &desk{}
	post(open(t), d, "/?token=t&issue_id=10013", "")
	post(open(t), d, "/?token=t&issue_key=GSN1-7", "")
	same(t, "looked", d.looked, []string{"c/partner/10013", "c/partner/GSN1-7"})
	same(t, "bad", post(open(t), d, "/?token=t&issue_id=x", "").Code, 400)
}

// 1 MB of "[" would overflow the stack of a recursive parser.
func TestWebhookNestedTooDeep(t *testing.T) {
	for _, open1 := range []string{"[", `{"a":`, `{"issue":[`} {
		w := post(open(t), &desk{}, "/?token=t", strings.Repeat(open1, 1e6/len(open1)))
		same(t, open1, w.Code, 400)
		if !strings.Contains(w.Body.String(), "nested more than 100 deep") {
			t.Error(w.Body)
		}
	}
	d := &desk{}
	flat := `{"issue":{"id":"7"},"text":"` + strings.Repeat(`[\"{`, 1000) + `","list":[` + strings.Repeat("[],", 1000) + `[]]}`
	same(t, "brackets in texts and beside each other", post(open(t), d, "/?token=t", flat).Code, 200)
}

func TestWebhookTooLarge(t *testing.T) {
	j := listener(t, jira.Webhook{Door: door(t, "t"), Limit: 100})
	same(t, "101", post(j, &desk{}, "/?token=t", strings.Repeat(" ", 101)).Code, 413)
	same(t, "100", post(j, &desk{}, "/?token=t", `{"issue":{"id":"7"}}`+strings.Repeat(" ", 80)).Code, 200)
}

func sign(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// Atlassian's published vector: the body is no webhook, but it is let in.
func TestWebhookSignatureVector(t *testing.T) {
	j := listener(t, jira.Webhook{Secrets: []jira.Secret{"It's a Secret to Everybody"}})
	const right = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
	same(t, "right", post(j, &desk{}, "/", "Hello World!", "X-Hub-Signature", right).Code, 400)
	same(t, "wrong", post(j, &desk{}, "/", "Hello World?", "X-Hub-Signature", right).Code, 401)
}

func TestWebhookProofs(t *testing.T) {
	const body = `{"issue":{"id":"7"}}`
	full := jira.Webhook{Secrets: []jira.Secret{"new", "old"}, Door: door(t, "t1", "t2")}
	basic := func(user, password string) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth(user, password)
		return r.Header.Get("Authorization")
	}
	for name, c := range map[string]struct {
		hook   jira.Webhook
		target string
		head   []string
		status int
	}{
		"signed, new":             {full, "/", []string{"X-Hub-Signature", sign("new", body)}, 200},
		"signed, old":             {full, "/", []string{"X-Hub-Signature", sign("old", body)}, 200},
		"signed, other":           {full, "/", []string{"X-Hub-Signature", sign("other", body)}, 401},
		"signed, empty":           {full, "/", []string{"X-Hub-Signature", sign("", body)}, 401},
		"not hex":                 {full, "/", []string{"X-Hub-Signature", "sha256=zz"}, 401},
		"sha1":                    {full, "/", []string{"X-Hub-Signature", "sha1=00"}, 401},
		"short":                   {full, "/", []string{"X-Hub-Signature", sign("new", body)[:20]}, 401},
		"token in the address":    {full, "/?token=t2", nil, 200},
		"token as Bearer":         {full, "/", []string{"Authorization", "Bearer t1"}, 200},
		"wrong token":             {full, "/?token=t3", nil, 401},
		"empty token":             {full, "/?token=", nil, 401},
		"Basic":                   {full, "/", []string{"Authorization", basic("u", "p")}, 200},
		"Basic, wrong password":   {full, "/", []string{"Authorization", basic("u", "q")}, 401},
		"Basic, wrong user":       {full, "/", []string{"Authorization", basic("v", "p")}, 401},
		"Basic, empty":            {jira.Webhook{}, "/", []string{"Authorization", basic("", "")}, 401},
		"bad signature and token": {full, "/?token=t1", []string{"X-Hub-Signature", sign("other", body)}, 401},
		"nothing":                 {full, "/", nil, 401},
		"nothing configured":      {jira.Webhook{}, "/?token=", []string{"X-Hub-Signature", sign("", body)}, 401},
		"signature nobody asked":  {jira.Webhook{Door: door(t, "t")}, "/?token=t", []string{"X-Hub-Signature", sign("x", body)}, 200},
	} {
		d := &desk{}
		w := post(listener(t, c.hook), d, c.target, body, c.head...)
		same(t, name, w.Code, c.status)
		same(t, name+" looked", len(d.looked), map[bool]int{true: 1}[c.status == 200])
	}
}

// TestWebhookGuessesAreSlowedDown: who guesses hears 401, after some guesses 429
// with when to come again; a signature and a token that are right are taken.
func TestWebhookGuessesAreSlowedDown(t *testing.T) {
	const body = `{"issue":{"id":"7"}}`
	j := listener(t, jira.Webhook{Secrets: []jira.Secret{"s"}, Door: door(t, "t")})
	slow := false
	for n := 0; n < 40 && !slow; n++ {
		w := post(j, &desk{}, fmt.Sprint("/?token=guess", n), body)
		slow = w.Code == http.StatusTooManyRequests
		if !slow && w.Code != http.StatusUnauthorized || slow && w.Header().Get("Retry-After") == "" {
			t.Errorf("guess %d: %d %s", n, w.Code, w.Body)
		}
	}
	same(t, "slowed down", slow, true)
	same(t, "signed", post(j, &desk{}, "/", body, "X-Hub-Signature", sign("s", body)).Code, 200)
	same(t, "a right token", post(j, &desk{}, "/?token=t", body).Code, 200)
}

func TestWebhookThatCannotBeStored(t *testing.T) {
	const body = `{"issue":{"id":"7"}}`
	for _, c := range []struct {
		err    error
		status int
		after  string
	}{
		{errors.New("disk full at /secret/place"), 503, "30"},
		{&passerelle.Error{Class: passerelle.Down, After: 1500 * time.Millisecond}, 503, "2"},
		{fmt.Errorf("x: %w", passerelle.ErrNotFound), 200, ""},
	} {
		w := post(open(t), &desk{err: c.err}, "/?token=t", body)
		same(t, "status", w.Code, c.status)
		same(t, "Retry-After", w.Header().Get("Retry-After"), c.after)
		if strings.Contains(w.Body.String(), "secret") {
			t.Error(w.Body)
		}
	}
}

func TestWebhookMethod(t *testing.T) {
	w := httptest.NewRecorder()
	open(t).Serve(w, httptest.NewRequest("GET", "/?token=t", nil), &desk{})
	same(t, "status", w.Code, 405)
	same(t, "allow", w.Header().Get("Allow"), "POST")
}

// The simulator's own webhooks, of both flavours, lead to the issue.
func TestWebhooksOfTheSimulator(t *testing.T) {
	for _, flavour := range []string{"dc", "cloud"} {
		b := newBench(t, func(f *jirasim.Fixture) {
			f.Flavour = flavour
			f.Users[0].Token, f.Users[2].Token = "demo-jira-gateway", "demo-jira-agent"
			f.Users[2].Email = "agent-gar"
		})
		j := listener(t, jira.Webhook{Secrets: []jira.Secret{"s"}})
		d := &desk{}
		heard := make(chan string, 20)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			j.Serve(w, r, d)
			heard <- d.looked[len(d.looked)-1]
		}))
		b.sim.SetWebhooks([]jirasim.Webhook{{Name: "us", URL: s.URL, Secret: "s"}})
		made := b.agent("POST", "/rest/api/2/issue", map[string]any{"fields": map[string]any{
			"project": map[string]any{"key": "GSN1"}, "issuetype": map[string]any{"id": "10600"}, "summary": "x",
		}})
		id := made["id"].(string)
		b.says(id, "x", true)
		b.sim.Flush()
		close(heard)
		n := 0
		for got := range heard {
			same(t, flavour, got, "c/partner/"+id)
			n++
		}
		same(t, flavour+" heard", n, map[string]int{"dc": 3, "cloud": 2}[flavour])
		s.Close()
	}
}

func FuzzServe(f *testing.F) {
	f.Add([]byte(`{"webhookEvent":"comment_created","comment":{"self":"https://x/rest/api/2/issue/1/comment/2"}}`))
	f.Add([]byte(`{"issue":{"id":"7","key":"A-1"}}`))
	f.Add([]byte(`[[[[{"a":"\"`))
	j, err := jira.New(jira.Config{BaseURL: "http://jira.example", Webhook: jira.Webhook{Door: door(f, "t")}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d := &desk{}
		w := post(j, d, "/?token=t", string(body))
		if w.Code != 200 && w.Code != 400 || len(d.looked) > 1 {
			t.Fatalf("%d %v", w.Code, d.looked)
		}
		for _, k := range d.looked {
			if k = strings.TrimPrefix(k, "//"); strings.ContainsAny(k, "/?#%\\ ") {
				t.Fatalf("looked at %q", k)
			}
		}
	})
}
