package contracts_test

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"passerelle/internal/conversation"
	"passerelle/mapping"
)

// examplePage teaches how to write a contract. Its fenced blocks are files, each
// named in bold at the end of the line before, or commands with what they print.
const examplePage = "../docs/contract-in-an-hour.md"

// block is one fenced block of the page.
type block struct {
	line  int
	file  string // below the contract's folder; a folder's name ends in a slash
	added bool   // to the file's end
	text  string
}

// exampleFile is how the page names a file: **`fields.csv`**: or, to add to it,
// **`fields.csv`**, added:
var exampleFile = regexp.MustCompile("\\*\\*`([^`]+)`\\*\\*(, added)?:$")

// TestExamplePage follows docs/contract-in-an-hour.md as a reader would: it
// writes each file and gives each command, in their order, and what the program
// prints must be what the page shows.
func TestExamplePage(t *testing.T) {
	e := &example{T: t, dir: t.TempDir(), env: os.Environ()}
	for _, b := range blocksOf(t, examplePage) {
		if b.file == "" {
			e.commands(b)
			continue
		}
		for name, text := range b.files() {
			e.write(name, text, b.added)
		}
	}
	c, err := mapping.Load(os.DirFS(e.folder()))
	if err != nil {
		t.Fatal(err)
	}
	if r := c.Remarks(); len(r) > 0 {
		t.Errorf("remarks on the finished contract:\n%v", r)
	}
	if wrong := misnamed(e.folder(), c); wrong != "" {
		t.Error(wrong)
	}
	e.play()
}

// blocksOf reads a page's fenced blocks. Each must be a file or commands.
func blocksOf(t *testing.T, page string) []block {
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	var open *block
	before := ""
	for i, line := range strings.Split(string(b), "\n") {
		fence, is := strings.CutPrefix(line, "```")
		switch {
		case is && open != nil:
			blocks, open = append(blocks, *open), nil
		case is:
			open = &block{line: i + 1}
			m := exampleFile.FindStringSubmatch(before)
			if (m != nil) == (fence == "console") {
				t.Fatalf("%s:%d: a block is commands (console), or a file named at the end of the line before: %q", page, i+1, before)
			}
			if m != nil {
				open.file, open.added = m[1], m[2] != ""
			}
		case open != nil:
			open.text += line + "\n"
		}
		before = line
	}
	if len(blocks) == 0 {
		t.Fatal(page + " shows nothing")
	}
	return blocks
}

// files are the block's files: one, or those of a folder.
func (b block) files() map[string]string {
	if !strings.HasSuffix(b.file, "/") {
		return map[string]string{b.file: b.text}
	}
	out := map[string]string{}
	for _, f := range txtar.Parse([]byte(b.text)).Files {
		out[b.file+f.Name] = string(f.Data)
	}
	return out
}

// example is the reader: a folder of his own, and what he has typed.
type example struct {
	*testing.T
	dir, program string
	env          []string
}

func (e *example) folder() string { return filepath.Join(e.dir, "contracts", "ville-demo", "v1") }

// write puts a file where the page says: gateway.yaml beside the contracts, all
// else into the contract's folder.
func (e *example) write(name, text string, added bool) {
	file := filepath.Join(e.folder(), name)
	if name == "gateway.yaml" {
		file = filepath.Join(e.dir, name)
	}
	old, err := os.ReadFile(file)
	if added != (err == nil) {
		e.Fatalf("%s: the page shows it twice, or adds to what is not there", name)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		e.Fatal(err)
	}
	if err := os.WriteFile(file, append(old, text...), 0o644); err != nil {
		e.Fatal(err)
	}
}

// commands gives a block's commands and compares what they print.
func (e *example) commands(b block) {
	for _, c := range strings.Split("\n"+b.text, "\n$ ")[1:] {
		typed, shown, _ := strings.Cut(c, "\n")
		words := strings.Fields(typed)
		switch {
		case words[0] == "export":
			e.env = append(e.env, words[1:]...)
		case words[0] != "gateway":
			e.Fatalf("%s:%d: who runs %q?", examplePage, b.line, typed)
		case words[1] == "sim":
			e.simulate(words[1:])
		default:
			cmd := e.gateway(words[1:]...)
			out, _ := cmd.CombinedOutput() // what it prints tells
			if missing, ok := isShown(string(out), shown); !ok {
				e.Fatalf("%s:%d: $ %s\nprints no %q there, but:\n%s", examplePage, b.line, typed, missing, out)
			}
		}
	}
}

