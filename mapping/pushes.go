package mapping

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"passerelle"
)

// pushes is what the contract has the administrator of a side's iTop set up:
// the payloads of from-requester or from-partner, and the triggers that push
// them. The gateway composes the same payloads itself when it finds a ticket
// that nobody told it of.
type pushes struct {
	create  []byte                       // the payload of an escalation
	moves   map[passerelle.Kind][]byte   // the payloads of changes of state
	filters map[passerelle.Kind][]string // of the triggers that push them
	handed  string                       // which tickets are handed to the partner's team: the escalation's filter
}

// readPushes reads a folder that not every contract has: a tool that can be read
// whole, as Jira, has none.
func readPushes(fsys fs.FS, c *Contract, side passerelle.Side, p *Problems) *pushes {
	dir := "from-" + string(side)
	if _, err := fs.Stat(fsys, dir); err != nil {
		return nil
	}
	out := &pushes{moves: map[passerelle.Kind][]byte{}, filters: map[passerelle.Kind][]string{}}
	table := dir + "/triggers.csv"
	rows := readTable(fsys, table, []string{"name", "on", "class", "state", "attcodes", "filter", "context", "payload"}, p).rows
	for _, r := range rows {
		file := dir + "/" + r.get("payload") + ".json"
		payload, err := fs.ReadFile(fsys, file)
		if err != nil || !json.Valid(payload) {
			p.add(table, r.line, "name a JSON file of "+dir, "the payload %s cannot be read as JSON", file)
			continue
		}
		out.take(c, side, payload, r.get("filter"))
	}
	return out
}

func (f *pushes) take(c *Contract, side passerelle.Side, payload []byte, filter string) {
	var tells struct{ Operation, Stimulus string }
	_ = json.Unmarshal(payload, &tells) // what is told otherwise is no change of state
	if tells.Operation == "core/create" {
		f.create, f.handed = payload, filter
		return
	}
	for _, s := range c.signals {
		if s.side == side && tells.Stimulus != "" && same(s.word, tells.Stimulus) {
			f.filters[s.kind] = append(f.filters[s.kind], filter)
			if f.moves[s.kind] == nil {
				f.moves[s.kind] = payload
			}
		}
	}
}

// Escalation is the payload by which a side's tool tells of a ticket that it
// hands over; nil where the contract has none.
func (c *Contract) Escalation(side passerelle.Side) []byte {
	if f := c.pushes[side]; f != nil {
		return f.create
	}
	return nil
}

// Told is the payload by which a side's tool tells of a change of state; nil
// where the contract has none.
func (c *Contract) Told(side passerelle.Side, k passerelle.Kind) []byte {
	if f := c.pushes[side]; f != nil {
		return f.moves[k]
	}
	return nil
}

// Scope is an OQL of the tickets of a side that stand with the partner's team,
// as the triggers tell: those handed to it at the requester's, those not given
// back at the partner's. Empty where no trigger tells.
func (c *Contract) Scope(side passerelle.Side) string {
	f := c.pushes[side]
	if f == nil {
		return ""
	}
	if side == passerelle.Requester {
		return f.handed
	}
	back := f.filters[passerelle.Reject]
	if len(back) != 1 {
		return ""
	}
	class, _, _ := strings.Cut(strings.TrimPrefix(back[0], "SELECT "), " ")
	return fmt.Sprintf("SELECT %s WHERE id NOT IN (%s)", class, back[0])
}

// Standing lists the states of a pair that go with what a side's tool shows of
// its ticket: its status, and whether it is away from the partner's team (which
// counts only where Scope is told).
func (c *Contract) Standing(side passerelle.Side, status string, away bool) []passerelle.State {
	var out []passerelle.State
	teams := c.Scope(side) != ""
	for _, v := range c.values["status"] {
		s := passerelle.State(v.name)
		shown := holds(v.of(side), status)
		switch {
		case !teams || s == passerelle.Closed:
		case s == passerelle.Rejected: // the team tells, the status need not
			shown = away && (shown || side == passerelle.Partner)
		case away:
			shown = false
		}
		if shown && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// Moved is what happened to a ticket of a side that stands where no state of the
// pair's is: the event that the life cycle has for it. Not ok: it has none, and
// the ticket is left as it is. A ticket that is away from the partner's team in
// no known state has left.
func (c *Contract) Moved(side passerelle.Side, from passerelle.State, stands []passerelle.State, away bool) (passerelle.Kind, bool) {
	for _, next := range stands {
		for _, k := range signalled {
			if r := c.lifecycle.find(from, side, k); r != nil && !r.no && r.next == next && c.Told(side, k) != nil {
				return k, true
			}
		}
	}
	for _, next := range stands { // not allowed here: refused in sight
		for _, s := range passerelle.States() {
			for _, k := range signalled {
				if r := c.lifecycle.find(s, side, k); r != nil && !r.no && r.next == next && s != next && c.Told(side, k) != nil {
					return k, true
				}
			}
		}
	}
	for _, k := range signalled { // only ever refused: refused in sight too
		if r := c.lifecycle.find(from, side, k); r != nil && r.no && slices.Contains(stands, leadsTo[k]) && c.Told(side, k) != nil {
			return k, true
		}
	}
	return passerelle.Leave, away && c.Told(side, passerelle.Leave) != nil
}

// leadsTo is where a change of state leads, whatever the life cycle makes of it.
var leadsTo = map[passerelle.Kind]passerelle.State{passerelle.Pend: passerelle.Pending, passerelle.Resolve: passerelle.Resolved, passerelle.Close: passerelle.Closed, passerelle.Reject: passerelle.Rejected}

// ComesBack tells whether only another create takes a pair from this state to
// the partner again: no change of state that a side's tool tells does (R30).
func (c *Contract) ComesBack(side passerelle.Side, from passerelle.State) bool {
	r := c.lifecycle.find(from, side, passerelle.Create)
	if r == nil || r.no || r.next != passerelle.Open || from == passerelle.New {
		return false
	}
	return !slices.ContainsFunc(signalled, func(k passerelle.Kind) bool {
		r := c.lifecycle.find(from, side, k)
		return r != nil && !r.no && r.next == passerelle.Open
	})
}

// ReferenceProbe is a payload that reads, from a ticket of a side, the fields in
// which the contract writes the partner's number (R5), and those fields' codes.
// They are filled where somebody has carried the ticket before. Nil where the
// contract writes it in no field.
func (c *Contract) ReferenceProbe(side passerelle.Side) (payload []byte, fields []string) {
	for _, r := range c.lifecycle.byLine() {
		for _, s := range r.sends {
			if r.kind == passerelle.Reference && s.To == side {
				fields = c.writesReference(s.Send)
			}
		}
	}
	var escalation struct{ Class string }
	if len(fields) == 0 || json.Unmarshal(c.Escalation(side), &escalation) != nil {
		return nil, nil
	}
	read := map[string]string{"customer_id": "$this->id$"}
	for _, f := range fields {
		read[f] = "$this->" + f + "$"
	}
	payload, _ = json.Marshal(map[string]any{"operation": "core/update", "comment": "", "class": escalation.Class, "fields": read}) // plain texts always encode
	return payload, fields
}

// writesReference lists the fields, journals apart, that a template gives the
// partner's number.
func (c *Contract) writesReference(s Send) []string {
	t := c.template(s)
	if t == nil || t.root == nil || t.root.member("fields") == nil {
		return nil
	}
	var out []string
	for _, m := range t.root.member("fields").members {
		f := c.fields[m.name]
		if m.value.dynamic && (f == nil || f.Type != "log") {
			out = append(out, m.name)
		}
	}
	return out
}
