package itopsim

import "slices"

// sumitModel is the stock model with what SUMiT adds. urgency_id and
// impact_id exist only where the fixture has objects of class Urgency and
// Impact: the recorded look-alike had the enumerations alone.
func sumitModel(f *Fixture) *model {
	m := stockModel()
	m.name, m.sumit, m.states = ModelSUMiT, true, sumitStates()
	for _, name := range []string{"Domain", "CustomerApp"} {
		m.define(named(name))
	}
	m.define(named("FamilyGroup", key("domain_id", "Domain"), field("domain_name", "domain_id", "name")))
	m.define(named("Establishment", str("uai")))
	m.define(named("ResolutionCode", enum("rejection", "no", "no", "yes")))
	m.define(named("Urgency"))
	m.define(named("Impact"))
	extendCatalogue(m)
	extendTeam(m)
	has := func(class string) bool {
		return slices.ContainsFunc(f.Objects, func(o Object) bool { return o.Class == class })
	}
	extendRequest(m.classes["UserRequest"], has("Urgency"), has("Impact"))
	return m
}

func named(name string, more ...*attr) *class {
	return &class{name: name, naming: byAttr("name"), attrs: append([]*attr{str("name").called("Name", "Nom").needed()}, more...)}
}

func extendCatalogue(m *model) {
	family := m.classes["ServiceFamily"]
	family.attrs = append(family.attrs, key("familygroup_id", "FamilyGroup"), field("familygroup_name", "familygroup_id", "name"),
		field("domain_id", "familygroup_id", "domain_id"), field("domain_name", "familygroup_id", "domain_name"))
	for name, via := range map[string]string{"Service": "servicefamily_id", "ServiceSubcategory": "service_id"} {
		c := m.classes[name]
		if name == "ServiceSubcategory" {
			c.attrs = append(c.attrs, field("servicefamily_id", via, "servicefamily_id"), field("servicefamily_name", via, "servicefamily_name"))
		}
		for _, of := range []string{"familygroup_id", "familygroup_name", "domain_id", "domain_name"} {
			c.attrs = append(c.attrs, field(of, via, of))
		}
	}
}

// extendTeam adds SUMiT's mark of a group that works in another tool, and of
// the group that gets rejected tickets.
func extendTeam(m *model) {
	team := m.classes["Team"]
	team.attrs = append(team.attrs, enum("external", "no", "no", "yes"), enum("requalification", "no", "no", "yes"))
}

func extendRequest(c *class, urgency, impact bool) {
	status := c.attrs[slices.IndexFunc(c.attrs, func(a *attr) bool { return a.name == "status" })]
	status.values = append(status.values, "cex", "cex_pending")
	status.valueEN = append(status.valueEN, "Subcontractor", "To be completed")
	status.valueFR = []string{"Nouveau", "Escalade TTO", "Assignée", "Escalade TTR", "En attente d'approbation", "Approuvée", "Rejetée",
		"En attente", "Résolue", "Fermée", "Traitement sous-traitant", "A compléter"}
	c.attrs = append(c.attrs,
		str("provider_ref"), str("provider_id"), str("customer_ref"), str("customer_id"),
		key("customer_app_id", "CustomerApp"), field("customer_app_name", "customer_app_id", "name"),
		enum("last_update_by", "na", "customer", "inter", "na", "provider").called("Last update by", "Dernière mise à jour par"),
		date("pending_finish_date"),
		key("resolutioncode_id", "ResolutionCode"), field("resolutioncode_name", "resolutioncode_id", "name"),
		field("resolutioncode_rejection", "resolutioncode_id", "rejection"),
		rich("reopen_reason"),
		key("beneficiary_id", "Person"),
		key("establishment_id", "Establishment"), field("establishment_name", "establishment_id", "name"), field("establishment_uai", "establishment_id", "uai"),
		key("servicefamily_id", "ServiceFamily"), field("servicefamily_name", "servicefamily_id", "name"),
		key("familygroup_id", "FamilyGroup"), field("familygroup_name", "familygroup_id", "name"),
		key("domain_id", "Domain"), field("domain_name", "domain_id", "name"),
		key("sumit_team_id", "Team"),
		field("sumit_external", "team_id", "external"),
	)
	if urgency {
		c.attrs = append(c.attrs, key("urgency_id", "Urgency").called("Urgency", "Urgence"), field("urgency_name", "urgency_id", "name"))
	}
	if impact {
		c.attrs = append(c.attrs, key("impact_id", "Impact").called("Impact", "Impact"), field("impact_name", "impact_id", "name"))
	}
}
