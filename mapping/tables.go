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

// rich tells whether the field's text is HTML.
func (f *Field) rich() bool { return f.Type == "html" || f.Type == "log" }

var (
	fieldTypes   = []string{"text", "html", "log", "date", "key", "id"}
	fieldCreates = []string{"required", "optional", "auto", ""}
)

func readFields(fsys fs.FS, p *Problems) map[string]*Field {
	const file = "fields.csv"
	before := len(*p)
	t := readTable(fsys, file, []string{"name", "label", "type", "create", "later", "partner", "rule"}, p)
	fields, partner := map[string]*Field{}, map[string]*Field{}
	for _, r := range t.rows {
		f := &Field{Name: r.get("name"), Label: r.get("label"), Type: r.get("type"), Create: r.get("create"), Partner: r.get("partner"), Rule: r.get("rule"), line: r.line}
		switch {
		case f.Name == "":
			p.add(file, r.line, "give the requester's field code", "a field needs a name")
			continue
		case fields[f.Name] != nil:
			p.add(file, r.line, "keep one of them", "field %q is already on line %d", f.Name, fields[f.Name].line)
			continue
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
		if f.Frozen && f.Type == "log" {
			p.add(file, r.line, "leave later empty: lifecycle.csv says when somebody may write in it", "field %q: a journal cannot be frozen", f.Name)
		}
		if old := partner[f.Partner]; old != nil && f.Partner != "" {
			p.add(file, r.line, "one field for each of the partner's codes", "partner %q is already on line %d, for %q", f.Partner, old.line, old.Name)
		}
		fields[f.Name], partner[f.Partner] = f, f
	}
	if len(fields) == 0 && len(*p) == before {
		p.add(file, 0, "give each piece of the ticket a row", "names no fields")
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

const valuesFile = "values.csv"

func readValues(fsys fs.FS, fields map[string]*Field, p *Problems) values {
	const file = valuesFile
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
		if name == "" {
			p.add(file, r.line, "give the contract's word, or * for any", "field %q: value is empty", f)
			continue
		}
		v := value{name: name, requester: r.list("requester"), partner: r.list("partner"), line: r.line}
		if old, ok := vs.clash(f, v); ok && f != "status" { // two states may show one status
			p.add(file, r.line, "a word may mean one value only", "field %q: %q is already on line %d", f, old.word, old.line)
		}
		vs[f] = append(vs[f], v)
	}
	return vs
}

// clash is a word of the requester's with two meanings. The partner's may have
// several: two urgencies may be one over there.
type clash struct {
	word string
	line int // of the earlier row
}

func (vs values) clash(field string, v value) (clash, bool) {
	for _, o := range vs[field] {
		for _, w := range append([]string{v.name}, v.requester...) {
			if same(w, o.name) || holds(o.requester, w) {
				return clash{w, o.line}, true
			}
		}
	}
	return clash{}, false
}

func holds(words []string, w string) bool {
	return slices.ContainsFunc(words, func(x string) bool { return same(x, w) })
}

// has tells whether the table knows the contract's word; every word of a field
// without rows is known.
func (vs values) has(field, name string) bool {
	return len(vs[field]) == 0 || slices.ContainsFunc(vs[field], func(v value) bool { return v.name == "*" || same(v.name, name) })
}

// canonical turns a tool's word for a value into the contract's: the tool's own
// words come first, for « Haute » may mean « Critique » over there. Fields
// without rows keep their words; for others an unknown word is an error.
func (vs values) canonical(field string, from passerelle.Side, word string) (string, error) {
	rows := vs[field]
	if len(rows) == 0 || word == "" {
		return word, nil
	}
	for _, v := range rows {
		if holds(v.of(from), word) {
			return v.name, nil
		}
	}
	for _, v := range rows {
		if same(v.name, word) {
			return v.name, nil
		}
	}
	if vs.has(field, word) { // the row "*"
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

// of is what stands in a side's column.
func (v value) of(side passerelle.Side) []string {
	if side == passerelle.Partner {
		return v.partner
	}
	return v.requester
}

// wordsFor are a side's words; an empty cell means the contract's own.
func (v value) wordsFor(to passerelle.Side) []string {
	words := v.of(to)
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

const signalsFile = "signals.csv"

func readSignals(fsys fs.FS, fields map[string]*Field, vs values, p *Problems) []signal {
	t := readTable(fsys, signalsFile, []string{"side", "signal", "when", "kind", "rule"}, p)
	var out []signal
	for _, r := range t.rows {
		s := signal{side: passerelle.Side(r.get("side")), word: r.get("signal"), when: r.get("when"), kind: passerelle.Kind(r.get("kind")), line: r.line}
		s.field, s.value, _ = strings.Cut(s.when, "=")
		s.check(fields, vs, p)
		for _, o := range out {
			if o.side == s.side && same(o.word, s.word) && o.field == s.field && same(o.value, s.value) {
				p.add(signalsFile, r.line, "keep one of them", "%s, %s is already on line %d", s.side, s.word, o.line)
			}
		}
		out = append(out, s)
	}
	// Rows with a condition are asked before those without.
	sort.SliceStable(out, func(i, j int) bool { return out[i].when != "" && out[j].when == "" })
	return out
}

func (s signal) check(fields map[string]*Field, vs values, p *Problems) {
	if s.side != passerelle.Requester && s.side != passerelle.Partner {
		p.add(signalsFile, s.line, "requester or partner", "side is %q", s.side)
	}
	if s.word == "" {
		p.add(signalsFile, s.line, "give the tool's word: a stimulus or a status", "signal is empty")
	}
	if !slices.Contains(passerelle.Kinds(), s.kind) {
		p.add(signalsFile, s.line, "one of "+join(passerelle.Kinds()), "kind %q is unknown", s.kind)
	}
	if s.when == "" {
		return
	}
	if s.value == "" || fields[s.field] == nil {
		p.add(signalsFile, s.line, "field=value, with a field of fields.csv", "when is %q", s.when)
	} else if !vs.has(s.field, s.value) {
		p.add(signalsFile, s.line, "its values are "+vs.known(s.field), "when: %s « %s » is unknown", s.field, s.value)
	}
}

// same compares two words as people write them: after NFC, with collapsed
// spaces, and ’ like ', … like ... (R7).
func same(a, b string) bool { return a == b || fold(a) == fold(b) }

var foldMarks = strings.NewReplacer("’", "'", "…", "...")

// fold writes a word in the one way that same compares.
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
