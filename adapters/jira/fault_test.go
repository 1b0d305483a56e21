package jira_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"passerelle"
	"passerelle/adapters/jira"
	"passerelle/adapters/jira/jirasim"
	"passerelle/internal/fault"
)

// write is one operation of the annex on a fresh issue.
type write struct {
	match  string // the request that has the effect
	kind   string // of effect, as the simulator calls it
	before func(b *bench) (m *passerelle.Message)
}

func writes() map[string]write {
	log := func(b *bench) *passerelle.Message {
		m := b.message("update-public-log", b.issue(), map[string]string{"public_log": "<p>Bonjour</p>"})
		m.Public = true
		return m
	}
	private := func(b *bench) *passerelle.Message {
		return b.message("update-private-log", b.issue(), map[string]string{"private_log": "<p>Bonjour</p>"})
	}
	file := func(b *bench) *passerelle.Message {
		return to(b.fileMessage("été.txt", "contenu"), b.issue(), "file-1")
	}
	move := func(b *bench) *passerelle.Message {
		m := b.message("end-pending", b.issue(), map[string]string{})
		m.Goals = []string{"En cours"}
		return m
	}
	return map[string]write{
		"create":  {"POST /rest/api/2/issue", "issue", (*bench).creation},
		"public":  {"/comment", "comment", log},
		"private": {"/comment", "comment", private},
		"file":    {"/attachments", "attachment", file},
		"move":    {"/transitions", "transition", move},
	}
}

// spoil lets the first request that has an effect go wrong. The label of a
// fault holds the method first, so reads pass.
func (w write) spoil(b *bench, kind fault.Kind) {
	match := w.match
	if !strings.HasPrefix(match, "POST") {
		match = "POST /rest/api/2/issue/"
	}
	b.fault(fault.Rule{Match: match, Kind: kind, Times: 1})
}

func TestAnswerLostAfterTheEffect(t *testing.T) {
	for name, w := range writes() {
		for _, kind := range []fault.Kind{fault.DropAfter, fault.Truncate} {
			if kind == fault.Truncate && name == "move" {
				continue // its answer has no body
			}
			t.Run(name+" "+string(kind), func(t *testing.T) {
				b := newBench(t)
				m := w.before(b)
				w.spoil(b, kind)
				b.refuses(m, passerelle.Unsure)
				r, err := b.probe(m)
				if err != nil {
					t.Fatalf("probe: %v", err)
				}
				same(t, "effects", b.writes(w.kind), 1)
				if name == "create" {
					same(t, "ref", r.Ref.Number, "GSN1-1")
					return
				}
				e := events(b.read(m.Key), "")
				same(t, "events", len(e), 1)
				same(t, "names", r.Names, e[0].Names)
			})
		}
	}
}

func TestRequestLostBeforeTheEffect(t *testing.T) {
	for name, w := range writes() {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			m := w.before(b)
			w.spoil(b, fault.DropBefore)
			b.refuses(m, passerelle.Unsure)
			if _, err := b.probe(m); !errors.Is(err, passerelle.ErrAbsent) {
				t.Fatalf("probe: %v", err)
			}
			b.deliver(m)
			if _, err := b.probe(m); err != nil {
				t.Fatalf("probe after the second try: %v", err)
			}
			same(t, "effects", b.writes(w.kind), 1)
		})
	}
}

func TestSlowAnswerIsUnsure(t *testing.T) {
	b := newBench(t)
	b.jira = b.adapter(func(c *jira.Config) { c.Timeout = 50 * time.Millisecond })
	b.fault(fault.Rule{Match: "POST /rest/api/2/issue", Kind: fault.Delay, Millis: 500, Times: 1})
	b.refuses(b.creation(), passerelle.Unsure, "jira: create issue")
}

func TestNobodyThereIsDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	b := newBench(t)
	for _, url := range []string{"http://" + l.Addr().String(), "http://jira.invalid"} {
		b.jira = b.adapter(func(c *jira.Config) { c.BaseURL = url })
		b.refuses(b.creation(), passerelle.Down)
	}
}

