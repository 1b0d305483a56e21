package contracts_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"passerelle/internal/conversation"
	"passerelle/mapping"
)

var mutations = flag.String("mutations", "", "damage every row of the tables whose names begin so (\"all\": of every table), and list what no test notices")

// mutant is one table with one row damaged.
type mutant struct {
	file, what string
	line       int
	row        []string // before the damage
	rows       [][]string
}

// TestMutations damages each row of a contract's tables in turn. Loading the
// folder, a cell of the grid, a create or a conversation must fail for each:
// what survives is a missing test.
func TestMutations(t *testing.T) {
	if *mutations == "" {
		t.Skip("go test ./contracts -run TestMutations -mutations all")
	}
	dirs, err := filepath.Glob("*/v*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		j := newJury(t, dir)
		for _, file := range []string{"lifecycle.csv", "values.csv", "fields.csv", "signals.csv", "catalogue.csv"} {
			if !strings.HasPrefix(file, *mutations) && *mutations != "all" {
				continue
			}
			for _, m := range mutants(t, dir, file) {
				t.Run(fmt.Sprintf("%s/%s:%d/%s", dir, file, m.line, m.what), func(t *testing.T) {
					t.Parallel()
					j.judge(t, m)
				})
			}
		}
	}
}

// mutants are all the damages to one table.
func mutants(t *testing.T, dir, file string) []*mutant {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	table, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []*mutant
	for i := 1; i < len(table); i++ {
		add := func(what string, rows ...[]string) {
			out = append(out, &mutant{file: file, what: what, line: i + 1, row: table[i], rows: slices.Concat(table[:i], rows, table[i+1:])})
		}
		add("deleted")
		for j, column := range table[0] {
			for _, v := range alterations(file, column, table[i][j]) {
				row := slices.Clone(table[i])
				row[j] = v
				add(fmt.Sprintf("%s=%s", column, v), consistent(table[0], row))
			}
		}
	}
	return out
}

// alterations are other values that a cell might have by mistake. What is for
// people only (notes, labels, texts) is left alone.
func alterations(file, column, v string) []string {
	switch file + " " + column {
	case "lifecycle.csv state":
		return lessOne(strings.Split(v, "|"), "|")
	case "lifecycle.csv next":
		return map[string][]string{"same": {"refuse", "closed"}, "refuse": {"same"}}[v]
	case "lifecycle.csv send":
		return lessOne(strings.Fields(v), " ")
	case "lifecycle.csv set":
		return lessOne(strings.Split(v, ";"), ";")
	case "lifecycle.csv rule":
		return []string{"R99"}
	case "fields.csv create":
		return map[string][]string{"required": {"optional"}, "optional": {"required"}, "auto": {"required"}, "": {"required"}}[v]
	case "fields.csv later":
		return map[string][]string{"frozen": {"free"}, "free": {"frozen"}}[v]
	case "fields.csv type":
		return map[string][]string{"html": {"text"}, "text": {"html"}, "date": {"text"}, "key": {"text"}}[v]
	case "fields.csv partner", "values.csv value", "values.csv requester", "values.csv partner", "signals.csv signal", "catalogue.csv component":
		if v != "" && v != "*" {
			return []string{"autre"}
		}
	case "signals.csv kind":
		return map[string][]string{"resume": {"pend"}, "pend": {"resume"}, "resolve": {"close"}, "close": {"resolve"}, "reopen": {"resume"}, "leave": {"close"}, "reject": {"resolve"}}[v]
	}
	return nil
}

// lessOne are the lists without one of their elements each.
func lessOne(list []string, by string) []string {
	var out []string
	for i := range list {
		if less := strings.Join(slices.Concat(list[:i], list[i+1:]), by); len(list) > 1 || by != "|" && list[0] != "" {
			out = append(out, less)
		}
	}
	return out
}

// consistent gives a row that now refuses a text, and no messages.
func consistent(columns, row []string) []string {
	at := func(name string) *string { return &row[max(0, slices.Index(columns, name))] }
	if slices.Contains(columns, "next") && *at("next") == "refuse" {
		*at("send"), *at("set"), *at("text") = "", "", "non"
	}
	return row
}

// jury is all that may notice a damage.
type jury struct {
	dir     string
	cells   []*conversation.Cell
	creates []*conversation.Creation
	files   []string // the conversations that hold without damage
}

func newJury(t *testing.T, dir string) *jury {
	j := &jury{dir: dir}
	files, err := conversation.Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if silent(t.Context(), dir, f) {
			j.files = append(j.files, f)
		} else {
			t.Logf("%s fails without any damage: it does not count", f)
		}
	}
	if all, err := conversation.Grid(dir); err == nil { // a contract may have none
		j.cells = asPlayed(t, dir, possible(all))
	}
	if j.creates, err = conversation.Creations(dir); err != nil {
		t.Logf("no creates: %v", err)
	}
	return j
}

// asPlayed has open cells expect what happens now, so that they notice damage
// too.
func asPlayed(t *testing.T, dir string, cells []*conversation.Cell) []*conversation.Cell {
	got, err := conversation.PlayGrid(t.Context(), dir, cells)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cells {
		if c.Open() {
			c.Want, c.Rules = *got[i], strings.Fields(got[i].Rule)
		}
	}
	return cells
}

// silent tells whether a conversation notices nothing.
func silent(ctx context.Context, dir, file string) bool {
	want, got, err := conversation.Play(ctx, dir, file)
	return err == nil && conversation.Diff(want, got) == ""
}

// judge fails if nothing notices the damage.
func (j *jury) judge(t *testing.T, m *mutant) {
	dir := damaged(t, j.dir, m)
	if _, err := mapping.Load(os.DirFS(dir)); err != nil {
		return
	}
	near := func(c *conversation.Cell) bool { return m.file == "lifecycle.csv" && c.Event == m.row[2] }
	far := func(c *conversation.Cell) bool { return !near(c) }
	if j.gridNotices(t, dir, slices.DeleteFunc(slices.Clone(j.cells), far)) || j.createsNotice(t, dir) || j.gridNotices(t, dir, slices.DeleteFunc(slices.Clone(j.cells), near)) {
		return
	}
	for _, f := range j.files {
		if !silent(t.Context(), dir, f) {
			return
		}
	}
	t.Errorf("survives: %s:%d %s: %s", m.file, m.line, m.what, strings.Join(m.row, ","))
}

func (j *jury) gridNotices(t *testing.T, dir string, cells []*conversation.Cell) bool {
	if len(cells) == 0 {
		return false
	}
	got, err := conversation.PlayGrid(t.Context(), dir, cells)
	for i := range got {
		if differs(cells[i], got[i]) != "" {
			return true
		}
	}
	return err != nil
}

func (j *jury) createsNotice(t *testing.T, dir string) bool {
	if len(j.creates) == 0 {
		return false
	}
	differ, err := conversation.PlayCreations(t.Context(), dir, j.creates)
	return err != nil || slices.ContainsFunc(differ, func(d string) bool { return d != "" })
}

// damaged is a copy of the contract's folder with the mutant's table.
func damaged(t *testing.T, dir string, m *mutant) string {
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.WriteAll(m.rows); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, m.file), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return to
}
