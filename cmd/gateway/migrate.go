package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"passerelle/outbox"
)

func migrateCommand() *cobra.Command {
	m := &migrate{}
	cmd := &cobra.Command{Use: "migrate", Short: "Take the store of a stopped gateway from a folder to NATS, or back", Args: cobra.NoArgs,
		Long: `Migrate takes all that a gateway keeps, and its attachments, from one kind of
store to the other, and reads every row and every byte back before it says that
it is done. All gateways on either store must be stopped.

  gateway migrate --from bolt --to nats --config gateway.yaml --data OLD
  gateway migrate --from nats --to bolt --config gateway.yaml --data NEW

The configuration is the one with outbox.kind nats; --data is the folder of the
bolt store. To nats: the stream must hold nothing yet, and the folder's database
is renamed at the end, so that no gateway begins on it again by mistake. To bolt:
the folder must be empty or not there yet, and the stream stays as it is.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m.out = cmd.OutOrStdout()
			if err := m.run(cmd.Context()); err != nil {
				return fmt.Errorf("migrate: %w", err)
			}
			return nil
		}}
	cmd.Flags().StringVar(&m.from, "from", "", "bolt or nats (required)")
	cmd.Flags().StringVar(&m.to, "to", "", "nats or bolt (required)")
	cmd.Flags().StringVar(&m.config, "config", "gateway.yaml", "the configuration file with outbox.kind nats")
	cmd.Flags().StringVar(&m.data, "data", "", "folder of the bolt store (required)")
	for _, flag := range []string{"from", "to", "data"} {
		_ = cmd.MarkFlagRequired(flag) // the flag exists
	}
	return cmd
}

// migrate is a store on its way.
type migrate struct {
	from, to, config, data string
	out                    io.Writer
}

func (m *migrate) run(ctx context.Context) error {
	move := map[[2]string]func(context.Context, outbox.NATSOptions) (*outbox.Migrated, error){
		{"bolt", "nats"}: func(ctx context.Context, o outbox.NATSOptions) (*outbox.Migrated, error) {
			return outbox.ToNATS(ctx, m.data, o)
		},
		{"nats", "bolt"}: func(ctx context.Context, o outbox.NATSOptions) (*outbox.Migrated, error) {
			return outbox.FromNATS(ctx, o, m.data)
		},
	}[[2]string{m.from, m.to}]
	if move == nil {
		return fmt.Errorf("from %q to %q (from bolt to nats, or from nats to bolt)", m.from, m.to)
	}
	c, err := readConfig(m.config)
	if err != nil {
		return err
	}
	if c.Outbox.Kind != "nats" {
		return errors.New(m.config + ": outbox.kind is " + c.Outbox.Kind + " (give the configuration of the shared store, and the folder of the other with --data)")
	}
	done, err := move(ctx, c.natsOptions())
	if err != nil {
		return err
	}
	fmt.Fprintf(m.out, "%d tickets with %d entries, %d attachments of %d bytes: all read back, %d rows are the same\n", done.Pairs, done.Events, done.Files, done.Bytes, done.Rows)
	printMissing(m.out, done.Missing)
	return nil
}
