package itop

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/adapters/itop/itopsim"
	trouble "passerelle/internal/fault"
)

// department is an iTop whose clock a test can bend: it is reached in memory,
// because a synctest clock does not advance over real sockets.
type department struct {
	*testing.T
	sim   *itopsim.Sim
	itop  *ITop
	asked []string // the queries so far
}

func newDepartment(t *testing.T, at string, change ...func(*Config)) *department {
	t.Helper()
	start, err := time.Parse(time.RFC3339, at)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(start))
	sim, err := itopsim.New(&itopsim.Fixture{Model: itopsim.ModelStock,
		Accounts: []itopsim.Account{
			{Login: "gateway", Password: "pw", Profiles: []string{itopsim.ProfileREST, itopsim.ProfileAgent}},
			{Login: "agent", Password: "pw", Profiles: []string{itopsim.ProfileAgent}, Name: "Agent FRS"}},
		Objects: []itopsim.Object{
			{Class: "Organization", ID: 1, Fields: map[string]any{"name": "FRS"}},
			{Class: "Team", ID: 1, Fields: map[string]any{"name": "N1", "org_id": "FRS"}},
			{Class: "Team", ID: 2, Fields: map[string]any{"name": "Support GAR", "org_id": "FRS"}}}})
	if err != nil {
		t.Fatal(err)
	}
	d := &department{T: t, sim: sim}
	cfg := Config{Contract: "c", Side: passerelle.Requester, BaseURL: "http://itop.example", User: "gateway", Password: "pw", Timeout: time.Minute, Transport: d}
	for _, c := range change {
		c(&cfg)
	}
	if d.itop, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return d
}

// RoundTrip is the way to the iTop.
func (d *department) RoundTrip(r *http.Request) (*http.Response, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, _ := url.ParseQuery(string(b))
	d.asked = append(d.asked, gjson.Get(form.Get("json_data"), "key").String())
	return d.post(r.URL.Path, string(b)), nil
}

func (d *department) post(path, body string) *http.Response {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	d.sim.ServeHTTP(w, r)
	return w.Result()
}

// person acts in the console, and tells the key of what it made.
func (d *department) person(params string) string {
	d.Helper()
	res := d.post("/console/rest.php", url.Values{"version": {"1.3"}, "auth_user": {"agent"}, "auth_pwd": {"pw"}, "json_data": {params}}.Encode())
	b, _ := io.ReadAll(res.Body)
	if gjson.GetBytes(b, "code").Int() != 0 {
		d.Fatalf("%s: %s", params, b)
	}
	return gjson.GetBytes(b, "objects.@values.0.key").String()
}

func (d *department) ticket() string {
	d.Helper()
	return d.person(`{"operation":"core/create","comment":"c","class":"UserRequest","output_fields":"id","fields":{"title":"t","description":"<p>d</p>","org_id":1}}`)
}

func (d *department) set(key, fields string) {
	d.Helper()
	d.person(`{"operation":"core/update","comment":"c","class":"UserRequest","output_fields":"id","key":` + key + `,"fields":{` + fields + `}}`)
}

func (d *department) attach(key string) string {
	d.Helper()
	return d.person(`{"operation":"core/create","comment":"c","class":"Attachment","output_fields":"id","fields":{"item_class":"UserRequest","item_id":` + key + `,"contents":{"data":"YQ==","filename":"a","mimetype":"text/plain"}}}`)
}

func (d *department) changed(since passerelle.Since) *passerelle.Changes {
	d.Helper()
	d.asked = nil
	c, err := d.itop.Changed(d.Context(), since)
	if err != nil {
		d.Fatal(err)
	}
	return c
}

func refs(keys ...string) []passerelle.Ref {
	var out []passerelle.Ref
	for _, k := range keys {
		out = append(out, passerelle.Ref{Key: k, Number: "R-" + k})
	}
	return out
}

func inScope(c *Config) {
	c.Scope = " SELECT UserRequest WHERE team_name = 'Support GAR' OR team_name = 'other' "
}

