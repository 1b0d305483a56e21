package itop

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/sjson"

	"passerelle"
	trouble "passerelle/internal/fault"
)

func markTitle(c *Config) { c.MarkField = "title" }

// R5: the number comes back from the create, whatever the template asks for.
func TestR5ACreateLearnsKeyAndNumber(t *testing.T) {
	for _, output := range []string{"id, ref", "id", "friendlyname", "*", ""} {
		s := newSubcontractor(t)
		m := createMessage(t, "Panne")
		if m.Body, _ = sjson.SetBytes(m.Body, "output_fields", output); output == "" {
			m.Body, _ = sjson.DeleteBytes(m.Body, "output_fields")
		}
		if r := deliver(t, s.itop, m, s.desk); r.Ref != (passerelle.Ref{Key: "1", Number: "R-000001"}) {
			t.Errorf("output_fields %q: %+v", output, r.Ref)
		}
		if n := s.asking("WHERE"); output == "id, ref" && n > 0 {
			t.Errorf("output_fields %q: a first try asked %d times", output, n)
		}
	}
}

// What a create brings along is no news afterwards (R17), the number that a
// trigger tells neither.
func TestR17WhatACreateWritesIsNoNews(t *testing.T) {
	s := newSubcontractor(t)
	m := createMessage(t, "Panne")
	m.Body, _ = sjson.SetBytes(m.Body, "fields.public_log", "<p>a &amp; b</p>")
	m.Body, _ = sjson.SetBytes(m.Body, "fields.private_log", "<p>c</p>")
	r := deliver(t, s.itop, m, s.desk)
	for _, name := range s.facts("1", passerelle.PublicLog, passerelle.PrivateLog) {
		if !slices.Contains(r.Names, name) {
			t.Errorf("%s would come back: %v", name, r.Names)
		}
	}
	if len(r.Names) != 3 {
		t.Errorf("names %v", r.Names)
	}
	f := newFace(t, partner)
	f.hook(`{"operation":"core/update","comment":"c","class":"UserRequest","fields":{"provider_id":"1","provider_ref":"R-000001"}}`)
	if e := f.desk.events()[0]; e.Kind != passerelle.Reference || !slices.Contains(r.Names, e.Names[0]) {
		t.Errorf("the pushed number %v is not among %v", e.Names, r.Names)
	}
}

// A ticket that is made is made: trouble with reading it makes no second one.
func TestACreateIsDoneOnceITopNamedIt(t *testing.T) {
	s := newSubcontractor(t)
	_ = s.sim.Faults().Add(trouble.Rule{Match: "core/get", Kind: trouble.Status, Code: 503})
	m := createMessage(t, "Panne")
	m.Body, _ = sjson.SetBytes(m.Body, "output_fields", "id")
	m.Body, _ = sjson.SetBytes(m.Body, "fields.public_log", "<p>a &amp; b</p>")
	r := deliver(t, s.itop, m, s.desk)
	if r.Ref != (passerelle.Ref{Key: "1", Number: "1"}) {
		t.Errorf("%+v", r.Ref)
	}
	s.sim.Faults().Clear()
	if log := s.facts("1", passerelle.PublicLog); !slices.Contains(r.Names, log[0]) {
		t.Errorf("%v would come back: %v", log, r.Names)
	}
}

// A create whose answer is lost is found by its mark, and made once.
func TestALostCreateIsFoundByItsMark(t *testing.T) {
	for _, title := range []string{"FRS-000001 Panne", `l'ENT "n'ouvre" pas \ \' '' \\`, "100 % _ été 😀", "' OR 1 = 1 --", "-1", ":this->id"} {
		for _, kind := range []trouble.Kind{trouble.DropAfter, trouble.Truncate, trouble.DropBefore} {
			s := newSubcontractor(t, markTitle)
			m := createMessage(t, title)
			m.Body, _ = sjson.SetBytes(m.Body, "fields.public_log", "<p>a</p>")
			_ = s.sim.Faults().Add(trouble.Rule{Match: "core/create", Kind: kind, Times: 1})
			if _, err := s.itop.Deliver(t.Context(), m, s.desk); passerelle.ClassOf(err) != passerelle.Unsure {
				t.Fatalf("%s: %v", kind, err)
			}
			r, err := s.itop.Probe(t.Context(), m, s.desk)
			if kind == trouble.DropBefore {
				if !errors.Is(err, passerelle.ErrAbsent) {
					t.Errorf("%s %q: %+v, %v", kind, title, r, err)
				}
				continue
			}
			if err != nil || r.Ref != (passerelle.Ref{Key: "1", Number: "R-000001"}) || !slices.Contains(r.Names, s.facts("1", passerelle.PublicLog)[0]) {
				t.Errorf("%s %q: %+v, %v", kind, title, r, err)
			}
		}
	}
}

