package jirasim

import (
	"fmt"
	"net/http"
	"slices"
)

// open lists the transitions that is may make now.
func (s *Sim) transitions(is *issue) []Transition {
	var list []Transition
	for _, t := range s.workflow(is.project).Transitions {
		if len(t.From) == 0 || slices.Contains(t.From, is.status.Name) {
			list = append(list, t)
		}
	}
	return list
}

func (s *Sim) listTransitions(c *call, is *issue) answer {
	list := s.transitionBeans(c, is, c.expands("transitions.fields"))
	if id := c.query.Get("transitionId"); id != "" {
		list = slices.DeleteFunc(list, func(t m) bool { return t["id"] != id })
	}
	return ok(m{"expand": "transitions", "transitions": list})
}

// transitionBeans is empty for who may not move issues.
func (s *Sim) transitionBeans(c *call, is *issue, withFields bool) []m {
	list := []m{}
	if !c.user.staff() {
		return list
	}
	for _, t := range s.transitions(is) {
		one := m{"id": t.ID, "name": t.Name, "to": c.status(s.statusNamed(t.To))}
		if s.cloud() {
			one["hasScreen"], one["isGlobal"], one["isInitial"], one["isAvailable"] = len(t.Fields) > 0, len(t.From) == 0, false, true
		}
		if withFields {
			one["fields"] = s.screenMeta(c.view, is.project, t)
		}
		list = append(list, one)
	}
	return list
}

func (s *Sim) screenMeta(v view, p Project, t Transition) m {
	out := m{}
	for _, f := range t.Fields {
		d := s.field(f.ID)
		meta := s.fieldMeta(v, p, d)
		meta["required"] = f.Required
		out[d.ID] = meta
	}
	return out
}

func (s *Sim) doTransition(c *call, is *issue) answer {
	var req request
	if bad := c.decode(&req); bad != nil {
		return *bad
	}
	t, bad := s.wanted(is, req)
	if bad == nil && !c.user.staff() {
		bad = ref(fail(http.StatusBadRequest, fmt.Sprintf("It seems that you have tried to perform a workflow operation (%s) that is not valid for the current state of this issue (%s). The likely cause is that somebody has changed the issue recently, please look at the issue history for details.", t.Name, is.key)))
	}
	if bad != nil {
		return *bad
	}
	e := s.planTransition(c, is, t, req)
	if len(e.errs) > 0 {
		return invalid(e.errs)
	}
	h := s.move(c, is, t, e)
	h.meta = req.HistoryMetadata
	s.fireIssue(c.view, is, "jira:issue_updated", s.eventType(t, h), c.user, h, last(e.comments))
	return done()
}

// wanted finds the transition that the request names, if it is possible now.
func (s *Sim) wanted(is *issue, req request) (Transition, *answer) {
	if req.Transition == nil || req.Transition.ID == nil {
		return Transition{}, ref(fail(http.StatusBadRequest, "Missing 'transition' identifier"))
	}
	id := fmt.Sprint(req.Transition.ID)
	possible := s.transitions(is)
	for _, t := range s.workflow(is.project).Transitions {
		if t.ID != id {
			continue
		}
		if slices.ContainsFunc(possible, func(p Transition) bool { return p.ID == id }) {
			return t, nil
		}
		return t, ref(fail(http.StatusBadRequest, fmt.Sprintf("It seems that you have tried to perform a workflow operation (%s) that is not valid for the current state of this issue (%s). The likely cause is that somebody has changed the issue recently, please look at the issue history for details.", t.Name, is.key)))
	}
	return Transition{}, ref(fail(http.StatusBadRequest, fmt.Sprintf("Transition id '%s' is not valid for this issue.", id)))
}

// planTransition checks the request against the transition's own screen.
func (s *Sim) planTransition(c *call, is *issue, t Transition, req request) *edit {
	onScreen := func(d *fieldDef) bool {
		return slices.ContainsFunc(t.Fields, func(f ScreenField) bool { return f.ID == d.ID })
	}
	e := s.plan(c, is.project, req, is.values, onScreen)
	for _, f := range t.Fields {
		v, given := e.values[f.ID]
		if !given {
			v = is.values[f.ID]
		}
		if f.Required && empty(v) && e.errs[f.ID] == "" {
			e.errs[f.ID] = s.field(f.ID).Name + " is required."
		}
	}
	return e
}

// move makes a valid transition. Leaving the done statuses clears the
// resolution, as the usual workflows do.
func (s *Sim) move(c *call, is *issue, t Transition, e *edit) *history {
	from, to := is.status, s.statusNamed(t.To)
	if t.Resolution != "" {
		e.values["resolution"] = s.fx.Resolutions[slices.IndexFunc(s.fx.Resolutions, func(n Named) bool { return n.Name == t.Resolution })]
	}
	if to.Category != "done" && is.values["resolution"] != nil {
		e.values["resolution"] = nil
	}
	items := append([]change{statusChange(from, to)}, s.diff(is, e)...)
	s.touch(is, c.now)
	is.take(e, c.now)
	is.status = to
	h := s.record(is, c.user, c.now, items)
	s.wrote(c.user, "transition", is, fmt.Sprintf("%s: %s -> %s", t.Name, from.Name, describe(items)))
	for _, made := range e.comments {
		s.store(c, is, made)
	}
	return h
}

// eventType is the issue_event_type_name of a transition. Cloud has one name
// for all of them.
func (s *Sim) eventType(t Transition, h *history) string {
	from, to := s.statusNamed(*h.items[0].fromText).Category, s.statusNamed(t.To).Category
	switch {
	case s.cloud():
		return "issue_generic"
	case t.Event != "":
		return t.Event
	case from != "done" && to == "done":
		return "issue_resolved"
	case from == "done" && to == "done":
		return "issue_closed"
	case from == "done":
		return "issue_reopened"
	case from == "new" && to == "indeterminate":
		return "issue_work_started"
	}
	return "issue_generic"
}
