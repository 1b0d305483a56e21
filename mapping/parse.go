package mapping

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// verbs are iTop's, value: the receiving side's word, by values.csv, and
// catalogue: the partner's name below a heading of catalogue.csv.
var verbs = []string{"html", "head_html", "text", "head", "label", "value", catalogueVerb}

const catalogueVerb = "catalogue"

// placeholder matches $this->field$ and $this->verb(field)$; the annex also
// prints the arrow as -&gt; and escapes underscores.
var placeholder = regexp.MustCompile(`\$this(?:->|-&gt;)([A-Za-z0-9_\\]+)(?:\(([A-Za-z0-9_\\]+)\))?\$`)

// stray finds what iTop would take for a placeholder and this program does not.
var stray = regexp.MustCompile(`\$this|%24this|\$[A-Za-z_]+(->|-&gt;)|\$[A-Z_]+\$`)

// specials are the placeholders that the broker fills from the link and the
// file at hand, whatever the fields table says (R26).
var specials = []string{"id", "ref", "customer_id", "customer_ref", "provider_id", "provider_ref", "data", "filename", "mimetype"}

// templateParser reads one message, and reports what its author got wrong.
type templateParser struct {
	t   *template
	src []byte
	dec *json.Decoder
	c   *Contract
	p   *Problems

	depth int
}

// maxDepth bounds how deep a message may be nested.
const maxDepth = 100

// line is the line that the decoder has come to.
func (ps *templateParser) line() int {
	n := min(int(ps.dec.InputOffset()), len(ps.src))
	return 1 + bytes.Count(ps.src[:n], []byte("\n"))
}

// value reads the next JSON value.
func (ps *templateParser) value() (*node, error) {
	tok, err := ps.dec.Token()
	if err != nil {
		return nil, err
	}
	n := &node{line: ps.line()}
	switch v := tok.(type) {
	case json.Delim:
		if ps.depth++; ps.depth > maxDepth {
			return nil, fmt.Errorf("nested more than %d deep", maxDepth)
		}
		defer func() { ps.depth-- }()
		if v == '{' {
			return n, ps.object(n)
		}
		return n, ps.array(n)
	case string:
		ps.str(n, v)
	case json.Number:
		n.literal = v.String()
	case bool:
		n.literal = fmt.Sprint(v)
	case nil:
		n.literal = "null"
	}
	return n, nil
}

func (ps *templateParser) object(n *node) error {
	n.object = true
	for ps.dec.More() {
		key, err := ps.dec.Token()
		if err != nil {
			return err
		}
		v, err := ps.value()
		if err != nil {
			return err
		}
		name := key.(string)
		ps.noStray(v, name)
		if n.member(name) != nil {
			ps.p.add(ps.t.file, v.line, "keep one of them", "%q stands twice in one object", name)
		}
		n.members = append(n.members, member{name, v})
		n.dynamic = n.dynamic || v.dynamic
	}
	_, err := ps.dec.Token()
	return err
}

func (ps *templateParser) array(n *node) error {
	n.array = true
	for ps.dec.More() {
		v, err := ps.value()
		if err != nil {
			return err
		}
		n.items = append(n.items, v)
		n.dynamic = n.dynamic || v.dynamic
	}
	_, err := ps.dec.Token()
	return err
}

func (ps *templateParser) str(n *node, s string) {
	n.text = ps.segments(n, s)
	if len(n.text) > 1 && slices.ContainsFunc(n.text, func(s segment) bool { return s.field == "data" }) {
		ps.p.add(ps.t.file, n.line, `write "data": "$this->data$"`, "a file's bytes stand alone in their string")
	}
	n.dynamic = len(n.text) > 1 || len(n.text) == 1 && n.text[0].field != ""
	if strings.HasPrefix(s, "SELECT ") {
		n.oql = ps.parseOQL(n, s)
	}
}

