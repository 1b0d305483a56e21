package itopsim

import (
	"fmt"
	"regexp"
	"time"
)

// fill stores the fixture's objects: first all of them, then their fields, so
// that keys may point forward.
func (s *Sim) fill(objects []Object) error {
	w := &write{sim: s, account: &Account{Profiles: []string{ProfileAdmin}, Name: "fixture"}, context: ContextREST,
		now: time.Now().In(s.zone).Format(stamp), given: map[string]bool{}}
	records := make([]*record, len(objects))
	for i, o := range objects {
		c := s.model.classes[o.Class]
		if c == nil || c.abstract {
			return fmt.Errorf("itopsim: object %d: no class %q in model %q (one of %v)", i, o.Class, s.model.name, s.model.names())
		}
		if s.store.find(o.Class, o.ID) != nil {
			return fmt.Errorf("itopsim: object %d: %s::%d is there twice", i, o.Class, o.ID)
		}
		records[i] = &record{class: c, id: o.ID, vals: map[string]any{}}
		s.store.add(records[i])
		s.plain(records[i], o)
	}
	for i, o := range objects {
		if err := w.load(records[i], o); err != nil {
			return fmt.Errorf("itopsim: %s::%d: %w", o.Class, records[i].id, err)
		}
	}
	for i := range objects {
		w.finishTicket(records[i], objects[i])
	}
	return nil
}

// finishTicket fills what a ticket of the fixture leaves out.
func (w *write) finishTicket(r *record, o Object) {
	if r.class.name != "UserRequest" {
		return
	}
	w.given = map[string]bool{}
	for name := range o.Fields {
		w.given[name] = true
	}
	if r.text("ref") == "" {
		w.sim.store.refs++
		r.set("ref", "R-"+pad6(w.sim.store.refs))
	}
	setEmpty(r, "start_date", w.now)
	setEmpty(r, "last_update", w.now)
	if w.sim.model.sumit {
		w.catalogue(nil, r)
		w.levels(nil, r)
	}
	if !w.given["priority"] {
		r.set("priority", priority(r.text("impact"), r.text("urgency")))
	}
}

// plain sets names first, so that other objects can be found by them.
func (s *Sim) plain(r *record, o Object) {
	for name, v := range o.Fields {
		if text, ok := v.(string); ok && r.class.attr(name) != nil && r.class.attr(name).kind == kString {
			r.set(name, text)
		}
	}
}

var refNumber = regexp.MustCompile(`^R-0*([0-9]+)$`)

func (w *write) load(r *record, o Object) error {
	for _, a := range r.class.attrs {
		if _, set := r.vals[a.name]; !set && a.def != "" {
			r.set(a.name, a.def)
		}
	}
	fields, _ := ordered(o.Fields).(object)
	for _, p := range fields {
		a := r.class.attr(p.key)
		if a == nil {
			return fmt.Errorf("no attribute %q", p.key)
		}
		if err := w.loadOne(r, a, p.value); err != nil {
			return err
		}
	}
	if m := refNumber.FindStringSubmatch(r.text("ref")); m != nil {
		w.sim.store.refs = max(w.sim.store.refs, atoi(m[1]))
	}
	if why := w.issues(nil, r); len(why) > 0 {
		return fmt.Errorf("%s", why[0])
	}
	return nil
}

// loadOne sets one field. Dates and users come as they are; keys may also be
// the plain name of their target.
func (w *write) loadOne(r *record, a *attr, v any) error {
	if text, ok := v.(string); ok && a.kind == kKey {
		if _, numeric := number(text); !numeric {
			v = object{{"name", text}}
		}
	}
	if items, ok := v.(list); ok && a.kind == kLog {
		v = object{{"items", items}}
	}
	return w.assignOne(r, a, v)
}
