package itop

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/adapters/itop/itopsim"
	"passerelle/mapping"
)

const signedContract = "../../contracts/orleans-tours-gar/v1"

// inspected is what is found in an iTop that change may alter; it fails where
// iTop is asked for anything but a reading.
func inspected(t *testing.T, change func(*itopsim.Fixture), needs func(*passerelle.Needs), act func(url string)) []passerelle.Finding {
	t.Helper()
	file, err := os.Open(signedContract + "/demo/itop.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fixture, err := itopsim.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(fixture)
	}
	sim, err := itopsim.New(fixture)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	srv := httptest.NewServer(onlyReads(t, sim))
	t.Cleanup(srv.Close)
	c, err := mapping.Load(os.DirFS(signedContract))
	if err != nil {
		t.Fatal(err)
	}
	n := c.Needs(passerelle.Requester, os.DirFS(signedContract))
	if needs != nil {
		needs(n)
	}
	if act != nil {
		act(srv.URL)
	}
	return client(t, srv.URL).Inspect(context.Background(), n)
}

func onlyReads(t *testing.T, sim http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		op := gjson.Get(r.PostForm.Get("json_data"), "operation").String()
		if strings.HasSuffix(r.URL.Path, "/webservices/rest.php") && op != "core/get" && op != "list_operations" {
			t.Errorf("the inspection asks for %s", op)
		}
		sim.ServeHTTP(w, again(r))
	})
}

// again is a request whose form was read, as it came.
func again(r *http.Request) *http.Request {
	out, _ := http.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), strings.NewReader(r.PostForm.Encode()))
	out.Header = r.Header
	return out
}

func findings(list []passerelle.Finding, v passerelle.Verdict) []string {
	var out []string
	for _, f := range list {
		if f.Verdict == v {
			out = append(out, f.Subject+": "+f.What)
		}
		if f.Verdict != passerelle.Met && f.Hint == "" {
			out = append(out, f.What+": no hint says what would work")
		}
	}
	return out
}

func TestInspectAllIsThere(t *testing.T) {
	got := inspected(t, nil, func(n *passerelle.Needs) {
		n.Messages[0].Fields = append(n.Messages[0].Fields, passerelle.FieldNeed{Code: "reopen_reason", Values: []string{"Rejet du ticket non valide"}})
	}, nil)
	if missing := findings(got, passerelle.Missing); len(missing) > 0 {
		t.Errorf("missing %q", missing)
	}
	for _, want := range []string{
		"iTop: the account may use the REST services", "operations: syn/addattachment", "class UserRequest: resolutioncode_id",
		"class UserRequest: establishment_uai", "class Attachment: item_id", "teams: « Support GAR »", "codes: resolutioncode_id = « 39 »",
		"filters of the triggers: SELECT UserRequest WHERE sumit_team_id > 0",
	} {
		if !slices.Contains(findings(got, passerelle.Met), want) {
			t.Errorf("no %q in %q", want, findings(got, passerelle.Met))
		}
	}
	for _, want := range []string{
		"codes: last_update_by = « provider »: no ticket has it yet", "statuses: « A compléter » or « cex_pending » (pending)",
		"stimuli: ev_cex_pending from « Traitement sous-traitant » or « cex »", "iTop: whether the account may write tickets and files",
	} {
		if !slices.Contains(findings(got, passerelle.Unsaid), want) {
			t.Errorf("no %q in %q", want, findings(got, passerelle.Unsaid))
		}
	}
	if slices.ContainsFunc(findings(got, passerelle.Unsaid), func(s string) bool { return strings.Contains(s, "Rejet du ticket") }) {
		t.Error("a sentence is taken for a code")
	}
}

// TestInspectToldOnce: what several files need is one finding.
func TestInspectToldOnce(t *testing.T) {
	for _, f := range inspected(t, nil, nil, nil) {
		if f.What == "last_update_by = « provider »: no ticket has it yet" && strings.Count(f.Who, ",") != 6 {
			t.Errorf("it is needed by %s", f.Who)
		}
	}
}

