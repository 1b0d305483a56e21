package mapping

import (
	"errors"
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

// Admit judges an interpreted event against the life cycle (R13) and, for a
// create, the tables (R2, R3, R7). It completes the event's fields as the
// contract says, and may be asked once only about one event. It leaves the link
// as it is. Its errors are refusals (*passerelle.Error of class Refused) that
// name the ticket, the state and what is allowed.
func (c *Contract) Admit(e *passerelle.Event, l *passerelle.Link) (*Step, error) {
	if e.Private { // R16: it goes nowhere, in any state
		return &Step{Next: l.State, Same: true, Rule: "R16"}, nil
	}
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
	markEdited(e)
	c.sign(e)
	step := &Step{Next: r.next, Same: r.same, Sends: c.sendsOf(r, e), Rule: r.rule}
	if (len(step.Sends) > 0 || r.next != l.State) && c.notifies(e, l.State) {
		step.Sends = append(step.Sends, Send{passerelle.Partner, NotifyTemplate})
	}
	return step, nil
}

// Facts are the create's scalars to keep with the link: those that later
// templates name, and no more of a person's data.
func (c *Contract) Facts(e *passerelle.Event) map[string]string {
	facts := map[string]string{}
	for _, f := range c.facts {
		if v := e.Fields[f]; v != "" {
			facts[f] = v
		}
	}
	return facts
}

// sendsOf are the row's sends that the contract's switches leave.
func (c *Contract) sendsOf(r *rule, e *passerelle.Event) []Send {
	if e.Private {
		return nil // R16: no tool keeps a file from its public, so one of the agents' own goes nowhere
	}
	var out []Send
	for _, s := range r.sends {
		// R16: what the partner's agents note among themselves reaches the
		// requester only where the contract says so.
		if e.Kind == passerelle.PrivateLog && s.To == passerelle.Requester && !c.PrivateLogToRequester {
			continue
		}
		if !s.ifEdited || e.Edited {
			out = append(out, s.Send)
		}
	}
	return out
}

// assign gives the event what the row sets.
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

// markEdited says of an entry that travels once more that it was changed (R33).
func markEdited(e *passerelle.Event) {
	for _, log := range []string{"public_log", "private_log"} {
		if e.Edited && e.Fields[log] != "" {
			e.Fields[log] = "<p><em>(modifié)</em></p>" + e.Fields[log]
		}
	}
}

// blank tells whether a person would see nothing in v.
func (c *Contract) blank(field, v string) bool {
	if c.fields[field].rich() {
		return richtext.Text(v) == ""
	}
	return strings.TrimSpace(v) == ""
}

// refuse says why not, and what the sender may do instead (R13).
func (c *Contract) refuse(e *passerelle.Event, l *passerelle.Link, r *rule) error {
	state, word := "in state "+string(l.State), string(l.State)
	if words := c.StatusWords(e.From, l.State); len(words) > 0 {
		state, word = state+" (« "+words[0]+" »)", words[0]
	}
	err := &passerelle.Error{Op: string(e.Kind), Class: passerelle.Refused, Ticket: l.Names(), Rule: "R13",
		Err: fmt.Errorf("%s the %s may not %s", state, e.From, deed(e.Kind))}
	may := c.lifecycle.allowed(l.State, e.From)
	if r != nil {
		err.Rule, err.Err, err.Local = r.rule, fmt.Errorf("%w: %s", err.Err, r.text), r.text
	} else {
		err.Local = fmt.Sprintf("le contrat ne prévoit pas « %s » quand le ticket est « %s » ; %s", e.Kind.French(), word, possible(may))
	}
	switch {
	case len(may) > 0:
		err.Hint = "allowed now: " + join(may)
	case l.State == passerelle.New:
		err.Hint = "nothing is exchanged before the requester's create"
	default:
		err.Hint = "nothing more is exchanged on this ticket"
	}
	return err
}

// deed is what a kind's sender does to the ticket, after "may not".
func deed(k passerelle.Kind) string {
	switch k {
	case passerelle.Create:
		return "create the ticket"
	case passerelle.Reference:
		return "give its number"
	case passerelle.PublicLog:
		return "write in the public journal"
	case passerelle.PrivateLog:
		return "write in the private journal"
	case passerelle.Attach:
		return "attach files"
	case passerelle.Pend:
		return "ask for more"
	case passerelle.Leave:
		return "take the ticket away"
	case passerelle.Note:
		return "leave a note"
	}
	return string(k) + " the ticket" // resume, resolve, close, reopen, reject, change
}

// possible is what may be done instead, in French.
func possible(may []passerelle.Kind) string {
	if len(may) == 0 {
		return "plus rien ne s'échange sur ce ticket"
	}
	words := make([]string, len(may))
	for i, k := range may {
		words[i] = k.French()
	}
	return "possible maintenant : " + strings.Join(words, ", ")
}

// frozen are the event's fields that may not change after creation (R13).
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
	labels := make([]string, len(names))
	for i, n := range names {
		labels[i] = fmt.Sprintf("%s (%s)", n, c.fields[n].Label)
	}
	err := c.refuse(e, l, nil).(*passerelle.Error)
	// By name only: the error is kept and shown to operators, the values are not ours.
	err.Err = fmt.Errorf("in state %s these fields may not change any more: %s", l.State, strings.Join(names, ", "))
	may := c.lifecycle.allowed(l.State, e.From)
	if slices.Contains(may, passerelle.PublicLog) {
		err.Hint = "write it in the journal; " + err.Hint
	}
	err.Local = "après l'escalade, ces champs ne se modifient plus : " + strings.Join(labels, ", ") + " ; " + possible(may)
	return err
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
				Err: fmt.Errorf("%s: %w", c.UAI, err), Hint: "7 digits and their check letter, a capital, such as 0750655E",
				Local: "l'UAI « " + e.Fields[c.UAI] + " » n'est pas valide : 7 chiffres et leur lettre de contrôle, comme 0750655E"}
		}
	}
	if len(c.Catalogue.Columns) > 0 {
		names := map[string]string{}
		for _, col := range c.Catalogue.Columns {
			names[col.Field] = e.Fields[col.Field]
		}
		_, err := c.Catalogue.Components(names)
		if len(c.Catalogue.Targets) > 1 || c.Catalogue.named { // one entry is asked for, by name
			_, err = c.Catalogue.Entry(names)
		}
		var refused *passerelle.Error
		if errors.As(err, &refused) {
			refused.Op, refused.Ticket = "create", l.Names()
			return refused
		}
	}
	c.nameCaller(e)
	citePrevious(e, l)
	return nil
}

// required refuses a create by the names of all that it lacks (R2).
func (c *Contract) required(e *passerelle.Event, l *passerelle.Link) error {
	var missing []string
	for name, f := range c.fields {
		if f.Create == "required" && c.blank(name, e.Fields[name]) {
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

// nameCaller puts the caller's name into the description (R4): the reporter
// over there is a generic one.
func (c *Contract) nameCaller(e *passerelle.Event) {
	name := e.Fields[c.Caller]
	if c.Caller == "" || name == "" || isDigits(name) {
		return
	}
	e.Fields["description"] = richtext.Escape("Demandeur : "+name) + e.Fields["description"]
}

// citePrevious names the closed ticket that a new one follows (R31).
func citePrevious(e *passerelle.Event, l *passerelle.Link) {
	if old := l.Facts[PreviousRef]; old != "" {
		e.Fields["description"] = richtext.Escape("Fait suite au ticket fermé "+old) + e.Fields["description"]
	}
}

// PreviousRef is the fact of a link that holds the partner's number of the
// closed ticket before it.
const PreviousRef = "previous_ref"

// isDigits is true for the empty string too.
func isDigits(s string) bool {
	return strings.Trim(s, "0123456789") == "" // Trim stops at anything else
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
