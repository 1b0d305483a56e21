package jira

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"passerelle"
)

// update sets the fields, then writes the comment: internal unless the message
// is public (R16).
func (j *Jira) update(ctx context.Context, m *passerelle.Message, w *wish) (*passerelle.Receipt, error) {
	if err := j.edit(ctx, m, w.fields); err != nil {
		return nil, err
	}
	if strings.TrimSpace(w.comment) == "" {
		return &passerelle.Receipt{Note: "fields " + names(w.fields)}, nil
	}
	c := call{op: "jira: comment", ticket: ticket(m), method: http.MethodPost, path: issuePath(m.Key, "comment"), writes: true}
	c.body = map[string]any{"body": w.comment, "properties": []property{
		{publicKey, map[string]bool{"internal": !m.Public}},
		{markKey, mark{ID: m.ID, Of: m.Of, Sum: digest(w.comment)}},
	}}
	a, err := j.do(ctx, c)
	if err != nil {
		return nil, err
	}
	id, issue := a.json.Get("id").String(), issueOf(a.json.Get("self").String())
	if numeric(m.Key) {
		issue = m.Key
	}
	if id == "" || issue == "" {
		return nil, c.fail(passerelle.Unsure, "", "the answer names no comment")
	}
	return commented(issue, id, m.Public), nil
}

func commented(issue, id string, public bool) *passerelle.Receipt {
	note := "internal comment"
	if public {
		note = "public comment"
	}
	return &passerelle.Receipt{Names: []string{commentName(issue, id, public)}, Note: note}
}

// issueOf reads the issue's id out of a comment's address:
// …/issue/{id}/comment/{id}.
func issueOf(self string) string {
	_, rest, found := strings.Cut(self, "/issue/")
	id, _, more := strings.Cut(rest, "/comment/")
	if !found || !more || !numeric(id) && !isKey(id) {
		return ""
	}
	return id
}

// names lists fields for people.
func names(fields map[string]any) string {
	return strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
}

// probeUpdate finds the comment by its mark, of this message or of the same fact.
// Without a comment, the fields themselves tell.
func (j *Jira) probeUpdate(ctx context.Context, m *passerelle.Message, w *wish) (*passerelle.Receipt, error) {
	const op = "jira: find comment"
	issue, err := j.issue(ctx, op, m)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(w.comment) == "" {
		if !w.stands(issue) {
			return nil, passerelle.ErrAbsent
		}
		return &passerelle.Receipt{Note: "fields " + names(w.fields)}, nil
	}
	id := issue.Get("id").String()
	list, err := j.comments(ctx, op, ticket(m), id)
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if c.mark.tells(m) {
			return commented(id, c.id, c.public), nil
		}
	}
	if either := unnamed(m, w, id, list); len(either) > 0 {
		return &passerelle.Receipt{Either: either, Note: "comment with the same text"}, nil
	}
	return nil, passerelle.ErrAbsent
}

// unnamed lists, after a restore, the comments with the message's text that we
// wrote without saying what fact they tell, as an older version did.
func unnamed(m *passerelle.Message, w *wish, issue string, list []comment) []string {
	var names []string
	for _, c := range list {
		if m.Restored && c.mark.Of == "" && c.mark.Sum == digest(w.comment) && c.public == m.Public {
			names = append(names, commentName(issue, c.id, c.public))
		}
	}
	return names
}

// issue reads an issue's values and history, without its comments.
func (j *Jira) issue(ctx context.Context, op string, m *passerelle.Message) (gjson.Result, error) {
	a, err := j.do(ctx, call{op: op, ticket: ticket(m), method: http.MethodGet, path: issuePath(m.Key), query: url.Values{
		"fields": {"*all,-comment,-worklog"}, "expand": {"changelog,names"},
	}})
	if err != nil {
		return gjson.Result{}, err
	}
	return a.json, nil
}

// stands tells whether the issue has all the wish's fields as wanted.
func (w *wish) stands(issue gjson.Result) bool {
	for field := range w.fields {
		now := flat(issue.Get("fields." + gjson.Escape(field)))
		if digest(now) != digest(w.text(field)) {
			return false
		}
	}
	return true
}
