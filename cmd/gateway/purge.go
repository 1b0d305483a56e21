package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"passerelle/internal/admin"
	"passerelle/internal/relay"
)

// purgeCommand takes what people wrote on one ticket out of the store.
func purgeCommand() *cobra.Command {
	var d admin.Decision
	var force bool
	cmd := &cobra.Command{Use: "purge REF", Short: "Take what people wrote on a ticket out of the store, for a person's request", Args: cobra.ExactArgs(1),
		Long: `Purge takes the texts, names and names of files of one pair of tickets out of the
store and off the disk, at once. Who, when, the rule, sizes and hashes stay in its
story, with who asked for it and why. Both tickets stay as they are in their tools,
and so do backups that were made before.

A ticket that is not closed, rejected or out of the interface is refused, and so is
one of which something waits. --force purges what is final all the same: what waits
keeps its words, is delivered in full, and goes at the next purge.`}
	addr := adminFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body, err := json.Marshal(d)
		if err != nil {
			return err
		}
		path := *addr + "/api/purge/" + url.PathEscape(args[0])
		if force {
			path += "?force=1"
		}
		var did relay.Purge
		if _, err := call(cmd.Context(), http.MethodPost, path, body, &did); err != nil {
			return err
		}
		printPurge(cmd.OutOrStdout(), &did)
		return nil
	}
	cmd.Flags().StringVar(&d.Why, "why", "", "why, for the ticket's story; without the person's name (required)")
	cmd.Flags().StringVar(&d.By, "by", login(), "who decides")
	cmd.Flags().BoolVar(&force, "force", false, "though it is not over: what waits is still delivered in full")
	_ = cmd.MarkFlagRequired("why") // the flag exists
	return cmd
}

func printPurge(w io.Writer, p *relay.Purge) {
	fmt.Fprintf(w, "%s, %s: purged the words of %s, %d bytes\n", reference(p.Own), p.State, plural(p.Entries, "entry", "entries"), p.Bytes)
	if p.Waiting > 0 {
		fmt.Fprintf(w, "%s: purge again when it is over\n", plural(p.Waiting, "entry waits and keeps its words", "entries wait and keep their words"))
	}
	if p.OnDisk == "" {
		fmt.Fprintln(w, "no byte of them is left in the data folder; backups of before still have them")
	} else {
		fmt.Fprintf(w, "they still lie in unused parts of the database file (%s): the gateway goes on with that by itself\n", p.OnDisk)
	}
	if p.Previous != "" {
		fmt.Fprintf(w, "it follows the closed ticket %s: purge that too, if it was asked for\n", p.Previous)
	}
}
