package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"passerelle"
	"passerelle/internal/admin"
	"passerelle/outbox"
)

// adminFlag adds the flag that says where the operators' API is.
func adminFlag(cmd *cobra.Command) *string {
	return cmd.PersistentFlags().String("admin", "http://127.0.0.1:8081", "address of the gateway's admin listener")
}

func ticketCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "ticket REF", Short: "Tell where a ticket stands and why", Args: cobra.ExactArgs(1),
		Long: "Ticket takes any reference of either side, or the gateway's own, and shows both tickets and the story of every event with its outcome."}
	addr := adminFlag(cmd)
	cmd.AddCommand(endCommand(addr))
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var tickets []admin.Ticket
		raw, err := call(cmd.Context(), http.MethodGet, *addr+"/api/tickets/"+url.PathEscape(args[0]), nil, &tickets)
		if err != nil {
			return err
		}
		if asJSON {
			_, err = cmd.OutOrStdout().Write(raw)
			return err
		}
		for _, t := range tickets {
			printTicket(cmd.OutOrStdout(), t)
		}
		return nil
	}
	return cmd
}

// endCommand takes a pair out of the interface.
func endCommand(addr *string) *cobra.Command {
	var d admin.Decision
	cmd := &cobra.Command{Use: "end REF", Short: "Take a pair of tickets out of the interface; both stay as they are in their tools", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		body, err := json.Marshal(d)
		if err != nil {
			return err
		}
		var tickets []admin.Ticket
		if _, err := call(cmd.Context(), http.MethodPost, *addr+"/api/end/"+url.PathEscape(args[0]), body, &tickets); err != nil {
			return err
		}
		for _, t := range tickets {
			printTicket(cmd.OutOrStdout(), t)
		}
		return nil
	}}
	cmd.Flags().StringVar(&d.Why, "why", "", "why, for the ticket's story (required)")
	cmd.Flags().StringVar(&d.By, "by", login(), "who decides")
	_ = cmd.MarkFlagRequired("why") // the flag exists
	return cmd
}

func printTicket(w io.Writer, t admin.Ticket) {
	fmt.Fprintf(w, "contract   %s %s\nrequester  %s\npartner    %s\ngateway    %s\nstate      %s since %s\n\n",
		t.Contract, t.Terms, reference(t.Requester), reference(t.Partner), reference(t.Own), t.State, stamp(t.Moved))
	if !t.Purged.IsZero() {
		fmt.Fprintf(w, "purged on %s: of what people wrote before, the trace alone is left\n\n", stamp(t.Purged))
	}
	printLines(w, t.Story, false)
}

// reference is how a ticket is called in one tool, "-" while it is not known.
func reference(r passerelle.Ref) string {
	if r.Key == "" {
		return orDash(r.Number)
	}
	return fmt.Sprintf("%s (id %s)", r, r.Key)
}

// printLines shows entries as a table; errors and decisions stand below their
// line.
func printLines(w io.Writer, lines []admin.Line, tickets bool) {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	head := "ID\tWHEN\tFROM\tEVENT\tTO\tSTATE\tRULE\tSTATUS\tTRIES"
	if tickets {
		head = "ID\tTICKET" + strings.TrimPrefix(head, "ID")
	}
	fmt.Fprintln(tw, head)
	for _, l := range lines {
		id := fmt.Sprint(l.ID)
		if tickets {
			id += "\t" + l.Ticket
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", id, stamp(l.At), l.From, l.Kind, orDash(string(l.To)), l.State, orDash(l.Rule), l.Status, l.Attempts)
	}
	tw.Flush()
	for _, l := range lines {
		printDetails(w, l)
	}
}

func printDetails(w io.Writer, l admin.Line) {
	if l.Error != "" && l.Status != outbox.Done { // a success ends what was wrong before
		fmt.Fprintf(w, "\n%d: %s\n", l.ID, l.Error)
	}
	if l.Unknown {
		fmt.Fprintf(w, "%d: an earlier try may have taken effect; the tool is asked before the next\n", l.ID)
	}
	if t := l.Trace; t != nil && !t.Purged.IsZero() {
		fmt.Fprintf(w, "%d: purged on %s, %d bytes%s\n", l.ID, stamp(t.Purged), t.Bytes, hashed(t.Sum))
	}
	for _, d := range l.Decisions {
		fmt.Fprintf(w, "%d: %s by %s on %s: %s\n", l.ID, d.Verb, d.By, stamp(d.At), d.Why)
	}
}

func hashed(sum string) string {
	if sum == "" {
		return ""
	}
	return ", sha256 " + sum
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func outboxCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "outbox", Short: "List what waits, and decide about what is parked"}
	addr := adminFlag(cmd)
	cmd.AddCommand(listCommand(addr), showCommand(addr),
		decideCommand(addr, "retry", "Try a parked entry again"), decideCommand(addr, "drop", "Give a parked entry up, so that its lane moves on"))
	return cmd
}

