package jira

import (
	"context"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a bare container has no zone files

	"passerelle"
)

const sweepOp = "jira: look for changes"

// overlap is how far before its cursor a sweep looks again. Jira's index may
// learn of a change minutes after it knows later ones. And JQL's dates are local
// time, to the minute: in the October night when an hour of it comes twice, Jira
// may take the second for the first, and look from an hour too late. What is
// told twice has no effect.
const overlap = 65 * time.Minute

// farthestWest is how far behind UTC local time can be.
const farthestWest = 12 * time.Hour

// cursorTime is how a cursor and a stamp are written, in UTC: the later is the
// greater text.
const cursorTime = "2006-01-02T15:04:05.000Z"

// Changed tells which issues changed since the cursor: those of Known, and all
// others that carry our mark, since a store that came from a backup may have
// forgotten them. So the one call with Others tells of every issue of ours. A
// batch of Known without Others only says which issues need not be asked for
// their mark, and costs no request; the exception is a project that no call has
// named since the process began, which is then searched: the calls of one round
// should all have the same cursor.
//
// What changed within 65 minutes before the cursor is told again. Not told are
// issues that were deleted, and what leaves an issue's `updated` as it was:
// watchers, votes, properties that are set by themselves.
func (j *Jira) Changed(ctx context.Context, since passerelle.Since) (*passerelle.Changes, error) {
	j.recognise(since.Known)
	projects := j.toSearch(since)
	if len(projects) == 0 && since.Others {
		return nil, call{op: sweepOp}.fail(passerelle.Stuck, "set project in the configuration", "it is not known which project to look at")
	}
	out, err := j.sweep(ctx, projects, since)
	if err != nil {
		return nil, err
	}
	j.searched(projects)
	return out, nil
}

// recognise notes issues of ours, by id and by number.
func (j *Jira) recognise(known []passerelle.Ref) {
	for _, ref := range known {
		for _, name := range []string{ref.Key, ref.Number} {
			if name != "" {
				j.issues.note(name, ourIssue)
			}
		}
	}
}

// toSearch lists the projects that a call is about: all that were ever named,
// or only those that are new, where the others were searched already.
func (j *Jira) toSearch(since passerelle.Since) []string {
	var list []string
	for _, ref := range since.Known {
		if isKey(ref.Number) {
			project, _, _ := strings.Cut(ref.Number, "-")
			list = append(list, project)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if !since.Others {
		return sortedOnce(slices.DeleteFunc(list, func(p string) bool { return slices.Contains(j.projects, p) }))
	}
	if j.cfg.Project != "" {
		list = append(list, j.cfg.Project)
	}
	return sortedOnce(append(list, j.projects...))
}

// searched notes projects whose changes are told up to the next cursor.
func (j *Jira) searched(projects []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.projects = sortedOnce(append(j.projects, projects...))
}

func sortedOnce(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

func (j *Jira) sweep(ctx context.Context, projects []string, since passerelle.Since) (*passerelle.Changes, error) {
	switch {
	case since.Cursor == "" && since.Others:
		return j.begin(ctx, projects)
	case since.Cursor == "" || len(projects) == 0:
		return &passerelle.Changes{Next: since.Cursor}, nil
	}
	cursor, err := time.Parse(time.RFC3339Nano, since.Cursor)
	if err != nil {
		return nil, call{op: sweepOp}.fail(passerelle.Stuck, "", "the cursor %q is no time: %w", since.Cursor, err)
	}
	// The account is asked each time: a new time zone would shift every date.
	me, err := j.askAccount(ctx)
	if err != nil {
		return nil, err
	}
	list, err := j.changedIn(ctx, projects, localTime(cursor.Add(-overlap), me.zone))
	if err != nil {
		return nil, err
	}
	out := &passerelle.Changes{Next: since.Cursor, Stamps: map[string]string{}}
	for _, f := range list {
		tell, err := j.isOurs(ctx, f)
		if err != nil {
			return nil, err
		}
		stamp := f.updated.Format(cursorTime)
		if tell {
			out.Keys = append(out.Keys, f.id)
		}
		if tell && !f.updated.IsZero() {
			out.Stamps[f.id] = stamp
		}
		if f.updated.After(cursor) {
			cursor, out.Next = f.updated, stamp
		}
	}
	return out, nil
}

// begin finds the first cursor: the newest change or, where there is no issue
// yet, what Jira says the time is.
func (j *Jira) begin(ctx context.Context, projects []string) (*passerelle.Changes, error) {
	var out passerelle.Changes
	err := j.inStanding(ctx, projects, func(projects []string) error {
		a, err := j.jql(ctx, call{op: sweepOp}, sweepQuery(projects, ""), map[string]any{"fields": []string{"updated"}, "maxResults": 1})
		if err != nil {
			return err
		}
		at := said(a)
		for _, f := range rows(a) {
			at = f.updated
		}
		if !at.IsZero() {
			out.Next = at.Format(cursorTime)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// localTime is a moment as JQL reads it: in the account's time zone. Where Jira
// does not tell the zone, it is early enough for every zone.
func localTime(t time.Time, zone string) string {
	at, err := time.LoadLocation(zone)
	if err != nil || zone == "" || zone == "Local" {
		at, t = time.UTC, t.Add(-farthestWest)
	}
	return t.In(at).Format("2006/01/02 15:04")
}
