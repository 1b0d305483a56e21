package mapping

import (
	"fmt"
	"slices"
	"strings"

	"passerelle"
	"passerelle/internal/richtext"
)

// Step is what an admitted event does.
type Step struct {
	Next  passerelle.State // of the link afterwards
	Same  bool             // the state does not change
	Sends []Send           // what the sides are told, in this order
	Rule  string           // the rule that decided
}

// Admit judges an interpreted event against the life cycle and the tables. It
// fills in the event's fields that the contract sets. Its errors are refusals
// (*passerelle.Error of class Refused) that name the ticket, the state and
// what is allowed.
func (c *Contract) Admit(e *passerelle.Event, l *passerelle.Link) (*Step, error) {
	r := c.lifecycle.find(l.State, e.From, e.Kind)
	if e.Kind == passerelle.Change {
		if names := c.frozen(e); len(names) == 0 {
			return &Step{Next: l.State, Same: true, Rule: "R13"}, nil
		} else if r == nil || r.no {
			return nil, c.refuseChange(e, l, names)
		}
	}
	if r == nil || r.no {
		return nil, c.refuse(e, l, r)
	}
	if e.Kind == passerelle.Create && l.State == passerelle.New {
		if err := c.checkCreate(e, l); err != nil {
			return nil, err
		}
	}
	c.assign(r, e)
	return &Step{Next: r.next, Same: r.same, Sends: c.sendsOf(r, e), Rule: r.rule}, nil
}

// Facts are the create's scalars to keep with the link.
func (c *Contract) Facts(e *passerelle.Event) map[string]string {
	facts := map[string]string{}
	for _, f := range c.facts {
		if v := e.Fields[f]; v != "" {
			facts[f] = v
		}
	}
	return facts
}

func (c *Contract) sendsOf(r *rule, e *passerelle.Event) []Send {
	var out []Send
	for _, s := range r.sends {
		// R16: the partner's private notes reach the requester only where the
		// contract says so.
		if e.Kind == passerelle.PrivateLog && s.To == passerelle.Requester && !c.PrivateLogToRequester {
			continue
		}
		out = append(out, s)
	}
	return out
}

func (c *Contract) assign(r *rule, e *passerelle.Event) {
	for _, a := range r.set {
		if e.Fields == nil {
			e.Fields = map[string]string{}
		}
		if a.ifEmpty && !c.blank(a.field, e.Fields[a.field]) {
			continue
		}
		if e.Fields[a.field] = a.value; a.from != "" {
			e.Fields[a.field] = e.Fields[a.from]
		}
	}
}

func (c *Contract) blank(field, v string) bool {
	if f := c.fields[field]; f.Type == "html" || f.Type == "log" {
		return richtext.Text(v) == ""
	}
	return strings.TrimSpace(v) == ""
}

// refuse says what the sender may do instead.
func (c *Contract) refuse(e *passerelle.Event, l *passerelle.Link, r *rule) error {
	err := &passerelle.Error{Op: string(e.Kind), Class: passerelle.Refused, Ticket: l.Names(), Rule: "R13"}
	state := c.stateWords(e.From, l.State)
	if r != nil {
		err.Rule, err.Err, err.Local = r.rule, fmt.Errorf("%s: %s", state, r.text), r.text
	} else {
		err.Err = fmt.Errorf("%s: the %s may not %s", state, e.From, e.Kind)
		err.Local = fmt.Sprintf("le contrat ne prévoit pas « %s » dans cet état du ticket", e.Kind.French())
	}
	if may := c.lifecycle.allowed(l.State, e.From); len(may) > 0 {
		err.Hint = "allowed now: " + strings.Join(may, ", ")
	} else {
		err.Hint = "nothing more is exchanged on this ticket"
	}
	return err
}

func (c *Contract) stateWords(side passerelle.Side, s passerelle.State) string {
	if words := c.StatusWords(side, s); len(words) > 0 {
		return fmt.Sprintf("in state %s (« %s »)", s, words[len(words)-1])
	}
	return "in state " + string(s)
}

