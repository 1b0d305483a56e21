package jirasim_test

import (
	"os"
	"testing"

	"passerelle/adapters/jira/jirasim"
)

func demo(t *testing.T) *bench {
	f, err := os.Open("../../../contracts/orleans-tours-gar/v1/demo/jira.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fx, err := jirasim.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	sim, err := jirasim.New(fx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	return &bench{t, sim, "Bearer demo-jira-gateway-token"}
}

const demoIssue = `{"fields":{"project":{"key":"GSN1"},"issuetype":{"name":"[Sumit] Demande de support"},"summary":"Accès impossible",
	"description":"Bonjour","reporter":{"name":"Origine Orléans-Tours"},"priority":{"name":"Mineur"},"customfield_10400":{"value":"Aucune"},
	"customfield_12000":"10","customfield_12002":"Basse","customfield_12003":"journal","customfield_12004":"R-000001","customfield_12005":"1",
	"customfield_12006":"4","customfield_12007":"customer","customfield_12009":"R-123","customfield_12030":"0450001A",
	"customfield_12033":"2026-11-21T10:00:00.000+0100","components":[{"name":"Sécurité (contenu non adapté, fuite de données…)"}]}}`

// R4, R8, R9, R27: the demonstration's Jira takes the create of the annex.
func TestR27DemoTakesTheCreateMessage(t *testing.T) {
	b := demo(t)
	got := b.want(201, "POST", "/rest/api/2/issue", demoIssue)
	b.equal(got.at("key"), "GSN1-1")
	is := b.want(200, "GET", "/rest/api/2/issue/GSN1-1", "")
	b.equal([]any{is.at("fields", "status", "name"), is.at("fields", "reporter", "displayName"), is.at("fields", "reporter", "emailAddress")}, []any{"Nouveau", "Origine Orléans-Tours", nil})
	b.equal(len(b.want(200, "GET", "/rest/api/2/project/GSN1/components", "").list), 17)
	b.equal(b.want(200, "GET", "/rest/api/2/attachment/meta", "").at("uploadLimit"), 10<<20)
}

// R11, R18, R20, R21, R22: every step of the contract has its transition, and
// no other.
func TestR11DemoWorkflow(t *testing.T) {
	b := demo(t)
	b.want(201, "POST", "/rest/api/2/issue", demoIssue)
	agent := b.as("agent-gar", "demo-jira-agent")
	for _, step := range []struct {
		who    *bench
		body   string
		code   int
		status string
	}{
		{agent, `{"transition":{"id":"31"}}`, 400, "Nouveau"},
		{agent, `{"transition":{"id":"11"}}`, 204, "En cours"},
		{agent, `{"transition":{"id":"21"},"fields":{"duedate":"2026-12-01"}}`, 204, "En attente"},
		{b, `{"transition":{"id":"31"}}`, 204, "En cours"},
		{agent, `{"transition":{"id":"41"}}`, 400, "En cours"}, // no resolution
		{agent, `{"transition":{"id":"41"},"fields":{"resolution":{"name":"Résolu"},"customfield_12041":"Fait"}}`, 204, "A clôturer"},
		{b, `{"transition":{"id":"61"},"fields":{"customfield_12018":"non"}}`, 204, "En cours"},
		{agent, `{"transition":{"id":"51"},"fields":{"customfield_12040":"pas pour nous"}}`, 204, "Rejeté"},
		{b, `{"transition":{"id":"71"},"fields":{"customfield_12018":"Rejet du ticket non valide"}}`, 204, "En cours"},
		{agent, `{"transition":{"id":"41"},"fields":{"resolution":{"name":"Résolu"}}}`, 204, "A clôturer"},
		{b, `{"transition":{"id":"81"},"fields":{"customfield_12023":{"value":"Sans commentaire"},"customfield_12024":"merci"}}`, 204, "Fermée"},
		{agent, `{"transition":{"id":"61"}}`, 400, "Fermée"},
	} {
		if got := step.who.move("GSN1-1", step.body); got.code != step.code {
			t.Fatalf("%s: %d, want %d: %s", step.body, got.code, step.code, got.text)
		}
		b.equal(b.statusOf("GSN1-1"), step.status)
	}
}
