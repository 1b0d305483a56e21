package mapping

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"passerelle"
)

// Catalogue ties the requester's catalogue of services to the partner's, N to
// N (R7). It is catalogue.csv: columns of the requester's names, from the
// widest to the narrowest, and the partner's last: one component, or several
// names that make one entry there.
type Catalogue struct {
	Columns []CatalogueColumn
	Targets []string          // the headings of the partner's columns
	Default map[string]string // by target, for what matches nothing; empty: refuse
	rows    []row
	words   [][]string // by row and column, what match compares
	named   bool       // a template names a target by $this->catalogue(…)$: there must be one entry
}

// CatalogueColumn ties a column of catalogue.csv to a field of the ticket.
type CatalogueColumn struct {
	Column   string `yaml:"column"`
	Field    string `yaml:"field"`
	Optional bool   `yaml:"optional"` // may be absent from a ticket: it then matches all
}

func readCatalogue(fsys fs.FS, contract *Contract, p *Problems) *Catalogue {
	const file = catalogueFile
	spec := contract.CatalogueSpec
	c := &Catalogue{Columns: spec.Columns, Targets: spec.Targets, Default: map[string]string{}}
	if len(c.Columns) == 0 {
		return c
	}
	if len(c.Targets) == 0 {
		c.Targets = []string{spec.Target}
	}
	c.readDefault(spec, contract, p)
	columns := c.checkColumns(contract, p)
	if columns == nil {
		return c
	}
	seen := map[string]int{}
	for _, r := range readTable(fsys, file, columns, p).rows {
		c.add(r)
		key := ""
		for _, col := range columns {
			if r.get(col) == "" {
				p.add(file, r.line, "fill it, or delete the row", "%s is empty", col)
			}
			key += fold(r.get(col)) + "\x00"
		}
		if old := seen[key]; old > 0 {
			p.add(file, r.line, "keep one of them", "the same row is already on line %d", old)
		}
		seen[key] = r.line
	}
	return c
}

// add adds a row.
func (c *Catalogue) add(r row) {
	words := make([]string, len(c.Columns))
	for k, col := range c.Columns {
		words[k] = fold(r.get(col.Column))
	}
	c.rows, c.words = append(c.rows, r), append(c.words, words)
}

// readDefault checks that the default names every target.
func (c *Catalogue) readDefault(spec catalogueSpec, contract *Contract, p *Problems) {
	if spec.Target != "" && len(spec.Targets) > 0 {
		p.add(contractFile, contract.line("catalogue.target"), "keep target for one column, targets for several", "catalogue: target and targets stand side by side")
	}
	for heading, name := range spec.Default {
		if heading == "" && len(c.Targets) == 1 {
			heading = c.Targets[0]
		}
		if !slices.Contains(c.Targets, heading) {
			p.add(contractFile, contract.line("catalogue.default"), "one name for each of "+strings.Join(c.Targets, ", "), "catalogue.default: %q is no target", heading)
		}
		c.Default[heading] = name
	}
	if n := len(c.Default); n > 0 && n < len(c.Targets) {
		p.add(contractFile, contract.line("catalogue.default"), "one name for each of "+strings.Join(c.Targets, ", "), "catalogue.default names %d of %d targets", n, len(c.Targets))
	}
}

// checkColumns returns the headings that catalogue.csv must have, or nil where
// contract.yaml does not name them all.
func (c *Catalogue) checkColumns(contract *Contract, p *Problems) []string {
	var columns []string
	for i, col := range c.Columns {
		at := contract.line(fmt.Sprintf("catalogue.columns[%d]", i))
		switch f := contract.fields[col.Field]; {
		case f == nil:
			p.add(contractFile, at, "add it to fields.csv, or correct the name", "catalogue: field %q is unknown", col.Field)
		case col.Optional && f.Create == "required":
			p.add(contractFile, at, "leave optional out here, or let fields.csv say optional too", "catalogue: %q is optional, but no create may leave out %q", col.Column, col.Field)
		}
		columns = append(columns, col.Column)
	}
	columns = append(columns, c.Targets...)
	for i, name := range columns {
		if name == "" || slices.Contains(columns[:i], name) {
			at := contract.line("catalogue.target")
			if i < len(c.Columns) {
				at = contract.line(fmt.Sprintf("catalogue.columns[%d]", i))
			}
			p.add(contractFile, max(at, contract.line("catalogue")), "give each column and the target a heading of its own", "catalogue: heading %q is empty or stands twice", name)
			return nil
		}
	}
	return columns
}

// Components finds the partner's components for a ticket's names, given by
// field, in the order of catalogue.csv. Without one match it is the default,
// or a refusal (*passerelle.Error) that names the tuple and what stands
// nearest (R7).
func (c *Catalogue) Components(names map[string]string) ([]string, error) {
	found, err := c.find(names)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(found))
	for i, entry := range found {
		out[i] = entry[c.Targets[0]]
	}
	return out, nil
}

