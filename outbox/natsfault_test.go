package outbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"passerelle"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var cutsFlag = flag.Int("cuts", 4, "how often the line of a loaded gateway is disturbed")

// proxy is a line to a server that can be disturbed.
type proxy struct {
	testing.TB
	l  net.Listener
	to string

	mu    sync.Mutex
	conns map[net.Conn]bool
	holed bool          // nothing passes, and nobody is told
	open  chan struct{} // closed while it is not
	delay time.Duration
	cutAt string // cut the line once this was forwarded to the server
	cuts  int
}

// proxy stands before server i.
func (c *natsCluster) proxy(i int) *proxy {
	c.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(c, err)
	p := &proxy{TB: c.TB, l: l, to: fmt.Sprintf("127.0.0.1:%d", c.ports[i]), conns: map[net.Conn]bool{}, open: make(chan struct{})}
	close(p.open)
	go p.accept()
	c.Cleanup(func() { l.Close(); p.hole(false); p.cut() })
	return p
}

// through lets a gateway take this line.
func (p *proxy) through(o *NATSOptions) { o.URLs = []string{"nats://" + p.l.Addr().String()} }

func (p *proxy) accept() {
	for {
		from, err := p.l.Accept()
		if err != nil {
			return
		}
		go p.serve(from)
	}
}

func (p *proxy) serve(from net.Conn) {
	defer from.Close()
	p.pass()
	to, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer to.Close()
	p.note(from, to)
	defer p.forget(from, to)
	go p.copy(from, to, false)
	p.copy(to, from, true)
}

func (p *proxy) note(cs ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range cs {
		p.conns[c] = true
	}
}

func (p *proxy) forget(cs ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range cs {
		delete(p.conns, c)
	}
}

func (p *proxy) copy(to, from net.Conn, toServer bool) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		time.Sleep(p.pass())
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
		if toServer && p.isCut(b[:n]) {
			return
		}
	}
}

// pass waits until something may pass, and tells how long it takes.
func (p *proxy) pass() time.Duration {
	p.mu.Lock()
	open := p.open
	p.mu.Unlock()
	<-open
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.delay
}

func (p *proxy) isCut(b []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cutAt == "" || !bytes.Contains(b, []byte(p.cutAt)) {
		return false
	}
	p.cutAt = ""
	p.cuts++
	return true
}

func (p *proxy) hole(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case yes && !p.holed:
		p.open = make(chan struct{})
	case !yes && p.holed:
		close(p.open)
	}
	p.holed = yes
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) set(delay time.Duration, cutAt string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay, p.cutAt = delay, cutAt
}

// disturb does one thing to a line, and then lets it be.
func (p *proxy) disturb(rng *rand.Rand) {
	switch rng.IntN(4) {
	case 0:
		p.cut()
	case 1: // the batch is there, its answer is not
		p.set(0, "HPUB passerelle.log")
	case 2:
		p.set(time.Duration(rng.IntN(30))*time.Millisecond, "")
	case 3:
		p.hole(true)
		time.Sleep(time.Duration(rng.IntN(4000)) * time.Millisecond)
		p.hole(false)
	}
	time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
	p.set(0, "")
}

// TestFaultCuts disturbs the line of one gateway while two write and deliver.
func TestFaultCuts(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Log("seed", seed)
	c := startNATS(t, 1)
	p := c.proxy(0)
	w := newCrowd(c, c.gateway("a"), c.gateway("b", p.through))
	w.run(seed, 4**cutsFlag, func(done <-chan struct{}) {
		rng := rand.New(rand.NewPCG(seed, 1000))
		for range *cutsFlag {
			p.disturb(rng)
		}
	})
}

