package conversation

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"passerelle"
	"passerelle/internal/relay"
	"passerelle/outbox"
)

var sweeps = flag.Int("sweeps", 4, "how many plays with lost webhooks are played")

// TestSweepFindsWhatWasNotTold loses one webhook in twenty at random, then all of
// them for a while, as in an hour's absence, under random traffic of both sides'
// agents. The sweeps find everything, once, and with read_first in order (without
// it, an entry whose webhook was lost comes after those that were told
// meanwhile). `make sweep` plays many more.
func TestSweepFindsWhatWasNotTold(t *testing.T) {
	for seed := range *sweeps {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			play := &crossing{t: t, rnd: rand.New(rand.NewPCG(uint64(seed), 5)), files: true, unheard: &unheard{rnd: rand.New(rand.NewPCG(uint64(seed), 6)), strict: seed%2 == 0}}
			play.run("../../contracts/orleans-tours-gar/v1")
			if play.unheard.lost.Load() == 0 {
				t.Error("no webhook was lost")
			}
			t.Logf("seed %d: %d of %d webhooks were lost", seed, play.unheard.lost.Load(), play.unheard.all.Load())
		})
	}
}

// unheard loses webhooks.
type unheard struct {
	mu        sync.Mutex
	rnd       *rand.Rand
	strict    bool // read_first: what was not told keeps its place
	percent   atomic.Int64
	lost, all atomic.Int64
}

func (u *unheard) deaf() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all.Add(1)
	if int64(u.rnd.IntN(100)) >= u.percent.Load() {
		return false
	}
	u.lost.Add(1)
	return true
}

var word = regexp.MustCompile(`mot\d+mot`)

// sweepOften is how tools are swept in these plays.
var sweepOften = relay.Sweep{Every: 20 * time.Millisecond, Batch: 2, Pause: time.Millisecond}

// inOrder checks that each journal's texts came over in their order.
func (c *crossing) inOrder() {
	for l, err := range c.store.Links(c.ctx) {
		if err != nil {
			c.t.Fatal(err)
		}
		last, heard := map[string]uint64{}, map[string]bool{}
		for e, err := range c.store.Entries(c.ctx, outbox.Query{Link: l.ID}) {
			if err != nil {
				c.t.Fatal(err)
			}
			for _, log := range []string{"public_log", "private_log"} {
				text := e.Event.Fields[log]
				var n uint64
				own := e.Event.From == passerelle.Broker || e.Status == outbox.Refused || e.Event.Kind == passerelle.Create
				if _, err := fmt.Sscanf(word.FindString(text), "mot%dmot", &n); err != nil || own {
					continue
				}
				key := string(e.Event.From) + log
				if heard[key+text] { // another message of the same fact
					continue
				}
				heard[key+text] = true
				if n+1 < last[key] {
					c.t.Errorf("%s: « %s » came after a later one:\n%s", l.Names(), text, c.story(l.ID))
				}
				last[key] = n + 1
			}
		}
	}
}

// quiet checks that sweeps of tickets at rest write nothing in either tool.
func (c *crossing) quiet() {
	before := c.writes()
	time.Sleep(10 * sweepOften.Every)
	if err := c.settle(); err != nil {
		c.t.Fatal(err)
	}
	if after := c.writes(); after != before {
		c.t.Errorf("sweeps of what is known made %d writes", after-before)
	}
}

// writes counts what the gateway wrote in both tools.
func (c *crossing) writes() int {
	n := 0
	for _, e := range c.ears {
		n += e.heardSoFar()
	}
	return n
}
