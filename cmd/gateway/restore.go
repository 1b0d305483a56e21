package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"passerelle/outbox"
)

func restoreCommand() *cobra.Command {
	r := &restore{}
	check, config := false, ""
	cmd := &cobra.Command{Use: "restore FILE", Short: "Make a data folder of a backup", Args: cobra.ExactArgs(1),
		Long: `Restore unpacks a backup into the data folder of the configuration, or into the
one that --data names. The folder must be empty or not there yet, and no gateway
may run on it. Every byte is checked first: of a backup that is damaged or not
whole nothing is left.

The gateway that is started on the folder asks both tools what happened since
the backup was made before it takes or sends anything; then it works. So see that
no other gateway serves these tools, and start no restored one for a trial where
it could reach them (docs/operations.md has a drill).

With --check nothing is written: it says whether FILE is whole, and what is in
it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.file, r.out, r.progress = args[0], cmd.OutOrStdout(), cmd.ErrOrStderr()
			do := func(ctx context.Context) error { return r.run(ctx, config) }
			if check {
				do = r.check
			}
			if err := do(cmd.Context()); err != nil {
				return fmt.Errorf("restore: %w", err)
			}
			return nil
		}}
	cmd.Flags().StringVar(&config, "config", "gateway.yaml", "the configuration file; not read with --data")
	cmd.Flags().StringVar(&r.data, "data", "", "restore into this folder instead of the configuration's")
	cmd.Flags().Uint64Var(&r.skip, "skip", 10000, "how many own numbers may have been given since the backup: they are not given again")
	cmd.Flags().BoolVar(&check, "check", false, "only say whether FILE is whole, and what is in it")
	cmd.MarkFlagsMutuallyExclusive("check", "data")
	cmd.MarkFlagsMutuallyExclusive("check", "skip")
	return cmd
}

// restore is a backup on its way into a data folder.
type restore struct {
	file, data string
	skip       uint64
	out        io.Writer
	progress   io.Writer
	numbers    []string // how the configured contracts write the gateway's own number
}

// check says whether the backup is whole.
func (r *restore) check(ctx context.Context) error {
	var report *outbox.BackupReport
	err := r.open(func(f *os.File, total int64) (err error) {
		m := startMeter(r.progress, "checking")
		defer m.end()
		report, err = outbox.Verify(&patient{ctx, f}, m.tell)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", r.file, err)
	}
	fmt.Fprintf(r.out, "%s: whole, %s; nothing was written\n", r.file, describe(report))
	printMissing(r.out, report.Missing)
	return nil
}

// open lends the backup's file, and its size if that is known.
func (r *restore) open(do func(f *os.File, total int64) error) error {
	f, err := os.Open(r.file)
	if err != nil {
		return err
	}
	defer f.Close()
	total, err := backupSize(f)
	if err != nil {
		return err
	}
	return do(f, total)
}

// run restores.
func (r *restore) run(ctx context.Context, config string) error {
	if r.skip == 0 {
		return errors.New("--skip is 0 (1 at least: numbers that were given since the backup would be given again)")
	}
	if err := r.choose(config); err != nil {
		return err
	}
	var done *outbox.Restored
	err := r.open(func(f *os.File, total int64) (err error) {
		m := startMeter(r.progress, "restoring")
		defer m.end()
		done, err = outbox.Restore(&patient{ctx, f}, r.data, outbox.RestoreOptions{Skip: r.skip, Progress: func(n int64) { m.tell(n, total) }})
		return err
	})
	if err != nil {
		return err
	}
	r.tell(done)
	return nil
}

// choose finds the folder, and how numbers are written, in the configuration.
func (r *restore) choose(config string) error {
	if r.data != "" {
		return nil
	}
	c, err := readConfig(config)
	if err != nil {
		return fmt.Errorf("%w (--data names the folder without a configuration)", err)
	}
	if c.Outbox.Kind == "memory" {
		return fmt.Errorf("%s keeps the outbox in memory: there is no folder to restore into (outbox.kind: bolt, or --data)", config)
	}
	if c.Outbox.Kind == "nats" {
		return fmt.Errorf("%s keeps the outbox on NATS (restore into a new folder with --data, then gateway migrate --from bolt --to nats takes it there)", config)
	}
	r.data = filepath.Clean(c.Data)
	for _, l := range c.Links {
		ct, err := c.loadContract(l.Contract)
		if err == nil && !slices.Contains(r.numbers, ct.OwnRef) { // serve says why one does not load
			r.numbers = append(r.numbers, ct.OwnRef)
		}
	}
	return nil
}

// tell says what was restored, and what comes next.
func (r *restore) tell(d *outbox.Restored) {
	fmt.Fprintf(r.out, "restored into %s: %s and %s as of %s, %s\n", r.data, plural(d.Pairs, "pair", "pairs"), plural(d.Events, "entry", "entries"), moment(d.Backup), plural(d.Files, "attachment", "attachments"))
	if d.Unsettled > 0 {
		fmt.Fprintf(r.out, "%s under way: their tools will be asked about them before anything is sent again\n", plural(d.Unsettled, "entry was", "entries were"))
	}
	printMissing(r.out, d.Missing)
	numbers := r.numbers
	if len(numbers) == 0 {
		numbers = []string{"%d"}
	}
	next := ""
	for i, format := range numbers {
		if i > 0 {
			next += " or "
		}
		next += fmt.Sprintf(format, d.Links+d.Skip+1)
	}
	fmt.Fprintf(r.out, "own numbers go on at %s: %d that may have been given since are skipped\n", next, d.Skip)
	fmt.Fprintf(r.out, "next: start the gateway: it asks both tools what happened since %s before it takes or sends anything; \"gateway restored\" tells how far it is (docs/operations.md)\n", moment(d.Backup))
}
