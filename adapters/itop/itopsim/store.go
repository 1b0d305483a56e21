package itopsim

import (
	"maps"
	"sort"
	"strconv"
	"strings"
)

// record is one stored object. vals holds, by attribute: string; int for a
// key; []entry for a log; *blob for a file. What is derived is not in it.
type record struct {
	class *class
	id    int
	vals  map[string]any
}

// entry is one entry of a case log.
type entry struct {
	date   string
	login  string // friendly name of the author
	userID any    // "2" (string) for an account, 0 (int) for a foreign author
	text   string
	html   string
}

// blob is an attached file.
type blob struct {
	data     []byte
	name     string
	mimetype any // string or nil
}

func (r *record) clone() *record {
	return &record{class: r.class, id: r.id, vals: maps.Clone(r.vals)}
}

func (r *record) set(name string, v any) { r.vals[name] = v }

// text is the stored scalar as text; "" where nothing is stored.
func (r *record) text(name string) string {
	switch v := r.vals[name].(type) {
	case string:
		return v
	case int:
		return strconv.Itoa(v)
	}
	return ""
}

func (r *record) key(name string) int {
	id, _ := r.vals[name].(int)
	return id
}

func (r *record) log(name string) []entry {
	l, _ := r.vals[name].([]entry)
	return l
}

func (r *record) friendly() string {
	if r.class.naming == nil {
		return ""
	}
	return r.class.naming(r)
}

// store holds every object by root class and id.
type store struct {
	model *model
	byID  map[string]map[int]*record
	next  map[string]int
	refs  int // the last R-number given
}

func newStore(m *model) *store {
	return &store{model: m, byID: map[string]map[int]*record{}, next: map[string]int{}}
}

func (s *store) add(r *record) {
	root := s.model.root(r.class.name)
	if s.byID[root] == nil {
		s.byID[root] = map[int]*record{}
	}
	if r.id == 0 {
		r.id = s.next[root] + 1
	}
	s.next[root] = max(s.next[root], r.id)
	s.byID[root][r.id] = r
}

func (s *store) remove(r *record) { delete(s.byID[s.model.root(r.class.name)], r.id) }

// find returns the object of a class (or of one below it), or nil.
func (s *store) find(class string, id int) *record {
	if s.model.classes[class] == nil {
		return nil
	}
	r := s.byID[s.model.root(class)][id]
	if r == nil || !s.model.isA(r.class.name, class) {
		return nil
	}
	return r
}

// all lists the objects of a class in the order in which iTop gives them:
// tickets by reference, descending, as text; the rest by friendly name where
// iTop's own order is known to be that, else by id.
func (s *store) all(class string) []*record {
	var out []*record
	for _, r := range s.byID[s.model.root(class)] {
		if s.model.isA(r.class.name, class) {
			out = append(out, r)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].id < out[j].id })
	switch {
	case s.model.classes[class].descOrder:
		sort.SliceStable(out, func(i, j int) bool { return out[i].friendly() > out[j].friendly() })
	case s.model.root(class) == "Attachment":
	default:
		sort.SliceStable(out, func(i, j int) bool { return strings.ToLower(out[i].friendly()) < strings.ToLower(out[j].friendly()) })
	}
	return out
}

// value is an attribute as text, derived ones included.
func (s *store) value(r *record, a *attr) string {
	switch a.kind {
	case kField:
		return s.follow(r, a)
	case kMeta:
		return s.meta(r, a.name)
	case kKey:
		return strconv.Itoa(r.key(a.name))
	case kWatch:
		return "0"
	case kSecret:
		return "*****"
	case kLog:
		return logText(r.log(a.name))
	case kBlob:
		if b, ok := r.vals[a.name].(*blob); ok {
			return string(b.data)
		}
		return ""
	}
	return r.text(a.name)
}

// named is value by name, "" where the class has no such attribute.
func (s *store) named(r *record, name string) string {
	if name == "id" {
		return strconv.Itoa(r.id)
	}
	a := r.class.attr(name)
	if a == nil {
		return ""
	}
	return s.value(r, a)
}

// follow reads an external field; a key to nothing gives "".
func (s *store) follow(r *record, a *attr) string {
	via := r.class.attr(a.via)
	id := s.value(r, via)
	target := s.targetOf(r.class, via)
	n, _ := strconv.Atoi(id)
	o := s.find(target, n)
	if o == nil {
		return s.nothing(target, a.of)
	}
	return s.named(o, a.of)
}

// nothing is what an external field shows when its key is 0.
func (s *store) nothing(target, of string) string {
	c := s.model.classes[target]
	if c == nil {
		return ""
	}
	if b := c.attr(of); b != nil && b.kind == kEnum {
		return b.def
	}
	return ""
}

// targetOf is the class that a key, or an external field that is a key, points at.
func (s *store) targetOf(c *class, a *attr) string {
	for a != nil && a.kind == kField {
		next := s.model.classes[s.targetOf(c, c.attr(a.via))]
		if next == nil {
			return ""
		}
		c, a = next, next.attr(a.of)
	}
	if a == nil {
		return ""
	}
	return a.target
}

func (s *store) meta(r *record, name string) string {
	switch name {
	case "finalclass":
		return r.class.name
	case "friendlyname":
		return r.friendly()
	case "operational_status":
		return operationalStatus(r.text("status"))
	}
	return ""
}