// What moves last_update is told; a file moves nothing and is told by its id.
func TestSweepTellsWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepartment(t, "2026-06-01T08:00:00Z")
		one, two, three := d.ticket(), d.ticket(), d.ticket()
		old := d.attach(three)
		known := refs(one, two, three)
		first := d.changed(passerelle.Since{Known: known})
		if len(first.Keys) != 0 || first.Next != "2026-06-01 10:00:00" || !slices.Equal(first.Attached[three], []string{three + "/attachment/" + old}) {
			t.Fatalf("without a cursor: %+v", first)
		}
		if len(d.asked) != 2 || strings.Contains(d.asked[0], "last_update") {
			t.Errorf("asked %q", d.asked)
		}
		time.Sleep(3 * time.Hour)
		d.set(two, `"public_log":"<p>a</p>"`)
		fresh := d.attach(three)
		next := d.changed(passerelle.Since{Cursor: first.Next, Known: known})
		if !slices.Equal(next.Keys, []string{one, two, three}) { // ten o'clock is within the overlap of ten o'clock
			t.Errorf("changed: %v", next.Keys)
		}
		later := d.changed(passerelle.Since{Cursor: next.Next, Known: known})
		if !slices.Equal(later.Keys, []string{two}) || later.Next != "2026-06-01 13:00:00" || next.Next != later.Next {
			t.Errorf("changed: %+v", later)
		}
		if got := later.Attached[three]; !slices.Equal(got, []string{three + "/attachment/" + old, three + "/attachment/" + fresh}) || len(later.Attached) != 1 {
			t.Errorf("attached: %v", later.Attached)
		}
		want := []string{"SELECT UserRequest WHERE id IN (1,2,3) AND last_update >= '2026-06-01 11:55:00'", "SELECT Attachment WHERE item_class='UserRequest' AND item_id IN (1,2,3)"}
		if !slices.Equal(d.asked, want) {
			t.Errorf("asked %q", d.asked)
		}
		if got := d.changed(passerelle.Since{Cursor: later.Next, Known: refs(one)}); len(got.Keys) != 0 || len(got.Attached) != 0 || got.Next != later.Next {
			t.Errorf("a ticket where nothing happened: %+v", got)
		}
	})
}

// The overlap includes its first second: the cursor's own second is read twice.
func TestSweepReachesBackTo65Minutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepartment(t, "2026-06-01T08:00:00Z")
		old, edge := d.ticket(), ""
		time.Sleep(time.Second)
		edge = d.ticket()
		time.Sleep(65 * time.Minute)
		now := d.ticket()
		c := d.changed(passerelle.Since{Known: refs(old, edge, now)})
		if got := d.changed(passerelle.Since{Cursor: c.Next, Known: refs(old, edge, now)}).Keys; !slices.Equal(got, []string{edge, now}) {
			t.Errorf("changed: %v", got)
		}
	})
}

// Both nights on which iTop's clock jumps: nothing is missed, and the cursor
// never goes back.
func TestSweepAcrossTheClockChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepartment(t, "2026-10-25T00:59:51Z") // 02:59:51, the last seconds of summer
		key := d.ticket()
		cursor := d.changed(passerelle.Since{Known: refs(key)}).Next
		if cursor != "2026-10-25 02:59:51" {
			t.Fatalf("the cursor is %s", cursor)
		}
		for _, step := range []struct {
			wait             time.Duration
			at, next, asking string
		}{
			{9 * time.Second, "2026-10-25 02:00:00", "2026-10-25 02:59:51", "2026-10-25 01:54:51"},
			{30 * time.Minute, "2026-10-25 02:30:00", "2026-10-25 02:59:51", "2026-10-25 01:54:51"},
			{30*time.Minute - time.Second, "2026-10-25 02:59:59", "2026-10-25 02:59:59", "2026-10-25 01:54:51"},
			{time.Second, "2026-10-25 03:00:00", "2026-10-25 03:00:00", "2026-10-25 01:54:59"},
			{2 * time.Hour, "2026-10-25 05:00:00", "2026-10-25 05:00:00", "2026-10-25 01:55:00"},
		} {
			time.Sleep(step.wait)
			cursor = d.night(key, cursor, step.at, step.next, step.asking)
		}
		// A write just after the clock went back, found by a sweep that last saw
		// the last second before: the worst case.
		time.Sleep(time.Until(time.Date(2027, 10, 31, 0, 59, 59, 0, time.UTC)))
		cursor = d.night(key, cursor, "2027-10-31 02:59:59", "2027-10-31 02:59:59", "2026-10-25 03:55:00")
		time.Sleep(time.Second)
		d.night(key, cursor, "2027-10-31 02:00:00", "2027-10-31 02:59:59", "2027-10-31 01:54:59")
	})
	synctest.Test(t, func(t *testing.T) {
		d := newDepartment(t, "2027-03-28T00:59:50Z") // 01:59:50, the last seconds of winter
		key := d.ticket()
		cursor := d.changed(passerelle.Since{Known: refs(key)}).Next
		time.Sleep(10 * time.Second)
		cursor = d.night(key, cursor, "2027-03-28 03:00:00", "2027-03-28 03:00:00", "2027-03-28 00:54:50")
		time.Sleep(30 * time.Minute)
		cursor = d.night(key, cursor, "2027-03-28 03:30:00", "2027-03-28 03:30:00", "2027-03-28 01:55:00")
		time.Sleep(time.Minute)
		d.night(key, cursor, "2027-03-28 03:31:00", "2027-03-28 03:31:00", "2027-03-28 02:25:00") // an hour that this night does not have
	})
}

