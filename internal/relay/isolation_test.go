package relay

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"passerelle"
	"passerelle/mapping"
	"passerelle/outbox"
)

// desk is a tool of many tickets. What is done there takes its time; it notes
// the texts by ticket, and how many were at one ticket at the same time.
type desk struct {
	mu      sync.Mutex
	heard   map[string][]string // by ticket, as textOf
	last    time.Time           // when it last took something
	pace    time.Duration       // how long one takes
	busy    map[string]int
	crowded []string                          // tickets where two were at once
	trouble func(m *passerelle.Message) error // before the effect, unlocked: it may hang
}

func newDesk() *desk {
	return &desk{pace: 10 * time.Millisecond, heard: map[string][]string{}, busy: map[string]int{}}
}

// at has somebody at a ticket for a while.
func (d *desk) at(key string) {
	d.mu.Lock()
	if d.busy[key]++; d.busy[key] > 1 {
		d.crowded = append(d.crowded, key)
	}
	d.mu.Unlock()
	time.Sleep(d.pace)
	d.mu.Lock()
	d.busy[key]--
	d.mu.Unlock()
}

func (d *desk) Deliver(_ context.Context, m *passerelle.Message, _ passerelle.Spool) (*passerelle.Receipt, error) {
	if trouble := d.troubles(); trouble != nil {
		if err := trouble(m); err != nil {
			return nil, err
		}
	}
	r := &passerelle.Receipt{Names: []string{"wrote/" + m.ID}}
	key := m.Key
	if m.Op == "core/create" {
		key = "p" + textOf(m)
		r.Ref = passerelle.Ref{Key: key, Number: "GSN1-" + key}
	}
	d.at(key)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard[key], d.last = append(d.heard[key], textOf(m)), time.Now()
	return r, nil
}

// textOf is the word of a message that stands between § and §.
func textOf(m *passerelle.Message) string {
	parts := strings.Split(string(m.Body), "§")
	if len(parts) < 2 {
		return m.Op
	}
	return parts[1]
}

func (d *desk) troubles() func(*passerelle.Message) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.trouble
}

func (d *desk) falls(trouble func(*passerelle.Message) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trouble = trouble
}

func (d *desk) Probe(context.Context, *passerelle.Message, passerelle.Spool) (*passerelle.Receipt, error) {
	return nil, passerelle.ErrAbsent
}

func (d *desk) Read(_ context.Context, key string) (*passerelle.Snapshot, error) {
	d.at(key)
	return &passerelle.Snapshot{Ref: passerelle.Ref{Key: key}}, nil
}

func (d *desk) Fetch(context.Context, *passerelle.Event, passerelle.Spool) error { return nil }

// list is what a ticket heard.
func (d *desk) list(key string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.heard[key], " ")
}

func (d *desk) since(start time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last.Sub(start)
}

const (
	gar  = "orleans-tours-gar"
	insa = "insa-groupe"
)

// office is a relay of both contracts, between four such desks, in a bubble.
type office struct {
	*Relay
	t     *testing.T
	desks map[outbox.Dest]*desk
}

