package relay

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"

	"passerelle"
	"passerelle/mapping"
	"passerelle/outbox"
)

// worker delivers to one destination, one message at a time, until ctx ends.
func (r *Relay) worker(ctx, term context.Context, dest outbox.Dest) {
	g := r.gates[dest]
	for {
		if !g.enter(ctx) {
			return
		}
		e, err := r.Store.Next(ctx, dest)
		if err != nil {
			g.idle()
			if over(ctx, err) {
				return
			}
			r.Log.Error("outbox: cannot lend", "contract", dest.Contract, "side", dest.Side, "error", err)
			if !pause(ctx, time.Second) {
				return
			}
			continue
		}
		// What was lent is finished even when ctx ends: a graceful stop loses
		// nothing and leaves no outcome unknown.
		r.carry(ctx, term, dest, e)
	}
}

// carry brings one loan to its end, even when stop ends; not when the term does.
func (r *Relay) carry(stop, ctx context.Context, dest outbox.Dest, e *outbox.Entry) {
	defer r.progress.begin("entry "+strconv.FormatUint(e.ID, 10), dest)()
	defer r.locks.lock(lockKey(dest, e.Link))()
	if l, err := r.Store.Find(ctx, e.Contract, passerelle.Broker, e.Link); err == nil { // the delivery tells of an error
		key := ticketKey(dest, l)
		defer r.locks.lock(key)()
	}
	d := &delivery{r: r, ctx: ctx, dest: dest, e: e, tool: r.Tools[dest]}
	var o outbox.Outcome
	if _, closed := r.gates[dest].closed(); closed { // it fell while we waited for work
		r.gates[dest].idle()
		o = outbox.Outcome{To: outbox.Waiting, Probe: e.Probe}
	} else {
		o = d.safely()
	}
	persist(stop, func() error { return r.Store.Settle(context.WithoutCancel(ctx), e, o) }, func(err error) {
		r.cannot("settle", err, "event", e.ID, "contract", e.Contract)
	})
	level := r.Log.Info
	switch o.To {
	case outbox.Parked:
		level = r.Log.Error
	case outbox.Waiting, outbox.Dropped:
		level = r.Log.Warn
	}
	level("delivery "+string(o.To), "event", e.ID, "contract", e.Contract, "ticket", d.ticket(), "to", e.To, "template", e.Template, "class", o.Class, "note", o.Note, "error", loggable(o, e.ID))
}

// loggable is what the log may say of an error. What a tool answers about a
// message may quote its texts and names: that is for the operator who asks.
func loggable(o outbox.Outcome, id uint64) string {
	if o.Class == passerelle.Stuck || o.Class == passerelle.Refused {
		return fmt.Sprintf("see gateway outbox show %d", id)
	}
	return o.Error
}

// delivery is one loan on its way.
type delivery struct {
	r    *Relay
	ctx  context.Context
	dest outbox.Dest
	e    *outbox.Entry
	tool Tool
	link *passerelle.Link
	o    outbox.Outcome
}

func (d *delivery) ticket() string {
	if d.link == nil {
		return d.e.Link
	}
	return d.link.Names()
}

// safely runs the delivery. A mistake of ours that panics must not take the
// whole gateway down, again at each restart: the entry is parked in sight.
func (d *delivery) safely() (o outbox.Outcome) {
	defer func() {
		if p := recover(); p != nil {
			d.r.Log.Error("a mistake of the gateway's", "event", d.e.ID, "contract", d.e.Contract, "panic", p, "stack", string(debug.Stack()))
			o = d.failed(&passerelle.Error{Op: "deliver", Class: passerelle.Stuck, Ticket: d.ticket(), Err: fmt.Errorf("a mistake of the gateway's: %v", p),
				Hint: "report it with the log; look at the ticket before you retry, for the message may have taken effect"})
		}
	}()
	return d.run()
}

// run delivers the parts that are not delivered yet, and says how it ended.
func (d *delivery) run() outbox.Outcome {
	c, err := d.r.contract(d.e.Contract)
	if err == nil {
		d.link, err = d.r.Store.Find(d.ctx, d.e.Contract, passerelle.Broker, d.e.Link)
	}
	if err != nil {
		return d.failed(err)
	}
	if d.e.To == passerelle.Partner && d.link.Partner.Key == "" && d.e.Event.Kind != passerelle.Create {
		return d.failed(d.numberless())
	}
	if d.overtaken() != "" {
		return d.supersede()
	}
	messages, errs := c.Render(sendOf(d.e), d.e.Event, d.link, d.e.State, messageID(d.e))
	for i := d.e.Parts; i < len(messages); i++ {
		m, err := messages[i], errs[i]
		if err != nil {
			m, err = d.instead(c, err, i)
		}
		if err == nil {
			m.Of, m.Restored = factOf(d.e, i), d.e.Restored
			err = d.part(m, i)
		}
		if errors.Is(err, errOvertaken) {
			return d.supersede()
		}
		if err != nil {
			return d.failed(err)
		}
		if i+1 < len(messages) {
			if err := d.r.Store.Sent(d.ctx, d.e, i+1, d.o.Names); err != nil { // delivered, but not noted
				return d.failed(passerelle.Errorf(passerelle.Unsure, "outbox", "%w", err))
			}
			d.o.Names = nil
		}
	}
	return d.done(c)
}

