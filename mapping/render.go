package mapping

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"passerelle"
	"passerelle/internal/richtext"
)

// TooBig is the error of Render when one file cannot travel within the
// contract's limit even alone (R24).
type TooBig struct {
	File  passerelle.File
	Size  int64 // of the message with the file, bytes
	Limit int64 // bytes
}

// Error says what is too big, by how much.
func (e *TooBig) Error() string {
	return fmt.Sprintf("« %s » would make a message of %d bytes, over the limit of %d [R24]", e.File.Name, e.Size, e.Limit)
}

// Render puts an event in the words of the side that will hear it: one
// message, or one a file for an event with files. state is the link's after the event: where
// a change of state is to lead. Message ids are id, or
// id/1, id/2 …. A file that cannot travel is a *TooBig error for that
// message, which is returned in its place in the second result.
func (c *Contract) Render(s Send, e *passerelle.Event, l *passerelle.Link, state passerelle.State, id string) ([]*passerelle.Message, []error) {
	t := c.templates[s]
	if s.Template == NoteTemplate {
		t = c.noteTemplate(s.To)
	}
	if t == nil {
		return nil, []error{passerelle.Errorf(passerelle.Stuck, "render", "%s: contract %s %s has no template %s:%s", l.Names(), c.Name, c.Version, s.To, s.Template)}
	}
	if !t.files {
		m, err := c.renderOne(t, e, l, state, nil)
		return finish([]*passerelle.Message{m}, []error{err}, id, false)
	}
	var ms []*passerelle.Message
	var errs []error
	for i := range e.Files {
		m, err := c.renderOne(t, e, l, state, &e.Files[i])
		ms, errs = append(ms, m), append(errs, err)
	}
	return finish(ms, errs, id, true)
}

func finish(ms []*passerelle.Message, errs []error, id string, parts bool) ([]*passerelle.Message, []error) {
	for i, m := range ms {
		if m == nil {
			continue
		}
		if m.ID = id; parts {
			m.ID += "/" + strconv.Itoa(i+1)
		}
	}
	return ms, errs
}

func (c *Contract) renderOne(t *template, e *passerelle.Event, l *passerelle.Link, state passerelle.State, f *passerelle.File) (*passerelle.Message, error) {
	r := &rendering{c: c, t: t, e: e, l: l, f: f}
	var b bytes.Buffer
	if _, err := r.write(&b, t.root, ""); err != nil {
		return nil, &passerelle.Error{Op: "render " + t.file, Class: passerelle.Stuck, Ticket: l.Names(), Err: err, Hint: "correct the contract's tables and retry"}
	}
	m := &passerelle.Message{To: t.to, Kind: e.Kind, Key: l.Ref(t.to).Key, Number: l.Ref(t.to).Number, Public: t.public, Body: b.Bytes(), Rich: r.rich}
	m.Op = r.op
	if t.stimulus {
		m.Goals = c.StatusWords(t.to, state) // R11, R15
	}
	size := int64(b.Len())
	if f != nil {
		m.Files = []passerelle.File{*f}
		size += int64(base64.StdEncoding.EncodedLen(int(f.Size))) - int64(len(passerelle.DataToken))
	}
	if size > c.LimitBytes {
		if f != nil {
			return nil, &TooBig{File: *f, Size: size, Limit: c.LimitBytes}
		}
		return nil, &passerelle.Error{Op: "render " + t.file, Class: passerelle.Stuck, Ticket: l.Names(), Rule: "R24",
			Err: fmt.Errorf("the message has %d bytes, over the limit of %d", size, c.LimitBytes), Hint: "raise limit_bytes, or drop it and write to the other side by hand"}
	}
	return m, nil
}

// rendering is one template being filled.
type rendering struct {
	c    *Contract
	t    *template
	e    *passerelle.Event
	l    *passerelle.Link
	f    *passerelle.File
	rich []string // paths of HTML texts
	op   string
}

// write renders n and tells whether anything is left of it: a string whose
// placeholders are all empty is left out, with the object around it if that
// was all it held (R18: no date = the field is omitted).
func (r *rendering) write(b *bytes.Buffer, n *node, path string) (bool, error) {
	switch {
	case n.object:
		return r.object(b, n, path)
	case n.array:
		return r.array(b, n, path)
	case n.text != nil || n.literal == "":
		return r.str(b, n, path)
	}
	b.WriteString(n.literal)
	return true, nil
}

func (r *rendering) object(b *bytes.Buffer, n *node, path string) (bool, error) {
	b.WriteByte('{')
	count := 0
	for _, m := range n.members {
		var v bytes.Buffer
		left, err := r.write(&v, m.value, join2(path, m.name))
		if err != nil {
			return false, err
		}
		if !left {
			continue
		}
		if path == "" && m.name == "operation" {
			r.op = m.value.plain()
		}
		if count++; count > 1 {
			b.WriteByte(',')
		}
		writeString(b, m.name)
		b.WriteByte(':')
		b.Write(v.Bytes())
	}
	b.WriteByte('}')
	return count > 0 || !n.dynamic, nil
}