// TestFaultLostAnswer: whose answer was lost is there once, and its caller is told
// so, also where another gateway's change came right behind it.
func TestFaultLostAnswer(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := startNATS(t, 1)
	p := c.proxy(0)
	a, b := c.gateway("a", p.through, func(o *NATSOptions) { o.Patience = 20 * time.Second }), c.gateway("b")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				must(t, b.Keep(ctx, "busy", fmt.Sprint(i)))
			}
		}
	})
	for i := range *cutsFlag {
		p.set(0, "PUB passerelle.log")
		a.ticket(fmt.Sprint("t", i)) // no error: ErrSeen would mean that it was run twice
	}
	if p.cuts < *cutsFlag/2 { // a piece of the line may end within the word
		t.Errorf("%d answers were lost", p.cuts)
	}
	close(stop)
	wg.Wait()
	// A hint that waits once more, whose answer is lost, is handed out once more.
	_, resign := a.lead()
	defer resign()
	must(t, a.Look(ctx, Look{Contract: deal, Side: passerelle.Partner, Key: "k"}))
	for range 2 {
		short, cancel := context.WithTimeout(ctx, 10*time.Second)
		l, err := a.NextLook(short, toPartner)
		cancel()
		must(t, err)
		p.set(0, "HPUB passerelle.log")
		must(t, a.Looked(ctx, l, time.Now(), nil))
	}
	c.same(a, b)
}

// TestFaultLateLanded: a batch of ours that came back before the servers refused it
// for being there already is ours, whatever came behind it.
func TestFaultLateLanded(t *testing.T) {
	ctx := context.Background()
	c := startNATS(t, 1)
	a, b := c.gateway("a"), c.gateway("b")
	b.ticket("0")
	// As if the answer had been lost, and asked for again after the time in which
	// the servers know a message by its id.
	kv, ran, told := a.log(), 0, 0
	err := kv.update(func(w writer) error {
		if ran++; ran > 1 {
			return errors.New("run again")
		}
		w.put(keptBucket, []byte("k"), []byte("v"))
		before, _ := kv.at()
		if _, err := kv.publish(kv.pending.batch, before, encodeRows([]row{{keptBucket, []byte("k"), []byte("v")}})); err != nil {
			ran--
			return err // the upkeep of b came first
		}
		must(t, b.Keep(ctx, "other", "x"))
		kv.js = forgetful{kv.js}
		return nil
	}, func() { told++ })
	if err != nil || ran != 1 || told != 1 {
		t.Errorf("%v; run %d times, told %d times", err, ran, told)
	}
}

// forgetful servers do not know a message by its id any more.
type forgetful struct{ jetstream.JetStream }

func (f forgetful) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	return f.JetStream.PublishMsg(ctx, m, append(opts, jetstream.WithMsgID(fmt.Sprint(rand.Uint64())))...)
}

// TestFaultServers stops and starts the servers of a cluster, all, then one, then the
// leader of the stream, while three gateways write and deliver.
func TestFaultServers(t *testing.T) {
	if *clusterFlag < 100 {
		t.Skip("-cluster 100 or more runs it; TestFaultNoMajority is the short version")
	}
	t.Parallel()
	seed := rand.Uint64()
	t.Log("seed", seed)
	c := startNATS(t, 3)
	w := newCrowd(c, c.gateway("a"), c.gateway("b"), c.gateway("c"))
	_, stream := c.stream()
	w.run(seed, *clusterFlag, func(<-chan struct{}) {
		again := func(is ...int) {
			for _, i := range is {
				c.stop(i)
			}
			for _, i := range is {
				c.start(i)
			}
			soon(t, "the stream has a leader, and all its servers", time.Minute, func() bool {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				info, err := stream.Info(ctx)
				if err != nil || info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
					return false
				}
				return info.Cluster.Replicas[0].Current && info.Cluster.Replicas[1].Current
			})
		}
		again(0, 1, 2)
		again(0)
		info, err := stream.Info(context.Background())
		must(t, err)
		again(int(info.Cluster.Leader[1] - '0'))
	})
}

