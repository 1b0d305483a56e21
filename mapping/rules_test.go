package mapping

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"passerelle"
)

// given are the fields of a good escalation, as the requester's tool sends them.
func given(t testing.TB) map[string]string {
	t.Helper()
	b, err := os.ReadFile("testdata/render/01-create.json")
	if err != nil {
		t.Fatal(err)
	}
	var s shown
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	return s.Fields
}

// escalation is a good create, interpreted.
func escalation(t testing.TB) *passerelle.Event {
	t.Helper()
	e := &passerelle.Event{From: passerelle.Requester, Kind: passerelle.Create, Key: "1504", Fields: given(t)}
	if err := load(t, folder(t)).Interpret(e); err != nil {
		t.Fatal(err)
	}
	return e
}

// judge interprets and admits an event for a pair in a state.
func judge(c *Contract, s passerelle.State, e *passerelle.Event) (*Step, error) {
	if e.Key == "" && len(e.Claims) == 0 {
		e.Claims = []passerelle.Claim{{Side: e.From, Key: pair(passerelle.Open).Ref(e.From).Number}}
	}
	if err := c.Interpret(e); err != nil {
		return nil, err
	}
	return c.Admit(e, pair(s))
}

// refused checks that err is a refusal by that rule which says each of words,
// in English, and something in French.
func refused(t *testing.T, err error, rule string, words ...string) {
	t.Helper()
	var pe *passerelle.Error
	if !errors.As(err, &pe) || pe.Class != passerelle.Refused {
		t.Fatalf("want a refusal by %s, got %v", rule, err)
	}
	if pe.Rule != rule {
		t.Errorf("refused by %q, want %q: %v", pe.Rule, rule, err)
	}
	for _, w := range append(words, "R-001515") {
		if !strings.Contains(err.Error(), w) && !(w == "R-001515" && strings.Contains(err.Error(), "GSN1-4711")) {
			t.Errorf("%q is not in %q", w, err)
		}
	}
	if pe.Hint == "" || pe.Local == "" {
		t.Errorf("no hint (%q), or nothing in French (%q): %v", pe.Hint, pe.Local, err)
	}
}

func create(fields map[string]string) *passerelle.Event {
	return &passerelle.Event{From: passerelle.Requester, Kind: passerelle.Create, Fields: fields}
}

// said writes a step's sends as lifecycle.csv does.
func said(s *Step) string {
	var out []string
	for _, x := range s.Sends {
		out = append(out, string(x.To)+":"+x.Template)
	}
	return strings.Join(out, " ")
}
