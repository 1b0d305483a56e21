package conversation

import (
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"passerelle"
	"passerelle/adapters"
	"passerelle/internal/cluster"
	"passerelle/internal/trial"
	"passerelle/outbox"
)

var clusterRounds = flag.Int("cluster", 0, "how often each trouble of a cluster is played; 0: two of them once")

// clusterTroubles are what may befall three gateways on three NATS servers. Each
// begins, and is over, within a few leases.
var clusterTroubles = []struct {
	name string
	do   func(c *clustered)
}{
	{"the leading gateway is killed in the midst of a delivery", func(c *clustered) { c.killLeader() }},
	{"a NATS server is stopped", func(c *clustered) { c.stopNode(false) }},
	{"the NATS server that leads the stream is stopped", func(c *clustered) { c.stopNode(true) }},
	{"the leading gateway is frozen for longer than its lease, in the midst of a delivery", func(c *clustered) { c.freezeLeader() }},
	{"the leading gateway is cut off from the NATS servers for longer than its lease", func(c *clustered) { c.cutLeader() }},
	{"the NATS server that leads the stream is cut off from the others", func(c *clustered) { c.cutNode() }},
	{"all gateways are replaced, one after the other", func(c *clustered) { c.roll() }},
}

// TestCluster has three gateways on three NATS servers, all processes of their own,
// take and deliver while one trouble after the other befalls them. All that was
// acknowledged is in the other tool afterwards: once, and in order. `make cluster`
// plays all of them, many times.
func TestCluster(t *testing.T) {
	c := newClustered(t)
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for range 3 {
		senders.Go(func() { c.send(stop) })
	}
	troubles := clusterTroubles
	if *clusterRounds == 0 {
		troubles = troubles[:2]
	}
	for range max(1, *clusterRounds) {
		for _, trouble := range troubles {
			c.play(trouble.name, trouble.do)
		}
	}
	close(stop)
	senders.Wait()
	c.finish()
	t.Logf("%d tickets, %d messages acknowledged, %d comments written in Jira; %d answers that were none, and said again", len(c.tickets), c.acked.Load(), c.written.Load(), c.unanswered.Load())
}

// clustered is a crash test of several gateways.
type clustered struct {
	*crash
	*cluster.Cluster
	lastEffect atomic.Int64 // when a tool last took something, in ns since 1970
	longest    atomic.Int64 // the longest time between two, in ns
}

const (
	clusterLease, clusterGrace = 2 * time.Second, 3 * time.Second
	clusterContract            = "orleans-tours-gar"
)

func newClustered(t *testing.T) *clustered {
	t.Helper()
	dir := t.TempDir()
	c := &clustered{crash: &crash{t: t, data: filepath.Join(dir, "gateway-1"), rnd: rand.New(rand.NewPCG(6, uint64(*clusterRounds)))}}
	c.rig = &rig{ctx: t.Context(), store: outbox.NewMem(), cancel: func() {}, tools: map[passerelle.Side]*trial.Tool{}, ears: map[passerelle.Side]*ear{}}
	t.Cleanup(func() {
		if c.Cluster != nil {
			c.Cluster.Close()
		}
		if err := c.crash.close(); err != nil {
			t.Error(err)
		}
	})
	c.setUp()
	for _, side := range trial.Sides {
		c.ears[side].watch = c.watch
	}
	program := filepath.Join(dir, "gateway")
	if out, err := exec.Command("go", "build", "-o", program, "passerelle/cmd/gateway").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	secret := func(name, value string) (adapters.SecretRef, error) {
		file := filepath.Join(dir, name)
		return adapters.SecretRef{File: file}, os.WriteFile(file, []byte(value+"\n"), 0o600)
	}
	link := cluster.Link{Contract: clusterContract + "/v1"}
	var errs [3]error
	link.Requester, errs[0] = c.stage.Connect(passerelle.Requester, c.tools[passerelle.Requester].URL, token, secret)
	link.Partner, errs[1] = c.stage.Connect(passerelle.Partner, c.tools[passerelle.Partner].URL, token, secret)
	contracts, err := filepath.Abs("../../contracts")
	errs[2] = err
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	c.Cluster, err = cluster.Start(cluster.Plan{Dir: dir, Gateway: program, Nodes: 3, Gateways: 3, Contracts: contracts, Links: []cluster.Link{link}, Lease: clusterLease.String(), Grace: clusterGrace.String(), Sweep: "2s"})
	if err != nil {
		t.Fatal(err)
	}
	c.admin = c.Gateways[0].Admin
	c.point(c.Public)
	return c
}

// watch measures how long nothing arrives anywhere.
func (c *clustered) watch(point string) {
	if point == "effect" {
		now := time.Now().UnixNano()
		if last := c.lastEffect.Swap(now); last != 0 {
			for old := c.longest.Load(); now-last > old && !c.longest.CompareAndSwap(old, now-last); old = c.longest.Load() {
			}
		}
	}
	c.reach(point)
}

