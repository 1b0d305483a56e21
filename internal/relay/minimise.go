package relay

import (
	"strings"
	"unicode/utf8"

	"passerelle"
	"passerelle/internal/richtext"
	"passerelle/mapping"
	"passerelle/outbox"
)

// minimal is what is stored of an admitted event: the fields that its messages may
// need. Of one that nobody is told of the trace alone is stored, with the names of
// the fact: what the contract does not carry is not ours to keep.
func minimal(c *mapping.Contract, e *passerelle.Event, sends []mapping.Send) (*passerelle.Event, *outbox.Trace) {
	if len(sends) == 0 {
		return outbox.Strip(e)
	}
	kept := *e
	kept.Fields = c.Carried(e, sends)
	return &kept, nil
}

// discreet takes out of an error what a tool quotes of the message's own texts:
// operators read errors, and the texts are none of their business.
func (d *delivery) discreet(words string) string {
	c := d.r.Contracts[d.e.Contract]
	if c == nil {
		return words
	}
	for _, name := range c.RichFields(d.e.Event, []mapping.Send{sendOf(d.e)}) {
		words = without(words, richtext.Text(d.e.Event.Fields[name]))
	}
	return words
}

const (
	// longWord is how long one word of a text is, in characters, to tell whose it is.
	longWord = 12
	// together is how many words of a text in a row do.
	together = 3
	// quoted is how much of a text is looked for, in bytes: tools quote beginnings.
	quoted = 64 << 10
)

// without leaves out of words what stands in a text too: long words, and several
// words in a row.
func without(words, text string) string {
	list := strings.Fields(text[:min(len(text), quoted)])
	for i, w := range list {
		if i+together <= len(list) {
			words = strings.ReplaceAll(words, strings.Join(list[i:i+together], " "), "[…]")
		}
		if utf8.RuneCountInString(w) >= longWord {
			words = strings.ReplaceAll(words, w, "[…]")
		}
	}
	return words
}
