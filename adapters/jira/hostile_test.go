package jira_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"passerelle"
	"passerelle/adapters/jira"
)

// TestHostileWebhooks: what is no hint is refused, and no issue's name is odd:
// the name becomes part of an address and of keys that are kept.
func TestHostileWebhooks(t *testing.T) {
	for name, c := range map[string]struct {
		body   string
		status int
		looked int
	}{
		"a megabyte of [":                   {strings.Repeat("[", 1<<20), 400, 0},
		`a megabyte of {"a":`:               {strings.Repeat(`{"a":`, 1<<20/5), 400, 0},
		"a number of 1e6 digits":            {`{"issue":{"id":` + strings.Repeat("9", 1_000_000) + `}}`, 400, 0},
		"1e999999":                          {`{"issue":{"id":1e999999}}`, 400, 0},
		"1e3":                               {`{"issue":{"id":1e3}}`, 200, 1},
		"a long key":                        {`{"issue":{"key":"` + strings.Repeat("A", 1_000_000) + `-1"}}`, 400, 0},
		"NUL in a key":                      {`{"issue":{"key":"A\u0000-1"}}`, 400, 0},
		"a path in a key":                   {`{"issue":{"key":"../A-1"}}`, 400, 0},
		"a path in a comment's address":     {`{"comment":{"self":"https://x/issue/../../admin/comment/1"}}`, 400, 0},
		"half a surrogate pair in a key":    {`{"issue":{"key":"\ud83d-1"}}`, 400, 0},
		"half a surrogate pair in a text":   {`{"issue":{"id":"7"},"x":"\ud83d"}`, 200, 1},
		"invalid UTF-8 in a text":           {"{\"issue\":{\"id\":\"7\"},\"x\":\"\xff\"}", 200, 1},
		"invalid UTF-8 in a key":            {"{\"issue\":{\"key\":\"A\xff-1\"}}", 400, 0},
		"a raw NUL":                         {"{\"issue\":{\"id\":\"7\x00\"}}", 400, 0},
		"two ids: the first is looked at":   {`{"issue":{"id":"7","id":"8"}}`, 200, 1},
		"two issues: the first":             {`{"issue":{"id":"7"},"issue":{"id":"x"}}`, 200, 1},
		"three million values":              {`{"issue":{"id":"7"},"x":[1` + strings.Repeat(",1", 3<<20) + `]}`, 400, 0},
		"an event's name without end":       {`{"webhookEvent":"` + strings.Repeat("x", 1_000_000) + `","issue":{"id":"7"}}`, 200, 0},
		"not an object":                     {`["issue"]`, 400, 0},
		"the same thing, twice in one body": {`{"issue":{"id":"7"}}{"issue":{"id":"7"}}`, 400, 0},
	} {
		d := &desk{}
		w := post(listener(t, jira.Webhook{Door: door(t, "t")}), d, "/?token=t", c.body)
		if w.Code != c.status || len(d.looked) != c.looked || w.Body.Len() > 2000 || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: HTTP %d, looked at %d, %.300s", name, w.Code, len(d.looked), w.Body)
		}
		for _, key := range d.looked {
			if key != "c/partner/7" && key != "c/partner/1000" {
				t.Errorf("%s: looked at %.100s", name, key)
			}
		}
	}
}

// TestAWebhookSaidAThousandTimes: a signature holds no date, so that Jira's own
// retries are heard; said again, a webhook has the same issue read, and no more.
func TestAWebhookSaidAThousandTimes(t *testing.T) {
	const body = `{"webhookEvent":"comment_created","issue":{"id":"7"},"comment":{"body":"words"}}`
	j, d := listener(t, jira.Webhook{Secrets: []jira.Secret{"new", "old"}}), &desk{}
	for range 1000 {
		same(t, "status", post(j, d, "/", body, "X-Hub-Signature", sign("old", body)).Code, 200)
	}
	for _, key := range d.looked {
		same(t, "looked", key, "c/partner/7")
	}
	// A signature is of one body: with another it is worth nothing.
	same(t, "another body", post(j, d, "/", strings.Replace(body, `"7"`, `"8"`, 1), "X-Hub-Signature", sign("old", body)).Code, 401)
	same(t, "looked", len(d.looked), 1000)
}

