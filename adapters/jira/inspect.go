package jira

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"passerelle"
)

var _ passerelle.Inspector = (*Jira)(nil)

// inspection asks a Jira for what one contract needs, and keeps what it finds.
// It reads only.
type inspection struct {
	j       *Jira
	n       *passerelle.Needs
	create  passerelle.MessageNeed // the template that creates issues; empty without one
	project string
	found   passerelle.Findings
	fields  map[string]gjson.Result // all fields of this Jira, by id
	issues  map[string]string       // an issue's key by the status it stands in; "" for none
	edits   map[string]gjson.Result // an issue's edit screen, by its key
	ways    map[string][]*transition
}

const inspectOp = "jira: inspect"

// Inspect asks Jira whether it has what a contract needs: project, type, screens,
// values, statuses and transitions, the field of the mark, permissions. A Jira
// that refuses the account is not asked twice: it would lock it.
func (j *Jira) Inspect(ctx context.Context, n *passerelle.Needs) []passerelle.Finding {
	in := &inspection{j: j, n: n, project: j.cfg.Project, fields: map[string]gjson.Result{}, issues: map[string]string{},
		edits: map[string]gjson.Result{}, ways: map[string][]*transition{}}
	for _, m := range n.Messages {
		if m.Op == "core/create" {
			in.create, in.project = m, orElse(m.Project, j.cfg.Project)
		}
	}
	for _, step := range []func(context.Context) error{in.account, in.allFields, in.place, in.createScreen, in.statuses,
		in.messages, in.markField, in.permissions, in.commentRights, in.attachments} {
		if err := step(ctx); err != nil {
			in.found.Stopped("Jira", err)
			break
		}
	}
	return in.found
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// errEnough ends an inspection whose last finding says why.
var errEnough = errors.New("there is nothing more to ask")

// get reads from Jira. An error that says something about the thing asked for,
// rather than about Jira or the account, is left to the caller by its status.
func (in *inspection) get(ctx context.Context, path string, query url.Values) (a *answer, status int, err error) {
	return in.ask(ctx, call{op: inspectOp, method: http.MethodGet, path: "/rest/api/2/" + path, query: query})
}

func (in *inspection) ask(ctx context.Context, c call) (*answer, int, error) {
	a, err := in.j.do(ctx, c)
	if err == nil {
		return a, a.status, nil
	}
	status := statusOf(err)
	told := status == http.StatusNotImplemented || status > 0 && passerelle.ClassOf(err) == passerelle.Stuck
	if told {
		return &answer{}, status, nil
	}
	return nil, 0, err
}

func (in *inspection) account(ctx context.Context) error {
	me, err := in.j.whoami(ctx)
	if err != nil {
		return err
	}
	in.found.Met("Jira", "the account "+orElse(me.name, me.id)+" can log in")
	return nil
}

func (in *inspection) allFields(ctx context.Context) error {
	a, _, err := in.get(ctx, "field", nil)
	if err != nil {
		return err
	}
	for _, f := range a.json.Array() {
		in.fields[f.Get("id").String()] = f
	}
	return nil
}

// place looks for the project.
func (in *inspection) place(ctx context.Context) error {
	if in.project == "" {
		in.found.Add(passerelle.Missing, "Jira", "no project is named", in.create.File, "name it in the template, or as project in gateway.yaml")
		return errEnough
	}
	_, status, err := in.get(ctx, "project/"+url.PathEscape(in.project), nil)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		in.found.Add(passerelle.Missing, "Jira", "the account sees no project "+in.project, in.create.File,
			"Jira's administrator: create it, or give the account « Browse Projects » there; or correct the key in the contract")
		return errEnough
	}
	in.found.Met("Jira", "project "+in.project)
	return nil
}

