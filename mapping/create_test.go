package mapping

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"passerelle"
)

func TestR1TicketsAreBornAtTheRequesters(t *testing.T) {
	c := load(t, folder(t))
	step, err := judge(c, passerelle.New, create(given(t)))
	if err != nil || step.Next != passerelle.Open || said(step) != "partner:create partner:notify" || step.Rule != "R1" {
		t.Errorf("a create gives %+v, %v", step, err)
	}
	for _, s := range []passerelle.State{passerelle.New, passerelle.Open, passerelle.Pending, passerelle.Resolved, passerelle.Rejected, passerelle.Left} {
		_, err := judge(c, s, &passerelle.Event{From: passerelle.Partner, Kind: passerelle.Create})
		refused(t, err, "R1", string(s), "may not create the ticket", "un ticket naît toujours chez le demandeur")
	}
}

func TestR2MandatoryFields(t *testing.T) {
	c := load(t, folder(t))
	mandatory := strings.Fields("beneficiary_id customer_id caller_id description domain_id servicefamily_id familygroup_id establishment_id last_update_by title org_id customer_app_id customer_ref urgency_id impact_id")
	for _, name := range mandatory {
		for _, empty := range []string{"", " \u00a0", "absent", "0", "<p>&nbsp;</p>"} {
			fields := given(t)
			fields[name] = empty
			switch {
			case empty == "absent":
				delete(fields, name)
			case empty == "0" && c.fields[name].Type != "key", empty == "<p>&nbsp;</p>" && c.fields[name].Type != "html":
				continue
			case strings.TrimSpace(empty) == "" && empty != "" && len(c.values[name]) > 0:
				continue // an unknown value
			}
			_, err := judge(c, passerelle.New, create(fields))
			refused(t, err, "R2", "mandatory fields are missing or empty: "+name+" ("+c.fields[name].Label+")")
		}
	}
	_, err := judge(c, passerelle.New, create(map[string]string{}))
	for _, name := range mandatory { // all at once
		refused(t, err, "R2", name)
	}
	fields := given(t)
	for _, name := range strings.Fields("private_log public_log origin priority_id reporting_date service_id") {
		delete(fields, name)
	}
	if _, err := judge(c, passerelle.New, create(fields)); err != nil {
		t.Errorf("without the optional fields: %v", err)
	}
}

func TestR3UAI(t *testing.T) {
	c := load(t, folder(t))
	for uai, want := range map[string]string{
		"0750655E": "", "0450000B": "checked below", "0000000A": "", "0000022Z": "", "0000023A": "",
		"0750655F": "the check letter of 0750655 is E", "0750655e": "the check letter of 0750655 is E", "0750655": "is no UAI", "07506551E": "is no UAI",
		"075065E": "is no UAI", "075065AE": "is no UAI", "075065A" + string(uaiLetters[750667%23]): "is no UAI", "0750655É": "is no UAI", "12345678": "the check letter of 1234567 is", "Collège Jean Moulin": "is no UAI",
	} {
		if want == "checked below" {
			want = "the check letter of 0450000 is " + string(uaiLetters[450000%23])
		}
		fields := given(t)
		fields["establishment_id"] = uai
		_, err := judge(c, passerelle.New, create(fields))
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", uai, err)
			}
			continue
		}
		refused(t, err, "R3", "establishment_id", "« "+uai+" »", want, "0750655E")
	}
	c.UAI = "" // a switch
	fields := given(t)
	fields["establishment_id"] = "Collège Jean Moulin"
	if _, err := judge(c, passerelle.New, create(fields)); err != nil {
		t.Errorf("with the check off: %v", err)
	}
}

func TestR4CallerIsNamedInTheDescription(t *testing.T) {
	c := load(t, folder(t))
	for _, tt := range []struct{ caller, name, want string }{
		{"caller_id", "Jeanne <Martin>", "<p>Demandeur : Jeanne &lt;Martin&gt;</p><p>d</p>"},
		{"caller_id", "4012", "<p>d</p>"}, // a key is no name
		{"", "Jeanne Martin", "<p>d</p>"}, // the switch is off
	} {
		c.Caller = tt.caller
		fields := given(t)
		fields["caller_id"], fields["description"] = tt.name, "<p>d</p>"
		e := create(fields)
		if _, err := judge(c, passerelle.New, e); err != nil || e.Fields["description"] != tt.want {
			t.Errorf("caller %q, %q: %q, %v", tt.caller, tt.name, e.Fields["description"], err)
		}
	}
}

