// Bench measures how many events a second the gateway accepts and delivers, what
// that costs, and how far it is from its goals, as one table of ratios to
// baselines that run in turn on the same disk, so that a noisy machine spoils both
// alike. The gateway and the server that it is compared with are processes of
// their own; the senders and the simulated tools are in this one. Every figure is
// checked: each message carries an id, and the receiving tool must hold each once,
// in order.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
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
	b := standard()
	pairs := flag.Int("large-store", 0, "measure a gateway on a store with so many linked tickets at rest, beside one on an empty store, instead")
	flag.StringVar(&b.contract, "contract", "", "folder of the contract to carry out; its demo/bench holds the messages")
	flag.StringVar(&b.dir, "dir", "", "folder for the databases, on the disk to measure; default a temporary one")
	flag.IntVar(&b.rounds, "rounds", b.rounds, "rounds of the load and of the store; each runs every measure once, in turn")
	flag.IntVar(&b.bigRounds, "big", b.bigRounds, "rounds of big messages; 0 is none")
	flag.IntVar(&b.natsRounds, "nats", b.natsRounds, "rounds of the load on NATS servers, beside bolt; 0 is none")
	flag.DurationVar(&b.span, "span", b.span, "how long the senders post in each measure of the load, about")
	flag.IntVar(&b.logs, "logs", b.logs, "journal updates a ticket, between its create and its closing")
	flag.IntVar(&b.size, "size", b.size, "bytes of a message, about")
	flag.IntVar(&b.large, "large", b.large, "limits.large of the gateway, for big messages")
	flag.StringVar(&profile, "cpuprofile", "", "file for a CPU profile of the gateway, the last one of the run: with -big 0 -nats 0 that of the last round")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := b.run
	if *pairs > 0 {
		run = func(ctx context.Context, out, progress io.Writer) error {
			return b.runLarge(ctx, out, progress, *pairs)
		}
	}
	exit(errors.Join(run(ctx, os.Stdout, os.Stderr), removeGateway()))
}

// exit ends the program where something went wrong.
func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is the sizes of a run.
type bench struct {
	contract, dir                 string
	rounds, bigRounds, natsRounds int
	logs, size                    int
	span                          time.Duration   // that senders post, about
	shares                        map[int]float64 // accepted / no-op, as last measured, by senders
	still                         time.Duration   // that a baseline or the store is measured
	syncs                         int             // of a raw file, to know what one takes
	large                         int
	bigMessages                   int           // of a measure
	bigSize                       int           // bytes of one of its files
	beside                        time.Duration // of each while of small senders, alone or beside big ones
	kinds                         []*shared     // of NATS servers
	say                           messages
}

// standard are the sizes of make bench: six minutes or so on two cores.
func standard() *bench {
	return &bench{rounds: 5, bigRounds: 1, natsRounds: 1, span: time.Second, shares: map[int]float64{}, logs: 7, size: 2048, still: time.Second, syncs: 200,
		large: intake.DefaultLarge(), bigMessages: 16, bigSize: bigFile, beside: time.Second, kinds: sharedKinds()}
}

// run measures all of it, tells where it is, and prints the table.
func (b *bench) run(ctx context.Context, out, progress io.Writer) (err error) {
	if b.say, err = readMessages(b.contract); err != nil {
		return err
	}
	start := time.Now()
	t := &table{}
	disk, err := b.rawSync()
	if err != nil {
		return err
	}
	base, err := startNoop(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, base.stop()) }()
	for _, part := range []struct {
		name   string
		rounds int
		round  func(context.Context, *table, *noop) error
	}{{"load and store", b.rounds, b.loadRound}, {"big messages", b.bigRounds, b.bigRound}} {
		for i := range part.rounds {
			fmt.Fprintf(progress, "bench: %s, round %d of %d (%v)\n", part.name, i+1, part.rounds, time.Since(start).Round(time.Second))
			if err := part.round(ctx, t, base); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
		}
	}
	if b.natsRounds > 0 {
		fmt.Fprintf(progress, "bench: NATS (%v)\n", time.Since(start).Round(time.Second))
		if err := b.sharedRounds(ctx, t, base); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, b.header(disk, time.Since(start)))
	return t.write(out)
}