// statuses looks for the contract's statuses among those of the project's type.
func (in *inspection) statuses(ctx context.Context) error {
	a, status, err := in.get(ctx, "project/"+url.PathEscape(in.project)+"/statuses", nil)
	if err != nil {
		return err
	}
	subject := "the statuses of " + in.project
	if status != http.StatusOK {
		in.found.Add(passerelle.Unsaid, subject, fmt.Sprintf("Jira does not list them (HTTP %d)", status), "", "look at the project's workflow")
		return nil
	}
	var there, all []gjson.Result
	for _, t := range a.json.Array() {
		all = append(all, t.Get("statuses").Array()...)
		if t.Get("name").String() == in.create.Type {
			there = append(there, t.Get("statuses").Array()...)
		}
	}
	if there == nil { // a type that is not there is told by createScreen
		there = all
	}
	for _, s := range in.n.Statuses {
		for _, w := range s.Words {
			if slices.ContainsFunc(there, func(v gjson.Result) bool { return goal(&passerelle.Message{Goals: []string{w}}, v) == 0 }) {
				in.found.Met(subject, "« "+w+" »")
				continue
			}
			in.found.Add(passerelle.Missing, subject, fmt.Sprintf("no status « %s » (state %s)", w, s.State), "values.csv",
				"Jira's administrator: add it to the workflow; or correct values.csv (there are: "+listed(there)+")")
		}
	}
	return nil
}

// listed names some of Jira's own things.
func listed(values []gjson.Result) string {
	var list []string
	for _, v := range values {
		if s := "« " + flat(v) + " »"; !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	if len(list) > 20 {
		list = append(list[:20], "…")
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// markField makes the search by which a lost create would be found again.
func (in *inspection) markField(ctx context.Context) error {
	id := in.j.cfg.MarkField
	const subject = "the field of the gateway's own id (mark_field)"
	switch {
	case id == "":
		in.found.Add(passerelle.Unsaid, subject, "none is configured", "gateway.yaml", "name one: without it a create whose answer is lost waits for a person")
		return nil
	case !in.fields[id].Exists():
		in.found.Add(passerelle.Missing, subject, id+" does not exist in this Jira", "gateway.yaml", "the gateway's operator: correct mark_field")
		return nil
	case !slices.ContainsFunc(in.create.Fields, func(f passerelle.FieldNeed) bool { return f.Code == id }):
		in.found.Add(passerelle.Missing, subject, in.name(id)+" is not set when an issue is created", "gateway.yaml", "set it to $this->id$ in "+in.create.File+", or name the field that is")
		return nil
	}
	status, _, err := in.search(ctx, in.j.query(in.project, "0"))
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		in.found.Add(passerelle.Missing, subject, in.name(id)+" cannot be searched", "gateway.yaml", "Jira's administrator: give the field a text searcher and rebuild the index")
		return nil
	}
	in.found.Met(subject, in.name(id)+" can be searched")
	return nil
}

// search makes a search for one issue.
func (in *inspection) search(ctx context.Context, jql string) (status int, issue gjson.Result, err error) {
	c := call{op: inspectOp, method: http.MethodPost, path: "/rest/api/2/search"}
	if in.j.cfg.Cloud {
		c.path = "/rest/api/3/search/jql"
	}
	c.body = map[string]any{"jql": jql, "fields": []string{"status"}, "maxResults": 1}
	a, status, err := in.ask(ctx, c)
	if err != nil {
		return 0, gjson.Result{}, err
	}
	return status, a.json.Get("issues.0"), nil
}

// issueIn is the key of an issue that stands in a status, or "".
func (in *inspection) issueIn(ctx context.Context, status string) (string, error) {
	if key, known := in.issues[status]; known {
		return key, nil
	}
	jql := "project = " + quote(in.project) + " AND status = " + quote(status)
	if in.create.Type != "" {
		jql += " AND issuetype = " + quote(in.create.Type)
	}
	_, issue, err := in.search(ctx, jql+" ORDER BY updated DESC")
	if err != nil {
		return "", err
	}
	in.issues[status] = issue.Get("key").String()
	return in.issues[status], nil
}

// name is a field's id, with what people call it.
func (in *inspection) name(id string) string {
	if name := in.fields[id].Get("name").String(); name != "" && name != id {
		return id + " (" + name + ")"
	}
	return id
}
