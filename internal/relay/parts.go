package relay

import (
	"fmt"
	"html"
	"strings"
	"unicode"

	"passerelle"
	"passerelle/internal/richtext"
	"passerelle/mapping"
	"passerelle/outbox"
)

// inParts has a private text that is too long for a side's tool travel as
// several private entries, in plain words: the first in the event itself, the
// others behind it.
func (j *judgement) inParts(e *passerelle.Event, field string, limit int, side passerelle.Side, step *mapping.Step) []*outbox.Entry {
	// Markup doubles a text at most; a third leaves room for what is put before it.
	parts := cut(richtext.Text(e.Fields[field]), limit/3)
	head := func(i int) string {
		return paragraphs(fmt.Sprintf("Passerelle : texte trop long pour cet outil, partie %d sur %d, sans mise en forme. Gateway: too long for this tool, part %d of %d.", i+1, len(parts), i+1, len(parts)))
	}
	var out []*outbox.Entry
	for i, text := range parts {
		part := *e
		part.Names, part.Fields = nil, map[string]string{field: head(i) + asHTML(text)}
		if i == 0 {
			e.Fields[field] = part.Fields[field]
			continue
		}
		for _, s := range step.Sends {
			if s.To == side && s.Template != mapping.NotifyTemplate {
				out = append(out, &outbox.Entry{Schema: outbox.EntrySchema, Contract: j.c.Name, Terms: j.c.Version, To: s.To, Template: s.Template, Event: &part,
					State: j.link.State, Turn: j.link.Turn, Rule: "R16", Status: outbox.Waiting})
			}
		}
	}
	return out
}

func asHTML(text string) string {
	return "<p>" + strings.ReplaceAll(html.EscapeString(text), "\n", "<br>") + "</p>"
}

// cut divides a text into parts of at most most characters, where a word ends if
// there is one in the last quarter.
func cut(text string, most int) []string {
	var parts []string
	rest := []rune(text)
	for most = max(most, 1); len(rest) > most; {
		at := most
		for i := most; i > most-most/4; i-- {
			if unicode.IsSpace(rest[i]) {
				at = i
				break
			}
		}
		parts, rest = append(parts, strings.TrimSpace(string(rest[:at]))), rest[at:]
	}
	return append(parts, strings.TrimSpace(string(rest)))
}