// night writes to the ticket and sweeps: it must be found.
func (d *department) night(key, cursor, at, next, asking string) string {
	d.Helper()
	d.set(key, `"private_log":"<p>x</p>"`)
	f, err := d.itop.ticket(d.Context(), key, "last_update")
	if err != nil || f.Get("last_update").String() != at {
		d.Fatalf("last_update is %s, want %s (%v)", f, at, err)
	}
	c := d.changed(passerelle.Since{Cursor: cursor, Known: refs(key)})
	if !slices.Equal(c.Keys, []string{key}) || c.Next != next {
		d.Errorf("written at %s, cursor %s: %v, next %s, want %s", at, cursor, c.Keys, c.Next, next)
	}
	if !strings.HasSuffix(d.asked[0], "last_update >= '"+asking+"'") {
		d.Errorf("written at %s, cursor %s: asked %s, want %s", at, cursor, d.asked[0], asking)
	}
	return c.Next
}

// Tickets that stand with the partner's team are told although nobody pushed
// them, known or not; what merely stood there is not.
func TestSweepTellsWhatIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepartment(t, "2026-06-01T08:00:00Z", inScope)
		ours, handed, before := d.ticket(), d.ticket(), d.ticket()
		d.set(ours, `"team_id":2`)
		d.set(before, `"team_id":2`)
		all := passerelle.Since{Known: refs(ours), Others: true}
		first := d.changed(all)
		if len(first.Handed) != 0 || len(first.Keys) != 0 || first.Next != "2026-06-01 10:00:00" {
			t.Errorf("without a cursor: %+v", first)
		}
		time.Sleep(2 * time.Hour)
		d.set(handed, `"team_id":2`)
		d.set(before, `"title":"moved"`)
		all.Cursor = first.Next
		time.Sleep(time.Second)
		c := d.changed(all)
		if want := "SELECT UserRequest WHERE id IN (SELECT UserRequest WHERE team_name = 'Support GAR' OR team_name = 'other') AND last_update >= '2026-06-01 08:55:00'"; len(d.asked) != 3 || d.asked[2] != want {
			t.Errorf("asked %q", d.asked)
		}
		if !slices.Equal(c.Handed, []string{ours, handed, before}) || c.Next != "2026-06-01 12:00:00" {
			t.Errorf("handed: %+v", c)
		}
		all.Cursor = c.Next
		d.set(before, `"team_id":1`)
		if c = d.changed(all); !slices.Equal(c.Handed, []string{handed}) || c.Next != "2026-06-01 12:00:00" {
			t.Errorf("handed: %+v", c)
		}
	})
}

// A scope where nothing stands yet has no date to go by: what comes next is
// found by the overlap of the sweep after.
func TestSweepBeginsInAnEmptyScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepartment(t, "2026-06-01T08:00:00Z", inScope)
		c := d.changed(passerelle.Since{Others: true})
		if c.Next != "" || c.Handed != nil {
			t.Errorf("an empty iTop: %+v", c)
		}
		key := d.ticket()
		d.set(key, `"team_id":2`)
		if c = d.changed(passerelle.Since{Cursor: c.Next, Others: true}); c.Next == "" {
			t.Errorf("the first ticket: %+v", c)
		}
		if c = d.changed(passerelle.Since{Cursor: c.Next, Others: true}); !slices.Equal(c.Handed, []string{key}) {
			t.Errorf("the first ticket: %+v", c)
		}
	})
}

