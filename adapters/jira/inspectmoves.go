package jira

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"passerelle"
)

// moves looks for a transition for each change of status that a message makes,
// from an issue that stands there; without one Jira does not tell. What the
// transitions' own screens take is added to screen.
func (in *inspection) moves(ctx context.Context, m passerelle.MessageNeed, screen map[string]gjson.Result) error {
	for _, move := range m.Moves {
		for _, from := range move.From {
			key, err := in.issueIn(ctx, from)
			if err != nil {
				return err
			}
			if err := in.way(ctx, m, from, key, move.To, screen); err != nil {
				return err
			}
		}
	}
	return nil
}

func (in *inspection) way(ctx context.Context, m passerelle.MessageNeed, from, key string, to []string, screen map[string]gjson.Result) error {
	const subject = "the transitions"
	what := "from « " + from + " » to " + join(quoted(to), " or ")
	if key == "" {
		in.found.Add(passerelle.Unsaid, subject, what, m.File, "no issue of "+in.project+" stands in the first status now: bring a test issue there, and check again")
		return nil
	}
	msg := &passerelle.Message{Key: key, Goals: to}
	all, err := in.waysFrom(ctx, msg)
	if err != nil {
		return err
	}
	issue, err := in.j.issue(ctx, inspectOp, msg)
	if err != nil {
		return err
	}
	w := &wish{fields: map[string]any{}}
	for _, f := range m.Fields {
		w.fields[f.Code] = f.Code
	}
	var lacks []string
	for _, t := range all {
		if goal(msg, t.to) < 0 {
			continue
		}
		if lacks = t.missing(w, issue); len(lacks) == 0 {
			t.screen.ForEach(func(k, v gjson.Result) bool { screen[k.String()] = v; return true })
			in.found.Met(subject, what+" ("+t.title()+")")
			return nil
		}
	}
	if len(lacks) > 0 {
		in.found.Add(passerelle.Missing, subject, what+": it needs "+strings.Join(lacks, "; "), m.File, "Jira's administrator: make them optional; or add them to the template")
		return nil
	}
	in.found.Add(passerelle.Missing, subject, what+": no transition leads there from "+key, m.File, "Jira's administrator: add it to the workflow, and let our account use it; "+possible(all))
	return nil
}

func (in *inspection) waysFrom(ctx context.Context, m *passerelle.Message) ([]*transition, error) {
	if list, known := in.ways[m.Key]; known {
		return list, nil
	}
	list, err := in.j.transitions(ctx, m)
	if err == nil {
		in.ways[m.Key] = list
	}
	return list, err
}

func join(list []string, by string) string { return strings.Join(list, by) }

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// permission is one that the contract's messages need.
type permission struct{ key, name string }

func (in *inspection) wanted() []permission {
	list := []permission{{"BROWSE_PROJECTS", "Browse Projects"}, {"CREATE_ISSUES", "Create Issues"}, {"EDIT_ISSUES", "Edit Issues"},
		{"TRANSITION_ISSUES", "Transition Issues"}, {"ADD_COMMENTS", "Add Comments"}}
	if slices.ContainsFunc(in.n.Messages, func(m passerelle.MessageNeed) bool { return m.Files }) {
		list = append(list, permission{"CREATE_ATTACHMENTS", "Create Attachments"})
	}
	if slices.ContainsFunc(in.create.Fields, func(f passerelle.FieldNeed) bool { return f.Code == "reporter" }) {
		list = append(list, permission{"MODIFY_REPORTER", "Modify Reporter"})
	}
	return list
}

func (in *inspection) permissions(ctx context.Context) error {
	const subject = "the account's permissions"
	var keys []string
	for _, p := range in.wanted() {
		keys = append(keys, p.key)
	}
	a, status, err := in.get(ctx, "mypermissions", url.Values{"projectKey": {in.project}, "permissions": {strings.Join(keys, ",")}})
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		in.found.Add(passerelle.Unsaid, subject, fmt.Sprintf("Jira does not tell them (HTTP %d)", status), "", "look at the project's permission scheme")
		return nil
	}
	for _, p := range in.wanted() {
		have := a.json.Get("permissions." + p.key + ".havePermission")
		switch {
		case have.Bool():
			in.found.Met(subject, "« "+p.name+" »")
		case have.Exists():
			in.found.Add(passerelle.Missing, subject, "no « "+p.name+" » in "+in.project, "", "Jira's administrator: grant it in the project's permission scheme")
		default:
			in.found.Add(passerelle.Unsaid, subject, "Jira does not know « "+p.name+" »", "", "look at the project's permission scheme")
		}
	}
	return nil
}

// commentRights reads the property that tells an internal comment from a public
// one: where it is hidden, every comment counts as internal (R16).
func (in *inspection) commentRights(ctx context.Context) error {
	const subject, what = "comments", "who may read a comment (property " + publicKey + ")"
	for _, status := range sorted(in.issues) {
		key := in.issues[status]
		if key == "" {
			continue
		}
		a, _, err := in.get(ctx, "issue/"+url.PathEscape(key)+"/comment", url.Values{"maxResults": {"1"}, "expand": {"properties"}})
		if err != nil {
			return err
		}
		c := a.json.Get("comments.0")
		if !c.Exists() {
			continue
		}
		p, err := in.j.commentProperties(ctx, inspectOp, key, c)
		if err != nil {
			return err
		}
		if p.sure {
			in.found.Met(subject, what)
		} else {
			in.found.Add(passerelle.Missing, subject, what+" is hidden from our account", "", "Jira's administrator: make the account an agent of the service desk; until then every comment is taken for internal")
		}
		return nil
	}
	in.found.Add(passerelle.Unsaid, subject, what, "", "no comment was found to try it on: check again once an issue has one")
	return nil
}

func (in *inspection) attachments(ctx context.Context) error {
	i := slices.IndexFunc(in.n.Messages, func(m passerelle.MessageNeed) bool { return m.Files })
	if i < 0 {
		return nil
	}
	a, status, err := in.get(ctx, "attachment/meta", nil)
	if err != nil {
		return err
	}
	switch {
	case status == http.StatusOK && a.json.Get("enabled").Bool():
		in.found.Met("attachments", fmt.Sprintf("files of up to %d bytes", a.json.Get("uploadLimit").Int()))
	case status == http.StatusOK:
		in.found.Add(passerelle.Missing, "attachments", "they are switched off", in.n.Messages[i].File, "Jira's administrator: allow them (System, Attachments)")
	default:
		in.found.Add(passerelle.Unsaid, "attachments", fmt.Sprintf("Jira does not tell whether it takes any (HTTP %d)", status), in.n.Messages[i].File, "attach a file by hand")
	}
	return nil
}
