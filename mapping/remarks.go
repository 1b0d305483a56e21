package mapping

import (
	"fmt"
	"slices"

	"passerelle"
)

// Remarks are what a contract's author should look at, though nothing is wrong
// with it: tickets that will be refused for what they may leave out, words that
// nothing answers to, messages that are never sent.
func (c *Contract) Remarks() Problems {
	var p Problems
	c.remarkCatalogue(&p)
	c.remarkSignals(&p)
	c.remarkTemplates(&p)
	_ = p.err() // sorts them
	return p
}

// note is add, for what is no mistake.
func (p *Problems) note(file string, line int, hint, format string, args ...any) {
	*p = append(*p, Problem{File: file, Line: line, Text: fmt.Sprintf(format, args...), Hint: hint})
}

const catalogueFile = "catalogue.csv"

// remarkCatalogue tells of optional columns that hardly are: where a ticket
// leaves one out, and all that is narrower, it fits several entries (R7).
func (c *Contract) remarkCatalogue(p *Problems) {
	if len(c.Catalogue.Default) > 0 {
		return
	}
	columns := c.Catalogue.Columns
	for i := len(columns) - 1; i >= 0 && columns[i].Optional; i-- {
		all, refused, lines := c.Catalogue.without(i)
		if refused == 0 {
			continue
		}
		p.note(catalogueFile, lines[0], "make it mandatory on the requester's form, or give catalogue.default",
			"a ticket without %s is refused for %d of the %d entries that are left, since several components fit: lines %s", columns[i].Column, refused, all, listFew(lines))
	}
}

// without counts the entries down to column i, and those of them that are
// ambiguous when a ticket says nothing narrower; lines are where these begin.
func (c *Catalogue) without(i int) (all, refused int, lines []int) {
	seen := map[string]bool{}
	for _, r := range c.rows {
		names, key := map[string]string{}, ""
		for _, col := range c.Columns[:i] {
			names[col.Field] = r.get(col.Column)
			key += fold(r.get(col.Column)) + "\x00"
		}
		if seen[key] {
			continue
		}
		seen[key] = true
		all++
		if _, ok := c.agreed(c.match(names)); !ok {
			refused, lines = refused+1, append(lines, r.line)
		}
	}
	return all, refused, lines
}

// listFew names the first six lines.
func listFew(lines []int) string {
	const most = 6
	if len(lines) <= most {
		return listLines(lines)
	}
	return listLines(lines[:most]) + " …"
}

// remarkSignals tells of words that mean an event which no row of the life
// cycle takes: it is always refused (R13).
func (c *Contract) remarkSignals(p *Problems) {
	for _, s := range c.signals {
		taken := slices.ContainsFunc(passerelle.States(), func(state passerelle.State) bool { return c.lifecycle.find(state, s.side, s.kind) != nil })
		if !taken {
			p.note(signalsFile, s.line, "add its rows to lifecycle.csv, or delete it", "no row of lifecycle.csv takes %q from the %s: « %s » is always refused, and its sender is told so each time", s.kind, s.side, s.word)
		}
	}
}

// remarkTemplates tells of messages that no row sends.
func (c *Contract) remarkTemplates(p *Problems) {
	sent := map[*template]bool{c.noteTemplate(passerelle.Requester): true, c.noteTemplate(passerelle.Partner): true}
	for _, r := range c.lifecycle.byLine() {
		for _, s := range r.sends {
			sent[c.template(s.Send)] = true
		}
	}
	for _, t := range c.templates {
		if !sent[t] {
			p.note(t.file, 0, "send it in lifecycle.csv, or delete the file", "is sent by no row of lifecycle.csv")
		}
	}
}