// TestAListWithoutEnd: a Jira whose pages never end does not keep us for ever.
func TestAListWithoutEnd(t *testing.T) {
	for name, flavour := range map[string]func(*jira.Config){"Data Center": func(*jira.Config) {}, "Cloud": func(c *jira.Config) { c.Cloud, c.Password, c.Token = true, "", "t" }} {
		asked := 0
		j := stub(t, func(w http.ResponseWriter, r *http.Request) {
			asked++
			_, _ = fmt.Fprintf(w, `{"accountId":"a","name":"n","id":"7","key":"P-1","total":1e15,"isLast":false,"nextPageToken":"%d",
				"values":[{"id":"1"}],"issues":[{"id":"1"}],"changelog":{"total":9,"histories":[]},
				"comments":[{"id":"1","properties":[{"key":"sd.public.comment","value":{"internal":true}}]}]}`, asked)
		}, flavour)
		for what, ask := range map[string]func() error{
			"read":  func() error { _, err := j.Read(context.Background(), "7"); return err },
			"sweep": func() error { _, err := j.Changed(context.Background(), since); return err },
		} {
			asked = 0
			err := ask()
			if passerelle.ClassOf(err) != passerelle.Stuck || !strings.Contains(fmt.Sprint(err), "no end") || asked < 100 || asked > 2100 {
				t.Errorf("%s, %s: asked %d times, %v", name, what, asked, err)
			}
		}
	}
}

var since = passerelle.Since{Cursor: "2026-01-01T00:00:00Z", Known: []passerelle.Ref{{Key: "7", Number: "P-1"}}, Others: true}

// TestAnAnswerThatFillsMemory: an answer without end, or with millions of tiny
// values, is given up.
func TestAnAnswerThatFillsMemory(t *testing.T) {
	for name, c := range map[string]struct {
		fill string
		n    int
	}{"text": {"x", 33 << 20}, "values": {`",1,"`, 3 << 20}} {
		block := []byte(strings.Repeat(c.fill, 1<<20/len(c.fill)))
		j := stub(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"id":"7","x":["`)
			for range c.n*len(c.fill)/len(block) + 1 {
				_, _ = w.Write(block)
			}
			_, _ = io.WriteString(w, `"]}`)
		})
		if _, err := j.Read(context.Background(), "7"); err == nil || !strings.Contains(err.Error(), "larger than") && !strings.Contains(err.Error(), "values") {
			t.Errorf("%s: %.300v", name, err)
		}
	}
}

