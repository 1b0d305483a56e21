package relay

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"passerelle"
	"passerelle/mapping"
	"passerelle/outbox"
)

// Accept judges events about one ticket and stores what follows, all or none.
// A fact that is already known changes nothing. A refusal is stored too,
// counted, and told once by a private note on the sender's own ticket (R13),
// because iTop ignores the answer to its webhook.
func (r *Relay) Accept(ctx context.Context, events ...*passerelle.Event) (*passerelle.Link, error) {
	if len(events) == 0 {
		return nil, passerelle.Errorf(passerelle.Refused, "accept", "the message says nothing")
	}
	if learning, err := r.isLearning(ctx); err != nil || learning {
		return nil, errors.Join(err, &passerelle.Error{Op: "accept", Class: passerelle.Temporary, Ticket: events[0].Ticket(),
			Err: errors.New("the gateway was restored from a backup, and asks both tools what happened since"), Hint: "send it again in some minutes; an iTop or a Jira will be asked"})
	}
	c, err := r.contract(events[0].Contract)
	if err != nil {
		return nil, err
	}
	var bad error
	for _, e := range events {
		if bad == nil {
			bad = c.Interpret(e)
		}
	}
	for try := 0; ; try++ {
		link, err := r.acceptOnce(ctx, c, events, bad)
		again := errors.Is(err, outbox.ErrConflict) || errors.Is(err, outbox.ErrSeen)
		if again && try < maxTries {
			continue
		}
		if err != nil && passerelle.ClassOf(err) != passerelle.Refused { // a tool that does not say it again is asked by the next sweep
			r.Log.Warn("not accepted: the sender is told to say it again", "contract", c.Name, "ticket", events[0].Ticket(), "from", events[0].From, "kind", events[0].Kind, "error", err)
		}
		return link, err
	}
}

// composed is the create_sum of a create that the gateway composed from a
// reading: the push that comes after it may differ in a word, and is the same.
const composed = "composed"

// maxTries bounds how often one event is judged again because its ticket
// changed meanwhile.
const maxTries = 100

// acceptOnce judges against the link as it is now. bad is a refusal that was
// found before the link was known.
func (r *Relay) acceptOnce(ctx context.Context, c *mapping.Contract, events []*passerelle.Event, bad error) (*passerelle.Link, error) {
	link, follows, err := r.resolve(ctx, c, events[0])
	if err != nil && passerelle.ClassOf(err) != passerelle.Refused {
		return nil, err
	}
	if err != nil {
		bad = err
	}
	j := &judgement{r: r, c: c, ctx: ctx, before: link, link: link.Clone(), change: &outbox.Change{OwnFormat: c.OwnRef, Follows: follows}}
	defer func() { r.Release(j.files...) }()
	if bad == nil {
		bad = j.all(copies(events)) // judging completes them; another try begins afresh
	}
	if bad != nil && passerelle.ClassOf(bad) != passerelle.Refused {
		return nil, bad
	}
	if j.again {
		r.refused(c, link, events, bad)
		if err := j.looks(); err != nil {
			return nil, err
		}
		return nil, bad
	}
	if bad != nil {
		return r.refuse(ctx, c, link, follows, events, bad)
	}
	return j.commit()
}

func copies(events []*passerelle.Event) []*passerelle.Event {
	out := make([]*passerelle.Event, len(events))
	for i, e := range events {
		c := *e
		c.Fields = maps.Clone(e.Fields)
		out[i] = &c
	}
	return out
}