// overtaken tells why a message that changes a state is not to be sent any more;
// empty if it is.
func (d *delivery) overtaken() string {
	moves, create := d.r.moves(d.e), d.e.Template == string(passerelle.Create)
	out := d.link.State == passerelle.Left || d.link.State == passerelle.New
	switch {
	case moves && d.e.Turn < d.link.Shown[d.e.To]: // R34
		return "its receiver has made a newer change of state"
	case (moves || create) && out && d.e.Turn < d.link.Turn: // R32
		return "the pair was taken out of the interface"
	}
	return ""
}

// supersede ends an entry that is not to be sent any more.
func (d *delivery) supersede() outbox.Outcome {
	d.r.gates[d.dest].idle()
	return outbox.Outcome{To: outbox.Superseded, Note: d.overtaken(), Names: d.o.Names, Follow: d.r.givenUp(d.ctx, d.e, d.link)}
}

// sendOf is what an entry sends, and to whom.
func sendOf(e *outbox.Entry) mapping.Send {
	return mapping.Send{To: e.To, Template: e.Template}
}

// numberless says why a message for the partner cannot go yet: its number has
// not come back (R5, R28), or never will.
func (d *delivery) numberless() error {
	for e, err := range d.r.Store.Entries(d.ctx, outbox.Query{Link: d.e.Link, Bare: true}) {
		if err != nil {
			return err
		}
		if e.Template == string(passerelle.Create) && e.Status == outbox.Done {
			return passerelle.Errorf(passerelle.Temporary, "deliver", "%s: the partner's number has not come back yet", d.link.Names())
		}
	}
	return &passerelle.Error{Op: "deliver", Class: passerelle.Stuck, Ticket: d.link.Names(), Err: errors.New("the partner's ticket was never made"), Hint: "its create was dropped: drop this one too, then end the pair (gateway ticket end) and have it escalated again"}
}

// messageID is the mark that a tool can keep: the same at each try.
func messageID(e *outbox.Entry) string {
	return e.Contract + "/" + e.Link + "/" + strconv.FormatUint(e.ID, 10)
}

// factOf names the fact that a message tells, and which of its messages it is:
// the same after a restore, when the entry has another id. Empty where the fact
// has no name.
func factOf(e *outbox.Entry, i int) string {
	name := e.Event.Alias
	if len(e.Event.Names) > 0 {
		name = e.Event.Names[0]
	}
	if name == "" {
		return ""
	}
	return name + "/" + e.Template + "/" + strconv.Itoa(i)
}

// instead is what is sent in place of a file that cannot travel: a visible
// note on the ticket that it could not reach (R24). Other errors stay.
func (d *delivery) instead(c *mapping.Contract, err error, i int) (*passerelle.Message, error) {
	var big *mapping.TooBig
	if !errors.As(err, &big) {
		return nil, err
	}
	e := &passerelle.Event{Contract: c.Name, From: passerelle.Broker, Kind: passerelle.Note, Fields: map[string]string{"private_log": paragraphs(
		fmt.Sprintf("Passerelle : la pièce jointe « %s » (%d octets) n'a pas pu être transmise : le message ferait %d octets, la limite est de %d.", big.File.Name, big.File.Size, big.Size, big.Limit),
		"Gateway: this attachment was not transmitted: "+big.Error()+".")}}
	ms, errs := c.Render(mapping.Send{To: d.e.To, Template: mapping.NoteTemplate}, e, d.link, d.e.State, messageID(d.e)+"/"+strconv.Itoa(i+1))
	return ms[0], errs[0]
}

// part delivers one message, once: where an earlier try's outcome is unknown,
// the tool is asked first.
func (d *delivery) part(m *passerelle.Message, i int) error {
	if d.e.Probe && i == d.e.Parts {
		found, err := d.probe(m)
		if err == nil && !found {
			err = d.stillWanted()
		}
		if err != nil || found {
			return err
		}
	}
	start := time.Now()
	receipt, err := d.tool.Out.Deliver(d.ctx, m, d.r.Store.Files())
	d.r.Metrics.seconds.WithLabelValues(d.dest.Contract, string(d.dest.Side)).Observe(time.Since(start).Seconds())
	class := passerelle.Class("done")
	if err != nil {
		class = passerelle.ClassOf(err)
	}
	d.r.Metrics.deliveries.WithLabelValues(d.dest.Contract, string(d.dest.Side), string(m.Kind), string(class)).Inc()
	if err != nil {
		return err
	}
	d.take(receipt)
	return nil
}

