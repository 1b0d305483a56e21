package mapping

import (
	"slices"
	"strconv"
	"strings"

	"passerelle"
)

// reachable reports the states that no ticket can come to, each once, where its
// rows begin. States that only such a state leads to are not reported: they
// come with it. A row with another mistake counts as if it led where it says,
// for that mistake is the cause; one whose next cannot be read may lead
// anywhere.
func reachable(rows []row, p *Problems) {
	ways, sure := waysOf(rows)
	if !sure {
		return
	}
	reached := map[passerelle.State]bool{}
	ways.follow(passerelle.New, reached)
	for {
		s, ok := ways.cause(rows, reached)
		if !ok {
			return
		}
		lines := linesOf(rows, s)
		hint := "add a row whose next is " + string(s) + ", or delete this one"
		if len(lines) > 1 {
			hint = "add a row whose next is " + string(s) + ", or delete the rows of lines " + listLines(lines)
		}
		p.add(lifecycleFile, lines[0], hint, "no ticket can come to state %q", s)
		ways.follow(s, reached)
	}
}

// ways are the states that each state leads to.
type ways map[passerelle.State][]passerelle.State

// waysOf reads them from the table as it is written; not sure: some row may
// lead anywhere.
func waysOf(rows []row) (w ways, sure bool) {
	w = ways{}
	for _, r := range rows {
		next := passerelle.State(r.get("next"))
		if next == "same" || next == "refuse" {
			continue
		}
		if !slices.Contains(passerelle.States(), next) {
			return nil, false
		}
		for _, s := range statesOf(r) {
			w[s] = append(w[s], next)
		}
	}
	return w, true
}

// statesOf are a row's states; one that does not exist may have meant any, and
// stands for the first.
func statesOf(r row) []passerelle.State {
	var out []passerelle.State
	for _, word := range r.list("state") {
		s := passerelle.State(word)
		if !slices.Contains(passerelle.States(), s) {
			s = passerelle.New
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		out = append(out, passerelle.New)
	}
	return out
}

func (w ways) follow(s passerelle.State, reached map[passerelle.State]bool) {
	if reached[s] {
		return
	}
	reached[s] = true
	for _, next := range w[s] {
		w.follow(next, reached)
	}
}

// cause is a state with rows that is not reached, if there is one: rather one
// that no other such state leads to.
func (w ways) cause(rows []row, reached map[passerelle.State]bool) (passerelle.State, bool) {
	var left []passerelle.State
	for _, s := range passerelle.States() {
		if !reached[s] && len(linesOf(rows, s)) > 0 {
			left = append(left, s)
		}
	}
	for _, s := range left {
		if !slices.ContainsFunc(left, func(o passerelle.State) bool { return o != s && slices.Contains(w[o], s) }) {
			return s, true
		}
	}
	if len(left) == 0 {
		return "", false
	}
	return left[0], true // they lead to each other
}

func linesOf(rows []row, s passerelle.State) []int {
	var out []int
	for _, r := range rows {
		if slices.Contains(r.list("state"), string(s)) {
			out = append(out, r.line)
		}
	}
	return out
}

func listLines(lines []int) string {
	words := make([]string, len(lines))
	for i, n := range lines {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ", ")
}
