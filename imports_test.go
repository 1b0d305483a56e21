package passerelle_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rules says which of our packages each package may import. Imports go down
// only; a package that is not named may not exist.
var rules = map[string][]string{
	".":                     {},
	"adapters":              {".", "adapters/agent", "adapters/itop", "adapters/jira", "internal/intake", "internal/login"},
	"adapters/agent":        {".", "internal/foreign"},
	"adapters/itop":         {".", "internal/foreign", "internal/intake", "internal/login", "internal/richtext"},
	"adapters/itop/itopsim": {"internal/fault"},
	"adapters/jira":         {".", "internal/foreign", "internal/intake", "internal/login", "internal/richtext"},
	"adapters/jira/jirasim": {"internal/fault"},
	"cmd/bench":             {"*"},
	"cmd/cluster":           {"*"},
	"cmd/gateway":           {"*"},
	"contracts":             {},
	"internal/admin":        {".", "internal/login", "outbox"},
	"internal/cluster":      {"adapters"},
	"internal/conversation": {".", "adapters", "adapters/jira/jirasim", "internal/relay", "internal/trial", "internal/wiring", "mapping", "outbox"},
	"internal/trial":        {".", "adapters", "adapters/itop/itopsim", "adapters/jira/jirasim", "internal/login", "mapping"},
	"internal/wiring":       {".", "adapters", "internal/admin", "internal/intake", "internal/login", "internal/relay", "mapping", "outbox"},
	"internal/fault":        {},
	"internal/foreign":      {},
	"internal/intake":       {"."},
	"internal/login":        {"."},
	"internal/relay":        {".", "internal/richtext", "mapping", "outbox"},
	"internal/richtext":     {},
	"internal/scenario":     {".", "internal/trial", "mapping"},
	"mapping":               {".", "internal/richtext"},
	"outbox":                {"."},
}

// modules says in which packages a third-party module may be imported, so that
// it can be replaced in one place.
var modules = map[string][]string{
	"go.etcd.io/bbolt":                    {"outbox", "cmd/bench"}, // there as a baseline
	"github.com/nats-io/nats.go":          {"outbox", "internal/cluster"},
	"github.com/nats-io/nats-server/v2":   {"internal/cluster"},
	"github.com/go-resty/resty/v2":        {"adapters/jira"},
	"github.com/tidwall/gjson":            {"internal/trial", "adapters/agent", "adapters/itop", "adapters/jira", "internal/scenario", "internal/conversation"},
	"github.com/tidwall/sjson":            {"adapters/agent", "adapters/jira", "adapters/itop"},
	"github.com/prometheus/client_golang": {"internal/relay", "internal/wiring"},
	"github.com/spf13/cobra":              {"cmd/gateway"},
	"github.com/goccy/go-yaml":            {"internal/cluster", "mapping", "cmd/bench", "cmd/gateway", "internal/conversation", "internal/scenario", "internal/trial"},
	"github.com/microcosm-cc/bluemonday":  {"internal/richtext"},
	"golang.org/x/crypto":                 {"internal/login"},
	"golang.org/x/net":                    {"internal/richtext"},
	"golang.org/x/text":                   {"internal/richtext", "mapping"},
	"github.com/rogpeppe/go-internal":     {"internal/conversation"},
}

// TestImportsGoDown holds the house's plan: which room may know which.
func TestImportsGoDown(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") || strings.Contains(file, "testdata") {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(file))
		seen[pkg] = true
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			if why := forbidden(pkg, strings.Trim(spec.Path.Value, `"`)); why != "" {
				t.Errorf("%s: %s", file, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range seen {
		if rules[pkg] == nil {
			t.Errorf("package %s is in no rule: add it to the table, and to docs/flow.md", pkg)
		}
	}
}

func forbidden(pkg, imported string) string {
	if imported == "passerelle" || strings.HasPrefix(imported, "passerelle/") {
		short := strings.TrimPrefix(strings.TrimPrefix(imported, "passerelle"), "/")
		if short == "" {
			short = "."
		}
		if slices.Contains(rules[pkg], short) || slices.Contains(rules[pkg], "*") {
			return ""
		}
		return pkg + " may not import " + short
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return "" // the standard library
	}
	for module, users := range modules {
		if imported == module || strings.HasPrefix(imported, module+"/") {
			if slices.Contains(users, pkg) {
				return ""
			}
			return pkg + " may not import " + imported + ": it belongs in " + strings.Join(users, ", ")
		}
	}
	return "module of " + imported + " is in no rule: justify it in docs/decisions.md and add it to the table"
}

// TestEveryDependencyHasAReason: each module that go.mod requires directly has a
// line in the table of docs/decisions.md, with why it is there.
func TestEveryDependencyHasAReason(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("docs/decisions.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(mod)) {
		f := strings.Fields(line)
		if len(f) > 0 && f[0] == "require" {
			f = f[1:] // alone on its line
		}
		if len(f) != 2 || !strings.HasPrefix(f[1], "v") || !strings.Contains(f[0], ".") {
			continue // no requirement, or an indirect one
		}
		n++
		row := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(f[0]) + `( \([^|]*\))? \| [^|]+ \| [^|]{10,}`)
		if !row.Match(doc) {
			t.Errorf("go.mod requires %s, and docs/decisions.md does not say why (add a line to its table)", f[0])
		}
	}
	if n < 10 {
		t.Errorf("go.mod requires %d modules directly: is it still read right?", n)
	}
}
