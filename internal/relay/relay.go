// Package relay carries events across: it judges what a tool says against the
// contract, stores it, and delivers it in the other tool's words, in order and
// once.
//
// It keeps nothing but what the outbox keeps. What can go wrong: an event that
// the contract does not allow is refused to its sender's face and noted on its
// ticket; a message that cannot be delivered waits, or is parked in sight of
// the operators, and only its own lane waits with it.
package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"passerelle"
	"passerelle/mapping"
	"passerelle/outbox"
)

// Tool is one side of one contract: what speaks to it.
type Tool struct {
	Out     passerelle.Outbound
	Watch   passerelle.Watcher // nil where the tool cannot be read (a partner's own agent)
	Workers int                // messages in flight at most; default 8
	// ReadFirst has a pushed journal entry carried only once its ticket was read: an
	// earlier one, whose push was lost, then goes before it.
	ReadFirst bool
}

// Config is what a Relay works with. All but Log, Metrics and Backoff is
// needed.
type Config struct {
	Store     outbox.Store
	Contracts map[string]*mapping.Contract // by name
	Tools     map[outbox.Dest]Tool
	Backoff   outbox.Backoff // default 2 s doubling to 10 min, parked after 24 h
	Trouble   Trouble        // default 100 ms, 10 s
	Sweep     Sweep          // default none: what a tool does not tell stays unknown
	Retention Retention      // default none: words are kept for good
	// Again is how long after one of our journal entries a tool that may lose it is
	// read again; default 5 s.
	Again time.Duration
	// Calm is how long the reading of a ticket is put off that we are writing to:
	// its tool tells of each of our own writes, and one reading answers them all;
	// default none.
	Calm    time.Duration
	Log     *slog.Logger // default none
	Metrics *Metrics     // default uncollected
}

// Relay is a passerelle.Desk for the faces, and the workers behind it.
type Relay struct {
	Config
	locks keyed
	// suspects holds, by entry, when a destination last failed over it.
	suspects sync.Map
	// forgets holds, by destination, whether its tool may lose a journal entry.
	forgets sync.Map
	// stands holds when tickets were first found where the pair does not stand.
	stands   sync.Map
	memory   memory // of a restore
	gates    map[outbox.Dest]*gate
	progress progress
}

// New returns a Relay. Run starts its workers; Accept works before that.
func New(cfg Config) *Relay {
	if cfg.Backoff == (outbox.Backoff{}) {
		cfg.Backoff = outbox.Backoff{First: 2 * time.Second, Max: 10 * time.Minute, Age: 24 * time.Hour}
	}
	if cfg.Trouble == (Trouble{}) {
		cfg.Trouble = Trouble{First: 100 * time.Millisecond, Slip: 10 * time.Second}
	}
	if cfg.Again == 0 {
		cfg.Again = 5 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics()
	}
	r := &Relay{Config: cfg, gates: map[outbox.Dest]*gate{}}
	for d := range cfg.Tools {
		r.gates[d] = newGate(cfg.Trouble)
	}
	return r
}

// Run delivers and reads until ctx ends, then finishes what is in flight. Where
// several gateways share the store, it does so for the contracts that this one
// leads.
func (r *Relay) Run(ctx context.Context) error {
	if err := r.learnAgain(ctx); err != nil {
		if over(ctx, err) {
			return nil
		}
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() { r.leads(ctx, "retention", func(stop, _ context.Context) { r.retire(stop) }) })
	for name, c := range r.Contracts {
		wg.Go(func() { r.leads(ctx, name, func(stop, term context.Context) { r.work(stop, term, c) }) })
	}
	wg.Wait()
	return nil
}

// leads does some work for a contract whenever this gateway leads it, until ctx
// ends. The work is told to stop when ctx or the term ends; what it has begun by
// then it may finish under the term.
func (r *Relay) leads(ctx context.Context, contract string, work func(stop, term context.Context)) {
	for {
		term, resign, err := r.Store.Lead(ctx, contract)
		if err != nil {
			if over(ctx, err) {
				return
			}
			r.Log.Error("outbox: cannot lead", "contract", contract, "error", err)
			if !pause(ctx, time.Second) {
				return
			}
			continue
		}
		r.Log.Info("this gateway leads now", "of", contract)
		stop, cancel := context.WithCancel(ctx)
		watch := context.AfterFunc(term, cancel)
		work(stop, term)
		watch()
		cancel()
		resign()
		if ctx.Err() != nil {
			return
		}
		r.Log.Warn("this gateway leads no more: its lease is over, and another one may begin", "of", contract)
	}
}

// work does all that is to be done for a contract, until stop ends.
func (r *Relay) work(stop, term context.Context, c *mapping.Contract) {
	var wg sync.WaitGroup
	for dest, tool := range r.Tools {
		if dest.Contract != c.Name {
			continue
		}
		n := tool.Workers
		if n <= 0 {
			n = 8
		}
		for range n {
			wg.Go(func() { r.worker(stop, term, dest) })
		}
		for range readers {
			wg.Go(func() { r.reader(stop, term, dest) })
		}
		if sweeper, ok := tool.Watch.(passerelle.Sweeper); ok && r.Sweep.Every > 0 {
			wg.Go(func() { r.sweeps(stop, dest, sweeper) })
		}
	}
	wg.Go(func() { r.overdue(stop, c) })
	wg.Wait()
}

