package jira

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
)

// pageSize is how many issues a sweep asks for at once, and pageOverlap how many
// of them again with the next page.
const pageSize, pageOverlap = 100, 5

// found is one issue of a search.
type found struct {
	id, number string
	updated    time.Time
	properties gjson.Result // Cloud only
}

// sweepQuery asks for what changed, the newest first: an issue that changes
// while the pages are read shifts others to a later page, never to one that was
// read already, and is itself newer than the cursor of the next sweep.
func sweepQuery(projects []string, from string) string {
	var list []string
	for _, p := range projects {
		list = append(list, quote(p))
	}
	clause := "project in (" + strings.Join(list, ", ") + ")"
	if from != "" {
		clause += " AND updated >= " + quote(from)
	}
	return clause + " ORDER BY updated DESC, key DESC"
}

// jql makes a search: Data Center's or, where that is gone, Cloud's own.
func (j *Jira) jql(ctx context.Context, c call, query string, more map[string]any) (*answer, error) {
	c.method, c.path = http.MethodPost, "/rest/api/2/search"
	if j.cfg.Cloud {
		c.path = "/rest/api/3/search/jql"
	}
	body := maps.Clone(more)
	body["jql"] = query
	c.body = body
	a, err := j.do(ctx, c)
	if err == nil && !a.json.Get("issues").IsArray() {
		return nil, c.fail(passerelle.Down, "is this a Jira?", "the answer lists no issues")
	}
	return a, err
}

// rows reads one page. An `updated` that is to come is taken for now: else one
// issue that was given a wrong date would hide all changes until then.
func rows(a *answer) []found {
	var list []found
	now := said(a)
	for _, i := range a.json.Get("issues").Array() {
		f := found{id: i.Get("id").String(), number: i.Get("key").String(), updated: moment(i.Get("fields.updated").String()), properties: i.Get("properties")}
		if !now.IsZero() && f.updated.After(now.Add(time.Minute)) {
			f.updated = now
		}
		list = append(list, f)
	}
	return list
}

// said is what an answer says the time is; zero if it does not.
func said(a *answer) time.Time {
	t, err := http.ParseTime(a.head.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// pages are the issues of several pages, each once.
type pages struct {
	all  []found
	seen map[string]bool
}

func (p *pages) add(page []found) {
	for _, f := range page {
		if p.seen == nil {
			p.seen = map[string]bool{}
		}
		if !p.seen[f.id] {
			p.seen[f.id] = true
			p.all = append(p.all, f)
		}
	}
}

// changedIn lists the issues of projects that changed since a local time.
func (j *Jira) changedIn(ctx context.Context, projects []string, from string) (list []found, err error) {
	err = j.inStanding(ctx, projects, func(projects []string) (err error) {
		if j.cfg.Cloud {
			list, err = j.pagesByToken(ctx, sweepQuery(projects, from))
		} else {
			list, err = j.pagesByPlace(ctx, sweepQuery(projects, from))
		}
		return err
	})
	return list, err
}

// pagesByPlace reads all pages of a search of Data Center. They overlap: what
// was deleted or moved meanwhile shifts the rest to an earlier page, and if that
// is more than the overlap the list has a gap.
func (j *Jira) pagesByPlace(ctx context.Context, query string) ([]found, error) {
	var list pages
	p := paging{}
	for start := 0; ; {
		a, err := j.jql(ctx, call{op: sweepOp}, query, map[string]any{"fields": []string{"updated"}, "maxResults": pageSize, "startAt": start})
		if err == nil {
			err = p.end(call{op: sweepOp}, a, len(list.all))
		}
		if err != nil {
			return nil, err
		}
		page := rows(a)
		if start > 0 && len(page) > 0 && !list.seen[page[0].id] {
			return nil, call{op: sweepOp}.fail(passerelle.Temporary, "", "issues went away while the list was read")
		}
		list.add(page)
		if len(page) == 0 || int64(start+len(page)) >= a.json.Get("total").Int() {
			return list.all, nil
		}
		start += max(1, len(page)-pageOverlap)
	}
}

// pagesByToken reads all pages of a search of Cloud, which tells our mark with
// each issue.
func (j *Jira) pagesByToken(ctx context.Context, query string) ([]found, error) {
	var list pages
	body := map[string]any{"fields": []string{"updated"}, "properties": []string{markKey}, "maxResults": pageSize}
	for p := (paging{}); ; {
		a, err := j.jql(ctx, call{op: sweepOp}, query, body)
		if err == nil {
			err = p.end(call{op: sweepOp}, a, len(list.all))
		}
		if err != nil {
			return nil, err
		}
		list.add(rows(a))
		token := a.json.Get("nextPageToken").String()
		if token == "" || token == body["nextPageToken"] || a.json.Get("isLast").Bool() {
			return list.all, nil
		}
		body["nextPageToken"] = token
	}
}

// inStanding makes a search in projects. Jira refuses it whole if it does not
// know one of them: then in those that it still knows, under their present keys.
func (j *Jira) inStanding(ctx context.Context, projects []string, search func([]string) error) error {
	refused := search(projects)
	if statusOf(refused) != http.StatusBadRequest {
		return refused
	}
	standing, err := j.standing(ctx, projects)
	switch {
	case err != nil:
		return err
	case len(standing) == 0 || slices.Equal(standing, projects):
		return refused
	}
	return search(standing)
}

// standing asks which of the projects Jira has and shows to our account. An
// issue of another could not be read; but the configured one must be there.
func (j *Jira) standing(ctx context.Context, projects []string) ([]string, error) {
	var list []string
	for _, p := range projects {
		a, err := j.do(ctx, call{op: sweepOp, method: http.MethodGet, path: "/rest/api/2/project/" + url.PathEscape(p)})
		switch {
		case statusOf(err) == http.StatusNotFound && p != j.cfg.Project:
		case statusOf(err) == http.StatusNotFound:
			return nil, call{op: sweepOp}.fail(passerelle.Stuck, "set project to one that our account may browse", "project %s: %w", p, err)
		case err != nil:
			return nil, err
		default:
			list = append(list, a.json.Get("key").String())
		}
	}
	return sortedOnce(list), nil
}

// What is known of an issue.
const ourIssue, strangeIssue = "ours", "a stranger"

// isOurs tells whether an issue is one of ours. Our mark is left at the create,
// or never: Jira is asked once for each issue. One that went away meanwhile is
// not told.
func (j *Jira) isOurs(ctx context.Context, f found) (bool, error) {
	switch is := j.issues.of(f.id); {
	case is == ourIssue || j.issues.of(f.number) == ourIssue:
		return true, nil
	case is == strangeIssue:
		return false, nil
	}
	left := readMark(f.properties.Get(markKey))
	if !f.properties.Exists() {
		var err error
		left, err = j.issueMark(ctx, call{op: sweepOp, ticket: passerelle.Ref{Key: f.id, Number: f.number}.String()}, f.id)
		if hidden(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	if left.ID == "" {
		j.issues.note(f.id, strangeIssue)
		return false, nil
	}
	j.issues.note(f.id, ourIssue)
	return true, nil
}
