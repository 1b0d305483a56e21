package conversation

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"passerelle"
	"passerelle/adapters/itop/itopsim"
	"passerelle/outbox"
)

var atRest = flag.Int("atrest", 1000, "how many tickets are at rest while tools are swept")

// TestSweepReadsOnlyWhatChanged has as many open pairs as a busy partner, of
// which a handful change unheard: the sweeps read these and no other, and ask for
// the rest in a few requests. -atrest 10000 is the long run.
func TestSweepReadsOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	n := *atRest
	from := time.Now().Add(-3 * time.Hour).Truncate(time.Second)
	f := &resting{n: n, at: func(i int) time.Time {
		if i == 0 {
			return from
		}
		return from.Add(-2*time.Hour - time.Duration(i)*time.Second) // further back than sweeps look again
	}}
	f.lookout = newLookout(t, orleans, func(l *lookout) {
		f.lookout, l.slow = l, n/500
		l.sweep.Batch, l.sweep.Every = 200, 50*time.Millisecond
		l.mute.Store(true)
		start := time.Now()
		f.fill()
		t.Logf("%d pairs made in %v", n, time.Since(start).Round(time.Millisecond))
	})
	f.beginning()
	f.idle("at rest")

	changed, commented, filed := []string{f.ticket(3), f.ticket(n / 2), f.ticket(n - 5)}, []string{f.issue(7), f.issue(n - 2)}, f.ticket(n/2+1)
	for _, key := range changed {
		f.update(key, `"public_log": "<p>une précision</p>"`)
	}
	for _, key := range commented {
		f.remark(key, "une question")
	}
	f.attach(filed, "écran.txt")
	f.until("what nobody told", func() bool {
		return f.wrote(passerelle.Partner, "/comment\n", "une précision") == 3 && f.wrote(passerelle.Partner, "écran.txt") > 0 && f.wrote(passerelle.Requester, "une question") == 2
	})
	f.calm()
	pairs := map[string]bool{filed: true}
	for _, key := range changed {
		pairs[key] = true
	}
	for _, key := range commented {
		pairs[f.other(key)] = true
	}
	for _, side := range []passerelle.Side{passerelle.Requester, passerelle.Partner} {
		read := ticketsRead(f.asked[side].take())
		t.Logf("after the changes, read in the %s's tool: %v", side, read)
		for _, key := range keys(read) {
			if side == passerelle.Partner {
				key = f.other(key)
			}
			if !pairs[key] && key != f.ticket(0) { // the latest of all before
				t.Errorf("ticket %s of the %s was read, though nothing happened to it", key, side)
			}
		}
		for key := range pairs {
			if side == passerelle.Partner {
				key = f.link(key).Partner.Key
			}
			if read[key] == 0 {
				t.Errorf("ticket %s of the %s was not read", key, side)
			}
		}
	}
	f.idle("at rest again")
}

// resting are open pairs to which nothing has happened for hours.
type resting struct {
	*lookout
	n    int
	at   func(i int) time.Time // when the i-th pair last changed
	says map[int]string        // what was written on it then, and heard by nobody
}

// ticket and issue are the keys of the i-th pair.
func (f *resting) ticket(i int) string { return fmt.Sprint(1000 + i) }
func (f *resting) issue(i int) string  { return fmt.Sprint(10001 + i) }

// other is the ticket of an issue.
func (f *resting) other(issue string) string {
	f.t.Helper()
	l, err := f.store.Find(f.ctx, f.contract.Name, passerelle.Partner, issue)
	f.must(err)
	return l.Requester.Key
}

// fill makes the pairs, in both tools and in the store.
func (f *resting) fill() {
	f.t.Helper()
	data, err := os.Open(filepath.Join(orleans, "demo", f.stage.Requester.Data))
	f.must(err)
	defer data.Close()
	fixture, err := itopsim.Load(data)
	f.must(err)
	for i := range f.n {
		at := f.local(f.at(i))
		ticket := itopsim.Object{Class: "UserRequest", ID: 1000 + i, Fields: map[string]any{
			"ref": fmt.Sprintf("R-%06d", 1000+i), "title": "Accès impossible", "description": "<p>Bonjour</p>", "org_id": 10.0, "status": "cex", "team_id": 202.0, "sumit_team_id": 202.0, "last_update": at}}
		if f.says[i] != "" {
			ticket.Fields["public_log"] = []any{map[string]any{"date": at, "message": "<p>" + f.says[i] + "</p>"}}
		}
		fixture.Objects = append(fixture.Objects, ticket)
		if i%20 == 0 {
			fixture.Objects = append(fixture.Objects, itopsim.Object{Class: "Attachment", ID: 1 + i/20, Fields: map[string]any{
				"item_class": "UserRequest", "item_id": fmt.Sprint(1000 + i), "contents": map[string]any{"data": "Ym9uam91cg==", "filename": "écran.txt", "mimetype": "text/plain"}}})
		}
	}
	f.tools[passerelle.Requester].ITop, err = itopsim.New(fixture)
	f.must(err)
	jira := f.tools[passerelle.Partner].Jira
	for i := range f.n {
		jira.Clock(func() time.Time { return f.at(i) })
		f.made(i)
		f.must(f.store.Append(f.ctx, f.pair(i)))
	}
	jira.Clock(time.Now)
}

