package mapping

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"

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

// Render puts an event in the words of the side that will hear it: one message
// named id, or for a template that carries files one a file, named id/1, id/2 …
// (R24). state is the link's after the event: where a change of state is to lead
// (R11). The two results are of one length: where a message could not be made it
// is nil and its error stands in the second, *TooBig for a file that cannot
// travel, or an *Error of class Stuck.
func (c *Contract) Render(s Send, e *passerelle.Event, l *passerelle.Link, state passerelle.State, id string) ([]*passerelle.Message, []error) {
	if s.Template == NotifyTemplate {
		m, err := c.renderNotify(e, l, state, id)
		return []*passerelle.Message{m}, []error{err}
	}
	t := c.template(s)
	if t == nil {
		return []*passerelle.Message{nil}, []error{passerelle.Errorf(passerelle.Stuck, "render", "%s: contract %s %s has no template %s:%s", l.Names(), c.Name, c.Version, s.To, s.Template)}
	}
	if !t.files {
		m, err := c.renderOne(t, e, l, state, nil)
		if m != nil {
			m.ID = id
		}
		return []*passerelle.Message{m}, []error{err}
	}
	var ms []*passerelle.Message
	var errs []error
	for i := range e.Files {
		m, err := c.renderOne(t, e, l, state, &e.Files[i])
		if m != nil {
			m.ID = id + "/" + strconv.Itoa(i+1)
		}
		ms, errs = append(ms, m), append(errs, err)
	}
	return ms, errs
}

func (c *Contract) renderOne(t *template, e *passerelle.Event, l *passerelle.Link, state passerelle.State, f *passerelle.File) (*passerelle.Message, error) {
	r := &rendering{c: c, t: t, e: e, l: l, f: f}
	var b bytes.Buffer
	if _, err := r.write(&b, t.root, ""); err != nil {
		return nil, &passerelle.Error{Op: "render " + t.file, Class: passerelle.Stuck, Ticket: l.Names(), Err: err, Hint: "correct the contract's tables and retry"}
	}
	m := &passerelle.Message{Op: t.root.member("operation").plain(), To: t.to, Kind: e.Kind, Key: l.Ref(t.to).Key, Number: l.Ref(t.to).Number, Public: t.public, Body: b.Bytes(), Rich: r.rich}
	if t.stimulus {
		m.Goals = c.StatusWords(t.to, state) // R11, R15
	}
	if f != nil {
		m.Files = []passerelle.File{*f}
	}
	if err := c.fits(m, t, l); err != nil {
		return nil, err
	}
	return m, nil
}

// fits checks the size that a message will have on the wire, its file's base64
// included (R24).
func (c *Contract) fits(m *passerelle.Message, t *template, l *passerelle.Link) error {
	size := int64(len(m.Body))
	for _, f := range m.Files {
		size += int64(base64.StdEncoding.EncodedLen(int(f.Size))) - int64(len(passerelle.DataToken))
	}
	switch {
	case size <= c.LimitBytes:
		return nil
	case len(m.Files) > 0:
		return &TooBig{File: m.Files[0], Size: size, Limit: c.LimitBytes}
	}
	return &passerelle.Error{Op: "render " + t.file, Class: passerelle.Stuck, Ticket: l.Names(), Rule: "R24",
		Err: fmt.Errorf("the message has %d bytes, over the limit of %d", size, c.LimitBytes), Hint: "raise limit_bytes, or drop it and write to the other side by hand"}
}

// rendering is one template being filled.
type rendering struct {
	c    *Contract
	t    *template
	e    *passerelle.Event
	l    *passerelle.Link
	f    *passerelle.File
	rich []string // paths of HTML texts
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
		left, err := r.write(&v, m.value, pathTo(path, m.name))
		if err != nil {
			return false, err
		}
		if !left {
			continue
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
			left, err := r.write(&v, alt, pathTo(path, strconv.Itoa(count)))
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
	found, err := r.c.Catalogue.Components(r.category())
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

// SameText tells whether two HTML texts say the same words, as a journal's
// entries are compared.
func SameText(a, b string) bool { return richtext.Identity(a) == richtext.Identity(b) }
