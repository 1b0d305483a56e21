package itopsim

func defineContacts(m *model) {
	m.define(&class{name: "Organization", obsolete: true, en: "Organization", naming: byAttr("name"), attrs: []*attr{
		str("name").called("Name", "Nom").needed(), str("code"), enum("status", "active", "active", "inactive").needed(),
		key("parent_id", "Organization"), field("parent_name", "parent_id", "name"),
	}})
	contact := func() []*attr {
		return []*attr{
			str("name").called("Name", "Nom").needed(), enum("status", "active", "active", "inactive").needed(),
			key("org_id", "Organization").called("Organization", "Organisation").needed(), field("org_name", "org_id", "name"),
			str("email"), str("phone"), enum("notify", "yes", "yes", "no"), str("function"), rows("cis_list"),
		}
	}
	m.define(&class{name: "Contact", abstract: true, family: true, obsolete: true, naming: byAttr("name"), attrs: contact()})
	m.define(&class{name: "Person", parent: "Contact", family: true, obsolete: true, en: "Person",
		naming: func(r *record) string { return joinNames(r.text("first_name"), r.text("name")) },
		attrs:  append(contact(), str("first_name").called("First Name", "Prénom").needed(), str("employee_number"), str("mobile_phone"), rows("team_list"), rows("tickets_list"))})
	m.define(&class{name: "Team", parent: "Contact", family: true, obsolete: true, en: "Team", naming: byAttr("name"),
		attrs: append(contact(), rows("persons_list"), rows("tickets_list"))})
	m.define(&class{name: "PC", naming: byAttr("name"), attrs: []*attr{str("name").needed(), key("org_id", "Organization").needed()}})
}

func joinNames(first, last string) string {
	if first == "" {
		return last
	}
	return first + " " + last
}

func defineCatalogue(m *model) {
	m.define(&class{name: "ServiceFamily", naming: byAttr("name"), attrs: []*attr{str("name").needed()}})
	m.define(&class{name: "Service", naming: byAttr("name"), attrs: []*attr{
		str("name").needed(), key("org_id", "Organization").needed(), field("organization_name", "org_id", "name"),
		key("servicefamily_id", "ServiceFamily"), field("servicefamily_name", "servicefamily_id", "name"),
		rich("description"), enum("status", "production", "implementation", "production", "obsolete"),
	}})
	m.define(&class{name: "ServiceSubcategory", naming: byAttr("name"), attrs: []*attr{
		str("name").needed(), rich("description"), key("service_id", "Service").needed(), field("service_name", "service_id", "name"),
		enum("request_type", "service_request", "incident", "service_request"),
		enum("status", "production", "implementation", "production", "obsolete"),
	}})
}

// ticketAttrs are the attributes that class Ticket gives its children.
func ticketAttrs() []*attr {
	return []*attr{
		{name: "operational_status", kind: kMeta},
		str("ref"),
		key("org_id", "Organization").called("Organization", "Organisation").needed(),
		field("org_name", "org_id", "name"),
		key("caller_id", "Person").called("Caller", "Demandeur"),
		field("caller_name", "caller_id", "name"),
		key("team_id", "Team").called("Team", "Equipe"),
		field("team_name", "team_id", "name"),
		field("team_email", "team_id", "email"),
		key("agent_id", "Person").called("Agent", "Agent"),
		field("agent_name", "agent_id", "name"),
		str("title").called("Title", "Titre").needed(),
		rich("description").called("Description", "Description").needed(),
		date("start_date"), date("end_date"), date("last_update"), date("close_date"),
		logs("private_log"),
		rows("contacts_list"), rows("functionalcis_list"), rows("workorders_list"),
	}
}

// requestAttrs are UserRequest's own.
func requestAttrs() []*attr {
	return []*attr{
		enum("status", "new", "new", "escalated_tto", "assigned", "escalated_ttr", "waiting_for_approval", "approved", "rejected", "pending", "resolved", "closed").
			called("Status", "Statut").needed().
			english("New", "Escalated TTO", "Assigned", "Escalated TTR", "Waiting for approval", "Approved", "Rejected", "Pending", "Resolved", "Closed").
			french("Nouveau", "Escalade TTO", "Assigné", "Escalade TTR", "En attente d'approbation", "Approuvé", "Rejeté", "En attente", "Résolu", "Fermé"),
		enum("request_type", "service_request", "incident", "service_request").called("Request Type", "Type de demande").
			english("Incident", "Service request").french("Incident", "Demande de service"),
		enum("impact", "1", "1", "2", "3").called("Impact", "Impact").needed().
			english("A department", "A service", "A person").french("Un département", "Un service", "Une personne"),
		enum("priority", "4", "1", "2", "3", "4").called("Priority", "Priorité").needed().
			english("Critical", "High", "Medium", "Low").french("Critique", "Haute", "Moyenne", "Basse"),
		enum("urgency", "4", "1", "2", "3", "4").called("Urgency", "Urgence").needed().
			english("Critical", "High", "Medium", "Low").french("Critique", "Haute", "Moyenne", "Basse"),
		enum("origin", "phone", "chat", "in_person", "mail", "monitoring", "phone", "portal").called("Origin", "Origine").
			english("Chat", "In person", "Mail", "Monitoring", "Phone", "Portal").french("Chat", "En personne", "E-mail", "Monitoring", "Téléphone", "Portail"),
		key("approver_id", "Person").called("Approver", "Approbateur"), field("approver_email", "approver_id", "email"),
		key("service_id", "Service").called("Service", "Service"), field("service_name", "service_id", "name"),
		key("servicesubcategory_id", "ServiceSubcategory").called("Service subcategory", "Sous-catégorie de service"),
		field("servicesubcategory_name", "servicesubcategory_id", "name"),
		enum("escalation_flag", "no", "no", "yes"), str("escalation_reason"),
		date("assignment_date"), date("resolution_date"), date("last_pending_date"),
		{name: "cumulatedpending", kind: kWatch},
		{name: "tto", kind: kWatch, values: []string{"75", "100"}}, {name: "ttr", kind: kWatch, values: []string{"75", "100"}},
		{name: "tto_escalation_deadline", kind: kDeadline}, enum("sla_tto_passed", "no", "no", "yes"), {name: "sla_tto_over", kind: kNull},
		{name: "ttr_escalation_deadline", kind: kDeadline}, enum("sla_ttr_passed", "no", "no", "yes"), {name: "sla_ttr_over", kind: kNull},
		{name: "time_spent", kind: kNumber},
		enum("resolution_code", "assistance", "assistance", "bug fixed", "hardware repair", "other", "software patch", "system update", "training"),
		rich("solution").called("Solution", "Solution"),
		text("pending_reason").called("Pending reason", "Raison de l'attente"),
		key("parent_request_id", "UserRequest"), field("parent_request_ref", "parent_request_id", "ref"),
		key("parent_incident_id", "Incident"), field("parent_incident_ref", "parent_incident_id", "ref"),
		rows("related_request_list"),
		logs("public_log"),
		enum("user_satisfaction", "1", "1", "2", "3", "4"),
		text("user_comment").called("User comment", "Commentaire utilisateur"),
	}
}

