package jira

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
)

// create makes an issue. It carries our mark from the first moment.
func (j *Jira) create(ctx context.Context, m *passerelle.Message, w *wish) (*passerelle.Receipt, error) {
	c := call{op: "jira: create issue", ticket: ticket(m), method: http.MethodPost, path: "/rest/api/2/issue", writes: true}
	w.fields["project"] = w.project
	if w.project == nil {
		if j.cfg.Project == "" {
			return nil, c.fail(passerelle.Stuck, "name the project in the template or in the configuration", "no project")
		}
		w.fields["project"] = map[string]any{"key": j.cfg.Project}
	}
	left := mark{ID: m.ID, Of: m.Of, Own: w.text(j.cfg.MarkField)}
	c.body = map[string]any{"fields": w.fields, "properties": []property{{markKey, left}}}
	a, err := j.do(ctx, c)
	if err != nil {
		return nil, err
	}
	ref := refOf(a.json)
	if !numeric(ref.Key) {
		return nil, c.fail(passerelle.Unsure, "", "the answer names no issue")
	}
	return &passerelle.Receipt{Ref: ref, Note: "issue " + ref.String()}, nil
}

func refOf(issue gjson.Result) passerelle.Ref {
	return passerelle.Ref{Key: issue.Get("id").String(), Number: issue.Get("key").String()}
}

// probeCreate looks for the issue by the broker's own id, and several times:
// Jira's index learns of an issue only after a while. Not finding it is certain
// only after the last search.
func (j *Jira) probeCreate(ctx context.Context, m *passerelle.Message, w *wish) (*passerelle.Receipt, error) {
	c := call{op: "jira: search issue", ticket: ticket(m)}
	own, project := w.text(j.cfg.MarkField), w.projectKey(j.cfg.Project)
	if own == "" || project == "" || len(j.cfg.SearchDelays) == 0 {
		return nil, c.fail(passerelle.Unsure, "set mark_field to the field that carries the broker's own id", "%w", passerelle.ErrUnknown)
	}
	for _, wait := range j.cfg.SearchDelays {
		if err := sleep(ctx, wait); err != nil {
			return nil, c.fail(passerelle.Unsure, "", "%w: the search was cut short: %w", passerelle.ErrUnknown, err)
		}
		ref, err := j.search(ctx, c, m, own, project)
		if statusOf(err) == http.StatusBadRequest { // the field cannot be searched
			return nil, c.fail(passerelle.Unsure, "let Jira index "+j.cfg.MarkField, "%w: %w", passerelle.ErrUnknown, err)
		}
		if err != nil {
			return nil, err
		}
		if ref.Key != "" {
			return &passerelle.Receipt{Ref: ref, Note: "issue " + ref.String() + ", found again"}, nil
		}
	}
	return nil, passerelle.ErrAbsent
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// search finds the issue that carries own and was not made by another message.
func (j *Jira) search(ctx context.Context, c call, m *passerelle.Message, own, project string) (passerelle.Ref, error) {
	a, err := j.jql(ctx, c, j.query(project, own), map[string]any{"fields": []string{j.cfg.MarkField}, "maxResults": 50})
	if err != nil {
		return passerelle.Ref{}, err
	}
	unmarked := false
	for _, issue := range a.json.Get("issues").Array() {
		if !carries(issue.Get("fields."+gjson.Escape(j.cfg.MarkField)), own) {
			continue
		}
		left, err := j.issueMark(ctx, c, issue.Get("id").String())
		if err != nil {
			return passerelle.Ref{}, err
		}
		if left.tells(m) {
			return refOf(issue), nil
		}
		unmarked = unmarked || left.ID == ""
	}
	if unmarked { // somebody else's number in that field, or our mark is gone: a person must look
		return passerelle.Ref{}, passerelle.ErrUnknown
	}
	return passerelle.Ref{}, nil
}

// query is bounded by the project. Jira compares words only, so the exact
// comparison is ours.
func (j *Jira) query(project, own string) string {
	field, operator, value := quote(j.cfg.MarkField), "~", `"`+strings.ReplaceAll(own, `"`, " ")+`"`
	if n, custom := strings.CutPrefix(j.cfg.MarkField, "customfield_"); custom && numeric(n) {
		field = "cf[" + n + "]"
	}
	if j.cfg.MarkField == "labels" {
		operator, value = "=", own
	}
	return fmt.Sprintf("project = %s AND %s %s %s ORDER BY created DESC", quote(project), field, operator, quote(value))
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func carries(v gjson.Result, own string) bool {
	if v.IsArray() {
		for _, one := range v.Array() {
			if flat(one) == own {
				return true
			}
		}
	}
	return strings.TrimSpace(flat(v)) == own
}

// issueMark is the mark that an issue carries; empty for none.
func (j *Jira) issueMark(ctx context.Context, c call, id string) (mark, error) {
	c.method, c.path, c.body = http.MethodGet, issuePath(id), nil
	c.query = url.Values{"fields": {"summary"}, "properties": {markKey}}
	a, err := j.do(ctx, c)
	if err != nil {
		return mark{}, err
	}
	return readMark(a.json.Get("properties." + markKey)), nil
}
