package jira_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"passerelle"
	"passerelle/adapters/jira"
	"passerelle/adapters/jira/jirasim"
	"passerelle/mapping"
)

const contract = "../../contracts/orleans-tours-gar/v1"

func partnerNeeds(t *testing.T) *passerelle.Needs {
	t.Helper()
	c, err := mapping.Load(os.DirFS(contract))
	if err != nil {
		t.Fatal(err)
	}
	return c.Needs(passerelle.Partner, os.DirFS(contract))
}

// inspect asks a Jira, and fails where it was asked for anything but a reading.
func (b *bench) inspect(change func(*jira.Config)) []passerelle.Finding {
	b.Helper()
	j := b.adapter(change, jira.Transport(spy(func(r *http.Request) {
		if r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/search") {
			b.Errorf("the inspection writes: %s %s", r.Method, r.URL.Path)
		}
	})))
	return j.Inspect(context.Background(), partnerNeeds(b.T))
}

// said are the findings of a verdict, as "subject: what".
func said(list []passerelle.Finding, v passerelle.Verdict) []string {
	var out []string
	for _, f := range list {
		if f.Verdict == v {
			out = append(out, f.Subject+": "+f.What)
		}
		if v != passerelle.Met && f.Verdict == v && f.Hint == "" {
			out = append(out, f.What+": no hint says what would work")
		}
	}
	return out
}

// everywhere leaves an issue in each status that the gateway sends from.
func (b *bench) everywhere() {
	b.Helper()
	pending, resolved, rejected := b.issue(), b.issue(), b.issue()
	b.issue()
	for key, transition := range map[string]string{pending: "21", resolved: "41", rejected: "51"} {
		body := map[string]any{"transition": map[string]string{"id": transition}}
		if transition == "41" {
			body["fields"] = map[string]any{"resolution": map[string]string{"name": "Résolu"}}
		}
		b.agent("POST", "/rest/api/2/issue/"+key+"/transitions", body)
	}
	b.agent("POST", "/rest/api/2/issue/"+resolved+"/comment", map[string]any{"body": "Bonjour"})
}

func TestInspectAllIsThere(t *testing.T) {
	b := newBench(t)
	b.everywhere()
	got := b.inspect(nil)
	if missing, unsaid := said(got, passerelle.Missing), said(got, passerelle.Unsaid); len(missing)+len(unsaid) > 0 {
		t.Errorf("missing %q\ncannot be checked %q", missing, unsaid)
	}
	for _, want := range []string{
		"Jira: project GSN1", "Jira: type of issue « [Sumit] Demande de support »",
		"the create screen of GSN1: customfield_12030 (UAI)", "the create screen of GSN1: components (Component/s)",
		"the create screen of GSN1: reporter (Reporter)", "the statuses of GSN1: « En attente »",
		"the transitions: from « A clôturer » to « Fermée » (« Clôturer »)",
		"the edit and transition screens of GSN1: customfield_12023 (Commentaire de clôture)",
		"the field of the gateway's own id (mark_field): customfield_12005 (id FRS) can be searched",
		"the account's permissions: « Modify Reporter »", "attachments: files of up to 10485760 bytes",
		"comments: who may read a comment (property sd.public.comment)",
	} {
		if !slices.Contains(said(got, passerelle.Met), want) {
			t.Errorf("no %q in %q", want, said(got, passerelle.Met))
		}
	}
}

// TestInspectNewProject: without issues nothing is missing, and what cannot be
// known is said.
func TestInspectNewProject(t *testing.T) {
	got := newBench(t).inspect(nil)
	if missing := said(got, passerelle.Missing); len(missing) > 0 {
		t.Errorf("missing %q", missing)
	}
	if want := "the transitions: from « A clôturer » to « Fermée »"; !slices.Contains(said(got, passerelle.Unsaid), want) {
		t.Errorf("no %q in %q", want, said(got, passerelle.Unsaid))
	}
}

