package jira

import (
	"context"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"passerelle"
)

// transition is one way that an issue may go now.
type transition struct {
	id, name string
	to       gjson.Result // the status it leads to
	screen   gjson.Result // the fields it takes, by id
}

func (t *transition) title() string { return "« " + t.name + " »" }

// choose takes the transition to the most wanted goal. Of several that lead to
// one status it takes the first whose needs are met.
func (j *Jira) choose(ctx context.Context, m *passerelle.Message, w *wish, issue gjson.Result) (*transition, error) {
	c := call{op: moveOp, ticket: ticket(m)}
	if len(m.Goals) == 0 {
		return nil, c.fail(passerelle.Stuck, "mend the contract's table of statuses", "the message names no status to reach")
	}
	all, err := j.transitions(ctx, m)
	if err != nil {
		return nil, err
	}
	ways := slices.DeleteFunc(slices.Clone(all), func(t *transition) bool { return goal(m, t.to) < 0 })
	slices.SortStableFunc(ways, func(a, b *transition) int { return goal(m, a.to) - goal(m, b.to) })
	if len(ways) == 0 {
		if now, err := j.issue(ctx, moveOp, m); err == nil && now.Get("fields.status.id").String() != issue.Get("fields.status.id").String() {
			return nil, c.fail(passerelle.Temporary, "", "the issue moved to « %s » meanwhile", now.Get("fields.status.name").String())
		}
		return nil, c.fail(passerelle.Stuck, possible(all), "no transition leads from « %s » to %s",
			issue.Get("fields.status.name").String(), strings.Join(quoted(m.Goals), " or "))
	}
	for _, t := range ways {
		if len(t.missing(w, issue)) == 0 {
			return t, nil
		}
	}
	return nil, c.fail(passerelle.Stuck, "add them to the contract's template", "transition %s needs %s",
		ways[0].title(), strings.Join(ways[0].missing(w, issue), "; "))
}

func quoted(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, "« "+s+" »")
	}
	return out
}

// possible says where the issue could go.
func possible(all []*transition) string {
	if len(all) == 0 {
		return "Jira offers our account no transition at all here: check its permissions and the workflow"
	}
	var list []string
	for _, t := range all {
		list = append(list, t.title()+" leads to « "+t.to.Get("name").String()+" »")
	}
	return "possible now: " + strings.Join(list, ", ")
}

// missing lists the fields that the transition needs, and that neither the
// message nor the issue has.
func (t *transition) missing(w *wish, issue gjson.Result) []string {
	var list []string
	t.screen.ForEach(func(k, meta gjson.Result) bool {
		id := k.String()
		_, given := w.fields[id]
		if meta.Get("required").Bool() && !meta.Get("hasDefaultValue").Bool() && !given && flat(issue.Get("fields."+gjson.Escape(id))) == "" {
			list = append(list, need(id, meta))
		}
		return true
	})
	slices.Sort(list)
	return list
}

// need describes a field and what it takes.
func need(id string, meta gjson.Result) string {
	s := id
	if name := meta.Get("name").String(); name != "" && name != id {
		s = name + " (" + id + ")"
	}
	var allowed []string
	for _, v := range meta.Get("allowedValues").Array() {
		allowed = append(allowed, "« "+flat(v)+" »")
	}
	if len(allowed) > 20 {
		allowed = append(allowed[:20], "…")
	}
	if len(allowed) > 0 {
		s += ", one of " + strings.Join(allowed, ", ")
	}
	return s
}

// share splits fields into those that the transition's screen takes and the
// rest. A resolution can only be given to a screen.
func (t *transition) share(fields map[string]any) (onScreen, rest map[string]any) {
	onScreen, rest = map[string]any{}, map[string]any{}
	for id, v := range fields {
		switch {
		case t.screen.Get(gjson.Escape(id)).Exists():
			onScreen[id] = v
		case id != "resolution":
			rest[id] = v
		}
	}
	return onScreen, rest
}