func (r *rendering) array(b *bytes.Buffer, n *node, path string) (bool, error) {
	b.WriteByte('[')
	count := 0
	for _, item := range n.items {
		alts, err := r.alternatives(item)
		if err != nil {
			return false, err
		}
		for _, alt := range alts {
			var v bytes.Buffer
			left, err := r.write(&v, alt, join2(path, strconv.Itoa(count)))
			if err != nil {
				return false, err
			}
			if !left {
				continue
			}
			if count++; count > 1 {
				b.WriteByte(',')
			}
			b.Write(v.Bytes())
		}
	}
	b.WriteByte(']')
	return count > 0 || !n.dynamic, nil
}

// alternatives repeats an array's item for each component that its catalogue
// look-up finds (R7: a tuple may map to several).
func (r *rendering) alternatives(n *node) ([]*node, error) {
	q := findOQL(n)
	if q == nil {
		return []*node{n}, nil
	}
	names := map[string]string{}
	for _, f := range q.fields {
		names[f] = r.raw(f)
	}
	found, err := r.c.Catalogue.Components(names)
	if err != nil {
		return nil, err
	}
	var out []*node
	for _, component := range found {
		out = append(out, withOQL(n, component))
	}
	return out, nil
}

func findOQL(n *node) *oql {
	if n.oql != nil {
		return n.oql
	}
	for _, m := range n.members {
		if q := findOQL(m.value); q != nil {
			return q
		}
	}
	return nil
}

// withOQL copies n with its look-up replaced by what was found.
func withOQL(n *node, found string) *node {
	c := *n
	if n.oql != nil {
		c.oql, c.text = nil, []segment{{text: found}}
		return &c
	}
	c.members = nil
	for _, m := range n.members {
		c.members = append(c.members, member{m.name, withOQL(m.value, found)})
	}
	return &c
}

func (r *rendering) str(b *bytes.Buffer, n *node, path string) (bool, error) {
	var s strings.Builder
	rich := false
	for _, seg := range n.text {
		if seg.field == "" {
			s.WriteString(seg.text)
			continue
		}
		v, html, err := r.fill(seg)
		if err != nil {
			return false, err
		}
		rich = rich || html
		s.WriteString(v)
	}
	if n.dynamic && s.Len() == 0 && len(n.text) == 1 {
		return false, nil
	}
	if rich {
		r.rich = append(r.rich, path)
	}
	writeString(b, s.String())
	return true, nil
}

// plain is a string node's text without placeholders.
func (n *node) plain() string {
	if len(n.text) == 1 {
		return n.text[0].text
	}
	return ""
}

// fill gives a placeholder's value and tells whether it is HTML.
func (r *rendering) fill(seg segment) (string, bool, error) {
	if v, ok := r.special(seg.field); ok {
		return v, false, nil
	}
	f := r.c.fieldOf(seg.field)
	v := r.raw(f.Name)
	isHTML := f.Type == "html" || f.Type == "log"
	if f.Type == "date" {
		return r.c.dateFor(r.t.to, v), false, nil
	}
	switch seg.verb {
	case "html", "head_html":
		if !isHTML {
			v = richtext.Escape(v)
		}
		return v, true, nil
	case "text", "head":
		if isHTML {
			v = richtext.Text(v)
		}
		return v, false, nil
	case "value":
		return r.value(f, v)
	}
	return v, isHTML, nil
}

// value is the receiving side's word for a value of the contract.
func (r *rendering) value(f *Field, v string) (string, bool, error) {
	if v == "" {
		return "", false, nil
	}
	words, ok := r.c.values.words(f.Name, r.t.to, v)
	if !ok {
		return "", false, fmt.Errorf("%s: values.csv has no row for « %s » (it has %s)", f.Name, v, r.c.values.known(f.Name))
	}
	if len(words) == 0 { // the row "*" without a word for this side: as it is
		return v, false, nil
	}
	return words[0], false, nil
}

// raw is a field's value: the event's, or else what the create said.
func (r *rendering) raw(name string) string {
	if v, ok := r.e.Fields[name]; ok {
		return v
	}
	return r.l.Facts[name]
}

// special gives the placeholders that the broker fills itself. Towards the
// partner $this is the broker's own ticket; towards the requester, its ref and
// id are the partner's (R26).
func (r *rendering) special(name string) (string, bool) {
	own := r.l.Own
	if r.t.to == passerelle.Requester {
		own = r.l.Partner
	}
	switch name {
	case "id":
		return own.Key, true
	case "ref":
		return own.Number, true
	case "customer_id":
		return r.l.Requester.Key, true
	case "customer_ref":
		return r.l.Requester.Number, true
	case "provider_id":
		return r.l.Partner.Key, true
	case "provider_ref":
		return r.l.Partner.Number, true
	}
	return r.fileSpecial(name)
}

func (r *rendering) fileSpecial(name string) (string, bool) {
	if r.f == nil {
		return "", name == "data" || name == "filename" || name == "mimetype"
	}
	switch name {
	case "data":
		return passerelle.DataToken, true
	case "filename":
		return r.f.Name, true
	case "mimetype":
		return r.f.MIME, true
	}
	return "", false
}

func writeString(b *bytes.Buffer, s string) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(strings.ToValidUTF8(s, "\ufffd")) // a string always encodes
	b.Truncate(b.Len() - 1)                          // Encode ends with a newline
}

func join2(path, name string) string {
	name = strings.NewReplacer(".", `\.`, "*", `\*`, "?", `\?`).Replace(name)
	if path == "" {
		return name
	}
	return path + "." + name
}
