package jira_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"passerelle"
	"passerelle/adapters/jira"
	"passerelle/adapters/jira/jirasim"
	"passerelle/internal/fault"
)

// clock is the time at the bench's Jira.
type clock struct {
	mu sync.Mutex
	at time.Time
}

// clock starts Jira's clock at a moment of the past, such as 2024-05-14T10:00:00Z.
func (b *bench) clock(at string) *clock {
	b.Helper()
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		b.Fatal(err)
	}
	c := &clock{at: t}
	b.sim.Clock(c.now)
	return c
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// cursor is a moment as a cursor.
func cursor(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// known makes references of ids.
func known(ids ...string) (list []passerelle.Ref) {
	for _, id := range ids {
		list = append(list, passerelle.Ref{Key: id})
	}
	return list
}

// sweep asks as the first call of a round does.
func (b *bench) sweep(cursor string, ids ...string) *passerelle.Changes {
	b.Helper()
	return b.changed(passerelle.Since{Cursor: cursor, Known: known(ids...), Others: true})
}

func (b *bench) changed(since passerelle.Since) *passerelle.Changes {
	b.Helper()
	c, err := b.jira.Changed(context.Background(), since)
	if err != nil {
		b.Fatal(err)
	}
	slices.Sort(c.Keys)
	return c
}

// watch lists the requests of the bench's adapter from now on: "POST /search".
func (b *bench) watch(change func(*jira.Config)) *[]string {
	var mu sync.Mutex
	var asked []string
	b.jira = b.adapter(change, jira.Transport(spy(func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.Method+" "+strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/rest/api/2"), "/rest/api/3"))
	})))
	return &asked
}

// stranger is an issue that a person made.
func (b *bench) stranger(project string) string {
	b.Helper()
	return b.agent("POST", "/rest/api/2/issue", map[string]any{"fields": map[string]any{
		"project": map[string]any{"key": project}, "issuetype": map[string]any{"name": "[Sumit] Demande de support"},
		"summary": "not ours", "description": "x", "customfield_12005": "1", "priority": map[string]any{"name": "Mineur"},
		"reporter": map[string]any{"name": "Origine Orléans-Tours"},
	}})["id"].(string)
}

// second is a fixture with another project.
func second(f *jirasim.Fixture) {
	f.Projects = append(f.Projects, jirasim.Project{Key: "AUTRE", Workflow: f.Projects[0].Workflow})
}

func TestSweepTellsEachKindOfChange(t *testing.T) {
	for name, change := range map[string]func(b *bench, id string){
		"comment":    func(b *bench, id string) { b.says(id, "x", true) },
		"transition": func(b *bench, id string) { b.goes(id, "21", nil) },
		"edit": func(b *bench, id string) {
			b.agent("PUT", "/rest/api/2/issue/"+id, map[string]any{"fields": map[string]any{"summary": "new"}})
		},
		"attachment": func(b *bench, id string) { b.attaches(id, "x.txt", "y") },
	} {
		b := newBench(t)
		c := b.clock("2024-05-14T10:00:00Z")
		id, idle, last := b.issue(), b.issue(), b.issue()
		c.pass(3 * time.Hour)
		b.says(last, "x", true)
		next := b.sweep(cursor(c.now().Add(-time.Hour)), id, idle, last)
		same(t, name+": before", next.Keys, []string{last})
		same(t, name+": cursor", next.Next, "2024-05-14T13:00:00.000Z")
		c.pass(10 * time.Minute)
		change(b, id)
		next = b.sweep(next.Next, id, idle, last)
		same(t, name+": after", next.Keys, []string{id, last})
		same(t, name+": stamps", next.Stamps, map[string]string{id: "2024-05-14T13:10:00.000Z", last: "2024-05-14T13:00:00.000Z"})
		same(t, name+": cursor", next.Next, "2024-05-14T13:10:00.000Z")
	}
}

// Others may know an issue by its number only.
func TestSweepKnowsIssuesByNumber(t *testing.T) {
	b := newBench(t)
	id := b.stranger("GSN1")
	got := b.changed(passerelle.Since{Cursor: cursor(time.Now()), Known: []passerelle.Ref{{Number: "GSN1-1"}}, Others: true})
	same(t, "keys", got.Keys, []string{id})
}

