package mapping

import (
	"slices"
	"strings"

	"passerelle"
)

// Moves tells whether a send changes the state of the ticket that hears it.
func (c *Contract) Moves(s Send) bool {
	t := c.template(s)
	return t != nil && t.stimulus
}

// Turns tells whether the event, admitted now, would change the pair's state.
func (c *Contract) Turns(e *passerelle.Event, l *passerelle.Link) bool {
	r := c.lifecycle.find(l.State, e.From, e.Kind)
	return r != nil && !r.no && r.next != l.State
}

// Back is the message that brings a side's ticket from one state to another when
// the other side makes that change; not ok: the contract has none.
func (c *Contract) Back(to passerelle.Side, from, next passerelle.State) (Send, bool) {
	for _, r := range c.lifecycle.byLine() {
		if r.state != from || r.from != to.Other() || r.next != next || r.no {
			continue
		}
		for _, s := range r.sends {
			if s.To == to && c.Moves(s.Send) {
				return s.Send, true
			}
		}
	}
	return Send{}, false
}

// Leads tells whether a side may bring a pair from one state to another.
func (c *Contract) Leads(from passerelle.State, side passerelle.Side, next passerelle.State) bool {
	for _, k := range signalled {
		if r := c.lifecycle.find(from, side, k); r != nil && !r.no && r.next == next && from != next {
			return true
		}
	}
	return false
}

// EndsPending tells whether a side's own answer has its ticket taken out of
// « A compléter » by a message; else its tool does that itself (R19).
func (c *Contract) EndsPending(side passerelle.Side) bool {
	r := c.lifecycle.find(passerelle.Pending, side, passerelle.PublicLog)
	return r != nil && slices.ContainsFunc(r.sends, func(s sending) bool { return s.To == side && c.Moves(s.Send) })
}

// AdmitLate judges, in place of Admit, an event that would change the state but
// whose sender had not been shown the present one: the state stays, and what the
// event says travels as a journal entry where the contract has a row for one
// (R34).
func (c *Contract) AdmitLate(e *passerelle.Event, l *passerelle.Link) *Step {
	step := &Step{Next: l.State, Same: true, Rule: "R34"}
	log := c.lifecycle.find(l.State, e.From, passerelle.PublicLog)
	if e.Kind != passerelle.PublicLog {
		c.sayIt(e)
	}
	if log == nil || log.no || e.Fields["public_log"] == "" {
		return step
	}
	markEdited(e)
	c.sign(e)
	for _, s := range c.sendsOf(log, e) {
		if !c.Moves(s) {
			step.Sends = append(step.Sends, s)
		}
	}
	if e.Kind == passerelle.PublicLog && c.notifies(e, l.State) {
		step.Sends = append(step.Sends, Send{passerelle.Partner, NotifyTemplate})
	}
	return step
}

// sayIt makes a journal entry of the texts that go with a change of state: a
// solution, a reason. What else the ticket still holds has been told before, by
// whoever wrote it (R17).
func (c *Contract) sayIt(e *passerelle.Event) {
	var texts []string
	for _, name := range c.textsOf(e.From, e.Kind) {
		if v := e.Fields[name]; !c.blank(name, v) && !slices.Contains(texts, v) {
			texts = append(texts, v)
		}
	}
	if len(texts) > 0 {
		e.Fields["public_log"] = strings.Join(texts, "")
	}
}

// textsOf are the HTML fields that the rows for an event read from it.
func (c *Contract) textsOf(from passerelle.Side, kind passerelle.Kind) []string {
	var out []string
	add := func(name string) {
		if f := c.fields[name]; f != nil && f.Type == "html" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for _, r := range c.lifecycle.byLine() {
		if r.from != from || r.kind != kind {
			continue
		}
		for _, a := range r.set {
			add(a.from)
		}
		for _, s := range r.sends {
			for name := range c.template(s.Send).fields {
				add(name)
			}
		}
	}
	slices.Sort(out)
	return out
}
