package mapping

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"slices"
	"strings"

	"passerelle"
	"passerelle/internal/richtext"
)

// str renders a string: its placeholders filled, once.
func (r *rendering) str(b *bytes.Buffer, n *node, path string) (bool, error) {
	if n.is("data") {
		if r.f != nil {
			b.WriteString(`"` + passerelle.DataToken + `"`)
		}
		return r.f != nil, nil
	}
	parts, err := r.parts(n)
	if err != nil {
		return false, err
	}
	rich := slices.ContainsFunc(parts, func(p part) bool { return p.html })
	var s strings.Builder
	for _, p := range parts {
		if rich && p.filled && !p.html { // a title beside a description is text, not markup
			p.text = html.EscapeString(p.text)
		}
		s.WriteString(p.text)
	}
	if n.dynamic && s.Len() == 0 {
		return false, nil
	}
	if rich {
		r.rich = append(r.rich, path)
	}
	writeString(b, s.String())
	return true, nil
}

// is tells whether a string is one placeholder of that field.
func (n *node) is(field string) bool { return len(n.text) == 1 && n.text[0].field == field }

// part is a segment, filled.
type part struct {
	text   string
	filled bool // from the ticket, not the template's own words
	html   bool
}

// parts fills each segment of a string.
func (r *rendering) parts(n *node) ([]part, error) {
	var out []part
	for _, seg := range n.text {
		if seg.field == "" {
			out = append(out, part{text: seg.text})
			continue
		}
		v, html, err := r.fill(seg)
		if err != nil {
			return nil, err
		}
		out = append(out, part{v, true, html})
	}
	return out, nil
}

// fill gives a placeholder's value and tells whether it is HTML.
func (r *rendering) fill(seg segment) (string, bool, error) {
	if seg.verb == catalogueVerb {
		entry, err := r.c.Catalogue.Entry(r.category())
		return entry[seg.field], false, err
	}
	v, special := r.special(seg.field)
	f := r.c.fieldOf(seg.field)
	isHTML := false
	if !special {
		v, isHTML = r.raw(f.Name), f.rich()
	}
	if !special && f.Type == "date" {
		v = r.c.dateFor(r.t.to, v)
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
		if !special {
			return r.value(f, v)
		}
	}
	return v, isHTML, nil
}

// category are the ticket's names for the catalogue, by field.
func (r *rendering) category() map[string]string {
	names := map[string]string{}
	for _, col := range r.c.Catalogue.Columns {
		names[col.Field] = r.raw(col.Field)
	}
	return names
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
	var f passerelle.File
	if r.f != nil {
		f = *r.f
	}
	switch name {
	case "data": // str writes the token
		return "", true
	case "filename":
		return f.Name, true
	case "mimetype":
		return f.MIME, true
	}
	return "", false
}

// writeString writes s as a JSON string. A person's text that holds the
// DataToken is written with its dollar escaped: the token stands for bytes once.
func writeString(b *bytes.Buffer, s string) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes; what is not UTF-8 becomes U+FFFD
	text := bytes.TrimSuffix(out.Bytes(), []byte("\n"))
	b.Write(bytes.ReplaceAll(text, []byte(passerelle.DataToken), []byte(`\u0024`+passerelle.DataToken[1:])))
}

// pathTo adds a name to a JSON path, its special characters escaped (gjson
// syntax).
func pathTo(path, name string) string {
	var s strings.Builder
	for _, c := range name {
		if c > ' ' && c <= '~' && !isPlain(c) {
			s.WriteByte('\\')
		}
		s.WriteRune(c)
	}
	if path == "" {
		return s.String()
	}
	return path + "." + s.String()
}

func isPlain(c rune) bool {
	return c == '_' || c == '-' || c == ':' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
