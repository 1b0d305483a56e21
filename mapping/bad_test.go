package mapping

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

var update = flag.Bool("update", false, "rewrite what the cases of testdata expect")

const reference = "../contracts/orleans-tours-gar/v1"

// folder reads the files of the reference contract that Load reads, as a fresh
// copy that a test may change.
func folder(t testing.TB) fstest.MapFS {
	t.Helper()
	out := fstest.MapFS{}
	for _, pattern := range []string{"*.yaml", "*.csv", "to-partner/*", "to-requester/*"} {
		names, err := fs.Glob(os.DirFS(reference), pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %s: no files (%v)", reference, pattern, err)
		}
		for _, name := range names {
			b, err := os.ReadFile(filepath.Join(reference, name))
			if err != nil {
				t.Fatal(err)
			}
			out[name] = &fstest.MapFile{Data: b}
		}
	}
	return out
}

// TestBadContracts plays testdata/bad: each case is the reference contract with
// one mistake laid over it, and exactly what Load must say (see its README).
func TestBadContracts(t *testing.T) {
	for _, file := range badCases(t) {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(file, "testdata/bad/"), ".txtar"), func(t *testing.T) {
			arc, got := loadBad(t, file)
			if len(got) == 0 {
				t.Fatal("Load found no mistake")
			}
			at := len(arc.Files) - 1
			if at < 0 || arc.Files[at].Name != "want" {
				t.Fatal("the last part must be named want")
			}
			text := strings.Join(got, "\n") + "\n"
			if *update {
				arc.Files[at].Data = []byte(text)
				if err := os.WriteFile(file, txtar.Format(arc), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := string(arc.Files[at].Data); text != want {
				t.Errorf("Load says\n%s\nwant\n%s", text, want)
			}
		})
	}
}

func badCases(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/bad/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata/bad: no cases (%v)", err)
	}
	return files
}

// loadBad lays a case over the reference contract and returns what Load says,
// with the lines of what the case adds counted from there: "+1".
func loadBad(t *testing.T, file string) (*txtar.Archive, []string) {
	t.Helper()
	arc, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fsys, offset := folder(t), map[string]int{}
	for _, f := range arc.Files {
		if f.Name != "want" {
			lay(t, fsys, f, offset)
		}
	}
	_, err = Load(fsys)
	var ps Problems
	if !errors.As(err, &ps) && err != nil {
		t.Fatalf("Load's error is no Problems but %T", err)
	}
	var out []string
	for _, p := range ps {
		line := ""
		if n, moved := offset[p.File]; p.Line > 0 && moved {
			line = fmt.Sprintf(":%+d", p.Line-n)
		} else if p.Line > 0 {
			line = fmt.Sprintf(":%d", p.Line)
		}
		p.Line = 0
		out = append(out, p.File+line+strings.TrimPrefix(p.String(), p.File))
	}
	return arc, out
}

// lay changes one file of the contract as a part's name says.
func lay(t *testing.T, fsys fstest.MapFS, f txtar.File, offset map[string]int) {
	t.Helper()
	name, how, _ := strings.Cut(f.Name, " ")
	old := []byte(nil)
	if fsys[name] != nil {
		old = fsys[name].Data
	}
	switch how {
	case "":
		fsys[name] = &fstest.MapFile{Data: f.Data}
	case "(delete)":
		delete(fsys, name)
	case "(delete all)":
		maps.DeleteFunc(fsys, func(file string, _ *fstest.MapFile) bool { return strings.HasPrefix(file, name) })
	case "(append)":
		offset[name] = bytes.Count(old, []byte("\n"))
		fsys[name] = &fstest.MapFile{Data: append(slices.Clip(old), f.Data...)}
	case "(edit)":
		before, after, ok := bytes.Cut(f.Data, []byte("=>\n"))
		at := bytes.Index(old, before)
		if !ok || at < 0 || bytes.Count(old, before) != 1 {
			t.Fatalf("%s: the text before => must stand in the file once", f.Name)
		}
		if !bytes.HasSuffix(before, []byte("\n")) || at > 0 && old[at-1] != '\n' {
			t.Fatalf("%s: give whole lines", f.Name)
		}
		offset[name] = bytes.Count(old[:at], []byte("\n"))
		fsys[name] = &fstest.MapFile{Data: slices.Concat(old[:at], after, old[at+len(before):])}
	case "(windows-1252)":
		b, err := charmap.Windows1252.NewEncoder().Bytes(f.Data)
		if err != nil {
			t.Fatal(err)
		}
		fsys[name] = &fstest.MapFile{Data: b}
	case "(utf-16)":
		b, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().Bytes(f.Data)
		if err != nil {
			t.Fatal(err)
		}
		fsys[name] = &fstest.MapFile{Data: b}
	default:
		t.Fatalf("%q: unknown way to change a file", f.Name)
	}
}

// TestEveryProblemHasACase holds testdata/bad to the code: every place that
// reports a mistake must be shown by a case, by its own text and hint.
func TestEveryProblemHasACase(t *testing.T) {
	var said []string
	for _, file := range badCases(t) {
		_, got := loadBad(t, file)
		said = append(said, got...)
	}
	for _, site := range sites(t) {
		if !slices.ContainsFunc(said, site.pattern.MatchString) {
			t.Errorf("%s: no case of testdata/bad shows %s", site.pos, site.pattern)
		}
	}
}

type site struct {
	pos     string
	pattern *regexp.Regexp
}

// sites are the calls of Problems.add in this package.
func sites(t *testing.T) []site {
	t.Helper()
	fset := token.NewFileSet()
	files, _ := filepath.Glob("*.go")
	var out []site
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) < 4 {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "add" {
				pattern := ": " + verb.ReplaceAllString(regexp.QuoteMeta(leftmost(call.Args[3])), ".+") + ` \(` + regexp.QuoteMeta(leftmost(call.Args[2]))
				out = append(out, site{fset.Position(call.Pos()).String(), regexp.MustCompile(pattern)})
			}
			return true
		})
	}
	if len(out) < 50 {
		t.Fatalf("only %d calls of add found: has it another name now?", len(out))
	}
	return out
}

var verb = regexp.MustCompile(`%[a-z]`)

// leftmost is the first string literal of an expression such as "a" + b.
func leftmost(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.BinaryExpr:
			e = x.X
		case *ast.BasicLit:
			s, _ := strconv.Unquote(x.Value)
			return s
		default:
			return ""
		}
	}
}
