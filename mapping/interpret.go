package mapping

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"passerelle"
)

// LocalTime is how the requester's tool writes dates: local, without offset.
const LocalTime = "2006-01-02 15:04:05"

// OffsetTime is how Jira writes and wants dates.
const OffsetTime = "2006-01-02T15:04:05.000-0700"

// dateFor writes a date of the contract as a side's tool wants it.
func (c *Contract) dateFor(to passerelle.Side, v string) string {
	t, err := time.ParseInLocation(LocalTime, v, c.Zone)
	if err != nil || c.party(to).Dates == "local" {
		return v
	}
	return t.Format(OffsetTime)
}

// Interpret puts an event in the contract's words, in place: fields by the
// contract's names, values by its values table, dates in the requester's local
// time, an empty external key ("0") as empty, and the kind that the signal means.
// It may be asked once only about one event. Its errors are refusals
// (*passerelle.Error of class Refused).
func (c *Contract) Interpret(e *passerelle.Event) error {
	if e.From == passerelle.Partner {
		c.rename(e)
	}
	c.tidy(e)
	if err := c.translate(e); err != nil {
		return err
	}
	if e.Kind == "" {
		return c.signify(e)
	}
	return nil
}

// rename turns the partner tool's field codes into the contract's names (R27).
// What the contract does not name is left out: it is not ours to carry.
func (c *Contract) rename(e *passerelle.Event) {
	out := map[string]string{}
	for name, v := range e.Fields {
		if c.fields[name] != nil || name == "author" {
			out[name] = v
		}
	}
	for _, f := range c.fields {
		if v, ok := e.Fields[f.Partner]; ok && f.Partner != "" && f.Partner != f.Name {
			out[f.Name] = v
		}
	}
	e.Fields = out
}

// tidy takes a tool's habits out of the values.
func (c *Contract) tidy(e *passerelle.Event) {
	foreign := e.From == passerelle.Partner || c.party(e.From).Dates == "offset"
	for name, v := range e.Fields {
		switch f := c.fields[name]; {
		case f == nil:
		case f.Type == "key" && v == "0": // iTop's empty external key
			e.Fields[name] = ""
		case f.Type == "date" && foreign:
			e.Fields[name] = c.localDate(v)
		}
	}
}

// localDate writes a foreign date as the requester's tool wants it: a date
// alone means the end of that day (R18). What is no date stays as it is, for
// the tool to refuse by name.
func (c *Contract) localDate(v string) string {
	if t, err := time.ParseInLocation("2006-01-02", v, c.Zone); err == nil {
		return t.Format("2006-01-02") + " 23:59:59"
	}
	for _, layout := range []string{OffsetTime, time.RFC3339} {
		if t, err := time.Parse(layout, v); err == nil {
			return t.In(c.Zone).Format(LocalTime)
		}
	}
	return v
}

// translate replaces values by the contract's own words. Those of a create must
// all be known (R8, R9); elsewhere an unknown word stays as it is.
func (c *Contract) translate(e *passerelle.Event) error {
	for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
		word := e.Fields[name]
		v, err := c.values.canonical(name, e.From, word)
		if err == nil {
			e.Fields[name] = v
			continue
		}
		f := c.fields[name]
		if e.Kind != passerelle.Create || f == nil || f.Create == "" {
			continue
		}
		known := c.values.known(name)
		return &passerelle.Error{Op: "create", Class: passerelle.Refused, Ticket: e.Ticket(), Rule: f.Rule, Err: err, Hint: "it is one of " + known,
			Local: fmt.Sprintf("%s (%s) : « %s » est une valeur inconnue ; valeurs admises : %s", f.Label, name, word, known)}
	}
	return nil
}

// signify finds what a tool's signal means.
func (c *Contract) signify(e *passerelle.Event) error {
	var known, connus []string
	for _, s := range c.signals {
		if s.side != e.From {
			continue
		}
		if same(s.word, e.Signal) && (s.when == "" || same(e.Fields[s.field], s.value)) {
			e.Kind = s.kind
			return nil
		}
		known, connus = append(known, c.describe(s, "with", "or")), append(connus, c.describe(s, "avec", "ou"))
	}
	return &passerelle.Error{Op: "event", Class: passerelle.Refused, Ticket: e.Ticket(), Rule: "R13",
		Err:   fmt.Errorf("« %s » from the %s%s means nothing in contract %s", e.Signal, e.From, c.given(e), c.Name),
		Local: fmt.Sprintf("« %s » n'est pas prévu par le contrat, qui connaît : %s", e.Signal, strings.Join(connus, ", ")),
		Hint:  "known: " + strings.Join(known, ", ")}
}

// describe writes a row of signals.csv in its side's own words; with and or are
// the reader's language.
func (c *Contract) describe(s signal, with, or string) string {
	if s.when == "" {
		return s.word
	}
	words, ok := c.values.words(s.field, s.side, s.value)
	if !ok {
		words = []string{s.value}
	}
	return s.word + " " + with + " " + s.field + " " + strings.Join(words, " "+or+" ")
}

// given tells the fields that decide between several meanings of a signal.
func (c *Contract) given(e *passerelle.Event) string {
	for _, s := range c.signals {
		if s.side == e.From && same(s.word, e.Signal) && s.field != "" {
			if e.Fields[s.field] == "" {
				return " without " + s.field
			}
			return fmt.Sprintf(" with %s « %s »", s.field, e.Fields[s.field])
		}
	}
	return ""
}