// A sweep asks as often as it must and no more; nothing known, nothing asked.
func TestSweepIsCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepartment(t, "2026-06-01T08:00:00Z", inScope)
		var known []string
		for range 300 {
			known = append(known, d.ticket())
			d.set(known[len(known)-1], `"team_id":2`)
		}
		for _, c := range []struct {
			since passerelle.Since
			asked int
		}{
			{passerelle.Since{}, 0}, {passerelle.Since{Cursor: "2026-06-01 10:00:00"}, 0}, {passerelle.Since{Others: true}, 1}, {passerelle.Since{Known: refs(known[:200]...)}, 2},
			{passerelle.Since{Cursor: "2026-06-01 10:00:00", Known: refs(known[:200]...), Others: true}, 3},
		} {
			got := d.changed(c.since)
			if len(d.asked) != c.asked {
				t.Errorf("%+.60v: asked %q", c.since, d.asked)
			}
			if c.asked == 3 && (len(got.Handed) != 300 || len(got.Keys) != 200) {
				t.Errorf("%d handed, %d changed", len(got.Handed), len(got.Keys))
			}
		}
		d.itop.cfg.Scope = ""
		if got := d.changed(passerelle.Since{Cursor: "2026-06-01 10:00:00", Others: true}); len(d.asked) != 0 || got.Next != "2026-06-01 10:00:00" {
			t.Errorf("no scope: %+v, asked %q", got, d.asked)
		}
	})
}

// Over real HTTP, as the gateway sweeps; trouble has its class.
func TestSweepOverHTTP(t *testing.T) {
	s := newSubcontractor(t, func(c *Config) { c.Scope = "SELECT UserRequest WHERE team_name = 'N2'" })
	ours, other := s.ticket(), s.ticket()
	s.console(`{"operation":"core/update","comment":"c","class":"UserRequest","key":` + other.Key + `,"fields":{"team_id":{"name":"N2"}}}`)
	file := deliver(t, s.itop, s.attachmentMessage(ours.Key, "a.txt", "hello"), s.desk)
	since := passerelle.Since{Known: []passerelle.Ref{ours}, Others: true}
	c, err := s.itop.Changed(t.Context(), since)
	if err != nil {
		t.Fatal(err)
	}
	since.Cursor = c.Next
	if c, err = s.itop.Changed(t.Context(), since); err != nil || !slices.Equal(c.Keys, []string{ours.Key}) || !slices.Equal(c.Handed, []string{other.Key}) || !slices.Equal(c.Attached[ours.Key], file.Names) {
		t.Errorf("%+v, %v", c, err)
	}
	_ = s.sim.Faults().Add(trouble.Rule{Match: "core/get UserRequest", Kind: trouble.Status, Code: 503, Times: 1})
	if _, err := s.itop.Changed(t.Context(), since); passerelle.ClassOf(err) != passerelle.Down {
		t.Errorf("503: %v", err)
	}
	_ = s.sim.Faults().Add(trouble.Rule{Match: "core/get Attachment", Kind: trouble.Truncate, Times: 1})
	if _, err := s.itop.Changed(t.Context(), since); passerelle.ClassOf(err) != passerelle.Down {
		t.Errorf("cut off: %v", err)
	}
	_ = s.sim.Faults().Add(trouble.Rule{Match: "core/get UserRequest", Kind: trouble.Status, Code: 413, Times: 1})
	if _, err := s.itop.Changed(t.Context(), passerelle.Since{Others: true}); passerelle.ClassOf(err) != passerelle.Stuck || !strings.Contains(err.Error(), "body limit") {
		t.Errorf("413: %v", err)
	}
	s.itop = s.client(func(c *Config) { c.Scope = "SELECT UserRequest WHERE group_name = 'N2'" })
	_, err = s.itop.Changed(t.Context(), since)
	_, readErr := s.itop.Read(t.Context(), ours.Key)
	for _, err := range []error{err, readErr} {
		if passerelle.ClassOf(err) != passerelle.Stuck || !strings.Contains(err.Error(), "correct the scope « SELECT UserRequest WHERE group_name = 'N2' »") {
			t.Errorf("a bad scope: %v", err)
		}
	}
}

