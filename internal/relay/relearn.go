package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"passerelle"
	"passerelle/mapping"
	"passerelle/outbox"
)

// Relearned is what a gateway found out after its store came from a backup,
// before it sent anything.
type Relearned struct {
	Backup  time.Time `json:"backup"` // when the backup was made
	At      time.Time `json:"at"`     // when it was restored
	Done    time.Time `json:"done,omitzero"`
	Pairs   int       `json:"pairs"`   // to compare with both tools
	Read    int       `json:"read"`    // compared so far
	Adopted int       `json:"adopted"` // pairs that the backup did not know
	States  int       `json:"states"`  // pairs that stand elsewhere by now
	There   int       `json:"there"`   // entries and files that had been carried already
	// Look names what a person should look at, a line each.
	Look []string `json:"look,omitempty"`
}

// relearnedKey is where the report is kept.
const relearnedKey = "relearned"

// accountsKey is where our own accounts at a tool are kept: after a restore what
// they wrote is known by them alone.
func accountsKey(d outbox.Dest) string { return "accounts/" + d.Contract + "/" + string(d.Side) }

// memory is what a relay knows of a restore.
type memory struct {
	mu       sync.Mutex
	read     bool
	mine     bool             // this gateway asks the tools; no other one's report is of interest
	restored *outbox.Restored // nil: the store never was
	report   Relearned
	learning bool // both tools are being asked: nothing is accepted or sent
	accounts map[outbox.Dest]map[string]bool
}

// remember reads whether the store came from a backup, and whether that was
// learned again already: once, or until the gateway that asks the tools has done it.
func (r *Relay) remember(ctx context.Context) error {
	m := &r.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.read && (!m.learning || m.mine) {
		return nil
	}
	err := r.readMemory(ctx, m)
	m.read = err == nil
	return err
}

// readMemory reads what the store knows of a restore. The caller holds the lock.
func (r *Relay) readMemory(ctx context.Context, m *memory) error {
	m.accounts = map[outbox.Dest]map[string]bool{}
	kept, err := r.Store.Kept(ctx, outbox.RestoredKey)
	if err != nil || kept == "" {
		return err
	}
	m.restored = &outbox.Restored{}
	if err := json.Unmarshal([]byte(kept), m.restored); err != nil {
		return err
	}
	if kept, err = r.Store.Kept(ctx, relearnedKey); err != nil {
		return err
	}
	if kept != "" {
		if err := json.Unmarshal([]byte(kept), &m.report); err != nil {
			return err
		}
	}
	for d := range r.Tools {
		var ids []string
		kept, err := r.Store.Kept(ctx, accountsKey(d))
		if err != nil {
			return err
		}
		if kept != "" {
			if err := json.Unmarshal([]byte(kept), &ids); err != nil {
				return err
			}
		}
		m.accounts[d] = map[string]bool{}
		for _, id := range ids {
			m.accounts[d][id] = true
		}
	}
	m.learning = !m.report.At.Equal(m.restored.At) || m.report.Done.IsZero()
	return nil
}

// Relearning tells how far the learning after a restore has come; ok is false
// where the store came from no backup.
func (r *Relay) Relearning(ctx context.Context) (report Relearned, ok bool) {
	if r.remember(ctx) != nil {
		return Relearned{}, false
	}
	m := &r.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	report = m.report
	report.Look = slices.Clone(report.Look)
	return report, m.restored != nil
}

// isLearning tells whether nothing may be accepted or sent yet.
func (r *Relay) isLearning(ctx context.Context) (bool, error) {
	if err := r.remember(ctx); err != nil {
		return false, err
	}
	r.memory.mu.Lock()
	defer r.memory.mu.Unlock()
	return r.memory.learning, nil
}

// ourAccount tells whether a change was made by an account of ours, where the
// store has forgotten what we wrote.
func (r *Relay) ourAccount(d outbox.Dest, account string) bool {
	m := &r.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	return account != "" && m.restored != nil && m.accounts[d][account]
}

