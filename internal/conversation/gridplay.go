package conversation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/outbox"
)

// PlayGrid plays the cells of a contract's grid, each with a pair of tickets of
// its own, and tells what each event did, in order. Cells that come by a
// message are played with a partner that keeps an agent and has no webhook, the
// others with its tool alone.
func PlayGrid(ctx context.Context, dir string, cells []*Cell) ([]*Effect, error) {
	acts, err := readActs(dir)
	if err != nil {
		return nil, err
	}
	effects := make([]*Effect, len(cells))
	for _, way := range []string{Message, Tool} {
		p := &player{acts: acts, way: way}
		for i, c := range cells {
			if first, _, _ := strings.Cut(c.How, " "); first == way {
				effects[i] = &Effect{}
				p.pairs = append(p.pairs, &pair{cell: c, effect: effects[i], words: "mots " + strconv.Itoa(i) + " fin"})
			}
		}
		if err := p.run(ctx, dir); err != nil {
			return nil, fmt.Errorf("grid, by %s: %w", way, err)
		}
	}
	return effects, nil
}

// player plays many pairs side by side in one rig: what one ticket goes through
// does not touch the others.
type player struct {
	*rig
	acts  *acts
	way   string
	pairs []*pair
	mark  uint64 // the last entry before the events
}

// pair is the two tickets of one cell.
type pair struct {
	cell   *Cell
	effect *Effect
	ticket string          // the requester's key
	refs   []string        // what stands in a text, and for what: of the youngest link
	links  map[string]bool // ids of its links
	issues map[string]bool // keys of its tickets at the partner's
	words  string          // what this pair's people write
}

func (p *player) run(ctx context.Context, dir string) (err error) {
	if p.rig, err = newRig(ctx, dir, nil); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.rig.close()) }()
	p.tools[passerelle.Requester].Hush() // its messages are said by the grid
	if err := p.freeJira(dir, p.way == Message); err != nil {
		return err
	}
	if err := p.each(p.enter); err != nil {
		return err
	}
	if err := p.reachAll(); err != nil {
		return err
	}
	if p.mark, err = p.last(); err != nil {
		return err
	}
	for _, e := range p.ears {
		e.writes()
	}
	if err := errors.Join(p.each(p.event), p.settle(), p.refer()); err != nil {
		return err
	}
	p.listen()
	return p.judge()
}

// each does something for every pair.
func (p *player) each(do func(*pair) error) error {
	for _, one := range p.pairs {
		if err := do(one); err != nil {
			return fmt.Errorf("grid.csv:%d: %s: %w", one.cell.Line, one.cell.Name(), err)
		}
	}
	return nil
}

// enter has the requester's ticket made, which nobody hears of yet.
func (p *player) enter(one *pair) error {
	answer, err := p.tools[passerelle.Requester].Console(p.ctx, p.acts.text["ticket"])
	one.ticket = answer.Get("objects.@values.0.key").String()
	if err == nil && one.ticket == "" {
		err = fmt.Errorf("iTop makes no ticket: %s", answer.Raw)
	}
	return err
}

// reachAll brings every pair to its state, a step at a time.
func (p *player) reachAll() error {
	for i, more := 0, true; more; i++ {
		if err := p.refer(); err != nil {
			return err
		}
		more = false
		err := p.each(func(one *pair) error {
			steps := p.acts.reach[one.cell.State]
			if i >= len(steps) {
				return nil
			}
			more = true
			return p.step(one, steps[i])
		})
		if err := errors.Join(err, p.settle()); err != nil {
			return err
		}
	}
	return p.each(p.arrived)
}

// step is a way to a state: done in the tool, and said where the tool does not
// say it itself.
func (p *player) step(one *pair, what string) error {
	name, kind, _ := strings.Cut(what, " ")
	side := passerelle.Side(name)
	does, done := p.acts.find(side, "does", kind, "")
	if done {
		if _, err := p.does(one, side, does); err != nil {
			return err
		}
	}
	if side == passerelle.Partner && p.way == Tool {
		return nil // its webhook tells
	}
	says, ok := p.acts.find(side, "says", kind, "")
	if !ok {
		return fmt.Errorf("nobody says how the %s says %q", side, kind)
	}
	_, err := p.says(one, side, says)
	return err
}

func (p *player) arrived(one *pair) error {
	l, err := p.store.Find(p.ctx, p.contract.Name, passerelle.Requester, one.ticket)
	if err == nil && l.State != one.cell.State {
		err = fmt.Errorf("the way to state %s led to %s", one.cell.State, l.State)
	}
	return err
}

// event is what the cell is about.
func (p *player) event(one *pair) error {
	_, variant, _ := strings.Cut(one.cell.How, " ")
	verb, do := "says", p.says
	if p.way == Tool {
		verb, do = "does", p.does
	}
	text, ok := p.acts.find(one.cell.Side, verb, strings.TrimSpace(one.cell.Event+" "+variant), one.cell.State)
	if !ok {
		return fmt.Errorf("acts.txtar does not say how the %s %s it", one.cell.Side, verb)
	}
	told, err := do(one, one.cell.Side, text)
	one.effect.Told = told
	return err
}