// TestFaultNoMajority: without a majority nothing is accepted and nothing is read, and
// each caller is told why within his patience; it goes on by itself.
func TestFaultNoMajority(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := startNATS(t, 3)
	g := c.gateway("a")
	g.ticket("1")
	c.stop(0)
	c.stop(1)
	quick := func(what string, most time.Duration, do func() error) {
		t.Helper()
		at := time.Now()
		err := do()
		t.Logf("%s, after %v: %v", what, time.Since(at).Round(time.Millisecond), err)
		if took := time.Since(at); err == nil || took > most {
			t.Errorf("%s: %v after %v", what, err, took)
		}
	}
	quick("append", g.shared.patience+time.Second, func() error { return g.Append(ctx, &Change{Link: aLink("2"), Names: []Name{aName("2")}}) })
	quick("find", 2*tryFor+time.Second, func() error { _, err := g.Find(ctx, deal, passerelle.Requester, "1"); return err })
	quick("ready", 2*tryFor+time.Second, func() error { return g.Ready(ctx) })
	c.start(0)
	c.start(1)
	soon(t, "it goes on", 40*time.Second, func() bool { return g.Ready(ctx) == nil })
	soon(t, "the change that nobody knew of is there", 20*time.Second, func() bool {
		seen, err := g.Seen(ctx, aName("2"))
		return err == nil && seen["2"]
	})
	g.ticket("3")
}

// TestFaultAnother: a stream that is not ours, or not what it was, is refused with
// what to do about it.
func TestFaultAnother(t *testing.T) {
	ctx := context.Background()
	c := startNATS(t, 1)
	refused := func(what, dir string, change func(*NATSOptions)) {
		t.Helper()
		at := time.Now()
		g, err := c.tryGateway(dir, change)
		if err == nil {
			g.Close()
			t.Fatalf("%s is accepted", what)
		}
		t.Logf("%s: %v", what, err)
		if time.Since(at) > 10*time.Second {
			t.Errorf("%s is refused after %v", what, time.Since(at))
		}
	}
	same := func(*NATSOptions) {}
	g := c.gateway("a")
	g.ticket("1")
	refused("a folder in use", "a", same)
	must(t, g.Close())
	refused("the folder of another stream", "a", func(o *NATSOptions) { o.Stream = "other" })
	js, stream := c.stream()
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "foreign", Subjects: []string{"foreign.>"}})
	must(t, err)
	refused("a foreign stream", "b", func(o *NATSOptions) { o.Stream = "foreign" })

	// Limits that somebody set are taken away.
	cfg := stream.CachedInfo().Config
	cfg.MaxMsgs, cfg.MaxAge, cfg.MaxBytes = 1000, time.Hour, 1<<30
	_, err = js.UpdateStream(ctx, cfg)
	must(t, err)
	g = c.gateway("a")
	g.ticket("2")
	info, err := stream.Info(ctx)
	must(t, err)
	if isLimited(info.Config) {
		t.Errorf("limits: %+v", info.Config)
	}

	// While a gateway runs the stream loses its end, then is made anew.
	must(t, stream.Purge(ctx))
	must(t, js.DeleteStream(ctx, "passerelle"))
	g2 := c.gateway("c")
	g2.ticket("other")
	if _, err := g.Find(ctx, deal, passerelle.Requester, "1"); err == nil || !strings.Contains(err.Error(), "made anew") {
		t.Errorf("another stream is read: %v", err)
	}
	if err := g.Append(ctx, &Change{Link: aLink("3")}); err == nil {
		t.Error("another stream is written")
	}
	if err := g.Ready(ctx); err == nil {
		t.Error("ready on another stream")
	}
	must(t, g.Close())
	refused("a stream that was made anew", "a", same)
}

// TestFaultShortened: the log begins anew with a copy; who was away meanwhile begins
// with that.
func TestFaultShortened(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := startNATS(t, 1)
	p := c.proxy(0)
	a, away := c.gateway("a"), c.gateway("away", p.through)
	closed := c.gateway("closed")
	must(t, closed.Close())
	a.ticket("1")
	soon(t, "it is there", 5*time.Second, func() bool {
		_, err := away.Find(ctx, deal, passerelle.Requester, "1")
		return err == nil
	})
	p.hole(true)
	for i := range 50 {
		a.ticket(fmt.Sprint("t", i))
	}
	for i := range 150 { // a log that is longer than the tables
		must(t, a.Keep(ctx, "large", strings.Repeat(fmt.Sprint(i%10), 100<<10)))
	}
	must(t, a.Append(ctx, &Change{Link: aLink("large"), Entries: []*Entry{anEntry(passerelle.Partner, strings.Repeat("x", 3<<20))}}))
	o := a.files.shelf.(*objects)
	for range 3 {
		for i := range 100 {
			must(t, a.Keep(ctx, "large", strings.Repeat(fmt.Sprint(i%10), 150<<10)))
		}
		must(t, a.log().shorten(ctx, o, 0))
	}
	info, err := a.log().stream.Info(ctx)
	must(t, err)
	if info.State.Msgs > 3 {
		t.Errorf("%d messages are left", info.State.Msgs)
	}
	if there, err := hasCopy(ctx, o.copies); err != nil || !there {
		t.Errorf("no copy: %v", err)
	}
	p.cut()
	p.hole(false)
	soon(t, "who was away says so", 30*time.Second, func() bool {
		err := away.Ready(ctx)
		return err != nil && strings.Contains(err.Error(), "restart")
	})
	t.Log(away.Ready(ctx))
	must(t, away.Close())
	a.ticket("after")
	c.same(a, c.gateway("away"), c.gateway("closed"), c.gateway("new"))
}

