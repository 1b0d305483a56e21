package mapping

import (
	"io/fs"
	"path"
	"regexp"
	"slices"

	"passerelle"
)

// Needs lists what the contract needs of one side's tool. fsys is the
// contract's folder: what a tool's own administrator is told to set up,
// from-requester and from-partner, is read here only.
func (c *Contract) Needs(side passerelle.Side, fsys fs.FS) *passerelle.Needs {
	n := &passerelle.Needs{Side: side}
	var files []string
	byFile := map[string]*template{}
	for s, t := range c.templates {
		if s.To == side {
			files, byFile[t.file] = append(files, t.file), t
		}
	}
	slices.Sort(files)
	for _, f := range files {
		n.Messages = append(n.Messages, c.messageNeed(byFile[f]))
	}
	for _, s := range passerelle.States() {
		if words := c.StatusWords(side, s); len(words) > 0 {
			n.Statuses = append(n.Statuses, passerelle.StatusNeed{State: s, Words: words})
		}
	}
	n.Reads, n.Teams = readPushed(fsys, "from-"+string(side))
	return n
}

func (c *Contract) messageNeed(t *template) passerelle.MessageNeed {
	m := passerelle.MessageNeed{File: t.file, Op: t.plainMember("operation"), Class: t.plainMember("class"), Stimulus: t.plainMember("stimulus"),
		Files: t.files, Comment: t.root.member("body") != nil}
	if fields := t.root.member("fields"); fields != nil {
		for _, f := range fields.members {
			switch f.name {
			case "project":
				m.Project = plainUnder(f.value, "key")
				continue
			case "issuetype":
				m.Type = plainUnder(f.value, "name")
			}
			m.Fields = append(m.Fields, c.fieldNeed(t, f))
		}
	}
	m.Moves, m.Whence = c.journeys(t)
	return m
}

func (t *template) plainMember(name string) string { return plainUnder(t.root, name) }

// plainUnder is the text of an object's member, if it has no placeholders.
func plainUnder(n *node, name string) string {
	if v := n.member(name); v != nil {
		return v.plain()
	}
	return ""
}

// fieldNeed looks through the wrapping of a field's value: {"name": …}, [ … ].
func (c *Contract) fieldNeed(t *template, m member) passerelle.FieldNeed {
	f := passerelle.FieldNeed{Code: m.name}
	if own := c.fieldAt(t.to, m.name); own != nil {
		f.Names = own.Type == "key"
	}
	nodes := []*node{m.value}
	if m.value.array {
		f.List, nodes = true, m.value.items
	}
	for _, n := range nodes {
		if n.object && len(n.members) == 1 {
			f.Member, n = n.members[0].name, n.members[0].value
		}
		f.Values = append(f.Values, c.possible(n, t.to)...)
	}
	return f
}

// fieldAt is the field that a side's tool has under a code.
func (c *Contract) fieldAt(side passerelle.Side, code string) *Field {
	if side == passerelle.Requester {
		return c.fields[code]
	}
	for _, f := range c.fields {
		if f.Partner == code {
			return f
		}
	}
	return nil
}

// possible are the values that may stand in a node, where the contract's tables
// or the template itself tell them; none where the ticket does.
func (c *Contract) possible(n *node, to passerelle.Side) []string {
	switch {
	case n.oql != nil:
		return c.Catalogue.targets(c.Catalogue.Targets[0])
	case n.object || n.array || len(n.text) != 1:
		return nil
	case n.text[0].verb == catalogueVerb:
		return c.Catalogue.targets(n.text[0].field)
	case n.text[0].field == "":
		return []string{n.text[0].text}
	case n.text[0].verb != "value":
		return nil
	}
	f := c.fieldOf(n.text[0].field)
	if f == nil {
		return nil
	}
	var out []string
	for _, v := range c.values[f.Name] {
		if words := v.wordsFor(to); len(words) > 0 && !slices.Contains(out, words[0]) {
			out = append(out, words[0])
		}
	}
	return out
}

// targets are the partner's names below a heading, each once.
func (c *Catalogue) targets(heading string) []string {
	var out []string
	for _, r := range c.rows {
		out = append(out, r.get(heading))
	}
	if name := c.Default[heading]; name != "" {
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// journeys are the changes of status that a template makes, and the statuses
// in which it is sent.
func (c *Contract) journeys(t *template) (moves []passerelle.Move, whence []string) {
	for _, r := range c.lifecycle.byLine() {
		if !slices.ContainsFunc(r.sends, func(s sending) bool { return c.template(s.Send) == t }) {
			continue
		}
		from, to := c.StatusWords(t.to, r.state), c.StatusWords(t.to, r.next)
		for _, w := range from {
			if !slices.Contains(whence, w) {
				whence = append(whence, w)
			}
		}
		known := slices.ContainsFunc(moves, func(m passerelle.Move) bool { return slices.Equal(m.From, from) && slices.Equal(m.To, to) })
		if t.stimulus && len(from) > 0 && !known {
			moves = append(moves, passerelle.Move{From: from, To: to})
		}
	}
	return moves, whence
}

var (
	teamName = regexp.MustCompile(`team_name\s*!?=\s*'([^']*)'`)
	pushed   = regexp.MustCompile(`\$this(?:->|-&gt;)(?:[a-z_]+\()?([A-Za-z0-9_]+)\)?\$`)
)

// readPushed reads what a tool's administrator is told to set up: the payloads
// that triggers.csv names, its filters, and the teams in them. What cannot be
// read is left out: it is no part of what the gateway carries out.
func readPushed(fsys fs.FS, dir string) (reads []passerelle.ReadNeed, teams []string) {
	triggers := path.Join(dir, "triggers.csv")
	b, err := fs.ReadFile(fsys, triggers)
	if err != nil {
		return nil, nil
	}
	records, lines, err := parseCSV(b)
	if err != nil || len(records) == 0 {
		return nil, nil
	}
	for _, r := range rowsOf(records, lines) {
		n := passerelle.ReadNeed{File: triggers, Class: r.get("class"), Filter: r.get("filter"), Fields: r.list("attcodes")}
		file := path.Join(dir, r.get("payload")+".json")
		if payload, err := fs.ReadFile(fsys, file); err == nil {
			n.File = file
			for _, m := range pushed.FindAllSubmatch(payload, -1) {
				n.Fields = append(n.Fields, string(m[1]))
			}
		}
		slices.Sort(n.Fields)
		n.Fields = slices.Compact(n.Fields)
		reads = append(reads, n)
		for _, m := range teamName.FindAllStringSubmatch(r.get("filter"), -1) {
			if !slices.Contains(teams, m[1]) {
				teams = append(teams, m[1])
			}
		}
	}
	return reads, teams
}