// learnAgain compares, after a restore, every pair with what both tools show
// now, until that is done or ctx ends. What was carried after the backup was made
// is recognised in the other tool, and so not sent twice; the pairs stand where
// their tickets do.
func (r *Relay) learnAgain(ctx context.Context) error {
	learning, err := r.isLearning(ctx)
	if err != nil || !learning {
		return err
	}
	ctx, done := context.WithCancel(ctx)
	defer done()
	r.leads(ctx, learnersLead, func(stop, _ context.Context) {
		if err = r.askAgain(stop); err == nil {
			done()
		}
	})
	return err
}

// askAgain asks the tools, unless another gateway has done it, until that is done
// or ctx ends.
func (r *Relay) askAgain(ctx context.Context) error {
	learning, err := r.isLearning(ctx)
	if err != nil || !learning {
		return err
	}
	m := &r.memory
	m.hold(true)
	defer m.hold(false)
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		m.mu.Lock()
		m.report = Relearned{Backup: m.restored.Backup, At: m.restored.At}
		m.mu.Unlock()
		r.Log.Info("restored: both tools are asked what happened since the backup; nothing is accepted or sent until that is done", "backup", m.restored.Backup)
		err := r.learnOnce(ctx)
		if err == nil {
			return nil
		}
		if over(ctx, err) {
			return err
		}
		r.Log.Error("restored: the tools could not all be asked, and nothing is accepted or sent before they are", "class", passerelle.ClassOf(err), "error", err, "again_in", wait)
		if !pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

// learnersLead is what the gateway leads that asks the tools after a restore; no
// contract has that name.
const learnersLead = "after a restore"

// learners is how many pairs are compared at the same time.
const learners = 8

func (r *Relay) learnOnce(ctx context.Context) error {
	pairs, err := r.pairsToLearn(ctx)
	if err != nil {
		return err
	}
	r.told(func(rep *Relearned) { rep.Pairs = len(pairs) })
	work, failed := make(chan string), make(chan error, learners)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for range learners {
		wg.Go(func() {
			for id := range work {
				if err := r.learnPair(ctx, id); err != nil {
					failed <- fmt.Errorf("pair %s: %w", id, err)
					cancel()
					return
				}
				r.told(func(rep *Relearned) {
					if rep.Read++; rep.Read%100 == 0 {
						r.Log.Info("restored: comparing pairs", "read", rep.Read, "of", rep.Pairs)
					}
				})
			}
		})
	}
	for _, l := range pairs {
		select {
		case work <- l:
		case <-ctx.Done():
		}
	}
	close(work)
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return r.learned(ctx)
}

// hold notes whether this gateway is the one that asks.
func (m *memory) hold(yes bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mine = yes
}

// told changes the report.
func (r *Relay) told(change func(*Relearned)) {
	r.memory.mu.Lock()
	defer r.memory.mu.Unlock()
	change(&r.memory.report)
}

// look asks a person, in the report and in the log.
func (r *Relay) askPerson(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	r.told(func(rep *Relearned) { rep.Look = append(rep.Look, line) })
	r.Log.Error("restored: " + line)
}

// learned keeps the report and our accounts, and opens the lanes.
func (r *Relay) learned(ctx context.Context) error {
	m := &r.memory
	for d := range r.Tools {
		m.mu.Lock()
		var ids []string
		for id := range m.accounts[d] {
			ids = append(ids, id)
		}
		m.mu.Unlock()
		slices.Sort(ids)
		b, _ := json.Marshal(ids) // texts always encode
		if err := r.Store.Keep(ctx, accountsKey(d), string(b)); err != nil {
			return err
		}
	}
	report, _ := r.Relearning(ctx)
	report.Done = time.Now()
	b, _ := json.Marshal(report) // plain data always encodes
	if err := r.Store.Keep(ctx, relearnedKey, string(b)); err != nil {
		return err
	}
	m.mu.Lock()
	m.report, m.learning = report, false
	m.mu.Unlock()
	r.Log.Info("restored: what happened since the backup is known again", "pairs", report.Read, "adopted", report.Adopted, "states", report.States, "carried_already", report.There, "to_look_at", len(report.Look), "took", time.Since(report.At))
	return nil
}

// pairsToLearn lists the pairs whose tickets may have changed since the backup:
// all that were open then, and those of the partner's tool that changed, which
// the backup may not know at all.
func (r *Relay) pairsToLearn(ctx context.Context) ([]string, error) {
	var ids []string
	listed := map[string]bool{}
	list := func(id string) {
		if !listed[id] {
			listed[id], ids = true, append(ids, id)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Contracts)) {
		for l, err := range r.Store.OpenLinks(ctx, name) {
			if err != nil {
				return nil, err
			}
			list(l.Contract + "/" + l.ID)
		}
	}
	for d, tool := range r.Tools {
		sweeper, ok := tool.Watch.(passerelle.Sweeper)
		if !ok || d.Side != passerelle.Partner {
			continue
		}
		more, err := r.changedSince(ctx, d, sweeper)
		if err != nil {
			return nil, err
		}
		for _, id := range more {
			list(id)
		}
	}
	return ids, nil
}

// changedSince lists the pairs whose ticket at the partner's changed since the
// last sweep that the backup knows, and adopts those that it does not know. It
// asks about every pair, the closed ones too, a batch at a time as a sweep does.
func (r *Relay) changedSince(ctx context.Context, d outbox.Dest, tool passerelle.Sweeper) ([]string, error) {
	s := r.newSweeper(d, tool)
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	if s.at.Cursor == "" {
		r.askPerson("%s: no sweep of the partner's tool had come to its end before the backup: pairs made since are not found there (look for tickets that name the gateway's numbers after %d)", d.Contract, r.memory.restored.Links)
		return nil, nil
	}
	since := passerelle.Since{Cursor: s.at.Cursor, Others: s.tellsOthers()}
	var ids []string
	ask := func() error {
		more, err := r.changedOf(ctx, d, tool, since)
		ids = append(ids, more...)
		since.Known, since.Others = nil, false
		return err
	}
	none := true
	for l, err := range r.Store.Links(ctx) {
		if err != nil {
			return nil, err
		}
		if l.Contract != d.Contract || l.Partner.Key == "" {
			continue
		}
		none, since.Known = false, append(since.Known, l.Partner)
		if len(since.Known) < s.batch() {
			continue
		}
		if err := ask(); err != nil {
			return nil, err
		}
	}
	if len(since.Known) > 0 || none {
		if err := ask(); none && passerelle.ClassOf(err) == passerelle.Stuck && err != nil { // nothing tells where to look
			r.askPerson("%s: pairs made since the backup cannot be looked for at the partner's: %v", d.Contract, err)
			return nil, nil
		} else if err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// changedOf asks about one batch, and lists the pairs that changed or were adopted.
func (r *Relay) changedOf(ctx context.Context, d outbox.Dest, tool passerelle.Sweeper, since passerelle.Since) ([]string, error) {
	ch, err := tool.Changed(ctx, since)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, key := range ch.Keys {
		link, err := r.Store.Find(ctx, d.Contract, d.Side, key)
		if errors.Is(err, passerelle.ErrNotFound) {
			link, err = r.adopt(ctx, d, tool, key)
		}
		if err != nil {
			return nil, err
		}
		if link != nil {
			ids = append(ids, link.Contract+"/"+link.ID)
		}
	}
	return ids, nil
}

// adopt takes up a partner's ticket that carries our mark and that the backup
// does not know: made for a pair that had no number yet, or for one that it has
// forgotten. Nil where it is not ours, or only a person can tell whose it is.
func (r *Relay) adopt(ctx context.Context, d outbox.Dest, tool passerelle.Sweeper, key string) (*passerelle.Link, error) {
	snap, err := tool.Read(ctx, key)
	if err != nil || snap.Gone || snap.Own == "" {
		return nil, err
	}
	link, err := r.Store.Find(ctx, d.Contract, passerelle.Broker, snap.Own)
	if errors.Is(err, passerelle.ErrNotFound) {
		return r.remake(ctx, d, snap)
	}
	if err != nil {
		return nil, err
	}
	if have := link.Partner.Key; have != "" && have != snap.Ref.Key {
		r.askPerson("%s: %s carries our number %s, which belongs to %s", d.Contract, snap.Ref, snap.Own, link.Names())
		return nil, nil
	}
	link = link.Clone()
	link.Partner = snap.Ref
	return link, r.Store.Append(ctx, &outbox.Change{Link: link})
}

// remake gives a forgotten pair its old number back. What its create held is
// read from the requester's ticket.
func (r *Relay) remake(ctx context.Context, d outbox.Dest, snap *passerelle.Snapshot) (*passerelle.Link, error) {
	c := r.Contracts[d.Contract]
	parts := strings.Split(snap.Of, "/")
	from := outbox.Dest{Contract: d.Contract, Side: passerelle.Requester}
	teller, ok := r.Tools[from].Watch.(passerelle.Teller)
	if len(parts) < 3 || parts[1] != string(passerelle.Create) || !ok || c.Escalation(from.Side) == nil {
		r.askPerson("%s: %s carries our number %s, which the backup does not know, and does not say for which ticket it was made", d.Contract, snap.Ref, snap.Own)
		return nil, nil
	}
	generation, _ := strconv.Atoi(parts[2]) // ours: a number
	events, err := teller.Tell(ctx, parts[0], c.Escalation(from.Side))
	if errors.Is(err, passerelle.ErrNotFound) {
		r.askPerson("%s: %s was made for ticket %s, which is gone from its tool", d.Contract, snap.Ref, parts[0])
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e := events[0]
	if err := c.Interpret(e); err != nil {
		r.askPerson("%s: %s was made for ticket %s, which cannot be read as a create any more: %v", d.Contract, snap.Ref, parts[0], err)
		return nil, nil
	}
	l := r.newLink(c, e)
	l.ID, l.Own, l.Partner, l.Generation = snap.Own, passerelle.Ref{Key: snap.Own}, snap.Ref, generation
	l.State, l.Turn = passerelle.Open, 1
	l.Shown[passerelle.Requester], l.Shown[passerelle.Partner] = 1, 1
	e.Read, e.Names = true, []string{strings.Join(parts[:3], "/")}
	e.Fields["last_update"] = localTime(c, snap.Fields["created"])
	j := &judgement{r: r, c: c, ctx: ctx, before: l, link: l, change: &outbox.Change{Link: l, OwnFormat: c.OwnRef}}
	j.born(e, "")
	if old, err := r.Store.Find(ctx, c.Name, from.Side, parts[0]); err == nil {
		j.change.Follows = old.ID
	} else if !errors.Is(err, passerelle.ErrNotFound) {
		return nil, err
	}
	j.change.Names = []outbox.Name{{Contract: c.Name, Side: from.Side, Name: e.Names[0]}}
	if j.change.Names, err = r.unseenOf(ctx, j.change.Names); err != nil {
		return nil, err
	}
	kept, _ := minimal(c, e, []mapping.Send{{To: d.Side, Template: string(passerelle.Create)}})
	j.change.Entries = []*outbox.Entry{{Schema: outbox.EntrySchema, Contract: c.Name, Terms: c.Version, To: d.Side, Template: string(passerelle.Create), Event: kept,
		State: l.State, Turn: l.Turn, Rule: "R1", Status: outbox.Done, Note: learnedNote}}
	j.change.Entries = append(j.change.Entries, references(c, l, true)...)
	j.change.Looks = nil // it is read right now
	if err := r.Store.Append(ctx, j.change); err != nil {
		return nil, err
	}
	r.told(func(rep *Relearned) { rep.Adopted++ })
	return l, nil
}

// learnedNote is what the story says of what had been carried before the
// restore.
const learnedNote = "learned after a restore: it had been carried already"

// localTime writes a partner's date as the requester's tool does; empty for none.
func localTime(c *mapping.Contract, date string) string {
	at, err := time.Parse(mapping.OffsetTime, date)
	if err != nil {
		return ""
	}
	return at.In(c.Zone).Format(mapping.LocalTime)
}
