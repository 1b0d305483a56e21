package jirasim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// kind is what a field holds; it decides how a value is read, shown, compared.
type kind string

const (
	kindString     kind = "string"
	kindText       kind = "text"
	kindOption     kind = "option"
	kindNumber     kind = "number"
	kindDate       kind = "date"
	kindDatetime   kind = "datetime"
	kindLabels     kind = "labels"
	kindSummary    kind = "summary"
	kindPriority   kind = "priority"
	kindResolution kind = "resolution"
	kindComponents kind = "components"
	kindUser       kind = "user"
)

var customKinds = []kind{kindString, kindText, kindOption, kindNumber, kindDate, kindDatetime, kindLabels}

// fieldDef is a field that forms can set.
type fieldDef struct {
	Field
	kind    kind
	custom  bool
	options []Named
}

type systemField struct {
	id, name string
	kind     kind
	screen   bool // on the create and edit screens
}

var systemFields = []systemField{
	{"summary", "Summary", kindSummary, true},
	{"description", "Description", kindText, true},
	{"priority", "Priority", kindPriority, true},
	{"components", "Component/s", kindComponents, true},
	{"reporter", "Reporter", kindUser, true},
	{"assignee", "Assignee", kindUser, true},
	{"duedate", "Due Date", kindDate, true},
	{"labels", "Labels", kindLabels, true},
	{"environment", "Environment", kindText, true},
	{"resolution", "Resolution", kindResolution, false},
}

func systemKind(id string) (kind, bool) {
	for _, f := range systemFields {
		if f.id == id {
			return f.kind, true
		}
	}
	return "", false
}

func systemIDs() []string {
	var ids []string
	for _, f := range systemFields {
		ids = append(ids, f.id)
	}
	return ids
}

// fieldDefs is the system's fields, as the fixture changes them, and its own.
func fieldDefs(fx Fixture) []*fieldDef {
	var defs []*fieldDef
	for _, f := range systemFields {
		d := &fieldDef{kind: f.kind, Field: Field{ID: f.id, HideOnCreate: !f.screen, HideOnEdit: !f.screen}}
		if i := slices.IndexFunc(fx.Fields, func(x Field) bool { return x.ID == f.id }); i >= 0 {
			d.Field = fx.Fields[i]
		}
		d.Name = or(d.Name, f.name)
		d.Required = d.Required || f.id == "summary"
		d.limit(fx.TextLimit)
		defs = append(defs, d)
	}
	id := 10200
	for _, f := range fx.Fields {
		if _, system := systemKind(f.ID); system {
			continue
		}
		d := &fieldDef{Field: f, kind: kind(f.Type), custom: true}
		for _, v := range f.Allowed {
			d.options = append(d.options, Named{ID: fmt.Sprint(id), Name: v})
			id++
		}
		d.limit(fx.TextLimit)
		defs = append(defs, d)
	}
	return defs
}

func (d *fieldDef) limit(text int) {
	usual := map[kind]int{kindText: text, kindString: 255, kindSummary: 254, kindLabels: 255}
	d.MaxLength = cmp.Or(d.MaxLength, usual[d.kind])
}

func (s *Sim) field(id string) *fieldDef {
	for _, d := range s.fields {
		if d.ID == id {
			return d
		}
	}
	return nil
}

// fieldNamed finds a field as JQL names it: cf[12003], its id, or its name.
func (s *Sim) fieldNamed(name string) *fieldDef {
	if n, ok := strings.CutPrefix(strings.ToLower(name), "cf["); ok {
		return s.field("customfield_" + strings.TrimSuffix(n, "]"))
	}
	for _, d := range s.fields {
		if strings.EqualFold(d.ID, name) || strings.EqualFold(d.Name, name) {
			return d
		}
	}
	return nil
}

// number is 12003 of customfield_12003.
func (d *fieldDef) number() string { return strings.TrimPrefix(d.ID, "customfield_") }

// schema is how Jira describes the field's type.
func (d *fieldDef) schema() m {
	types := map[kind][2]string{
		kindString: {"string", "textfield"}, kindText: {"string", "textarea"}, kindSummary: {"string", ""},
		kindOption: {"option", "select"}, kindNumber: {"number", "float"}, kindDate: {"date", "datepicker"},
		kindDatetime: {"datetime", "datetime"}, kindLabels: {"array", "labels"}, kindPriority: {"priority", ""},
		kindResolution: {"resolution", ""}, kindComponents: {"array", ""}, kindUser: {"user", ""},
	}
	t := types[d.kind]
	out := m{"type": t[0]}
	switch d.kind {
	case kindLabels:
		out["items"] = "string"
	case kindComponents:
		out["items"] = "component"
	}
	if !d.custom {
		out["system"] = d.ID
		return out
	}
	out["custom"] = "com.atlassian.jira.plugin.system.customfieldtypes:" + t[1]
	var n int
	_, _ = fmt.Sscan(d.number(), &n)
	out["customId"] = n
	return out
}

func (d *fieldDef) operations() []string {
	if d.kind == kindLabels || d.kind == kindComponents {
		return []string{"add", "set", "remove"}
	}
	return []string{"set"}
}