// iTop's database compares without regard to case: what differs is another's.
func TestAMarkIsComparedExactly(t *testing.T) {
	s := newSubcontractor(t, markTitle)
	for _, title := range []string{"frs-000001 panne", "FRS-000001 PANNE"} {
		deliver(t, s.itop, createMessage(t, title), s.desk)
	}
	m := createMessage(t, "FRS-000001 Panne")
	if r, err := s.itop.Probe(t.Context(), m, s.desk); !errors.Is(err, passerelle.ErrAbsent) {
		t.Errorf("%+v, %v", r, err)
	}
	want := deliver(t, s.itop, m, s.desk).Ref
	if r, err := s.itop.Probe(t.Context(), m, s.desk); err != nil || r.Ref != want {
		t.Errorf("%+v, %v, want %v", r, err, want)
	}
	deliver(t, s.itop, m, s.desk)
	if r, err := s.itop.Probe(t.Context(), m, s.desk); !errors.Is(err, passerelle.ErrUnknown) {
		t.Errorf("two of one mark: %+v, %v", r, err)
	}
}

// Without a mark nobody can tell, and nothing is asked.
func TestACreateWithoutAMarkIsUnknown(t *testing.T) {
	for name, c := range map[string]struct {
		field string
		value any
	}{"no mark_field": {"", "x"}, "no value": {"escalation_reason", nil}, "an empty one": {"title", ""}, "an object": {"title", map[string]string{"a": "b"}}} {
		s := newSubcontractor(t, func(cfg *Config) { cfg.MarkField = c.field })
		m := createMessage(t, "FRS-000001")
		if c.value != nil {
			m.Body, _ = sjson.SetBytes(m.Body, "fields.title", c.value)
		}
		if r, err := s.itop.Probe(t.Context(), m, s.desk); !errors.Is(err, passerelle.ErrUnknown) || s.asking() > 0 {
			t.Errorf("%s: %+v, %v, %d requests", name, r, err, s.asking())
		}
	}
}

func TestAMarkFieldIsAnAttributeCode(t *testing.T) {
	for _, field := range []string{"title = 'x' OR title", "a.b", "été", "1a", " title"} {
		if _, err := New(Config{Contract: "c", Side: passerelle.Partner, MarkField: field}); err == nil || !strings.Contains(err.Error(), "mark_field") {
			t.Errorf("%q: %v", field, err)
		}
	}
}