// TestFaultReplica: a replica that is gone, or that its machine went down with, is
// made again from the log.
func TestFaultReplica(t *testing.T) {
	ctx := context.Background()
	c := startNATS(t, 1)
	other := c.gateway("other")
	for what, harm := range map[string]func(o *NATSOptions) error{
		"folder removed": func(o *NATSOptions) error { return os.RemoveAll(o.Dir) },
		"another boot": func(o *NATSOptions) error { // and the file is torn
			return errors.Join(os.WriteFile(o.markPath(), []byte("another"), 0o600), os.WriteFile(o.path(), []byte("torn"), 0o600))
		},
		"closed well": func(o *NATSOptions) error {
			if _, err := os.Stat(o.markPath()); err == nil {
				return errors.New("the mark is there after Close")
			}
			return nil
		},
	} {
		t.Run(what, func(t *testing.T) {
			g := c.gateway(what)
			g.ticket(what)
			o := g.log().o
			if _, err := os.Stat(o.markPath()); err != nil {
				t.Fatal(err)
			}
			must(t, g.Close())
			must(t, harm(&o))
			g = c.gateway(what)
			_, err := g.Find(ctx, deal, passerelle.Requester, what)
			must(t, err)
			c.same(g, other)
		})
	}
}

// sharedEnv holds the options of a child that is one of several gateways.
const sharedEnv = "OUTBOX_CHILD_NATS"

// sharedWork is a child of TestFaultKill; work calls it by its role.
func sharedWork() {
	var o NATSOptions
	if err := json.Unmarshal([]byte(os.Getenv(sharedEnv)), &o); err != nil {
		say("error %v", err)
		return
	}
	s, err := OpenNATS(context.Background(), o)
	if err != nil {
		say("error %v", err)
		return
	}
	var wg sync.WaitGroup
	run := fmt.Sprint(time.Now().UnixNano())
	for i := range 4 {
		wg.Go(func() { send(s, fmt.Sprint(run, "-", i), say) })
	}
	wg.Wait()
}

// TestFaultKill kills a gateway at random moments, again and again on one folder.
func TestFaultKill(t *testing.T) {
	rng := chance(t)
	c := startNATS(t, 1)
	o := c.options(filepath.Join(c.dir, "killed"))
	raw, err := json.Marshal(o)
	must(t, err)
	l := newLedger(t)
	for range max(3, *killsFlag/5) {
		cmd := child(c.dir, "shared")
		cmd.Env = append(cmd.Env, sharedEnv+"="+string(raw))
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		l.read(out, 1+rng.IntN(150), func() {
			time.Sleep(time.Duration(rng.IntN(5000)) * time.Microsecond)
			must(t, cmd.Process.Kill())
		})
		_ = cmd.Wait()
		if t.Failed() {
			return
		}
	}
	g := c.same(c.gateway("killed"))
	present := map[string]*Entry{}
	for e, err := range g.Entries(context.Background(), Query{}) {
		must(t, err)
		text := e.Event.Fields["text"]
		if present[text] != nil || !l.begun[text] {
			t.Errorf("%s is there, begun %t, once more %t", text, l.begun[text], present[text] != nil)
		}
		present[text] = e
		for _, f := range e.Event.Files {
			if got := g.text(f.Sum); got != text {
				t.Errorf("the file of %s: %q", text, got)
			}
		}
	}
	for text, e := range l.appended {
		if is := present[text]; is == nil || is.ID != e.ID || is.Link != e.Link {
			t.Errorf("acknowledged %s as %+v, present is %+v", text, e, is)
		}
	}
	t.Logf("%d begun, %d acknowledged, %d there", len(l.begun), len(l.appended), len(present))
}

