package richtext

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite what the corpus expects")

// A section is a named text of a case.
type section struct{ name, text string }

// A textCase is one case of the corpus: an input and what is made of it. The
// format is told in testdata/README.md.
type textCase struct {
	name     string
	sections []section
}

func (c *textCase) get(name string) (string, bool) {
	for _, s := range c.sections {
		if s.name == name {
			return s.text, true
		}
	}
	return "", false
}

// input returns the kind of the case and its input: its first section.
func (c *textCase) input() (kind, text string) {
	return c.sections[0].name, c.sections[0].text
}

// want computes every section that the case could have.
func (c *textCase) want() []section {
	kind, in := c.input()
	switch kind {
	case "html":
		wiki := Wiki(in)
		out := []section{{"html", in}, {"clean", Clean(in)}, {"wiki", wiki}, {"text", Text(in)}}
		if back := HTML(wiki); back != Clean(in) {
			out = append(out, section{"back", back})
		}
		if _, ok := c.get("identity"); ok {
			out = append(out, section{"identity", Identity(in)})
		}
		if images := Images(in); len(images) > 0 {
			out = append(out, section{"images", describe(images)})
		}
		return out
	case "jira":
		out := []section{{"jira", in}, {"html", HTML(in)}}
		if again := Wiki(HTML(in)); again != in {
			out = append(out, section{"again", again})
		}
		return out
	default:
		return []section{{"rendered", in}, {"clean", FromRendered(in)}}
	}
}

func describe(images []Image) string {
	var out []string
	for _, i := range images {
		out = append(out, fmt.Sprintf("%q %q %q", i.ID, i.Name, i.Src))
	}
	return strings.Join(out, "\n")
}

// readCorpus reads all files of the corpus.
func readCorpus(t testing.TB) map[string][]*textCase {
	files, err := filepath.Glob("testdata/corpus/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no corpus: ", err)
	}
	corpus := map[string][]*textCase{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		corpus[file] = parseCorpus(t, string(data))
	}
	return corpus
}

func parseCorpus(t testing.TB, data string) (cases []*textCase) {
	var lines []string
	end := func() {
		if len(cases) == 0 || len(cases[len(cases)-1].sections) == 0 {
			return
		}
		c := cases[len(cases)-1]
		s := &c.sections[len(c.sections)-1]
		s.text = strings.TrimSuffix(strings.Join(lines, "\n"), "\n")
		if name, ok := strings.CutSuffix(s.name, " escaped"); ok {
			text, err := strconv.Unquote(`"` + strings.ReplaceAll(strings.ReplaceAll(s.text, `"`, `\"`), "\n", `\n`) + `"`)
			if err != nil {
				t.Fatalf("%s: %s: %v", c.name, s.name, err)
			}
			s.name, s.text = name, text
		}
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(data, "\n"), "\n") {
		if name, ok := strings.CutPrefix(line, "=== "); ok {
			end()
			cases = append(cases, &textCase{name: name})
			lines = nil
		} else if name, ok := strings.CutPrefix(line, "--- "); ok {
			end()
			c := cases[len(cases)-1]
			if _, dup := c.get(strings.TrimSuffix(name, " escaped")); dup {
				t.Fatalf("%s: two sections %s", c.name, name)
			}
			c.sections = append(c.sections, section{name: name})
			lines = nil
		} else {
			lines = append(lines, line)
		}
	}
	end()
	return cases
}

// formatCorpus writes cases as parseCorpus reads them.
func formatCorpus(cases []*textCase) string {
	var out strings.Builder
	for _, c := range cases {
		out.WriteString("=== " + c.name + "\n")
		for _, s := range c.want() {
			if hasInvisible(s.text) {
				out.WriteString("--- " + s.name + " escaped\n" + escapeInvisible(s.text) + "\n")
				continue
			}
			out.WriteString("--- " + s.name + "\n" + s.text + "\n")
		}
		out.WriteString("\n")
	}
	return out.String()
}

// invisible tells characters that a person could not tell apart in a file.
func invisible(r rune) bool {
	return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Cf, r) ||
		unicode.IsSpace(r) && r != ' ' || r == '\uFFFD')
}

func hasInvisible(s string) bool { return strings.ContainsFunc(s, invisible) }

func escapeInvisible(s string) string {
	var out strings.Builder
	for _, r := range s {
		switch {
		case r == '\\':
			out.WriteString(`\\`)
		case invisible(r):
			out.WriteString(strings.Trim(strconv.QuoteToASCII(string(r)), `"`))
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// inputs calls f with each case of the corpus.
func inputs(t *testing.T, f func(t *testing.T, kind, in string)) {
	for file, cases := range readCorpus(t) {
		for _, c := range cases {
			kind, in := c.input()
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+c.name, func(t *testing.T) { f(t, kind, in) })
		}
	}
}

func TestCorpus(t *testing.T) {
	total := 0
	for file, cases := range readCorpus(t) {
		total += len(cases)
		if *update {
			if err := os.WriteFile(file, []byte(formatCorpus(cases)), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				if diff := cmp.Diff(c.sections, c.want(), cmp.AllowUnexported(section{})); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		}
	}
	if total < 150 {
		t.Errorf("the corpus has %d cases, want 150", total)
	}
}