// A literal has the two escapes that iTop's lexer knows, and no other.
func TestOQLString(t *testing.T) {
	for s, want := range map[string]string{`a`: `'a'`, `l'a`: `'l\'a'`, `\`: `'\\'`, `\'`: `'\\\''`, `"q"`: `'"q"'`, "a\nb": "'a\nb'"} {
		if got := oqlString(s); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
}

// A stock iTop closes, reopens and takes up again; a state that is there
// already is done.
func TestStimuliOfAStockITop(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		before         []string
	}{
		{"ev_close", "resolved", "closed", []string{"ev_assign", "ev_resolve"}},
		{"ev_reopen", "resolved", "assigned", []string{"ev_assign", "ev_resolve"}},
		{"ev_assign", "pending", "assigned", []string{"ev_assign", "ev_pending"}},
	} {
		s := newSubcontractor(t)
		key := s.ticket().Key
		for _, name := range c.before {
			deliver(t, s.itop, s.stimulus(key, name, `"team_id":1,"solution":"<p>ok</p>","pending_reason":"p"`), s.desk)
		}
		if got := s.status(key); got != c.from {
			t.Fatalf("%s: begins in %s", c.name, got)
		}
		m := s.stimulus(key, c.name, "", c.to)
		if _, err := s.itop.Probe(t.Context(), m, s.desk); !errors.Is(err, passerelle.ErrAbsent) {
			t.Errorf("%s before: %v", c.name, err)
		}
		if r := deliver(t, s.itop, m, s.desk); r.Note != "" || s.status(key) != c.to {
			t.Errorf("%s: %s, %+v", c.name, s.status(key), r)
		}
		if r, err := s.itop.Probe(t.Context(), m, s.desk); err != nil || r.Note == "" {
			t.Errorf("%s after: %+v, %v", c.name, r, err)
		}
		if r := deliver(t, s.itop, m, s.desk); r.Note != "was there already" {
			t.Errorf("%s again: %+v", c.name, r)
		}
	}
}

// A ticket that is given to another team keeps its status: whether that took
// effect is told by the team.
func TestAReassignmentIsToldByItsTeam(t *testing.T) {
	s := newSubcontractor(t)
	key := s.ticket().Key
	deliver(t, s.itop, s.stimulus(key, "ev_assign", `"team_id":1`), s.desk)
	m := s.stimulus(key, "ev_reassign", `"team_id":{"name":"N2"}`, "assigned")
	_ = s.sim.Faults().Add(trouble.Rule{Match: "core/apply_stimulus", Kind: trouble.DropBefore, Times: 1})
	_, _ = s.itop.Deliver(t.Context(), m, s.desk)
	if r, err := s.itop.Probe(t.Context(), m, s.desk); !errors.Is(err, passerelle.ErrAbsent) {
		t.Errorf("before: %+v, %v", r, err)
	}
	deliver(t, s.itop, m, s.desk)
	if r, err := s.itop.Probe(t.Context(), m, s.desk); err != nil || r.Note == "" {
		t.Errorf("after: %+v, %v", r, err)
	}
	_, err := s.itop.Deliver(t.Context(), s.stimulus(key, "ev_assign", `"team_id":{"name":"N1"}`, "assigned"), s.desk)
	for _, word := range []string{"stands in « assigned » (team_id « N2 »)", "wants « assigned » (team_id « N1 »)"} {
		if passerelle.ClassOf(err) != passerelle.Stuck || !strings.Contains(fmt.Sprint(err), word) {
			t.Errorf("%v does not say %q", err, word)
		}
	}
}

// A stimulus that is not valid now waits for a person, who reads where the
// ticket stands and where it was to go; the message of iTop is localised.
func TestAnInvalidStimulusSaysWhereTheTicketStands(t *testing.T) {
	s := newSubcontractor(t)
	key := s.ticket().Key
	_, err := s.itop.Deliver(t.Context(), s.stimulus(key, "ev_close", "", "closed", "archived"), s.desk)
	for _, word := range []string{"itop: core/apply_stimulus", "R-000001", "Invalid stimulus", "stands in « new »", "wants « closed » or « archived »"} {
		if passerelle.ClassOf(err) != passerelle.Stuck || !strings.Contains(fmt.Sprint(err), word) {
			t.Errorf("%v does not say %q", err, word)
		}
	}
	_, err = s.itop.Deliver(t.Context(), s.stimulus("77", "ev_close", "", "closed"), s.desk)
	if !errors.Is(err, errGone) || passerelle.ClassOf(err) != passerelle.Stuck {
		t.Errorf("a ticket that is gone: %v", err)
	}
}

// A reason that travels with a change of state is written even where the state
// is there already, once.
func TestWordsGoEvenWhereTheStateIsThere(t *testing.T) {
	s := newSubcontractor(t)
	key := s.ticket().Key
	for _, name := range []string{"ev_assign", "ev_resolve"} {
		deliver(t, s.itop, s.stimulus(key, name, `"team_id":1,"solution":"<p>ok</p>"`), s.desk)
	}
	m := s.stimulus(key, "ev_reopen", `"public_log":"<p>Toujours en panne</p>","title":"changed"`, "assigned")
	for i, note := range []string{"", "was there already"} {
		r := deliver(t, s.itop, m, s.desk)
		if got := s.facts(key, passerelle.PublicLog); r.Note != note || len(got) != i+1 || got[i] != r.Names[0] || s.status(key) != "assigned" {
			t.Errorf("try %d: %+v, journal %v, %s", i, r, got, s.status(key))
		}
	}
	_, err := s.itop.Deliver(t.Context(), s.stimulus(key, "ev_close", `"public_log":"<p>Fermé</p>"`, "closed"), s.desk)
	if passerelle.ClassOf(err) != passerelle.Stuck || !strings.Contains(err.Error(), "stands in « assigned »") || len(s.facts(key, passerelle.PublicLog)) != 2 {
		t.Errorf("%v", err)
	}
}
