package mapping

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Problem is one mistake in a contract folder: where it is, what it is and
// what would work.
type Problem struct {
	File string // within the contract folder
	Line int    // 1-based; 0 when the whole file is meant
	Text string
	Hint string
}

// String reads "file:line: text (hint)".
func (p Problem) String() string {
	s := p.File
	if p.Line > 0 {
		s += fmt.Sprintf(":%d", p.Line)
	}
	s += ": " + p.Text
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

// Problems are all the mistakes of a contract folder, in order of file and
// line, so that the same folder always gives the same list. It is the error
// that Load returns.
type Problems []Problem

// Error lists the problems, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, x := range p {
		lines[i] = x.String()
	}
	return strings.Join(lines, "\n")
}

func (p *Problems) add(file string, line int, hint, format string, args ...any) {
	*p = append(*p, Problem{File: file, Line: line, Text: fmt.Sprintf(format, args...), Hint: hint})
}

// in tells whether a file has mistakes already: what they bring about need not
// be told too.
func (p Problems) in(file string) bool {
	return slices.ContainsFunc(p, func(x Problem) bool { return x.File == file })
}

// err returns the problems as an error, sorted, or nil if there are none.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	sort.SliceStable(p, func(i, j int) bool {
		if p[i].File != p[j].File {
			return p[i].File < p[j].File
		}
		if p[i].Line != p[j].Line {
			return p[i].Line < p[j].Line
		}
		return p[i].Text < p[j].Text
	})
	return p
}