// segments splits a string at its placeholders and checks each.
func (ps *templateParser) segments(n *node, s string) []segment {
	var out []segment
	for s != "" {
		m := placeholder.FindStringSubmatchIndex(s)
		if m == nil {
			ps.noStray(n, s)
			return append(out, segment{text: s})
		}
		if m[0] > 0 {
			ps.noStray(n, s[:m[0]])
			out = append(out, segment{text: s[:m[0]]})
		}
		seg := segment{field: strings.ReplaceAll(s[m[2]:m[3]], `\`, "")}
		if m[4] >= 0 {
			seg.verb, seg.field = seg.field, strings.ReplaceAll(s[m[4]:m[5]], `\`, "")
		}
		ps.check(n, seg, s[m[0]:m[1]])
		out = append(out, seg)
		s = s[m[1]:]
	}
	return out
}

// noStray reports a $this that is no placeholder this program knows.
func (ps *templateParser) noStray(n *node, s string) {
	if m := stray.FindStringIndex(s); m != nil {
		ps.p.add(ps.t.file, n.line, "$this->field$ or $this->verb(field)$, with the verbs "+strings.Join(verbs, ", "), "unknown placeholder %q", beginning(s[m[0]:]))
	}
}

// beginning is a text's first 40 characters.
func beginning(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}

// check reports a placeholder that cannot be filled, and records what it names.
func (ps *templateParser) check(n *node, seg segment, written string) {
	if seg.verb != "" && !slices.Contains(verbs, seg.verb) {
		ps.p.add(ps.t.file, n.line, "the verbs are "+strings.Join(verbs, ", "), "unknown placeholder %q: no verb %q", written, seg.verb)
	}
	if seg.verb == catalogueVerb {
		ps.checkCatalogue(n, seg, written)
		return
	}
	if slices.Contains(specials, seg.field) {
		ps.t.fields[seg.field] = true
		return
	}
	f := ps.c.fieldOf(seg.field)
	if f == nil {
		ps.p.add(ps.t.file, n.line, "add it to fields.csv, or correct the name", "unknown placeholder %q: no field %q", written, seg.field)
		return
	}
	ps.t.fields[f.Name] = true
	unread := len(ps.c.values) == 0 && ps.p.in(valuesFile) // the table's own mistake is told
	if seg.verb == "value" && len(ps.c.values[f.Name]) == 0 && !unread {
		ps.p.add(ps.t.file, n.line, "add its values to values.csv", "%q: field %q has no values", written, f.Name)
	}
}

// checkCatalogue reports a heading that catalogue.csv does not have.
func (ps *templateParser) checkCatalogue(n *node, seg segment, written string) {
	if !slices.Contains(ps.c.Catalogue.Targets, seg.field) {
		ps.p.add(ps.t.file, n.line, "one of catalogue.target or catalogue.targets in contract.yaml", "unknown placeholder %q: the catalogue has no target %q", written, seg.field)
	}
	ps.c.Catalogue.named = true
	for _, col := range ps.c.Catalogue.Columns {
		ps.t.fields[col.Field] = true
	}
}

// fieldOf finds a field by its name, or "service_name" for "service_id", as
// iTop names what an external key points at.
func (c *Contract) fieldOf(name string) *Field {
	if f := c.fields[name]; f != nil {
		return f
	}
	if base, ok := strings.CutSuffix(name, "_name"); ok {
		return c.fields[base+"_id"]
	}
	return nil
}

// oql is a look-up of the catalogue written as the annex writes it: SELECT
// ServiceSubcategory WHERE name = "$this->servicesubcategory_name$" AND …. It is
// never run as a query: the fields it names are looked up in catalogue.csv.
type oql struct{ fields []string }

func (ps *templateParser) parseOQL(n *node, s string) *oql {
	q := &oql{}
	for _, seg := range n.text {
		if f := ps.c.fieldOf(seg.field); seg.field != "" && f != nil {
			q.fields = append(q.fields, f.Name)
		}
	}
	for _, col := range ps.c.Catalogue.Columns {
		if ps.c.fields[col.Field] != nil && !slices.Contains(q.fields, col.Field) {
			ps.p.add(ps.t.file, n.line, "name every column of the catalogue", "the look-up does not name %q", col.Field)
		}
	}
	if len(ps.c.Catalogue.Targets) > 1 {
		ps.p.add(ps.t.file, n.line, "write $this->catalogue(…)$ for each of its targets", "the look-up %q finds one name, but the catalogue has several targets", beginning(s))
	}
	if len(ps.c.Catalogue.Columns) == 0 && !ps.p.in(contractFile) {
		ps.p.add(ps.t.file, n.line, "describe catalogue.csv in contract.yaml", "the look-up %q needs a catalogue", beginning(s))
	}
	return q
}