// What the index shows only after the cursor has passed it is told all the same.
func TestSweepOutlastsTheIndex(t *testing.T) {
	b := newBench(t)
	c := b.clock("2024-05-14T10:00:00Z")
	first, late := b.issue(), b.issue()
	c.pass(3 * time.Hour)
	b.sim.IndexLag(10 * time.Minute)
	start := cursor(c.now())
	b.says(first, "1", true)
	c.pass(time.Minute)
	b.says(late, "x", true)
	c.pass(8 * time.Minute)
	b.says(first, "2", true)
	c.pass(90 * time.Second) // the index has the first comment, and Jira shows the issue as it is now
	next := b.sweep(start, first, late)
	same(t, "too early", next.Keys, []string{first})
	same(t, "cursor", next.Next, "2024-05-14T13:09:00.000Z")
	c.pass(time.Minute)
	same(t, "then", b.sweep(next.Next, first, late).Keys, []string{first, late})
}

// An issue of ours that nobody knows here is told; a stranger is asked once.
func TestSweepTellsIssuesWithOurMark(t *testing.T) {
	b := newBench(t)
	forgotten, person := b.issue(), b.stranger("GSN1")
	asked := b.watch(nil)
	from := cursor(time.Now())
	same(t, "told", b.sweep(from).Keys, []string{forgotten})
	same(t, "asked", *asked, []string{"GET /myself", "POST /search", "GET /issue/" + person, "GET /issue/" + forgotten})
	*asked = nil
	b.says(person, "x", true)
	same(t, "told again", b.sweep(from).Keys, []string{forgotten})
	same(t, "asked again", *asked, []string{"GET /myself", "POST /search"})
	// Should it become one of ours, it is told.
	same(t, "known at last", b.sweep(from, person).Keys, []string{forgotten, person})
}

// A mark that cannot be read now is no reason to forget the issue; one that went
// away is.
func TestSweepWithoutAnAnswerForAMark(t *testing.T) {
	b := newBench(t)
	id, from := b.issue(), cursor(time.Now())
	for _, f := range []fault.Rule{
		{Match: "GET /rest/api/2/issue", Kind: fault.Status, Code: 503, Times: 1},
		{Match: "GET /rest/api/2/issue", Kind: fault.Truncate, Times: 1},
	} {
		b.fault(f)
		_, err := b.jira.Changed(context.Background(), passerelle.Since{Cursor: from, Others: true})
		b.isError(err, passerelle.Down, "GSN1-1")
	}
	b.fault(fault.Rule{Match: "GET /rest/api/2/issue", Kind: fault.Status, Code: 404, Times: 1})
	same(t, "gone", len(b.sweep(from).Keys), 0)
	same(t, "told", b.sweep(from).Keys, []string{id})
}

func TestSweepWithoutAProject(t *testing.T) {
	b := newBench(t)
	b.jira = b.adapter(func(c *jira.Config) { c.Project = "" })
	_, err := b.jira.Changed(context.Background(), passerelle.Since{Others: true})
	b.isError(err, passerelle.Stuck, "set project in the configuration")
	id := b.stranger("GSN1")
	got := b.changed(passerelle.Since{Cursor: cursor(time.Now()), Known: []passerelle.Ref{{Key: id, Number: "GSN1-1"}}, Others: true})
	same(t, "known by a ticket", got.Keys, []string{id})
}

