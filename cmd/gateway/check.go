package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"passerelle/internal/conversation"
	"passerelle/mapping"
)

func checkCommand() *cobra.Command {
	return &cobra.Command{Use: "check DIR", Short: "Check a contract folder", Args: cobra.ExactArgs(1),
		Long: "Check reads a contract folder and reports all its mistakes at once, each with file, line and a hint, and plays its conversations against simulated tools.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := mapping.Load(os.DirFS(args[0]))
			if err != nil {
				fmt.Fprintln(cmd.OutOrStdout(), err)
				return fmt.Errorf("%s has mistakes", args[0])
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s: %s\n", c.Name, c.Version, c.Title)
			fmt.Fprintln(cmd.OutOrStdout(), c.Summary())
			return playAll(cmd, args[0])
		}}
}

// playAll plays the folder's conversations and shows where one is not as it
// is written.
func playAll(cmd *cobra.Command, dir string) error {
	files, err := conversation.Files(dir)
	if err != nil {
		return err
	}
	failed := 0
	for _, file := range files {
		want, got, err := conversation.Play(cmd.Context(), dir, file)
		diff := conversation.Diff(want, got)
		if err != nil {
			diff = err.Error() + "\n"
		}
		if diff != "" {
			failed++
			fmt.Fprintf(cmd.OutOrStdout(), "%s:\n%s", file, diff)
		}
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%d conversations played, %d failed\n", len(files), failed)
	if failed > 0 {
		return fmt.Errorf("%s: %d conversations are not as written", dir, failed)
	}
	return nil
}
