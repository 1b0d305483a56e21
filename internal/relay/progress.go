package relay

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"passerelle/outbox"
)

// progress notes what is under way, so that what does not move is seen: a
// running process is not yet one that works.
type progress struct {
	mu    sync.Mutex
	tasks map[*task]bool
	moved map[outbox.Dest]time.Time // when a worker last took or ended something
}

// task is one thing under way.
type task struct {
	what  string
	dest  outbox.Dest
	since time.Time
}

// begin notes that something is under way, until the returned function is called.
func (p *progress) begin(what string, dest outbox.Dest) (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tasks == nil {
		p.tasks, p.moved = map[*task]bool{}, map[outbox.Dest]time.Time{}
	}
	t := &task{what, dest, time.Now()}
	p.tasks[t], p.moved[dest] = true, t.since
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.tasks, t)
		p.moved[dest] = time.Now()
	}
}

// slow lists what has been under way for longer than anything may take.
func (p *progress) slow() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for t := range p.tasks {
		if d := time.Since(t.since); d > longestTask {
			out = append(out, fmt.Sprintf("%s to the %s of %s has been under way for %v", t.what, t.dest.Side, t.dest.Contract, d.Round(time.Second)))
		}
	}
	slices.Sort(out)
	return out
}

// quiet tells for how long no worker has taken or ended anything there.
func (p *progress) quiet(dest outbox.Dest) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.moved[dest])
}

// When something that does not move is said to be stuck. A delivery may take as
// long as the timeouts of its tool's requests, a large file ten minutes.
const (
	longestTask   = 20 * time.Minute
	longestQuiet  = 5 * time.Minute
	longestCommit = 30 * time.Second
)

// Stuck tells what does not move though it should: a disk that takes nothing,
// deliveries and readings that never end, entries and hints that are due and that nobody takes, changes that
// do not reach the disk. Nothing in it means that the gateway works. A
// destination in trouble is no stuck worker: /metrics tells of it.
func (r *Relay) Stuck(ctx context.Context) []string {
	s, err := r.Store.Stats(ctx)
	if err != nil {
		return []string{"the outbox does not answer: " + err.Error()}
	}
	out := r.progress.slow()
	if err := r.Store.Ready(ctx); err != nil {
		out = append(out, "nothing can be stored: "+strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if since := s.Committing; !since.IsZero() && time.Since(since) > longestCommit {
		out = append(out, fmt.Sprintf("a change has been waiting for the disk for %v", time.Since(since).Round(time.Second)))
	}
	if learning, err := r.isLearning(ctx); err == nil && learning {
		return out // nothing is taken before both tools are asked: see Relearning
	}
	out = append(out, r.untaken("an entry to", s.Due, s.Led)...)
	return append(out, r.untaken("a hint from", s.LooksDue, s.Led)...)
}

// untaken lists destinations where something is due and nobody takes it.
func (r *Relay) untaken(what string, due map[outbox.Dest]time.Time, led map[string]bool) []string {
	var out []string
	for _, dest := range slices.SortedFunc(maps.Keys(due), byDest) {
		g := r.gates[dest]
		if g == nil {
			continue // of a contract that is not carried out any more
		}
		if led != nil && !led[dest.Contract] {
			continue // another gateway does it, and would tell
		}
		if _, closed := g.closed(); closed {
			continue
		}
		if time.Since(due[dest]) > longestQuiet && r.progress.quiet(dest) > longestQuiet {
			out = append(out, fmt.Sprintf("%s the %s of %s is due since %v, and no worker takes it", what, dest.Side, dest.Contract, time.Since(due[dest]).Round(time.Second)))
		}
	}
	return out
}

func byDest(a, b outbox.Dest) int {
	return slices.Compare([]string{a.Contract, string(a.Side)}, []string{b.Contract, string(b.Side)})
}
