package contracts_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"passerelle"
	"passerelle/internal/conversation"
)

// TestGrid plays every cell of every contract's grid: each state, each side,
// each event, with what the rules say must happen.
func TestGrid(t *testing.T) {
	files, err := filepath.Glob("*/v*/testdata/grid.csv")
	if err != nil || len(files) == 0 {
		t.Fatalf("no grid: %v", err)
	}
	for _, file := range files {
		dir := filepath.Dir(filepath.Dir(file))
		t.Run(dir, func(t *testing.T) {
			cells, err := conversation.Grid(dir)
			if err != nil {
				t.Fatal(err)
			}
			complete(t, cells)
			playGrid(t, dir, cells)
		})
	}
}

// TestCreates plays every row of every contract's creates.csv: what the
// catalogue and the tables make of a create.
func TestCreates(t *testing.T) {
	files, err := filepath.Glob("*/v*/testdata/creates.csv")
	if err != nil || len(files) == 0 {
		t.Fatalf("no creates: %v", err)
	}
	for _, file := range files {
		dir := filepath.Dir(filepath.Dir(file))
		list, err := conversation.Creations(dir)
		if err != nil {
			t.Fatal(err)
		}
		differ, err := conversation.PlayCreations(t.Context(), dir, list)
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range differ {
			if d != "" {
				t.Errorf("%s/creates.csv:%d [%s]:%s", dir, list[i].Line, list[i].Rule, d)
			}
		}
	}
}

func playGrid(t *testing.T, dir string, cells []*conversation.Cell) {
	cells = possible(cells)
	got, err := conversation.PlayGrid(t.Context(), dir, cells)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cells {
		t.Run(c.Name(), func(t *testing.T) { compare(t, c, got[i]) })
	}
}

// compare fails for what is not as the rules say. An open cell is listed, and
// fails once it is as they say: its mark is then to be taken away.
func compare(t *testing.T, c *conversation.Cell, got *conversation.Effect) {
	diff := differs(c, got)
	switch {
	case c.Open() && diff == "":
		t.Errorf("grid.csv:%d: this is as the rules say now: take « open: » out of its note", c.Line)
	case c.Open():
		t.Logf("grid.csv:%d: %s; now %s", c.Line, c.Note, diff)
	case diff != "":
		t.Errorf("grid.csv:%d: %v: %s", c.Line, c.Rules, diff)
	}
}

// differs says how an effect is not the wanted one.
func differs(c *conversation.Cell, got *conversation.Effect) string {
	said := func(e *conversation.Effect) string {
		return fmt.Sprintf("%s, then %s; partner hears [%s], requester hears [%s]", e.Outcome, e.Then, e.Partner, e.Requester)
	}
	switch is, want := said(got), said(&c.Want); {
	case is != want:
		return fmt.Sprintf("\n is   %s\n want %s\n told %s", is, want, got.Told)
	case got.Rule != "" && !slices.ContainsFunc(c.Rules, func(r string) bool { return slices.Contains(strings.Fields(got.Rule), r) }):
		return fmt.Sprintf("it is done by %s, which the grid does not name", got.Rule)
	}
	return ""
}

// complete checks that every state, side and event has a row, and every one
// that cannot happen a reason.
func complete(t *testing.T, cells []*conversation.Cell) {
	have := map[string]bool{}
	for _, c := range cells {
		have[fmt.Sprint(c.State, c.Side, c.Event)] = true
		if c.Want.Outcome == conversation.NotApplicable && c.Note == "" || len(c.Rules) == 0 {
			t.Errorf("grid.csv:%d: no reason is given", c.Line)
		}
	}
	for _, s := range passerelle.States() {
		for _, side := range []passerelle.Side{passerelle.Requester, passerelle.Partner} {
			for _, k := range passerelle.Kinds() {
				if k != passerelle.Reference && k != passerelle.Note && !have[fmt.Sprint(s, side, k)] { // those are the gateway's own
					t.Errorf("grid.csv has no row for %s, %s, %s", s, side, k)
				}
			}
		}
	}
}

// possible leaves out what cannot happen.
func possible(cells []*conversation.Cell) []*conversation.Cell {
	return slices.DeleteFunc(slices.Clone(cells), func(c *conversation.Cell) bool { return c.Want.Outcome == conversation.NotApplicable })
}
