package login

import (
	"container/list"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"time"
)

// mac is what is remembered of credentials: a hash under a key that only this
// process has.
type mac [sha256.Size]byte

// Config is what a Guard needs. The zero value will do.
type Config struct {
	// Proxies are the addresses whose X-Forwarded-For is believed.
	Proxies []netip.Prefix
	// Log is told of what is refused; never of a password, a token, or a name
	// that is no account's. Default: nobody.
	Log *slog.Logger
	// Count is told of each refusal, by the door's name. Default: nobody.
	Count func(door string, why Why)
}

// Guard watches all doors of a gateway: who guesses at one is slowed down at
// each of them.
type Guard struct {
	cfg  Config
	key  []byte
	seed maphash.Seed

	slots chan struct{} // hashes that are computed at once
	queue chan struct{} // callers who have a slot or wait for one

	mu      sync.Mutex
	flights map[mac]*flight
	tries   map[tryKey]*list.Element // of *try
	order   *list.List               // the longest untouched last
	lines   float64                  // of the log, lately
	lined   time.Time
	unsaid  int // lines that the log was spared
}

const (
	// freeTries an account may get wrong from one address before the next must
	// wait, freeAddress an address over all accounts.
	freeTries, freeAddress = 5, 30
	// An account that has attackedTries wrong ones from everywhere is under
	// attack: from then on each address has one free try.
	attackedTries = 50
	// The first wait, which doubles with each wrong try up to the longest.
	firstWait, longestWait = time.Second, time.Minute
	// Wrong tries are forgotten after so long without another.
	forgetAfter = 15 * time.Minute
	// maxTries bounds what is remembered; the longest untouched goes first.
	maxTries = 8192
	// maxQueue bounds how many callers wait for a hash; others are told Busy.
	maxQueue = 32
	// Lines of the log: so many at once, so many a second.
	linesAtOnce, linesEach = 50, 5
)

// NewGuard makes a Guard.
func NewGuard(cfg Config) *Guard {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Count == nil {
		cfg.Count = func(string, Why) {}
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	return &Guard{cfg: cfg, key: key, seed: maphash.MakeSeed(),
		slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), queue: make(chan struct{}, maxQueue),
		flights: map[mac]*flight{}, tries: map[tryKey]*list.Element{}, order: list.New()}
}

func (g *Guard) mac(door, user, password string) (m mac) {
	h := hmac.New(sha256.New, g.key)
	for _, s := range []string{door, user, password} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	return mac(h.Sum(nil))
}

// flight is a look at credentials; who brings the same ones meanwhile waits for
// its end.
type flight struct {
	done chan struct{}
	err  error
}

func (f *flight) await(ctx context.Context) error {
	select {
	case <-f.done:
		if errors.Is(f.err, errWrong) {
			return &Refusal{Why: Wrong}
		}
		return f.err
	case <-ctx.Done():
		return &Refusal{Why: Busy, After: time.Second}
	}
}

var errWrong = errors.New("wrong")

// weigh computes a hash, as soon as there is room.
func (g *Guard) weigh(ctx context.Context, right func() bool) error {
	select {
	case g.queue <- struct{}{}:
		defer func() { <-g.queue }()
	default:
		return &Refusal{Why: Busy, After: 2 * time.Second}
	}
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	case <-ctx.Done():
		return &Refusal{Why: Busy, After: 2 * time.Second}
	}
	if right() {
		return nil
	}
	return errWrong
}

// begin says how long to wait, or takes the credentials on: mine, or those of a
// flight that is under way. A try counts as wrong until end says that it was
// right, so that a hundred at once are not more than one after the other.
func (g *Guard) begin(d *Door, from netip.Prefix, user string, m mac, now time.Time) (f *flight, mine bool, wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.flights[m]; f != nil { // it tells nobody more than its own answer
		return f, false, 0
	}
	if wait = g.wait(d, from, user, now); wait > 0 {
		return nil, false, wait
	}
	g.charge(d, from, user, now)
	f = &flight{done: make(chan struct{})}
	g.flights[m] = f
	return f, true, 0
}

// end closes a flight. What was right, or was not looked at, is not charged.
func (g *Guard) end(d *Door, from netip.Prefix, user string, m mac, f *flight, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.flights, m)
	f.err = err
	close(f.done)
	if errors.Is(err, errWrong) {
		return
	}
	g.discharge(g.keys(d, from, user), err == nil)
}

// tryKey is whose wrong tries are counted: an account's from an address, an
// address's over all accounts (who is 0), or an account's from everywhere (from
// is zero).
type tryKey struct {
	from netip.Prefix
	who  uint64
}