// TestFaultFewServers begins a gateway while one of three servers has not come up:
// there is no place for three replicas yet, which ends by itself.
func TestFaultFewServers(t *testing.T) {
	c := newNATS(t, 3)
	c.start(0)
	c.start(1)
	for !c.servers[0].JetStreamIsLeader() && !c.servers[1].JetStreamIsLeader() {
		time.Sleep(10 * time.Millisecond)
	}
	o := c.options(t.TempDir())
	said := make(complaints, 100)
	o.Log = slog.New(slog.NewTextHandler(said, nil))
	opened := make(chan error, 1)
	go func() {
		s, err := OpenNATS(t.Context(), o)
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	select {
	case line := <-said:
		if !strings.Contains(line, "no suitable peers") {
			t.Error("the first complaint is another:", line)
		}
	case err := <-opened:
		t.Fatal("opened without the third server:", err)
	}
	c.start(2)
	if err := <-opened; err != nil {
		t.Fatal("the third server has come:", err)
	}
}

// complaints are a log whose lines can be waited for.
type complaints chan string

func (l complaints) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// TestFaultStalledFile: a file that the servers do not take, or do not give, ends.
func TestFaultStalledFile(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := startNATS(t, 1)
	p := c.proxy(0)
	g := c.gateway("a", p.through)
	f, err := g.Files().Put(ctx, strings.NewReader(strings.Repeat("x", 1<<20)))
	must(t, err)
	g.ticket("1", f)
	p.hole(true)
	at := time.Now()
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := g.Files().Put(short, strings.NewReader("y")); err == nil || time.Since(at) > 10*time.Second {
		t.Errorf("put: %v after %v", err, time.Since(at))
	}
	at = time.Now()
	r, err := g.Files().Open(f.Sum)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
		r.Close()
	}
	t.Logf("open: %v after %v", err, time.Since(at))
	if err == nil || errors.Is(err, passerelle.ErrNotFound) || time.Since(at) > 15*time.Second {
		t.Errorf("a file that cannot be reached: %v after %v", err, time.Since(at))
	}
	p.hole(false)
	soon(t, "the file is there again", 20*time.Second, func() bool {
		r, err := g.Files().Open(f.Sum)
		if err != nil {
			return false
		}
		defer r.Close()
		n, err := io.Copy(io.Discard, r)
		return err == nil && n == f.Size
	})
}

// TestLedByAMajority: where the log ends is believed of a leader that hears from a
// majority of the servers that the stream should have, not only of those it lists.
func TestLedByAMajority(t *testing.T) {
	peer := func(active time.Duration, offline bool) *jetstream.PeerInfo {
		return &jetstream.PeerInfo{Active: active, Offline: offline}
	}
	for _, c := range []struct {
		what     string
		replicas int
		cluster  *jetstream.ClusterInfo
		led      bool
	}{
		{"one replica", 1, nil, true},
		{"both others answer", 3, &jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{peer(time.Second, false), peer(time.Millisecond, false)}}, true},
		{"one other answers", 3, &jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{peer(time.Minute, false), peer(time.Millisecond, false)}}, true},
		{"one other answers, and is said to be gone", 3, &jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{peer(time.Minute, false), peer(time.Millisecond, true)}}, false},
		{"no other was ever heard", 3, &jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{peer(0, false), peer(0, false)}}, false},
		{"no other is listed", 3, &jetstream.ClusterInfo{Leader: "a"}, false},
		{"nobody leads", 3, &jetstream.ClusterInfo{Replicas: []*jetstream.PeerInfo{peer(time.Millisecond, false), peer(time.Millisecond, false)}}, false},
		{"no cluster is told of", 3, nil, false},
	} {
		info := &jetstream.StreamInfo{Cluster: c.cluster}
		info.Config.Replicas = c.replicas
		if err := (&replicated{}).isLed(info); (err == nil) != c.led {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}