// isShown tells whether an output is what the page shows of it: line by line, …
// alone for any lines, … at a line's end for the rest of it.
func isShown(out, page string) (missing string, ok bool) {
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	anywhere := false
	for _, want := range strings.Split(strings.TrimRight(page, "\n"), "\n") {
		if want == "…" {
			anywhere = true
			continue
		}
		start, cut := strings.CutSuffix(want, "…")
		is := func(l string) bool { return l == want || cut && strings.HasPrefix(l, start) }
		i := slices.IndexFunc(lines, is)
		if i < 0 || i > 0 && !anywhere {
			return want, false
		}
		lines, anywhere = lines[i+1:], false
	}
	return "end", anywhere || len(lines) == 0
}

// simulate leaves a simulated tool running, at an address of its own.
func (e *example) simulate(args []string) {
	cmd := e.gateway(append(args, "--listen", "127.0.0.1:0")...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	var kind, url string
	if _, err2 := fmt.Sscanf(line, "simulated %s on %s", &kind, &url); err != nil || err2 != nil {
		e.Fatalf("%v says %q: %v", args, line, err)
	}
	e.configure(map[string]string{"itop": "http://127.0.0.1:8090", "jira": "http://127.0.0.1:8091"}[kind], url)
}

// configure puts a simulator's real address in the place of the page's.
func (e *example) configure(page, real string) {
	file := filepath.Join(e.dir, "gateway.yaml")
	b, err := os.ReadFile(file)
	if err == nil && !strings.Contains(string(b), page) {
		err = fmt.Errorf("gateway.yaml does not name %s", page)
	}
	if err == nil {
		err = os.WriteFile(file, []byte(strings.ReplaceAll(string(b), page, real)), 0o644)
	}
	if err != nil {
		e.Fatal(err)
	}
}

// gateway is the program, built once.
func (e *example) gateway(args ...string) *exec.Cmd {
	if e.program == "" {
		e.program = filepath.Join(e.TempDir(), "gateway")
		if out, err := exec.CommandContext(e.Context(), "go", "build", "-o", e.program, "passerelle/cmd/gateway").CombinedOutput(); err != nil {
			e.Fatalf("go build: %v\n%s", err, out)
		}
	}
	cmd := exec.CommandContext(e.Context(), e.program, args...)
	cmd.Dir, cmd.Env = e.dir, e.env
	return cmd
}

// play plays the finished contract's conversations.
func (e *example) play() {
	files, err := conversation.Files(e.folder())
	if err != nil || len(files) == 0 {
		e.Fatalf("no conversations: %v", err)
	}
	for _, file := range files {
		want, got, err := conversation.Play(e.Context(), e.folder(), file)
		if diff := conversation.Diff(want, got); err != nil || diff != "" {
			e.Errorf("%s: %v\n%s", file, err, diff)
		}
	}
}

// TestNoContractInCode: contracts are data. No program but the demonstration
// knows one of them, or a party, by name; the simulated iTop alone knows SUMiT,
// which is a model of its own.
func TestNoContractInCode(t *testing.T) {
	names := append(parties(t), "SUMiT")
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		file = strings.TrimPrefix(filepath.ToSlash(file), "../")
		if strings.HasPrefix(file, "internal/trial/") || strings.HasPrefix(file, "internal/scenario/") || file == "cmd/gateway/demo.go" {
			return nil
		}
		b, err := os.ReadFile(filepath.Join("..", file))
		for _, name := range names {
			model := name == "SUMiT" && strings.HasPrefix(file, "adapters/itop/itopsim/")
			if strings.Contains(string(b), name) && !model {
				t.Errorf("%s names %q: contracts are data (put it into the contract's folder)", file, name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// parties are the names of all contracts and of those who signed them.
func parties(t *testing.T) []string {
	dirs, err := filepath.Glob("*/v*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no contracts: %v", err)
	}
	var names []string
	for _, dir := range dirs {
		c, err := mapping.Load(os.DirFS(dir))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, c.Name, c.Between.Requester.Name, c.Between.Partner.Name)
	}
	return names
}
