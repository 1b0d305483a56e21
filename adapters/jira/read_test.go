package jira_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"passerelle"
	"passerelle/adapters/jira/jirasim"
	"passerelle/internal/fault"
)

// events picks those whose name holds a word, all with the empty word.
func events(s *passerelle.Snapshot, word string) []*passerelle.Event {
	var list []*passerelle.Event
	for _, e := range s.Events {
		if strings.Contains(fmt.Sprint(e.Names), word) {
			list = append(list, e)
		}
	}
	return list
}

func TestReadTellsAllInOrder(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	c := b.says(id, "Il manque l'*UAI*", false)
	b.goes(id, "21", map[string]any{"duedate": "2026-12-01"})
	a := b.attaches(id, "journal.log", "x")
	s := b.read("GSN1-1")
	same(t, "ref", s.Ref, "GSN1-1")
	same(t, "key", s.Ref.Key, id)
	same(t, "own", s.Own, ownID)
	var got []string
	for _, e := range s.Events {
		got = append(got, fmt.Sprint(e.Names, e.Kind, e.Signal))
		if e.Contract != "c" || e.From != passerelle.Partner || e.Key != id || e.Author != "provider" || e.At.IsZero() || e.Mark != "" || e.Fields["author"] != "Agent GAR" {
			t.Errorf("%+v", e)
		}
	}
	history := events(s, "history")[0]
	want := []string{
		"[" + id + "/comment/" + c + "/public]public-log",
		"[" + id + "/attachment/" + a + "]attach",
		fmt.Sprint(history.Names) + "En attente",
	}
	same(t, "events", strings.Join(got, "\n"), strings.Join(want, "\n"))
	same(t, "log", s.Events[0].Fields["public_log"], "<p>Il manque l'<strong>UAI</strong></p>")
	same(t, "due", history.Fields["duedate"], "2026-12-01")
	same(t, "status", history.Fields["status_id"]+" "+history.Fields["from_status"], "10012 Nouveau")
	same(t, "file", s.Events[1].Files, []passerelle.File{{Name: "journal.log", MIME: s.Events[1].Files[0].MIME, Size: 1}})
	again := b.read(id)
	for i := range again.Events {
		same(t, "name", again.Events[i].Names, s.Events[i].Names)
	}
}

func TestReadFlattensFields(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	b.goes(id, "41", map[string]any{"resolution": map[string]any{"name": "Résolu"}, "customfield_12041": "Compte *rouvert*"})
	s := b.read(id)
	for code, want := range map[string]string{
		"customfield_12005": ownID, "customfield_10400": "Aucune", "priority": "Mineur", "status": "A clôturer", "status_id": "10013",
		"resolution": "Résolu", "components": "Affectation", "customfield_12041": "<p>Compte <strong>rouvert</strong></p>", "description": "<p>Le <strong>médiacentre</strong> est vide.</p>",
	} {
		same(t, code, s.Fields[code], want)
		if code != "status" {
			same(t, code+" of the event", events(s, "history")[0].Fields[code], want)
		}
	}
	for _, code := range []string{"comment", "attachment", "assignee"} {
		if v, there := s.Fields[code]; there {
			t.Errorf("%s should be left out: %q", code, v)
		}
	}
}

// R16: what Jira does not plainly call public is private.
func TestR16VisibilityFailsClosed(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	cases := []struct {
		name     string
		internal any
		public   bool
	}{
		{"internal", true, false}, {"public", false, true}, {"no property", nil, true},
		{"a text", "false", false}, {"null", map[string]any{}, false}, {"a number", 0, false},
	}
	for _, c := range cases {
		b.says(id, c.name, c.internal)
	}
	b.agent("POST", "/rest/api/2/issue/"+id+"/comment", map[string]any{"body": "role", "visibility": map[string]any{"type": "role", "value": "Service Desk Team"}})
	list := events(b.read(id), "comment")
	for i, c := range cases {
		same(t, c.name, list[i].Kind == passerelle.PublicLog, c.public)
		_, leaks := list[i].Fields["public_log"]
		same(t, c.name+" field", leaks, c.public)
		same(t, c.name+" name", strings.HasSuffix(list[i].Names[0], "/public"), c.public)
	}
	same(t, "role", list[len(cases)].Kind, passerelle.PrivateLog)
}

