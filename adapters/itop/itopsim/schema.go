package itopsim

import "slices"

// kind is what an attribute holds.
type kind int

const (
	kString   kind = iota
	kText          // several lines, without markup
	kHTML          // cleaned when written
	kEnum          // one of values
	kNumber        // a whole number, given out as text
	kKey           // external key: the id of an object of class target, 0 = none
	kField         // external field: attribute of of the object that the key via points at
	kDate          // local date and time, "" = none
	kLog           // case log
	kList          // linked objects; always empty here
	kMeta          // computed from the state
	kWatch         // stopwatch; given out as 0
	kDeadline      // part of a stopwatch, given out as ""
	kNull          // part of a stopwatch, given out as null
	kBlob          // attached file
	kSecret        // given out as *****
	kUnstored      // needed at creation, never given out
)

// attr describes one attribute of a class.
type attr struct {
	name     string
	kind     kind
	target   string // class of a key
	via, of  string // where an external field reads
	values   []string
	def      string
	required bool
	max      int // most bytes, 0 = no limit
	en, fr   string
	valueEN  []string // labels of values
	valueFR  []string
}

// class describes one class of the model.
type class struct {
	name      string
	parent    string
	abstract  bool
	family    bool // has subclasses or a parent: it shows finalclass
	obsolete  bool // keys to it show an obsolescence flag
	state     string
	en        string
	attrs     []*attr
	byName    map[string]*attr
	naming    func(o *record) string // friendly name
	descOrder bool                   // listed by friendly name, descending
}

func (c *class) attr(name string) *attr { return c.byName[name] }

// label is the attribute's name for people, as messages show it.
func (a *attr) label(french bool) string {
	switch {
	case french && a.fr != "":
		return a.fr
	case a.en != "":
		return a.en
	}
	return a.name
}

// valueLabel is the name of an enumerated value for people.
func (a *attr) valueLabel(value string, french bool) string {
	i := slices.Index(a.values, value)
	labels := a.valueEN
	if french && a.valueFR != nil {
		labels = a.valueFR
	}
	if i < 0 || i >= len(labels) {
		return value
	}
	return labels[i]
}

// model is a set of classes and their life cycles.
type model struct {
	name    string
	classes map[string]*class
	order   []string // as defined
	states  map[string]map[string]transition
	sumit   bool
	codes   map[string][]string // what a WHERE on a class may name
}

func (m *model) names() []string {
	names := slices.Clone(m.order)
	slices.Sort(names)
	return names
}

// define adds a class and completes it with what iTop derives by itself.
func (m *model) define(c *class) {
	m.classes[c.name] = c
	m.order = append(m.order, c.name)
}

// complete derives friendly names and flags of keys, once all classes exist.
func (m *model) complete() {
	for _, name := range m.order {
		c := m.classes[name]
		if c.family {
			c.attrs = append(c.attrs, &attr{name: "finalclass", kind: kMeta})
		}
		c.attrs = append(c.attrs, &attr{name: "friendlyname", kind: kMeta})
		for _, a := range slices.Clone(c.attrs) {
			switch {
			case a.kind == kKey:
				c.attrs = append(c.attrs, m.derived(a)...)
			case a.kind == kField && m.isKey(c, a):
				c.attrs = append(c.attrs, m.derived(a)[0])
			}
		}
		c.byName = map[string]*attr{}
		for _, a := range c.attrs {
			c.byName[a.name] = a
		}
	}
	m.codes = map[string][]string{}
	for _, name := range m.order {
		m.codes[name] = m.filterCodes(name)
	}
}

// isKey tells whether an external field reads a key of another object.
func (m *model) isKey(c *class, a *attr) bool {
	for _, via := range c.attrs {
		if via.name != a.via || m.classes[via.target] == nil {
			continue
		}
		for _, of := range m.classes[via.target].attrs {
			if of.name == a.of {
				return of.kind == kKey
			}
		}
	}
	return false
}

func (m *model) derived(key *attr) []*attr {
	out := []*attr{{name: key.name + "_friendlyname", kind: kField, via: key.name, of: "friendlyname"}}
	target := m.classes[key.target]
	if target == nil {
		return out
	}
	if target.abstract && target.family {
		out = append(out, &attr{name: key.name + "_finalclass_recall", kind: kField, via: key.name, of: "finalclass"})
	}
	if target.obsolete {
		out = append(out, &attr{name: key.name + "_obsolescence_flag", kind: kMeta})
	}
	return out
}

// isA tells whether class name is ancestor or a descendant of it.
func (m *model) isA(name, ancestor string) bool {
	for name != "" {
		if name == ancestor {
			return true
		}
		c := m.classes[name]
		if c == nil {
			return false
		}
		name = c.parent
	}
	return false
}

// root is the topmost ancestor: ids are unique below it.
func (m *model) root(name string) string {
	for m.classes[name].parent != "" {
		name = m.classes[name].parent
	}
	return name
}

// stockModel is the data model of a plain iTop 3.2.0, as far as it goes here.
func stockModel() *model {
	m := &model{name: ModelStock, classes: map[string]*class{}, states: stockStates()}
	defineContacts(m)
	defineCatalogue(m)
	defineTickets(m)
	defineAttachments(m)
	defineUsers(m)
	defineHistory(m)
	return m
}

// helpers that keep the definitions below readable

func str(name string) *attr  { return &attr{name: name, kind: kString, max: 255} }
func text(name string) *attr { return &attr{name: name, kind: kText, max: 65535} }
func rich(name string) *attr { return &attr{name: name, kind: kHTML, max: 65535} }
func date(name string) *attr { return &attr{name: name, kind: kDate} }
func logs(name string) *attr { return &attr{name: name, kind: kLog} }
func rows(name string) *attr { return &attr{name: name, kind: kList} }
func key(name, target string) *attr {
	return &attr{name: name, kind: kKey, target: target}
}
func field(name, via, of string) *attr {
	return &attr{name: name, kind: kField, via: via, of: of}
}
func enum(name, def string, values ...string) *attr {
	return &attr{name: name, kind: kEnum, def: def, values: values}
}

func (a *attr) called(en, fr string) *attr { a.en, a.fr = en, fr; return a }
func (a *attr) needed() *attr              { a.required = true; return a }
func (a *attr) english(l ...string) *attr  { a.valueEN = l; return a }
func (a *attr) french(l ...string) *attr   { a.valueFR = l; return a }

func byAttr(name string) func(*record) string {
	return func(r *record) string { return r.text(name) }
}
