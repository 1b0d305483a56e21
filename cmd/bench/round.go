package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"passerelle/adapters/jira/jirasim"
)

// point is one measure of a gateway.
type point struct {
	senders, tickets int
	way              *way // to the partner's tool
}

// figures are what a point measured.
type figures struct {
	load               // the posts, and how long they took
	told time.Duration // until all was told
	cpu  time.Duration // of the gateway, an event
	ours time.Duration // of the senders and the tools, an event
	asks float64       // requests to the partner's tool, an event
}

func (f *figures) delivered() float64 { return float64(len(f.posts)) / f.told.Seconds() }

// fitting is a point whose senders post for about b.span: as many tickets as, in
// the same time, the baseline's rate and the gateway's last share of it let expect.
func (b *bench) fitting(senders int, parsed *load) point {
	share := cmp.Or(b.shares[senders], 0.05)
	fit := int(share * parsed.rate() * b.span.Seconds() / float64(b.logs+2))
	return point{senders: senders, tickets: max(fit, senders, 2)}
}

const (
	straightTitle = "A partner that answers at once"
	slowTitle     = "A partner that answers after 25 ms; 16 senders"
	tellingTitle  = "A partner that tells of each change by a webhook; 16 senders"
	failingTitle  = "A partner of whose answers 5 % fail, half of them after the effect; 16 senders"
	slowness      = 25 * time.Millisecond
)

// quick has what failed tried again soon, as a measure cannot wait long.
var quick = map[string]any{"retry": map[string]string{"first": "100ms", "max": "300ms", "age": "24h"}}

// loadRound runs every measure of the load and of the store once.
func (b *bench) loadRound(ctx context.Context, t *table, base *noop) (err error) {
	h, err := openHouse(ctx, b.contract, b.dir, quick)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	var plain *figures // at 16 senders
	var parsed *load
	for _, senders := range []int{1, 16, 64} {
		l, f, err := b.straight(ctx, t, h, base, senders)
		if err != nil {
			return fmt.Errorf("%d senders: %w", senders, err)
		}
		if senders == 16 {
			plain, parsed = f, l
		}
	}
	p := b.fitting(16, parsed)
	p.tickets = max(p.tickets/2, inFlight)
	p.way = slow(slowness)
	f, err := b.measure(ctx, h, p)
	if err != nil {
		return fmt.Errorf("a slow partner: %w", err)
	}
	limit := inFlight / slowness.Seconds()
	t.add(slowTitle, fmt.Sprintf("delivered / (%d in flight / 25 ms)", inFlight), atLeast(0.95), f.delivered()/limit)
	t.add(slowTitle, "requests to the partner, an event", nil, f.asks)
	t.add(slowTitle, "requests delivered / (in flight / 25 ms)", nil, f.delivered()*f.asks/limit)
	t.add(slowTitle, "accepted / no-op", nil, f.rate()/parsed.rate())
	p.way = failing(0.05, 1)
	if f, err = b.measure(ctx, h, p); err != nil {
		return fmt.Errorf("a partner that fails: %w", err)
	}
	t.add(failingTitle, "accepted / accepted without errors", nil, f.rate()/plain.rate())
	t.add(failingTitle, "delivered / delivered without errors", nil, f.delivered()/plain.delivered())
	t.add(failingTitle, "requests to the partner, an event", nil, f.asks)
	p.way = nil
	if err := h.jira.Point(h.hook, token); err != nil {
		return err
	}
	f, err = b.measure(ctx, h, p)
	h.jira.Hush()
	if err != nil {
		return fmt.Errorf("a partner that tells: %w", err)
	}
	t.add(tellingTitle, "accepted / accepted without webhooks", nil, f.rate()/plain.rate())
	t.add(tellingTitle, "delivered / delivered without webhooks", nil, f.delivered()/plain.delivered())
	t.add(tellingTitle, "requests to the partner, an event", nil, f.asks)
	t.add(tellingTitle, "processor time an event / without webhooks", nil, float64(f.cpu)/float64(plain.cpu))
	return b.storeRound(ctx, t)
}

// straight measures the baseline and the gateway, one right after the other.
func (b *bench) straight(ctx context.Context, t *table, h *house, base *noop, senders int) (*load, *figures, error) {
	l, parse, err := b.measureNoop(ctx, base, senders)
	if err != nil {
		return nil, nil, fmt.Errorf("no-op: %w", err)
	}
	sync, err := b.rawSync()
	if err != nil {
		return nil, nil, err
	}
	f, err := b.measure(ctx, h, b.fitting(senders, l))
	if err != nil {
		return nil, nil, err
	}
	b.shares[senders] = f.rate() / l.rate()
	note := func(name string, g *goal, v float64) {
		t.add(straightTitle, count(senders, "sender")+": "+name, g, v)
	}
	var share, dear *goal
	if senders == 64 {
		share, dear = atLeast(0.45), atMost(4)
	}
	note("no-op + parse, messages/s", nil, l.rate())
	note("accepted, events/s", nil, f.rate())
	note("accepted / no-op", share, f.rate()/l.rate())
	note("delivered, events/s", nil, f.delivered())
	note("delivered / accepted", atLeast(0.95), f.delivered()/f.rate())
	note("accept p50, ms", nil, f.at(0.5))
	note("accept p99 / no-op p99", atMost(4), f.at(0.99)/l.at(0.99))
	if senders == 1 {
		note("accept p50 / (2 fdatasyncs + no-op p50)", atMost(1), f.at(0.5)/(2000*sync.Seconds()+l.at(0.5)))
	}
	note("processor time an event, ms", nil, f.cpu.Seconds()*1000)
	note("… of the senders and the simulated tools, ms", nil, f.ours.Seconds()*1000)
	note("processor time an event / no-op", dear, float64(f.cpu)/float64(parse))
	return l, f, nil
}