func defineTickets(m *model) {
	m.define(&class{name: "Ticket", abstract: true, family: true, naming: byAttr("ref"), descOrder: true, attrs: ticketAttrs()})
	m.define(&class{name: "UserRequest", parent: "Ticket", family: true, naming: byAttr("ref"), descOrder: true, state: "status",
		en: "User Request", attrs: append(ticketAttrs(), requestAttrs()...)})
	m.define(&class{name: "WorkOrder", naming: byAttr("name"), attrs: []*attr{
		str("name").needed(), enum("status", "open", "open", "closed"), rich("description").needed(),
		key("ticket_id", "Ticket").needed(), key("team_id", "Team").needed(), key("agent_id", "Person"),
		date("start_date"), date("end_date"), logs("log"),
	}})
}

func defineAttachments(m *model) {
	file := func() []*attr {
		return []*attr{
			date("expire"), str("temp_id"), str("item_class").called("Item class", "Classe").needed(),
			{name: "item_id", kind: kNumber, def: "0"}, {name: "item_org_id", kind: kNumber, def: "0"},
			{name: "contents", kind: kBlob, en: "Contents", fr: "Contenu"},
		}
	}
	name := func(r *record) string { return r.text("item_class") + " " + r.text("temp_id") }
	m.define(&class{name: "Attachment", naming: name, attrs: append(file(),
		date("creation_date"), key("user_id", "User").called("User id", ""), key("contact_id", "Person").called("Contact id", ""))})
	m.define(&class{name: "InlineImage", naming: name, attrs: append(file(), &attr{name: "secret", kind: kSecret, required: true})})
}

func defineUsers(m *model) {
	user := func() []*attr {
		return []*attr{
			key("contactid", "Person").called("Person", "Contact"), str("login").needed(), enum("language", "EN US", "EN US", "FR FR"),
			enum("status", "enabled", "enabled", "disabled"), rows("profile_list"), rows("allowed_org_list"),
		}
	}
	m.define(&class{name: "User", abstract: true, family: true, naming: byAttr("login"), attrs: user()})
	m.define(&class{name: "UserLocal", parent: "User", family: true, naming: byAttr("login"), attrs: user()})
	m.define(&class{name: "UserToken", parent: "User", family: true, naming: byAttr("login"),
		attrs: append(user(), str("scope"), &attr{name: "auth_token", kind: kSecret})})
}

func defineHistory(m *model) {
	m.define(&class{name: "CMDBChange", naming: byAttr("date"), attrs: []*attr{
		date("date"), str("userinfo"), key("user_id", "User"), str("origin"),
	}})
	op := func(own ...*attr) []*attr {
		return append([]*attr{key("change", "CMDBChange"), field("date", "change", "date"), field("userinfo", "change", "userinfo"),
			field("user_id", "change", "user_id"), str("objclass"), {name: "objkey", kind: kNumber}}, own...)
	}
	name := byAttr("change")
	m.define(&class{name: "CMDBChangeOp", abstract: true, family: true, naming: name, attrs: op()})
	sub := func(class_ string, own ...*attr) {
		m.define(&class{name: class_, parent: "CMDBChangeOp", family: true, naming: name, attrs: op(own...)})
	}
	sub("CMDBChangeOpCreate")
	sub("CMDBChangeOpDelete", str("fclass"), str("fname"))
	sub("CMDBChangeOpPlugin", text("description"))
	sub("CMDBChangeOpSetAttributeScalar", str("attcode"), text("oldvalue"), text("newvalue"))
	sub("CMDBChangeOpSetAttributeHTML", str("attcode"), text("prevdata"))
	sub("CMDBChangeOpSetAttributeLongText", str("attcode"), text("prevdata"))
	sub("CMDBChangeOpSetAttributeCaseLog", str("attcode"), &attr{name: "lastentry", kind: kNumber})
	sub("CMDBChangeOpAttachmentAdded", key("attachment_id", "Attachment"), str("filename"))
	sub("CMDBChangeOpAttachmentRemoved", str("filename"))
}