// Before the first cursor there is nothing to tell, only a place to begin.
func TestSweepBegins(t *testing.T) {
	b := newBench(t)
	asked := b.watch(nil)
	empty := b.sweep("") // no issue yet: the time that Jira says it is
	if at, err := time.Parse(time.RFC3339, empty.Next); err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("%q %v", empty.Next, err)
	}
	id := b.issue()
	same(t, "the first issue", b.sweep(empty.Next).Keys, []string{id})
	b.clock("2024-05-14T10:00:00Z")
	b.says(id, "x", true)
	*asked = nil
	got := b.sweep("", id)
	same(t, "cursor", got.Next, "2024-05-14T10:00:00.000Z")
	same(t, "keys", len(got.Keys), 0)
	same(t, "asked", *asked, []string{"POST /search"})
	b.fault(fault.Rule{Match: "/search", Kind: fault.Status, Code: 200, Body: `{"login":true}`, Times: 1})
	_, err := b.jira.Changed(context.Background(), passerelle.Since{Others: true})
	b.isError(err, passerelle.Down, "lists no issues")
	_, err = b.jira.Changed(context.Background(), passerelle.Since{Cursor: "yesterday", Others: true})
	b.isError(err, passerelle.Stuck, `"yesterday" is no time`)
}

// The further batches of a round cost nothing; they say which issues are ours.
func TestSweepOfFurtherBatches(t *testing.T) {
	b := newBench(t, second)
	person, other, old := b.stranger("GSN1"), b.stranger("AUTRE"), b.stranger("AUTRE")
	asked := b.watch(nil)
	from := cursor(time.Now())
	got := b.changed(passerelle.Since{Cursor: from, Known: []passerelle.Ref{{Key: person, Number: "GSN1-1"}}})
	same(t, "a project that is new", got.Keys, []string{person})
	same(t, "is searched", *asked, []string{"GET /myself", "POST /search"})
	*asked = nil
	got = b.changed(passerelle.Since{Cursor: from, Known: []passerelle.Ref{{Key: person, Number: "GSN1-1"}}})
	same(t, "nothing", fmt.Sprint(got.Keys, got.Next), "[]"+from)
	same(t, "asked", len(*asked), 0)
	// A round: one project is known at first, a later batch names another.
	b.jira = b.adapter(nil)
	same(t, "first batch", b.sweep(from, person).Keys, []string{person})
	got = b.changed(passerelle.Since{Cursor: from, Known: []passerelle.Ref{{Key: other, Number: "AUTRE-1"}}})
	same(t, "later batch", got.Keys, []string{other})
	same(t, "first batch again", b.sweep(from, person).Keys, []string{person, other})
	same(t, "a stranger", slices.Contains(b.sweep(from, person).Keys, old), false)
	// Without a cursor only the project is noted.
	asked = b.watch(nil)
	got = b.changed(passerelle.Since{Known: []passerelle.Ref{{Key: other, Number: "AUTRE-1"}}})
	same(t, "without a cursor", fmt.Sprint(got.Keys, got.Next, *asked), "[][]")
	same(t, "and then", b.sweep(from).Keys, []string{other})
}

func TestSweepNeverGoesBack(t *testing.T) {
	b := newBench(t)
	c := b.clock("2024-05-14T10:00:00Z")
	id := b.issue()
	later := cursor(c.now().Add(30 * time.Minute))
	got := b.sweep(later, id)
	same(t, "told", got.Keys, []string{id})
	same(t, "next", got.Next, later)
}

// Trouble is classified as everywhere.
func TestSweepInTrouble(t *testing.T) {
	for code, class := range map[int]passerelle.Class{401: passerelle.Denied, 429: passerelle.Down, 500: passerelle.Down, 503: passerelle.Down, 403: passerelle.Stuck} {
		for _, path := range []string{"GET /rest/api/2/myself", "POST /rest/api/2/search"} {
			b := newBench(t)
			b.fault(fault.Rule{Match: path, Kind: fault.Status, Code: code, RetryAfter: 7})
			_, err := b.jira.Changed(context.Background(), passerelle.Since{Cursor: cursor(time.Now()), Others: true})
			if e := b.isError(err, class); code == 429 && e.After != 7*time.Second {
				t.Errorf("%s %d: come back after %s", path, code, e.After)
			}
		}
	}
	b := newBench(t)
	b.fault(fault.Rule{Match: "/search", Kind: fault.Truncate})
	_, err := b.jira.Changed(context.Background(), passerelle.Since{Cursor: cursor(time.Now()), Others: true})
	b.isError(err, passerelle.Down, "cut short")
}
