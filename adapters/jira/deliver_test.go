package jira_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"passerelle"
	"passerelle/adapters/jira"
	"passerelle/adapters/jira/jirasim"
	"passerelle/internal/fault"
)

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	g, w := fmt.Sprint(got), fmt.Sprint(want)
	if g != w {
		t.Fatalf("%s: got %s, want %s", what, g, w)
	}
}

func TestCreate(t *testing.T) {
	b := newBench(t)
	r := b.deliver(b.creation())
	same(t, "number", r.Ref.Number, "GSN1-1")
	f := b.fields(r.Ref.Key)
	for field, want := range map[string]string{
		"summary": "Accès impossible", "description": "Le *médiacentre* est vide.", "customfield_12003": "Bonjour",
		"customfield_12004": "R-070042", "customfield_12005": ownID, "customfield_12007": "customer", "customfield_12009": "R-001515",
	} {
		same(t, field, f[field], want)
	}
	same(t, "component", f["components"].([]any)[0].(map[string]any)["name"], "Affectation")
	same(t, "reporter", f["reporter"].(map[string]any)["displayName"], "Origine Orléans-Tours")
	p := b.agent("GET", "/rest/api/2/issue/"+r.Ref.Key+"/properties/passerelle", nil)["value"]
	same(t, "mark", p, map[string]any{"id": "create-1", "own": ownID})
}

func TestR26TheAccountInAMessageIsNeverUsed(t *testing.T) {
	b := newBench(t)
	var seen []string
	j := b.adapter(nil, jira.Transport(spy(func(r *http.Request) {
		user, _, _ := r.BasicAuth()
		seen = append(seen, r.URL.Host+" "+user)
	})))
	if _, err := j.Deliver(context.Background(), b.creation(), b.spool); err != nil {
		t.Fatal(err)
	}
	want := strings.TrimPrefix(b.url, "http://") + " gateway"
	same(t, "asked", seen, []string{want})
	for field, v := range b.fields("GSN1-1") {
		if s := fmt.Sprint(v); strings.Contains(s, "xxxxxxxxxx") || strings.Contains(s, "test-gar") {
			t.Errorf("%s holds the message's account: %s", field, s)
		}
	}
}

// spy sees each request before it goes out.
type spy func(*http.Request)

func (s spy) RoundTrip(r *http.Request) (*http.Response, error) {
	s(r)
	return http.DefaultTransport.RoundTrip(r)
}

func TestR16CommentIsInternalUnlessPublic(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	secret := b.message("update-private-log", id, map[string]string{"private_log": "<p>mot de <i>passe</i></p>"})
	public := b.message("update-public-log", id, map[string]string{"public_log": "<p>Bonjour</p><ul><li>un</li></ul>"})
	public.Public = true
	r1, r2 := b.deliver(secret), b.deliver(public)
	list := b.agent("GET", "/rest/api/2/issue/"+id+"/comment?expand=properties", nil)["comments"].([]any)
	for i, want := range []struct {
		body     string
		internal bool
		names    []string
	}{{"mot de _passe_", true, r1.Names}, {"Bonjour\n\n* un", false, r2.Names}} {
		c := list[i].(map[string]any)
		same(t, "body", c["body"], want.body)
		same(t, "properties", fmt.Sprint(c["properties"]), fmt.Sprintf("[map[key:passerelle value:map[id:update-%s-log-1 sum:%s]] map[key:sd.public.comment value:map[internal:%v]]]",
			map[bool]string{true: "private", false: "public"}[want.internal], c["properties"].([]any)[0].(map[string]any)["value"].(map[string]any)["sum"], want.internal))
		same(t, "names", want.names, []string{id + "/comment/" + c["id"].(string) + map[bool]string{true: "/internal", false: "/public"}[want.internal]})
	}
	same(t, "customfield_12003", b.fields(id)["customfield_12003"], "Bonjour\n\n* un")
	same(t, "customfield_12007", b.fields(id)["customfield_12007"], "customer")
}

