package itop

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"passerelle"
	trouble "passerelle/internal/fault"
)

// losing makes the iTop's own cleaning drop some words of every entry.
func losing(words string) func(string) string {
	return func(body string) string { return strings.ReplaceAll(body, url.QueryEscape(words), "") }
}

const longEntry = "<p>Le compte de l'établissement est bloqué depuis hier matin.</p>"

// R17: an entry that iTop altered is still ours, and written once.
func TestR17AnAlteredEntryIsStillOurs(t *testing.T) {
	s := newSubcontractor(t)
	key := s.ticket().Key
	s.spoil = losing("hier ")
	r := deliver(t, s.itop, s.entry(key, "public_log", longEntry), s.desk)
	if got := s.facts(key, passerelle.PublicLog); !slices.Equal(got, r.Names) || len(got) != 1 {
		t.Errorf("read %v, receipt %v", got, r.Names)
	}
}

// After a lost answer an altered entry is found, not written again.
func TestAnAlteredEntryIsFoundAfterALostAnswer(t *testing.T) {
	s := newSubcontractor(t)
	key := s.ticket().Key
	s.spoil = losing("hier ")
	m := s.entry(key, "public_log", longEntry)
	if _, err := s.itop.Probe(t.Context(), m, s.desk); !errors.Is(err, passerelle.ErrAbsent) {
		t.Errorf("before: %v", err)
	}
	_ = s.sim.Faults().Add(trouble.Rule{Match: "core/update", Kind: trouble.DropAfter, Times: 1})
	if _, err := s.itop.Deliver(t.Context(), m, s.desk); passerelle.ClassOf(err) != passerelle.Unsure {
		t.Fatal(err)
	}
	r, err := s.itop.Probe(t.Context(), m, s.desk)
	if err != nil || !slices.Equal(r.Either, s.facts(key, passerelle.PublicLog)) {
		t.Errorf("%+v, %v", r, err)
	}
}

// An entry that lost most of its words is for a person to judge: written again
// it might stand there twice.
func TestAnEntryBeyondRecognitionWaitsForAPerson(t *testing.T) {
	s := newSubcontractor(t)
	key := s.ticket().Key
	s.spoil = losing(" compte de l'établissement est bloqué")
	_, err := s.itop.Deliver(t.Context(), s.entry(key, "private_log", longEntry), s.desk)
	for _, word := range []string{"R-000001", "private_log", "the last is of 20", "look at"} {
		if passerelle.ClassOf(err) != passerelle.Stuck || !strings.Contains(fmt.Sprint(err), word) {
			t.Errorf("%v does not say %q", err, word)
		}
	}
	if strings.Contains(fmt.Sprint(err), "depuis hier matin") {
		t.Errorf("%v quotes a private journal (R16)", err)
	}
}

// meanwhile lets a person write instead of us: our write is lost (facts: 1).
func (s *subcontractor) meanwhile(key, text string) {
	done := false
	s.spoil = func(body string) string {
		if done || !strings.Contains(body, url.QueryEscape("core/update")) {
			return body
		}
		done = true
		s.console(`{"operation":"core/update","comment":"c","class":"UserRequest","key":` + key + `,"fields":{"public_log":"` + text + `"}}`)
		form, _ := url.ParseQuery(body)
		form.Set("json_data", `{"operation":"core/update","class":"UserRequest","comment":"c","key":"`+key+`","output_fields":"id","fields":{}}`)
		return form.Encode()
	}
}

// Somebody else's entry is never taken for ours, however near its words; once
// we know our account's id there, a lost entry is written again by itself.
func TestALostEntryIsWrittenAgain(t *testing.T) {
	near := "<p>Le compte de l'établissement est bloqué depuis matin.</p>"
	s := newSubcontractor(t)
	key := s.ticket().Key
	m := s.entry(key, "public_log", longEntry)
	s.meanwhile(key, "<p>Bonjour, je regarde.</p>")
	if _, err := s.itop.Deliver(t.Context(), m, s.desk); passerelle.ClassOf(err) != passerelle.Stuck {
		t.Errorf("before we know who we are: %v", err)
	}
	deliver(t, s.itop, s.entry(key, "public_log", "<p>Une première entrée.</p>"), s.desk)
	for _, text := range []string{"<p>Bonjour, je regarde.</p>", near} {
		s.meanwhile(key, text)
		if r, err := s.itop.Deliver(t.Context(), m, s.desk); passerelle.ClassOf(err) != passerelle.Unsure {
			t.Errorf("%s: %+v, %v", text, r, err)
		}
		if r, err := s.itop.Probe(t.Context(), m, s.desk); !errors.Is(err, passerelle.ErrAbsent) {
			t.Errorf("%s: %+v, %v", text, r, err)
		}
	}
	r := deliver(t, s.itop, m, s.desk)
	if got := s.facts(key, passerelle.PublicLog); len(got) != 5 || got[4] != r.Names[0] {
		t.Errorf("%v of %v", r.Names, got)
	}
}

func TestNearLetters(t *testing.T) {
	long := strings.Repeat("abcdefghij", 10)
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"abcdefghij", "abcdefghij", true}, {"abcdefghi", "abcdefghi", false}, {"abcdefghij", "abcdefghijk", true}, {"abcdefghijk", "abc defghij !", true},
		{long, long[:80], true}, {long, long[:79], false}, {long, long[20:], true}, {long, "x" + long[:90], false}, {"", "", false}, {"…", "!", false},
	} {
		if got := nearLetters(c.a, c.b); got != c.want {
			t.Errorf("%q, %q: %v", c.a, c.b, got)
		}
	}
	if sameLetters("?", "!") {
		t.Error("two texts without letters are not the same")
	}
}
