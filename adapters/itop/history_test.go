package itop

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/adapters/itop/itopsim"
)

// Two who write one journal at the same moment: one entry is lost, whose ever it
// is, and iTop's history shows it. No reading of the journal does.
func TestHistoryShowsLostEntries(t *testing.T) {
	sim, it, d := academy(t)
	it.cfg.History = true
	say := func(text string) {
		person(t, it.cfg.BaseURL, `{"operation":"core/update","comment":"c","class":"UserRequest","key":1,"fields":{"public_log":"<p>`+text+`</p>"}}`)
	}
	read := func() *passerelle.Snapshot {
		t.Helper()
		s, err := it.Read(t.Context(), "1")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	say("a first entry")
	if s := read(); s.Overwritten != nil {
		t.Errorf("nothing was lost: %+v", s.Overwritten)
	}
	ours := deliver(t, it, entryMessage(t, "<p>ours is read back, and then lost</p>"), d)
	sim.Overwrite(itopsim.Race{Key: 1, Log: "public_log", By: "agent"})
	say("somebody is quicker")
	sim.Overwrite(itopsim.Race{Log: "public_log", By: "gateway"})
	say("and is lost in turn")
	last := deliver(t, it, entryMessage(t, "<p>another of ours</p>"), d)
	s := read()
	got := names(t, it, passerelle.PublicLog)
	if len(got) != 3 || slices.Contains(got, ours.Names[0]) || got[2] != last.Names[0] {
		t.Errorf("the journal holds %v", got)
	}
	if len(s.Overwritten) != 2 {
		t.Fatalf("lost: %+v", s.Overwritten)
	}
	mine, theirs := s.Overwritten[0], s.Overwritten[1]
	if mine.Log != "public_log" || mine.Account != "2" || mine.Author != "Compte Passerelle" || !strings.HasPrefix(mine.Name, "1/lost/") {
		t.Errorf("ours: %+v", mine)
	}
	if theirs.Account != "3" || theirs.Author != "Agent DRANÉ" || theirs.Name == mine.Name {
		t.Errorf("theirs: %+v", theirs)
	}
	if _, ok := civil(theirs.At); !ok {
		t.Errorf("at %q", theirs.At)
	}
	again := read().Overwritten
	if !slices.Equal(again, s.Overwritten) {
		t.Errorf("a loss changes its name: %+v, %+v", again, s.Overwritten)
	}
	it.cfg.History = false
	if s := read(); s.Overwritten != nil {
		t.Errorf("not asked: %+v", s.Overwritten)
	}
}

// That our account may not read the history is a mistake in the configuration,
// and no reason to stop all traffic there.
func TestHistoryThatMayNotBeRead(t *testing.T) {
	s := newSubcontractor(t, func(c *Config) { c.History = true })
	key := s.ticket().Key
	_, err := s.itop.Read(t.Context(), key)
	if passerelle.ClassOf(err) != passerelle.Stuck || !strings.Contains(err.Error(), "may not read the history") || !strings.Contains(err.Error(), "set history: false") {
		t.Errorf("%s %v", passerelle.ClassOf(err), err)
	}
	if snap, err := s.itop.Read(t.Context(), "999"); err != nil || !snap.Gone {
		t.Errorf("%+v, %v", snap, err)
	}
}

func TestInspectHistoryAndScope(t *testing.T) {
	for profile, want := range map[string]string{itopsim.ProfileInterface: "history: readable", itopsim.ProfileAgent: "history: not readable, though history: true"} {
		sim, err := itopsim.New(&itopsim.Fixture{Model: itopsim.ModelStock, Accounts: []itopsim.Account{{Login: "gateway", Password: "pw", Profiles: []string{itopsim.ProfileREST, profile}}}})
		if err != nil {
			t.Fatal(err)
		}
		srv := httptest.NewServer(onlyReads(t, sim))
		defer srv.Close()
		inspect := func(scope string, history bool) []passerelle.Finding {
			it, err := New(Config{Contract: "c", Side: passerelle.Partner, BaseURL: srv.URL, User: "gateway", Password: "pw", History: history, Scope: scope})
			if err != nil {
				t.Fatal(err)
			}
			return it.Inspect(t.Context(), &passerelle.Needs{})
		}
		got := inspect("SELECT UserRequest WHERE team_name = 'N1'", true)
		met, missing := findings(got, passerelle.Met), findings(got, passerelle.Missing)
		if !slices.Contains(met, "scope: SELECT UserRequest WHERE team_name = 'N1'") || !slices.Contains(append(met, missing...), want) || len(missing) > 1 {
			t.Errorf("%s: %q, %q", profile, met, missing)
		}
		got = inspect("SELECT UserRequest WHERE group_name = 'N1'", false)
		if missing := findings(got, passerelle.Missing); !slices.Equal(missing, []string{"scope: iTop refuses « SELECT UserRequest WHERE group_name = 'N1' »"}) {
			t.Errorf("%s: %q", profile, missing)
		}
		if slices.ContainsFunc(got, func(f passerelle.Finding) bool { return f.Subject == "history" }) {
			t.Errorf("%s: %+v", profile, got)
		}
	}
}

// Which operations on one journal are of entries that are no more: of two at one
// place the earlier, and all that came since.
func TestLostOf(t *testing.T) {
	for _, c := range []struct{ ops, lost string }{ // id@place, and how many minutes later
		{"", ""}, {"1@0 2@1 3@2", ""}, {"1@0 2@1 3@1 4@2", "2"}, {"3@1 2@1 1@0", "2"}, {"9@1 10@1", "9"}, {"1@0 2@0 3@0", "1 2"},
		{"1@3 2@4 3@3", "1 2"}, {"1@3 2@4 3@3 4@4", "1 2"}, {"1@3 2@4 3@4 4@3", "1 2 3"},
		{"1@3 2@4 3@5 4@3+60 5@4+60 6@5+60", ""}, // written anew: "items"
		{"1@0 2@1 3@1+2", "2"}, {"1@0 2@1 3@1+3", ""}, {"1@5 2@2+90 3@3+90 4@3+90", "3"}, {"1@1+59 2@1", "1"},
	} {
		var ops []logged
		for word := range strings.FieldsSeq(c.ops) {
			var id, at, minutes int
			if n, _ := fmt.Sscanf(word, "%d@%d+%d", &id, &at, &minutes); n < 2 {
				t.Fatal(word)
			}
			ops = append(ops, logged{id: fmt.Sprint(id), at: at, date: fmt.Sprintf("2026-06-01 %02d:%02d:00", 10+minutes/60, minutes%60)})
		}
		var lost []string
		for _, o := range lostOf(ops) {
			lost = append(lost, o.id)
		}
		if got := strings.Join(lost, " "); got != c.lost {
			t.Errorf("%s: lost %q, want %q", c.ops, got, c.lost)
		}
	}
	if !near("", "2026-06-01 10:00:00") || !near("2026-06-01 10:00:00", "?") {
		t.Error("a date that cannot be read denies a loss")
	}
}

// Operations as no iTop notes them are an error.
func TestHistoryTakesNothingMalformed(t *testing.T) {
	var ops string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := "null"
		switch gjson.Get(r.FormValue("json_data"), "class").String() {
		case "UserRequest":
			answer = `{"UserRequest::1":{"code":0,"key":"1","fields":{"ref":"R-1","status":"new"}}}`
		case historyClass:
			answer = ops
		}
		_, _ = io.WriteString(w, `{"code":0,"message":"","objects":`+answer+`}`)
	}))
	defer srv.Close()
	it := client(t, srv.URL)
	it.cfg.History = true
	// Who has no entry left is called as the change itself calls them.
	ops = `{"a":{"code":0,"key":"9","fields":{"attcode":"private_log","lastentry":"1","user_id":"5","userinfo":"Jean","date":"2026-06-01 10:00:00"}},
		"b":{"code":0,"key":"10","fields":{"attcode":"private_log","lastentry":"1","user_id":"6","userinfo":"c","date":"2026-06-01 10:00:01"}}}`
	snap, err := it.Read(t.Context(), "1")
	if want := (passerelle.Overwritten{Name: "1/lost/9", Log: "private_log", Author: "Jean", Account: "5", At: "2026-06-01 10:00:00"}); err != nil || !slices.Equal(snap.Overwritten, []passerelle.Overwritten{want}) {
		t.Errorf("%+v, %v", snap, err)
	}
	for answer, want := range map[string]passerelle.Class{
		`null`: "", `{"a":{"code":0,"key":"7","fields":{"attcode":"public_log","lastentry":"0"}}}`: "", `{"a":{"code":0,"key":"7","fields":{"attcode":"public_log","lastentry":0}}}`: "",
		`{"a":{"code":0,"key":"7","fields":{"attcode":"public_log"}}}`: passerelle.Down, `{"a":{"code":0,"key":"7","fields":{"attcode":"public_log","lastentry":"-1"}}}`: passerelle.Down,
		`{"a":{"code":0,"key":"7","fields":{"attcode":"public_log","lastentry":"x"}}}`: passerelle.Down, `{"a":{"code":0,"key":"","fields":{"attcode":"public_log","lastentry":"0"}}}`: passerelle.Down,
		`{"a":{"code":100,"message":"no"}}`: passerelle.Stuck, `{"a":{"code":0,"key":"7","fields":{"attcode":"log","lastentry":"0"}},"b":{"code":0,"key":"8","fields":{"attcode":"log","lastentry":"0"}}}`: "",
	} {
		ops = answer
		snap, err = it.Read(t.Context(), "1")
		if want == "" && (err != nil || snap.Overwritten != nil) || want != "" && passerelle.ClassOf(err) != want {
			t.Errorf("%s: %+v, %v", answer, snap, err)
		}
	}
}