func TestUpdateOfFieldsAlone(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	m := b.message("update-public-log", id, map[string]string{})
	m.Body = json.RawMessage(`{"operation":"core/update","fields":{"project":{"key":"GSN1"},"customfield_12007":"inter","priority":{"name":"Majeur"}}}`)
	if _, err := b.probe(m); err != passerelle.ErrAbsent {
		t.Fatalf("before: %v", err)
	}
	b.deliver(m)
	same(t, "comments", b.writes("comment"), 0)
	if _, err := b.probe(m); err != nil {
		t.Fatalf("after: %v", err)
	}
}

func TestR15TransitionIsChosenByTargetStatus(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	b.goes(id, "21", nil)
	m := b.message("end-pending", id, map[string]string{})
	m.Goals = []string{"Fermée", "10011"}
	r := b.deliver(m)
	same(t, "status", b.status(id), "En cours")
	same(t, "note", r.Note, "transition « Reprendre »")
	same(t, "customfield_12007", b.fields(id)["customfield_12007"], "customer")
	steps := events(b.read(id), "history")
	last := steps[len(steps)-1]
	same(t, "names", r.Names, last.Names)
	same(t, "mark", last.Mark, "end-pending-1")
}

func TestClosePutsFieldsOnTheScreenThatTakesThem(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	b.goes(id, "41", map[string]any{"resolution": map[string]any{"name": "Résolu"}})
	m := b.message("close", id, map[string]string{"user_comment": "Merci"})
	m.Goals = []string{"Fermée"}
	b.deliver(m)
	f := b.fields(id)
	same(t, "status", b.status(id), "Fermée")
	same(t, "customfield_12023", f["customfield_12023"].(map[string]any)["value"], "Sans commentaire")
	same(t, "customfield_12024", f["customfield_12024"], "Merci")
	same(t, "customfield_12007", f["customfield_12007"], "customer")
}

func TestR22Reopen(t *testing.T) {
	for name, steps := range map[string]struct{ transition, reason string }{
		"reopen":                   {"41", "Toujours *vide*"},
		"reopen-rejection-refused": {"51", "Rejet du ticket non valide"},
	} {
		b := newBench(t)
		id := b.issue()
		fields := map[string]any{}
		if steps.transition == "41" {
			fields["resolution"] = map[string]any{"name": "Résolu"}
		}
		b.goes(id, steps.transition, fields)
		m := b.message(name, id, map[string]string{"reopen_reason": "<p>Toujours <b>vide</b></p>"})
		m.Goals = []string{"En cours"}
		b.deliver(m)
		same(t, "status", b.status(id), "En cours")
		same(t, "reason", b.fields(id)["customfield_12018"], steps.reason)
	}
}

func TestGoalsAreTriedInTheirOrder(t *testing.T) {
	for _, goals := range [][]string{{"Rejeté", "En cours"}, {"En cours", "Rejeté"}, {"Fermée", "Rejeté", "En cours"}} {
		b := newBench(t)
		m := b.message("end-pending", b.issue(), map[string]string{})
		m.Goals = goals
		b.deliver(m)
		want := goals[0]
		if want == "Fermée" { // nothing leads there from « Nouveau »
			want = goals[1]
		}
		same(t, "status", b.status(m.Key), want)
	}
}

func TestStatusThatStandsIsLeftAlone(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	m := b.message("end-pending", id, map[string]string{})
	m.Goals = []string{"En cours", "Nouveau"}
	same(t, "note", b.deliver(m).Note, "already « Nouveau »")
	same(t, "transitions", b.writes("transition"), 0)
	same(t, "customfield_12007", b.fields(id)["customfield_12007"], "customer")
}

func TestNoTransitionLeadsThere(t *testing.T) {
	b := newBench(t)
	m := b.message("close", b.issue(), map[string]string{})
	m.Goals = []string{"Fermée"}
	m.Number = "GSN1-1"
	b.refuses(m, passerelle.Stuck, "GSN1-1", "no transition leads from « Nouveau » to « Fermée »", "« Prendre en charge » leads to « En cours »")
	same(t, "edits", b.writes("edit"), 0)
}

