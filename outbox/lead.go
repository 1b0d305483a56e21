package outbox

import (
	"context"
	"errors"
	"sync"
	"time"

	"passerelle"
)

// Leader is the gateway that works for a contract.
type Leader struct {
	Owner string `json:"owner"` // names its process; empty: nobody leads, and who asks first does
	Name  string `json:"name"`  // for people
	Term  uint64 `json:"term"`  // grows with each change of leader
	Beat  uint64 `json:"beat"`  // grows while it leads: a successor waits until it stands still
}

// sharing is what an engine whose store several gateways share knows of itself;
// nil for a store of our own.
type sharing struct {
	b            *replicated
	objects      *objects
	me, name     string
	lease, grace time.Duration
	patience     time.Duration
	open         context.Context // until Close: the upkeep, and all terms
	end          context.CancelFunc
	gone         sync.WaitGroup

	mu  sync.Mutex
	led map[string]*term // by contract, those that are not over
}

// share makes a store one that several gateways share.
func (s *engine) share(b *replicated, o *objects) {
	s.shared = &sharing{b: b, objects: o, me: b.me, name: b.o.Name, lease: b.o.Lease, grace: b.o.Grace, patience: b.o.Patience, led: map[string]*term{}}
	s.shared.open, s.shared.end = context.WithCancel(context.Background())
	s.shared.gone.Go(func() { s.upkeep(s.shared.open, b, o) })
	s.shared.gone.Go(func() { s.tend(s.shared.open) })
}

// leading are the contracts that this gateway leads now.
func (s *sharing) leading() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	led := map[string]bool{}
	for contract := range s.led {
		if contract != upkeepOf {
			led[contract] = true
		}
	}
	return led
}

// is notes that a term began.
func (s *sharing) is(t *term) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.led[t.contract] = t
}

// was notes that a term is over; the next one may have begun by now.
func (s *sharing) was(t *term) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.led[t.contract] == t {
		delete(s.led, t.contract)
	}
}

// Lead implements Store.
//
// The row of a contract's leader is one of the tables, so that whoever takes it,
// and every loan, are in the one order of all changes: a gateway that was
// superseded can commit nothing for the contract any more. What it may still do is
// finish a request that it had begun. Hence its own clock ends its term a lease
// after it last said that it leads, and the successor's clock, which starts when it
// hears that, waits for the lease and the longest request more.
func (s *engine) Lead(ctx context.Context, contract string) (term context.Context, resign func(), err error) {
	if s.shared == nil {
		return context.WithoutCancel(ctx), func() {}, ctx.Err()
	}
	var saw Leader
	since := time.Now()
	for {
		is, err := s.leader(contract)
		switch {
		case err != nil: // the servers do not answer: what stands still may be our own view
			saw, since = Leader{}, time.Now()
		case is.Owner == "" || is == saw && time.Since(since) > s.shared.lease+s.shared.grace:
			t, err := s.seize(ctx, contract, is)
			if err == nil {
				return t, t.resign, nil
			}
			if !errors.Is(err, ErrConflict) {
				return nil, nil, err
			}
		case is != saw:
			saw, since = is, time.Now()
		}
		if !sleep(ctx, s.shared.lease/10) {
			return nil, nil, ctx.Err()
		}
		if errors.Is(err, ErrClosed) {
			return nil, nil, err
		}
	}
}

// leader reads who leads a contract.
func (s *engine) leader(contract string) (Leader, error) {
	var is Leader
	err := s.kv.view(func(r reader) error {
		l, err := leaderOf(r, contract)
		is = l
		return err
	})
	return is, err
}

func leaderOf(r reader, contract string) (Leader, error) {
	l, err := load[Leader](r, leadBucket, leadKey(contract))
	if errors.Is(err, passerelle.ErrNotFound) {
		return Leader{}, nil
	}
	if err != nil {
		return Leader{}, err
	}
	return *l, nil
}

// leadKey ends with a byte that no name has: no key may be empty.
func leadKey(contract string) []byte { return append([]byte(contract), 0) }

// Leaders implements Store.
func (s *engine) Leaders(ctx context.Context) (map[string]Leader, error) {
	out := map[string]Leader{}
	err := s.view(ctx, "leaders", func(r reader) error {
		for k, v := range r.scan(leadBucket, nil, nil) {
			l, err := decode[Leader](leadBucket, k, v)
			if err != nil {
				return err
			}
			if contract := string(k[:len(k)-1]); contract != upkeepOf {
				out[contract] = *l
			}
		}
		return nil
	})
	return out, err
}

