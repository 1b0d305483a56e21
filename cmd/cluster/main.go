// Cluster is the demonstration of several gateways on one store: three NATS
// servers, three gateways behind a balancer and two simulated tools, of which one
// gateway and one server are killed while the contract is played. It keeps nothing:
// all lies in a folder that is removed at the end.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"passerelle"
	"passerelle/adapters"
	"passerelle/internal/cluster"
	"passerelle/internal/scenario"
	"passerelle/internal/trial"
)

func main() {
	cluster.RunNode()
	d := &demo{out: os.Stdout}
	flag.StringVar(&d.contracts, "contracts", "contracts", "folder of the contracts")
	flag.StringVar(&d.contract, "contract", "", "the contract to play, such as name/v1 (required)")
	flag.StringVar(&d.gateway, "gateway", "", "the gateway's program; default: it is built here")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := d.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

type demo struct {
	contracts, contract, gateway string
	out                          io.Writer
	dir                          string
	tools                        map[passerelle.Side]*trial.Tool
	stops                        []func() error
	*cluster.Cluster
}

// lease and grace are short here, so that nobody waits long: what a gateway and a
// simulated tool do on one machine takes milliseconds.
const lease, grace = 2 * time.Second, 3 * time.Second

func (d *demo) run(ctx context.Context) (err error) {
	play, err := scenario.Load(os.DirFS(filepath.Join(d.contracts, d.contract)), "demo/scenario.yaml")
	if err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "passerelle-cluster-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.end()) }()
	d.say("Trois serveurs NATS, trois passerelles et un répartiteur démarrent…", "Three NATS servers, three gateways and a balancer begin…")
	if err := d.start(ctx); err != nil {
		return err
	}
	tools := &scenario.Tools{Requester: d.tools[passerelle.Requester], Partner: d.tools[passerelle.Partner], Patience: time.Minute, Amid: d.amid(len(play.Steps))}
	return play.Play(ctx, tools, &scenario.Narrator{W: d.out})
}

func (d *demo) say(fr, en string) { fmt.Fprintf(d.out, "\n   ⚙ %s\n     %s\n", fr, en) }

// end ends all that was started, and removes its folder.
func (d *demo) end() error {
	var errs []error
	if d.Cluster != nil {
		errs = append(errs, d.Cluster.Close())
	}
	for i := len(d.stops) - 1; i >= 0; i-- {
		errs = append(errs, d.stops[i]())
	}
	return errors.Join(append(errs, os.RemoveAll(d.dir))...)
}

func (d *demo) start(ctx context.Context) error {
	if d.gateway == "" {
		d.gateway = filepath.Join(d.dir, "gateway")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", d.gateway, "passerelle/cmd/gateway").CombinedOutput(); err != nil {
			return fmt.Errorf("building the gateway: %w\n%s", err, out)
		}
	}
	stage, err := trial.Load(filepath.Join(d.contracts, d.contract))
	if err != nil {
		return err
	}
	link := cluster.Link{Contract: d.contract}
	d.tools = map[passerelle.Side]*trial.Tool{}
	for side, settings := range map[passerelle.Side]*adapters.Settings{passerelle.Requester: &link.Requester, passerelle.Partner: &link.Partner} {
		if err := d.open(stage, side); err != nil {
			return err
		}
		if *settings, err = stage.Connect(side, d.tools[side].URL, token(side), d.secret); err != nil {
			return err
		}
	}
	contracts, err := filepath.Abs(d.contracts)
	if err != nil {
		return err
	}
	d.Cluster, err = cluster.Start(cluster.Plan{Dir: d.dir, Gateway: d.gateway, Nodes: 3, Gateways: 3, Contracts: contracts, Links: []cluster.Link{link},
		Lease: lease.String(), Grace: grace.String(), Sweep: "2s", Sync: true})
	if err != nil {
		return err
	}
	for side, t := range d.tools {
		if err := t.Point(d.Public+"/"+filepath.Dir(d.contract)+"/"+string(side), token(side)); err != nil {
			return err
		}
	}
	return nil
}

// open starts one simulated tool.
func (d *demo) open(stage *trial.Stage, side passerelle.Side) error {
	t, err := stage.Open(side)
	if err != nil {
		return err
	}
	d.stops = append(d.stops, func() error { t.Close(); return nil })
	url, stop, err := trial.Serve("127.0.0.1:0", t)
	if err != nil {
		return err
	}
	d.stops = append(d.stops, stop)
	t.URL, d.tools[side] = url, t
	return nil
}

func token(side passerelle.Side) string { return "demo-" + string(side) + "-token" }

func (d *demo) secret(name, value string) (adapters.SecretRef, error) {
	file := filepath.Join(d.dir, name)
	return adapters.SecretRef{File: file}, os.WriteFile(file, []byte(value+"\n"), 0o600)
}

// amid is what happens right after a deed, before anybody looks whether it arrived.
func (d *demo) amid(steps int) func(step int) error {
	return func(step int) error {
		switch step {
		case 2:
			g, err := d.Leader(filepath.Dir(d.contract), time.Minute)
			if err != nil {
				return err
			}
			d.say("« "+g.Name+" », qui travaille pour ce contrat, est tuée (SIGKILL) ; une autre prendra la suite dans "+(lease+grace).String(),
				g.Name+", which works for this contract, is killed; another one goes on in "+(lease+grace).String())
			g.Kill()
		case steps / 2:
			n, err := d.StreamLeader("passerelle")
			if err != nil {
				return err
			}
			d.say("le serveur NATS « "+n.Name+" », qui mène le flux, est tué (SIGKILL) ; les deux autres forment encore une majorité",
				"the NATS server "+n.Name+", which leads the stream, is killed; the two others still are a majority")
			n.Kill()
		}
		return nil
	}
}
