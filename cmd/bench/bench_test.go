package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"passerelle/adapters/jira/jirasim"
	"passerelle/internal/cluster"
)

// TestMain is also the baseline and the NATS servers, as the program itself is.
func TestMain(m *testing.M) {
	if os.Getenv(noopEnv) != "" {
		exit(runNoop())
		return
	}
	cluster.RunNode()
	code := m.Run()
	exit(removeGateway())
	os.Exit(code)
}

// small is a run of a few seconds.
func small(t *testing.T) *bench {
	if err := built("../gateway"); err != nil {
		t.Fatal(err)
	}
	b := standard()
	b.contract, b.dir = soakContract, t.TempDir()
	b.rounds, b.logs, b.span, b.still = 1, 1, 50*time.Millisecond, 200*time.Millisecond
	b.syncs, b.bigMessages, b.bigSize, b.beside = 20, 8, 150_000, 100*time.Millisecond
	b.kinds = []*shared{{name: "three servers", plan: cluster.Plan{Nodes: 3}}}
	var err error
	if b.say, err = readMessages(b.contract); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTable runs all of it with small sizes: each line has a figure and a verdict,
// and each goal has its line.
func TestTable(t *testing.T) {
	b, out := small(t), &bytes.Buffer{}
	if err := b.run(t.Context(), out, io.Discard); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + out.String())
	_, rows, found := strings.Cut(out.String(), "verdict\n")
	if !found {
		t.Fatal("no table")
	}
	var goals []string
	for row := range strings.Lines(rows) {
		if !strings.HasPrefix(row, "  ") {
			continue // a section
		}
		cells := splitRow(row)
		if len(cells) != 4 {
			t.Errorf("%d cells: %q", len(cells), row)
			continue
		}
		var median, least, most float64
		if _, err := fmt.Sscanf(cells[2], "%g (%g … %g)", &median, &least, &most); err != nil || median <= 0 || math.IsInf(median, 0) || median < least || median > most {
			t.Errorf("no figure: %q, %v", row, err)
		}
		if cells[1] == "–" != (cells[3] == "–") || !slices.Contains([]string{"ok", "short", "–"}, cells[3]) {
			t.Errorf("no verdict: %q", row)
		}
		if cells[1] != "–" {
			goals = append(goals, cells[0])
		}
	}
	want := []string{
		"1 sender: delivered / accepted", "1 sender: accept p99 / no-op p99", "1 sender: accept p50 / (2 fdatasyncs + no-op p50)",
		"16 senders: delivered / accepted", "16 senders: accept p99 / no-op p99",
		"64 senders: accepted / no-op", "64 senders: delivered / accepted", "64 senders: accept p99 / no-op p99", "64 senders: processor time an event / no-op",
		"delivered / (8 in flight / 25 ms)", "store: puts per raw fdatasync, 64 writers",
		"8 at once: gateway's memory at peak, MB", "processor time / no-op, accepted", "processor time / no-op, accepted and delivered",
		"small: rate / rate alone",
	}
	if !slices.Equal(goals, want) {
		t.Errorf("lines with a goal: %q, want %q", goals, want)
	}
}

// splitRow splits a row of the table, whose columns are two blanks apart at least.
func splitRow(row string) (cells []string) {
	for cell := range strings.SplitSeq(strings.TrimSpace(row), "  ") {
		if cell = strings.TrimSpace(cell); cell != "" {
			cells = append(cells, cell)
		}
	}
	return cells
}