// checkValue checks one value both ways: every word of the requester's for it, and
// the partner's word.
func checkValue(t *testing.T, c *Contract, field, name, partner string, words ...string) {
	t.Helper()
	for _, w := range append(words, name, norm.NFD.String(name)) {
		e := create(map[string]string{field: w})
		if err := c.Interpret(e); err != nil || e.Fields[field] != name {
			t.Errorf("%s « %s » means %q, %v; want %q", field, w, e.Fields[field], err, name)
		}
	}
	if got, _ := c.values.words(field, passerelle.Partner, name); len(got) == 0 || got[0] != partner {
		t.Errorf("%s %q is %q for the partner, want %q", field, name, got, partner)
	}
	e := &passerelle.Event{From: passerelle.Partner, Kind: passerelle.Resolve, Fields: map[string]string{c.fields[field].Partner: partner}}
	if err := c.Interpret(e); err != nil || e.Fields[field] != name {
		t.Errorf("the partner's %s « %s » means %q, %v; want %q", field, partner, e.Fields[field], err, name)
	}
}

func TestR8Urgency(t *testing.T) {
	c := load(t, folder(t))
	checkValue(t, c, "urgency_id", "Critique", "Haute", "1")
	checkValue(t, c, "urgency_id", "Haute", "Moyenne", "2")
	checkValue(t, c, "urgency_id", "Moyenne", "Basse", "3")
	checkValue(t, c, "urgency_id", "Basse", "Aucune", "4")
	for _, bad := range []string{"5", "haute", "Urgente"} {
		fields := given(t)
		fields["urgency_id"] = bad
		_, err := judge(c, passerelle.New, create(fields))
		refused(t, err, "R8", "urgency_id « "+bad+" » is unknown", "it is one of « Critique », « Haute », « Moyenne », « Basse »")
	}
}

// TestR8AnyOrder: the partner's « Haute » is our « Critique », wherever our own
// « Haute » stands in the table.
func TestR8AnyOrder(t *testing.T) {
	fsys := folder(t)
	lines := strings.SplitAfter(string(fsys["values.csv"].Data), "\n")
	slices.Reverse(lines[1:])
	fsys["values.csv"].Data = []byte(strings.Join(lines, ""))
	c := load(t, fsys)
	checkValue(t, c, "urgency_id", "Critique", "Haute", "1")
	checkValue(t, c, "urgency_id", "Haute", "Moyenne", "2")
}

func TestR9Impact(t *testing.T) {
	c := load(t, folder(t))
	checkValue(t, c, "impact_id", "L'académie ou un département", "Bloquant", "1", "L’académie  ou un département")
	checkValue(t, c, "impact_id", "Un établissement ou un service", "Majeur", "2", "Un service")
	checkValue(t, c, "impact_id", "Une personne", "Mineur", "3")
	fields := given(t)
	fields["impact_id"] = "Tout le monde"
	_, err := judge(c, passerelle.New, create(fields))
	refused(t, err, "R9", "impact_id « Tout le monde » is unknown", "« Une personne »")
}

// TestUnknownValuesElsewhereStay: only a create is refused for a value.
func TestUnknownValuesElsewhereStay(t *testing.T) {
	c := load(t, folder(t))
	e := &passerelle.Event{From: passerelle.Partner, Kind: passerelle.PublicLog, Fields: map[string]string{"priority": "Énorme", "author": "a", "customfield_1": "x", "status": "Inconnu"}}
	if err := c.Interpret(e); err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"impact_id": "Énorme", "author": "a"}; !maps.Equal(e.Fields, want) {
		t.Errorf("got %v, want %v", e.Fields, want)
	}
	fields := given(t)
	fields["status"] = "assigned" // what the tool shows is information, no value of the create
	if _, err := judge(c, passerelle.New, create(fields)); err != nil {
		t.Errorf("a create that shows a status of its own: %v", err)
	}
}
