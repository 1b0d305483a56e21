package jirasim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// fields is every field of an issue, as fields=*all gives them.
func (v view) fields(is *issue) m {
	out := m{
		"issuetype": v.issueType(is.typ), "project": v.project(is.project), "status": v.status(is.status),
		"creator": v.person(is.creator), "created": v.when(is.created), "updated": v.when(is.updated),
		"resolutiondate": v.when(is.resolved), "lastViewed": nil, "workratio": -1,
		"timespent": nil, "timeestimate": nil, "timeoriginalestimate": nil, "aggregatetimespent": nil,
		"aggregatetimeestimate": nil, "aggregatetimeoriginalestimate": nil, "timetracking": m{},
		"progress": m{"progress": 0, "total": 0}, "aggregateprogress": m{"progress": 0, "total": 0},
		"fixVersions": []m{}, "versions": []m{}, "issuelinks": []m{}, "subtasks": []m{},
		"attachment": v.files(is), "comment": v.comments(is),
		"watches": m{"self": v.link("/rest/api/2/issue/%s/watchers", is.key), "watchCount": len(is.watchers), "isWatching": slices.Contains(is.watchers, v.user)},
		"votes":   m{"self": v.link("/rest/api/2/issue/%s/votes", is.key), "votes": 0, "hasVoted": false},
		"worklog": m{"startAt": 0, "maxResults": 20, "total": 0, "worklogs": []m{}},
	}
	for _, d := range v.s.fields {
		out[d.ID] = v.value(d, is.values[d.ID])
	}
	if v.s.cloud() {
		out["statuscategorychangedate"] = v.when(is.statusSince())
	}
	return out
}

// statusSince is when the issue came to its status.
func (is *issue) statusSince() time.Time {
	since := is.created
	for _, h := range is.past {
		if slices.ContainsFunc(h.items, func(c change) bool { return c.fieldID == "status" }) {
			since = h.created
		}
	}
	return since
}

func (v view) files(is *issue) []m {
	list := []m{}
	for _, f := range is.files {
		list = append(list, v.file(f))
	}
	return list
}

func (v view) comments(is *issue) m {
	list := []m{}
	for _, c := range is.comments {
		if v.sees(c) {
			list = append(list, v.comment(is, c))
		}
	}
	return m{"comments": list, "maxResults": len(list), "total": len(list), "startAt": 0}
}

// notNavigable is what *navigable, the default of a search, leaves out.
var notNavigable = []string{"comment", "attachment", "worklog", "timetracking"}

// chosen keeps of all the fields that list asks for: names, *all, *navigable,
// -name. An empty list means otherwise.
func chosen(all m, list []string, otherwise string) m {
	if len(list) == 0 {
		list = []string{otherwise}
	}
	if strings.HasPrefix(list[0], "-") {
		list = append([]string{otherwise}, list...)
	}
	out := m{}
	for _, name := range list {
		if drop, isDrop := strings.CutPrefix(name, "-"); isDrop {
			delete(out, drop)
			continue
		}
		for id, v := range all {
			if id == name || name == "*all" || name == "*navigable" && !slices.Contains(notNavigable, id) {
				out[id] = v
			}
		}
	}
	return out
}

// split reads a list of words separated by commas, in one or several
// parameters.
func split(params []string) []string {
	var list []string
	for _, p := range params {
		for _, x := range strings.Split(p, ",") {
			if x = strings.TrimSpace(x); x != "" {
				list = append(list, x)
			}
		}
	}
	return list
}

// issue is an issue as GET and search give it.
func (v view) issue(is *issue, fields []string, otherwise string, expand string) m {
	all := v.fields(is)
	out := m{
		"expand": "renderedFields,names,schema,operations,editmeta,changelog,versionedRepresentations,transitions",
		"id":     is.id, "self": v.link("/rest/api/2/issue/%s", is.id), "key": is.key,
	}
	shown := chosen(all, fields, otherwise)
	out["fields"] = shown
	if listed(expand, "renderedFields") {
		out["renderedFields"] = v.rendered(is, shown)
	}
	if listed(expand, "names") {
		out["names"] = v.names(shown)
	}
	if listed(expand, "schema") {
		out["schema"] = v.schemas(shown)
	}
	if listed(expand, "changelog") {
		out["changelog"] = v.changelog(is, 0, len(is.past))
	}
	return out
}

func (v view) names(shown m) m {
	out := m{}
	for id := range shown {
		out[id] = strings.ToUpper(id[:1]) + id[1:]
		if d := v.s.field(id); d != nil {
			out[id] = d.Name
		}
	}
	return out
}

func (v view) schemas(shown m) m {
	out := m{}
	for id := range shown {
		if d := v.s.field(id); d != nil {
			out[id] = d.schema()
		}
	}
	return out
}

// rendered gives the texts as HTML and the dates as people read them.
func (v view) rendered(is *issue, shown m) m {
	out := m{}
	for id := range shown {
		out[id] = nil
		if d := v.s.field(id); d != nil && (d.kind == kindText || d.kind == kindString) {
			text, _ := is.values[id].(string)
			out[id] = Render(text)
		}
	}
	for id, t := range map[string]time.Time{"created": is.created, "updated": is.updated, "resolutiondate": is.resolved} {
		if _, asked := shown[id]; asked && !t.IsZero() {
			out[id] = v.pretty(t)
		}
	}
	if _, asked := shown["comment"]; asked {
		out["comment"] = v.renderedComments(is)
	}
	return out
}

func (v view) renderedComments(is *issue) m {
	list := []m{}
	for _, c := range is.comments {
		if !v.sees(c) {
			continue
		}
		b := v.comment(is, c)
		b["body"], b["created"], b["updated"] = Render(c.body), v.pretty(c.created), v.pretty(c.updated)
		list = append(list, b)
	}
	return m{"comments": list, "maxResults": len(list), "total": len(list), "startAt": 0}
}

// pretty is a date for people; nothing should parse it.
func (v view) pretty(t time.Time) string { return t.In(v.s.zone).Format("02/Jan/06 3:04 PM") }

func (v view) changelog(is *issue, start, count int) m {
	list := []m{}
	for _, h := range is.past[min(start, len(is.past)):min(start+count, len(is.past))] {
		entry := m{"id": h.id, "author": v.person(h.author), "created": v.when(h.created), "items": v.items(h.items)}
		if h.meta != nil {
			entry["historyMetadata"] = h.meta
		}
		list = append(list, entry)
	}
	return m{"startAt": start, "maxResults": count, "total": len(is.past), "histories": list}
}

// items is a change in detail; only Cloud tells the field's id.
func (v view) items(items []change) []m {
	list := []m{}
	for _, c := range items {
		one := m{"field": c.field, "fieldtype": c.kind, "from": c.from, "fromString": c.fromText, "to": c.to, "toString": c.toText}
		if v.s.cloud() {
			one["fieldId"] = c.fieldID
		}
		list = append(list, one)
	}
	return list
}

// remark is one line of the history that no form sets.
func remark(field string, from, fromText, to, toText *string) change {
	return change{field: field, fieldID: field, kind: "jira", from: from, fromText: fromText, to: to, toText: toText}
}

func statusChange(from, to Status) change {
	return remark("status", str(from.ID), str(from.Name), str(to.ID), str(to.Name))
}

func numberOf(id string) (n int) {
	_, _ = fmt.Sscan(id, &n)
	return n
}