func listCommand(addr *string) *cobra.Command {
	var status []string
	var contract string
	var limit int
	cmd := &cobra.Command{Use: "list", Short: "List entries, by default those that are not final", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		q := url.Values{"status": status, "contract": {contract}, "limit": {fmt.Sprint(limit)}}
		var lines []admin.Line
		if _, err := call(cmd.Context(), http.MethodGet, *addr+"/api/outbox?"+q.Encode(), nil, &lines); err != nil {
			return err
		}
		if len(lines) == 0 {
			fmt.Fprintln(cmd.OutOrStdout(), "nothing waits")
			return nil
		}
		printLines(cmd.OutOrStdout(), lines, true)
		return nil
	}}
	cmd.Flags().StringSliceVar(&status, "status", nil, "waiting, lent, parked, done, refused, superseded, dropped")
	cmd.Flags().StringVar(&contract, "contract", "", "only this contract")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many")
	return cmd
}

func showCommand(addr *string) *cobra.Command {
	return &cobra.Command{Use: "show ID", Short: "Show one entry", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		raw, err := call(cmd.Context(), http.MethodGet, *addr+"/api/outbox/"+url.PathEscape(args[0]), nil, nil)
		if err != nil {
			return err
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, raw, "", "  "); err != nil {
			return err
		}
		_, err = pretty.WriteTo(cmd.OutOrStdout())
		return err
	}}
}

func decideCommand(addr *string, verb, short string) *cobra.Command {
	var why, by string
	cmd := &cobra.Command{Use: verb + " ID", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		body, err := json.Marshal(admin.Decision{By: by, Why: why})
		if err != nil {
			return err
		}
		var l admin.Line
		if _, err := call(cmd.Context(), http.MethodPost, *addr+"/api/outbox/"+url.PathEscape(args[0])+"/"+verb, body, &l); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "entry %d of %s is now %s\n", l.ID, l.Ticket, l.Status)
		return nil
	}}
	cmd.Flags().StringVar(&why, "why", "", "why, for the ticket's story (required)")
	cmd.Flags().StringVar(&by, "by", login(), "who decides")
	_ = cmd.MarkFlagRequired("why") // the flag exists
	return cmd
}

func login() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// call speaks to the operators' API and decodes its answer.
func call(ctx context.Context, method, url string, body []byte, into any) ([]byte, error) {
	res, err := ask(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err == nil && into != nil {
		err = json.Unmarshal(raw, into)
	}
	return raw, err
}

// ask makes a request of the operators' API. An answer that is no success is an
// error; another one the caller closes.
func ask(ctx context.Context, method, url string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if err := showToken(req); err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w (is the gateway running? --admin names its admin address)", err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	var e struct{ Error string }
	if json.Unmarshal(raw, &e) != nil || e.Error == "" {
		return nil, fmt.Errorf("%s: %s", url, res.Status)
	}
	return nil, errors.New(e.Error)
}

// The environment variables that hold the operators' token, or name its file.
const (
	tokenEnv     = "PASSERELLE_ADMIN_TOKEN"
	tokenFileEnv = "PASSERELLE_ADMIN_TOKEN_FILE"
)

// showToken gives a request the operators' token, if there is one.
func showToken(req *http.Request) error {
	token := os.Getenv(tokenEnv)
	if file := os.Getenv(tokenFileEnv); token == "" && file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("%s: %w", tokenFileEnv, err)
		}
		token = strings.TrimSpace(string(b))
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return nil
}