// An answer that is not as iTop's are is an error, and skips nothing.
func TestSweepTakesNothingMalformed(t *testing.T) {
	var tickets, files string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := tickets
		if gjson.Get(r.FormValue("json_data"), "class").String() == "Attachment" {
			answer = files
		}
		_, _ = io.WriteString(w, `{"code":0,"message":"","objects":`+answer+`}`)
	}))
	defer srv.Close()
	it := client(t, srv.URL)
	row := func(key, at string) string {
		return fmt.Sprintf(`"UserRequest::%s":{"code":0,"class":"UserRequest","key":%q,"fields":{"id":%q,"last_update":%s}}`, key, key, key, at)
	}
	file := func(id, item string) string {
		return fmt.Sprintf(`{"Attachment::1":{"code":0,"key":%q,"fields":{"item_id":%q}}}`, id, item)
	}
	tickets, files = "null", strings.Replace(file("10", "1"), "}}}", "}},"+file("9", "1")[1:], 1)
	if got, err := it.Changed(t.Context(), passerelle.Since{Known: refs("1")}); err != nil || !slices.Equal(got.Attached["1"], []string{"1/attachment/9", "1/attachment/10"}) {
		t.Errorf("in the order in which they came: %+v, %v", got, err)
	}
	good := row("1", `"2026-06-01 10:00:00"`)
	for _, c := range []struct {
		tickets, files string
		want           passerelle.Class // "" for none
		says           string
	}{
		{"{" + good + "}", file("5", "1"), "", ""}, {"null", "null", "", ""}, {"[]", "[]", "", ""}, {"{}", "{}", "", ""},
		{"{" + good + "," + row("2", `""`) + "}", "null", "", ""}, {"{" + good + "," + row("2", `null`) + "}", "null", "", ""}, // an import that never changed
		{"{" + good + "," + row("2", `"0"`) + "}", "null", passerelle.Stuck, "itop: 2: last_update is"},
		{"{" + good + "," + row("2", `"0"`) + "}", "null", passerelle.Stuck, "save the ticket once"},
		{"{" + good + "," + row("2", `"2026-06-01T10:00:00"`) + "}", "null", passerelle.Stuck, "T10"},
		{"{" + good + "," + row("2", `"2026-06-01 10:00:00.5"`) + "}", "null", passerelle.Stuck, ".5"},
		{"{" + good + "," + row("2", `"2026-06-01 9:00:00"`) + "}", "null", passerelle.Stuck, " 9:00"},
		{"{" + good + "," + row("2", `"2026-06-01"`) + "}", "null", passerelle.Stuck, "2006-01-02 15:04:05"},
		{"{" + good + "," + row("2", `"0000-00-00 00:00:00"`) + "}", "null", passerelle.Stuck, "0000"},
		{"{" + good + "," + row("2", `"01/06/2026 10:00:00"`) + "}", "null", passerelle.Stuck, "01/06"},
		{"{" + good + "," + row("2", `{}`) + "}", "null", passerelle.Stuck, "{}"},
		{"{" + row("x", `"2026-06-01 10:00:00"`) + "}", "null", passerelle.Down, `ticket "x"`},
		{"{" + row("", `"2026-06-01 10:00:00"`) + "}", "null", passerelle.Down, `ticket ""`},
		{"{" + good + "}", file("", "1"), passerelle.Down, `attachment ""`}, {"{" + good + "}", file("5", "1/2"), passerelle.Down, `"1/2"`},
	} {
		tickets, files = c.tickets, c.files
		for _, cursor := range []string{"", "2026-06-01 09:00:00"} {
			got, err := it.Changed(t.Context(), passerelle.Since{Cursor: cursor, Known: refs("1", "2")})
			var e *passerelle.Error
			switch {
			case c.want == "" && (err != nil || got.Next != "2026-06-01 10:00:00" && c.tickets[1] == '"'):
				t.Errorf("%s %s: %+v, %v", c.tickets, c.files, got, err)
			case c.want != "" && (!errors.As(err, &e) || e.Class != c.want || !strings.Contains(err.Error(), c.says)):
				t.Errorf("%s %s: %v, want %s and %q", c.tickets, c.files, err, c.want, c.says)
			}
		}
	}
}