// TestInspectStatusesOfThePast: a ticket that stood in a status once shows that
// there is one.
func TestInspectStatusesOfThePast(t *testing.T) {
	got := inspected(t, nil, nil, func(url string) {
		person(t, url, `{"operation":"core/create","comment":"c","class":"UserRequest","fields":{"title":"t","description":"<p>d</p>","org_id":10,"caller_id":101,"beneficiary_id":101,"establishment_id":301,"customer_app_id":4,"servicesubcategory_id":502,"urgency_id":2,"impact_id":2}}`)
		for _, s := range []string{
			`"stimulus":"ev_assign","fields":{"team_id":{"name":"Support GAR"}}`,
			`"stimulus":"ev_cex_pending","fields":{}`,
			`"stimulus":"ev_cex_resolve","fields":{"solution":"<p>s</p>"}`,
		} {
			person(t, url, `{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":1,"force":true,`+s+`}`)
		}
	})
	for _, want := range []string{"statuses: « cex » (open)", "statuses: « cex_pending » (pending)", "statuses: « resolved » (resolved)"} {
		if !slices.Contains(findings(got, passerelle.Met), want) {
			t.Errorf("no %q in %q", want, findings(got, passerelle.Met))
		}
	}
}

func TestInspectNamesWhatIsMissing(t *testing.T) {
	drop := func(class string, id int) func(*itopsim.Fixture) {
		return func(f *itopsim.Fixture) {
			f.Objects = slices.DeleteFunc(f.Objects, func(o itopsim.Object) bool { return o.Class == class && (id == 0 || o.ID == id) })
		}
	}
	for _, tt := range []struct {
		says   string
		change func(*itopsim.Fixture)
		needs  func(*passerelle.Needs)
		want   string
	}{
		{"a team", drop("Team", 202), nil, "teams: no team « Support GAR »"},
		{"a code", drop("ResolutionCode", 25), nil, "codes: resolutioncode_id = « 25 »: iTop has no such object"},
		{"an attribute that iTop is to send", drop("Urgency", 0), nil, "class UserRequest: no attribute urgency_name"},
		{"an attribute that is set", nil, func(n *passerelle.Needs) {
			n.Messages[0].Fields = append(n.Messages[0].Fields, passerelle.FieldNeed{Code: "provider_code_id", Names: true, Values: []string{"3"}})
		}, "class UserRequest: no attribute provider_code_id"},
		{"a class", nil, func(n *passerelle.Needs) { n.Messages[4].Class = "Demande" }, "class Demande: it does not exist"},
		{"an operation", nil, func(n *passerelle.Needs) { n.Messages[0].Op = "syn/close" }, "operations: syn/close is not offered"},
		{"a filter", nil, func(n *passerelle.Needs) { n.Reads[0].Filter = "SELECT UserRequest WHERE sumit_group = 1" },
			"filters of the triggers: iTop refuses « SELECT UserRequest WHERE sumit_group = 1 »"},
		{"a quote in a name", nil, func(n *passerelle.Needs) { n.Teams = []string{"L'équipe"} }, "teams: no team « L'équipe »"},
		{"the right to use REST", func(f *itopsim.Fixture) { f.Accounts[0].Profiles = []string{"Support Agent"} }, nil, "iTop: the inspection ends here: "},
		{"the right to read", func(f *itopsim.Fixture) { f.Accounts[0].Profiles = []string{"REST Services User"} }, nil, "class UserRequest: the account may not read it"},
		{"the password", func(f *itopsim.Fixture) { f.Accounts[0].Password = "other" }, nil, "iTop: the inspection ends here: "},
	} {
		t.Run(tt.says, func(t *testing.T) {
			got := findings(inspected(t, tt.change, tt.needs, nil), passerelle.Missing)
			if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, tt.want) }) {
				t.Errorf("missing:\n%s\nwant\n%s", strings.Join(got, "\n"), tt.want)
			}
			if len(got) > 1 && tt.says != "the right to read" { // of two classes
				t.Errorf("one cause, %d reports:\n%s", len(got), strings.Join(got, "\n"))
			}
		})
	}
}

// TestInspectNobody: an iTop that is not there, or not configured.
func TestInspectNobody(t *testing.T) {
	for address, want := range map[string]passerelle.Verdict{"": passerelle.Unsaid, "http://127.0.0.1:1": passerelle.Missing} {
		got := client(t, address).Inspect(context.Background(), &passerelle.Needs{})
		if len(got) != 1 || got[0].Verdict != want || got[0].Hint == "" {
			t.Errorf("%q: %+v", address, got)
		}
	}
}
