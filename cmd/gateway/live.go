package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"passerelle"
	"passerelle/adapters"
	"passerelle/internal/wiring"
	"passerelle/mapping"
)

// checkLive asks the tools of the configuration for what their contracts need.
func checkLive(ctx context.Context, out io.Writer, file string, args []string) error {
	cfg, err := readConfig(file)
	if err != nil {
		return err
	}
	links := cfg.Links
	if len(args) > 0 {
		links = slices.DeleteFunc(slices.Clone(links), func(l linkConfig) bool { return l.Contract != strings.Trim(args[0], "/") })
	}
	if len(links) == 0 {
		return fmt.Errorf("check: %s carries out no contract %q (it has %s)", file, args[0], contractsOf(cfg.Links))
	}
	var total tally
	for _, l := range links {
		if err := inspectLink(ctx, out, cfg, l, &total); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "\n%s. Nothing was written.\n", total)
	if total.missing > 0 {
		return fmt.Errorf("check --live: %s missing", plural(total.missing, "thing is", "things are"))
	}
	return nil
}

func contractsOf(links []linkConfig) string {
	var names []string
	for _, l := range links {
		names = append(names, l.Contract)
	}
	return strings.Join(names, ", ")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// tally counts findings.
type tally struct{ met, missing, unsaid int }

func (t *tally) add(list []passerelle.Finding) {
	for _, f := range list {
		switch f.Verdict {
		case passerelle.Met:
			t.met++
		case passerelle.Missing:
			t.missing++
		default:
			t.unsaid++
		}
	}
}

func (t tally) String() string {
	return fmt.Sprintf("%d ok, %d missing, %d cannot be checked", t.met, t.missing, t.unsaid)
}

// inspectLink asks both sides' tools of one contract.
func inspectLink(ctx context.Context, out io.Writer, cfg *config, l linkConfig, total *tally) error {
	c, err := cfg.loadContract(l.Contract)
	if err != nil {
		return err
	}
	folder := os.DirFS(filepath.Join(cfg.Contracts, l.Contract))
	for _, s := range []struct {
		side     passerelle.Side
		party    mapping.Party
		settings adapters.Settings
	}{{passerelle.Requester, c.Between.Requester, l.Requester}, {passerelle.Partner, c.Between.Partner, l.Partner}} {
		a, err := adapters.Open(&s.settings, wiring.TermsOf(c, s.side))
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "\n%s, %s: %s, %s\n", l.Contract, s.side, s.party.Name, where(&s.settings))
		tool, can := a.Out.(passerelle.Inspector)
		if !can {
			fmt.Fprintln(out, "  nothing to ask: a program of the partner's own takes the messages and tells nothing of itself")
			continue
		}
		found := tool.Inspect(ctx, c.Needs(s.side, folder))
		report(out, found)
		total.add(found)
	}
	return nil
}

// where is a side's tool, and its address.
func where(s *adapters.Settings) string {
	switch {
	case s.ITop != nil:
		return strings.TrimSpace("iTop " + s.ITop.BaseURL)
	case s.Jira != nil:
		return "Jira " + s.Jira.BaseURL
	}
	return "its own agent"
}

// report writes what is missing first, then what cannot be checked, then what
// is there.
func report(out io.Writer, found []passerelle.Finding) {
	for _, v := range []passerelle.Verdict{passerelle.Missing, passerelle.Unsaid} {
		list := slices.DeleteFunc(slices.Clone(found), func(f passerelle.Finding) bool { return f.Verdict != v })
		if len(list) == 0 {
			continue
		}
		fmt.Fprintf(out, "  %s:\n", strings.ToUpper(string(v)))
		for _, group := range byHint(list) {
			for _, f := range group {
				fmt.Fprintf(out, "    %s: %s%s\n", f.Subject, f.What, needed(f))
			}
			fmt.Fprintf(out, "      → %s\n", group[0].Hint)
		}
	}
	reportMet(out, found)
}

func needed(f passerelle.Finding) string {
	if f.Who == "" {
		return ""
	}
	return " [" + f.Who + "]"
}

// byHint puts together what one and the same deed would mend, in the order of
// the first of each.
func byHint(list []passerelle.Finding) [][]passerelle.Finding {
	var out [][]passerelle.Finding
	for _, f := range list {
		i := slices.IndexFunc(out, func(g []passerelle.Finding) bool { return g[0].Hint == f.Hint })
		if i < 0 {
			out = append(out, []passerelle.Finding{f})
			continue
		}
		out[i] = append(out[i], f)
	}
	return out
}

func reportMet(out io.Writer, found []passerelle.Finding) {
	var subjects []string
	things := map[string][]string{}
	for _, f := range found {
		if f.Verdict != passerelle.Met {
			continue
		}
		if things[f.Subject] == nil {
			subjects = append(subjects, f.Subject)
		}
		things[f.Subject] = append(things[f.Subject], f.What)
	}
	if len(subjects) > 0 {
		fmt.Fprintln(out, "  OK:")
	}
	for _, s := range subjects {
		fmt.Fprintf(out, "    %s: %s\n", s, strings.Join(things[s], ", "))
	}
}
