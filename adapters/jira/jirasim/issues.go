package jirasim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// decode reads a JSON body into v.
func (c *call) decode(v any) *answer {
	if err := json.Unmarshal(c.body, v); err != nil {
		return ref(fail(http.StatusBadRequest, "Unexpected or invalid JSON in the request: "+err.Error()))
	}
	return nil
}

func (s *Sim) createIssue(c *call) answer {
	var req request
	if bad := c.decode(&req); bad != nil {
		return *bad
	}
	p, typ, errs := s.place(req)
	if errs != nil {
		return invalid(errs)
	}
	delete(req.Fields, "project")
	delete(req.Fields, "issuetype")
	e := s.plan(c, p, req, map[string]any{}, func(d *fieldDef) bool { return !d.HideOnCreate })
	for _, d := range s.fields {
		if _, given := e.values[d.ID]; !given && e.errs[d.ID] == "" && s.missing(d) != "" {
			e.errs[d.ID] = s.missing(d)
		}
	}
	props, bad := properties(req.Properties)
	if bad != nil {
		return *bad
	}
	if len(e.errs) > 0 {
		return invalid(e.errs)
	}
	is := s.open(c, p, typ, e)
	is.props = props
	return created(m{"id": is.id, "key": is.key, "self": c.link("/rest/api/2/issue/%s", is.id)})
}

// place finds the project and the issue type of a new issue.
func (s *Sim) place(req request) (Project, Named, map[string]string) {
	var where struct{ Key, ID string }
	if raw, given := req.Fields["project"]; !given || json.Unmarshal(raw, &where) != nil || where.Key+where.ID == "" {
		return Project{}, Named{}, map[string]string{"project": "project is required"}
	}
	p, found := s.project(or(where.Key, where.ID))
	if !found {
		return Project{}, Named{}, map[string]string{"project": "valid project is required"}
	}
	var what struct{ Name, ID string }
	if raw, given := req.Fields["issuetype"]; !given || json.Unmarshal(raw, &what) != nil || what.Name+what.ID == "" {
		return Project{}, Named{}, map[string]string{"issuetype": "issue type is required"}
	}
	for _, t := range s.typesOf(p) {
		if what.ID != "" && t.ID == what.ID || what.ID == "" && t.Name == what.Name {
			return p, t, nil
		}
	}
	return Project{}, Named{}, map[string]string{"issuetype": "The issue type selected is invalid."}
}

func (s *Sim) typesOf(p Project) []Named {
	var list []Named
	for _, name := range p.IssueTypes {
		for _, t := range s.fx.IssueTypes {
			if t.Name == name {
				list = append(list, t)
			}
		}
	}
	return list
}

// open makes the issue that e describes.
func (s *Sim) open(c *call, p Project, typ Named, e *edit) *issue {
	is := &issue{
		id: fmt.Sprint(s.next.issue), typ: typ, values: e.values, creator: c.user, created: c.now, updated: c.now,
		status: s.statusNamed(s.workflow(p).Initial), watchers: []*User{c.user},
	}
	s.next.issue++
	s.name(is, p)
	if is.values["reporter"] == nil {
		is.values["reporter"] = c.user
	}
	if is.values["priority"] == nil && len(s.fx.Priorities) > 0 {
		is.values["priority"] = s.fx.Priorities[0]
	}
	s.issues[is.id] = is
	s.wrote(c.user, "issue", is, "created: "+fmt.Sprint(is.values["summary"]))
	s.fireIssue(c.view, is, "jira:issue_created", "issue_created", c.user, s.birth(c, is), nil)
	for _, made := range e.comments {
		s.keep(c, is, made)
	}
	return is
}

// birth is the changelog that Cloud sends with a new issue; the issue's own
// history does not keep it. Data Center sends none.
func (s *Sim) birth(c *call, is *issue) *history {
	if !s.cloud() {
		return nil
	}
	items := append(s.diff(&issue{}, &edit{values: is.values}), remark("status", nil, nil, str(is.status.ID), str(is.status.Name)))
	h := &history{id: fmt.Sprint(s.next.history), author: c.user, created: c.now, items: items}
	s.next.history++
	return h
}

