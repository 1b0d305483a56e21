// Gateway lets two help desks work on one ticket, each in its own tool. It is
// the program around the project's rooms: it reads the configuration, wires
// the rooms together and gives operators their commands.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

// command is the whole command line.
func command() *cobra.Command {
	root := &cobra.Command{Use: "gateway", Short: "Lets two help desks work on one ticket", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(serveCommand(), demoCommand(), checkCommand(), simCommand(), ticketCommand(), resyncCommand(), purgeCommand(), restoredCommand(), outboxCommand(), backupCommand(), restoreCommand(), compactCommand(), migrateCommand(), passwordCommand(), tokenCommand(), versionCommand())
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Say which version this is", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "passerelle", version())
		return err
	}}
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " " + s.Value
		}
	}
	return v
}