// Entry finds the one entry of the partner's catalogue for a ticket's names,
// its parts by heading; several that fit are a refusal, as none is.
func (c *Catalogue) Entry(names map[string]string) (map[string]string, error) {
	found, err := c.find(names)
	if err == nil && len(found) > 1 {
		return nil, c.ambiguous(names, c.match(names))
	}
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// find are the partner's entries for a ticket's names, by heading.
func (c *Catalogue) find(names map[string]string) ([]map[string]string, error) {
	rows := c.match(names)
	found, ok := c.agreed(rows)
	switch {
	case ok:
		return found, nil
	case len(c.Default) > 0:
		return []map[string]string{c.Default}, nil
	case len(rows) > 0:
		return nil, c.ambiguous(names, rows)
	}
	return nil, c.noMatch(names)
}

// target is the partner's part of a row, by heading.
func (c *Catalogue) target(r row) map[string]string {
	out := map[string]string{}
	for _, heading := range c.Targets {
		out[heading] = r.get(heading)
	}
	return out
}

// agreed returns the entries of rows, if all their tuples lead to the same.
func (c *Catalogue) agreed(rows []row) ([]map[string]string, bool) {
	if len(rows) == 0 {
		return nil, false
	}
	sets := map[string][]string{} // full tuple → targets
	for _, r := range rows {
		key := fold(c.tuple(r))
		sets[key] = append(sets[key], fmt.Sprint(c.target(r))) // a map prints in the order of its keys
	}
	first := sets[fold(c.tuple(rows[0]))]
	for _, set := range sets {
		if !slices.Equal(slices.Sorted(slices.Values(set)), slices.Sorted(slices.Values(first))) {
			return nil, false
		}
	}
	var out []map[string]string
	for _, r := range rows {
		if fold(c.tuple(r)) == fold(c.tuple(rows[0])) {
			out = append(out, c.target(r))
		}
	}
	return out, true
}

func (c *Catalogue) match(names map[string]string) []row {
	want := make([]string, len(c.Columns))
	for k, col := range c.Columns {
		want[k] = fold(names[col.Field])
	}
	var out []row
	for i, r := range c.rows {
		ok := true
		for k, col := range c.Columns {
			ok = ok && (want[k] == "" && col.Optional || want[k] == c.words[i][k])
		}
		if ok {
			out = append(out, r)
		}
	}
	return out
}

func (c *Catalogue) tuple(r row) string {
	var parts []string
	for _, col := range c.Columns {
		parts = append(parts, r.get(col.Column))
	}
	return strings.Join(parts, " > ")
}

// ask writes a ticket's tuple, with "?" for what it does not give.
func (c *Catalogue) ask(names map[string]string) string {
	var parts []string
	for _, col := range c.Columns {
		part := strings.TrimSpace(names[col.Field])
		if part == "" {
			part = "?"
		}
		parts = append(parts, part)
	}
	return "« " + strings.Join(parts, " > ") + " »"
}

func (c *Catalogue) ambiguous(names map[string]string, rows []row) error {
	ask, list := c.ask(names), c.list(rows)
	return &passerelle.Error{Op: "catalogue", Class: passerelle.Refused, Rule: "R7",
		Err:   fmt.Errorf("%s fits several entries of the catalogue, with different components", ask),
		Hint:  "give what is missing; it is one of: " + strings.Join(list, "; "),
		Local: ask + " convient à plusieurs entrées du catalogue ; précisez laquelle : " + strings.Join(list, " ; ")}
}

func (c *Catalogue) noMatch(names map[string]string) error {
	ask, list := c.ask(names), c.list(c.nearest(names))
	return &passerelle.Error{Op: "catalogue", Class: passerelle.Refused, Rule: "R7",
		Err:   fmt.Errorf("%s is no entry of the catalogue", ask),
		Hint:  "nearest: " + strings.Join(list, "; "),
		Local: ask + " n'est pas une entrée du catalogue ; les plus proches : " + strings.Join(list, " ; ")}
}

// list names rows, the first eight and how many more.
func (c *Catalogue) list(rows []row) []string {
	const most = 8
	var out []string
	for _, r := range rows[:min(len(rows), most)] {
		out = append(out, "« "+c.tuple(r)+" »")
	}
	if more := len(rows) - most; more > 0 {
		out = append(out, fmt.Sprintf("… (+%d)", more))
	}
	return out
}

// nearest are the rows that agree with the names in most columns.
func (c *Catalogue) nearest(names map[string]string) []row {
	best, out := 0, []row(nil)
	for _, r := range c.rows {
		n := 0
		for _, col := range c.Columns {
			if same(names[col.Field], r.get(col.Column)) {
				n++
			}
		}
		if n > best {
			best, out = n, nil
		}
		if n == best {
			out = append(out, r)
		}
	}
	return out
}