func TestInspectNamesWhatIsMissing(t *testing.T) {
	field := func(f *jirasim.Fixture, id string) *jirasim.Field {
		return &f.Fields[slices.IndexFunc(f.Fields, func(x jirasim.Field) bool { return x.ID == id })]
	}
	workflow := func(f *jirasim.Fixture, name string, change func(*jirasim.Transition)) {
		list := f.Workflows[0].Transitions
		change(&list[slices.IndexFunc(list, func(x jirasim.Transition) bool { return x.Name == name })])
	}
	for _, tt := range []struct {
		says   string
		change func(*jirasim.Fixture)
		config func(*jira.Config)
		want   string
	}{
		{"a field", func(f *jirasim.Fixture) {
			f.Fields = slices.DeleteFunc(f.Fields, func(x jirasim.Field) bool { return x.ID == "customfield_12002" })
		}, nil, "the create screen of GSN1: customfield_12002 does not exist in this Jira"},
		{"a field on the create screen", func(f *jirasim.Fixture) { field(f, "customfield_12033").HideOnCreate = true }, nil,
			"the create screen of GSN1: customfield_12033 (Date de début de l'incident) is not on the screen"},
		{"a field on the edit screen", func(f *jirasim.Fixture) {
			field(f, "customfield_12018").HideOnEdit = true
			workflow(f, "Rouvrir", noScreen)
		}, nil,
			"the edit and transition screens of GSN1: customfield_12018 (Motif de réouverture) is not on the screen"},
		{"an option", func(f *jirasim.Fixture) {
			field(f, "customfield_10400").Allowed = []string{"Haute", "Moyenne", "Basse"}
		}, nil,
			"the create screen of GSN1: customfield_10400 (Priorité client) does not take « Aucune »"},
		{"an option of a later message", func(f *jirasim.Fixture) { field(f, "customfield_12023").Allowed = []string{"Satisfait"} }, nil,
			"the edit and transition screens of GSN1: customfield_12023 (Commentaire de clôture) does not take « Sans commentaire »"},
		{"a priority", func(f *jirasim.Fixture) { f.Priorities = f.Priorities[:2] }, nil, "the create screen of GSN1: priority (Priority) does not take « Bloquant »"},
		{"a component", func(f *jirasim.Fixture) {
			f.Projects[0].Components = slices.DeleteFunc(f.Projects[0].Components, func(c string) bool { return c == "Médiacentre" })
		}, nil, "the create screen of GSN1: components (Component/s) does not take « Médiacentre »"},
		{"a required field", func(f *jirasim.Fixture) {
			f.Fields = append(f.Fields, jirasim.Field{ID: "customfield_1", Name: "Canal", Type: "option", Allowed: []string{"Web"}, Required: true})
		}, nil, "the create screen of GSN1: Jira requires Canal (customfield_1), one of « Web », which the contract does not set"},
		{"another form", func(f *jirasim.Fixture) {
			*field(f, "customfield_12030") = jirasim.Field{ID: "customfield_12030", Name: "UAI", Type: "option", Allowed: []string{"0750655E"}}
		}, nil,
			"the create screen of GSN1: customfield_12030 (UAI) is written in another form than Jira takes"},
		{"the reporter", func(f *jirasim.Fixture) { f.Users[1].Name, f.Users[1].Key = "autre", "autre" }, nil,
			"the create screen of GSN1: reporter (Reporter): there is no account « Origine Orléans-Tours »"},
		{"a type of issue", func(f *jirasim.Fixture) {
			f.IssueTypes[0].Name = "Demande"
			f.Projects[0].IssueTypes = []string{"Demande"}
		}, nil,
			"the create screen of GSN1: no type of issue « [Sumit] Demande de support »"},
		{"the project", func(f *jirasim.Fixture) { f.Projects[0].Key = "GSN2" }, nil, "Jira: the account sees no project GSN1"},
		{"a status", func(f *jirasim.Fixture) {
			f.Statuses[5].Name = "Refusé"
			workflow(f, "Rejeter", func(t *jirasim.Transition) { t.To = "Refusé" })
			workflow(f, "Refuser le rejet", func(t *jirasim.Transition) { t.From = []string{"Refusé"} })
		}, nil, "the statuses of GSN1: no status « Rejeté » (state rejected)"},
		{"a transition", func(f *jirasim.Fixture) {
			workflow(f, "Reprendre", func(t *jirasim.Transition) { t.From = []string{"Rejeté"} })
		}, nil, "the transitions: from « En attente » to « En cours » or « Nouveau »: no transition leads there from GSN1-1"},
		{"what a transition needs", func(f *jirasim.Fixture) {
			workflow(f, "Clôturer", func(t *jirasim.Transition) {
				t.Fields = append(t.Fields, jirasim.ScreenField{ID: "customfield_12041", Required: true})
			})
		}, nil, "the transitions: from « A clôturer » to « Fermée »: it needs Solution (customfield_12041)"},
		{"the mark field", nil, func(c *jira.Config) { c.MarkField = "customfield_99" }, "the field of the gateway's own id (mark_field): customfield_99 does not exist in this Jira"},
		{"a mark that nobody sets", nil, func(c *jira.Config) { c.MarkField = "customfield_12041" },
			"the field of the gateway's own id (mark_field): customfield_12041 (Solution) is not set when an issue is created"},
		{"permissions", func(f *jirasim.Fixture) { f.Users[0].Agent = false }, nil, "the account's permissions: no « Modify Reporter » in GSN1"},
		{"the password", nil, func(c *jira.Config) { c.Password = "wrong" }, "Jira: the inspection ends here: Jira answered 401 Unauthorized"},
	} {
		t.Run(tt.says, func(t *testing.T) {
			b := newBench(t, func(f *jirasim.Fixture) {
				if tt.change != nil {
					tt.change(f)
				}
			})
			if strings.Contains(tt.want, "transition") {
				b.everywhere()
			}
			got := said(b.inspect(tt.config), passerelle.Missing)
			if !slices.Contains(got, tt.want) {
				t.Errorf("missing:\n%s\nwant\n%s", strings.Join(got, "\n"), tt.want)
			}
			if len(got) > 3 {
				t.Errorf("one cause, %d reports:\n%s", len(got), strings.Join(got, "\n"))
			}
		})
	}
}

