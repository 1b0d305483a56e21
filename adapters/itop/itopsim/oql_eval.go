package itopsim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// search runs one query over the store.
type search struct {
	store   *store
	now     time.Time // the database's clock
	contact int       // :current_contact_id
	subs    map[*query]map[string]bool
}

// row binds aliases to objects.
type row map[string]*record

// run gives the objects that a query asks for, in iTop's default order.
func (s *search) run(q *query) ([]*record, error) {
	if err := s.check(q); err != nil {
		return nil, err
	}
	var out []*record
	seen := map[*record]bool{}
	for _, r := range s.store.all(q.from.class) {
		err := s.rows(q, row{q.from.alias: r}, q.joins, func(found row) error {
			ok, err := s.truth(q.where, found)
			if r := found[q.want]; err == nil && ok && !seen[r] {
				seen[r] = true
				out = append(out, r)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return s.sorted(out), nil
}

// sorted restores the default order of the class that a join may have lost.
func (s *search) sorted(out []*record) []*record {
	if len(out) < 2 {
		return out
	}
	rank := map[*record]int{}
	for i, r := range s.store.all(s.store.model.root(out[0].class.name)) {
		rank[r] = i
	}
	slices.SortStableFunc(out, func(a, b *record) int { return rank[a] - rank[b] })
	return out
}

// matches tells whether one object is among those that a query gives.
func (s *search) matches(q *query, r *record) (bool, error) {
	if !s.store.model.isA(r.class.name, q.from.class) {
		return false, nil
	}
	if len(q.joins) > 0 {
		all, err := s.run(q)
		return slices.Contains(all, r), err
	}
	if err := s.check(q); err != nil {
		return false, err
	}
	return s.truth(q.where, row{q.from.alias: r})
}

// rows extends a row by every joined object in turn.
func (s *search) rows(q *query, r row, joins []join, yield func(row) error) error {
	if len(joins) == 0 {
		return yield(r)
	}
	j := joins[0]
	mine, other := j.left, j.right
	if other.alias == j.alias {
		mine, other = other, mine
	}
	want := s.fieldValue(r, other)
	for _, o := range s.candidates(j, mine, want) {
		r[j.alias] = o
		if err := s.rows(q, r, joins[1:], yield); err != nil {
			return err
		}
	}
	delete(r, j.alias)
	return nil
}

func (s *search) candidates(j join, mine fieldRef, want string) []*record {
	if mine.name == "id" {
		id, _ := strconv.Atoi(want)
		if o := s.store.find(j.class, id); o != nil {
			return []*record{o}
		}
		return nil
	}
	var out []*record
	for _, o := range s.store.all(j.class) {
		if s.store.named(o, mine.name) == want {
			out = append(out, o)
		}
	}
	return out
}

// check reports unknown classes and attributes.
func (s *search) check(q *query) error {
	classes := map[string]string{}
	for _, src := range append([]source{q.from}, sources(q.joins)...) {
		if s.store.model.classes[src.class] == nil {
			return &oqlError{"OqlNormalizeException", fmt.Sprintf("Unknown class - found '%s' at %d in '%s'", src.class, src.at, q.source)}
		}
		classes[src.alias] = src.class
	}
	if classes[q.want] == "" {
		return &oqlError{"OqlNormalizeException", fmt.Sprintf("Unknown class [%s] in SELECT clause - found '%s' at 0 in '%s'", q.want, q.want, q.source)}
	}
	return s.checkNode(q, classes, q.where)
}

func sources(joins []join) []source {
	var out []source
	for _, j := range joins {
		out = append(out, j.source)
	}
	return out
}

func (s *search) checkNode(q *query, classes map[string]string, n node) error {
	switch n := n.(type) {
	case binary:
		if err := s.checkNode(q, classes, n.left); err != nil {
			return err
		}
		return s.checkNode(q, classes, n.right)
	case inList:
		if n.sub != nil { // a query of its own, with its own names
			if err := s.check(n.sub); err != nil {
				return err
			}
		}
		return s.checkNode(q, classes, n.left)
	case call:
		for _, a := range n.args {
			if err := s.checkNode(q, classes, a); err != nil {
				return err
			}
		}
	case fieldRef:
		return s.checkField(q, classes, n)
	}
	return nil
}

func (s *search) checkField(q *query, classes map[string]string, f fieldRef) error {
	alias := f.alias
	if alias == "" {
		alias = q.from.alias
	}
	class := classes[alias]
	if class == "" {
		return &oqlError{"OqlNormalizeException", fmt.Sprintf("Unknown class [alias] - found '%s' at %d in '%s'", alias, f.at, q.source)}
	}
	codes := s.store.model.codes[class]
	if slices.Contains(codes, f.name) {
		return nil
	}
	return &oqlError{"OqlNormalizeException", fmt.Sprintf("Unknown filter code - found '%s' at %d in '%s', expecting {%s}, I would suggest to use ''",
		f.name, f.at, q.source, strings.Join(codes, ", "))}
}

// filterCodes are the names that a WHERE on a class may use.
func (m *model) filterCodes(class string) []string {
	c := m.classes[class]
	var codes []string
	if c.family {
		codes = append(codes, "finalclass")
	}
	codes = append(codes, "friendlyname")
	for _, a := range c.attrs {
		switch {
		case a.kind == kList || a.kind == kBlob || a.name == "finalclass" || a.name == "friendlyname" || derivedFrom(c, a) != "":
		default:
			codes = append(codes, a.name)
			codes = append(codes, extraCodes(c, a)...)
		}
	}
	return append(codes, "id")
}

// derivedFrom is the key whose friendly name or flag a is, or "".
func derivedFrom(c *class, a *attr) string {
	for _, suffix := range []string{"_friendlyname", "_finalclass_recall", "_obsolescence_flag"} {
		if k, ok := strings.CutSuffix(a.name, suffix); ok && c.attr(k) != nil && c.attr(k).kind == kKey {
			return k
		}
	}
	return ""
}

func extraCodes(c *class, a *attr) []string {
	var out []string
	if a.kind == kWatch {
		for _, part := range []string{"started", "laststart", "stopped"} {
			out = append(out, a.name+"_"+part)
		}
		for _, percent := range a.values {
			for _, part := range []string{"deadline", "passed", "triggered", "overrun"} {
				out = append(out, a.name+"_"+percent+"_"+part)
			}
		}
		return out
	}
	for _, b := range c.attrs {
		if derivedFrom(c, b) == a.name {
			out = append(out, b.name)
		}
	}
	return out
}
