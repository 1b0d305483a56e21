package conversation

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"passerelle"
)

// Creation is one row of a contract's testdata/creates.csv: a create in the
// requester's words, and what the partner's tool must be asked to make of it.
type Creation struct {
	Line    int               // in creates.csv
	Says    map[string]string // columns "says field": what differs from the create of acts.txtar
	Without []string          // fields that the create leaves out
	Hears   map[string]string // columns "hears path": where in the partner's message, in gjson's syntax; "(nothing)" is not there
	Told    string            // words of the refusal, for a create that is refused
	Rule    string
}

// Creations reads a contract folder's testdata/creates.csv.
func Creations(dir string) ([]*Creation, error) {
	f, err := os.Open(filepath.Join(dir, "testdata", "creates.csv"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, fmt.Errorf("creates.csv: %d rows: %w", len(rows), err)
	}
	var out []*Creation
	for i, r := range rows[1:] {
		c := &Creation{Line: i + 2, Says: map[string]string{}, Hears: map[string]string{}}
		for j, v := range r {
			c.take(rows[0][j], v)
		}
		out = append(out, c)
	}
	return out, nil
}

// take reads one value of the row; an empty one says nothing.
func (c *Creation) take(column, v string) {
	verb, name, _ := strings.Cut(column, " ")
	switch {
	case column == "told":
		c.Told = v
	case column == "without":
		c.Without = strings.Fields(v)
	case column == "rule":
		c.Rule = v
	case verb == "says" && v != "":
		c.Says[name] = v
	case verb == "hears" && v != "":
		c.Hears[name] = v
	}
}

// PlayCreations plays all rows, and tells of each what is not as it says.
func PlayCreations(ctx context.Context, dir string, list []*Creation) (differ []string, err error) {
	acts, err := readActs(dir)
	if err != nil {
		return nil, err
	}
	p := &player{acts: acts}
	if p.rig, err = newRig(ctx, dir, nil); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.rig.close()) }()
	p.tools[passerelle.Requester].Hush()
	for _, c := range list {
		one := &pair{cell: &Cell{Line: c.Line}, effect: &Effect{}}
		p.pairs = append(p.pairs, one)
		if err := errors.Join(p.enter(one), p.say(one, c)); err != nil {
			return nil, fmt.Errorf("creates.csv:%d: %w", c.Line, err)
		}
	}
	if err := errors.Join(p.settle(), p.refer()); err != nil {
		return nil, err
	}
	made := p.made()
	for i, c := range list {
		differ = append(differ, c.differs(p.pairs[i].effect.Told, made[p.pairs[i]]))
	}
	return differ, nil
}

// say posts the create of acts.txtar with what the row changes.
func (p *player) say(one *pair, c *Creation) error {
	text, _ := p.acts.find(passerelle.Requester, "says", "create", passerelle.New)
	var message map[string]any
	if err := json.Unmarshal([]byte(one.full(text)), &message); err != nil {
		return err
	}
	fields, ok := message["fields"].(map[string]any)
	if !ok {
		return errors.New("acts.txtar: the create has no fields")
	}
	for name, v := range c.Says {
		fields[name] = v
	}
	for _, name := range c.Without {
		delete(fields, name)
	}
	b, _ := json.Marshal(message) // it was JSON
	told, err := p.post(passerelle.Requester, string(b))
	one.effect.Told = told
	return err
}

// made are the partner's new tickets, as they were asked for.
func (p *player) made() map[*pair]string {
	out := map[*pair]string{}
	for _, w := range p.ears[passerelle.Partner].writes() {
		i := slices.IndexFunc(p.pairs, func(one *pair) bool { return one.links[first(reOwn, w)] })
		if i >= 0 {
			_, out[p.pairs[i]], _ = strings.Cut(w, "\n")
		}
	}
	return out
}

func (c *Creation) differs(told, made string) string {
	var b strings.Builder
	if refused := gjson.Get(told, "code").Int() != 0; refused != (c.Told != "") || !strings.Contains(gjson.Get(told, "message").String(), c.Told) {
		fmt.Fprintf(&b, "\n is told %s want %q", told, c.Told)
	}
	if c.Told != "" && made != "" {
		fmt.Fprintf(&b, "\n hears %s though it was refused", made)
	}
	for _, path := range slices.Sorted(maps.Keys(c.Hears)) {
		is := gjson.Get(made, path).String()
		if is == "" {
			is = "(nothing)"
		}
		if is != c.Hears[path] {
			fmt.Fprintf(&b, "\n hears %s %q, want %q", path, is, c.Hears[path])
		}
	}
	return b.String()
}