func TestTransitionNeedsAField(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	m := b.message("end-pending", id, map[string]string{})
	m.Goals = []string{goalA}
	b.refuses(m, passerelle.Stuck, "« Résoudre » needs", "(resolution)", "« Résolu »", "« Rejeté »")
	m.Body = json.RawMessage(`{"operation":"core/apply_stimulus","fields":{"resolution":{"name":"Résolu"},"customfield_12041":"fait"}}`)
	b.deliver(m)
	same(t, "resolution", b.fields(id)["resolution"].(map[string]any)["name"], "Résolu")
}

func TestRequiredFieldThatTheIssueHasNeedsNotBeSent(t *testing.T) {
	b := newBench(t, func(f *jirasim.Fixture) {
		f.Workflows[0].Transitions[0].Fields = []jirasim.ScreenField{{ID: "summary", Required: true}}
	})
	m := b.message("end-pending", b.issue(), map[string]string{})
	m.Goals = []string{"En cours"}
	b.deliver(m)
}

func TestResolutionOnlyWhereListed(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	m := b.message("end-pending", id, map[string]string{})
	m.Goals = []string{"En cours"}
	m.Body = json.RawMessage(`{"operation":"core/apply_stimulus","fields":{"resolution":{"name":"Résolu"}}}`)
	b.deliver(m)
	same(t, "status", b.status(id), "En cours")
}

// A field on no screen at all: the move is worth more than the field, but a
// person hears of it once; the retry does without.
func TestFieldOnNoScreen(t *testing.T) {
	b := newBench(t, func(f *jirasim.Fixture) {
		for i := range f.Fields {
			if f.Fields[i].ID == "customfield_12007" {
				f.Fields[i].HideOnEdit = true
			}
		}
	})
	id := b.issue()
	m := b.message("end-pending", id, map[string]string{})
	m.Goals = []string{"En cours"}
	b.refuses(m, passerelle.Stuck, "« Prendre en charge » is done", "customfield_12007", "screen")
	same(t, "status", b.status(id), "En cours")
	if note := b.deliver(m).Note; !strings.Contains(note, "not set: customfield_12007: Field") {
		t.Fatal(note)
	}
	log := b.message("update-private-log", id, map[string]string{"private_log": "x"})
	b.refuses(log, passerelle.Stuck, "customfield_12007", "screen")
}

func TestTransitionThatIsGoneMeanwhile(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	gone := b.adapter(nil, jira.Transport(spy(func(r *http.Request) {
		if r.Method == "POST" && strings.HasSuffix(r.URL.Path, "/transitions") {
			b.goes(id, "51", nil)
		}
	})))
	m := b.message("end-pending", id, map[string]string{})
	m.Goals = []string{"En attente"}
	_, err := gone.Deliver(context.Background(), m, b.spool)
	b.isError(err, passerelle.Temporary, "moved meanwhile")
}

func TestR23Attachment(t *testing.T) {
	for name, want := range map[string]string{
		"capture d'écran « été ».txt":     "capture d'écran « été ».txt",
		`..\..\win"dows.txt`:              `win"dows.txt`,
		"../../etc/passwd":                "passwd",
		"a\r\nX-Evil: 1.txt":              "aX-Evil: 1.txt",
		"..":                              "attachment",
		"":                                "attachment",
		"\u202egnp.exe":                   "gnp.exe",
		strings.Repeat("é", 300) + ".pdf": strings.Repeat("é", 98) + ".pdf",
	} {
		b := newBench(t)
		id := b.issue()
		sent := ""
		b.jira = b.adapter(nil, jira.Transport(spy(func(r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/attachments") {
				raw, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(raw))
				sent = string(raw)
			}
		})))
		r := b.deliver(to(b.fileMessage(name, "contenu"), id, "m1"))
		if !strings.Contains(sent, `filename="`+strings.ReplaceAll(want, `"`, `\"`)+`"`) {
			t.Errorf("the name itself should be sent: %s", sent)
		}
		f := b.fields(id)["attachment"].([]any)[0].(map[string]any)
		same(t, "name", f["filename"], want)
		same(t, "size", f["size"], 7)
		same(t, "type", f["mimeType"], "text/plain")
		same(t, "names", r.Names, []string{id + "/attachment/" + f["id"].(string)})
		same(t, "customfield_12007", b.fields(id)["customfield_12007"], "customer")
	}
}

