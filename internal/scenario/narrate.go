package scenario

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"passerelle"
)

// Narrator tells a play to a person, in French with English beneath.
type Narrator struct {
	W     io.Writer
	Color bool // only for a terminal
}

const (
	bold   = "1"
	dim    = "2"
	green  = "32"
	red    = "31"
	blue   = "36"
	orange = "33"
)

func (n *Narrator) paint(style, s string) string {
	if !n.Color {
		return s
	}
	return "\x1b[" + style + "m" + s + "\x1b[0m"
}

func (n *Narrator) title(t Text) {
	fmt.Fprintf(n.W, "\n%s\n%s\n", n.paint(bold, t.FR), n.paint(dim, t.EN))
}

func (n *Narrator) step(i int, t Text) {
	fmt.Fprintf(n.W, "\n%s %s\n   %s\n", n.paint(bold, fmt.Sprintf("%2d.", i)), n.paint(bold, t.FR), n.paint(dim, t.EN))
}

func (n *Narrator) broken(err error) {
	fmt.Fprintf(n.W, "   %s %v\n", n.paint(red, "✗"), err)
}

// sight tells one thing that was seen, or not.
func (n *Narrator) sight(c Cast, s Sight, want, got string, ok bool) {
	tool, style := c.Requester, blue
	if s.Side == passerelle.Partner {
		tool, style = c.Partner, orange
	}
	mark := n.paint(green, "✓")
	if !ok {
		mark = n.paint(red, "✗")
	}
	fmt.Fprintf(n.W, "   %s %s %s", mark, n.paint(style, pad(tool, 6)), s.Label.FR)
	if !ok {
		fmt.Fprintf(n.W, "\n            attendu / expected : %s\n            vu / seen          : %s", oneLine(want), oneLine(got))
	} else if got != "" && s.Is != nil || s.Has != "" {
		fmt.Fprintf(n.W, " : %s", n.paint(dim, oneLine(got)))
	}
	fmt.Fprintln(n.W)
}

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 110 {
		s = string(r[:109]) + "…"
	}
	return s
}

func (n *Narrator) table(rows [][3]string, ok bool) {
	var width [3]int
	for r := range rows {
		for i := range rows[r] {
			rows[r][i] = oneLine(rows[r][i])
			width[i] = max(width[i], utf8.RuneCountInString(rows[r][i]))
		}
	}
	rule := "   " + strings.Repeat("─", width[0]+width[1]+width[2]+8)
	fmt.Fprintf(n.W, "\n%s\n%s\n", n.paint(bold, "   Les deux tickets à la fin / Both tickets at the end"), rule)
	for i, r := range rows {
		line := fmt.Sprintf("    %s  %s  %s", pad(r[0], width[0]), pad(r[1], width[1]), pad(r[2], width[2]))
		if i == 0 {
			line = n.paint(bold, line)
		}
		fmt.Fprintln(n.W, line)
	}
	fmt.Fprintln(n.W, rule)
	if ok {
		fmt.Fprintf(n.W, "   %s\n", n.paint(green, "✓ Tout est comme le contrat le dit. / All is as the contract says."))
	}
}

func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s)))
}