// R16: Cloud, and apps, say it beside the property. Both must allow it.
func TestR16JsdPublicFailsClosed(t *testing.T) {
	const property = `"properties":[{"key":"sd.public.comment","value":%s}]`
	for _, c := range []struct {
		jsd, property string
		public        bool
	}{
		{`true`, ``, true}, {`false`, ``, false}, {`null`, ``, false}, {`"true"`, ``, false}, {`1`, ``, false},
		{`true`, `{"internal":false}`, true}, {`false`, `{"internal":false}`, false}, {`true`, `{"internal":true}`, false},
		{`true`, `{"internal":"false"}`, false}, {`true`, `null`, false}, {`true`, `{}`, false},
	} {
		props := `"properties":[]`
		if c.property != "" {
			props = fmt.Sprintf(property, c.property)
		}
		answers := map[string]string{
			"/jira/rest/api/2/myself":               `{"name":"gateway","key":"k"}`,
			"/jira/rest/api/2/issue/7":              `{"id":"7","key":"P-1","fields":{}}`,
			"/jira/rest/api/2/issue/7/comment":      `{"total":1,"comments":[{"id":"8","body":"x","jsdPublic":` + c.jsd + `,` + props + `}]}`,
			"/jira/rest/api/2/comment/8/properties": `{"keys":[]}`,
		}
		j := stub(t, func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, answers[r.URL.Path]) })
		s, err := j.Read(context.Background(), "7")
		if err != nil {
			t.Fatal(err)
		}
		same(t, "jsdPublic "+c.jsd+" "+c.property, s.Events[0].Kind == passerelle.PublicLog, c.public)
	}
}

func TestR16UnreadablePropertyIsPrivate(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	b.says(id, "x", nil)
	for _, code := range []int{403, 404} {
		b.fault(fault.Rule{Match: "/properties", Kind: fault.Status, Code: code, Body: `{"errorMessages":["no"],"errors":{}}`, Times: 1})
		same(t, fmt.Sprint(code), events(b.read(id), "comment")[0].Kind, passerelle.PrivateLog)
	}
	// Trouble of Jira decides nothing: a private event would be a wrong fact.
	b.fault(fault.Rule{Match: "/properties", Kind: fault.Status, Code: 503, Times: 1})
	_, err := b.jira.Read(context.Background(), id)
	b.isError(err, passerelle.Down)
	same(t, "then", events(b.read(id), "comment")[0].Kind, passerelle.PublicLog)
}

func TestInternalCommentTurnedPublicIsNew(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	c := b.says(id, "entre nous", true)
	same(t, "first", events(b.read(id), "comment")[0].Names, []string{id + "/comment/" + c + "/internal"})
	b.agent("PUT", "/rest/api/2/comment/"+c+"/properties/sd.public.comment", map[string]any{"internal": false})
	e := events(b.read(id), "comment")
	same(t, "events", len(e), 1)
	same(t, "then", e[0].Names, []string{id + "/comment/" + c + "/public"})
	same(t, "kind", e[0].Kind, passerelle.PublicLog)
}

func TestR33EditedCommentIsNew(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	c := b.says(id, "avant", false)
	first := events(b.read(id), "comment")[0]
	b.edits(id, c, map[string]any{"body": "après"})
	e := events(b.read(id), "comment")
	same(t, "events", len(e), 1)
	same(t, "name", e[0].Names[0], first.Names[0]+"@"+e[0].At.UTC().Format("2006-01-02T15:04:05.000Z"))
	same(t, "edited", e[0].Edited, true)
	same(t, "text", e[0].Fields["public_log"], "<p>après</p>")
	if !e[0].At.After(first.At) {
		t.Error("an edit is as old as its comment")
	}
}