func TestEmptyAttachment(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	b.deliver(to(b.fileMessage("vide.txt", ""), id, "m1"))
	same(t, "size", b.fields(id)["attachment"].([]any)[0].(map[string]any)["size"], 0)
}

func TestAttachmentThatCannotGo(t *testing.T) {
	small := func(f *jirasim.Fixture) { f.AttachmentLimit = 10 }
	b := newBench(t, small)
	id := b.issue()
	b.refuses(to(b.fileMessage("grand.txt", "01234567890"), id, "m1"), passerelle.Stuck, `"grand.txt", 11 bytes`, "limit")
	gone := to(b.fileMessage("x.txt", "y"), id, "m2")
	gone.Files[0].Sum = "none"
	b.refuses(gone, passerelle.Stuck, `the bytes of "x.txt" are gone`)
	b.jira = b.adapter(func(c *jira.Config) { c.AttachmentLimit = 5 })
	b.refuses(to(b.fileMessage("moyen.txt", "012345"), id, "m3"), passerelle.Stuck, "at most 5")
	same(t, "attachments", b.writes("attachment"), 0)
}

// R24: content is checked after the upload, by its sum and not by its size alone.
func TestR24DamagedUploadIsTakenBack(t *testing.T) {
	for now, how := range map[string]string{"hole": "arrived with 4 bytes of 5", "whale": "arrived with other content"} {
		b := newBench(t)
		id := b.issue()
		b.jira = b.adapter(nil, jira.Transport(eater{now}))
		m := to(b.fileMessage("x.txt", "whole"), id, "m1")
		b.refuses(m, passerelle.Temporary, how, "taken back")
		same(t, "attachments", len(b.fields(id)["attachment"].([]any)), 0)
		same(t, "attachments once there", b.writes("attachment"), 1)
		b.jira = b.adapter(nil)
		b.deliver(m)
		same(t, "attachments at last", len(b.fields(id)["attachment"].([]any)), 1)
	}
}

// R24: what cannot be read back is not sent twice: a probe finds it, and where
// Jira does not let us read at all its word for the size must do.
func TestR24UploadThatIsNotReadBack(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	m := to(b.fileMessage("x.txt", "whole"), id, "m1")
	b.fault(fault.Rule{Match: "/secure/", Kind: fault.Status, Code: 503, Times: 1})
	b.refuses(m, passerelle.Unsure, "was not read back")
	if r, err := b.probe(m); err != nil || len(r.Names) != 1 {
		t.Fatal(r, err)
	}
	b.fault(fault.Rule{Match: "/secure/", Kind: fault.Status, Code: 403, Times: 1})
	r := b.deliver(to(b.fileMessage("y.txt", "whole"), id, "m2"))
	if len(r.Names) != 1 || !strings.Contains(r.Note, "not read back") {
		t.Errorf("%+v", r)
	}
	same(t, "attachments", b.writes("attachment"), 2)
}

// eater changes an upload on its way.
type eater struct{ now string }

func (e eater) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/attachments") {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		raw = bytes.Replace(raw, []byte("whole"), []byte(e.now), 1)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
	}
	return http.DefaultTransport.RoundTrip(r)
}

func TestFileThatIsNotWhatWasStored(t *testing.T) {
	for _, size := range []int64{4, 6} {
		b := newBench(t)
		m := to(b.fileMessage("x.txt", "whole"), b.issue(), "m1")
		m.Files[0].Size = size
		b.refuses(m, passerelle.Temporary, "not the one it was stored with")
		same(t, "attachments", b.writes("attachment"), 0)
	}
}