// made is the issue that the gateway made long ago.
func (f *resting) made(i int) {
	f.t.Helper()
	body := fmt.Sprintf(`{"fields": {"project": {"key": "GSN1"}, "issuetype": {"name": "[Sumit] Demande de support"}, "summary": "Accès impossible", "customfield_12005": "%d"},
  "properties": [{"key": "passerelle", "value": {"id": "orleans-tours-gar/%d/1", "own": "%d"}}]}`, i+1, i+1, i+1)
	r := httptest.NewRequest(http.MethodPost, "/rest/api/2/issue", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+f.stage.Partner.Gateway.Token)
	w := httptest.NewRecorder()
	f.tools[passerelle.Partner].Jira.ServeHTTP(w, r)
	if w.Code != http.StatusCreated {
		f.t.Fatalf("issue %d: %s", i, w.Body)
	}
}

// pair is what the store holds of it.
func (f *resting) pair(i int) *outbox.Change {
	l := &passerelle.Link{Contract: f.contract.Name, Terms: f.contract.Version, State: passerelle.Open, Turn: 1, Born: f.at(i), Moved: f.at(i),
		Requester: passerelle.Ref{Key: f.ticket(i), Number: fmt.Sprintf("R-%06d", 1000+i)}, Partner: passerelle.Ref{Key: f.issue(i), Number: fmt.Sprintf("GSN1-%d", i+1)},
		Shown:    map[passerelle.Side]uint64{passerelle.Requester: 1, passerelle.Partner: 1},
		Facts:    map[string]string{"stood/requester": "yes"},
		Baseline: map[passerelle.Side]string{passerelle.Requester: "2020-01-01 00:00:00"}}
	c := &outbox.Change{Link: l, OwnFormat: f.contract.OwnRef}
	if i%20 == 0 {
		c.Names = []outbox.Name{{Contract: l.Contract, Side: passerelle.Requester, Name: fmt.Sprintf("%s/attachment/%d", f.ticket(i), 1+i/20)}}
	}
	return c
}

// beginning checks the first sweep, which only learns how late it is there.
func (f *resting) beginning() {
	f.t.Helper()
	start := time.Now()
	f.swept(1)
	f.t.Logf("the first sweep of both tools came to its end after %v", time.Since(start).Round(time.Millisecond))
	for _, side := range []passerelle.Side{passerelle.Requester, passerelle.Partner} {
		kept, err := f.store.Kept(f.ctx, "sweep/"+f.contract.Name+"/"+string(side))
		f.must(err)
		if !json.Valid([]byte(kept)) || strings.Contains(kept, `"cursor":""`) {
			f.t.Errorf("after the first sweep of the %s's tool the store keeps %s", side, kept)
		}
	}
	f.calm()
}

// calm waits until sweeps find nothing more.
func (f *resting) calm() {
	f.t.Helper()
	for range 2 {
		f.swept(0)
		f.must(f.settle())
	}
}

var reTook = regexp.MustCompile(`msg=swept contract=\S+ side=(\w+) to_read=(\d+) took=(\S+)`)

// idle checks what some sweeps ask while nothing happens: a few requests for all
// tickets, and no ticket but those of the very latest change.
func (f *resting) idle(when string) {
	f.t.Helper()
	f.forget()
	before, from := map[passerelle.Side]int{}, len(f.logged.String())
	for _, side := range []passerelle.Side{passerelle.Requester, passerelle.Partner} {
		before[side] = f.sweepsEnded(side)
	}
	f.swept(1)
	lists := map[passerelle.Side][]ask{}
	sweeps := map[passerelle.Side]int{}
	for side := range before {
		lists[side], sweeps[side] = f.asked[side].take(), f.sweepsEnded(side)-before[side]
	}
	took := map[string][]time.Duration{}
	for _, m := range reTook.FindAllStringSubmatch(f.logged.String()[from:], -1) {
		d, _ := time.ParseDuration(m[3]) // the log writes durations
		took[m[1]] = append(took[m[1]], d)
	}
	batches := (f.n + 199) / 200
	most := map[passerelle.Side]int{passerelle.Requester: 2*batches + 1, passerelle.Partner: 2}
	for side, list := range lists {
		asks := count(list, "batch", "files", "others", "search", "account")
		slices.Sort(took[string(side)])
		f.t.Logf("%s, %d pairs: %d sweeps of the %s's tool made %d requests, %.1f each, read %d tickets %d times, and took %v (median)", when, f.n, sweeps[side], side, asks,
			float64(asks)/float64(sweeps[side]), len(ticketsRead(list)), count(list, "read"), took[string(side)][len(took[string(side)])/2].Round(10*time.Microsecond))
		if asks > (sweeps[side]+1)*most[side] { // the last one may have begun
			f.t.Errorf("%s: %d sweeps of the %s's tool made %d requests, want at most %d each", when, sweeps[side], side, asks, most[side])
		}
		if read := ticketsRead(list); len(read) > f.latest(side) {
			f.t.Errorf("%s: tickets %v of the %s were read, want only those of the latest change, %d", when, keys(read), side, f.latest(side))
		}
	}
	if n := f.writes(); n > 0 {
		f.t.Errorf("%s: %d writes:\n%s", when, n, f.written())
	}
}

// writes counts what the gateway wrote in both tools.
func (f *resting) writes() int {
	return f.ears[passerelle.Requester].heardSoFar() + f.ears[passerelle.Partner].heardSoFar()
}

// latest is how many tickets of a tool changed last, in one second.
func (f *resting) latest(side passerelle.Side) int {
	f.t.Helper()
	if side == passerelle.Partner {
		return 2 // to the millisecond, in which two may change
	}
	ans, err := f.tools[side].Read(f.ctx, `{"operation": "core/get", "class": "UserRequest", "key": "SELECT UserRequest WHERE id > 0", "output_fields": "last_update"}`)
	f.must(err)
	times := map[string]int{}
	last := ""
	for _, o := range ans.Get("objects.@values.#.fields.last_update").Array() {
		times[o.String()]++
		last = max(last, o.String())
	}
	return times[last]
}
