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
// widest to the narrowest, and the partner's component last.
type Catalogue struct {
	Columns []CatalogueColumn
	Target  string // the heading of the partner's column
	Default string // component for what matches nothing; empty: refuse
	rows    []row
}

// CatalogueColumn ties a column of catalogue.csv to a field of the ticket.
type CatalogueColumn struct {
	Column   string `yaml:"column"`
	Field    string `yaml:"field"`
	Optional bool   `yaml:"optional"` // may be absent from a ticket: it then matches all
}

func readCatalogue(fsys fs.FS, spec catalogueSpec, fields map[string]*Field, p *Problems) *Catalogue {
	const file = "catalogue.csv"
	c := &Catalogue{Columns: spec.Columns, Target: spec.Target, Default: spec.Default}
	var columns []string
	for _, col := range c.Columns {
		if fields[col.Field] == nil {
			p.add(contractFile, 0, "add it to fields.csv, or correct the name", "catalogue: field %q is unknown", col.Field)
		}
		columns = append(columns, col.Column)
	}
	if len(columns) == 0 {
		return c
	}
	c.rows = readTable(fsys, file, append(columns, c.Target), p).rows
	seen := map[string]int{}
	for _, r := range c.rows {
		key := ""
		for _, col := range append(columns, c.Target) {
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

// Components finds the partner's components for a ticket's names, given by
// field. The error says what was not found and what stands nearest.
func (c *Catalogue) Components(names map[string]string) ([]string, error) {
	rows := c.match(names)
	sets := map[string][]string{} // full tuple → components
	for _, r := range rows {
		key := c.tuple(r)
		sets[key] = append(sets[key], r.get(c.Target))
	}
	var found []string
	for _, set := range sets {
		if found == nil {
			found = set
		} else if !slices.Equal(found, set) {
			return nil, c.noMatch(names, rows)
		}
	}
	if found == nil && c.Default != "" {
		return []string{c.Default}, nil
	}
	if found == nil {
		return nil, c.noMatch(names, nil)
	}
	return found, nil
}

func (c *Catalogue) match(names map[string]string) []row {
	var out []row
	for _, r := range c.rows {
		ok := true
		for _, col := range c.Columns {
			want := names[col.Field]
			ok = ok && (want == "" && col.Optional || same(want, r.get(col.Column)))
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

// noMatch names the tuple and the rows that come nearest: those it could have
// meant, or those that share its longest beginning.
func (c *Catalogue) noMatch(names map[string]string, candidates []row) error {
	var parts []string
	for _, col := range c.Columns {
		if n := names[col.Field]; n != "" {
			parts = append(parts, n)
		} else {
			parts = append(parts, "?")
		}
	}
	if len(candidates) == 0 {
		candidates = c.nearest(names)
	}
	var near []string
	for i, r := range candidates {
		if i == 8 {
			near = append(near, fmt.Sprintf("and %d more", len(candidates)-i))
			break
		}
		near = append(near, "« "+c.tuple(r)+" »")
	}
	return &passerelle.Error{Op: "catalogue", Class: passerelle.Refused, Rule: "R7",
		Local: "« " + strings.Join(parts, " > ") + " » ne correspond pas à une entrée du catalogue ; les plus proches : " + strings.Join(near, " ; "),
		Err:   fmt.Errorf("« %s » is not one entry of the catalogue", strings.Join(parts, " > ")),
		Hint:  "nearest: " + strings.Join(near, "; ")}
}

func (c *Catalogue) nearest(names map[string]string) []row {
	best, out := -1, []row(nil)
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