func TestUploadAnnouncesItsLength(t *testing.T) {
	b := newBench(t)
	id, length := b.issue(), int64(0)
	b.jira = b.adapter(nil, jira.Transport(spy(func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/attachments") {
			length = r.ContentLength
		}
	})))
	b.deliver(to(b.fileMessage("x.txt", "whole"), id, "m1"))
	if length < 100 {
		t.Fatal(length)
	}
}

// A file is never whole in memory: when the request leaves, next to nothing of
// it was read.
func TestUploadIsStreamed(t *testing.T) {
	b := newBench(t)
	m := to(b.fileMessage("big.bin", strings.Repeat("x", 4<<20)), b.issue(), "m1")
	tap := &tap{spool: b.spool}
	b.jira = b.adapter(nil, jira.Transport(spy(func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/attachments") && tap.read.Load() > 0 {
			t.Errorf("%d bytes were read before the request left", tap.read.Load())
		}
	})))
	if _, err := b.jira.Deliver(context.Background(), m, tap); err != nil {
		t.Fatal(err)
	}
	same(t, "read", tap.read.Load(), 4<<20)
}

// tap counts what is read of a spool.
type tap struct {
	*spool
	read atomic.Int64
}

func (s *tap) Open(sum string) (io.ReadCloser, error) {
	r, err := s.spool.Open(sum)
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(r, s), r}, err
}

func (s *tap) Write(p []byte) (int, error) {
	s.read.Add(int64(len(p)))
	return len(p), nil
}

func TestMessageThatCannotBeRead(t *testing.T) {
	b := newBench(t)
	for name, m := range map[string]*passerelle.Message{
		"unknown operation": {ID: "1", Op: "core/delete", Key: "1", Body: json.RawMessage(`{}`)},
		"names no issue":    {ID: "1", Op: "core/update", Body: json.RawMessage(`{}`)},
		"not a JSON object": {ID: "1", Op: "core/update", Key: "1", Body: json.RawMessage(`[1]`)},
		"is not a text":     {ID: "1", Op: "core/update", Key: "1", Body: json.RawMessage(`{"body":{"a":1}}`), Rich: []string{"body.a"}},
		"names no single":   {ID: "1", Op: "core/update", Key: "1", Body: json.RawMessage(`{"body":"x"}`), Rich: []string{"fields.#.x"}},
		"fields are not":    {ID: "1", Op: "core/update", Key: "1", Body: json.RawMessage(`{"fields":"x"}`)},
		"body text is not":  {ID: "1", Op: "core/update", Key: "1", Body: json.RawMessage(`{"body":7}`)},
		"nested more than":  {ID: "1", Op: "core/update", Key: "1", Body: json.RawMessage(strings.Repeat("[", 1000))},
		"holds 0 files":     {ID: "1", Op: "syn/addattachment", Key: "1", Body: json.RawMessage(`{}`)},
		"names no status":   {ID: "1", Op: "core/apply_stimulus", Key: b.issue(), Body: json.RawMessage(`{}`)},
	} {
		b.refuses(m, passerelle.Stuck, name)
	}
}

func TestJirasOwnWordsAreKept(t *testing.T) {
	b := newBench(t)
	m := b.creation()
	m.Body = json.RawMessage(strings.Replace(string(m.Body), `"Mineur"`, `"Urgentissime"`, 1))
	b.refuses(m, passerelle.Stuck, "jira: create issue", "400", "priority: ", "Urgentissime")
}

func TestHTMLIsNeverShown(t *testing.T) {
	b := newBench(t)
	b.fault(fault.Rule{Match: "POST /rest/api/2/issue", Kind: fault.Status, Code: 503, Body: "<html><body>proxy secret</body></html>", RetryAfter: 7})
	err := b.refuses(b.creation(), passerelle.Down, "503 Service Unavailable")
	if s := err.Error(); strings.Contains(s, "<") || strings.Contains(s, "secret") {
		t.Fatal(s)
	}
	same(t, "after", err.After, "7s")
	same(t, "perhaps", err.Perhaps, true)
}
