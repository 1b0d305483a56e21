package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"passerelle/mapping"
)

func checkCommand() *cobra.Command {
	return &cobra.Command{Use: "check DIR", Short: "Check a contract folder", Args: cobra.ExactArgs(1),
		Long: "Check reads a contract folder and reports all its mistakes at once, each with file, line and a hint.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := mapping.Load(os.DirFS(args[0]))
			if err != nil {
				fmt.Fprintln(cmd.OutOrStdout(), err)
				return fmt.Errorf("%s has mistakes", args[0])
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s: %s\n", c.Name, c.Version, c.Title)
			fmt.Fprintln(cmd.OutOrStdout(), c.Summary())
			return nil
		}}
}
