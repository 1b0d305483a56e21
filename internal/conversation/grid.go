package conversation

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"

	"passerelle"
)

// Cell is one row of a contract's grid, testdata/grid.csv: in this state, when
// this side does this, that must happen. A row whose how names several ways
// makes a cell of each.
type Cell struct {
	Line  int // in grid.csv
	State passerelle.State
	Side  passerelle.Side
	Event string // a kind of event
	How   string // Message, Tool, or either with a name behind it: "message changed"
	Want  Effect
	Rules []string // that decide, such as R12
	Note  string
}

// How an event comes.
const (
	Message = "message" // the contract's message, posted to the gateway's face
	Tool    = "tool"    // done in the tool, whose webhook tells the gateway
)

// NotApplicable is the outcome of a cell that cannot happen; its note says why.
const NotApplicable = "n/a"

// Effect is what an event does to a pair.
type Effect struct {
	Outcome   string           // accepted, same (no effect), refused
	Then      passerelle.State // of the pair, afterwards
	Partner   string           // the messages that the partner hears, by their templates' names
	Requester string           // likewise
	Rule      string           // that the gateway gave for it
	Told      string           // what the face answered
}

// Open tells whether the rules ask for more than the gateway does yet: the
// note says what.
func (c *Cell) Open() bool { return strings.HasPrefix(c.Note, "open:") }

// Name is the cell's name among the tests.
func (c *Cell) Name() string {
	return strings.ReplaceAll(strings.Join([]string{string(c.State), string(c.Side), c.Event, c.How}, "/"), " ", "-")
}

// columns of grid.csv.
var columns = []string{"state", "side", "event", "how", "outcome", "then", "partner hears", "requester hears", "rule", "note"}

// Grid reads a contract folder's testdata/grid.csv.
func Grid(dir string) ([]*Cell, error) {
	f, err := os.Open(filepath.Join(dir, "testdata", "grid.csv"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("grid.csv: %w", err)
	}
	if len(rows) == 0 || !slices.Equal(rows[0], columns) {
		return nil, fmt.Errorf("grid.csv:1: the columns are %s", strings.Join(columns, ", "))
	}
	var out []*Cell
	for i, r := range rows[1:] {
		for _, how := range ways(r[3]) {
			out = append(out, &Cell{Line: i + 2, State: passerelle.State(r[0]), Side: passerelle.Side(r[1]), Event: r[2], How: how,
				Want: Effect{Outcome: r[4], Then: passerelle.State(r[5]), Partner: r[6], Requester: r[7]}, Rules: strings.Fields(r[8]), Note: r[9]})
		}
	}
	return out, nil
}

// ways splits "message+tool"; a row that cannot happen has one empty way.
func ways(s string) []string { return strings.Split(s, "+") }

// acts is how the grid's events are said and done, and how what is heard is
// called: testdata/grid/acts.txtar. Its sections are
//
//	-- ticket --                  the ticket, as iTop's agent enters it
//	-- reach --                   for each state, the steps that lead there
//	-- requester says create --   a message, for a state in particular:
//	-- partner does pend --       "partner does resume in resolved"
//	-- partner hears close --     words that tell this message from others
type acts struct {
	text  map[string]string
	reach map[passerelle.State][]string
	words []hearing
}

// hearing is how one message is recognised: all its words are in it. A name in
// parentheses is a write that goes with another.
type hearing struct {
	side  passerelle.Side
	name  string
	words []string
}

func readActs(dir string) (*acts, error) {
	archive, err := txtar.ParseFile(filepath.Join(dir, "testdata", "grid", "acts.txtar"))
	if err != nil {
		return nil, err
	}
	a := &acts{text: map[string]string{}, reach: map[passerelle.State][]string{}}
	for _, f := range archive.Files {
		text := strings.TrimSpace(string(f.Data))
		side, rest, _ := strings.Cut(f.Name, " ")
		name, heard := strings.CutPrefix(rest, "hears ")
		switch {
		case heard:
			a.words = append(a.words, hearing{passerelle.Side(side), name, strings.Split(text, "\n")})
		case f.Name == "reach":
			a.readReach(text)
		default:
			a.text[f.Name] = text
		}
	}
	return a, nil
}

// readReach reads lines such as "pending: requester create, partner pend".
func (a *acts) readReach(text string) {
	for line := range strings.Lines(text) {
		state, steps, _ := strings.Cut(strings.TrimSpace(line), ": ")
		a.reach[passerelle.State(state)] = strings.Split(steps, ", ")
	}
}

// find returns a text, for the state if there is one of its own.
func (a *acts) find(side passerelle.Side, verb, what string, in passerelle.State) (string, bool) {
	name := string(side) + " " + verb + " " + what
	if text, ok := a.text[name+" in "+string(in)]; ok {
		return text, true
	}
	text, ok := a.text[name]
	return text, ok
}

// name calls what was heard by its name; what nobody knows stays as it was.
func (a *acts) name(side passerelle.Side, write string) string {
	for _, h := range a.words {
		missing := func(word string) bool { return !strings.Contains(write, word) }
		if h.side == side && !slices.ContainsFunc(h.words, missing) {
			return h.name
		}
	}
	return "?" + write
}
