package itopsim

// sumitDerive applies SUMiT's own moves to a ticket that is about to be
// written. before is nil for a new one.
func (w *write) sumitDerive(before, draft *record) {
	w.catalogue(before, draft)
	w.levels(before, draft)
	if before == nil {
		before = &record{class: draft.class, vals: map[string]any{"status": "new"}}
		if draft.key("team_id") != 0 {
			w.teamMoves(before, draft)
		}
		return
	}
	if w.person() {
		draft.set("last_update_by", "customer")
	}
	w.teamMoves(before, draft)
	w.answerEndsPending(before, draft)
	w.rejectionMoves(before, draft)
	w.reopenReturns(before, draft)
	if before.text("status") == "cex_pending" && draft.text("status") != "cex_pending" {
		draft.set("pending_finish_date", "")
	}
}

// catalogue fills service, family, group and domain from the most precise
// element of the catalogue that is set.
func (w *write) catalogue(before, draft *record) {
	if before != nil && before.key("servicesubcategory_id") == draft.key("servicesubcategory_id") && before.key("service_id") == draft.key("service_id") {
		return
	}
	s := w.sim.store
	fill := func(name, class, from string) {
		source := s.find(class, draft.key(from))
		if source == nil || w.given[name] {
			return
		}
		if id, ok := number(s.named(source, name)); ok && id != 0 {
			draft.set(name, id)
		}
	}
	fill("service_id", "ServiceSubcategory", "servicesubcategory_id")
	fill("servicefamily_id", "Service", "service_id")
	fill("familygroup_id", "ServiceFamily", "servicefamily_id")
	fill("domain_id", "FamilyGroup", "familygroup_id")
}

// levels keeps urgency with urgency_id and impact with impact_id: the number
// of one is the value of the other.
func (w *write) levels(before, draft *record) {
	for _, name := range []string{"urgency", "impact"} {
		key := draft.class.attr(name + "_id")
		if key == nil {
			continue
		}
		moved := func(attcode string) bool {
			return w.given[attcode] && (before == nil || !same(before.vals[attcode], draft.vals[attcode]))
		}
		id := itoa(draft.key(key.name))
		switch {
		case moved(key.name) && contains(draft.class.attr(name).values, id):
			draft.set(name, id)
		case before == nil || moved(name):
			if n, _ := number(draft.text(name)); w.sim.store.find(key.target, n) != nil {
				draft.set(key.name, n)
			}
		}
	}
}

func (w *write) external(team int) bool {
	r := w.sim.store.find("Team", team)
	return r != nil && r.text("external") == "yes"
}

// teamMoves: the ticket goes to the subcontractor when its team becomes an
// external one, and comes back when that changes.
func (w *write) teamMoves(before, draft *record) {
	from, to := before.key("team_id"), draft.key("team_id")
	if from == to {
		return
	}
	state := draft.text("status")
	if w.external(to) {
		draft.set("sumit_team_id", to)
		if state == before.text("status") || state == "assigned" {
			draft.set("status", "cex")
		}
		return
	}
	if state == before.text("status") && contains([]string{"cex", "cex_pending", "resolved"}, state) && !w.given["resolutioncode_id"] {
		draft.set("status", "assigned")
	}
}

// answerEndsPending is R19: a public entry by the requester's side ends
// « A compléter »; a private one and the partner's own do not.
func (w *write) answerEndsPending(before, draft *record) {
	if before.text("status") != "cex_pending" || draft.text("status") != "cex_pending" || draft.text("last_update_by") == "provider" {
		return
	}
	if len(draft.log("public_log")) > len(before.log("public_log")) {
		draft.set("status", "cex")
	}
}

// rejectionMoves: a resolution with a rejection code gives the ticket to the
// group that requalifies.
func (w *write) rejectionMoves(before, draft *record) {
	if before.text("status") == "resolved" || draft.text("status") != "resolved" {
		return
	}
	code := w.sim.store.find("ResolutionCode", draft.key("resolutioncode_id"))
	team := w.requalification()
	if code != nil && code.text("rejection") == "yes" && team != 0 {
		draft.set("team_id", team)
		draft.set("agent_id", 0)
	}
}

func (w *write) requalification() int {
	for _, t := range w.sim.store.all("Team") {
		if t.text("requalification") == "yes" {
			return t.id
		}
	}
	return 0
}

// reopenReturns: a ticket that was the subcontractor's goes back there.
func (w *write) reopenReturns(before, draft *record) {
	if before.text("status") != "resolved" || draft.text("status") != "assigned" || w.stimulus != "ev_reopen" {
		return
	}
	if team := draft.key("sumit_team_id"); team != 0 {
		draft.set("team_id", team)
		draft.set("status", "cex")
	}
}

// lock is R14: while the subcontractor has the ticket, a person may only write
// in its logs. An agent with the right to, or a clumsy one, goes round it with
// "force": true.
func (w *write) lock(before, draft *record) error {
	state := before.text("status")
	if !w.sim.model.sumit || !w.person() || w.forced || before.class.name != "UserRequest" || state != "cex" && state != "cex_pending" {
		return nil
	}
	for _, c := range changes(before, draft) {
		if c.Attcode != "public_log" && c.Attcode != "private_log" {
			return refused(codeInternal, "%s: locked while %s is in state '%s' (only logs and attachments; \"force\": true goes round the lock)",
				c.Attcode, before.friendly(), state)
		}
	}
	return nil
}
