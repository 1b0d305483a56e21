package outbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"passerelle"
)

// reign is when a term was seen to be valid, by the clock of this machine.
type reign struct {
	who         string
	first, last time.Time
}

// watch looks at a term until it is over and a while longer.
func watch(who string, term context.Context, longer time.Duration) reign {
	r := reign{who: who}
	for over := (time.Time{}); over.IsZero() || time.Since(over) < longer; time.Sleep(50 * time.Microsecond) {
		before := time.Now()
		err := term.Err()
		switch {
		case err == nil:
			if r.first.IsZero() {
				r.first = time.Now()
			}
			r.last = before
		case over.IsZero():
			over = time.Now()
		}
	}
	return r
}

// TestLeadNeverTwo: of three gateways that resign, vanish and come back, no two are
// in a term at one instant.
func TestLeadNeverTwo(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Log("seed", seed)
	c := startNATS(t, 1)
	ctx, cancel := context.WithTimeout(context.Background(), max(2*time.Second, time.Duration(*clusterFlag)*30*time.Millisecond))
	defer cancel()
	var mu sync.Mutex
	var reigns []reign
	var wg sync.WaitGroup
	for i := range 3 {
		g := c.gateway(fmt.Sprint(i), func(o *NATSOptions) { o.Lease, o.Grace = 200*time.Millisecond, 30*time.Millisecond })
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			for ctx.Err() == nil {
				tm, resign, err := g.Lead(ctx, deal)
				if err != nil {
					continue
				}
				seen := make(chan reign, 1)
				go func() { seen <- watch(g.name, tm, 20*time.Millisecond) }()
				switch rng.IntN(3) {
				case 0: // its renewals do not come through any more
					tm.(*term).stop()
					<-tm.Done()
				case 1:
					time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
					resign()
				default:
					resign()
				}
				mu.Lock()
				reigns = append(reigns, <-seen)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	owners := map[string]int{}
	for i, a := range reigns {
		owners[a.who]++
		for _, b := range reigns[:i] {
			if !a.first.IsZero() && !b.first.IsZero() && a.first.Before(b.last) && b.first.Before(a.last) {
				t.Errorf("%s and %s lead at once: %v", a.who, b.who, min(a.last.Sub(b.first), b.last.Sub(a.first)))
			}
		}
	}
	t.Logf("%d terms: %v", len(reigns), owners)
	if len(reigns) < 6 || len(owners) < 2 {
		t.Errorf("too little happened")
	}
}

// TestLeadHandsOver: who resigns is succeeded at once.
func TestLeadHandsOver(t *testing.T) {
	c := startNATS(t, 1)
	slow := func(o *NATSOptions) { o.Lease, o.Grace = 2*time.Second, time.Minute }
	a, b := c.gateway("a", slow), c.gateway("b", slow)
	_, resign := a.lead()
	began := make(chan time.Time, 1)
	go func() {
		_, free := b.lead()
		began <- time.Now()
		free()
	}()
	soon(t, "a is known to lead", 5*time.Second, func() bool {
		led, err := b.Leaders(context.Background())
		return err == nil && led[deal].Owner == a.shared.me && led[deal].Name == "a"
	})
	at := time.Now()
	resign()
	if took := (<-began).Sub(at); took > time.Second {
		t.Errorf("handed over after %v", took)
	}
}

// TestLeadOverFirst: a term is over before its row is free.
func TestLeadOverFirst(t *testing.T) {
	c := startNATS(t, 1)
	p := c.proxy(0)
	g := c.gateway("a", p.through, func(o *NATSOptions) { o.Lease = time.Minute })
	term, resign := g.lead()
	p.hole(true)
	var resigned sync.WaitGroup
	resigned.Go(resign)
	soon(t, "the term is over while the resignation is under way", g.shared.patience/2, func() bool { return term.Err() != nil })
	p.hole(false)
	resigned.Wait()
}

// TestLeadVanished: a gateway that is cut off, or stops saying that it leads, is
// succeeded after lease and grace and not before; what it had on loan comes back to be
// asked about, and nothing that it says of it counts.
func TestLeadVanished(t *testing.T) {
	ctx := context.Background()
	for _, how := range []string{"cut off", "stopped"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			c := startNATS(t, 1)
			p := c.proxy(0)
			a, b := c.gateway("a", p.through), c.gateway("b")
			a.ticket("1")
			tm, resign := a.lead()
			e := a.lent()
			if e.Probe {
				t.Fatal("lent before?")
			}
			var valid sync.Map
			go func() { valid.Store("last", watch("a", tm, 0).last) }()
			soon(t, "b has seen a lead", 5*time.Second, func() bool {
				led, err := b.Leaders(ctx)
				return err == nil && led[deal].Owner != ""
			})
			if how == "stopped" {
				tm.(*term).stop()
			} else {
				p.hole(true)
			}
			at := time.Now()
			_, free := b.lead()
			took, last := time.Since(at), time.Time{}
			soon(t, "the term of a is over", time.Second, func() bool {
				v, ok := valid.Load("last")
				if ok {
					last = v.(time.Time)
				}
				return ok
			})
			t.Logf("succeeded after %v, %v after the term", took, time.Since(last))
			if gap := time.Since(last); gap < b.shared.grace/2 {
				t.Errorf("succeeded %v after the term", gap)
			}
			if took < b.shared.lease || took > 4*(b.shared.lease+b.shared.grace) {
				t.Errorf("succeeded after %v", took)
			}
			again := b.lent()
			if again.ID != e.ID || !again.Probe || again.Lend != e.Lend+1 {
				t.Errorf("b is lent %+v", again)
			}
			p.hole(false)
			if err := a.Settle(ctx, e, Outcome{To: Done}); !errors.Is(err, ErrLost) {
				t.Errorf("a settles: %v", err)
			}
			if err := a.Sent(ctx, e, 1, nil); !errors.Is(err, ErrLost) {
				t.Errorf("a sends: %v", err)
			}
			must(t, b.Settle(ctx, again, Outcome{To: Done}))
			resign() // of a term that is another's by now
			if led, err := b.Leaders(ctx); err != nil || led[deal].Owner != b.shared.me {
				t.Errorf("%+v leads, %v", led, err)
			}
			free()
		})
	}
}