// play has one trouble, and waits until all gateways are well again.
func (c *clustered) play(name string, do func(*clustered)) {
	c.longest.Store(0)
	start, acked := time.Now(), c.acked.Load()
	do(c)
	for _, g := range c.Gateways {
		if err := g.Ready(time.Minute); err != nil {
			c.t.Fatalf("%s: %v", name, err)
		}
	}
	if _, err := c.Leader(clusterContract, time.Minute); err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	time.Sleep(500 * time.Millisecond) // some traffic while all is well
	c.t.Logf("%s: %d messages acknowledged in %.1f s; for %.1f s at most nothing arrived anywhere", name, c.acked.Load()-acked, time.Since(start).Seconds(), time.Duration(c.longest.Load()).Seconds())
}

func (c *clustered) leader() *cluster.Gateway {
	g, err := c.Leader(clusterContract, time.Minute)
	if err != nil {
		c.t.Fatal(err)
	}
	return g
}

// strikeLeader does something to the leading gateway at a point of its work.
func (c *clustered) strikeLeader(strike func(g *cluster.Gateway)) *cluster.Gateway {
	g := c.leader()
	c.strike = func() { strike(g) }
	c.kill([]string{"lent", "effect", "settled", "committed", "random"}[c.rnd.IntN(5)])
	return g
}

func (c *clustered) killLeader() {
	g := c.strikeLeader((*cluster.Gateway).Kill)
	c.succeeded(g)
	c.begin(&g.Process)
}

// succeeded waits until another gateway leads.
func (c *clustered) succeeded(g *cluster.Gateway) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for _, other := range c.Gateways {
			if other != g && other.Leads(clusterContract) {
				return
			}
		}
	}
	c.t.Fatalf("nobody works for the contract after %s", g.Name)
}

func (c *clustered) begin(p *cluster.Process) {
	if err := p.Start(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *clustered) freezeLeader() {
	g := c.strikeLeader((*cluster.Gateway).Freeze)
	c.succeeded(g)
	time.Sleep(clusterLease)
	g.Thaw()
}

func (c *clustered) cutLeader() {
	g := c.strikeLeader(func(g *cluster.Gateway) { g.Cut(true) })
	c.succeeded(g)
	time.Sleep(clusterLease)
	g.Cut(false)
}

func (c *clustered) stopNode(leader bool) {
	n := c.Nodes[c.rnd.IntN(len(c.Nodes))]
	if leader {
		var err error
		if n, err = c.StreamLeader("passerelle"); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := n.Stop(20 * time.Second); err != nil {
		c.t.Fatal(err)
	}
	time.Sleep(3 * time.Second) // the others go on
	c.begin(&n.Process)
	c.whole()
}

// cutNode has the servers disagree for a while who leads: gateways that are connected
// to the one that is cut off must find out.
func (c *clustered) cutNode() {
	n, err := c.StreamLeader("passerelle")
	if err != nil {
		c.t.Fatal(err)
	}
	n.Cut(true)
	time.Sleep(12 * time.Second) // another leader is chosen after four seconds at the soonest
	n.Cut(false)
	c.whole()
}

// whole waits until all servers hold the log and the attachments again.
func (c *clustered) whole() {
	for _, stream := range []string{"passerelle", "OBJ_passerelle-files"} {
		if err := c.Whole(stream, time.Minute); err != nil {
			c.t.Fatal(err)
		}
	}
}

// roll replaces one gateway after the other, as an upgrade does: no sender is
// refused.
func (c *clustered) roll() {
	before := c.unanswered.Load()
	for _, g := range c.Gateways {
		if err := g.Stop(time.Minute); err != nil {
			c.t.Fatal(err)
		}
		c.begin(&g.Process)
		if err := g.Ready(time.Minute); err != nil {
			c.t.Fatal(err)
		}
	}
	if n := c.unanswered.Load() - before; n != 0 {
		why := "?"
		if w := c.why.Load(); w != nil {
			why = *w
		}
		c.t.Errorf("%d requests were refused while the gateways were replaced: %s", n, why)
	}
}

// TestStopWithoutServers: gateways whose NATS servers are all gone say so, and end
// when they are told to. `make cluster` runs it.
func TestStopWithoutServers(t *testing.T) {
	if *clusterRounds == 0 {
		t.Skip("takes a minute: make cluster")
	}
	c := newClustered(t)
	c.leader()
	for _, n := range c.Nodes {
		n.Kill()
	}
	for _, g := range c.Gateways {
		if err := g.Ready(15 * time.Second); err == nil {
			t.Errorf("%s says that it is ready", g.Name)
		}
	}
	for _, g := range c.Gateways {
		if err := g.Stop(80 * time.Second); err != nil {
			t.Error(err)
		}
	}
}
