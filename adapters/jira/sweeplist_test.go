package jira_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"passerelle"
	"passerelle/adapters/jira"
	"passerelle/adapters/jira/jirasim"
)

// Data Center's search takes no properties; Cloud tells the marks with the list.
func TestSweepOfACloud(t *testing.T) {
	b := newBench(t, func(f *jirasim.Fixture) {
		f.Flavour = "cloud"
		f.Users[0].Timezone = "America/Los_Angeles"
		for i := range f.Users {
			f.Users[i].Token = f.Users[i].Password
		}
	})
	asked := b.watch(func(c *jira.Config) {
		c.Cloud, c.User, c.Password, c.Token = true, "gateway@jira.example", "", "demo-jira-gateway"
	})
	var ours []string
	from := cursor(time.Now())
	for range 60 {
		m := b.creation()
		m.Body = []byte(strings.Replace(string(m.Body), `"reporter": {"name": "Origine Orléans-Tours"},`, "", 1))
		ours = append(ours, b.deliver(m).Ref.Key)
		b.agent("POST", "/rest/api/2/issue", map[string]any{"fields": map[string]any{
			"project": map[string]any{"key": "GSN1"}, "issuetype": map[string]any{"name": "[Sumit] Demande de support"}, "summary": "not ours",
			"description": "x", "customfield_12005": "1",
		}})
	}
	*asked = nil
	got := b.sweep(from)
	same(t, "told", got.Keys, ours)
	same(t, "asked", *asked, []string{"GET /myself", "POST /search/jql", "POST /search/jql"})
	if got.Next <= from {
		t.Error(got.Next)
	}
}

// An issue that changes while the pages are read pushes none past us, and is
// itself told next time.
func TestSweepReadsAllPages(t *testing.T) {
	b := newBench(t)
	from := cursor(time.Now())
	var ids []string
	for range 250 {
		ids = append(ids, b.issue())
	}
	searches := 0
	b.jira = b.adapter(nil, jira.Transport(spy(func(r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/search") {
			return
		}
		if searches++; searches == 2 {
			b.says(ids[0], "moves from the last page to the first", true)
		}
	})))
	first := b.sweep(from, ids...)
	same(t, "searches", searches, 3)
	same(t, "told", first.Keys, ids[1:])
	if second := b.sweep(first.Next, ids...); !slices.Contains(second.Keys, ids[0]) {
		t.Error("the issue that moved is never told")
	}
}

// What goes away while the pages are read pulls others to a page that was read
// already: a few are seen by the overlap of the pages, of more the sweep fails.
func TestSweepNoticesAGap(t *testing.T) {
	for gone, fails := range map[int]bool{4: false, 5: true} {
		b := newBench(t)
		from := cursor(time.Now())
		var ids []string
		for range 110 {
			ids = append(ids, b.issue())
		}
		searches := 0
		b.jira = b.adapter(nil, jira.Transport(spy(func(r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/search") {
				return
			}
			if searches++; searches == 2 {
				for _, id := range ids[110-gone:] {
					b.agent("DELETE", "/rest/api/2/issue/"+id, nil)
				}
			}
		})))
		got, err := b.jira.Changed(context.Background(), passerelle.Since{Cursor: from, Known: known(ids...), Others: true})
		if fails {
			b.isError(err, passerelle.Temporary, "went away")
			continue
		}
		if err != nil || len(got.Keys) != 110 {
			t.Errorf("%d gone: %v", gone, err)
		}
	}
}

// JQL's dates are in the account's time zone. Through both nights of the year in
// which the clock changes, and with an index that lags by minutes, each change
// is told at the next sweep; what is long past is not.
func TestSweepThroughBothNightsOfTheYear(t *testing.T) {
	for _, night := range []struct{ zone, from string }{
		{"Europe/Paris", "2024-03-30T22:00:00Z"}, {"Europe/Paris", "2024-10-26T22:00:00Z"},
		{"America/Los_Angeles", "2024-03-10T07:00:00Z"}, {"America/Los_Angeles", "2024-11-03T06:00:00Z"},
	} {
		b := newBench(t, func(f *jirasim.Fixture) { f.Timezone, f.Users[0].Timezone = "UTC", night.zone })
		c := b.clock(night.from)
		c.pass(-24 * time.Hour)
		var ids []string
		for range 45 {
			ids = append(ids, b.issue())
		}
		leader := b.issue() // changes all the time: the cursor is always now
		c.pass(24 * time.Hour)
		b.sim.IndexLag(4 * time.Minute)
		next, told := &passerelle.Changes{Next: cursor(c.now())}, map[string]bool{}
		for i, id := range ids {
			c.pass(4 * time.Minute)
			b.says(id, "x", true)
			c.pass(3 * time.Minute)
			b.says(leader, "x", true)
			next = b.sweep(next.Next, append(ids, leader)...)
			for _, k := range next.Keys {
				told[k] = true
			}
			if i > 0 && !told[ids[i-1]] {
				t.Errorf("%s at %s: the change of the step before is not told", night.zone, c.now())
			}
		}
		if len(next.Keys) > 20 { // 7 minutes a step: of 130 minutes at most
			t.Errorf("%s: %d issues are told at the end", night.zone, len(next.Keys))
		}
	}
}

