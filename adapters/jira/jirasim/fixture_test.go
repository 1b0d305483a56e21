package jirasim_test

import (
	"strings"
	"testing"

	"passerelle/adapters/jira/jirasim"
)

func TestLoadRefusesUnknownKeys(t *testing.T) {
	for text, says := range map[string]string{
		`{"usres":[]}`:                       `unknown field "usres"`,
		`{"users":[{"name":"a","pass":""}]}`: `unknown field "pass"`,
		`{} {}`:                              "text after",
		`[]`:                                 "cannot unmarshal array",
	} {
		if _, err := jirasim.Load(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %s", text, err, says)
		}
	}
}

// A wrong fixture is refused with all its mistakes, each saying what is
// wanted.
func TestNewRefusesAWrongFixture(t *testing.T) {
	const wrong = `{"flavour":"server","contextPath":"jira","timezone":"Mars","users":[{"name":"a"},{"name":"a"}],
		"issueTypes":[{"name":"T"}],"projects":[{"key":"P","workflow":"W","issueTypes":["U"]},{"key":""}],
		"statuses":[{"name":"S","category":"odd"}],"webhooks":[{"url":"x"}],
		"fields":[{"id":"nix","type":"string"},{"id":"customfield_1","type":"float"},{"id":"customfield_2","type":"option"},{"id":"summary","type":"text"},{"id":"customfield_2","type":"option"}],
		"workflows":[{"name":"V","initial":"X","transitions":[{"name":"t","to":"Y","from":["Z"],"fields":[{"id":"customfield_9"}],"resolution":"R"}]}]}`
	fx, err := jirasim.Load(strings.NewReader(wrong))
	if err != nil {
		t.Fatal(err)
	}
	_, err = jirasim.New(fx)
	for _, says := range []string{
		`flavour "server": want dc or cloud`, `contextPath "jira": want it to begin with /`, `timezone "Mars"`, `user "a": want a name, used once`,
		`project P: workflow "W" is not among the workflows`, `project P: issue type "U"`, `a project without a key`, `status S: category "odd"`,
		`field nix: unknown`, `field customfield_1: type "float"`, `field customfield_2: an option field needs`, `field summary: a system field`, `field customfield_2: stands twice`,
		`workflow V: initial status "X"`, `transition t: status "Y"`, `transition t: status "Z"`, `transition t: field "customfield_9"`, `transition t: resolution "R"`,
	} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %s in %v", says, err)
		}
	}
	if _, err := jirasim.New(&jirasim.Fixture{}); err == nil || !strings.Contains(err.Error(), "no project") {
		t.Errorf("an empty fixture: %v", err)
	}
}

func TestNewRefusesWebhooksThatCannotBeSent(t *testing.T) {
	for _, h := range []jirasim.Webhook{{URL: "nowhere"}, {URL: "http://x", JQL: "project = NIX"}} {
		fx := &jirasim.Fixture{
			Projects: []jirasim.Project{{Key: "P"}}, IssueTypes: []jirasim.Named{{Name: "T"}},
			Statuses: []jirasim.Status{{ID: "1", Name: "S", Category: "new"}}, Workflows: []jirasim.Workflow{{Name: "W", Initial: "S"}},
		}
		if _, err := jirasim.New(fx); err != nil {
			t.Fatalf("without webhooks: %v", err)
		}
		fx.Webhooks = []jirasim.Webhook{h}
		if _, err := jirasim.New(fx); err == nil {
			t.Errorf("accepted %+v", h)
		}
	}
}
