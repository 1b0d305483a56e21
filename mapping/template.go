package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path"
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
	public   bool            // it carries the public journal
	files    bool            // it carries attachments
	stimulus bool            // it changes the ticket's state
}

// node is one JSON value of a template, in the order of the file.
type node struct {
	members []member  // of an object
	items   []*node   // of an array
	object  bool      // {…}, even an empty one
	array   bool      // […]
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

// member is an object's value of that name, or nil.
func (n *node) member(name string) *node {
	for _, m := range n.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// plain is a string's text, if it has no placeholders.
func (n *node) plain() string {
	if len(n.text) == 1 {
		return n.text[0].text
	}
	return ""
}

// segment is plain text, or a placeholder $this->verb(field)$.
type segment struct {
	text  string
	verb  string // "" for plain $this->field$, else html, head_html, text, head, label, value
	field string
}

func readTemplates(fsys fs.FS, c *Contract, p *Problems) map[Send]*template {
	out := map[Send]*template{}
	for _, side := range []passerelle.Side{passerelle.Partner, passerelle.Requester} {
		dir := "to-" + string(side)
		names, _ := fs.Glob(fsys, dir+"/*.json")
		if len(names) == 0 {
			p.add(dir, 0, "put the annex's messages there, one a file", "holds no templates")
		}
		for _, file := range names {
			name := strings.TrimSuffix(path.Base(file), ".json")
			if name == NoteTemplate || name == NotifyTemplate {
				p.add(file, 0, "give the file another name", "%q means the gateway's own notes", name)
			}
			out[Send{side, name}] = readTemplate(fsys, file, side, c, p)
		}
	}
	return out
}

// readTemplate reads one file; without a root if it cannot.
func readTemplate(fsys fs.FS, file string, to passerelle.Side, c *Contract, p *Problems) *template {
	t := &template{file: file, to: to, fields: map[string]bool{}}
	b, err := fs.ReadFile(fsys, file)
	if err != nil {
		p.add(file, 0, "give the gateway's account the right to read it", "cannot be read: %v", err)
		return t
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	if !isUTF8(b, file, p) {
		return t
	}
	ps := &templateParser{t: t, src: b, dec: json.NewDecoder(bytes.NewReader(b)), c: c, p: p}
	ps.dec.UseNumber()
	root, err := ps.value()
	if err == nil {
		if _, more := ps.dec.Token(); more != io.EOF {
			err = errors.New("there is more after the message")
		}
	}
	if err == io.EOF {
		err = errors.New("it ends before the message does")
	}
	if err != nil {
		p.add(file, ps.line(), "check commas, quotes and braces near this line", "is not JSON: %v", err)
		return t
	}
	if !root.object {
		p.add(file, 1, "a message is an object { … }", "is not a message")
		return t
	}
	t.root = root
	t.files = t.fields["data"]
	t.stimulus = root.member("stimulus") != nil
	t.public = t.fields["public_log"]
	ps.checkOperation()
	ps.checkJournals(root, "")
	ps.checkLookups(root, false)
	return t
}

// operations are those that the annex uses (R26).
var operations = []string{"core/create", "core/update", "core/apply_stimulus", "syn/addattachment"}

func (ps *templateParser) checkOperation() {
	op, line := "", 1
	if n := ps.t.root.member("operation"); n != nil {
		op, line = n.plain(), n.line
	}
	if !slices.Contains(operations, op) {
		ps.p.add(ps.t.file, line, "one of "+strings.Join(operations, ", "), "operation is %q", op)
	}
	if op == "core/apply_stimulus" && !ps.t.stimulus {
		ps.p.add(ps.t.file, line, "add a stimulus such as ev_assign, or take core/update", "core/apply_stimulus without a stimulus")
	}
}

// checkJournals keeps the two journals apart: a private note must never come
// out public (R16).
func (ps *templateParser) checkJournals(n *node, name string) {
	if name == "" && ps.t.fields["public_log"] && ps.t.fields["private_log"] {
		ps.p.add(ps.t.file, 1, "make two templates of it", "names both the public and the private journal")
	}
	for _, s := range n.text {
		if name == "public_log" && s.field == "private_log" {
			ps.p.add(ps.t.file, n.line, "write it to private_log", "the private journal would be written to public_log")
		}
	}
	for _, m := range n.members {
		ps.checkJournals(m.value, m.name)
	}
	for _, item := range n.items {
		ps.checkJournals(item, name)
	}
}

// checkLookups reports a catalogue look-up outside a list: it may find several
// components (R7).
func (ps *templateParser) checkLookups(n *node, inList bool) {
	if n.oql != nil && !inList {
		ps.p.add(ps.t.file, n.line, "put it in a list, [ … ]: it may find several components", "a catalogue look-up stands outside a list")
	}
	for _, m := range n.members {
		ps.checkLookups(m.value, inList)
	}
	for _, item := range n.items {
		ps.checkLookups(item, true)
	}
}