// TestInspectTransitionScreen: a field that a transition takes need not be on
// the edit screen.
func TestInspectTransitionScreen(t *testing.T) {
	b := newBench(t, func(f *jirasim.Fixture) {
		for i := range f.Fields {
			f.Fields[i].HideOnEdit = f.Fields[i].ID == "customfield_12018"
		}
	})
	b.everywhere()
	if missing := said(b.inspect(nil), passerelle.Missing); len(missing) > 0 {
		t.Errorf("missing %q", missing)
	}
}

// TestInspectLongScreen: a screen comes in pages of fifty.
func TestInspectLongScreen(t *testing.T) {
	b := newBench(t, func(f *jirasim.Fixture) {
		for i := range 120 {
			f.Fields = append([]jirasim.Field{{ID: fmt.Sprintf("customfield_2%04d", i), Name: fmt.Sprint("Autre ", i), Type: "string"}}, f.Fields...)
		}
	})
	if missing := said(b.inspect(nil), passerelle.Missing); len(missing) > 0 {
		t.Errorf("missing %q", missing)
	}
}

func noScreen(t *jirasim.Transition) { t.Fields = nil }

// TestInspectCloud: Cloud pages and names things otherwise.
func TestInspectCloud(t *testing.T) {
	b := newBench(t, func(f *jirasim.Fixture) {
		f.Flavour = "cloud"
		f.Users[0].Token = "t"
	})
	got := b.inspect(func(c *jira.Config) {
		c.Cloud, c.User, c.Password, c.Token = true, "gateway@jira.example", "", "t"
	})
	if missing := said(got, passerelle.Missing); len(missing) > 0 {
		t.Errorf("missing %q", missing)
	}
	for _, want := range []string{"the create screen of GSN1: customfield_12030 (UAI)", "the account's permissions: « Browse Projects »"} {
		if !slices.Contains(said(got, passerelle.Met), want) {
			t.Errorf("no %q in %q", want, said(got, passerelle.Met))
		}
	}
}