// What is no cursor or no key is no part of a query.
func TestSweepAsksOnlyForKeysAndDates(t *testing.T) {
	s := newSubcontractor(t)
	for _, since := range []passerelle.Since{
		{Cursor: "2026-06-01' OR '1", Known: refs("1")}, {Cursor: "now", Known: refs("1")}, {Cursor: "2026-06-01T10:00:00Z", Known: refs("1")}, {Cursor: "2026-02-30 10:00:00"},
		{Known: refs("1", "2) OR (1=1")}, {Known: refs("")}, {Known: refs("-1")},
	} {
		if _, err := s.itop.Changed(t.Context(), since); passerelle.ClassOf(err) != passerelle.Stuck {
			t.Errorf("%+v: %v", since, err)
		}
	}
	if n := s.asking(""); n != 0 {
		t.Errorf("%d requests", n)
	}
	for scope, ok := range map[string]bool{"": true, "  ": true, "select UserRequest": true, "team_name = 'N1'": false, "UserRequest": false, "SELECT": false} {
		if _, err := New(Config{Contract: "c", Side: passerelle.Partner, Scope: scope}); (err == nil) != ok || !ok && !strings.Contains(err.Error(), "scope") {
			t.Errorf("scope %q: %v", scope, err)
		}
	}
}

// A reading says where the ticket stands, and who made what.
func TestReadTellsStatusTeamAndAccounts(t *testing.T) {
	s := newSubcontractor(t, func(c *Config) { c.Scope = "SELECT UserRequest WHERE team_name = 'N2'" })
	key := s.ticket().Key
	read := func() *passerelle.Snapshot {
		t.Helper()
		snap, err := s.itop.Read(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return snap
	}
	if snap := read(); snap.Status != "new" || !snap.Away || !snap.Forgets || snap.Overwritten != nil {
		t.Errorf("%+v", snap)
	}
	s.console(`{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":` + key + `,"stimulus":"ev_assign","fields":{"team_id":{"name":"N2"}}}`)
	s.console(`{"operation":"core/update","comment":"c","class":"UserRequest","key":` + key + `,"fields":{"public_log":"<p>a person's</p>"}}`)
	deliver(t, s.itop, s.entry(key, "private_log", "<p>the gateway's</p>"), s.desk)
	deliver(t, s.itop, s.attachmentMessage(key, "a.txt", "hello"), s.desk)
	s.console(`{"operation":"core/create","comment":"c","class":"Attachment","fields":{"item_class":"UserRequest","item_id":` + key + `,"contents":{"data":"YQ==","filename":"b","mimetype":"text/plain"}}}`)
	before := s.asking("")
	snap := read()
	if n := s.asking("") - before; n != 3 {
		t.Errorf("a reading with a scope takes %d requests", n)
	}
	var by []string
	for _, e := range snap.Events {
		by = append(by, string(e.Kind)+" "+e.Account)
	}
	slices.Sort(by)
	if want := []string{"attach 2", "attach 3", "private-log 2", "public-log 3"}; !slices.Equal(by, want) || snap.Status != "assigned" || snap.Away {
		t.Errorf("%v, status %s, away %v", by, snap.Status, snap.Away)
	}
	s.itop = s.client()
	before = s.asking("")
	if snap := read(); snap.Away || s.asking("")-before != 2 {
		t.Errorf("without a scope: away %v, %d requests", snap.Away, s.asking("")-before)
	}
}

// An author without an account is none.
func TestReadOfAForeignAuthor(t *testing.T) {
	it := client(t, "http://itop.example")
	for i, e := range it.logEvents("1", "public_log", passerelle.PublicLog, gjson.Parse(`{"public_log":{"entries":[{"user_id":0,"message_html":"1"},{"user_id":"0","message_html":"2"},{"user_id":"12","message_html":"3"},{"message_html":"4"}]}}`)) {
		if want := []string{"", "", "12", ""}[i]; e.Account != want {
			t.Errorf("entry %s: account %q", strconv.Itoa(i+1), e.Account)
		}
	}
}