// measure has senders write on fresh tickets, create and journal, until all has
// been told; then the partner's people resolve, which is not measured, and the
// requester's close. At the end the partner's tool must hold all of it, once and
// in order.
func (b *bench) measure(ctx context.Context, h *house, p point) (*figures, error) {
	first := h.tickets + 1
	if err := h.enter(ctx, b.say, p.tickets); err != nil {
		return nil, err
	}
	if err := b.warm(ctx, h.face, p.senders); err != nil {
		return nil, err
	}
	before := len(h.jira.Jira.Writes())
	f := &figures{}
	if err := b.stage(ctx, h, p, f, first, 0, b.logs); err != nil {
		return nil, err
	}
	if err := h.resolve(ctx, b.say, h.jira.Jira.Writes()[before:]); err != nil {
		return nil, fmt.Errorf("resolving: %w", err)
	}
	if err := b.stage(ctx, h, p, f, first, b.logs+1, b.logs+1); err != nil {
		return nil, err
	}
	f.cpu /= time.Duration(len(f.posts))
	f.ours /= time.Duration(len(f.posts))
	f.asks /= float64(len(f.posts))
	return f, check(h.jira.Jira.Writes()[before:], h.jira.Agent.User, first, p.tickets, b.logs+2)
}

// stage sends the messages from one number to another on each ticket, and adds
// what it measured.
func (b *bench) stage(ctx context.Context, h *house, p point, f *figures, first, from, to int) error {
	h.way.Store(p.way)
	defer h.way.Store(nil)
	asked := h.asked.Load()
	before, errA := usageOf(h.cmd.Process.Pid)
	oursBefore, errB := usageOf(os.Getpid())
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	l, err := b.send(ctx, h.face, p.senders, upTo(p.tickets), func(s *sender, ticket int) error {
		for i := from; i <= to; i++ {
			if err := s.post(b.said(first+ticket-1, i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var after usage
	for last := int64(-1); h.answered.Load() != last; { // asking what is left is no part of what an event costs
		last = h.hush()
		after, errA = usageOf(h.cmd.Process.Pid)
		if err := h.idle(ctx, 5*time.Minute); err != nil {
			return err
		}
	}
	oursAfter, errB := usageOf(os.Getpid())
	f.posts = append(f.posts, l.posts...)
	f.took += l.took
	f.told += max(l.took, time.Unix(0, h.written.Load()).Sub(l.start))
	f.cpu += after.cpu - before.cpu
	f.ours += oursAfter.cpu - oursBefore.cpu
	f.asks += float64(h.asked.Load() - asked)
	return errors.Join(errA, errB)
}

// enter has the requester's agent enter tickets, and give them to the partner's
// team. His tool pushes nothing: what it would push, the senders post.
func (h *house) enter(ctx context.Context, say messages, n int) error {
	first := h.tickets + 1
	h.tickets += n
	err := inPairs(n, func(int) error { _, err := h.itop.Console(ctx, say.ticket); return err })
	if err != nil {
		return err
	}
	return inPairs(n, func(i int) error {
		_, err := h.itop.Console(ctx, strings.ReplaceAll(say.escalate, "$ID", fmt.Sprint(first+i)))
		return err
	})
}

// resolve has the partner's agent resolve all issues that were made, his tool
// push that, and the requester's tool hear it.
func (h *house) resolve(ctx context.Context, say messages, writes []jirasim.Write) error {
	var issues []string
	for _, w := range writes {
		if w.Kind == "issue" {
			issues = append(issues, w.Issue)
		}
	}
	if err := h.jira.Point(h.hook, token); err != nil {
		return err
	}
	defer h.jira.Hush()
	sent := len(h.jira.Jira.Sent())
	err := inPairs(len(issues), func(i int) error {
		_, err := h.jira.Say(ctx, strings.ReplaceAll(say.resolve, "$ISSUE", issues[i]))
		return err
	})
	if err != nil {
		return err
	}
	for end := time.Now().Add(time.Minute); len(h.jira.Jira.Sent()) < sent+len(issues); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return errors.New("the partner's tool does not push what it should")
		}
	}
	return h.idle(ctx, 5*time.Minute)
}

// inPairs does something for each number below n, two at a time.
func inPairs(n int, do func(i int) error) error {
	var errs [2]error
	var wg sync.WaitGroup
	for k := range errs {
		wg.Go(func() {
			for i := k; i < n && errs[k] == nil; i += len(errs) {
				errs[k] = do(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}