// readers is how many tickets of one tool are read again at the same time: a
// tool that hangs holds up the reading of its own tickets only.
const readers = 4

// Find returns the link of a ticket, for the faces.
func (r *Relay) Find(ctx context.Context, contract string, side passerelle.Side, key string) (*passerelle.Link, error) {
	return r.Store.Find(ctx, contract, side, key)
}

// Look commits a hint that a ticket changed.
func (r *Relay) Look(ctx context.Context, contract string, side passerelle.Side, key string) error {
	r.Metrics.hints.WithLabelValues(contract, string(side)).Inc()
	l := outbox.Look{Contract: contract, Side: side, Key: key}
	if r.Calm > 0 && r.writing(ctx, contract, side, key) {
		l.Before = time.Now().Add(r.Calm)
	}
	return r.Store.Look(ctx, l)
}

// writing tells whether something is on its way to a ticket. Where that cannot be
// read it is not known to be.
func (r *Relay) writing(ctx context.Context, contract string, side passerelle.Side, key string) bool {
	link, err := r.Store.Find(ctx, contract, side, key)
	if err != nil {
		return false
	}
	for _, err := range r.Store.Entries(ctx, outbox.Query{Link: link.ID, To: side, Status: []outbox.Status{outbox.Waiting, outbox.Lent}, Limit: 1, Bare: true}) {
		return err == nil
	}
	return false
}

// Put, Release and Open are the spool beside the store.
func (r *Relay) Put(ctx context.Context, rd io.Reader) (passerelle.File, error) {
	return r.Store.Files().Put(ctx, rd)
}

// Release ends what Put began.
func (r *Relay) Release(files ...passerelle.File) { r.Store.Files().Release(files...) }

// Open reads a file's bytes.
func (r *Relay) Open(sum string) (io.ReadCloser, error) { return r.Store.Files().Open(sum) }

// Terms is the present version of a contract, "" if there is none.
func (r *Relay) Terms(contract string) string {
	if c := r.Contracts[contract]; c != nil {
		return c.Version
	}
	return ""
}

// Decided is told of an entry that a person has retried or dropped: its
// destination is tried at once, and a sender who was told that it waits is told
// that it will not come.
func (r *Relay) Decided(ctx context.Context, e *outbox.Entry) {
	r.Nudge(outbox.Dest{Contract: e.Contract, Side: e.To})
	if e.Status != outbox.Dropped {
		return
	}
	l, err := r.Store.Find(ctx, e.Contract, passerelle.Broker, e.Link)
	if err == nil {
		err = r.append(ctx, l, r.givenUp(ctx, e, l))
	}
	if err != nil {
		r.Log.Error("outbox: the sender could not be told of what was dropped", "event", e.ID, "error", err)
	}
}

// append stores entries of the gateway's own.
func (r *Relay) append(ctx context.Context, l *passerelle.Link, entries []*outbox.Entry) error {
	for len(entries) > 0 {
		err := r.Store.Append(ctx, &outbox.Change{Link: l.Clone(), Entries: entries})
		if !errors.Is(err, outbox.ErrConflict) {
			return err
		}
		if l, err = r.Store.Find(ctx, l.Contract, passerelle.Broker, l.ID); err != nil {
			return err
		}
	}
	return nil
}

// Nudge has a destination tried at once: an operator says that it is well.
func (r *Relay) Nudge(d outbox.Dest) {
	if g := r.gates[d]; g != nil {
		g.try()
	}
}

func (r *Relay) contract(name string) (*mapping.Contract, error) {
	c := r.Contracts[name]
	if c == nil {
		return nil, passerelle.Errorf(passerelle.Refused, "contract", "there is no contract %q", name)
	}
	return c, nil
}

// keyed is a lock for each key: a ticket in a tool is written or read by one
// goroutine at a time, so that a reading never meets a write of ours that is on
// its way. What an earlier write did is another matter: see reading.doubtful.
type keyed struct {
	mu sync.Mutex
	m  map[string]*held
}

type held struct {
	by chan struct{} // holds who has it; a channel, so that synctest sees who waits
	n  int
}

// lock locks a key and returns its unlock.
func (k *keyed) lock(key string) func() {
	k.mu.Lock()
	if k.m == nil {
		k.m = map[string]*held{}
	}
	h := k.m[key]
	if h == nil {
		h = &held{by: make(chan struct{}, 1)}
		k.m[key] = h
	}
	h.n++
	k.mu.Unlock()
	h.by <- struct{}{}
	return func() {
		<-h.by
		k.mu.Lock()
		if h.n--; h.n == 0 {
			delete(k.m, key)
		}
		k.mu.Unlock()
	}
}

// over tells whether a loop should end: its context did, or the store closed.
func over(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, outbox.ErrClosed)
}

// pause waits, or returns false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func lockKey(d outbox.Dest, link string) string {
	return fmt.Sprintf("%s\x00%s\x00%s", d.Contract, d.Side, link)
}

// ticketKey is the lock of a ticket in its tool: one that was escalated again
// belongs to two links (R31). It is taken after that of the link, and stands for
// the link while there is no ticket.
func ticketKey(d outbox.Dest, l *passerelle.Link) string {
	if key := l.Ref(d.Side).Key; key != "" {
		return lockKey(d, "ticket\x00"+key)
	}
	return lockKey(d, "none\x00"+l.ID)
}
