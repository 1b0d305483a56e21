package relay

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"passerelle"
	"passerelle/mapping"
	"passerelle/outbox"
)

var waiting = flag.Int("waiting", 300, "how many entries wait during the outage")

// limited is a partner that is away for a day, and then takes so many messages a
// second and says so with Retry-After. It notes what it took, by ticket.
type limited struct {
	mu        sync.Mutex
	back      time.Time
	rate      int
	second    time.Time
	taken     int // in this second
	knocks    int // while it was away
	refused   int // by the limit
	early     int // before the time that Retry-After gave
	notBefore time.Time
	order     map[string][]string
}

func (l *limited) Deliver(_ context.Context, m *passerelle.Message, _ passerelle.Spool) (*passerelle.Receipt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Before(l.back) {
		l.knocks++
		return nil, passerelle.Errorf(passerelle.Down, "tool", "connection refused")
	}
	if now.Truncate(time.Second) != l.second {
		l.second, l.taken = now.Truncate(time.Second), 0
	}
	if l.taken++; l.taken > l.rate {
		if l.refused++; now.Before(l.notBefore) {
			l.early++
		}
		l.notBefore = now.Add(3 * time.Second)
		return nil, &passerelle.Error{Op: "tool", Class: passerelle.Down, After: 3 * time.Second, Err: fmt.Errorf("429")}
	}
	key := m.Key
	r := &passerelle.Receipt{Names: []string{"wrote/" + m.ID}}
	if m.Op == "core/create" {
		key = "p" + m.ID
		r.Ref = passerelle.Ref{Key: key, Number: "GSN1-" + m.ID}
	}
	l.order[key] = append(l.order[key], string(m.Body))
	return r, nil
}

func (l *limited) Probe(context.Context, *passerelle.Message, passerelle.Spool) (*passerelle.Receipt, error) {
	return nil, passerelle.ErrAbsent
}

// TestADayOfOutage: a partner is away for 24 hours while entries wait in a real
// store, and the gateway is started anew meanwhile. Nothing is parked, nothing is
// charged, nobody knocks without need; then all goes through in its order, at the
// pace that the partner asks for.
func TestADayOfOutage(t *testing.T) {
	c, err := mapping.Load(os.DirFS("../../contracts/orleans-tours-gar/v1"))
	if err != nil {
		t.Fatal(err)
	}
	c.Notify.By = "none"
	dir := t.TempDir()
	const perTicket = 10
	tickets := *waiting / perTicket
	synctest.Test(t, func(t *testing.T) {
		partner := &limited{back: time.Now().Add(24 * time.Hour), rate: 100, order: map[string][]string{}}
		requester := &tool{}
		live := func(store outbox.Store) (*Relay, func()) {
			r := New(Config{Store: store, Contracts: map[string]*mapping.Contract{c.Name: c}, Tools: map[outbox.Dest]Tool{
				{Contract: c.Name, Side: passerelle.Requester}: {Out: requester}, {Contract: c.Name, Side: passerelle.Partner}: {Out: partner}}})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- r.Run(ctx) }()
			return r, func() { cancel(); <-done }
		}
		open := func() outbox.Store {
			start := realNow()
			store, err := outbox.OpenBolt(dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("opened with what waits in %v", realNow()-start)
			return store
		}
		store := open()
		r, stop := live(store)
		fill(t, r, tickets, perTicket)
		time.Sleep(12 * time.Hour)
		stop()
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		store = open()
		_, stop = live(store)
		time.Sleep(12*time.Hour - time.Minute)
		for e, err := range store.Entries(t.Context(), outbox.Query{Status: []outbox.Status{outbox.Waiting, outbox.Parked, outbox.Lent}}) {
			if err != nil || e.To == passerelle.Partner && (e.Status == outbox.Parked || e.Attempts > 0) {
				t.Fatalf("entry %d is %s with %d attempts (%v)", e.ID, e.Status, e.Attempts, err)
			}
		}
		partner.mu.Lock()
		knocks := partner.knocks
		partner.mu.Unlock()
		if knocks > 3000 { // every two minutes at most, and the first ones
			t.Errorf("%d requests to a partner that is away", knocks)
		}
		time.Sleep(3*time.Minute + time.Duration(tickets*perTicket/partner.rate*6)*time.Second)
		stop()
		s, err := store.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		left := s.ByStatus[outbox.Dest{Contract: c.Name, Side: passerelle.Partner}]
		if left[outbox.Waiting]+left[outbox.Parked]+left[outbox.Lent] > 0 {
			t.Errorf("left: %v", left)
		}
		if partner.early > partner.refused*7/8 { // those that were under way when the first was refused
			t.Errorf("%d of %d refused requests came before the time that the partner gave", partner.early, partner.refused)
		}
		partner.inOrder(t, tickets, perTicket)
		t.Logf("%d entries; %d requests while away, %d refused by the limit of %d a second", tickets*perTicket, partner.knocks, partner.refused, partner.rate)
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

// fill has tickets escalated and written on, from many senders at once.
func fill(t *testing.T, r *Relay, tickets, each int) {
	work := make(chan int)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for n := range work {
				key := fmt.Sprint(n)
				create := createEvent()
				create.Key, create.Claims = key, nil
				create.Fields["customer_id"], create.Fields["customer_ref"] = key, "R-"+key
				events := []*passerelle.Event{create}
				for i := 1; i < each; i++ {
					e := event(passerelle.PublicLog, fmt.Sprintf("%s/log#%d", key, i), "public_log", fmt.Sprintf("<p>entrée %d</p>", i))
					e.Key = key
					events = append(events, e)
				}
				for _, e := range events {
					if _, err := r.Accept(t.Context(), e); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for n := range tickets {
		work <- n
	}
	close(work)
	wg.Wait()
}

func (l *limited) inOrder(t *testing.T, tickets, each int) {
	if len(l.order) != tickets {
		t.Errorf("%d tickets arrived, want %d", len(l.order), tickets)
	}
	for key, bodies := range l.order {
		if len(bodies) != each {
			t.Fatalf("%s got %d messages, want %d", key, len(bodies), each)
		}
		for i, b := range bodies[1:] {
			if !strings.Contains(b, fmt.Sprintf("entrée %d<", i+1)) {
				t.Fatalf("%s: message %d is %s", key, i+1, b)
			}
		}
	}
}

// realNow is the time that passes outside the bubble.
func realNow() time.Duration {
	var tv syscall.Timeval
	_ = syscall.Gettimeofday(&tv) // it has no other way to fail than a bad pointer
	return time.Duration(tv.Nano())
}
