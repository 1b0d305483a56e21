// Bench measures how many events a second the gateway accepts and delivers, as
// ratios to baselines that run in turn in the same process on the same disk,
// so that a noisy machine spoils both alike. Every figure is checked: each
// message carries an id, and the receiving tool must hold each once, in order.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"slices"
	"time"

	"passerelle/internal/cluster"
	"passerelle/internal/intake"
)

func main() {
	if os.Getenv(noopEnv) != "" {
		exit(runNoop())
		return
	}
	cluster.RunNode()
	b := &bench{}
	big := flag.Bool("big", false, "measure big messages against a gateway that is a process of its own, instead")
	flag.IntVar(&b.rounds, "rounds", 5, "rounds; each runs every measure once, in turn")
	flag.IntVar(&b.tickets, "tickets", 64, "tickets a round")
	flag.IntVar(&b.logs, "logs", 7, "journal updates a ticket, after its create")
	flag.IntVar(&b.senders, "senders", 16, "concurrent senders")
	flag.IntVar(&b.size, "size", 2048, "bytes of a message, about")
	flag.IntVar(&b.large, "large", intake.DefaultLarge(), "of -big: limits.large of the gateway")
	flag.StringVar(&b.contract, "contract", "", "folder of the contract to carry out; its demo/bench holds the messages")
	flag.StringVar(&b.dir, "dir", "", "folder for the database, on the disk to measure; default a temporary one")
	flag.BoolVar(&b.shared, "nats", true, "the same load on NATS servers too, beside bolt")
	profile := flag.String("cpuprofile", "", "file for a CPU profile of all of it; default none")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		exit(err)
		defer pprof.StopCPUProfile()
	}
	if *big {
		exit(b.runBig(context.Background()))
		return
	}
	exit(b.run(context.Background()))
}

// exit ends the program where something went wrong.
func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// series is one measure over the rounds.
type series struct {
	name   string
	values []float64
}

func (s *series) add(v float64) { s.values = append(s.values, v) }

func (s *series) median() float64 {
	v := slices.Sorted(slices.Values(s.values))
	return v[len(v)/2]
}

func (s *series) String() string {
	return fmt.Sprintf("%-44s %10.2f   (%.2f … %.2f)", s.name, s.median(), slices.Min(s.values), slices.Max(s.values))
}

// run runs all rounds and prints the table.
func (b *bench) run(ctx context.Context) (err error) {
	if b.say, err = readMessages(b.contract); err != nil {
		return err
	}
	noop := &series{name: "no-op + parse, requests/s"}
	sync := &series{name: "raw store: fdatasync of 4 KB appends/s"}
	accept := &series{name: "accepted, events/s"}
	deliver := &series{name: "delivered, events/s (to the simulated Jira)"}
	acceptRatio := &series{name: "accepted / no-op"}
	deliverRatio := &series{name: "delivered / accepted"}
	perSync := &series{name: "accepted per raw fdatasync"}
	start := time.Now()
	for range b.rounds {
		n, err := b.noop(ctx)
		if err != nil {
			return fmt.Errorf("no-op: %w", err)
		}
		s, err := b.rawSync()
		if err != nil {
			return fmt.Errorf("raw store: %w", err)
		}
		a, d, err := b.gateway(ctx, openBolt)
		if err != nil {
			return fmt.Errorf("gateway: %w", err)
		}
		noop.add(n)
		sync.add(s)
		accept.add(a)
		deliver.add(d)
		acceptRatio.add(a / n)
		deliverRatio.add(d / a)
		perSync.add(a / s)
	}
	fmt.Printf("%d rounds × %d tickets × (1 create + %d journal updates), about %d bytes each, %d senders; median (min … max); %v in all\n",
		b.rounds, b.tickets, b.logs, b.size, b.senders, time.Since(start).Round(time.Second))
	for _, s := range []*series{noop, sync, accept, acceptRatio, perSync, deliver, deliverRatio} {
		fmt.Println(s)
	}
	if !b.shared {
		return nil
	}
	all, err := b.sharedRounds(ctx)
	for _, s := range all {
		fmt.Println(s)
	}
	return err
}