func (s *Sim) getIssue(c *call, is *issue) answer {
	expand := c.query.Get("expand")
	out := c.view.issue(is, split(c.query["fields"]), "*all", expand)
	if listed(expand, "transitions") {
		out["transitions"] = s.transitionBeans(c, is, listed(expand, "transitions.fields"))
	}
	if listed(expand, "editmeta") {
		out["editmeta"] = m{"fields": s.metaFields(c.view, is.project, func(d *fieldDef) bool { return !d.HideOnEdit })}
	}
	if wanted := split(c.query["properties"]); len(wanted) > 0 {
		out["properties"] = chosen(asMap(is.props), wanted, "*all")
	}
	return ok(out)
}

func asMap(props map[string]json.RawMessage) m {
	out := m{}
	for k, v := range props {
		out[k] = v
	}
	return out
}

func (s *Sim) editIssue(c *call, is *issue) answer {
	var req request
	if bad := c.decode(&req); bad != nil {
		return *bad
	}
	if len(req.Fields)+len(req.Update)+len(req.Properties) == 0 {
		return fail(http.StatusBadRequest, "one of 'fields' or 'update' required")
	}
	e := s.plan(c, is.project, req, is.values, func(d *fieldDef) bool { return !d.HideOnEdit })
	props, bad := properties(req.Properties)
	if bad != nil {
		return *bad
	}
	if len(e.errs) > 0 {
		return invalid(e.errs)
	}
	for k, v := range props {
		is.setProperty(k, v)
		s.wrote(c.user, "property", is, k)
	}
	s.change(c, is, e)
	return done()
}

// change applies a valid edit and tells the listeners. Setting what already
// stands leaves the issue as it was.
func (s *Sim) change(c *call, is *issue, e *edit) {
	items := s.diff(is, e)
	if len(items) == 0 {
		for _, made := range e.comments {
			s.keep(c, is, made)
		}
		return
	}
	s.touch(is, c.now)
	is.take(e, c.now)
	h := s.record(is, c.user, c.now, items)
	s.wrote(c.user, "edit", is, describe(items))
	for _, made := range e.comments {
		s.store(c, is, made)
	}
	s.fireIssue(c.view, is, "jira:issue_updated", "issue_updated", c.user, h, last(e.comments))
}

func describe(items []change) string {
	var parts []string
	for _, i := range items {
		to := "(none)"
		if i.toText != nil {
			to = *i.toText
		}
		parts = append(parts, i.fieldID+" = "+to)
	}
	return strings.Join(parts, "; ")
}

func last[T any](list []*T) *T {
	if len(list) == 0 {
		return nil
	}
	return list[len(list)-1]
}

func (s *Sim) assign(c *call, is *issue) answer {
	req := request{Fields: map[string]json.RawMessage{"assignee": c.body}}
	e := s.plan(c, is.project, req, is.values, func(*fieldDef) bool { return true })
	if len(e.errs) > 0 {
		return invalid(e.errs)
	}
	s.change(c, is, e)
	return done()
}

// deleteIssue removes an issue for good: 404 from now on.
func (s *Sim) deleteIssue(c *call, is *issue) answer {
	if !c.user.staff() {
		return fail(http.StatusForbidden, "You do not have permission to delete issues in this project.")
	}
	delete(s.issues, is.id)
	s.wrote(c.user, "delete", is, "deleted")
	s.fireIssue(c.view, is, "jira:issue_deleted", "issue_deleted", c.user, nil, nil)
	return done()
}

func (s *Sim) changelog(c *call, is *issue) answer {
	if !s.cloud() {
		return fail(http.StatusNotFound, "jirasim: Data Center gives the changelog by expand=changelog only")
	}
	log := c.view.changelog(is, c.number("startAt", 0), c.number("maxResults", 100))
	log["values"], log["isLast"] = log["histories"], true
	delete(log, "histories")
	return ok(log)
}
