package jirasim

import (
	"fmt"
	"net/http"
)

func (s *Sim) serverInfo(c *call) answer {
	kind, version, numbers, build := "Server", "10.3.24", []int{10, 3, 24}, 10030024
	if s.cloud() {
		kind, version, numbers, build = "Cloud", "1001.0.0-SNAPSHOT", []int{1001, 0, 0}, 100277
	}
	return ok(m{
		"baseUrl": c.base, "version": version, "versionNumbers": numbers, "deploymentType": kind, "buildNumber": build,
		"buildDate": "2026-10-01T00:00:00.000+0000", "serverTime": c.when(c.now), "scmInfo": "jirasim",
		"serverTitle": "Jira (simulated)",
	})
}

func (s *Sim) myself(c *call) answer {
	out := c.person(c.user).(m)
	out["locale"] = "en_US"
	return ok(out)
}

func (s *Sim) getUser(c *call) answer {
	u := s.watcher(or(c.query.Get("username"), c.query.Get("accountId")))
	if u == nil {
		return fail(http.StatusNotFound, fmt.Sprintf("The user named '%s' does not exist", c.query.Get("username")))
	}
	return ok(c.person(u))
}

func (s *Sim) listProjects(c *call) answer {
	list := []m{}
	for _, p := range s.fx.Projects {
		list = append(list, c.project(p))
	}
	return ok(list)
}

func (s *Sim) getProject(c *call, p Project) answer {
	out := c.project(p)
	out["description"], out["assigneeType"], out["versions"], out["roles"] = "", "UNASSIGNED", []m{}, m{}
	out["components"], out["issueTypes"] = s.componentBeans(c, p), s.typeBeans(c, p)
	if len(s.users) > 0 {
		out["lead"] = c.person(s.users[0])
	}
	return ok(out)
}

func (s *Sim) componentBeans(c *call, p Project) []m {
	list := []m{}
	for _, n := range s.parts[p.Key] {
		one := c.component(n)
		one["project"], one["projectId"], one["assigneeType"], one["isAssigneeTypeValid"] = p.Key, numberOf(p.ID), "PROJECT_DEFAULT", false
		if !s.cloud() {
			one["archived"] = false
		}
		list = append(list, one)
	}
	return list
}

func (s *Sim) typeBeans(c *call, p Project) []m {
	list := []m{}
	for _, t := range s.typesOf(p) {
		list = append(list, c.issueType(t))
	}
	return list
}

func (s *Sim) listComponents(c *call, p Project) answer { return ok(s.componentBeans(c, p)) }

func (s *Sim) projectStatuses(c *call, p Project) answer {
	list := []m{}
	for _, t := range s.typesOf(p) {
		list = append(list, m{
			"self": c.link("/rest/api/2/issuetype/%s", t.ID), "id": t.ID, "name": t.Name, "subtask": false,
			"statuses": s.statusBeans(c),
		})
	}
	return ok(list)
}

func (s *Sim) statusBeans(c *call) []m {
	list := []m{}
	for _, st := range s.fx.Statuses {
		list = append(list, c.status(st))
	}
	return list
}

func (s *Sim) listStatuses(c *call) answer { return ok(s.statusBeans(c)) }

func (s *Sim) listPriorities(c *call) answer { return beans(s.fx.Priorities, c.view.priority) }

func (s *Sim) listResolutions(c *call) answer { return beans(s.fx.Resolutions, c.view.resolution) }

func (s *Sim) listTypes(c *call) answer { return beans(s.fx.IssueTypes, c.view.issueType) }

func beans(list []Named, bean func(Named) m) answer {
	out := []m{}
	for _, n := range list {
		out = append(out, bean(n))
	}
	return ok(out)
}

// otherFields are the system's fields that no form sets.
var otherFields = [][3]string{
	{"issuetype", "Issue Type", "issuetype"}, {"project", "Project", "project"}, {"status", "Status", "status"},
	{"creator", "Creator", "user"}, {"created", "Created", "datetime"}, {"updated", "Updated", "datetime"},
	{"resolutiondate", "Resolved", "datetime"}, {"attachment", "Attachment", "array"}, {"comment", "Comment", "comments-page"},
	{"watches", "Watchers", "watches"}, {"issuelinks", "Linked Issues", "array"},
}