func TestR17OurOwnWritesAreMarked(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	log := b.message("update-public-log", id, map[string]string{"public_log": "<p>de nous</p>"})
	log.Public = true
	move := b.message("end-pending", id, map[string]string{})
	move.Goals = []string{"En cours"}
	names := map[string]string{}
	for _, m := range []*passerelle.Message{log, to(b.fileMessage("x.txt", "y"), id, "file-1"), move} {
		names[m.ID] = b.deliver(m).Names[0]
	}
	s := b.read(id)
	same(t, "events", len(s.Events), 3)
	for _, e := range s.Events {
		same(t, e.Names[0], names[e.Mark], e.Names[0])
	}
	// After a restart the account still tells.
	b.jira = b.adapter(nil)
	same(t, "attachment", events(b.read(id), "attachment")[0].Mark, "c/"+ownID+"/account:gateway")
	// A person's edit of our comment is not ours any more (R17).
	c := strings.Split(names[log.ID], "/")[2]
	b.edits(id, c, map[string]any{"body": "de nous, corrigé"})
	same(t, "edited", events(b.read(id), "comment")[0].Mark, "")
}

// A private text of ours that a person turns public in Jira stays an echo.
func TestR17OurCommentTurnedPublicIsAnEcho(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	m := b.message("update-private-log", id, map[string]string{"private_log": "secret"})
	c := strings.Split(b.deliver(m).Names[0], "/")[2]
	b.edits(id, c, map[string]any{
		"body": "secret", "properties": []any{map[string]any{"key": "sd.public.comment", "value": map[string]any{"internal": false}}},
	})
	e := events(b.read(id), "comment")[0]
	same(t, "kind", e.Kind, passerelle.PublicLog)
	same(t, "mark", e.Mark, m.ID)
	same(t, "edited", e.Edited, true)
}

func TestR33GoneAndMoved(t *testing.T) {
	b := newBench(t, func(f *jirasim.Fixture) {
		f.Projects = append(f.Projects, jirasim.Project{Key: "AUTRE", Workflow: f.Projects[0].Workflow})
	})
	id := b.issue()
	b.agent("POST", "/sim/move/GSN1-1", map[string]any{"project": "AUTRE"})
	same(t, "moved", b.read("GSN1-1").Ref, "AUTRE-1")
	same(t, "same id", b.read("GSN1-1").Ref.Key, id)
	b.agent("DELETE", "/rest/api/2/issue/"+id, nil)
	s := b.read(id)
	same(t, "gone", s.Gone, true)
	same(t, "key", s.Ref.Key, id)
}

// R16: a file that agents show among themselves is theirs.
func TestR16FileOfAnInternalComment(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	for _, name := range []string{"a.png", "b.png", "c.png", "d.png"} {
		b.attaches(id, name, "x")
	}
	b.says(id, "voir !a.png|thumbnail! et [^b.png] et !c.png!", true)
	b.says(id, "voir !c.png!", false)
	var got []string
	for _, e := range events(b.read(id), "attachment") {
		// Shown in public later it is news: it has another name then.
		got = append(got, fmt.Sprint(e.Files[0].Name, e.Private, strings.HasSuffix(e.Names[0], "/internal")))
	}
	same(t, "internal", got, []string{"a.pngtrue true", "b.pngtrue true", "c.pngfalse false", "d.pngfalse false"})
}

func TestManyComments(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	for i := range 103 {
		b.says(id, fmt.Sprint("n", i), i%2 == 0)
	}
	list := events(b.read(id), "comment")
	same(t, "comments", len(list), 103)
	same(t, "last", list[102].Fields["private_log"], "<p>n102</p>")
}

func TestReadTroubleIsJirasNotTheMessages(t *testing.T) {
	for _, kind := range []fault.Kind{fault.DropBefore, fault.DropAfter, fault.Truncate} {
		b := newBench(t)
		id := b.issue()
		b.fault(fault.Rule{Match: "GET /rest/api/2/issue", Kind: kind})
		_, err := b.jira.Read(context.Background(), id)
		b.isError(err, passerelle.Down, id)
	}
}
