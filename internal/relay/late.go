package relay

import (
	"fmt"
	"slices"

	"passerelle"
	"passerelle/mapping"
	"passerelle/outbox"
)

// changesState tells whether an event of this kind says that its tool's ticket
// has moved to another state.
func changesState(k passerelle.Kind) bool {
	switch k {
	case passerelle.Pend, passerelle.Resume, passerelle.Resolve, passerelle.Reopen, passerelle.Reject, passerelle.Close:
		return true
	}
	return false
}

// lateness is why an event comes too late to change the state.
type lateness struct {
	queued *outbox.Entry // the message that its sender has not heard yet; nil where the tool was changed since
}

// late tells whether an event would change a state that its sender had not been
// shown when it was made (R34): the first accepted change wins, except that
// closing always does. An answer ends « A compléter » once the question was on
// its way at least.
func (j *judgement) late(e *passerelle.Event) (*lateness, error) {
	answer := e.Kind == passerelle.PublicLog
	if !answer && (!changesState(e.Kind) || e.Kind == passerelle.Close) || !j.c.Turns(e, j.link) {
		return nil, nil
	}
	if e.Overtaken {
		return &lateness{}, nil
	}
	queued, err := j.unshown(e.From)
	if err != nil || queued == nil || answer && underWay(queued) {
		return nil, err
	}
	return &lateness{queued: queued}, nil
}

// unshown is the message that is to show a side the present state and has not
// arrived there for certain; nil if the side knows the state.
func (j *judgement) unshown(side passerelle.Side) (*outbox.Entry, error) {
	if j.link.ID == "" || j.link.Shown[side] >= j.link.Turn {
		return nil, nil
	}
	for e, err := range j.r.Store.Entries(j.ctx, outbox.Query{Link: j.link.ID, To: side, Status: unsettled}) {
		if err != nil {
			return nil, err
		}
		if e.Turn == j.link.Turn && j.r.moves(e) {
			return e, nil
		}
	}
	return nil, nil
}

// bringBack adds, to an answer that came while the question was on its way to
// its sender, the message that takes the sender's ticket out of « A compléter »
// again: nobody knows whether the answer was written there before the question
// arrived or after it (R34). Where the tool did it itself, the message finds it
// done.
func (j *judgement) bringBack(e *passerelle.Event, step *mapping.Step) error {
	if e.Kind != passerelle.PublicLog || step.Next == j.link.State {
		return nil
	}
	queued, err := j.unshown(e.From)
	if err != nil || queued == nil {
		return err
	}
	if back, ok := j.c.Back(e.From, j.link.State, step.Next); ok && !slices.Contains(step.Sends, back) {
		step.Sends = append(step.Sends, back)
	}
	return nil
}

// underWay tells whether a message may have arrived, though nobody knows yet.
func underWay(e *outbox.Entry) bool { return e.Status == outbox.Lent || e.Probe }

// tooLate stores an event that came too late: what it says travels as a journal
// entry, its tool is brought back to the pair's state, and its people are told
// why (R34).
func (j *judgement) tooLate(e *passerelle.Event, late *lateness) error {
	step := j.c.AdmitLate(e, j.link)
	if err := j.entries(e, step); err != nil {
		return err
	}
	if e.Kind == passerelle.PublicLog {
		return nil // nothing was undone
	}
	if q := late.queued; q != nil && underWay(q) { // it may have arrived before the change
		again := outbox.Entry{Schema: outbox.EntrySchema, Contract: q.Contract, Terms: q.Terms, To: q.To, Template: q.Template, Event: q.Event,
			State: q.State, Turn: q.Turn, Rule: "R34", Status: outbox.Waiting}
		j.change.Entries = append(j.change.Entries, &again)
	}
	if note := j.r.note(j.c, j.link, e.From, j.lateText(e, len(step.Sends) > 0)); note != nil {
		note.Rule = "R34"
		j.change.Entries = append(j.change.Entries, note)
	}
	return nil
}

// lateText is what the sender's people read of it.
func (j *judgement) lateText(e *passerelle.Event, told bool) string {
	word := string(j.link.State)
	if words := j.c.StatusWords(e.From, j.link.State); len(words) > 0 {
		word = words[0]
	}
	carried, too := "", ""
	if told {
		carried, too = " Son texte a été transmis dans le journal.", " Its text was carried as a journal entry."
	}
	return paragraphs(
		fmt.Sprintf("Passerelle : ce changement d'état (%s) a croisé une action de l'autre partie et n'a pas été pris en compte : le ticket reste « %s ».%s Recommencez si c'est encore nécessaire.", e.Kind.French(), word, carried),
		fmt.Sprintf("Gateway: this change of state (%s) crossed one of the other party's and has no effect: the ticket stays « %s » [R34].%s Make it again if it is still needed.", e.Kind, word, too))
}

// moves tells whether an entry's message changes the state of its ticket.
func (r *Relay) moves(e *outbox.Entry) bool {
	c := r.Contracts[e.Contract]
	return c != nil && c.Moves(sendOf(e))
}
