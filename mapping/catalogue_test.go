package mapping

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"passerelle"
)

func tuple(names ...string) map[string]string {
	out := map[string]string{}
	for i, f := range []string{"domain_id", "familygroup_id", "servicefamily_id", "service_id", "servicesubcategory_id"} {
		out[f] = names[i]
	}
	return out
}

func TestR7Catalogue(t *testing.T) {
	c := load(t, folder(t)).Catalogue
	const domain, group, incident, data = "Usage pédagogique du numérique", "Support GAR", "Incident", "Alimentation/qualité des données"
	for _, tt := range []struct {
		says  string
		names map[string]string
		want  string // the component, or after "!" a part of the refusal
	}{
		{"exact", tuple(domain, group, incident, data, "Export de données"), "Export de données"},
		{"NFD", tuple(norm.NFD.String(domain), group, incident, norm.NFD.String(data), norm.NFD.String("Données utilisateur")), "Données utilisateur"},
		{"spaces", tuple("  Usage\u00a0pédagogique  du numérique", group, incident, data+" ", "Import"), "Import"},
		{"' for ’", tuple(domain, group, incident, "Affectation des ressources", "Accès console d'affectation"), "Accès console d’affectation"},
		{"... for …", tuple(domain, group, incident, "Fonctionnement des ressources", "Sécurité (contenu non adapté, fuite de données...)"), "Sécurité (contenu non adapté, fuite de données…)"},
		{"no sub-category, one entry", tuple(domain, group, incident, "Abonnement", ""), "Abonnement"},
		{"no service", tuple(domain, group, incident, "", "Import"), "Import"},
		{"blanks are nothing", tuple(domain, group, incident, " \u00a0", "Import"), "Import"},
		{"no sub-category, several", tuple(domain, group, incident, data, ""), "!« " + domain + " > Support GAR > Incident > " + data + " > ? » fits several entries of the catalogue"},
		{"neither", tuple(domain, group, incident, "", ""), "!… (+9)"},
		{"case matters", tuple(domain, group, "incident", data, "Import"), "!is no entry of the catalogue"},
		{"another domain", tuple("Restauration", group, incident, data, "Import"), "!« Restauration > Support GAR > Incident > " + data + " > Import » is no entry of the catalogue [R7] (nearest: « Usage pédagogique du numérique > Support GAR > Incident > " + data + " > Import »)"},
		{"no domain", tuple("", group, incident, data, "Import"), "!« ? > Support GAR"},
		{"a key is no name", tuple("12", group, incident, data, "Import"), "!« 12 > Support GAR"},
		{"nothing in common", tuple("a", "b", "c", "d", "e"), "!nearest: "},
	} {
		got, err := c.Components(tt.names)
		if part, no := strings.CutPrefix(tt.want, "!"); no {
			refusal := &passerelle.Error{}
			if !errors.As(err, &refusal) || refusal.Rule != "R7" || refusal.Class != passerelle.Refused || refusal.Local == "" || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q, %v\nwant %s", tt.says, got, err, part)
			}
		} else if err != nil || !slices.Equal(got, []string{tt.want}) {
			t.Errorf("%s: got %q, %v; want %q", tt.says, got, err, tt.want)
		}
	}
}

func TestR7NToN(t *testing.T) {
	const heading = "domain,family_group,service_family,service,service_subcategory,component\n"
	for _, tt := range []struct {
		says, rows string
		names      map[string]string
		want       string
	}{
		{"one tuple, several components, in the file's order", "A,B,C,D,E,z\nA,B,C,D,E,a\n", tuple("A", "B", "C", "D", "E"), "z a"},
		{"several tuples, one component", "A,B,C,D,E,z\nA,B,C,D,F,z\n", tuple("A", "B", "C", "D", ""), "z"},
		{"the same components in another order", "A,B,C,D,E,z\nA,B,C,D,E,a\nA,B,C,D,F,a\nA,B,C,D,F,z\n", tuple("A", "B", "C", "D", ""), "z a"},
		{"one tuple, typed in two ways", "A,B,C,D,l’été,z\nA,B,C,D,l'été,a\n", tuple("A", "B", "C", "D", ""), "z a"},
		{"some of the components only", "A,B,C,D,E,z\nA,B,C,D,E,a\nA,B,C,D,F,z\n", tuple("A", "B", "C", "D", ""), "fits several"},
	} {
		c := load(t, with(t, "catalogue.csv", heading+tt.rows)).Catalogue
		got, err := c.Components(tt.names)
		if no := tt.want == "fits several"; no != (err != nil) || no && !strings.Contains(err.Error(), tt.want) || !no && strings.Join(got, " ") != tt.want {
			t.Errorf("%s: got %q, %v; want %s", tt.says, got, err, tt.want)
		}
	}
}

func TestR7Default(t *testing.T) {
	fsys := folder(t)
	fsys[contractFile].Data = append(fsys[contractFile].Data, "  default: Autres\n"...)
	c := load(t, fsys).Catalogue
	for _, names := range []map[string]string{tuple("a", "b", "c", "d", "e"), tuple("Usage pédagogique du numérique", "Support GAR", "Incident", "", "")} {
		if got, err := c.Components(names); err != nil || !slices.Equal(got, []string{"Autres"}) {
			t.Errorf("%v: got %q, %v", names, got, err)
		}
	}
}

func TestR7UnknownTupleRefusesTheCreate(t *testing.T) {
	fields := given(t)
	fields["servicesubcategory_id"] = "Médiacentre"
	_, err := judge(load(t, folder(t)), passerelle.New, create(fields))
	refused(t, err, "R7", "create: R-001515", "> Accès aux ressources > Médiacentre »", "nearest: ")
	// A number means something only where values.csv says so.
	fields["servicesubcategory_id"] = "502"
	_, err = judge(load(t, folder(t)), passerelle.New, create(fields))
	refused(t, err, "R7", "> 502 »")
	fsys := folder(t)
	fsys["values.csv"].Data = append(fsys["values.csv"].Data, "servicesubcategory_id,Accès ressource,502,,\nservicesubcategory_id,*,,,\n"...)
	if _, err := judge(load(t, fsys), passerelle.New, create(fields)); err != nil {
		t.Errorf("with a row for 502: %v", err)
	}
}

// R7: a template that names one entry of the partner's catalogue needs one: a
// ticket that fits several is refused, instead of being accepted and stuck.
func TestR7NamedTargetNeedsOneEntry(t *testing.T) {
	c := load(t, folder(t))
	names := map[string]string{}
	for _, col := range c.Catalogue.Columns {
		names[col.Field] = create(given(t)).Fields[col.Field]
	}
	second := c.Catalogue.match(names)[0]
	second.cells = maps.Clone(second.cells)
	second.cells["component"] = "Autre composant"
	c.Catalogue.add(second)
	if _, err := judge(c, passerelle.New, create(given(t))); err != nil {
		t.Fatalf("a list takes several components: %v", err)
	}
	c.Catalogue.named = true
	_, err := judge(c, passerelle.New, create(given(t)))
	refused(t, err, "R7", "fits several entries")
}
