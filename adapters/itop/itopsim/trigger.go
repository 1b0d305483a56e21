package itopsim

import (
	"slices"
	"sort"
)

// fire posts what the triggers on one event of one object say.
func (w *write) fire(o *record, on string, extra func(*Trigger) bool) {
	for _, t := range w.sim.sortedTriggers() {
		if t.On == on && w.sim.model.isA(o.class.name, t.Class) && t.inContext(w.context) && (extra == nil || extra(t)) && w.passes(t, o) {
			w.posts = append(w.posts, w.render(t, o))
		}
	}
}

// fireUpdate posts for an update: triggers on attributes first, then on
// leaving the old state, then on entering the new one, as iTop does.
func (w *write) fireUpdate(o, before *record, list []Change) {
	w.fire(o, "update", func(t *Trigger) bool { return t.concerns(list) })
	from, to := before.text("status"), o.text("status")
	if from == to {
		return // ev_reassign keeps the state: no StateEnter
	}
	w.fire(o, "leave", func(t *Trigger) bool { return t.State == from })
	w.fire(o, "enter", func(t *Trigger) bool { return t.State == to })
}

// sortedTriggers are in the order in which iTop goes through them: by name.
func (s *Sim) sortedTriggers() []*Trigger {
	out := make([]*Trigger, len(s.triggers))
	for i := range s.triggers {
		out[i] = &s.triggers[i]
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// inContext: a trigger without context fires always, REST included.
func (t *Trigger) inContext(context string) bool {
	return len(t.Context) == 0 || slices.Contains(t.Context, context)
}

// concerns tells whether an update touches a target_attcodes.
func (t *Trigger) concerns(list []Change) bool {
	if len(t.Attcodes) == 0 {
		return true
	}
	return slices.ContainsFunc(list, func(c Change) bool { return slices.Contains(t.Attcodes, c.Attcode) })
}

// passes evaluates the trigger's filter on the object as it now stands.
func (w *write) passes(t *Trigger, o *record) bool {
	if t.Filter == "" {
		return true
	}
	q, err := parseOQL(t.Filter)
	if err != nil {
		return false
	}
	ok, err := w.newSearch().matches(q, o)
	return err == nil && ok
}

// finalClass is iTop's class of such a trigger.
func (t *Trigger) finalClass() string {
	return map[string]string{"create": "TriggerOnObjectCreate", "update": "TriggerOnObjectUpdate", "delete": "TriggerOnObjectDelete",
		"enter": "TriggerOnStateEnter", "leave": "TriggerOnStateLeave"}[t.On]
}
