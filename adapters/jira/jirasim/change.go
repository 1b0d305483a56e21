package jirasim

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// edit is what a create, an edit or a transition asks to set.
type edit struct {
	values   map[string]any // by field id; nil clears
	comments []*comment
	errs     map[string]string
}

// request is the body of a create, an edit or a transition.
type request struct {
	Fields     map[string]json.RawMessage              `json:"fields"`
	Update     map[string][]map[string]json.RawMessage `json:"update"`
	Properties []property                              `json:"properties"`
	Transition *struct {
		ID any `json:"id"`
	} `json:"transition"`
	HistoryMetadata json.RawMessage `json:"historyMetadata"`
}

// notOnScreen is what Jira says of a field that it knows but does not show
// there, and of one that it never heard of.
func notOnScreen(id string) string {
	return fmt.Sprintf("Field '%s' cannot be set. It is not on the appropriate screen, or unknown.", id)
}

// plan reads req against the fields that onScreen allows. old holds the values
// that add and remove work on.
func (s *Sim) plan(c *call, p Project, req request, old map[string]any, onScreen func(*fieldDef) bool) *edit {
	e := &edit{values: map[string]any{}, errs: map[string]string{}}
	for id, raw := range req.Fields {
		if _, both := req.Update[id]; both {
			e.errs[id] = fmt.Sprintf("Field '%s' cannot appear in both 'fields' and 'update'", id)
			continue
		}
		s.set(c, e, p, id, raw, onScreen)
	}
	for id, ops := range req.Update {
		switch {
		case e.errs[id] != "":
		case id == "comment":
			s.planComments(c, e, ops)
		default:
			s.planOps(c, e, p, id, ops, old, onScreen)
		}
	}
	return e
}

func (s *Sim) set(c *call, e *edit, p Project, id string, raw json.RawMessage, onScreen func(*fieldDef) bool) {
	d := s.field(id)
	if d == nil || !onScreen(d) || id == "reporter" && !c.user.staff() {
		e.errs[id] = notOnScreen(id)
		return
	}
	v, bad := s.parse(d, p, raw)
	if bad != "" {
		e.errs[id] = bad
		return
	}
	e.values[id] = v
}

// planOps applies set, add and remove in their order.
func (s *Sim) planOps(c *call, e *edit, p Project, id string, ops []map[string]json.RawMessage, old map[string]any, onScreen func(*fieldDef) bool) {
	d := s.field(id)
	if d == nil || !onScreen(d) {
		e.errs[id] = notOnScreen(id)
		return
	}
	e.values[id] = old[id]
	for _, op := range ops {
		for verb, raw := range op {
			if verb == "set" {
				s.set(c, e, p, id, raw, onScreen)
			} else if bad := s.addRemove(e, d, p, verb, raw); bad != "" {
				e.errs[id] = bad
			}
		}
	}
}

func (s *Sim) addRemove(e *edit, d *fieldDef, p Project, verb string, raw json.RawMessage) string {
	if !slices.Contains(d.operations(), verb) {
		return fmt.Sprintf("Field '%s' does not support operation '%s'. Supported operation(s) are: '%s'", d.ID, verb, strings.Join(d.operations(), ","))
	}
	one := json.RawMessage("[" + string(raw) + "]")
	v, bad := s.parse(d, p, one)
	if bad != "" {
		return bad
	}
	switch list := v.(type) {
	case []string:
		was, _ := e.values[d.ID].([]string)
		e.values[d.ID] = addOrRemove(was, list[0], verb)
	case []Named:
		was, _ := e.values[d.ID].([]Named)
		e.values[d.ID] = addOrRemove(was, list[0], verb)
	}
	return ""
}

func addOrRemove[T comparable](list []T, v T, verb string) []T {
	out := slices.DeleteFunc(slices.Clone(list), func(x T) bool { return x == v })
	if verb == "add" {
		out = append(out, v)
	}
	return out
}

// planComments takes the comments that come with an edit or a transition.
func (s *Sim) planComments(c *call, e *edit, ops []map[string]json.RawMessage) {
	for _, op := range ops {
		raw, ok := op["add"]
		if !ok {
			e.errs["comment"] = "jirasim: of the operations on comment, only add is imitated"
			continue
		}
		made, errs := s.newComment(c, raw)
		if errs != nil {
			e.errs["comment"] = errs["comment"]
			continue
		}
		e.comments = append(e.comments, made)
	}
}

// diff is what e would really change.
func (s *Sim) diff(is *issue, e *edit) []change {
	var items []change
	for _, d := range s.fields {
		if v, ok := e.values[d.ID]; ok && !same(is.values[d.ID], v) {
			items = append(items, d.change(is.values[d.ID], v))
		}
	}
	return items
}

// take sets the planned values.
func (is *issue) take(e *edit, now time.Time) {
	for id, v := range e.values {
		is.values[id] = v
		if id == "resolution" {
			is.resolved = time.Time{}
		}
		if id == "resolution" && v != nil {
			is.resolved = now
		}
	}
}

func same(a, b any) bool {
	if empty(a) && empty(b) {
		return true
	}
	x, isTime := a.(time.Time)
	y, alsoTime := b.(time.Time)
	if isTime && alsoTime {
		return x.Equal(y)
	}
	return reflect.DeepEqual(a, b)
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []string:
		return len(v) == 0
	case []Named:
		return len(v) == 0
	}
	return false
}

// change describes the step from one value to another for the history.
func (d *fieldDef) change(from, to any) change {
	c := change{field: d.historyName(), fieldID: d.ID, kind: "jira"}
	if d.custom {
		c.kind = "custom"
	}
	c.from, c.fromText = historyText(from)
	c.to, c.toText = historyText(to)
	return c
}

// historyName is what the history calls a field: the custom field's name, or
// the system's untranslated word.
func (d *fieldDef) historyName() string {
	switch {
	case d.custom:
		return d.Name
	case d.ID == "components":
		return "Component"
	}
	return d.ID
}

func historyText(v any) (id, text *string) {
	switch v := v.(type) {
	case string:
		return nil, &v
	case float64:
		return nil, str(fmt.Sprint(v))
	case time.Time:
		return str(v.Format(dateTime)), str(v.Format(dateTime))
	case Named:
		return &v.ID, &v.Name
	case *User:
		return &v.Key, &v.DisplayName
	case []string:
		return nil, str(strings.Join(v, " "))
	case []Named:
		return str(joined(v, func(n Named) string { return n.ID })), str(joined(v, func(n Named) string { return n.Name }))
	}
	return nil, nil
}

func joined(list []Named, of func(Named) string) string {
	var parts []string
	for _, n := range list {
		parts = append(parts, of(n))
	}
	return strings.Join(parts, ", ")
}

func str(s string) *string { return &s }
