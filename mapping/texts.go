package mapping

import (
	"html"
	"slices"
	"strings"

	"passerelle"
	"passerelle/internal/richtext"
)

// RichFields are the event's fields whose texts are HTML and that a message of
// these sends shows, by name.
func (c *Contract) RichFields(e *passerelle.Event, sends []Send) []string {
	shown := func(name string) bool {
		return slices.ContainsFunc(sends, func(s Send) bool { t := c.template(s); return t != nil && t.fields[name] })
	}
	var out []string
	for name, v := range e.Fields {
		if f := c.fields[name]; v != "" && f != nil && f.rich() && shown(name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Label is what people call a field.
func (c *Contract) Label(field string) string {
	if f := c.fields[field]; f != nil && f.Label != "" {
		return f.Label
	}
	return field
}

// FileSends is where a file of the event's sender goes now, by the life cycle.
func (c *Contract) FileSends(l *passerelle.Link, e *passerelle.Event) []Send {
	r := c.lifecycle.find(l.State, e.From, passerelle.Attach)
	if r == nil || r.no {
		return nil
	}
	return c.sendsOf(r, e)
}

// BeginningLength is how much of a text that is too long is shown, in characters.
const BeginningLength = 1000

// Beginning is the first words of an HTML text, most characters of them, as HTML.
func (c *Contract) Beginning(text string, most int) string {
	words := []rune(richtext.Text(text[:min(len(text), 64*most)]))
	if len(words) < most+100 && len(text) > 64*most { // nearly all of that is markup
		words = []rune(richtext.Text(text))
	}
	if len(words) > most {
		words = append(words[:most], '…')
	}
	return "<p>" + strings.ReplaceAll(html.EscapeString(string(words)), "\n", "<br>") + "</p>"
}
