package mapping

import (
	"io/fs"
	"slices"
	"strings"

	"passerelle"
)

// Send is one template to be sent to one side.
type Send struct {
	To       passerelle.Side
	Template string
}

// rule is one row of lifecycle.csv: in this state, when this side says this,
// that happens. A row with next "refuse" says why not; what has no row is
// refused too (R13).
type rule struct {
	state passerelle.State
	from  passerelle.Side
	kind  passerelle.Kind
	next  passerelle.State // the state afterwards, when not refused
	same  bool             // no effect on the state
	no    bool             // refused
	sends []sending
	set   []assignment
	rule  string
	text  string // for people, in the contract's language: why not, and what instead
	line  int
}

// sending is one send of a row; with a question mark it is left out unless the
// event is a new form of one that travelled before (R30).
type sending struct {
	Send
	ifEdited bool
}

// assignment gives a field a value before rendering.
type assignment struct {
	field   string
	value   string
	from    string // another field to take it from
	ifEmpty bool   // only if the event has none
}

// lifecycle is what may happen, by state, side and kind.
type lifecycle map[passerelle.State]map[passerelle.Side]map[passerelle.Kind]*rule

func (lc lifecycle) find(s passerelle.State, from passerelle.Side, k passerelle.Kind) *rule {
	return lc[s][from][k]
}

// allowed lists what this side may say in this state, for hints.
func (lc lifecycle) allowed(s passerelle.State, from passerelle.Side) []passerelle.Kind {
	var out []passerelle.Kind
	for _, k := range passerelle.Kinds() {
		if r := lc.find(s, from, k); k != passerelle.Reference && r != nil && !r.no && (!r.same || len(r.sends) > 0) {
			out = append(out, k)
		}
	}
	return out
}

const lifecycleFile = "lifecycle.csv"

func readLifecycle(fsys fs.FS, c *Contract, p *Problems) lifecycle {
	t := readTable(fsys, lifecycleFile, []string{"state", "from", "event", "next", "send", "set", "rule", "text"}, p)
	lc := lifecycle{}
	for _, r := range t.rows {
		base, ok := readRule(r, c, p)
		if !ok {
			continue
		}
		states := r.list("state")
		if len(states) == 0 {
			p.add(lifecycleFile, r.line, "one of "+join(passerelle.States())+", or several separated by |", "state is empty")
		}
		for _, s := range states {
			one := *base
			one.state = passerelle.State(s)
			if one.same {
				one.next = one.state
			}
			lc.add(&one, p)
		}
	}
	reachable(t.rows, p)
	return lc
}

func (lc lifecycle) add(r *rule, p *Problems) {
	if !slices.Contains(passerelle.States(), r.state) {
		p.add(lifecycleFile, r.line, "one of "+join(passerelle.States()), "state %q is unknown", r.state)
		return
	}
	if lc[r.state] == nil {
		lc[r.state] = map[passerelle.Side]map[passerelle.Kind]*rule{}
	}
	if lc[r.state][r.from] == nil {
		lc[r.state][r.from] = map[passerelle.Kind]*rule{}
	}
	if old := lc[r.state][r.from][r.kind]; old != nil {
		p.add(lifecycleFile, r.line, "keep one of them", "%s, %s, %s is already on line %d", r.state, r.from, r.kind, old.line)
		return
	}
	lc[r.state][r.from][r.kind] = r
}

func readRule(r row, c *Contract, p *Problems) (*rule, bool) {
	ru := &rule{from: passerelle.Side(r.get("from")), kind: passerelle.Kind(r.get("event")), rule: r.get("rule"), text: r.get("text"), line: r.line}
	before := len(*p)
	if !slices.Contains([]passerelle.Side{passerelle.Requester, passerelle.Partner, passerelle.Broker}, ru.from) {
		p.add(lifecycleFile, r.line, "requester, partner or broker", "from is %q", ru.from)
	}
	if !slices.Contains(passerelle.Kinds(), ru.kind) {
		p.add(lifecycleFile, r.line, "one of "+join(passerelle.Kinds()), "event %q is unknown", ru.kind)
	}
	switch next := r.get("next"); next {
	case "same":
		ru.same = true
	case "refuse":
		ru.no = true
	default:
		ru.next = passerelle.State(next)
		if !slices.Contains(passerelle.States(), ru.next) {
			p.add(lifecycleFile, r.line, "a state, same or refuse", "next is %q", next)
		}
	}
	if ru.from == passerelle.Broker && slices.Contains(passerelle.States(), ru.next) {
		p.add(lifecycleFile, r.line, "write same", "next is %q: what the gateway itself says changes no state", r.get("next"))
	}
	if ru.no && (r.get("send") != "" || r.get("set") != "") {
		p.add(lifecycleFile, r.line, "empty send and set, or change next", "a refused event sends nothing")
	}
	if ru.no && ru.text == "" {
		p.add(lifecycleFile, r.line, "say in text what the sender may do instead", "a refusal needs a text")
	}
	ru.sends = readSends(r, c, p)
	ru.set = readAssignments(r, c, p)
	return ru, len(*p) == before
}

// readSends reads a cell such as "partner:update-public-log partner:end-pending";
// "partner:update-public-log?" is sent only if the event is a new form of one
// that travelled before.
func readSends(r row, c *Contract, p *Problems) []sending {
	var out []sending
	for _, word := range strings.Fields(r.get("send")) {
		word, edited := strings.CutSuffix(word, "?")
		side, name, ok := strings.Cut(word, ":")
		s := Send{To: passerelle.Side(side), Template: name}
		t := c.template(s)
		if name == NoteTemplate && t == nil && (s.To == passerelle.Requester || s.To == passerelle.Partner) {
			continue // contract.yaml names it wrongly, and is told
		}
		if c.lacksTemplates(s.To) {
			continue // the folder is told
		}
		if !ok || t == nil {
			p.add(lifecycleFile, r.line, "side:template, such as partner:create; the templates are the files of to-partner and to-requester", "send: there is no template %q", word)
			continue
		}
		// R16: a private note must never come out public.
		if r.get("event") == string(passerelle.PrivateLog) && t.public {
			p.add(lifecycleFile, r.line, "send update-private-log", "a private journal entry would be sent by a public template, %q", word)
		}
		out = append(out, sending{s, edited})
	}
	return out
}

// readAssignments reads a cell such as "resolutioncode_id=resolve; solution?=…;
// public_log?=@solution". A value cannot hold a semicolon.
func readAssignments(r row, c *Contract, p *Problems) []assignment {
	var out []assignment
	for _, part := range strings.Split(r.get("set"), ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, v, ok := strings.Cut(part, "=")
		a := assignment{value: strings.TrimSpace(v)}
		a.field, a.ifEmpty = strings.CutSuffix(strings.TrimSpace(name), "?")
		if from, is := strings.CutPrefix(a.value, "@"); is {
			a.from, a.value = from, ""
		}
		if !ok || c.fields[a.field] == nil || a.from != "" && c.fields[a.from] == nil {
			p.add(lifecycleFile, r.line, "field=value, field?=value or field=@field, with fields of fields.csv", "set: %q", part)
			continue
		}
		// R16: a private note must never come out public.
		if a.from == "private_log" && a.field != "private_log" {
			p.add(lifecycleFile, r.line, "take another field", "set: the private journal would be copied to %q", a.field)
		}
		if a.from == "" && !c.values.has(a.field, a.value) {
			p.add(lifecycleFile, r.line, "its values are "+c.values.known(a.field), "set: %s « %s » is unknown", a.field, a.value)
		}
		out = append(out, a)
	}
	return out
}