// resolve finds the one link that the event's references mean, or makes a new
// one; follows is then the id of the closed one before it, if any.
func (r *Relay) resolve(ctx context.Context, c *mapping.Contract, e *passerelle.Event) (l *passerelle.Link, follows string, err error) {
	var found *passerelle.Link
	for _, claim := range claims(c, e) {
		l, err := r.Store.Find(ctx, c.Name, claim.Side, claim.Key)
		if errors.Is(err, passerelle.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		if found != nil && found.ID != l.ID { // R28: two matches are refused
			return found, "", &passerelle.Error{Op: string(e.Kind), Class: passerelle.Refused, Ticket: e.Ticket(), Rule: "R28",
				Err: fmt.Errorf("its references mean two tickets, %s and %s", found.Names(), l.Names()), Hint: "give references of one ticket only",
				Local: "les références données désignent deux tickets différents"}
		}
		found = l
	}
	// R31: what is closed stays closed; a new create makes a new pair.
	if found != nil && !(found.State == passerelle.Closed && e.Kind == passerelle.Create && e.From == passerelle.Requester) {
		return found, "", nil
	}
	l = r.newLink(c, e)
	if found != nil {
		l.Facts[mapping.PreviousRef] = found.Partner.String()
		l.Generation = found.Generation
		return l, found.ID, nil
	}
	if e.Kind != passerelle.Create {
		return l, "", &passerelle.Error{Op: string(e.Kind), Class: passerelle.Refused, Ticket: e.Ticket(), Rule: "R28",
			Err: errors.New("this ticket is not known to the gateway"), Hint: "escalate it first, by assigning it to the partner's team",
			Local: "ce ticket n'est pas connu de la passerelle : escaladez-le d'abord, en l'affectant à l'équipe du partenaire"}
	}
	return l, "", nil
}

// claims are the references that the contract lets a sender name a ticket by.
func claims(c *mapping.Contract, e *passerelle.Event) []passerelle.Claim {
	var out []passerelle.Claim
	if e.Key != "" {
		out = append(out, passerelle.Claim{Side: e.From, Key: e.Key})
	}
	for _, cl := range e.Claims {
		key := "customer_ref"
		if cl.Side == passerelle.Partner {
			key = "provider_id"
		}
		if (cl.Side == passerelle.Broker || slices.Contains(c.Keys, key)) && !slices.Contains(out, cl) {
			out = append(out, cl)
		}
	}
	return out
}

func (r *Relay) newLink(c *mapping.Contract, e *passerelle.Event) *passerelle.Link {
	l := &passerelle.Link{Contract: c.Name, Terms: c.Version, State: passerelle.New, Born: time.Now(), Moved: time.Now(),
		Facts: map[string]string{}, Shown: map[passerelle.Side]uint64{}, Baseline: map[passerelle.Side]string{}}
	ref := passerelle.Ref{Key: e.Key}
	for _, cl := range e.Claims {
		if cl.Side == e.From && cl.Key != e.Key {
			ref.Number = cl.Key
		}
	}
	l.SetRef(e.From, ref)
	return l
}

// judgement is one Accept being worked out on a copy of the link.
type judgement struct {
	r       *Relay
	c       *mapping.Contract
	ctx     context.Context
	before  *passerelle.Link
	link    *passerelle.Link
	change  *outbox.Change
	files   []passerelle.File // that the judgement made, until it is stored
	again   bool              // it was refused before, and noted then
	created bool              // a create has been admitted: what follows came with it
}

func (j *judgement) all(events []*passerelle.Event) error {
	for _, e := range events {
		if err := j.one(e); err != nil {
			return err
		}
	}
	return nil
}

func (j *judgement) one(e *passerelle.Event) error {
	if racing, err := j.racing(e); err != nil {
		return err
	} else if racing || j.isHint(e) {
		j.lookAgain(e)
		return nil
	}
	names := j.names(e)
	known, err := j.isKnown(e, names)
	if err != nil {
		return err
	}
	if known && !j.created {
		return j.refusedBefore(e)
	}
	if known {
		if untold, err := j.untold(e); err != nil || !untold {
			return err
		}
	}
	if names, err = j.r.unseenOf(j.ctx, j.names(e)); err != nil {
		return err
	}
	// R29: what the contract leaves behind at escalation is recorded as seen.
	if e.Kind == passerelle.PublicLog && j.before.State == passerelle.New && j.c.AtEscalation.PublicLog == "none" {
		j.change.Names = append(j.change.Names, names...)
		return nil
	}
	if j.readsHistory(e) {
		j.lookAgain(e)
		return nil
	}
	sum := sumOf(e)
	if old := j.link.Facts["create_sum"]; e.Kind == passerelle.Create && old != "" {
		e.Edited = old != sum && old != composed && !e.Read // R30: updated text goes along
	}
	late, err := j.late(e)
	if err != nil {
		return err
	}
	j.change.Names = append(j.change.Names, names...)
	if late != nil {
		return j.tooLate(e, late)
	}
	if e.Kind == passerelle.Leave && !e.Read {
		if err := j.stands(e); err != nil {
			return err
		}
	}
	step, err := j.c.Admit(e, j.link)
	if err != nil {
		return err
	}
	if err := j.bringBack(e, step); err != nil {
		return err
	}
	if e.Kind == passerelle.Create {
		j.born(e, sum)
		if len(e.Names) == 0 && len(names) > 0 {
			e.Names = []string{names[0].Name} // what the partner's ticket remembers it by (Message.Of)
		}
	}
	j.advance(e, step)
	return j.entries(e, step)
}

// stands records that it is known where the ticket stands, so that reading it
// tells nobody twice.
func (j *judgement) stands(e *passerelle.Event) error {
	names, err := j.r.standsNames(j.ctx, j.c, j.link, e)
	j.change.Names = append(j.change.Names, names...)
	return err
}

// isHint tells of a pushed journal entry whose ticket is read before anything of
// it is carried. Around the escalation the push counts: it alone tells a note
// that was written with it from an older one (R29).
func (j *judgement) isHint(e *passerelle.Event) bool {
	journal := e.Kind == passerelle.PublicLog || e.Kind == passerelle.PrivateLog
	tool := j.r.Tools[outbox.Dest{Contract: j.c.Name, Side: e.From}]
	return journal && tool.ReadFirst && tool.Watch != nil && !e.Read && j.link.ID != "" && j.link.Ref(e.From).Key != "" && j.before.Baseline[e.From] != "" && !j.created
}

// readsHistory tells of a journal entry that comes while the whole history is
// about to be read (R29): it travels then, in its place.
func (j *judgement) readsHistory(e *passerelle.Event) bool {
	watched := j.r.Tools[outbox.Dest{Contract: j.c.Name, Side: e.From}].Watch != nil
	return e.Kind == passerelle.PublicLog && e.From == passerelle.Requester && !e.Read && watched && e.Key != "" &&
		j.c.AtEscalation.PublicLog == "all" && j.before.Baseline[e.From] == ""
}

// names are the event's identities. Those of a create and of a pushed change of
// state come from the link: the same push again is the same fact.
func (j *judgement) names(e *passerelle.Event) []outbox.Name {
	var out []outbox.Name
	add := func(n string) { out = append(out, outbox.Name{Contract: j.c.Name, Side: e.From, Name: n}) }
	for _, n := range e.Names {
		add(n)
	}
	if e.Alias != "" {
		add(e.Alias)
	}
	if len(e.Names) > 0 {
		return out
	}
	ticket := e.Key
	if ticket == "" {
		ticket = "own:" + j.link.ID
	}
	switch {
	case e.Kind == passerelle.Create:
		add(fmt.Sprintf("%s/create/%d", ticket, j.link.Generation))
	case e.Kind == passerelle.Leave: // it may be given back, and taken away again
		add(fmt.Sprintf("%s/turn/%d/leave/%d", ticket, j.link.Turn, e.At.Unix()/60))
	case e.Alias == "" && e.Kind != passerelle.Change:
		add(fmt.Sprintf("%s/turn/%d/%d/%s", ticket, j.link.Turn, j.link.Shown[e.From], e.Kind))
	}
	return out
}

func (j *judgement) lookAgain(e *passerelle.Event) {
	key := j.link.Ref(e.From).Key
	if j.r.Tools[outbox.Dest{Contract: j.c.Name, Side: e.From}].Watch == nil || key == "" || j.link.ID == "" {
		return
	}
	j.change.Looks = append(j.change.Looks, outbox.Look{Contract: j.c.Name, Side: e.From, Key: key})
}

// sumOf is a create's content, to tell the same create again from another.
func sumOf(e *passerelle.Event) string {
	fields := maps.Clone(e.Fields)
	for _, moving := range []string{"public_log", "private_log", "status", "last_update", "last_update_by"} {
		delete(fields, moving)
	}
	b, _ := json.Marshal(fields) // a map of strings always encodes, keys sorted
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// advance moves the link. Its state changes at acceptance, not at delivery, so
// that what follows at once is judged against it.
func (j *judgement) advance(e *passerelle.Event, step *mapping.Step) {
	l := j.link
	if e.Kind == passerelle.Reference && e.From == passerelle.Partner {
		l.Partner = passerelle.Ref{Key: e.Fields["provider_id"], Number: e.Fields["provider_ref"]} // R5
	}
	if step.Next == l.State {
		if changesState(e.Kind) {
			l.Shown[e.From] = l.Turn // R34: its tool stands there already
		}
		return
	}
	l.State, l.Moved = step.Next, time.Now()
	l.Turn++
	l.Shown[e.From] = l.Turn
	switch step.Next {
	case passerelle.Rejected, passerelle.Left, passerelle.Closed:
		l.Generation++ // a later create is a new fact (R30, R31)
	}
}

// born keeps of a create what later messages need.
func (j *judgement) born(e *passerelle.Event, sum string) {
	l := j.link
	for k, v := range j.c.Facts(e) {
		l.Facts[k] = v
	}
	l.Facts["create_sum"] = sum
	if e.Read { // R29: what it held before is read against the last time that it was not handed over
		l.Facts["create_sum"] = composed
		delete(l.Baseline, e.From)
	}
	if v := e.Fields["last_update"]; v != "" {
		l.Facts["last_update"] = v
	}
	j.created = true
	dest := outbox.Dest{Contract: j.c.Name, Side: e.From}
	if l.Baseline[e.From] == "" && e.Key != "" && j.r.Tools[dest].Watch != nil {
		// R29: what the ticket held before is read once.
		j.change.Looks = append(j.change.Looks, outbox.Look{Contract: dest.Contract, Side: dest.Side, Key: e.Key})
	}
}

// entries stores the event with what it sends, one entry a send.
func (j *judgement) entries(e *passerelle.Event, step *mapping.Step) error {
	if e.Kind == passerelle.Change && len(step.Sends) == 0 {
		return nil // nothing changed that the contract knows of
	}
	pictures, err := j.pictures(e, step)
	if err != nil {
		return err
	}
	long, err := j.shorten(e, step)
	if err != nil {
		return err
	}
	kept, trace := minimal(j.c, e, step.Sends)
	base := outbox.Entry{Schema: outbox.EntrySchema, Contract: j.c.Name, Terms: j.c.Version, Event: kept, Trace: trace, State: j.link.State, Turn: j.link.Turn, Rule: step.Rule}
	if len(step.Sends) == 0 {
		one := base
		one.Status, one.Note = outbox.Done, "nothing to tell the other side"
		j.change.Entries = append(j.change.Entries, &one)
		return nil
	}
	for _, s := range step.Sends {
		one := base
		one.To, one.Template, one.Status = s.To, s.Template, outbox.Waiting
		j.change.Entries = append(j.change.Entries, &one)
	}
	j.change.Entries = append(append(j.change.Entries, long...), pictures...)
	return nil
}

// commit stores the judgement, if there is anything to store.
func (j *judgement) commit() (*passerelle.Link, error) {
	if len(j.change.Entries)+len(j.change.Names) == 0 {
		return j.before, j.looks()
	}
	j.change.Link = j.link
	if err := j.r.Store.Append(j.ctx, j.change); err != nil {
		return nil, err
	}
	told := map[*passerelle.Event]bool{}
	for _, e := range j.change.Entries {
		if !told[e.Event] { // an event may send several messages
			j.r.Metrics.events.WithLabelValues(e.Contract, string(e.Event.From), string(e.Event.Kind), "accepted").Inc()
		}
		told[e.Event] = true
		j.r.accepted(e, j.link)
	}
	return j.link, nil
}

// looks stores the hints of a judgement that changes nothing else.
func (j *judgement) looks() error {
	for _, l := range j.change.Looks {
		if err := j.r.Store.Look(j.ctx, l); err != nil {
			return err
		}
	}
	return nil
}

func (r *Relay) accepted(e *outbox.Entry, l *passerelle.Link) {
	r.Log.Info("accepted", "event", e.ID, "contract", e.Contract, "ticket", l.Names(), "from", e.Event.From, "kind", e.Event.Kind, "to", e.To, "state", e.State, "rule", e.Rule)
}