// FuzzJiraAnswer: whatever answers in Jira's place, each call ends with a result
// that can be stored or a classified error, which never tells our password.
func FuzzJiraAnswer(f *testing.F) {
	files, err := filepath.Glob("testdata/webhooks/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal("no samples", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(false, b)
	}
	for _, s := range []string{
		`{"id":"7","key":"P-1","name":"n","fields":{"attachment":[{"id":"1","filename":"","size":1,"content":"/secure/attachment/1/x","created":"2026-01-01T10:00:00.000+0100"}]},"comments":[{"id":"1","body":"a"}],"total":1}`,
		`{"id":"7","key":"P-1","accountId":"a","changelog":{"total":1,"histories":[{"id":"1","created":"2026-01-01T10:00:00.000+0100","items":[{"fieldId":"status","field":"status","toString":"X"}]}]},"values":[],"issues":[]}`,
		`{"errorMessages":["fuzz-canary"],"errors":{"a":"b"}}`, `[{"id":"1","size":4}]`, "<html>",
		"{\"id\":\"7\",\"key\":\"P-1\",\"name\":\"n\",\"total\":1,\"comments\":[{\"id\":\"1\",\"renderedBody\":\"caf\xe9 \\ud83d\"}],\"fields\":{\"attachment\":[{\"id\":\"1\",\"filename\":\"caf\xe9\",\"author\":{\"displayName\":\"\xe9\"}}]}}",
	} {
		f.Add(false, []byte(s))
		f.Add(true, []byte(s))
	}
	f.Fuzz(func(t *testing.T, cloud bool, b []byte) {
		cfg := jira.Config{Contract: "c", Side: passerelle.Partner, BaseURL: "http://jira.example/jira", User: "gateway", Password: "fuzz-c4nary", Project: "P", MarkField: "customfield_1", SearchDelays: []time.Duration{0}}
		if cloud {
			cfg.Cloud, cfg.Token, cfg.Password = true, cfg.Password, ""
		}
		asked := 0
		j, err := jira.New(cfg, jira.Transport(direct(func(w http.ResponseWriter, r *http.Request) {
			if asked++; asked > 50 { // each page is the same: TestAListWithoutEnd
				w.WriteHeader(http.StatusTeapot)
				return
			}
			_, _ = w.Write(b)
		})))
		if err != nil {
			t.Fatal(err)
		}
		clean := func(err error) {
			var e *passerelle.Error
			asked = 0
			switch {
			case err == nil, errors.Is(err, passerelle.ErrAbsent), errors.Is(err, passerelle.ErrUnknown):
			case !errors.As(err, &e) || strings.Contains(err.Error(), "fuzz-c4nary") || !utf8.ValidString(err.Error()) || len(err.Error()) > 1<<15:
				t.Fatalf("%q", err)
			}
		}
		ctx := context.Background()
		s, err := j.Read(ctx, "7")
		if clean(err); err == nil {
			for _, e := range s.Events {
				stored(t, e)
			}
		}
		clean(j.Fetch(ctx, download("/secure/attachment/1/x"), &spool{}))
		_, err = j.Changed(ctx, since)
		clean(err)
		for _, m := range []*passerelle.Message{
			{ID: "1", Op: "core/create", Body: json.RawMessage(`{"fields":{"summary":"s"}}`)},
			{ID: "2", Op: "core/update", Key: "7", Body: json.RawMessage(`{"fields":{"public_log":"x","summary":"s"}}`)},
			{ID: "3", Op: "core/apply_stimulus", Key: "7", Goals: []string{"X"}, Body: json.RawMessage(`{"fields":{}}`)},
		} {
			r, err := j.Deliver(ctx, m, &spool{})
			if clean(err); err == nil {
				for _, n := range append(r.Names, r.Ref.Key, r.Ref.Number) {
					if !utf8.ValidString(n) {
						t.Fatalf("%q", n)
					}
				}
			}
			_, err = j.Probe(ctx, m, &spool{})
			clean(err)
		}
	})
}

// stored checks what holds of each event that is kept.
func stored(t *testing.T, e *passerelle.Event) {
	t.Helper()
	for _, n := range append(e.Names, e.Key, e.Alias) {
		if !utf8.ValidString(n) || len(n) > 300 || strings.ContainsAny(n, "\x00\r\n") {
			t.Fatalf("name %q", n)
		}
	}
	for k, v := range e.Fields {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			t.Fatalf("%q: %q", k, v)
		}
	}
	for _, f := range e.Files {
		if !utf8.ValidString(f.Name) || !utf8.ValidString(f.MIME) {
			t.Fatalf("%+v", f)
		}
	}
	if len(e.Names) == 0 || e.Contract != "c" || e.Key == "" {
		t.Fatalf("%+v", e)
	}
}

// FuzzPin: whatever address a file has, only downloads below base_url are asked
// for, with our account or without.
func FuzzPin(f *testing.F) {
	for _, s := range []string{"https://x.example/secure/attachment/1/a.txt", "/rest/api/2/attachment/content/1", "/secure/attachment/%2e%2e/x", "//evil/secure/attachment/1/x?a=b#c", "/secure/attachment/1/é b\\..\\x", "/secure/attachment/1/%00", "x:/secure/attachment/1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		cfg := jira.Config{BaseURL: "https://jira.example/jira", User: "gateway", Password: "pw"}
		j, err := jira.New(cfg, jira.Transport(direct(func(w http.ResponseWriter, r *http.Request) {
			p := strings.ReplaceAll(r.URL.Path, `\`, "/")
			if r.URL.Scheme != "https" || r.URL.Host != "jira.example" || !strings.HasPrefix(p, "/jira/secure/") && !strings.HasPrefix(p, "/jira/rest/api/") || strings.Contains(p, "/../") || strings.HasSuffix(p, "/..") {
				t.Fatalf("%q: asked for %s", source, r.URL)
			}
			_, _ = io.WriteString(w, "data")
		})))
		if err != nil {
			t.Fatal(err)
		}
		_ = j.Fetch(context.Background(), download(source), &spool{}) // an error is an answer
	})
}
