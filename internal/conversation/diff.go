package conversation

import (
	"fmt"
	"strings"
)

// around is how many equal lines are shown before and after a difference.
const around = 2

// Diff shows where two conversations differ, place by place: the line and the
// section, what was expected (-) and what came instead (+). It is empty if they
// are the same.
func Diff(want, got []byte) string {
	lines := compare(strings.Split(string(want), "\n"), strings.Split(string(got), "\n"))
	var b strings.Builder
	section, end := "the comment", -1 // end: the last line that is shown already
	for i, l := range lines {
		if name, ok := strings.CutPrefix(l.text, "-- "); ok && l.sign != '+' {
			section = "« " + strings.TrimSuffix(name, " --") + " »"
		}
		if l.sign == ' ' {
			continue
		}
		if end < 0 || i-around > end+1 {
			fmt.Fprintf(&b, "  line %d, in %s:\n", l.line, section)
		}
		for ; end < min(i+around, len(lines)-1); end++ {
			if next := lines[end+1]; end+1 >= i-around {
				b.WriteString(strings.TrimRight(fmt.Sprintf("    %c %s", next.sign, next.text), " ") + "\n")
			}
		}
	}
	return b.String()
}

// compared is a line of either text; sign is - or +, or blank for one of both.
type compared struct {
	sign byte
	text string
	line int // in the text that is wanted, 1-based
}

// compare finds the longest common subsequence of two lists of lines.
func compare(want, got []string) []compared {
	common := make([][]int, len(want)+1) // of want[i:] and got[j:]
	for i := range common {
		common[i] = make([]int, len(got)+1)
	}
	for i := len(want) - 1; i >= 0; i-- {
		for j := len(got) - 1; j >= 0; j-- {
			common[i][j] = max(common[i+1][j], common[i][j+1])
			if want[i] == got[j] {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	var out []compared
	i, j := 0, 0
	for i < len(want) || j < len(got) {
		switch {
		case i < len(want) && j < len(got) && want[i] == got[j]:
			out = append(out, compared{' ', want[i], i + 1})
			i, j = i+1, j+1
		case i < len(want) && (j == len(got) || common[i+1][j] >= common[i][j+1]):
			out = append(out, compared{'-', want[i], i + 1})
			i++
		default:
			out = append(out, compared{'+', got[j], i + 1})
			j++
		}
	}
	return out
}
