package mapping

import (
	"slices"
	"strings"

	"passerelle"
)

// checkStatuses reports where the tables of states, statuses and signals do not
// meet. The mistakes of the tables of words are told first: they would be told
// again here in other words.
func (c *Contract) checkStatuses(p *Problems) {
	if p.in(valuesFile) {
		return
	}
	c.checkGoals(p)
	if p.in(signalsFile) {
		return
	}
	for _, side := range []passerelle.Side{passerelle.Requester, passerelle.Partner} {
		if c.speaksInStatuses(side) {
			c.checkWords(side, p)
		}
		c.checkKinds(side, p)
	}
}

// checkGoals reports states that a message must bring a tool to, and that
// values.csv does not name there (R11, R15).
func (c *Contract) checkGoals(p *Problems) {
	told := map[Send]bool{}
	for _, r := range c.lifecycle.byLine() {
		for _, s := range r.sends {
			t := c.template(s.Send)
			once := Send{s.To, string(r.next)}
			if t == nil || !t.stimulus || told[once] || len(c.StatusWords(s.To, r.next)) > 0 {
				continue
			}
			told[once] = true
			p.add(lifecycleFile, r.line, "add a row status,"+string(r.next)+" to values.csv", "%s:%s must lead to state %q, and values.csv names no status for it", s.To, s.Template, r.next)
		}
	}
}

// byLine lists the rows in the order of the file; one for several states comes
// several times.
func (lc lifecycle) byLine() []*rule {
	var out []*rule
	for _, s := range passerelle.States() {
		for _, kinds := range lc[s] {
			for _, r := range kinds {
				out = append(out, r)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b *rule) int { return a.line - b.line })
	return out
}

// speaksInStatuses tells a tool that reports statuses (Jira) from one that
// sends stimuli only.
func (c *Contract) speaksInStatuses(side passerelle.Side) bool {
	return slices.ContainsFunc(c.signals, func(s signal) bool { return s.side == side && c.isStatus(side, s.word) })
}

func (c *Contract) isStatus(side passerelle.Side, word string) bool {
	return slices.ContainsFunc(c.values["status"], func(v value) bool { return holds(v.of(side), word) })
}

func (c *Contract) isSignal(side passerelle.Side, word string) bool {
	return slices.ContainsFunc(c.signals, func(s signal) bool { return s.side == side && same(s.word, word) })
}

// checkWords compares a tool's statuses in values.csv with what signals.csv
// understands.
func (c *Contract) checkWords(side passerelle.Side, p *Problems) {
	for _, v := range c.values["status"] {
		for _, w := range v.of(side) {
			if !c.isSignal(side, w) {
				p.add(valuesFile, v.line, "add a row "+string(side)+","+w+" to signals.csv", "signals.csv does not say what the %s's status « %s » means", side, w)
			}
		}
	}
	for _, s := range c.signals {
		if s.side == side && !c.isStatus(side, s.word) && !isStimulus(s.word) {
			p.add(signalsFile, s.line, "add it to a status row of values.csv, or correct it", "« %s » is no status of the %s in values.csv, and no stimulus", s.word, side)
		}
	}
}

// isStimulus: iTop's stimuli begin with ev_.
func isStimulus(word string) bool { return strings.HasPrefix(word, "ev_") }

// signalled are the kinds that a tool reports by a signal only.
var signalled = []passerelle.Kind{passerelle.Pend, passerelle.Resume, passerelle.Resolve, passerelle.Close, passerelle.Reopen, passerelle.Reject, passerelle.Leave}

// checkKinds reports rows of the life cycle that never happen, since no signal
// of that side means their event.
func (c *Contract) checkKinds(side passerelle.Side, p *Problems) {
	told := map[passerelle.Kind]bool{}
	for _, r := range c.lifecycle.byLine() {
		heard := slices.ContainsFunc(c.signals, func(s signal) bool { return s.side == side && s.kind == r.kind })
		if r.from != side || heard || told[r.kind] || !slices.Contains(signalled, r.kind) {
			continue
		}
		told[r.kind] = true
		p.add(lifecycleFile, r.line, "add the signal to signals.csv, or delete the rows", "this never happens: no signal of the %s means %q", side, r.kind)
	}
}
