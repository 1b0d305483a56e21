package mapping

import (
	"fmt"
	"io/fs"
	"slices"
	"sort"
	"strings"

	"golang.org/x/text/unicode/norm"

	"passerelle"
)

// Field is one row of fields.csv: a piece of the ticket that the contract
// names, and what becomes of it.
type Field struct {
	Name    string // the contract's name, which is the requester's code: "title"
	Label   string // what people call it
	Type    string // text, html, log, date, key or id
	Create  string // required, optional, auto, or empty: not part of a create (R2)
	Frozen  bool   // may not change after creation (R13)
	Partner string // the partner tool's code, for what comes from there (R27)
	Rule    string
	line    int
}

var (
	fieldTypes   = []string{"text", "html", "log", "date", "key", "id"}
	fieldCreates = []string{"required", "optional", "auto", ""}
)

func readFields(fsys fs.FS, p *Problems) map[string]*Field {
	const file = "fields.csv"
	t := readTable(fsys, file, []string{"name", "label", "type", "create", "later", "partner", "rule"}, p)
	fields := map[string]*Field{}
	for _, r := range t.rows {
		f := &Field{Name: r.get("name"), Label: r.get("label"), Type: r.get("type"), Create: r.get("create"), Partner: r.get("partner"), Rule: r.get("rule"), line: r.line}
		switch {
		case f.Name == "":
			p.add(file, r.line, "give the requester's field code", "a field needs a name")
		case fields[f.Name] != nil:
			p.add(file, r.line, "keep one of them", "field %q is already on line %d", f.Name, fields[f.Name].line)
		case !slices.Contains(fieldTypes, f.Type):
			p.add(file, r.line, "one of "+strings.Join(fieldTypes, ", "), "field %q has type %q", f.Name, f.Type)
		case !slices.Contains(fieldCreates, f.Create):
			p.add(file, r.line, "required, optional, auto, or empty", "field %q: create is %q", f.Name, f.Create)
		}
		switch later := r.get("later"); later {
		case "frozen":
			f.Frozen = true
		case "free", "":
		default:
			p.add(file, r.line, "frozen, free or empty", "field %q: later is %q", f.Name, later)
		}
		fields[f.Name] = f
	}
	return fields
}

// value is one row of values.csv: a value of a field, in everybody's words.
type value struct {
	name      string   // the contract's word; "*" stands for any
	requester []string // the requester's words and ids for it
	partner   []string // the partner's, preferred first
	line      int
}

// values holds the rows of values.csv by field, in their order.
type values map[string][]value

func readValues(fsys fs.FS, fields map[string]*Field, p *Problems) values {
	const file = "values.csv"
	t := readTable(fsys, file, []string{"field", "value", "requester", "partner"}, p)
	vs := values{}
	for _, r := range t.rows {
		f, name := r.get("field"), r.get("value")
		if f != "status" && fields[f] == nil {
			p.add(file, r.line, "add it to fields.csv, or correct the name", "field %q is unknown", f)
			continue
		}
		if f == "status" && !slices.Contains(passerelle.States(), passerelle.State(name)) {
			p.add(file, r.line, "one of "+join(passerelle.States()), "status %q is no state", name)
			continue
		}
		v := value{name: name, requester: r.list("requester"), partner: r.list("partner"), line: r.line}
		if old, ok := vs.clash(f, v); ok {
			p.add(file, r.line, "a word may mean one value only", "field %q: %q is already on line %d", f, old, vs.lineOf(f, old))
		}
		vs[f] = append(vs[f], v)
	}
	return vs
}

func (vs values) clash(field string, v value) (string, bool) {
	for _, o := range vs[field] {
		if same(o.name, v.name) {
			return v.name, true
		}
		for _, w := range v.requester {
			if slices.ContainsFunc(o.requester, func(x string) bool { return same(x, w) }) {
				return w, true
			}
		}
	}
	return "", false
}

func (vs values) lineOf(field, word string) int {
	for _, o := range vs[field] {
		if same(o.name, word) || slices.ContainsFunc(o.requester, func(x string) bool { return same(x, word) }) {
			return o.line
		}
	}
	return 0
}