func (p *player) says(one *pair, side passerelle.Side, text string) (string, error) {
	return p.post(side, one.full(text))
}

func (p *player) does(one *pair, side passerelle.Side, text string) (string, error) {
	ans, err := p.tools[side].Say(p.ctx, one.full(text))
	return ans.Raw, err
}

// full puts the pair's references and words into a text.
func (one *pair) full(text string) string {
	refs := append([]string{"$TICKET", one.ticket, "$WORDS", one.words}, one.refs...)
	return strings.NewReplacer(refs...).Replace(text)
}

// refer learns the pairs' references.
func (p *player) refer() error {
	byTicket := map[string]*pair{}
	for _, one := range p.pairs {
		byTicket[one.ticket], one.links, one.issues = one, map[string]bool{}, map[string]bool{}
	}
	for l, err := range p.store.Links(p.ctx) {
		if err != nil {
			return err
		}
		if one := byTicket[l.Requester.Key]; one != nil {
			one.links[l.ID], one.issues[l.Partner.Key] = true, true
			one.refs = []string{"$OWN", l.Own.Key, "$ISSUEID", l.Partner.Key, "$ISSUE", l.Partner.Number}
		}
	}
	return nil
}

// last is the number of the newest entry.
func (p *player) last() (id uint64, err error) {
	for e, err := range p.store.Entries(p.ctx, outbox.Query{}) {
		if err != nil {
			return 0, err
		}
		id = e.ID
	}
	return id, nil
}

// writes are what an ear heard since it was last asked, one by one.
func (e *ear) writes() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.list
	e.list = nil
	return list
}

var (
	reIssue = regexp.MustCompile(`/issue/(\d+)`)
	reOwn   = regexp.MustCompile(`"own": "(\d+)"`)
)

// listen gives every pair what was heard of it.
func (p *player) listen() {
	heard := map[*pair]map[passerelle.Side][]string{}
	add := func(side passerelle.Side, write string, mine func(*pair) bool) {
		i := slices.IndexFunc(p.pairs, mine)
		name := p.acts.name(side, write)
		if i < 0 || strings.HasPrefix(name, "(") {
			return
		}
		one := p.pairs[i]
		if name == "note" && strings.Contains(write, one.words) {
			name = "note with " + one.words // a refusal must not repeat what it refuses
		}
		if heard[one] == nil {
			heard[one] = map[passerelle.Side][]string{}
		}
		heard[one][side] = append(heard[one][side], name)
	}
	for _, w := range p.ears[passerelle.Requester].writes() {
		add(passerelle.Requester, w, func(one *pair) bool { return one.ticket == gjson.Get(w, "key").String() })
	}
	for _, w := range p.ears[passerelle.Partner].writes() {
		add(passerelle.Partner, w, func(one *pair) bool { return one.issues[first(reIssue, w)] || one.links[first(reOwn, w)] })
	}
	for one, sides := range heard {
		one.effect.Partner = strings.Join(sides[passerelle.Partner], " ")
		one.effect.Requester = strings.Join(sides[passerelle.Requester], " ")
	}
}

func first(re *regexp.Regexp, s string) string {
	if m := re.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return "-" // no key of anything
}

// judge tells how the events ended: what the gateway stored of them, and what
// it told their senders, must agree.
func (p *player) judge() error {
	stored := map[string]*outbox.Entry{} // the first that is about the event, by link
	parked := map[string]string{}        // why a message is stuck, by link
	for e, err := range p.store.Entries(p.ctx, outbox.Query{After: p.mark}) {
		if err != nil {
			return err
		}
		if e.Status == outbox.Parked {
			parked[e.Link] = e.Error
		}
		if stored[e.Link] == nil && e.Event.From != passerelle.Broker {
			stored[e.Link] = e
		}
	}
	return p.each(func(one *pair) error { return p.verdict(one, stored, parked) })
}

func (p *player) verdict(one *pair, stored map[string]*outbox.Entry, parked map[string]string) error {
	l, err := p.store.Find(p.ctx, p.contract.Name, passerelle.Requester, one.ticket)
	if err != nil {
		return err
	}
	e := one.effect
	e.Then, e.Outcome = l.State, "same"
	told := gjson.Get(e.Told, "code").Int() != 0
	if e.Then != one.cell.State || e.other(one.cell.Side) != "" {
		e.Outcome = "accepted"
	}
	for _, id := range slices.Sorted(maps.Keys(one.links)) {
		entry := stored[id]
		if entry != nil {
			e.Rule = entry.Rule
		}
		if entry != nil && entry.Status == outbox.Refused {
			e.Outcome = "refused"
		}
		if parked[id] != "" {
			e.Outcome += ", but parked"
			e.Told += " parked: " + parked[id]
		}
	}
	if p.way == Message && told != (e.Outcome == "refused") {
		e.Outcome += ", but its sender is told otherwise"
	}
	return nil
}

// other is what the other side heard.
func (e *Effect) other(side passerelle.Side) string {
	if side == passerelle.Partner {
		return e.Requester
	}
	return e.Partner
}
