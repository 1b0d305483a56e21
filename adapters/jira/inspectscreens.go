package jira

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/tidwall/gjson"

	"passerelle"
)

// createScreen compares the create template with what Jira asks for there.
func (in *inspection) createScreen(ctx context.Context) error {
	if in.create.File == "" {
		return nil
	}
	base := "issue/createmeta/" + url.PathEscape(in.project) + "/issuetypes"
	types, status, err := in.pages(ctx, base)
	if err != nil {
		return err
	}
	subject := "the create screen of " + in.project
	if status != http.StatusOK {
		in.found.Add(passerelle.Unsaid, subject, fmt.Sprintf("Jira does not describe it (HTTP %d)", status), in.create.File,
			"a Jira before 8.4 cannot; else give the account « Create Issues » in "+in.project)
		return nil
	}
	i := slices.IndexFunc(types, func(t gjson.Result) bool { return t.Get("name").String() == in.create.Type })
	if i < 0 {
		in.found.Add(passerelle.Missing, subject, "no type of issue « "+in.create.Type+" »", in.create.File,
			"Jira's administrator: add it to the project; or correct the template (there are: "+listed(types)+")")
		return nil
	}
	in.found.Met("Jira", "type of issue « "+in.create.Type+" »")
	metas, _, err := in.pages(ctx, base+"/"+url.PathEscape(types[i].Get("id").String()))
	if err != nil {
		return err
	}
	screen := map[string]gjson.Result{}
	for _, f := range metas {
		screen[orElse(f.Get("fieldId").String(), f.Get("key").String())] = f
	}
	for _, f := range in.create.Fields {
		if err := in.onScreen(ctx, subject, in.create.File, f, screen[f.Code]); err != nil {
			return err
		}
	}
	in.required(subject, screen)
	return nil
}

// pages reads a list that comes in pages; Data Center calls it values, Cloud by
// what it holds.
func (in *inspection) pages(ctx context.Context, path string) ([]gjson.Result, int, error) {
	var list []gjson.Result
	for p := (paging{}); ; {
		a, status, err := in.get(ctx, path, url.Values{"startAt": {strconv.Itoa(len(list))}, "maxResults": {"50"}})
		if err == nil && status == http.StatusOK {
			err = p.end(call{op: "jira: inspect"}, a, len(list))
		}
		if err != nil || status != http.StatusOK {
			return list, status, err
		}
		var page []gjson.Result
		for _, name := range []string{"values", "issueTypes", "fields"} {
			page = append(page, a.json.Get(name).Array()...)
		}
		list = append(list, page...)
		total := a.json.Get("total")
		if len(page) == 0 || total.Exists() && int64(len(list)) >= total.Int() {
			return list, status, nil
		}
	}
}

// onScreen compares one field with its place on a screen.
func (in *inspection) onScreen(ctx context.Context, subject, file string, f passerelle.FieldNeed, meta gjson.Result) error {
	name := in.name(f.Code)
	switch {
	case !meta.Exists() && !in.fields[f.Code].Exists():
		in.found.Add(passerelle.Missing, subject, f.Code+" does not exist in this Jira", file,
			"Jira's administrator: create it; or correct the id in the contract: ids differ from one Jira to the next")
		return nil
	case !meta.Exists():
		in.found.Add(passerelle.Missing, subject, name+" is not on the screen", file, "Jira's administrator: put it there; or take it out of the template")
		return nil
	}
	if wants := misshapen(f, meta.Get("schema.type").String()); wants != "" {
		in.found.Add(passerelle.Missing, subject, name+" is written in another form than Jira takes", file, "write it in the template as "+wants)
		return nil
	}
	if meta.Get("schema.type").String() == "user" {
		return in.people(ctx, subject, file, name, f.Values)
	}
	in.values(subject, file, name, f.Values, meta)
	return nil
}

// values reports those that the field does not take.
func (in *inspection) values(subject, file, name string, values []string, meta gjson.Result) {
	list := meta.Get("allowedValues")
	allowed := list.Array()
	good := true
	for _, want := range values {
		takes := func(v gjson.Result) bool {
			return want == flat(v) || want == v.Get("name").String() || want == v.Get("id").String() || want == v.Get("key").String()
		}
		if list.IsArray() && !slices.ContainsFunc(allowed, takes) {
			good = false
			in.found.Add(passerelle.Missing, subject, name+" does not take « "+want+" »", file,
				"Jira's administrator: add it; or correct the contract's tables (there are: "+listed(allowed)+")")
		}
	}
	if good {
		in.found.Met(subject, name)
	}
}