func (s *Sim) listFields(c *call) answer {
	list := []m{}
	for _, d := range s.fields {
		names := []string{d.ID}
		if d.custom {
			names = []string{"cf[" + d.number() + "]", d.Name}
		}
		list = append(list, m{
			"id": d.ID, "name": d.Name, "custom": d.custom, "orderable": true, "navigable": true, "searchable": true,
			"clauseNames": names, "schema": d.schema(),
		})
	}
	for _, f := range otherFields {
		list = append(list, m{
			"id": f[0], "name": f[1], "custom": false, "orderable": false, "navigable": true, "searchable": true,
			"clauseNames": []string{f[0]}, "schema": m{"type": f[2], "system": f[0]},
		})
	}
	return ok(list)
}

// fieldMeta describes a field of a screen.
func (s *Sim) fieldMeta(v view, p Project, d *fieldDef) m {
	out := m{
		"required": d.Required, "schema": d.schema(), "name": d.Name, "fieldId": d.ID,
		"hasDefaultValue": d.ID == "priority", "operations": d.operations(),
	}
	if s.cloud() {
		out["key"] = d.ID
	}
	if values := s.allowed(v, p, d); values != nil {
		out["allowedValues"] = values
	}
	return out
}

func (s *Sim) allowed(v view, p Project, d *fieldDef) []m {
	list, bean := d.options, v.option
	switch d.kind {
	case kindPriority:
		list, bean = s.fx.Priorities, v.priority
	case kindResolution:
		list, bean = s.fx.Resolutions, v.resolution
	case kindComponents:
		list, bean = s.parts[p.Key], v.component
	case kindOption:
	default:
		return nil
	}
	out := []m{}
	for _, n := range list {
		out = append(out, bean(n))
	}
	return out
}

func (s *Sim) metaFields(v view, p Project, onScreen func(*fieldDef) bool) m {
	out := m{}
	for _, d := range s.fields {
		if onScreen(d) {
			out[d.ID] = s.fieldMeta(v, p, d)
		}
	}
	return out
}

func (s *Sim) editMeta(c *call, is *issue) answer {
	return ok(m{"fields": s.metaFields(c.view, is.project, func(d *fieldDef) bool { return !d.HideOnEdit })})
}

// oldCreateMeta: Data Center 9 took this address away, so that it reads as an
// issue called createmeta.
func (s *Sim) oldCreateMeta(c *call) answer {
	if s.cloud() {
		return unknown(c)
	}
	return fail(http.StatusNotFound, "Issue Does Not Exist")
}

func (s *Sim) createMetaTypes(c *call) answer {
	p, found := s.project(c.arg("project"))
	if !found {
		return fail(http.StatusBadRequest, "The project does not exist, or you do not have permission to create issues in it.")
	}
	return s.metaPage(c, "issueTypes", s.typeBeans(c, p))
}

func (s *Sim) createMetaFields(c *call) answer {
	p, found := s.project(c.arg("project"))
	if !found {
		return fail(http.StatusBadRequest, "The project does not exist, or you do not have permission to create issues in it.")
	}
	for _, t := range s.typesOf(p) {
		if t.ID == c.arg("id") {
			return s.metaPage(c, "fields", s.createFields(c, p, t))
		}
	}
	return fail(http.StatusBadRequest, "The issue type does not exist in the project.")
}

func (s *Sim) createFields(c *call, p Project, t Named) []m {
	fixed := func(id, name string, value m) m {
		return m{
			"required": true, "schema": m{"type": id, "system": id}, "name": name, "fieldId": id,
			"hasDefaultValue": false, "operations": []string{"set"}, "allowedValues": []m{value},
		}
	}
	list := []m{fixed("project", "Project", c.project(p)), fixed("issuetype", "Issue Type", c.issueType(t))}
	for _, d := range s.fields {
		if !d.HideOnCreate {
			list = append(list, s.fieldMeta(c.view, p, d))
		}
	}
	return list
}

// metaPage is one page: values on Data Center, a word of its own on Cloud.
func (s *Sim) metaPage(c *call, word string, all []m) answer {
	start, count := c.number("startAt", 0), c.number("maxResults", 50)
	part := all[min(start, len(all)):min(start+count, len(all))]
	out := m{"maxResults": count, "startAt": start, "total": len(all)}
	if s.cloud() {
		out[word] = part
	} else {
		out["values"], out["isLast"] = part, start+len(part) >= len(all)
	}
	return ok(out)
}