// TestLeadAgain: a hint that was being read when a term ended is read in the next term
// of the same gateway.
func TestLeadAgain(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	g := startNATS(t, 1).gateway("a")
	must(t, g.Look(ctx, Look{Contract: deal, Side: passerelle.Partner, Key: "k"}))
	for range 2 {
		_, resign := g.lead()
		l, err := g.NextLook(ctx, toPartner)
		must(t, err)
		resign()
		if err := g.Looked(ctx, l, time.Time{}, nil); !errors.Is(err, ErrLost) {
			t.Fatalf("looked after the term: %v", err)
		}
	}
}

// TestLeadLate: a term whose row took longer than its lease is over when it begins.
func TestLeadLate(t *testing.T) {
	g := startNATS(t, 1).gateway("a")
	for range 200 {
		tm := g.begin(deal, Leader{Owner: g.shared.me, Term: 1}, time.Now().Add(-g.shared.lease))
		soon(t, "the late term is over", 5*time.Second, func() bool { return tm.Context.Err() != nil })
		tm.resign()
		if led := g.shared.leading(); len(led) > 0 {
			t.Fatalf("led after the term: %v", led)
		}
	}
}

// TestLeadGoroutines: nothing runs after Close, also of terms that nobody resigned and
// when the servers are away.
func TestLeadGoroutines(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprint("away ", away), func(t *testing.T) {
			c := startNATS(t, 1)
			p := c.proxy(0)
			before := ours()
			g := c.gateway("a", p.through, func(o *NATSOptions) { o.Patience = time.Second })
			g.ticket("1")
			g.lead()
			g.lent()
			var asking sync.WaitGroup
			if away {
				p.hole(true)
				asking.Go(func() { _ = g.Append(context.Background(), &Change{Link: aLink("2")}) })
				asking.Go(func() { _, _, _ = g.Lead(context.Background(), "another") })
				asking.Go(func() { _ = g.Settle(context.Background(), &Entry{ID: 1, Lend: 1}, Outcome{To: Done}) })
				soon(t, "the change is under way", 5*time.Second, func() bool { return !g.commit.since().IsZero() })
			}
			at := time.Now()
			must(t, g.Close())
			if took := time.Since(at); took > g.shared.patience+5*time.Second {
				t.Errorf("closed after %v", took)
			}
			asking.Wait()
			soon(t, "all ends", 5*time.Second, func() bool {
				for id := range ours() {
					if before[id] == "" {
						return false
					}
				}
				return true
			})
		})
	}
}

// ours are the stacks that run code of a shared store, or of its client, by the
// number of their goroutine. Other tests may have left some.
func ours() map[string]string {
	buf := make([]byte, 4<<20)
	found := map[string]string{}
	for _, s := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		for _, of := range []string{"outbox.(*term)", "outbox.(*engine)", "outbox.(*replicated)", "outbox.(*committer)", "nats.go.(*Conn)", "nats.go/jetstream."} {
			if strings.Contains(s, of) {
				id, _, _ := strings.Cut(s, " [")
				found[id] = s
				break
			}
		}
	}
	return found
}