// recorder answers as a Jira with these projects, and notes the queries.
func recorder(t *testing.T, zone string, change ...func(*jira.Config)) (*jira.Jira, *[]string) {
	var queries []string
	return stub(t, func(w http.ResponseWriter, r *http.Request) {
		switch path := strings.TrimPrefix(r.URL.Path, "/jira/rest/api/2/"); {
		case path == "myself":
			_, _ = fmt.Fprintf(w, `{"name":"gateway","key":"k","timeZone":%q}`, zone)
		case path == "search":
			var body struct{ JQL string }
			raw, _ := io.ReadAll(r.Body)
			_ = json.Unmarshal(raw, &body)
			queries = append(queries, body.JQL)
			if strings.Contains(body.JQL, `"OLD"`) || strings.Contains(body.JQL, `"GONE"`) {
				w.WriteHeader(400)
			}
			_, _ = fmt.Fprint(w, `{"total":0,"issues":[]}`)
		case path == "project/GONE":
			w.WriteHeader(404)
		case path == "project/OLD":
			_, _ = fmt.Fprint(w, `{"key":"NEW"}`)
		default:
			_, _ = fmt.Fprintf(w, `{"key":%q}`, strings.TrimPrefix(path, "project/"))
		}
	}, change...), &queries
}

func TestSweepAsksInTheAccountsTimeZone(t *testing.T) {
	for zone, want := range map[string]string{
		"UTC": "2024/07/14 10:55", "Europe/Paris": "2024/07/14 12:55", "America/Los_Angeles": "2024/07/14 03:55",
		"": "2024/07/13 22:55", "Nowhere/Land": "2024/07/13 22:55", "Local": "2024/07/13 22:55", // early enough for any
	} {
		j, queries := recorder(t, zone)
		got, err := j.Changed(context.Background(), passerelle.Since{Cursor: "2024-07-14T12:00:59.999Z", Others: true})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "next", got.Next, "2024-07-14T12:00:59.999Z")
		same(t, zone, *queries, []string{`project in ("P") AND updated >= "` + want + `" ORDER BY updated DESC, key DESC`})
	}
}

// The zone is an administrator's to change at any time.
func TestSweepHearsOfANewTimeZone(t *testing.T) {
	zone := "Europe/Paris"
	var queries []string
	j := stub(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/search") {
			raw, _ := io.ReadAll(r.Body)
			queries = append(queries, string(raw))
		}
		_, _ = fmt.Fprintf(w, `{"name":"gateway","timeZone":%q,"total":0,"issues":[]}`, zone)
	})
	for _, zone = range []string{"Europe/Paris", "America/Los_Angeles"} {
		if _, err := j.Changed(context.Background(), passerelle.Since{Cursor: "2024-07-14T12:00:00Z", Others: true}); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(queries[0], "12:55") || !strings.Contains(queries[1], "03:55") {
		t.Error(queries)
	}
}

// A project that was deleted or renamed makes Jira refuse the whole search.
func TestSweepDoesWithoutAProjectThatIsGone(t *testing.T) {
	refs := []passerelle.Ref{{Key: "1", Number: "GONE-1"}, {Key: "2", Number: "OLD-1"}, {Key: "3", Number: "P-1"}, {Key: "4", Number: "?"}}
	for at, want := range map[string]string{"2024-07-14T12:00:00Z": ` AND updated >= "2024/07/14 10:55"`, "": ""} {
		j, queries := recorder(t, "UTC")
		if _, err := j.Changed(context.Background(), passerelle.Since{Cursor: at, Known: refs, Others: true}); err != nil {
			t.Fatal(err)
		}
		same(t, "queries", *queries, []string{
			`project in ("GONE", "OLD", "P")` + want + ` ORDER BY updated DESC, key DESC`,
			`project in ("NEW", "P")` + want + ` ORDER BY updated DESC, key DESC`,
		})
	}
	b := newBench(t)
	j, _ := recorder(t, "UTC", func(c *jira.Config) { c.Project = "GONE" })
	_, err := j.Changed(context.Background(), passerelle.Since{Cursor: "2024-07-14T12:00:00Z", Known: refs, Others: true})
	b.isError(err, passerelle.Stuck, "set project to one that our account may browse")
	b.jira = b.adapter(func(c *jira.Config) { c.Project = "NIX" })
	_, err = b.jira.Changed(context.Background(), passerelle.Since{Others: true})
	b.isError(err, passerelle.Stuck, "set project", "NIX")
}

// One issue that was given a date to come must not hide all that changes until
// then.
func TestSweepDoesNotBelieveADateToCome(t *testing.T) {
	b := newBench(t)
	wrong, right := b.issue(), b.issue()
	c := b.clock(time.Now().Add(72 * time.Hour).Format(time.RFC3339))
	b.says(wrong, "x", true)
	first := b.sweep("").Next
	next := b.sweep(first, wrong, right)
	for _, text := range []string{first, next.Next} {
		if at, err := time.Parse(time.RFC3339, text); err != nil || at.After(time.Now()) {
			t.Errorf("cursor %s", text)
		}
	}
	c.pass(-72 * time.Hour)
	b.says(right, "x", true)
	same(t, "told", b.sweep(next.Next, wrong, right).Keys, []string{wrong, right})
}

// An issue whose date cannot be read is told each time: it has no stamp.
func TestSweepWithADateThatCannotBeRead(t *testing.T) {
	j := stub(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, `{"name":"gateway","timeZone":"UTC","total":1,"issues":[{"id":"7","key":"P-1","fields":{"updated":"today"}}]}`)
	})
	got, err := j.Changed(context.Background(), passerelle.Since{Cursor: "2024-05-14T10:00:00.000Z", Known: known("7"), Others: true})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "told", fmt.Sprint(got.Keys, got.Stamps, got.Next), "[7] map[]2024-05-14T10:00:00.000Z")
}