func TestCallerWhoGivesUpIsNotJirasTrouble(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := b.jira.Deliver(ctx, b.creation(), b.spool)
	b.isError(err, passerelle.Temporary)
}

// Every status has its fate, for a write and for a read.
func TestEveryStatus(t *testing.T) {
	type fate struct{ write, read passerelle.Class }
	special := map[int]fate{
		401: {passerelle.Denied, passerelle.Denied},
		408: {passerelle.Temporary, passerelle.Temporary},
		409: {passerelle.Temporary, passerelle.Temporary},
		425: {passerelle.Temporary, passerelle.Temporary},
		429: {passerelle.Down, passerelle.Down},
		500: {passerelle.Unsure, passerelle.Down}, 502: {passerelle.Unsure, passerelle.Down}, 504: {passerelle.Unsure, passerelle.Down},
		520: {passerelle.Unsure, passerelle.Down}, 522: {passerelle.Unsure, passerelle.Down}, 524: {passerelle.Unsure, passerelle.Down},
	}
	for code := 300; code < 600; code++ {
		want, known := special[code]
		if !known && code < 500 {
			want = fate{passerelle.Stuck, passerelle.Stuck}
		} else if !known {
			want = fate{passerelle.Down, passerelle.Down}
		}
		j := stub(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Seraph-LoginReason", "OK")
			w.WriteHeader(code)
			_, _ = fmt.Fprint(w, `{"errorMessages":["said"],"errors":{"f":"why"}}`)
		})
		m := &passerelle.Message{ID: "1", Op: "core/create", Body: json.RawMessage(`{"fields":{}}`)}
		_, err := j.Deliver(context.Background(), m, nil)
		if got := passerelle.ClassOf(err); got != want.write {
			t.Errorf("write %d: %s, want %s (%v)", code, got, want.write, err)
		}
		if code != 304 && !strings.Contains(err.Error(), "said; f: why") {
			t.Errorf("%d: Jira's words are lost: %v", code, err)
		}
		s, err := j.Read(context.Background(), "10001")
		if code == 404 {
			same(t, "gone", s.Gone, true)
		} else if got := passerelle.ClassOf(err); got != want.read {
			t.Errorf("read %d: %s, want %s (%v)", code, got, want.read, err)
		}
	}
}

// stub is an adapter before a Jira of a few lines.
func stub(t *testing.T, h http.HandlerFunc, change ...func(*jira.Config)) *jira.Jira {
	t.Helper()
	cfg := jira.Config{BaseURL: "http://jira.example/jira", User: "gateway", Password: "pw", Project: "P", MarkField: "customfield_1", SearchDelays: []time.Duration{0}}
	for _, c := range change {
		c(&cfg)
	}
	j, err := jira.New(cfg, jira.Transport(direct(h)))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// direct answers without a socket.
type direct http.HandlerFunc

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d(w, r)
	res := w.Result()
	res.Request = r
	return res, nil
}

func TestRefusedAccount(t *testing.T) {
	for name, head := range map[string]http.Header{
		"403 captcha":  {"X-Seraph-Loginreason": {"AUTHENTICATION_DENIED"}},
		"403 denied":   {"X-Authentication-Denied-Reason": {"CAPTCHA_CHALLENGE; login-url=x"}},
		"302 to login": {"Location": {"/jira/login.jsp?os_destination=x"}},
	} {
		j := stub(t, func(w http.ResponseWriter, r *http.Request) {
			for k, v := range head {
				w.Header()[k] = v
			}
			w.WriteHeader(map[bool]int{true: 403, false: 302}[strings.HasPrefix(name, "403")])
		})
		if _, err := j.Read(context.Background(), "1"); passerelle.ClassOf(err) != passerelle.Denied {
			t.Errorf("%s: read: %v", name, err)
		}
		m := &passerelle.Message{ID: "1", Op: "core/create", Body: json.RawMessage(`{"fields":{}}`)}
		if _, err := j.Deliver(context.Background(), m, nil); passerelle.ClassOf(err) != passerelle.Denied {
			t.Errorf("%s: write: %v", name, err)
		}
	}
	b := newBench(t)
	b.jira = b.adapter(func(c *jira.Config) { c.Password = "wrong" })
	e := b.refuses(b.creation(), passerelle.Denied, "401")
	if s := e.Error(); strings.Contains(s, "wrong") || strings.Contains(s, "<") {
		t.Error(s)
	}
}

