package itopsim

import "testing"

// TestDemoConversation plays a whole conversation on the demonstration's data:
// the examples are those of the documentation.
func TestDemoConversation(t *testing.T) {
	_, gateway, agent, portal := demo(t)
	status := func(want string, r reply) {
		t.Helper()
		if got := r.field("status"); got != want {
			t.Errorf("status %v, want %s", got, want)
		}
	}
	status("new", agent.must(newTicket))
	status("cex", agent.must(`{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":1,"stimulus":"ev_assign","output_fields":"status,team_name","fields":{"team_id":{"name":"Support GAR"}}}`))
	gateway.must(`{"operation":"core/update","comment":"c","class":"UserRequest","key":"1","output_fields":"id, ref","fields":{"provider_ref":"GSN1-1","provider_id":"1001","last_update_by":"na"}}`)
	status("cex_pending", gateway.must(`{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":"1","stimulus":"ev_cex_pending","output_fields":"status","fields":{"last_update_by":"provider"}}`))
	status("cex_pending", agent.must(`{"operation":"core/update","comment":"c","class":"UserRequest","key":1,"output_fields":"status","fields":{"private_log":"<p>entre nous</p>"}}`))
	status("cex", portal.must(`{"operation":"core/update","comment":"c","class":"UserRequest","key":1,"output_fields":"status","fields":{"public_log":"<p>réponse</p>"}}`))
	status("resolved", gateway.must(`{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":"1","stimulus":"ev_cex_resolve","output_fields":"status","fields":{"resolutioncode_id":"39","solution":"<p>Fait</p>","last_update_by":"provider"}}`))
	status("cex", agent.must(`{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":1,"stimulus":"ev_reopen","output_fields":"status","fields":{"reopen_reason":"<p>non résolu</p>"}}`))
	r := gateway.must(`{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":"1","stimulus":"ev_cex_resolve","output_fields":"status,team_name","fields":{"resolutioncode_id":"25","solution":"<p>Hors périmètre</p>","last_update_by":"provider"}}`)
	status("resolved", r)
	if r.field("team_name") != "DRANE" {
		t.Errorf("a rejected ticket is in team %v, want DRANE", r.field("team_name"))
	}
	status("cex", agent.must(`{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":1,"stimulus":"ev_reopen","output_fields":"status","fields":{"reopen_reason":"Rejet du ticket non valide"}}`))
	gateway.must(`{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":"1","stimulus":"ev_cex_resolve","output_fields":"status","fields":{"resolutioncode_id":"39","solution":"<p>Fait</p>","last_update_by":"provider"}}`)
	status("closed", agent.must(`{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":1,"stimulus":"ev_close","output_fields":"status","fields":{"user_comment":"Merci"}}`))
}

// TestDemoLabels: a payload template can render the contract's French words.
func TestDemoLabels(t *testing.T) {
	_, gateway, agent, _ := demo(t)
	agent.must(newTicket)
	r := gateway.must(`{"operation":"core/get","class":"UserRequest","key":1,"output_fields":"urgency,urgency_id,urgency_name,impact,impact_name,impact_id_friendlyname,domain_name,familygroup_name,servicefamily_name,service_name,servicesubcategory_name,establishment_uai,request_type,priority"}`)
	for name, want := range map[string]string{"urgency": "2", "urgency_id": "2", "urgency_name": "Haute", "impact": "2", "impact_name": "Un établissement ou un service",
		"impact_id_friendlyname": "Un établissement ou un service", "domain_name": "Usage pédagogique du numérique", "familygroup_name": "Support GAR",
		"servicefamily_name": "Demande de service", "service_name": "Accès aux ressources", "servicesubcategory_name": "Accès ressource",
		"establishment_uai": "0750655E", "request_type": "service_request", "priority": "2"} {
		if r.field(name) != want {
			t.Errorf("%s = %v, want %s", name, r.field(name), want)
		}
	}
}
