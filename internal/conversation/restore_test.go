package conversation

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"passerelle"
	"passerelle/outbox"
)

var restores = flag.Int("restores", 2, "how many plays with a restored backup are played")

// TestRestoreSendsNothingTwice takes a backup of a gateway at work, lets a day of
// random traffic follow, with new tickets, and stops in its midst. The gateway
// that begins on the backup sends nothing twice, loses nothing that either tool
// still holds, and gives no number again. `make sweep` plays many more.
func TestRestoreSendsNothingTwice(t *testing.T) {
	for seed := range *restores {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			play := &crossing{t: t, rnd: rand.New(rand.NewPCG(uint64(seed), 7)), files: true, unheard: &unheard{rnd: rand.New(rand.NewPCG(uint64(seed), 8))}}
			play.restored("../../contracts/orleans-tours-gar/v1")
		})
	}
}

func (c *crossing) restored(dir string) {
	data := filepath.Join(c.t.TempDir(), "data")
	c.setUp(dir, func(r *rig) {
		store, err := outbox.OpenBolt(data)
		if err != nil {
			c.t.Fatal(err)
		}
		r.store, r.sweep = store, sweepOften
	})
	defer c.tearDown()
	c.escalate(4)
	time.Sleep(3 * time.Second)
	for range 30 {
		c.step()
	}
	c.awaitSweep()
	var backup bytes.Buffer
	report, err := c.store.Backup(c.ctx, &backup, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for i := range 60 {
		if i == 20 {
			c.escalate(2)
		}
		c.step()
	}
	for e, err := range c.store.Entries(c.ctx, outbox.Query{}) {
		if err != nil {
			c.t.Fatal(err)
		}
		c.forgotten += c.refusedIn(e)
	}
	err = c.restart(func() (outbox.Store, error) {
		data := filepath.Join(c.t.TempDir(), "data")
		if _, err := outbox.Restore(&backup, data, outbox.RestoreOptions{Skip: 100}); err != nil {
			return nil, err
		}
		return outbox.OpenBolt(data)
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.escalateAfter(report.Links)
	c.judge()
	rep, ok := c.relay.Relearning(c.ctx)
	if !ok || rep.Done.IsZero() || rep.Read != rep.Pairs || rep.Pairs < 4 {
		c.t.Errorf("learned again: %+v", rep)
	}
	c.t.Logf("learned again: %+v", rep)
}

// awaitSweep waits until the partner's tool was swept once.
func (c *crossing) awaitSweep() {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		kept, err := c.store.Kept(c.ctx, "sweep/"+c.contract.Name+"/partner")
		if err != nil {
			c.t.Fatal(err)
		}
		if kept != "" {
			return
		}
	}
	c.t.Fatal("the partner's tool is never swept")
}

// escalateAfter waits until the gateway has learned what happened, escalates
// another ticket, and checks that its number was never given before.
func (c *crossing) escalateAfter(last uint64) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if rep, _ := c.relay.Relearning(c.ctx); !rep.Done.IsZero() {
			break
		}
	}
	before := len(c.tickets)
	c.escalate(1)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		l, err := c.store.Find(c.ctx, c.contract.Name, passerelle.Requester, c.tickets[before])
		if err != nil {
			continue
		}
		var n uint64
		if _, err := fmt.Sscan(l.ID, &n); err != nil || n <= last+100 {
			c.t.Errorf("the new ticket got the number %s; the backup's last was %d", l.ID, last)
		}
		return
	}
	c.t.Error("nothing is escalated after the restore")
}
