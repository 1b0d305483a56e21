package jira

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
)

// Read returns all that Jira says of an issue, by its id or key. An issue that
// was deleted, or hidden from our account, is Gone: Jira does not tell which.
func (j *Jira) Read(ctx context.Context, key string) (*passerelle.Snapshot, error) {
	const op = "jira: read issue"
	a, err := j.do(ctx, call{op: op, ticket: key, method: http.MethodGet, path: issuePath(key), query: url.Values{
		"fields": {"*all"}, "expand": {"renderedFields,names,schema,changelog"}, "properties": {markKey},
	}})
	if statusOf(err) == http.StatusNotFound {
		return gone(key), nil
	}
	if err != nil {
		return nil, err
	}
	s, err := j.snapshot(ctx, op, a.json)
	if statusOf(err) == http.StatusNotFound { // deleted while we read
		return gone(key), nil
	}
	return s, err
}

func gone(key string) *passerelle.Snapshot {
	s := &passerelle.Snapshot{Ref: passerelle.Ref{Number: key}, Gone: true}
	if numeric(key) {
		s.Ref = passerelle.Ref{Key: key}
	}
	return s
}

func (j *Jira) snapshot(ctx context.Context, op string, issue gjson.Result) (*passerelle.Snapshot, error) {
	s := &passerelle.Snapshot{
		Ref:    passerelle.Ref{Key: issue.Get("id").String(), Number: issue.Get("key").String()},
		Fields: scalars(issue),
		Own:    j.ownID(issue),
		Of:     readMark(issue.Get("properties." + markKey)).Of,
	}
	if !numeric(s.Ref.Key) {
		return nil, call{op: op}.fail(passerelle.Down, "is this a Jira?", "the answer names no issue")
	}
	comments, err := j.comments(ctx, op, s.Ref.Number, s.Ref.Key)
	if err != nil {
		return nil, err
	}
	steps, err := j.steps(ctx, op, s.Ref.Number, issue)
	if err != nil {
		return nil, err
	}
	files, err := j.attached(ctx, issue)
	if err != nil {
		return nil, err
	}
	s.Events = j.events(s, comments, files, steps)
	return s, nil
}

// ownID is the broker's own id, from the mark that our create left. The field
// that carries it too proves nothing: people, and another broker before us, can
// write there.
func (j *Jira) ownID(issue gjson.Result) string {
	return readMark(issue.Get("properties." + markKey)).Own
}

// events puts everything in order: by the second; within one, what was said
// comes before the files, and both before the change of status that they
// explain.
func (j *Jira) events(s *passerelle.Snapshot, comments []comment, files []attachment, steps []step) []*passerelle.Event {
	type ranked struct {
		order
		event *passerelle.Event
	}
	var all []ranked
	add := func(rank int, id string, e *passerelle.Event) {
		all = append(all, ranked{order{at: e.At, rank: rank, id: number(id)}, e})
	}
	for _, c := range comments {
		add(0, c.id, j.commentEvent(s.Ref.Key, c))
	}
	for _, f := range files {
		e := j.fileEvent(s, f)
		if onlyInternal(f.name, comments) {
			e.Private = true
			e.Names = []string{e.Names[0] + "/internal"} // shown in public later, it is news
		}
		add(1, f.id, e)
	}
	for _, t := range steps {
		add(2, t.id, j.stepEvent(s, t))
	}
	sortBy(all, func(r ranked) order { return r.order })
	var events []*passerelle.Event
	for _, r := range all {
		events = append(events, r.event)
	}
	return events
}

// event is what all events of an issue have in common.
func (j *Jira) event(issue string, at time.Time, author, account string) *passerelle.Event {
	return &passerelle.Event{
		Contract: j.cfg.Contract, From: j.cfg.Side, Key: issue, Author: "provider", At: at, Account: account,
		Fields: map[string]string{"author": author},
	}
}

// order is the place of something in an issue's life.
type order struct {
	at   time.Time
	rank int
	id   int
}

func sortBy[T any](list []T, of func(T) order) {
	slices.SortStableFunc(list, func(a, b T) int {
		x, y := of(a), of(b)
		return cmp.Or(x.at.Truncate(time.Second).Compare(y.at.Truncate(time.Second)),
			cmp.Compare(x.rank, y.rank), x.at.Compare(y.at), cmp.Compare(x.id, y.id))
	})
}

func number(id string) int {
	n, _ := strconv.Atoi(id)
	return n
}
