package jira_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"passerelle"
)

// restored is the same fact in a message of after a restore.
func restored(m *passerelle.Message, id string) *passerelle.Message {
	c := *m
	c.ID, c.Restored = id, true
	return &c
}

func (b *bench) absent(what string, m *passerelle.Message) {
	b.Helper()
	if r, err := b.probe(m); !errors.Is(err, passerelle.ErrAbsent) {
		b.Fatalf("%s: %+v, %v", what, r, err)
	}
}

// The fact that a write tells is found again under another message's id.
func TestProbeByTheFact(t *testing.T) {
	for name, w := range writes() {
		if name == "file" {
			continue // Jira can mark no file
		}
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			m := w.before(b)
			m.Of = "fact/1"
			want := b.deliver(m)
			if name == "move" {
				b.goes(m.Key, "21", nil) // and on: only the mark tells
			}
			again := restored(m, "of after the restore")
			r, err := b.probe(again)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "found", fmt.Sprint(r.Ref, r.Names, r.Either), fmt.Sprint(want.Ref, want.Names, want.Either))
			again.Of = "fact/2"
			b.absent("another fact", again)
			again.Of = ""
			b.absent("no fact", again)
			again.ID = m.ID
			if _, err := b.probe(again); err != nil {
				t.Fatal("by the id:", err)
			}
		})
	}
}

func TestTheFactStandsInEachMark(t *testing.T) {
	b := newBench(t)
	m := b.creation()
	m.Of = "fact/1"
	id := b.deliver(m).Ref.Key
	p := b.agent("GET", "/rest/api/2/issue/"+id+"/properties/passerelle", nil)["value"]
	same(t, "issue", p, map[string]any{"id": "create-1", "of": "fact/1", "own": ownID})
	log := b.message("update-private-log", id, map[string]string{"private_log": "x"})
	log.Of = "fact/2"
	b.deliver(log)
	move := b.message("end-pending", id, map[string]string{})
	move.Of, move.Goals = "fact/3", []string{"En cours"}
	b.deliver(move)
	comments := b.agent("GET", "/rest/api/2/issue/"+id+"/comment?expand=properties", nil)["comments"].([]any)
	if text := fmt.Sprint(comments[0]); !strings.Contains(text, "of:fact/2") {
		t.Error(text)
	}
	if text := fmt.Sprint(b.agent("GET", "/rest/api/2/issue/"+id+"?expand=changelog", nil)["changelog"]); !strings.Contains(text, "extraData:map[id:end-pending-1 of:fact/3]") {
		t.Error(text)
	}
}

// After a restore it may be any file of ours that fits, and others may have
// followed.
func TestProbeOfAFileAfterARestore(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	b.attaches(id, "x.txt", "y") // a person's
	var want []string
	for n, content := range []string{"y", "other", "y", "last"} {
		names := b.deliver(to(b.fileMessage("x.txt", content), id, fmt.Sprint("before-", n))).Names
		if content == "y" {
			want = append(want, names...)
		}
	}
	m := restored(to(b.fileMessage("x.txt", "y"), id, ""), "after-1")
	for _, forgets := range []bool{false, true} { // also what this process knows to be another's
		if forgets {
			b.jira = b.adapter(nil)
		}
		r, err := b.probe(m)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "either", r.Either, want)
		same(t, "names", len(r.Names), 0)
	}
	for _, other := range []struct{ name, content string }{{"x.txt", "z"}, {"z.txt", "y"}, {"x.txt", "yy"}} {
		b.absent(other.name+" "+other.content, restored(to(b.fileMessage(other.name, other.content), id, ""), "after-2"))
	}
	m.Restored = false
	b.absent("without a restore", m) // the newest is another
}

// A version before this one left no fact in its comments: then the text tells.
func TestProbeOfACommentAfterARestore(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	log := func(text, id string) *passerelle.Message {
		return to(b.message("update-private-log", "", map[string]string{"private_log": text}), id, "")
	}
	var want []string
	for n, text := range []string{"<p>Bonjour</p>", "<p>autre</p>", "<p>Bonjour</p>"} {
		m := log(text, id)
		m.ID = fmt.Sprint("before-", n)
		if names := b.deliver(m).Names; n != 1 {
			want = append(want, names...)
		}
	}
	public := log("<p>Bonjour</p>", id)
	public.ID, public.Public = "before-public", true
	b.deliver(public)
	told := log("<p>Bonjour</p>", id)
	told.ID, told.Of = "before-told", "another fact"
	b.deliver(told)
	b.says(id, "Bonjour", true)
	m := log("<p>Bonjour</p>", id)
	m.ID, m.Of = "after", "fact"
	b.absent("without a restore", m)
	m.Restored = true
	r, err := b.probe(m)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "either", r.Either, want)
	same(t, "names", len(r.Names), 0)
	m.Of = "another fact"
	if r, err = b.probe(m); err != nil || len(r.Names) != 1 || len(r.Either) > 0 {
		t.Errorf("the fact itself goes before: %+v, %v", r, err)
	}
	b.absent("another text", restored(log("<p>Bonsoir</p>", id), "after"))
}

// R17: each event says who made it, as Jira calls the account.
func TestR17EventsNameTheAccount(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	c := strings.Split(b.deliver(b.message("update-private-log", id, map[string]string{"private_log": "x"})).Names[0], "/")[2]
	b.deliver(to(b.fileMessage("x.txt", "y"), id, "f"))
	move := b.message("end-pending", id, map[string]string{})
	move.Goals = []string{"En cours"}
	b.deliver(move)
	accounts := func() (list []string) {
		for _, e := range b.read(id).Events {
			list = append(list, e.Account)
		}
		slices.Sort(list)
		return list
	}
	const gateway, agent = "JIRAUSER10100", "JIRAUSER10102"
	same(t, "ours", accounts(), []string{gateway, gateway, gateway})
	b.edits(id, c, map[string]any{"body": "corrigé"}) // a person's work now
	b.says(id, "x", true)
	b.attaches(id, "z.txt", "z")
	b.goes(id, "21", nil)
	same(t, "theirs", accounts(), []string{gateway, gateway, agent, agent, agent, agent})
}
