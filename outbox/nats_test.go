package outbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"passerelle/internal/cluster"

	"github.com/nats-io/nats-server/v2/server"
)

// startNATS starts servers on loopback that keep JetStream in folders of their own:
// one, or a cluster. stop ends one of them, as its process would end; start begins
// it again.
type natsCluster struct {
	testing.TB
	dir     string
	ports   []int // for clients
	routes  []int
	servers []*server.Server
	change  []func(*server.Options)
}

func startNATS(t testing.TB, n int, change ...func(*server.Options)) *natsCluster {
	t.Helper()
	c := newNATS(t, n, change...)
	for i := range n {
		c.start(i)
	}
	return c
}

// newNATS is startNATS without the start.
func newNATS(t testing.TB, n int, change ...func(*server.Options)) *natsCluster {
	t.Helper()
	c := &natsCluster{TB: t, dir: t.TempDir(), servers: make([]*server.Server, n), change: change}
	for range n {
		c.ports, c.routes = append(c.ports, freePort(t)), append(c.routes, freePort(t))
	}
	t.Cleanup(func() {
		for i := range n {
			c.stop(i)
		}
	})
	return c
}

func freePort(t testing.TB) int {
	t.Helper()
	port, err := cluster.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (c *natsCluster) start(i int) {
	c.Helper()
	o := &server.Options{ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: c.ports[i], NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: filepath.Join(c.dir, fmt.Sprint(i)), SyncAlways: false}
	if len(c.servers) > 1 {
		o.Cluster = server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: c.routes[i]}
		var routes string
		for j, p := range c.routes {
			if j != i {
				routes += fmt.Sprintf("nats://127.0.0.1:%d,", p)
			}
		}
		o.Routes = server.RoutesFromStr(routes[:len(routes)-1])
	}
	for _, f := range c.change {
		f(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		c.Fatal(err)
	}
	c.servers[i] = s
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		c.Fatal("the NATS server does not start")
	}
}

func (c *natsCluster) stop(i int) {
	if s := c.servers[i]; s != nil {
		s.Shutdown()
		s.WaitForShutdown()
		c.servers[i] = nil
	}
}

func (c *natsCluster) options(dir string) NATSOptions {
	o := NATSOptions{Replicas: len(c.servers), Dir: dir, Name: filepath.Base(dir)}
	for _, p := range c.ports {
		o.URLs = append(o.URLs, fmt.Sprintf("nats://127.0.0.1:%d", p))
	}
	return o
}

// outside is a backend whose work is done by a goroutine outside of the bubble of
// the test: what waits for a real server is not at rest, and the connection may
// not touch what belongs to a bubble. As there is one gateway only, nobody tells
// the lanes of other commits meanwhile.
type outside struct {
	*replicated
	work chan func()
}

// do runs fn outside; a mutex, unlike a channel, belongs to no bubble.
func (o *outside) do(fn func()) {
	var done sync.Mutex
	done.Lock()
	o.work <- func() {
		defer done.Unlock()
		fn()
	}
	done.Lock()
}

func (o *outside) view(fn func(reader) error) (err error) {
	o.do(func() { err = o.replicated.view(fn) })
	return err
}

func (o *outside) update(fn func(writer) error, committed func()) (err error) {
	told := false
	o.do(func() { err = o.replicated.update(fn, func() { told = true }) })
	if told {
		committed()
	}
	return err
}

func (o *outside) close() (err error) {
	o.do(func() { err = o.replicated.close() })
	return err
}

// outsideShelf does the same for the files.
type outsideShelf struct {
	*objects
	at *outside
}

func (s *outsideShelf) stage(_ context.Context, r io.Reader) (st staged, err error) {
	s.at.do(func() { st, err = s.objects.stage(context.Background(), r) })
	return st, err
}

func (s *outsideShelf) open(sum, object string) (r io.ReadCloser, err error) {
	s.at.do(func() {
		if r, err = s.objects.open(sum, object); err != nil {
			return
		}
		b, bad := io.ReadAll(r)
		err = bad
		r.Close()
		r = io.NopCloser(bytes.NewReader(b))
	})
	return r, err
}

// natsMaker opens stores in the bubble of a test on servers outside of it.
func natsMaker(servers int) func(t testing.TB) maker {
	return func(t testing.TB) maker {
		c := startNATS(t, servers)
		dir := filepath.Join(c.dir, "replica")
		work := make(chan func())
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for fn := range work {
					fn()
				}
			})
		}
		t.Cleanup(func() { close(work); wg.Wait() })
		return func(t testing.TB) Store {
			at := &outside{work: work}
			var shelf *objects
			var err error
			at.do(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				defer cancel()
				at.replicated, shelf, err = openReplicated(ctx, c.options(dir).withDefaults())
			})
			if err != nil {
				t.Fatal(err)
			}
			s, err := open(at, &outsideShelf{shelf, at})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
}
