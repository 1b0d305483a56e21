package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// table is all measures of a run, by section, in the order in which they came.
type table struct{ sections []*section }

type section struct {
	title string
	lines []*line
}

// line is one measure over the rounds.
type line struct {
	name   string
	goal   *goal
	values []float64
}

// goal is what a median shall reach, or not exceed.
type goal struct {
	at   float64
	most bool
}

func atLeast(v float64) *goal { return &goal{at: v} }
func atMost(v float64) *goal  { return &goal{at: v, most: true} }

func (g *goal) String() string {
	switch {
	case g == nil:
		return "–"
	case g.most:
		return "≤ " + number(g.at)
	}
	return "≥ " + number(g.at)
}

// verdict compares with the figure itself, not with what is printed of it.
func (g *goal) verdict(v float64) string {
	switch {
	case g == nil:
		return "–"
	case g.most && v <= g.at || !g.most && v >= g.at:
		return "ok"
	}
	return "short"
}

// add notes a measure of one round.
func (t *table) add(title, name string, g *goal, v float64) {
	i := slices.IndexFunc(t.sections, func(s *section) bool { return s.title == title })
	if i < 0 {
		i = len(t.sections)
		t.sections = append(t.sections, &section{title: title})
	}
	s := t.sections[i]
	for _, l := range s.lines {
		if l.name == name {
			l.values = append(l.values, v)
			return
		}
	}
	s.lines = append(s.lines, &line{name: name, goal: g, values: []float64{v}})
}

func (l *line) median() float64 {
	v := slices.Sorted(slices.Values(l.values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func (l *line) figure() string {
	return fmt.Sprintf("%s (%s … %s)", number(l.median()), number(slices.Min(l.values)), number(slices.Max(l.values)))
}

// number writes three figures that count, or all of a large one.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.1 || v == 0:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// count says how many.
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}

func (t *table) write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tgoal\tmedian (min … max)\tverdict")
	for _, s := range t.sections {
		fmt.Fprintf(w, "%s (%s)\t\t\t\n", s.title, count(len(s.lines[0].values), "round"))
		for _, l := range s.lines {
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", l.name, l.goal, l.figure(), l.goal.verdict(l.median()))
		}
	}
	return w.Flush()
}

// header tells of the machine and of the load.
func (b *bench) header(disk, took time.Duration) string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease") // "" says enough where there is none
	return fmt.Sprintf("%d cores, %s, %s %s, fdatasync of 4 KB %.3f ms; %v in all\nload: each sender on one ticket after the other, 1 create, %d journal updates and 1 closing, of %d bytes, for about %v\n",
		runtime.NumCPU(), runtime.Version(), runtime.GOOS, strings.TrimSpace(string(kernel)), disk.Seconds()*1000, took.Round(time.Second),
		b.logs, b.size, b.span)
}