type try struct {
	key   tryKey
	wrong int
	last  time.Time
	until time.Time // nothing is looked at before
}

func (g *Guard) keys(d *Door, from netip.Prefix, user string) [3]tryKey {
	who := maphash.String(g.seed, d.name+"\x00"+user)
	return [3]tryKey{{from, who}, {from, 0}, {netip.Prefix{}, who}}
}

// wait is how long the next try must wait.
func (g *Guard) wait(d *Door, from netip.Prefix, user string, now time.Time) (wait time.Duration) {
	keys := g.keys(d, from, user)
	for _, k := range keys[:2] {
		if e := g.tries[k]; e != nil {
			wait = max(wait, e.Value.(*try).until.Sub(now))
		}
	}
	return wait
}

// charge counts a wrong try.
func (g *Guard) charge(d *Door, from netip.Prefix, user string, now time.Time) {
	keys := g.keys(d, from, user)
	free := freeTries
	everywhere := g.touch(keys[2], now)
	if everywhere.wrong++; everywhere.wrong > attackedTries {
		free = 1
	}
	for i, free := range []int{free, freeAddress} {
		t := g.touch(keys[i], now)
		t.wrong++
		if over := t.wrong - free; over >= 0 {
			t.until = now.Add(min(firstWait<<min(over, 10), longestWait))
		}
	}
}

// touch returns what is known of wrong tries, and forgets the longest untouched
// where there are too many.
func (g *Guard) touch(k tryKey, now time.Time) *try {
	e := g.tries[k]
	if e == nil {
		if g.order.Len() >= maxTries {
			old := g.order.Remove(g.order.Back()).(*try)
			delete(g.tries, old.key)
		}
		e = g.order.PushFront(&try{key: k})
		g.tries[k] = e
	}
	g.order.MoveToFront(e)
	t := e.Value.(*try)
	if now.Sub(t.last) > forgetAfter {
		t.wrong = 0
	}
	t.last = now
	return t
}

// discharge takes a try back. A right password ends the waiting of its account
// and address, and no more: who has an account of his own must not guess at
// others by it.
func (g *Guard) discharge(keys [3]tryKey, right bool) {
	for i, k := range keys {
		e := g.tries[k]
		if e == nil {
			continue
		}
		t := e.Value.(*try)
		if t.wrong--; i == 0 && right {
			t.wrong = 0
		}
		if t.wrong < [...]int{freeTries, freeAddress, 0}[i] {
			t.until = time.Time{}
		}
		if t.wrong <= 0 {
			g.order.Remove(e)
			delete(g.tries, k)
		}
	}
}

// wrong refuses credentials that need no hash to be found wrong.
func (g *Guard) wrong(d *Door, from netip.Prefix, user, say string) error {
	now := time.Now()
	g.mu.Lock()
	wait := g.wait(d, from, user, now)
	if wait <= 0 {
		g.charge(d, from, user, now)
	}
	next := g.wait(d, from, user, now)
	g.mu.Unlock()
	if wait > 0 {
		g.count(d, Slow)
		return &Refusal{Why: Slow, After: wait}
	}
	g.note(d, from, "", say, Wrong, next)
	return &Refusal{Why: Wrong}
}

// told refuses a password that was compared.
func (g *Guard) told(d *Door, from netip.Prefix, user string, exists bool) error {
	g.mu.Lock()
	next := g.wait(d, from, user, time.Now())
	g.mu.Unlock()
	if exists {
		g.note(d, from, user, "wrong password", Wrong, next)
	} else {
		g.note(d, from, "", "unknown user", Wrong, next)
	}
	return &Refusal{Why: Wrong}
}

func (g *Guard) count(d *Door, why Why) { g.cfg.Count(d.name, why) }

// note counts a refusal and writes it to the log, which nobody can fill by it.
// user is an account's name, or empty: what strangers type as a name may be a
// password. next is how long the next try must wait.
func (g *Guard) note(d *Door, from netip.Prefix, user, say string, why Why, next time.Duration) {
	g.count(d, why)
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lines = max(0, g.lines-linesEach*now.Sub(g.lined).Seconds())
	g.lined = now
	if g.lines >= linesAtOnce {
		g.unsaid++
		return
	}
	g.lines++
	attrs := []any{"door", d.name, "from", from.String(), "why", say}
	if user != "" {
		attrs = append(attrs, "user", user)
	}
	if next > 0 {
		attrs = append(attrs, "wait", Seconds(next))
	}
	if g.unsaid > 0 {
		attrs, g.unsaid = append(attrs, "unsaid", g.unsaid), 0
	}
	g.cfg.Log.Warn("login refused", attrs...)
}
