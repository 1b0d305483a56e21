package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"passerelle/outbox"
)

func compactCommand() *cobra.Command {
	config, data := "", ""
	cmd := &cobra.Command{Use: "compact", Short: "Make the database of a stopped gateway as small as what it holds", Args: cobra.NoArgs,
		Long: `Compact writes the database anew without the room that purged texts left, compares
every row, and puts it in the old one's place. Whatever happens before that, the
old one is as it was. The gateway must be stopped; the new file needs room beside
the old one. The old file is overwritten before it goes, as a purge does.

A gateway uses that room again by itself: this is for a file that will not grow
to its old size again.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := compactFolder(cmd.Context(), config, data, cmd.OutOrStdout()); err != nil {
				return fmt.Errorf("compact: %w", err)
			}
			return nil
		}}
	cmd.Flags().StringVar(&config, "config", "gateway.yaml", "the configuration file; not read with --data")
	cmd.Flags().StringVar(&data, "data", "", "the data folder, instead of the configuration's")
	return cmd
}

func compactFolder(ctx context.Context, config, data string, out io.Writer) error {
	if data == "" {
		c, err := readConfig(config)
		if err != nil {
			return fmt.Errorf("%w (--data names the folder without a configuration)", err)
		}
		if c.Outbox.Kind != "bolt" {
			return fmt.Errorf("%s: outbox.kind is %s (only a database in a folder can be compacted; of a shared store: gateway migrate takes it to a folder, and back)", config, c.Outbox.Kind)
		}
		data = c.Data
	}
	done, err := outbox.Compact(ctx, data)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s: %s before, %s now; all %d rows are the same\n", data, size(done.Before), size(done.After), done.Rows)
	return err
}
