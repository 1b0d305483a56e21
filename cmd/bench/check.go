package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"passerelle/adapters/jira/jirasim"
)

var numbered = regexp.MustCompile(`\bid-(\d+)-(\d+)\b`)

// check reads what the gateway wrote into the partner's tool: each ticket must
// have one issue, and this one each of the ticket's messages, once and in order.
// What the tool's own agent did is not the gateway's.
func check(writes []jirasim.Write, agent string, first, tickets, messages int) error {
	ticketOf, next := map[string]int{}, map[int]int{}
	for _, w := range writes {
		if w.User == agent || w.Kind != "issue" && w.Kind != "comment" && w.Kind != "transition" {
			continue
		}
		m := numbered.FindStringSubmatch(w.Detail)
		if m == nil {
			return fmt.Errorf("%s: a %s of no message: %.100q", w.Issue, w.Kind, w.Detail)
		}
		ticket, _ := strconv.Atoi(m[1]) // digits; one too long is no ticket of ours
		i, _ := strconv.Atoi(m[2])
		if w.Kind == "issue" {
			ticketOf[w.Issue] = ticket
		}
		if ticketOf[w.Issue] != ticket {
			return fmt.Errorf("%s: a message of ticket %d, it is ticket %d's", w.Issue, ticket, ticketOf[w.Issue])
		}
		if next[ticket] != i {
			return fmt.Errorf("%s: message %d of ticket %d came where %d belongs", w.Issue, i, ticket, next[ticket])
		}
		next[ticket]++
	}
	if len(next) != tickets {
		return fmt.Errorf("%d tickets arrived of %d", len(next), tickets)
	}
	for ticket := first; ticket < first+tickets; ticket++ {
		if next[ticket] != messages {
			return fmt.Errorf("%d messages of ticket %d arrived, %d were sent", next[ticket], ticket, messages)
		}
	}
	return nil
}

// journals checks that so many entries of each ticket, from the first on, arrived,
// once and in order, counted from 1. Entries without a number are others'.
func journals(writes []jirasim.Write, want []int) error {
	got := make([]int, len(want))
	for _, w := range writes {
		m := numbered.FindStringSubmatch(w.Detail)
		if w.Kind != "comment" || m == nil {
			continue
		}
		n, _ := strconv.Atoi(m[1]) // digits; one too long is no ticket of ours
		i, _ := strconv.Atoi(m[2])
		if n < 1 || n > len(got) {
			return fmt.Errorf("%s: an entry of ticket %d", w.Issue, n)
		}
		if got[n-1]++; got[n-1] != i {
			return fmt.Errorf("ticket %d: entry %d came where %d belongs", n, i, got[n-1])
		}
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("entries by ticket: %v arrived, %v were sent", got, want)
	}
	return nil
}