// people looks for the accounts that a template names.
func (in *inspection) people(ctx context.Context, subject, file, name string, who []string) error {
	for _, w := range who {
		if in.j.cfg.Cloud {
			in.found.Add(passerelle.Unsaid, subject, name+": whether « "+w+" » is an account", file, "Cloud finds people by accountId only: make one ticket by hand")
			continue
		}
		_, status, err := in.get(ctx, "user", url.Values{"username": {w}})
		if err != nil {
			return err
		}
		switch status {
		case http.StatusOK:
		case http.StatusNotFound:
			in.found.Add(passerelle.Missing, subject, name+": there is no account « "+w+" »", file, "Jira's administrator: create it; or correct the template (it wants the login, not the name that is shown)")
			return nil
		default:
			in.found.Add(passerelle.Unsaid, subject, name+": whether « "+w+" » is an account", file, "give our account « Browse Users », or look there")
		}
	}
	in.found.Met(subject, name)
	return nil
}

// misshapen says in which form Jira takes a field, if it is another one.
func misshapen(f passerelle.FieldNeed, kind string) string {
	switch {
	case kind == "array" && !f.List:
		return `a list: [ … ]`
	case kind == "option" && f.Member != "value" && f.Member != "id":
		return `{"value": …}`
	case slices.Contains([]string{"priority", "resolution", "user", "issuetype"}, kind) && f.Member == "":
		return `{"name": …}`
	case slices.Contains([]string{"string", "date", "datetime", "number"}, kind) && (f.List || f.Member != ""):
		return "a plain text"
	}
	return ""
}

// required reports what Jira insists on and the template does not set.
func (in *inspection) required(subject string, screen map[string]gjson.Result) {
	for _, id := range sorted(screen) {
		meta := screen[id]
		set := slices.ContainsFunc(in.create.Fields, func(f passerelle.FieldNeed) bool { return f.Code == id })
		if id == "project" || set || !meta.Get("required").Bool() || meta.Get("hasDefaultValue").Bool() {
			continue
		}
		in.found.Add(passerelle.Missing, subject, "Jira requires "+need(id, meta)+", which the contract does not set", in.create.File,
			"Jira's administrator: make it optional or give it a default; or add it to the template")
	}
}

// messages looks at what is sent to an issue that is there already.
func (in *inspection) messages(ctx context.Context) error {
	for _, m := range in.n.Messages {
		if m.Op == "core/create" {
			continue
		}
		screen, key, err := in.editScreen(ctx, m)
		if err != nil {
			return err
		}
		if err := in.moves(ctx, m, screen); err != nil {
			return err
		}
		if err := in.later(ctx, m, screen, key); err != nil {
			return err
		}
	}
	return nil
}

// editScreen is the edit screen of an issue in one of the statuses in which a
// message is sent, with that issue's key; empty if there is no such issue.
func (in *inspection) editScreen(ctx context.Context, m passerelle.MessageNeed) (map[string]gjson.Result, string, error) {
	screen := map[string]gjson.Result{}
	for _, status := range m.Whence {
		key, err := in.issueIn(ctx, status)
		if err != nil {
			return nil, "", err
		}
		if key == "" {
			continue
		}
		meta, known := in.edits[key]
		if !known {
			a, _, err := in.get(ctx, "issue/"+url.PathEscape(key)+"/editmeta", nil)
			if err != nil {
				return nil, "", err
			}
			meta = a.json.Get("fields")
			in.edits[key] = meta
		}
		meta.ForEach(func(k, v gjson.Result) bool { screen[k.String()] = v; return true })
		return screen, key, nil
	}
	return screen, "", nil
}

// later looks for a message's fields on the screens that may take them.
func (in *inspection) later(ctx context.Context, m passerelle.MessageNeed, screen map[string]gjson.Result, key string) error {
	for _, f := range m.Fields {
		subject := "the edit and transition screens of " + in.project
		switch {
		case key != "":
			if err := in.onScreen(ctx, subject, m.File, f, screen[f.Code]); err != nil {
				return err
			}
		case !in.fields[f.Code].Exists():
			if err := in.onScreen(ctx, subject, m.File, f, gjson.Result{}); err != nil {
				return err
			}
		default:
			in.found.Add(passerelle.Unsaid, subject, in.name(f.Code)+" exists; whether it is on the screens", m.File,
				"no issue of "+in.project+" stands in the statuses in which they are sent: bring a test issue there, and check again")
		}
	}
	return nil
}
