package mapping

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"passerelle"
)

// NoteTemplate is the name by which lifecycle.csv sends the gateway's own
// notes; contract.yaml says which template carries them to each side.
const NoteTemplate = "note"

// template is one file of to-partner or to-requester: a JSON message with
// iTop's placeholders, as the annex prints them. It is parsed once, so that a
// value can never be taken for JSON or for a placeholder.
type template struct {
	file     string
	to       passerelle.Side
	root     *node
	fields   map[string]bool // every field it names
	public   bool            // it carries the public journal and not the private one
	files    bool            // it carries attachments
	stimulus bool            // it changes the ticket's state
}

// node is one JSON value of a template, in the order of the file.
type node struct {
	members []member  // of an object
	items   []*node   // of an array
	object  bool      //
	array   bool      //
	text    []segment // of a string
	literal string    // any other value, as written
	oql     *oql      // a string that asks iTop for a catalogue entry
	line    int       // where it begins
	dynamic bool      // it, or what it holds, has a placeholder
}

type member struct {
	name  string
	value *node
}

// segment is plain text, or a placeholder $this->verb(field)$.
type segment struct {
	text  string
	verb  string // "" for plain $this->field$, else html, head_html, text, head, label, value
	field string
}

var verbs = []string{"html", "head_html", "text", "head", "label", "value"}

// placeholder matches $this->field$ and $this->verb(field)$; the annex also
// prints the arrow as -&gt; and escapes underscores.
var placeholder = regexp.MustCompile(`\$this(?:->|-&gt;)([a-z_\\]+)(?:\(([a-z_\\]+)\))?\$`)

// specials are the placeholders that the broker fills from the link and the
// file at hand, whatever the fields table says (R26).
var specials = []string{"id", "ref", "customer_id", "customer_ref", "provider_id", "provider_ref", "data", "filename", "mimetype"}

func readTemplates(fsys fs.FS, c *Contract, p *Problems) map[Send]*template {
	out := map[Send]*template{}
	for dir, side := range map[string]passerelle.Side{"to-partner": passerelle.Partner, "to-requester": passerelle.Requester} {
		names, _ := fs.Glob(fsys, dir+"/*.json")
		if len(names) == 0 {
			p.add(dir, 0, "put the annex's messages there, one a file", "holds no templates")
		}
		for _, file := range names {
			if t := readTemplate(fsys, file, side, c, p); t != nil {
				out[Send{side, strings.TrimSuffix(path.Base(file), ".json")}] = t
			}
		}
	}
	return out
}

func readTemplate(fsys fs.FS, file string, to passerelle.Side, c *Contract, p *Problems) *template {
	b, err := fs.ReadFile(fsys, file)
	if err != nil {
		p.add(file, 0, "", "cannot be read: %v", err)
		return nil
	}
	t := &template{file: file, to: to, fields: map[string]bool{}}
	ps := &templateParser{t: t, src: b, dec: json.NewDecoder(bytes.NewReader(b)), c: c, p: p}
	ps.dec.UseNumber()
	root, err := ps.value()
	if err == nil {
		if _, more := ps.dec.Token(); more != io.EOF {
			err = fmt.Errorf("there is more after the message")
		}
	}
	if err != nil {
		p.add(file, ps.line(), "check commas, quotes and braces near this line", "is not JSON: %v", err)
		return nil
	}
	if !root.object {
		p.add(file, 1, "a message is an object { … }", "is not a message")
		return nil
	}
	t.root = root
	t.files = t.fields["data"]
	t.stimulus = slices.ContainsFunc(root.members, func(m member) bool { return m.name == "stimulus" })
	// R16: public only if it names the public journal and never the private one.
	t.public = t.fields["public_log"] && !t.fields["private_log"]
	return t
}

type templateParser struct {
	t   *template
	src []byte
	dec *json.Decoder
	c   *Contract
	p   *Problems
}

// line is the line that the decoder has come to.
func (ps *templateParser) line() int {
	n := min(int(ps.dec.InputOffset()), len(ps.src))
	return 1 + bytes.Count(ps.src[:n], []byte("\n"))
}

func (ps *templateParser) value() (*node, error) {
	tok, err := ps.dec.Token()
	if err != nil {
		return nil, err
	}
	n := &node{line: ps.line()}
	switch v := tok.(type) {
	case json.Delim:
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
		if slices.ContainsFunc(n.members, func(m member) bool { return m.name == name }) {
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
	if i := strings.Index(s, "$this"); i >= 0 {
		ps.p.add(ps.t.file, n.line, "$this->field$ or $this->verb(field)$, with the verbs "+strings.Join(verbs, ", "), "unknown placeholder %q", s[i:min(len(s), i+40)])
	}
}

func (ps *templateParser) check(n *node, seg segment, written string) {
	if seg.verb != "" && !slices.Contains(verbs, seg.verb) {
		ps.p.add(ps.t.file, n.line, "the verbs are "+strings.Join(verbs, ", "), "unknown placeholder %q: no verb %q", written, seg.verb)
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
	if seg.verb == "value" && len(ps.c.values[f.Name]) == 0 {
		ps.p.add(ps.t.file, n.line, "add its values to values.csv", "%q: field %q has no values", written, f.Name)
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
		if !slices.Contains(q.fields, col.Field) {
			ps.p.add(ps.t.file, n.line, "name every column of the catalogue", "the look-up does not name %q", col.Field)
		}
	}
	if len(ps.c.Catalogue.Columns) == 0 {
		ps.p.add(ps.t.file, n.line, "describe catalogue.csv in contract.yaml", "the look-up %q needs a catalogue", s[:min(len(s), 40)])
	}
	return q
}