// A file called login is no login page: taking it for one would stop all
// traffic.
func TestFileCalledLogin(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	for _, name := range []string{"login", "login.jsp"} {
		b.attaches(id, name, "x")
	}
	for _, e := range events(b.read(id), "attachment") {
		if err := b.jira.Fetch(context.Background(), e, b.spool); err != nil {
			t.Error(err)
		}
	}
	j := stub(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Host + r.URL.Path {
		case "jira.example/jira/secure/attachment/1/x":
			http.Redirect(w, r, "/jira/secure/attachment/2/login", http.StatusFound)
		case "jira.example/jira/secure/attachment/2/login":
			http.Redirect(w, r, "https://media.example/login", http.StatusFound)
		default:
			_, _ = fmt.Fprint(w, "data")
		}
	}, func(c *jira.Config) { c.Cloud, c.Password, c.Token = true, "", "t" })
	if err := j.Fetch(context.Background(), download("/secure/attachment/1/x"), &spool{}); err != nil {
		t.Error(err)
	}
}

func TestRedirectElsewhereIsNotFollowed(t *testing.T) {
	asked := 0
	j := stub(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.Redirect(w, r, "https://evil.example/rest/api/2/issue", map[bool]int{true: 302, false: 308}[r.Method == "GET"])
	})
	_, err := j.Read(context.Background(), "1")
	same(t, "class", passerelle.ClassOf(err), passerelle.Stuck)
	_, err = j.Deliver(context.Background(), &passerelle.Message{ID: "1", Op: "core/create", Body: json.RawMessage(`{"fields":{}}`)}, nil)
	same(t, "asked", asked, 2)
	if !strings.Contains(err.Error(), "set base_url to where Jira really is: https://evil.example") {
		t.Error(err)
	}
}

func TestRetryAfter(t *testing.T) {
	for text, want := range map[string][2]time.Duration{
		"7": {7 * time.Second, 7 * time.Second}, "-3": {}, "soon": {}, "": {},
		"99999999999999999999":                                   {24 * time.Hour, 24 * time.Hour},
		time.Now().Add(time.Hour).UTC().Format(http.TimeFormat):  {59 * time.Minute, time.Hour},
		time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat): {},
	} {
		j := stub(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", text)
			w.WriteHeader(429)
		})
		_, err := j.Read(context.Background(), "1")
		var e *passerelle.Error
		if !errors.As(err, &e) || e.Class != passerelle.Down || e.After < want[0] || e.After > want[1] {
			t.Errorf("%q: %v %v", text, err, e.After)
		}
	}
}

func TestPageInsteadOfJSON(t *testing.T) {
	j := stub(t, func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, "<html>Log in</html>") })
	_, err := j.Read(context.Background(), "1")
	same(t, "read", passerelle.ClassOf(err), passerelle.Down)
	_, err = j.Deliver(context.Background(), &passerelle.Message{ID: "1", Op: "core/create", Body: json.RawMessage(`{"fields":{}}`)}, nil)
	same(t, "write", passerelle.ClassOf(err), passerelle.Unsure)
	if strings.Contains(err.Error(), "<") {
		t.Error(err)
	}
}