// TestGoals compares medians with goals.
func TestGoals(t *testing.T) {
	for _, c := range []struct {
		goal    *goal
		values  []float64
		verdict string
	}{
		{nil, []float64{1}, "–"},
		{atLeast(0.45), []float64{0.45}, "ok"},
		{atLeast(0.45), []float64{0.449, 9, 0.1}, "short"}, // though it is printed as 0.45
		{atMost(4), []float64{4, 1, 100}, "ok"},
		{atMost(4), []float64{4, 5}, "short"},
		{atMost(4), []float64{math.Inf(1)}, "short"},
		{atLeast(4), []float64{math.NaN()}, "short"},
	} {
		tab := &table{}
		for _, v := range c.values {
			tab.add("s", "l", c.goal, v)
		}
		l := tab.sections[0].lines[0]
		if got := l.goal.verdict(l.median()); got != c.verdict {
			t.Errorf("%v of %v: %s, want %s", c.goal, c.values, got, c.verdict)
		}
	}
}

// TestCheckNotices has a real measure's writes lose one, hold one twice and change
// the order of two, each of them in turn: the check must notice.
func TestCheckNotices(t *testing.T) {
	b := small(t)
	h, err := openHouse(t.Context(), b.contract, b.dir, quick)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	}()
	const tickets = 3
	if _, err := b.measure(t.Context(), h, point{senders: 2, tickets: tickets}); err != nil {
		t.Fatal(err)
	}
	sound := h.jira.Jira.Writes()
	judge := func(writes []jirasim.Write) error { return check(writes, h.jira.Agent.User, 1, tickets, b.logs+2) }
	tried := 0
	for i, w := range sound {
		if numbered.FindString(w.Detail) == "" || w.Kind == "edit" {
			continue
		}
		broken := map[string][]jirasim.Write{
			"lost":    slices.Delete(slices.Clone(sound), i, i+1),
			"doubled": slices.Insert(slices.Clone(sound), i, w),
			"late":    append(slices.Delete(slices.Clone(sound), i, i+1), w),
		}
		if w.Kind == "transition" {
			delete(broken, "late") // it is the ticket's last
			broken["early"] = slices.Insert(slices.Delete(slices.Clone(sound), i, i+1), 0, w)
		}
		other := slices.Clone(sound)
		other[i].Detail = strings.Replace(w.Detail, "id-", "id-9", 1)
		broken["another ticket's"] = other
		for what, writes := range broken {
			if tried++; judge(writes) == nil {
				t.Errorf("%s: %s %.40q: not noticed", what, w.Kind, w.Detail)
			}
		}
	}
	if tried != 4*tickets*(b.logs+2) {
		t.Errorf("%d tries", tried)
	}
	doubling := way(func(tool http.Handler, w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what is short is refused
		if strings.HasSuffix(r.URL.Path, "/comment") {
			r.Body = io.NopCloser(bytes.NewReader(body))
			tool.ServeHTTP(lost{http.Header{}}, r)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		tool.ServeHTTP(w, r)
	})
	if _, err := b.measure(t.Context(), h, point{senders: 2, tickets: tickets, way: &doubling}); err == nil || !strings.Contains(err.Error(), "where") {
		t.Errorf("a tool that took each entry twice: %v", err)
	}
}

// TestJournalsNotices does the same for entries beside big messages.
func TestJournalsNotices(t *testing.T) {
	entry := func(text string) jirasim.Write { return jirasim.Write{Kind: "comment", Detail: text} }
	sound := []jirasim.Write{entry("id-1-1 "), entry("id-2-1 "), entry("a note"), entry("id-1-2 ")}
	if err := journals(sound, []int{2, 1}); err != nil {
		t.Error(err)
	}
	for name, writes := range map[string][]jirasim.Write{
		"lost":      sound[:3],
		"doubled":   append(slices.Clone(sound), sound[1]),
		"reordered": {sound[3], sound[1], sound[0]},
		"unknown":   append(slices.Clone(sound), entry("id-3-1 ")),
	} {
		if journals(writes, []int{2, 1}) == nil {
			t.Errorf("%s: not noticed", name)
		}
	}
}

// TestProfiledBuilds builds the gateway with what profiles it.
func TestProfiledBuilds(t *testing.T) {
	if _, err := buildGateway(t.TempDir(), true); err != nil {
		t.Error(err)
	}
}
