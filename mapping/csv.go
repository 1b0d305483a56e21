package mapping

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io/fs"
	"strings"
	"unicode/utf8"
)

// table is a CSV file with a heading, as a spreadsheet saves it: comma or
// semicolon, with or without a byte order mark, any line ends.
type table struct {
	file string
	rows []row
}

// row is one line of a table, by the names of the heading.
type row struct {
	line  int
	cells map[string]string
}

func (r row) get(column string) string { return r.cells[column] }

// list splits a cell that holds several values, separated by "|".
func (r row) list(column string) []string {
	var out []string
	for _, v := range strings.Split(r.cells[column], "|") {
		if v = strings.TrimSpace(v); v != "" {
			out = append(out, v)
		}
	}
	return out
}

// readTable reads a CSV file of the contract folder that must have the given
// columns; further ones are mistakes, except "note", which is for people.
func readTable(fsys fs.FS, file string, columns []string, p *Problems) *table {
	t := &table{file: file}
	b, err := fs.ReadFile(fsys, file)
	if err != nil {
		p.add(file, 0, "a contract needs this file; docs/contracts.md describes it", "cannot be read: %v", err)
		return t
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(b) {
		p.add(file, badLine(b), "save it as « CSV UTF-8 », not Windows-1252", "is not UTF-8")
		return t
	}
	records, lines, err := parseCSV(b)
	var bad *csv.ParseError
	if errors.As(err, &bad) {
		p.add(file, bad.StartLine, "check the quotes on this line", "%v", bad.Err)
		return t
	}
	if len(records) == 0 {
		p.add(file, 0, "the first line names the columns: "+strings.Join(columns, ", "), "is empty")
		return t
	}
	if checkHeading(file, records[0], columns, p) {
		t.rows = rowsOf(records, lines)
	}
	return t
}

func badLine(b []byte) int {
	line := 1
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		b = b[n:]
	}
	return line
}

func parseCSV(b []byte) (records [][]string, lines []int, err error) {
	heading, _, _ := bytes.Cut(b, []byte("\n"))
	rd := csv.NewReader(bytes.NewReader(b))
	rd.FieldsPerRecord = -1
	if bytes.Count(heading, []byte(";")) > bytes.Count(heading, []byte(",")) {
		rd.Comma = ';'
	}
	for {
		rec, err := rd.Read()
		if err != nil {
			if err.Error() == "EOF" {
				return records, lines, nil
			}
			return nil, nil, err
		}
		line, _ := rd.FieldPos(0)
		records, lines = append(records, rec), append(lines, line)
	}
}

func checkHeading(file string, heading, columns []string, p *Problems) bool {
	have := map[string]bool{}
	for i, h := range heading {
		heading[i] = strings.TrimSpace(h)
		have[heading[i]] = true
	}
	ok := true
	for _, c := range columns {
		if !have[c] {
			p.add(file, 1, "the columns are "+strings.Join(columns, ", "), "column %q is missing", c)
			ok = false
		}
		delete(have, c)
	}
	delete(have, "note")
	delete(have, "")
	for c := range have {
		p.add(file, 1, "the columns are "+strings.Join(columns, ", ")+"; note is free", "column %q is unknown", c)
		ok = false
	}
	return ok
}

func rowsOf(records [][]string, lines []int) []row {
	var rows []row
	for i, rec := range records[1:] {
		r := row{line: lines[i+1], cells: map[string]string{}}
		blank := true
		for j, cell := range rec {
			cell = strings.TrimSpace(cell)
			blank = blank && cell == ""
			if j < len(records[0]) {
				r.cells[records[0][j]] = cell
			}
		}
		if !blank {
			rows = append(rows, r)
		}
	}
	return rows
}