// errOvertaken ends a delivery whose message is not to be sent any more.
var errOvertaken = errors.New("overtaken")

// stillWanted is asked before a change of state is sent again that is not there:
// it may have taken effect, and the people there may have changed the state once
// more, which is on its way to us (R34).
func (d *delivery) stillWanted() error {
	if !d.r.moves(d.e) {
		return nil
	}
	time.Sleep(min(d.r.Backoff.First, 2*time.Second))
	link, err := d.r.Store.Find(d.ctx, d.e.Contract, passerelle.Broker, d.e.Link)
	if err != nil {
		return err
	}
	if d.link = link; d.overtaken() != "" {
		return errOvertaken
	}
	return nil
}

// probe tells whether an earlier try took effect.
func (d *delivery) probe(m *passerelle.Message) (bool, error) {
	receipt, err := d.tool.Out.Probe(d.ctx, m, d.r.Store.Files())
	if errors.Is(err, passerelle.ErrAbsent) {
		return false, nil
	}
	if errors.Is(err, passerelle.ErrUnknown) {
		return false, &passerelle.Error{Op: "probe", Class: passerelle.Stuck, Ticket: d.link.Names(), Err: fmt.Errorf("%w: an earlier try may have taken effect (%s)", passerelle.ErrUnknown, d.e.Error), Hint: "look at the ticket; drop the entry if it is there, retry it if not"}
	}
	if err != nil {
		return false, err
	}
	if len(receipt.Either) > 0 {
		name, err := d.firstUnseen(receipt.Either)
		if err != nil || name == "" {
			return false, err // all of them are accounted for: ours is absent
		}
		receipt.Names = append(receipt.Names, name)
	}
	d.take(receipt)
	return true, nil
}

func (d *delivery) firstUnseen(names []string) (string, error) {
	seen, err := d.r.Store.Seen(d.ctx, d.scoped(names)...)
	if err != nil {
		return "", err
	}
	for _, n := range names {
		if !seen[n] {
			return n, nil
		}
	}
	return "", nil
}

func (d *delivery) scoped(names []string) []outbox.Name {
	var out []outbox.Name
	for _, n := range names {
		out = append(out, outbox.Name{Contract: d.dest.Contract, Side: d.dest.Side, Name: n})
	}
	return out
}

func (d *delivery) take(receipt *passerelle.Receipt) {
	d.r.gates[d.dest].up()
	d.o.Names = append(d.o.Names, d.scoped(receipt.Names)...)
	if receipt.Ref.Key != "" {
		d.o.Ref = receipt.Ref
	}
	if receipt.Note != "" {
		d.o.Note = receipt.Note
	}
}

// done is a complete delivery; a create's brings the partner's number back
// (R5), in the same commit.
func (d *delivery) done(c *mapping.Contract) outbox.Outcome {
	d.r.gates[d.dest].up()
	d.r.suspects.Delete(d.e.ID)
	d.o.To = outbox.Done
	if d.e.Template == string(passerelle.Create) || d.r.moves(d.e) {
		d.o.Shown = d.e.Turn // R34
	}
	if d.o.Ref.Key != "" && d.e.Event.Kind == passerelle.Create {
		d.o.Looks = append(d.o.Looks, outbox.Look{Contract: d.dest.Contract, Side: d.dest.Side, Key: d.o.Ref.Key})
		d.o.Follow = append(d.o.Follow, references(c, d.link, d.e.Restored)...)
	}
	d.o.Follow = append(d.o.Follow, d.caughtUp(c)...)
	d.lookAgain()
	return d.o
}

// lookAgain has a ticket read once more seconds after we wrote in its journal,
// where the tool may lose an entry that is written at the same moment as another:
// its own answer shows the entry even when it is lost.
func (d *delivery) lookAgain() {
	forgets, known := d.r.forgets.Load(d.dest)
	key := d.link.Ref(d.dest.Side).Key
	if !known || !forgets.(bool) || key == "" || len(d.o.Names) == 0 || len(d.e.Event.Files) > 0 {
		return
	}
	d.o.Looks = append(d.o.Looks, outbox.Look{Contract: d.dest.Contract, Side: d.dest.Side, Key: key, Before: time.Now().Add(d.r.Again)})
}

