package mapping

import (
	"passerelle"
)

// Carried are those of an admitted event's fields that its messages may need: what
// some template towards the sides that hear it names, the catalogue's columns
// among them. The rest is not the gateway's to keep: the person behind a generic
// reporter, an author who is not signed, what another party's tool said beside.
// A message that is rendered again under a corrected template finds what the
// templates of its day named. Of an event that sends nothing, nothing is carried.
func (c *Contract) Carried(e *passerelle.Event, sends []Send) map[string]string {
	out := map[string]string{}
	for name, v := range e.Fields {
		for _, s := range sends {
			if c.names(s.To, name) {
				out[name] = v
				break
			}
		}
	}
	return out
}

// names tells whether a template towards a side names a field.
func (c *Contract) names(to passerelle.Side, field string) bool {
	for s, t := range c.templates {
		if s.To == to && t.fields[field] {
			return true
		}
	}
	return false
}