func (c *Contract) frozen(e *passerelle.Event) []string {
	var out []string
	for name := range e.Fields {
		if f := c.fields[name]; f != nil && f.Frozen {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func (c *Contract) refuseChange(e *passerelle.Event, l *passerelle.Link, names []string) error {
	return &passerelle.Error{Op: "change", Class: passerelle.Refused, Ticket: l.Names(), Rule: "R13",
		Err:   fmt.Errorf("%s may not change after creation", strings.Join(names, ", ")),
		Local: "après l'escalade, ces champs ne se modifient plus : " + strings.Join(names, ", ") + " ; écrivez-le dans le journal",
		Hint:  "write it in the journal; " + strings.Join(c.lifecycle.allowed(l.State, e.From), ", ") + " are exchanged"}
}

// checkCreate checks a create's fields (R2, R3, R7) and completes its
// description (R4).
func (c *Contract) checkCreate(e *passerelle.Event, l *passerelle.Link) error {
	if err := c.required(e, l); err != nil {
		return err
	}
	if c.UAI != "" && e.Fields[c.UAI] != "" {
		if err := checkUAI(e.Fields[c.UAI]); err != nil {
			return &passerelle.Error{Op: "create", Class: passerelle.Refused, Ticket: l.Names(), Rule: "R3",
				Err: fmt.Errorf("%s: %w", c.UAI, err), Hint: "7 digits and their check letter, such as 0750655E",
				Local: "l'UAI « " + e.Fields[c.UAI] + " » n'est pas valide (exemple : 0750655E)"}
		}
	}
	if len(c.Catalogue.Columns) > 0 {
		names := map[string]string{}
		for _, col := range c.Catalogue.Columns {
			names[col.Field] = e.Fields[col.Field]
		}
		if _, err := c.Catalogue.Components(names); err != nil {
			pe := err.(*passerelle.Error)
			pe.Op, pe.Ticket = "create", l.Names()
			return pe
		}
	}
	c.nameCaller(e)
	return nil
}

func (c *Contract) required(e *passerelle.Event, l *passerelle.Link) error {
	var missing []string
	for name, f := range c.fields {
		if f.Create == "required" && c.blank(name, c.given1(e, name)) {
			missing = append(missing, fmt.Sprintf("%s (%s)", name, f.Label))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return &passerelle.Error{Op: "create", Class: passerelle.Refused, Ticket: l.Names(), Rule: "R2",
		Err: fmt.Errorf("mandatory fields are missing or empty: %s", strings.Join(missing, ", ")), Hint: "fill them and assign the ticket again",
		Local: "champs obligatoires absents ou vides : " + strings.Join(missing, ", ") + " ; complétez-les puis affectez de nouveau le ticket"}
}

func (c *Contract) given1(e *passerelle.Event, name string) string {
	if v := e.Fields[name]; v != "0" || c.fields[name].Type != "key" {
		return v
	}
	return "" // iTop writes an empty external key as "0"
}

// nameCaller puts the caller's name into the description (R4): the reporter
// over there is a generic one.
func (c *Contract) nameCaller(e *passerelle.Event) {
	name := e.Fields[c.Caller]
	if c.Caller == "" || name == "" || isDigits(name) {
		return
	}
	e.Fields["description"] = richtext.Escape("Demandeur : "+name) + e.Fields["description"]
}

func isDigits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}

const uaiLetters = "ABCDEFGHJKLMNPRSTUVWXYZ"

// checkUAI checks a RAMSESE identifier: 7 digits and the letter that their
// remainder by 23 gives.
func checkUAI(s string) error {
	if len(s) != 8 || !isDigits(s[:7]) {
		return fmt.Errorf("« %s » is no UAI", s)
	}
	n := 0
	for _, d := range s[:7] {
		n = n*10 + int(d-'0')
	}
	if want := uaiLetters[n%23]; s[7] != want {
		return fmt.Errorf("« %s » is no UAI: the check letter of %s is %c", s, s[:7], want)
	}
	return nil
}