// references are the entries that bring the partner's number back (R5); after a
// restore they may have done so already.
func references(c *mapping.Contract, l *passerelle.Link, restored bool) []*outbox.Entry {
	e := &passerelle.Event{Contract: c.Name, From: passerelle.Broker, Kind: passerelle.Reference, At: time.Now(), Fields: map[string]string{}}
	step, err := c.Admit(e, l)
	if err != nil { // the contract has no row for it: nothing to send
		return nil
	}
	var out []*outbox.Entry
	for _, s := range step.Sends {
		out = append(out, &outbox.Entry{Schema: outbox.EntrySchema, Link: l.ID, Contract: c.Name, Terms: c.Version, To: s.To, Template: s.Template, Event: e,
			State: l.State, Turn: l.Turn, Rule: step.Rule, Status: outbox.Waiting, Probe: restored, Restored: restored})
	}
	return out
}

// failed decides what an error means for the entry: by its class, who is to
// blame.
func (d *delivery) failed(err error) outbox.Outcome {
	o := outbox.Outcome{To: outbox.Waiting, Class: passerelle.ClassOf(err), Error: d.discreet(err.Error()), Names: d.o.Names, Probe: d.e.Probe}
	var pe *passerelle.Error
	var after time.Duration
	if errors.As(err, &pe) {
		after, o.Probe = pe.After, o.Probe || pe.Perhaps
	}
	if o.Class == passerelle.Down && after == 0 && d.suspect() { // who says when to come back is not brought down by a message
		return d.again(o, after)
	}
	switch o.Class {
	case passerelle.Down, passerelle.Denied:
		// It is the gate that holds the entry. It steps back a little itself, so
		// that the next to test the water is another one, should it be to blame.
		until := d.r.gates[d.dest].down(o.Class, after)
		if o.Class == passerelle.Denied {
			d.r.Log.Error("the destination refuses our account: all traffic there is stopped", "contract", d.dest.Contract, "side", d.dest.Side, "until", until)
		}
		o.Before = time.Now().Add(min(time.Until(until), gateMax) + d.r.Trouble.First)
		return o
	case passerelle.Stuck, passerelle.Refused:
		d.r.gates[d.dest].up()
		if errors.Is(err, passerelle.ErrUnknown) {
			o.Probe = false // a person looks instead: a retry sends
		} else if d.mayBeOvertaken() {
			o.Looks = append(o.Looks, outbox.Look{Contract: d.dest.Contract, Side: d.dest.Side, Key: d.link.Ref(d.dest.Side).Key})
			return d.again(o, after)
		}
		return d.park(o)
	case passerelle.Unsure:
		o.Probe = true
	}
	return d.again(o, after)
}

// mayBeOvertaken tells of a change of state that its tool refuses for the first
// time: its people may just have made one of theirs, which we have not heard of
// yet. The ticket is read, and then the message tried once more (R34).
func (d *delivery) mayBeOvertaken() bool {
	refused := d.e.Class == passerelle.Stuck || d.e.Class == passerelle.Refused
	return !refused && d.tool.Watch != nil && d.link != nil && d.link.Ref(d.dest.Side).Key != "" && d.r.moves(d.e)
}

// suspect tells whether it is the message that brings the destination down: the
// destination took others since it last failed over this one.
func (d *delivery) suspect() bool {
	last, known := d.r.suspects.Swap(d.e.ID, time.Now())
	return known && d.r.gates[d.dest].wellSince(last.(time.Time))
}

// again charges an attempt and puts the entry off, until it is too old.
func (d *delivery) again(o outbox.Outcome, after time.Duration) outbox.Outcome {
	d.r.gates[d.dest].idle()
	o.Charge = true
	if !d.e.Tried.IsZero() && d.r.Backoff.TooOld(d.e.Tried, time.Now()) {
		return d.park(o)
	}
	o.Before = time.Now().Add(max(after, d.r.Backoff.Delay(d.e.Attempts)))
	return o
}

// park closes the lane until a person decides. A create that is parked leaves
// a visible note on the requester's ticket (R28).
func (d *delivery) park(o outbox.Outcome) outbox.Outcome {
	if d.e.Event.Kind == passerelle.Note || d.e.Template == mapping.NotifyTemplate {
		// A note is for people's comfort: one that cannot be written is told to
		// the operators, and holds nothing up.
		o.To, o.Note = outbox.Dropped, "the note could not be written"
		return o
	}
	o.To = outbox.Parked
	d.r.suspects.Delete(d.e.ID)
	if d.link == nil || d.e.Event.Kind != passerelle.Create || len(d.e.Decisions) > 0 {
		return o
	}
	c := d.r.Contracts[d.e.Contract]
	text := paragraphs("Passerelle : ce ticket n'a pas encore pu être transmis au partenaire. L'exploitant de la passerelle est prévenu ; rien n'est perdu.",
		"Gateway: this ticket could not be transmitted yet. The operator of the gateway has been told; nothing is lost.")
	if note := d.r.note(c, d.link, passerelle.Requester, text); note != nil {
		note.Rule, note.Link = "R28", d.link.ID
		o.Follow = append(o.Follow, note)
	}
	return o
}