// canonical turns a tool's word for a value into the contract's. Fields
// without rows keep their words. An unknown word is an error that lists the
// known ones.
func (vs values) canonical(field string, from passerelle.Side, word string) (string, error) {
	rows := vs[field]
	if len(rows) == 0 || word == "" {
		return word, nil
	}
	for _, v := range rows {
		words := v.requester
		if from == passerelle.Partner {
			words = v.partner
		}
		if same(v.name, word) || slices.ContainsFunc(words, func(w string) bool { return same(w, word) }) {
			return v.name, nil
		}
	}
	if slices.ContainsFunc(rows, func(v value) bool { return v.name == "*" }) {
		return word, nil
	}
	return "", fmt.Errorf("%s « %s » is unknown", field, word)
}

// known lists the contract's words for a field, for hints.
func (vs values) known(field string) string {
	var names []string
	for _, v := range vs[field] {
		names = append(names, "« "+v.name+" »")
	}
	return strings.Join(names, ", ")
}

// words returns a side's words for a value of the contract, preferred first;
// ok is false when the table has no row for it.
func (vs values) words(field string, to passerelle.Side, name string) (words []string, ok bool) {
	var wild *value
	for i, v := range vs[field] {
		if v.name == "*" {
			wild = &vs[field][i]
		}
		if same(v.name, name) {
			return v.wordsFor(to), true
		}
	}
	if wild != nil {
		return wild.wordsFor(to), true
	}
	return nil, false
}

func (v value) wordsFor(to passerelle.Side) []string {
	words := v.partner
	if to == passerelle.Requester {
		words = v.requester
	}
	if len(words) == 0 && v.name != "*" {
		return []string{v.name}
	}
	return words
}

// signal is one row of signals.csv: what a tool's word means.
type signal struct {
	side  passerelle.Side
	word  string
	when  string // "field=value" that must hold too, or empty
	kind  passerelle.Kind
	line  int
	field string
	value string
}

func readSignals(fsys fs.FS, fields map[string]*Field, vs values, p *Problems) []signal {
	const file = "signals.csv"
	t := readTable(fsys, file, []string{"side", "signal", "when", "kind", "rule"}, p)
	var out []signal
	for _, r := range t.rows {
		s := signal{side: passerelle.Side(r.get("side")), word: r.get("signal"), when: r.get("when"), kind: passerelle.Kind(r.get("kind")), line: r.line}
		if s.side != passerelle.Requester && s.side != passerelle.Partner {
			p.add(file, r.line, "requester or partner", "side is %q", s.side)
		}
		if !slices.Contains(passerelle.Kinds(), s.kind) {
			p.add(file, r.line, "one of "+join(passerelle.Kinds()), "kind %q is unknown", s.kind)
		}
		if s.when != "" {
			var ok bool
			s.field, s.value, ok = strings.Cut(s.when, "=")
			if !ok || fields[s.field] == nil {
				p.add(file, r.line, "field=value with a field of fields.csv and a value of values.csv", "when is %q", s.when)
			} else if _, err := vs.canonical(s.field, passerelle.Broker, s.value); err != nil {
				p.add(file, r.line, "its values are "+vs.known(s.field), "when: %v", err)
			}
		}
		out = append(out, s)
	}
	// Rows with a condition are asked before those without.
	sort.SliceStable(out, func(i, j int) bool { return out[i].when != "" && out[j].when == "" })
	return out
}

// same compares two words as people write them: after NFC, with collapsed
// spaces, and ’ like ', … like ... (R7).
func same(a, b string) bool { return fold(a) == fold(b) }

var foldMarks = strings.NewReplacer("’", "'", "…", "...")

func fold(s string) string {
	return foldMarks.Replace(norm.NFC.String(strings.Join(strings.Fields(s), " ")))
}

func join[T ~string](list []T) string {
	s := make([]string, len(list))
	for i, v := range list {
		s[i] = string(v)
	}
	return strings.Join(s, ", ")
}
