// Package cluster runs several gateways on one store as processes of their own,
// for the demonstration and the tests: NATS servers, gateways, a balancer before
// them, and a road between each gateway and the servers that can be cut.
//
// It keeps what the processes keep, in one folder. What can go wrong: a process
// that does not begin; the error has the end of its log.
package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"passerelle/adapters"
)

// Link is the contract that the gateways carry out, and its two tools.
type Link struct {
	Contract  string            `yaml:"contract"` // below Plan.Contracts
	Requester adapters.Settings `yaml:"requester"`
	Partner   adapters.Settings `yaml:"partner"`
}

// Plan is what a cluster shall be.
type Plan struct {
	Dir       string // where everything lies
	Gateway   string // the program
	Nodes     int    // NATS servers
	Gateways  int    // gateways
	Contracts string // folder of the contracts
	Links     []Link // what they carry out
	Lease     string // as outbox.lease of gateway.yaml
	Grace     string // as outbox.grace
	Sweep     string // as sweep.every; default 0s
	Sync      bool   // the servers sync each change before they acknowledge it
}

// Cluster is a running one.
type Cluster struct {
	Plan
	Public   string // URL of the balancer, before the faces of all gateways
	Nodes    []*Node
	Gateways []*Gateway
	balancer *balancer
}

// Gateway is one gateway.
type Gateway struct {
	Process
	Listen, Admin string // its own addresses
	roads         []*road
}

// Start begins all of a plan, and returns when every gateway is ready.
func Start(p Plan) (*Cluster, error) {
	c := &Cluster{Plan: p}
	if err := c.start(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) start() error {
	for i := range c.Plan.Nodes {
		n, err := newNode(c.Dir, i)
		if err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, n)
	}
	for _, n := range c.Nodes {
		if err := n.plan(c); err != nil {
			return err
		}
		if err := n.Start(); err != nil {
			return err
		}
	}
	for i := range c.Plan.Gateways {
		g, err := c.gateway(i)
		if err != nil {
			return err
		}
		c.Gateways = append(c.Gateways, g)
	}
	for _, g := range c.Gateways {
		if err := g.Start(); err != nil {
			return err
		}
	}
	for _, g := range c.Gateways {
		if err := g.Ready(time.Minute); err != nil {
			return err
		}
	}
	var err error
	c.balancer, err = newBalancer(c.Gateways)
	if err == nil {
		c.Public = c.balancer.url
	}
	return err
}

// gateway writes the configuration of one.
func (c *Cluster) gateway(i int) (*Gateway, error) {
	name := fmt.Sprintf("gateway-%d", i+1)
	config := filepath.Join(c.Dir, name+".yaml")
	g := &Gateway{Process: Process{Name: name, log: filepath.Join(c.Dir, name+".log"), argv: []string{c.Plan.Gateway, "serve", "--config", config}}}
	var urls []string
	for _, n := range c.Nodes {
		r, err := newRoad(n.client)
		if err != nil {
			return nil, err
		}
		g.roads = append(g.roads, r)
		urls = append(urls, "nats://"+r.address())
	}
	for _, address := range []*string{&g.Listen, &g.Admin} {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		*address = fmt.Sprintf("127.0.0.1:%d", port)
	}
	b, err := yaml.MarshalWithOptions(map[string]any{
		"listen": g.Listen, "admin": g.Admin, "data": filepath.Join(c.Dir, name), "contracts": c.Contracts, "log": "info",
		"outbox": map[string]any{"kind": "nats", "urls": urls, "replicas": len(c.Nodes), "name": name, "lease": c.Lease, "grace": c.Grace},
		"retry":  map[string]string{"first": "100ms", "max": "2s", "age": "24h"},
		"sweep":  map[string]string{"every": cmp.Or(c.Sweep, "0s")},
		"links":  c.Links,
	}, yaml.OmitZero())
	if err != nil {
		return nil, err
	}
	return g, os.WriteFile(config, b, 0o600)
}

// Ready waits until the gateway takes and delivers.
func (g *Gateway) Ready(within time.Duration) error {
	said := "nothing answers"
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		res, err := http.Get("http://" + g.Admin + "/readyz")
		if err != nil {
			if g.over() {
				break
			}
			continue
		}
		b, _ := io.ReadAll(io.LimitReader(res.Body, 4096)) // what was read is shown
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return nil
		}
		said = string(b)
	}
	return fmt.Errorf("%s is not ready: %s\n%s", g.Name, said, g.tail())
}

// Leads tells whether the gateway works for a contract.
func (g *Gateway) Leads(contract string) bool {
	res, err := http.Get("http://" + g.Admin + "/metrics")
	if err != nil {
		return false
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body) // a half does not say so
	return strings.Contains(string(b), `passerelle_leads{contract="`+contract+`"} 1`)
}

// Leader waits for the gateway that works for a contract.
func (c *Cluster) Leader(contract string, within time.Duration) (*Gateway, error) {
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for _, g := range c.Gateways {
			if g.Leads(contract) {
				return g, nil
			}
		}
	}
	return nil, fmt.Errorf("no gateway works for %s after %v", contract, within)
}

// Cut cuts the gateway off from all NATS servers, or lets it back.
func (g *Gateway) Cut(yes bool) {
	for _, r := range g.roads {
		r.cut(yes)
	}
}

// Close ends all of it.
func (c *Cluster) Close() error {
	if c.balancer != nil {
		c.balancer.close()
	}
	for _, g := range c.Gateways {
		g.Kill()
		for _, r := range g.roads {
			r.close()
		}
	}
	for _, n := range c.Nodes {
		n.Kill()
		for _, r := range n.roads {
			r.close()
		}
	}
	return nil
}
