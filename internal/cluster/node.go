package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Node is one NATS server.
type Node struct {
	Process
	client, route int // ports
	dir           string
	roads         map[*Node]*road // to the others
	c             *Cluster
}

func newNode(dir string, i int) (*Node, error) {
	name := fmt.Sprintf("nats-%d", i+1)
	n := &Node{Process: Process{Name: name, log: filepath.Join(dir, name+".log")}, dir: filepath.Join(dir, name)}
	var errs [2]error
	n.client, errs[0] = FreePort()
	n.route, errs[1] = FreePort()
	return n, errors.Join(errs[:]...)
}

// URLs are the addresses of the NATS servers.
func (c *Cluster) URLs() []string {
	var urls []string
	for _, n := range c.Nodes {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", n.client))
	}
	return urls
}

// info asks the servers, one after the other, about a stream.
func (c *Cluster) info(stream string) (*jetstream.StreamInfo, error) {
	nc, err := nats.Connect(strings.Join(c.URLs(), ","), nats.Timeout(time.Second))
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

// StreamLeader is the server through which all changes of a stream go.
func (c *Cluster) StreamLeader(stream string) (*Node, error) {
	info, err := c.info(stream)
	if err != nil {
		return nil, err
	}
	for _, n := range c.Nodes {
		if info.Cluster != nil && n.Name == info.Cluster.Leader {
			return n, nil
		}
	}
	return nil, fmt.Errorf("the stream %s has no leader", stream)
}

// Whole waits until all servers hold all of a stream.
func (c *Cluster) Whole(stream string, within time.Duration) error {
	said := "nobody answers"
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		info, err := c.info(stream)
		if err != nil {
			said = err.Error()
			continue
		}
		current := info.Cluster != nil && info.Cluster.Leader != ""
		for _, r := range info.Cluster.Replicas {
			current = current && r.Current && !r.Offline
		}
		if current {
			return nil
		}
		said = "a server is behind"
	}
	return fmt.Errorf("the stream %s is not whole after %v: %s", stream, within, said)
}

// nodeEnv is set in a process that shall be a NATS server, to its nodePlan.
const nodeEnv = "PASSERELLE_NATS_NODE"

type nodePlan struct {
	Name, Dir     string
	Client, Route int
	Routes        []string
	Sync          bool
}

// plan has the node started as this very program.
func (n *Node) plan(c *Cluster) error {
	p := nodePlan{Name: n.Name, Dir: n.dir, Client: n.client, Route: n.route, Sync: c.Sync}
	n.c, n.roads = c, map[*Node]*road{}
	for _, other := range c.Nodes {
		if other == n {
			continue
		}
		r, err := newRoad(other.route)
		if err != nil {
			return err
		}
		n.roads[other] = r
		p.Routes = append(p.Routes, "nats://"+r.address())
	}
	b, _ := json.Marshal(p) // plain data always encodes
	n.argv, n.env = []string{os.Args[0]}, []string{nodeEnv + "=" + string(b)}
	return nil
}

// Cut cuts the server off from the other servers, or lets it back; gateways reach
// it as before.
func (n *Node) Cut(yes bool) {
	for _, other := range n.c.Nodes {
		if other != n {
			n.roads[other].cut(yes)
			other.roads[n].cut(yes)
		}
	}
}

// RunNode runs a NATS server if this process was started as one, until it is told
// to end, and then ends the process. A program that starts clusters calls it first.
func RunNode() {
	text := os.Getenv(nodeEnv)
	if text == "" {
		return
	}
	if err := runNode(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runNode(text string) error {
	var p nodePlan
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return err
	}
	o := &server.Options{ServerName: p.Name, Host: "127.0.0.1", Port: p.Client, NoSigs: true, JetStream: true, StoreDir: p.Dir, SyncAlways: p.Sync}
	if len(p.Routes) > 0 {
		// Nobody is told where the others are: each has a road of its own to each.
		o.Cluster = server.ClusterOpts{Name: "passerelle", Host: "127.0.0.1", Port: p.Route, NoAdvertise: true, Advertise: "127.0.0.1:1"}
		o.Routes = server.RoutesFromStr(strings.Join(p.Routes, ","))
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return errors.New("the NATS server does not begin")
	}
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}