func TestAnswerNestedTooDeep(t *testing.T) {
	j := stub(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, strings.Repeat("[", 1<<16), strings.Repeat("]", 1<<16))
	})
	_, err := j.Read(context.Background(), "1")
	if passerelle.ClassOf(err) != passerelle.Down || !strings.Contains(err.Error(), "nested more than 100 deep") {
		t.Fatal(err)
	}
}

// The index learns of an issue late: only the last search is certain.
func TestProbeOutlastsTheIndex(t *testing.T) {
	b := newBench(t)
	b.sim.IndexLag(300 * time.Millisecond)
	m := b.creation()
	b.fault(fault.Rule{Match: "POST /rest/api/2/issue", Kind: fault.DropAfter, Times: 1})
	b.refuses(m, passerelle.Unsure)
	if _, err := b.probe(m); !errors.Is(err, passerelle.ErrAbsent) {
		t.Fatalf("a hasty probe should be blind: %v", err)
	}
	b.jira = b.adapter(func(c *jira.Config) {
		c.SearchDelays = []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond}
	})
	r, err := b.probe(m)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "ref", r.Ref.Number, "GSN1-1")
}

func TestProbeTakesNoOtherIssueForOurs(t *testing.T) {
	b := newBench(t)
	other := b.creation()
	other.Body = json.RawMessage(strings.ReplaceAll(string(other.Body), ownID, "9 "+ownID+" 1"))
	b.deliver(other) // its words match, its value does not
	first := b.creation()
	first.ID = "another message"
	b.deliver(first) // made by another message
	if _, err := b.probe(b.creation()); !errors.Is(err, passerelle.ErrAbsent) {
		t.Fatal(err)
	}
	if r, err := b.probe(first); err != nil || r.Ref.Number != "GSN1-2" {
		t.Fatal(r, err)
	}
}

func TestProbeThatCannotTell(t *testing.T) {
	b := newBench(t)
	none := b.adapter(func(c *jira.Config) { c.MarkField = "" })
	_, err := none.Probe(context.Background(), b.creation(), b.spool)
	b.unknown(err)
	b.fault(fault.Rule{Match: "/search", Kind: fault.Status, Code: 400, Body: `{"errorMessages":["Field 'cf[12005]' does not exist"],"errors":{}}`})
	_, err = b.probe(b.creation())
	b.unknown(err)
	b.sim.Faults().Clear()
	slow := b.adapter(func(c *jira.Config) { c.SearchDelays = []time.Duration{0, time.Hour} })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = slow.Probe(ctx, b.creation(), b.spool)
	b.unknown(err)
	b.fault(fault.Rule{Match: "/search", Kind: fault.Status, Code: 503})
	_, err = b.probe(b.creation())
	b.isError(err, passerelle.Down)
}