// seize takes the lead, if nobody took it since it was read, and takes back what
// the gateway before had on loan.
func (s *engine) seize(ctx context.Context, contract string, was Leader) (*term, error) {
	issued := time.Now()
	mine := Leader{Owner: s.shared.me, Name: s.shared.name, Term: was.Term + 1, Beat: 1}
	err := s.do(ctx, "lead", func(t *tx) error {
		is, err := leaderOf(t, contract)
		if err != nil {
			return err
		}
		if is != was {
			return ErrConflict
		}
		if err := t.recall(contract); err != nil {
			return err
		}
		save(t, leadBucket, leadKey(contract), mine)
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.looks.free(contract) // what was read in an earlier term of ours, nobody reads any more
	return s.begin(contract, mine, issued), nil
}

// recall makes the lent entries of a contract wait again: what became of them is
// not known.
func (t *tx) recall(contract string) error {
	var lent []*record
	prefix := []byte{Lent[0]}
	for k := range t.scan(queueBucket, prefix, prefix) {
		r, err := readRecord(t, number(k[1:]))
		if err != nil {
			return err
		}
		if r.Contract == contract {
			lent = append(lent, r)
		}
	}
	for _, r := range lent {
		r.Status, r.Probe = Waiting, true
		t.saveRecord(r, Lent)
	}
	return nil
}

// leads refuses what a gateway does that does not lead the contract any more.
func (t *tx) leads(contract string) error {
	if t.me == "" {
		return nil
	}
	is, err := leaderOf(t, contract)
	if err == nil && is.Owner != t.me {
		err = ErrLost
	}
	return err
}

// term is the time in which this gateway leads a contract. Its Err looks at the
// clocks: a process that was stopped, or a machine that slept, knows that it is
// over before any timer runs.
type term struct {
	context.Context
	cancel   context.CancelFunc
	s        *engine
	contract string
	is       Leader
	renewing sync.WaitGroup
	stop     context.CancelFunc // of the renewing

	mu    sync.Mutex
	until time.Time
	alarm *time.Timer
}

// begin starts a term that lasts for a lease after the time at which we asked for
// it, and is renewed until it is resigned.
func (s *engine) begin(contract string, is Leader, issued time.Time) *term {
	t := &term{s: s, contract: contract, is: is, until: issued.Add(s.shared.lease)}
	t.Context, t.cancel = context.WithCancel(s.shared.open)
	s.shared.is(t)
	t.mu.Lock() // it may ring at once
	t.alarm = time.AfterFunc(time.Until(t.until), t.ring)
	t.mu.Unlock()
	renewing, stop := context.WithCancel(t.Context)
	t.stop = stop
	t.renewing.Go(func() { t.renew(renewing) })
	return t
}

// Err implements context.Context. The wall's clock is asked too: the other one
// stands still while a machine sleeps.
func (t *term) Err() error {
	if err := t.Context.Err(); err != nil {
		return err
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.After(t.until) || now.Round(0).After(t.until.Round(0)) {
		return ErrLost
	}
	return nil
}

// Value implements context.Context: what works under the term may ask passerelle.Held.
func (t *term) Value(key any) any {
	if key == (passerelle.Fence{}) {
		return t.Err
	}
	return t.Context.Value(key)
}

// ring ends the term when its lease is over.
func (t *term) ring() {
	if t.Err() != nil {
		t.over()
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.alarm.Reset(max(time.Until(t.until), time.Millisecond))
}

func (t *term) over() {
	t.cancel()
	t.s.shared.was(t)
}

// renew says again and again that this gateway leads. Only what is committed
// counts, and from the moment it was asked for.
func (t *term) renew(ctx context.Context) {
	for sleep(ctx, t.s.shared.lease/3) {
		issued := time.Now()
		next := t.is
		next.Beat++
		err := t.s.do(ctx, "lead", func(tx *tx) error { return tx.succeed(t.contract, t.is, next) })
		switch {
		case err == nil:
			t.is = next
			t.mu.Lock()
			if t.Context.Err() == nil && issued.Before(t.until) {
				t.until = issued.Add(t.s.shared.lease)
			}
			t.mu.Unlock()
		case errors.Is(err, ErrConflict), errors.Is(err, ErrClosed):
			t.over()
			return
		}
	}
}

// succeed puts one form of a leader's row in the place of another.
func (t *tx) succeed(contract string, was, next Leader) error {
	is, err := leaderOf(t, contract)
	if err == nil && (is.Owner != was.Owner || is.Term != was.Term) {
		err = ErrConflict
	}
	if err == nil {
		save(t, leadBucket, leadKey(contract), next)
	}
	return err
}

// resign ends the term; the contract is free at once. Whoever calls it has ended
// all that was under way.
func (t *term) resign() {
	t.over() // before anybody else's begins
	t.alarm.Stop()
	t.stop()
	t.renewing.Wait()
	free := Leader{Term: t.is.Term}
	ctx, cancel := context.WithTimeout(context.Background(), t.s.shared.patience)
	defer cancel()
	// Where the servers do not answer it ends with its lease.
	_ = t.s.ask(ctx, "resign", func(tx *tx) error { return tx.succeed(t.contract, t.is, free) })
}

// sleep waits, or returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
