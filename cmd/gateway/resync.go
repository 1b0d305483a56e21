package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"passerelle"
	"passerelle/internal/relay"
)

// resyncCommand compares one pair with its two tickets.
func resyncCommand() *cobra.Command {
	var apply, asJSON bool
	var escalate string
	cmd := &cobra.Command{Use: "resync REF", Short: "Read both tickets of a pair again, tell what is missing, and mend it", Args: cobra.ExactArgs(1),
		Long: `Resync reads both tickets of a pair and tells what one of them shows that the
gateway does not know, what the gateway wrote that is not there any more, and
where they stand apart. With --apply it has that mended; without, nothing is
written. --escalate CONTRACT takes REF for the id of a ticket of the requester's
tool that stands with the partner's team and is not known: it is escalated as if
its tool had just said so, even if it names a partner's ticket already.`}
	addr := adminFlag(cmd)
	cmd.Flags().BoolVar(&apply, "apply", false, "mend what is missing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.Flags().StringVar(&escalate, "escalate", "", "name of the contract under which the unknown ticket REF is escalated")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if escalate != "" {
			return escalateTicket(cmd, *addr, escalate, args[0])
		}
		path := *addr + "/api/resync/" + url.PathEscape(args[0])
		if apply {
			path += "?apply=1"
		}
		var found relay.Resync
		raw, err := call(cmd.Context(), http.MethodPost, path, nil, &found)
		if err != nil {
			return err
		}
		if asJSON {
			_, err = cmd.OutOrStdout().Write(raw)
			return err
		}
		printResync(cmd.OutOrStdout(), &found)
		return nil
	}
	return cmd
}

func escalateTicket(cmd *cobra.Command, addr, contract, key string) error {
	name, _, _ := strings.Cut(contract, "/") // the folder's name is taken too
	var l passerelle.Link
	if _, err := call(cmd.Context(), http.MethodPost, addr+"/api/escalate/"+url.PathEscape(name)+"/"+url.PathEscape(key), nil, &l); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s is on its way to the partner (gateway ticket %s)\n", l.Requester, l.Own.Number)
	return nil
}

func printResync(w io.Writer, s *relay.Resync) {
	fmt.Fprintf(w, "gateway    %s, %s\n", reference(s.Own), s.State)
	verb := map[bool]string{true: "is taken now", false: "would be taken"}[s.Applied]
	again := map[bool]string{true: "is written again", false: "would be written again"}[s.Applied]
	for _, side := range s.Sides {
		fmt.Fprintf(w, "%-10s %s", side.Side, reference(side.Ticket))
		if side.Status != "" {
			fmt.Fprintf(w, ", %s", side.Status)
		}
		fmt.Fprintln(w)
		if side.Trouble != "" {
			fmt.Fprintf(w, "           cannot be compared: %s\n", side.Trouble)
		}
		for _, n := range side.News {
			fmt.Fprintf(w, "           not known here, %s: %s\n", verb, n)
		}
		for _, g := range side.Gone {
			fmt.Fprintf(w, "           not there any more, %s: %s\n", again, g)
		}
		if side.Stands != "" {
			fmt.Fprintf(w, "           %s\n", side.Stands)
		}
	}
	for _, u := range s.Underway {
		fmt.Fprintf(w, "on its way %s\n", u)
	}
	switch {
	case !s.Missing():
		fmt.Fprintln(w, "Nothing is missing.")
	case !s.Applied:
		fmt.Fprintln(w, "Nothing was written. --apply mends it.")
	}
}

// restoredCommand tells how the learning after a restore goes.
func restoredCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "restored", Short: "Tell what a gateway on a restored backup has learned from the tools", Args: cobra.NoArgs}
	addr := adminFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		raw, err := call(cmd.Context(), http.MethodGet, *addr+"/api/restored", nil, nil)
		if err != nil {
			return err
		}
		var rep relay.Relearned
		if err := json.Unmarshal(raw, &rep); err != nil {
			return errors.Join(err, errors.New("is this a gateway of the same version?"))
		}
		printRelearned(cmd.OutOrStdout(), rep)
		return nil
	}
	return cmd
}

func printRelearned(w io.Writer, rep relay.Relearned) {
	fmt.Fprintf(w, "backup of %s, restored %s\n", stamp(rep.Backup), stamp(rep.At))
	if rep.Done.IsZero() {
		fmt.Fprintf(w, "comparing pairs with both tools: %d of %d; nothing is accepted or sent before\n", rep.Read, rep.Pairs)
	} else {
		fmt.Fprintf(w, "learned by %s: %d pairs compared\n", stamp(rep.Done), rep.Read)
	}
	fmt.Fprintf(w, "%d pairs that the backup did not know\n%d pairs that stand elsewhere by now\n%d entries and files that had been carried already\n", rep.Adopted, rep.States, rep.There)
	for _, l := range rep.Look {
		fmt.Fprintf(w, "look at it: %s\n", l)
	}
}