// Without our own id there is nothing to search for: any answer would be wrong.
func TestProbeOfACreateWithoutOurID(t *testing.T) {
	j := stub(t, func(w http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s", r.URL) })
	for _, body := range []string{`{"fields":{}}`, `{"fields":{"customfield_1":""}}`, `{"fields":{"customfield_1":null}}`} {
		_, err := j.Probe(context.Background(), &passerelle.Message{ID: "1", Op: "core/create", Body: json.RawMessage(body)}, nil)
		if !errors.Is(err, passerelle.ErrUnknown) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// Comments of people and of our other messages are no proof.
func TestProbeTakesNoOtherCommentForOurs(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	m := b.message("update-private-log", id, map[string]string{"private_log": "<p>x</p>"})
	b.deliver(to(m, id, "another"))
	b.says(id, "x", true)
	if _, err := b.probe(m); !errors.Is(err, passerelle.ErrAbsent) {
		t.Fatal(err)
	}
}

func (b *bench) unknown(err error) {
	b.Helper()
	if !errors.Is(err, passerelle.ErrUnknown) {
		b.Fatalf("want ErrUnknown, got %v", err)
	}
}

func TestProbeFindsALabelToo(t *testing.T) {
	b := newBench(t)
	b.jira = b.adapter(func(c *jira.Config) { c.MarkField = "labels" })
	m := b.creation()
	m.Body = json.RawMessage(strings.Replace(string(m.Body), `"summary"`, `"labels": ["urgent-70042"], "summary"`, 1))
	b.deliver(m)
	r, err := b.probe(m)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "ref", r.Ref.Number, "GSN1-1")
}

// Two messages with one and the same file: the first one's effect is no proof
// of the second's.
func TestProbeOfASecondIdenticalFile(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	first, second := to(b.fileMessage("x.txt", "y"), id, "1"), to(b.fileMessage("x.txt", "y"), id, "2")
	b.deliver(first)
	b.fault(fault.Rule{Match: "/attachments", Kind: fault.DropBefore, Times: 1})
	b.refuses(second, passerelle.Unsure)
	if _, err := b.probe(second); !errors.Is(err, passerelle.ErrAbsent) {
		t.Fatal(err)
	}
	b.fault(fault.Rule{Match: "/attachments", Kind: fault.DropAfter, Times: 1})
	b.refuses(second, passerelle.Unsure)
	if _, err := b.probe(second); err != nil {
		t.Fatal(err)
	}
	same(t, "attachments", b.writes("attachment"), 2)
}

// People's files are no proof, and hide none of ours.
func TestProbeTakesNoOtherFileForOurs(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	m := to(b.fileMessage("x.txt", "y"), id, "1")
	b.attaches(id, "x.txt", "y")
	if _, err := b.probe(m); !errors.Is(err, passerelle.ErrAbsent) {
		t.Fatal(err)
	}
	names := b.deliver(m).Names
	b.attaches(id, "z.txt", "z")
	r, err := b.probe(m)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "names", r.Names, names)
}

func TestProbeComparesTheContent(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	b.deliver(to(b.fileMessage("x.txt", "one"), id, "1"))
	b.jira = b.adapter(nil) // forgets what it sent
	if _, err := b.probe(to(b.fileMessage("x.txt", "two"), id, "2")); !errors.Is(err, passerelle.ErrAbsent) {
		t.Fatal(err)
	}
	if _, err := b.probe(to(b.fileMessage("x.txt", "one"), id, "1")); err != nil {
		t.Fatal(err)
	}
}

// The status stands by somebody else's doing: ours is absent, and a second try
// only sets the fields.
func TestProbeOfAMoveThatAPersonMade(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	b.goes(id, "11", nil)
	m := b.message("end-pending", id, map[string]string{})
	m.Goals = []string{"En cours"}
	if _, err := b.probe(m); !errors.Is(err, passerelle.ErrAbsent) {
		t.Fatal(err)
	}
	b.deliver(m)
	same(t, "transitions", b.writes("transition"), 0)
}

// Somebody moved the issue on after our lost move: it took effect all the same.
func TestProbeOfAMoveThatIsPast(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	m := b.message("end-pending", id, map[string]string{})
	m.Goals = []string{"En cours"}
	b.fault(fault.Rule{Match: "POST /rest/api/2/issue/", Kind: fault.DropAfter, Times: 1})
	b.refuses(m, passerelle.Unsure)
	b.goes(id, "21", nil)
	r, err := b.probe(m)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "names", r.Names, events(b.read(id), "history")[0].Names)
}

func TestRateLimitSaysWhenToComeBack(t *testing.T) {
	b := newBench(t)
	b.sim.RateLimit(0.5, 1)
	m := b.creation()
	b.deliver(m)
	e := b.refuses(m, passerelle.Down, "429")
	if e.After < time.Second {
		t.Fatal(e.After)
	}
	same(t, "issues", b.writes("issue"), 1)
}

func TestContextPath(t *testing.T) {
	b := newBench(t, func(f *jirasim.Fixture) { f.ContextPath = "/jira" })
	id := b.issue()
	b.deliver(to(b.fileMessage("x.txt", "y"), id, "1"))
	same(t, "events", len(b.read(id).Events), 1)
}
