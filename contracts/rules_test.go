package contracts_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"passerelle/internal/conversation"
)

// lastRule is the highest number of the contract's rules.
const lastRule = 35

var (
	ruleNumber = regexp.MustCompile(`\bR[0-9]+\b`)
	testOfRule = regexp.MustCompile(`(?m)^func (Test(R[0-9]+)[A-Z]\w*)\(`)
)

// shows are, by rule, the tests that cite it: a conversation in its comment, a
// row of grid.csv or creates.csv in its column, a Go test in its name.
type shows map[string][]string

// TestEveryRuleIsShown fails for a rule of the contract that no test cites.
func TestEveryRuleIsShown(t *testing.T) {
	s := cited(t)
	for n := 1; n <= lastRule; n++ {
		if rule := fmt.Sprintf("R%d", n); len(s[rule]) == 0 {
			t.Errorf("%s: no conversation, row of grid.csv or creates.csv, or Go test cites it", rule)
		}
	}
}

// TestRulesTable checks the table of docs/contracts.md: one row a rule, and what
// it names is there and cites the rule.
func TestRulesTable(t *testing.T) {
	b, err := os.ReadFile("../docs/contracts.md")
	if err != nil {
		t.Fatal(err)
	}
	s, rows := cited(t), map[string]int{}
	code := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || !ruleNumber.MatchString(cells[1]) {
			continue
		}
		rule := strings.TrimSpace(cells[1])
		rows[rule]++
		for _, named := range code.FindAllStringSubmatch(cells[4], -1) {
			if !slices.Contains(s[rule], named[1]) {
				t.Errorf("docs/contracts.md: %s: %s does not cite it; these do: %s", rule, named[1], strings.Join(s[rule], ", "))
			}
		}
		if !code.MatchString(cells[4]) || strings.TrimSpace(cells[3]) == "" {
			t.Errorf("docs/contracts.md: %s: the row does not say where", rule)
		}
	}
	for n := 1; n <= lastRule; n++ {
		if rule := fmt.Sprintf("R%d", n); rows[rule] != 1 {
			t.Errorf("docs/contracts.md has %d rows for %s", rows[rule], rule)
		}
	}
}

// cited collects what cites each rule.
func cited(t *testing.T) shows {
	s := shows{}
	dirs, err := filepath.Glob("*/v*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		s.conversations(t, dir)
		for _, table := range []string{"grid.csv", "creates.csv"} {
			s.rows(t, filepath.Join(dir, "testdata", table))
		}
	}
	s.goTests(t)
	return s
}

func (s shows) add(rule, by string) {
	if !slices.Contains(s[rule], by) {
		s[rule] = append(s[rule], by)
	}
}

func (s shows) conversations(t *testing.T, dir string) {
	files, err := conversation.Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range ruleNumber.FindAllString(string(archive.Comment), -1) {
			s.add(rule, strings.TrimSuffix(filepath.Base(file), ".txtar"))
		}
	}
}

// rows reads the column rule of a table; a contract may have none.
func (s shows) rows(t *testing.T, file string) {
	b, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := slices.Index(rows[0], "rule")
	if column < 0 {
		t.Fatalf("%s has no column rule", file)
	}
	for _, r := range rows[1:] {
		for _, rule := range ruleNumber.FindAllString(r[column], -1) {
			s.add(rule, filepath.Base(file))
		}
	}
}

func (s shows) goTests(t *testing.T) {
	err := fs.WalkDir(os.DirFS(".."), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(filepath.Join("..", path))
		for _, m := range testOfRule.FindAllStringSubmatch(string(b), -1) {
			s.add(m[2], m[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