func working(t *testing.T, play func(o *office)) {
	t.Helper()
	contracts := map[string]*mapping.Contract{}
	for _, name := range []string{gar, insa} {
		c, err := mapping.Load(os.DirFS("../../contracts/" + name + "/v1"))
		if err != nil {
			t.Fatal(err)
		}
		c.Notify.By = "none"
		contracts[name] = c
	}
	synctest.Test(t, func(t *testing.T) {
		o := &office{t: t, desks: map[outbox.Dest]*desk{}}
		tools := map[outbox.Dest]Tool{}
		for name := range contracts {
			for _, side := range []passerelle.Side{passerelle.Requester, passerelle.Partner} {
				d := outbox.Dest{Contract: name, Side: side}
				o.desks[d] = newDesk()
				tools[d] = Tool{Out: o.desks[d], Watch: o.desks[d]}
			}
		}
		store := outbox.NewMem()
		o.Relay = New(Config{Store: store, Contracts: contracts, Tools: tools})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- o.Run(ctx) }()
		play(o)
		cancel()
		<-done
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (o *office) desk(contract string, side passerelle.Side) *desk {
	return o.desks[outbox.Dest{Contract: contract, Side: side}]
}

func (o *office) accept(events ...*passerelle.Event) {
	o.t.Helper()
	for _, e := range events {
		if _, err := o.Accept(o.t.Context(), e); err != nil {
			o.t.Fatal(err)
		}
	}
}

// create escalates a ticket: its partner's will be "p" and the key.
func create(contract, key string) *passerelle.Event {
	e := createEvent()
	if contract == insa {
		e.Fields = map[string]string{"title": "t", "description": "<p>d</p>", "org_id": "École Démo", "service_id": "Chaîne éditoriale", "servicesubcategory_id": "Scénari : nouveau compte",
			"urgency": "2", "impact": "2", "request_type": "incident", "start_date": "2026-11-20 10:00:00"}
	}
	e.Contract, e.Key, e.Claims = contract, key, nil
	e.Fields["customer_id"], e.Fields["customer_ref"], e.Fields["title"] = key, "R-"+key, "§"+key+"§"
	return e
}

// entry writes into the public journal of a ticket.
func entry(contract string, from passerelle.Side, key string, n int) *passerelle.Event {
	return &passerelle.Event{Contract: contract, From: from, Kind: passerelle.PublicLog, Key: key, Names: []string{fmt.Sprintf("%s/log/%d", key, n)},
		Read: true, Fields: map[string]string{"public_log": fmt.Sprintf("<p>§e%d§</p>", n)}}
}

// Of two hundred tickets one has a tool that hangs over it, and one is refused
// for ever. The others arrive whole, in order and as fast as ever; the two are
// in sight, and arrive in order when they are mended.
func TestTwoTicketsHoldUpNoOther(t *testing.T) {
	working(t, func(o *office) {
		to := outbox.Dest{Contract: gar, Side: passerelle.Partner}
		partner := o.desks[to]
		gate := make(chan bool)
		partner.falls(func(m *passerelle.Message) error {
			switch textOf(m) {
			case "13":
				<-gate
			case "66":
				return passerelle.Errorf(passerelle.Refused, "tool", "not like this")
			}
			return nil
		})
		const tickets, each = 200, 4
		start := time.Now()
		for i := range tickets {
			o.accept(create(gar, fmt.Sprint(i)))
			for n := 1; n < each; n++ {
				o.accept(entry(gar, passerelle.Requester, fmt.Sprint(i), n))
			}
		}
		time.Sleep(time.Hour)
		// Seven workers are left, of eight.
		if took, most := partner.since(start), tickets*each*10*time.Millisecond/7+time.Second; took > most {
			t.Errorf("the others took %v, more than %v", took, most)
		}
		o.arrived(partner, tickets, "13", "66")
		o.inSight(to)

		close(gate)
		partner.falls(nil)
		for e, err := range o.Store.Entries(t.Context(), outbox.Query{Status: []outbox.Status{outbox.Parked}}) {
			if err == nil {
				_, err = o.Store.Retry(t.Context(), e.ID, outbox.Decision{By: "op", Why: "mended"})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		o.arrived(partner, tickets)
		if stuck := o.Stuck(t.Context()); len(stuck) > 0 {
			t.Errorf("stuck at last: %q", stuck)
		}
	})
}

// arrived compares what each ticket heard with what was written, but for some
// of which nothing has arrived.
func (o *office) arrived(d *desk, tickets int, but ...string) {
	o.t.Helper()
	for i := range tickets {
		key, want := fmt.Sprint(i), fmt.Sprintf("%d e1 e2 e3", i)
		for _, b := range but {
			if key == b {
				want = ""
			}
		}
		if got := d.list("p" + key); got != want {
			o.t.Errorf("ticket %s heard %q, want %q", key, got, want)
		}
	}
}

// inSight looks for a ticket that hangs and one that is parked where operators
// look.
func (o *office) inSight(to outbox.Dest) {
	o.t.Helper()
	s, err := o.Store.Stats(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	if by := s.ByStatus[to]; s.Blocked[to] != 1 || by[outbox.Parked] != 1 || by[outbox.Lent] != 1 || by[outbox.Waiting] != 6 {
		o.t.Errorf("the statistics say %v, %d blocked", by, s.Blocked[to])
	}
	if stuck := strings.Join(o.Stuck(o.t.Context()), "; "); !strings.Contains(stuck, "to the partner of orleans-tours-gar has been under way for 1h0m0s") {
		o.t.Errorf("stuck: %q", stuck)
	}
	reg := prometheus.NewRegistry()
	if err := o.Register(reg); err != nil {
		o.t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		o.t.Fatal(err)
	}
	told := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "passerelle_stuck" || strings.Contains(m.String(), `"partner"`) && strings.Contains(m.String(), gar) {
				told[f.GetName()] += m.GetGauge().GetValue()
			}
		}
	}
	if told["passerelle_lanes_blocked"] != 1 || told["passerelle_stuck"] != 1 || told["passerelle_outbox_entries"] != 8 || told["passerelle_oldest_waiting_seconds"] < 3600 {
		o.t.Errorf("the metrics say %v", told)
	}
}

// A requester that is down, or hangs with all its workers, slows neither its
// partner nor the other contract.
func TestOneSideHoldsUpNoOther(t *testing.T) {
	for _, how := range []string{"down", "hangs"} {
		t.Run(how, func(t *testing.T) {
			working(t, func(o *office) {
				const tickets = 40
				for _, c := range []string{gar, insa} {
					for i := range tickets {
						o.accept(create(c, fmt.Sprint(i)))
					}
				}
				time.Sleep(time.Minute)
				away := o.desk(gar, passerelle.Requester)
				gate := make(chan bool)
				away.falls(func(*passerelle.Message) error {
					if how == "hangs" {
						<-gate
						return nil
					}
					return passerelle.Errorf(passerelle.Down, "tool", "connection refused")
				})
				start := time.Now()
				for i := range tickets {
					for n := 1; n < 4; n++ {
						for _, c := range []string{gar, insa} {
							o.accept(entry(c, passerelle.Requester, fmt.Sprint(i), n), entry(c, passerelle.Partner, "p"+fmt.Sprint(i), n))
						}
					}
				}
				time.Sleep(10 * time.Minute)
				most := tickets*3*10*time.Millisecond/8 + 100*time.Millisecond
				for dest, d := range o.desks {
					if took := d.since(start); d != away && (took > most || took <= 0) {
						o.t.Errorf("the %s of %s took %v, more than %v", dest.Side, dest.Contract, took, most)
					}
				}
				o.arrived(o.desk(gar, passerelle.Partner), tickets)
				o.arrived(o.desk(insa, passerelle.Partner), tickets)
				if got := o.desk(insa, passerelle.Requester).list("7"); !strings.HasSuffix(got, "e1 e2 e3") {
					t.Errorf("the school heard %q", got)
				}
				if got := away.list("7"); strings.Contains(got, "e1") {
					t.Errorf("the requester that is away heard %q", got)
				}
				away.falls(nil)
				close(gate)
				time.Sleep(10 * time.Minute)
				for i := range tickets {
					if got := away.list(fmt.Sprint(i)); !strings.HasSuffix(got, "e1 e2 e3") {
						t.Errorf("back again, ticket %d heard %q", i, got)
					}
				}
			})
		})
	}
}

// A ticket that was escalated twice has two lanes in the requester's tool. They
// and a reading never are at the ticket at the same time, and each keeps its
// order.
func TestOneAtATicket(t *testing.T) {
	working(t, func(o *office) {
		requester := o.desk(gar, passerelle.Requester)
		o.accept(create(gar, "7"))
		time.Sleep(time.Minute)
		requester.falls(func(*passerelle.Message) error { return passerelle.Errorf(passerelle.Down, "tool", "away") })
		for n := 1; n < 9; n++ {
			o.accept(entry(gar, passerelle.Partner, "p7", n))
		}
		o.accept(&passerelle.Event{Contract: gar, From: passerelle.Partner, Signal: "A clôturer", Key: "p7", Names: []string{"h/1"}, Fields: map[string]string{}})
		o.accept(&passerelle.Event{Contract: gar, From: passerelle.Requester, Kind: passerelle.Close, Key: "7", Fields: map[string]string{}})
		again := create(gar, "7")
		again.Fields["title"] = "§7b§"
		o.accept(again)
		time.Sleep(time.Minute)
		for n := 11; n < 19; n++ {
			o.accept(entry(gar, passerelle.Partner, "p7b", n))
		}
		requester.pace = 20 * time.Second // nobody is there now; the lanes and the readings meet
		requester.falls(nil)
		for range 900 {
			if err := o.Look(t.Context(), gar, passerelle.Requester, "7"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if len(requester.crowded) > 0 {
			t.Errorf("%d times two were at ticket %s", len(requester.crowded), requester.crowded[0])
		}
		got := requester.list("7")
		for _, lane := range [][]int{{1, 2, 3, 4, 5, 6, 7, 8}, {11, 12, 13, 14, 15, 16, 17, 18}} {
			at := -1
			for _, n := range lane {
				i := strings.Index(got+" ", fmt.Sprintf("e%d ", n))
				if i <= at {
					t.Errorf("e%d is at %d, what came before it at %d: %s", n, i, at, got)
				}
				at = i
			}
		}
	})
}

// The clock of the wall may jump an hour either way: pauses hang on the clock
// that never jumps, and what is stored shifts the parking by that hour and no
// more.
func TestClockJumpsAnHour(t *testing.T) {
	g := newGate(Trouble{First: time.Second, Slip: time.Second})
	if until := g.down(passerelle.Down, time.Minute); !strings.Contains(until.String(), " m=") {
		t.Errorf("the gate hangs on the clock of the wall: %v", until)
	}
	if g.up(); !strings.Contains(g.well.String(), " m=") {
		t.Errorf("so does what it knows of the destination: %v", g.well)
	}
	r := New(Config{Store: outbox.NewMem(), Backoff: outbox.Backoff{First: time.Second, Max: time.Minute, Age: 24 * time.Hour}})
	dest := outbox.Dest{Contract: gar, Side: passerelle.Partner}
	r.gates[dest] = newGate(Trouble{First: time.Second, Slip: time.Second})
	for ago, want := range map[time.Duration]outbox.Status{-time.Hour: outbox.Waiting, time.Hour: outbox.Waiting, 22 * time.Hour: outbox.Waiting, 25 * time.Hour: outbox.Parked} {
		d := &delivery{r: r, dest: dest, e: &outbox.Entry{Event: &passerelle.Event{Kind: passerelle.PublicLog}, Attempts: 3, Tried: time.Now().Add(-ago).Round(0)}}
		o := d.again(outbox.Outcome{To: outbox.Waiting}, 0)
		if o.To != want || want == outbox.Waiting && time.Until(o.Before) > time.Minute {
			t.Errorf("first tried %v ago: %s, next in %v; want %s", ago, o.To, time.Until(o.Before), want)
		}
	}
	if err := r.Store.Close(); err != nil {
		t.Error(err)
	}
}
