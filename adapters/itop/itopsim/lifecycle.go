package itopsim

// transition is one arrow of a life cycle.
type transition struct {
	to   string
	must []string // attributes that may not be empty afterwards
}

// stockStates is the life cycle of UserRequest in a plain iTop.
func stockStates() map[string]map[string]transition {
	pending := transition{"pending", []string{"pending_reason"}}
	resolved := transition{"resolved", []string{"solution"}}
	to := func(state string) transition { return transition{to: state} }
	return map[string]map[string]transition{
		"new": {"ev_assign": to("assigned"), "ev_timeout": to("escalated_tto"), "ev_autoresolve": resolved,
			"ev_wait_for_approval": to("waiting_for_approval")},
		"escalated_tto":        {"ev_assign": to("assigned"), "ev_autoresolve": resolved},
		"waiting_for_approval": {"ev_approve": to("approved"), "ev_reject": to("rejected")},
		"approved":             {"ev_assign": to("assigned"), "ev_autoresolve": resolved},
		"rejected":             {"ev_reopen": to("new")},
		"assigned": {"ev_pending": pending, "ev_resolve": resolved, "ev_autoresolve": resolved,
			"ev_reassign": to("assigned"), "ev_timeout": to("escalated_ttr")},
		"escalated_ttr": {"ev_pending": pending, "ev_resolve": resolved, "ev_autoresolve": resolved, "ev_reassign": to("escalated_ttr")},
		"pending":       {"ev_assign": to("assigned"), "ev_autoresolve": resolved},
		"resolved":      {"ev_close": to("closed"), "ev_reopen": to("assigned"), "ev_autoresolve": resolved},
		"closed":        {},
	}
}

// sumitStates adds the subcontractor's states. Where a transition leads also
// depends on the team (see sumitMoves).
func sumitStates() map[string]map[string]transition {
	states := stockStates()
	resolve := transition{"resolved", []string{"solution"}}
	states["cex"] = map[string]transition{"ev_cex_pending": {to: "cex_pending"}, "ev_cex_resolve": resolve, "ev_reassign": {to: "assigned"}}
	states["cex_pending"] = map[string]transition{"ev_assign": {to: "cex"}, "ev_cex_resolve": resolve, "ev_reassign": {to: "assigned"}}
	states["resolved"]["ev_reassign"] = transition{to: "assigned"}
	return states
}

// enter notes the dates that entering a state sets.
func (w *write) enter(o *record, state string) {
	now := w.now
	switch state {
	case "assigned", "cex":
		if o.text("assignment_date") == "" {
			o.set("assignment_date", now)
		}
	case "pending", "cex_pending":
		o.set("last_pending_date", now)
	case "resolved":
		o.set("resolution_date", now)
		o.set("time_spent", w.sim.seconds(o.text("start_date"), now))
	case "closed":
		o.set("close_date", now)
	}
}

// operationalStatus is what iTop derives from the state.
func operationalStatus(state string) string {
	switch state {
	case "resolved", "closed":
		return state
	}
	return "ongoing"
}

// priority is iTop's matrix of impact (rows) and urgency (columns).
func priority(impact, urgency string) string {
	table := map[string]string{"1": "1124", "2": "1234", "3": "3344"}
	row := table[impact]
	if row == "" || len(urgency) != 1 || urgency[0] < '1' || urgency[0] > '4' {
		return "4"
	}
	return row[urgency[0]-'1' : urgency[0]-'0']
}
