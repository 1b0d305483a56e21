package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"passerelle/internal/conversation"
	"passerelle/mapping"
)

func checkCommand() *cobra.Command {
	live, update, config := false, false, ""
	cmd := &cobra.Command{Use: "check DIR | check --live [CONTRACT]", Short: "Check a contract folder, or the tools that are to carry it out", Args: cobra.MaximumNArgs(1),
		Long: `Check reads a contract folder and reports all its mistakes at once, each with
file, line and what would work; then what is no mistake but worth a look; then
it plays the folder's conversations against simulated tools and shows where one
is not as it is written.

With --live it asks the tools that the configuration names whether they have
what the contracts need, and says what is missing on which side. It only reads.
CONTRACT, such as NAME/v1, asks about that one alone.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case live:
				return checkLive(cmd.Context(), cmd.OutOrStdout(), config, args)
			case len(args) == 0:
				return errors.New("check: name a contract folder, such as contracts/NAME/v1, or give --live")
			}
			return checkFolder(cmd, args[0], update)
		}}
	cmd.Flags().BoolVar(&live, "live", false, "ask the configured tools instead; nothing is written there")
	cmd.Flags().BoolVar(&update, "update", false, "write what was heard into the conversations: read the difference before you keep it")
	cmd.Flags().StringVar(&config, "config", "gateway.yaml", "configuration file, for --live")
	return cmd
}

// checkFolder reports on one contract folder, offline.
func checkFolder(cmd *cobra.Command, dir string, update bool) error {
	out := cmd.OutOrStdout()
	c, err := mapping.Load(os.DirFS(dir))
	var mistakes mapping.Problems
	if errors.As(err, &mistakes) {
		fmt.Fprintln(out, mistakes)
		return fmt.Errorf("%s has %s; its conversations were not played", dir, count(len(mistakes), "mistake"))
	} else if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s %s: %s\n%s\n", c.Name, c.Version, c.Title, c.Summary())
	remarks := c.Remarks()
	if len(remarks) > 0 {
		fmt.Fprintf(out, "\nNo mistakes, but worth a look:\n%v\n", remarks)
	}
	played, failed, err := playAll(cmd, dir, update)
	if err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%s: %s not as written, of %d", dir, plural(failed, "conversation is", "conversations are"), played)
	}
	fmt.Fprintf(out, "\n%s is good to use: no mistakes, %s, %s as written.\n", dir, count(len(remarks), "remark"), count(played, "conversation"))
	return nil
}

// playAll plays the folder's conversations and shows where one is not as it
// is written.
func playAll(cmd *cobra.Command, dir string, update bool) (played, failed int, err error) {
	files, err := conversation.Files(dir)
	if err != nil {
		return 0, 0, err
	}
	for _, file := range files {
		want, got, err := conversation.Play(cmd.Context(), dir, file)
		diff := conversation.Diff(want, got)
		if err != nil {
			diff = "  it cannot be played: " + err.Error() + "\n"
			if errors.Is(err, fs.ErrNotExist) {
				diff += "  (conversations need demo/stage.yaml and what it names: docs/contracts.md, \"The stage\")\n"
			}
		} else if update && diff != "" {
			fmt.Fprintf(cmd.OutOrStdout(), "%s is rewritten:\n%s", file, diff)
			if err := os.WriteFile(filepath.Join(dir, file), got, 0o644); err != nil {
				return 0, 0, err
			}
			continue
		}
		if diff != "" {
			showDiff(cmd.OutOrStdout(), failed == 0, file, diff)
			failed++
		}
	}
	return len(files), failed, nil
}

func showDiff(out io.Writer, first bool, file, diff string) {
	if first {
		fmt.Fprintln(out, "\nConversations that are not as written (- stands in the file, + is what happened):")
	}
	fmt.Fprintf(out, "%s\n%s", file, diff)
}

// count is "1 mistake", "2 mistakes", "no mistakes".
func count(n int, what string) string {
	if n == 0 {
		return "no " + what + "s"
	}
	return plural(n, what, what+"s")
}
