package mapping

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"testing/fstest"

	"passerelle"
)

// TestNeeds writes what the reference contract needs of each side, and
// compares it with what is written in its folder.
func TestNeeds(t *testing.T) {
	fsys := folder(t)
	fsys["from-requester/triggers.csv"] = file("name,on,class,state,attcodes,filter,context,payload\nx,update,UserRequest,,team_id,SELECT UserRequest WHERE team_name = 'Support GAR',GUI:Console,create\n")
	fsys["from-requester/create.json"] = file(`{"fields": {"org_id": "$this->org_name$", "description": "$this->html(description)$"}}`)
	fsys["values.csv"].Data = bytes.Replace(fsys["values.csv"].Data, []byte("Critique,1,Haute"), []byte("Critique,1,Moyenne"), 1)
	fsys["from-partner/triggers.csv"] = file("name,on,class,state,attcodes,filter,context,payload\ny,update,Incident,,,SELECT Incident WHERE team_name != 'École',GUI:Console,other\n")
	fsys["from-partner/other.json"] = file(`{}`)
	c := load(t, fsys)

	partner := c.Needs(passerelle.Partner, fsys)
	create := needOf(t, partner, "to-partner/create.json")
	for _, want := range []string{
		"customfield_10400 names {value} [Moyenne Basse Aucune]",
		"priority names {name} [Bloquant Majeur Mineur]",
		"reporter {name} [Origine Orléans-Tours]",
		"issuetype {name} [[Sumit] Demande de support]",
		"labels [] []",
		"summary []",
		"customfield_12000 names [10]",
	} {
		if got := describeFields(create); !slices.Contains(got, want) {
			t.Errorf("create: no %q in %q", want, got)
		}
	}
	if i := slices.IndexFunc(create.Fields, func(f passerelle.FieldNeed) bool { return f.Code == "components" }); len(create.Fields[i].Values) != 17 || !create.Fields[i].List {
		t.Errorf("components: %+v", create.Fields[i])
	}
	if create.Project != "GSN1" || create.Type != "[Sumit] Demande de support" || create.Whence != nil {
		t.Errorf("create: %+v", create)
	}
	for file, want := range map[string]string{
		"to-partner/end-pending.json":              "[{[En attente] [En cours Nouveau]}]",
		"to-partner/close.json":                    "[{[A clôturer] [Fermée]}]",
		"to-partner/reopen-rejection-refused.json": "[{[Rejeté] [En cours Nouveau]}]",
		"to-partner/update-public-log.json":        "[]",
	} {
		if got := fmt.Sprint(needOf(t, partner, file).Moves); got != want {
			t.Errorf("%s moves %s, want %s", file, got, want)
		}
	}
	if got := fmt.Sprint(needOf(t, partner, "to-partner/update-private-log.json").Whence); got != "[En cours Nouveau En attente A clôturer]" {
		t.Errorf("the private journal is written in %s", got)
	}

	if got := fmt.Sprint(partner.Reads, partner.Teams); got != "[{from-partner/other.json Incident [] SELECT Incident WHERE team_name != 'École'}] [École]" {
		t.Errorf("the partner pushes: %s", got)
	}

	requester := c.Needs(passerelle.Requester, fsys)
	if got := describeFields(needOf(t, requester, "to-requester/resolve.json")); !slices.Contains(got, "resolutioncode_id names [39 25]") {
		t.Errorf("resolve: %q", got)
	}
	if got := fmt.Sprint(requester.Reads, requester.Teams); got != "[{from-requester/create.json UserRequest [description org_name team_id] SELECT UserRequest WHERE team_name = 'Support GAR'}] [Support GAR]" {
		t.Errorf("pushed: %s", got)
	}
	if got := fmt.Sprint(requester.Statuses[1]); got != "{pending [A compléter cex_pending]}" {
		t.Errorf("statuses: %s", got)
	}
}

func needOf(t *testing.T, n *passerelle.Needs, file string) passerelle.MessageNeed {
	t.Helper()
	for _, m := range n.Messages {
		if m.File == file {
			return m
		}
	}
	t.Fatalf("nothing about %s", file)
	return passerelle.MessageNeed{}
}

func describeFields(m passerelle.MessageNeed) []string {
	var out []string
	for _, f := range m.Fields {
		s := f.Code
		if f.Names {
			s += " names"
		}
		if f.List {
			s += " []"
		}
		if f.Member != "" {
			s += " {" + f.Member + "}"
		}
		out = append(out, s+" "+fmt.Sprint(f.Values))
	}
	return out
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
