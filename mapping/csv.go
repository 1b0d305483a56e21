package mapping

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// table is a CSV file with a heading, as a spreadsheet saves it: comma,
// semicolon or tab, with or without a byte order mark, any line ends.
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

// ReadTable reads a CSV file of a contract folder that the gateway itself does
// not read, as a spreadsheet saves it: each row by its columns' names. Its error
// is Problems.
func ReadTable(fsys fs.FS, file string, columns ...string) ([]map[string]string, error) {
	var p Problems
	t := readTable(fsys, file, columns, &p)
	var out []map[string]string
	for _, r := range t.rows {
		row := map[string]string{}
		for _, c := range columns {
			row[c] = r.get(c)
		}
		out = append(out, row)
	}
	return out, p.err()
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
	if !isUTF8(b, file, p) {
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
		checkWidth(file, records, lines, p)
		t.rows = rowsOf(records, lines)
	}
	return t
}

// isUTF8 refuses a file in another encoding, and says which it looks like:
// UTF-16 has zero bytes, Windows-1252 what UTF-8 cannot be.
func isUTF8(b []byte, file string, p *Problems) bool {
	switch {
	case bytes.IndexByte(b, 0) >= 0:
		p.add(file, 0, "save it as UTF-8 (a spreadsheet: « CSV UTF-8 », not « Unicode text »)", "is UTF-16, or no text at all")
		return false
	case !utf8.Valid(b):
		p.add(file, badLine(b), "save it as UTF-8 (a spreadsheet: « CSV UTF-8 », not plain « CSV »)", "is not UTF-8 but Windows-1252, it seems")
		return false
	}
	return true
}

// badLine is the line of the first byte that is not UTF-8.
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

// parseCSV reads all records, with the line on which each begins.
func parseCSV(b []byte) (records [][]string, lines []int, err error) {
	if !bytes.Contains(b, []byte("\n")) {
		b = bytes.ReplaceAll(b, []byte("\r"), []byte("\n")) // an old Mac's line ends
	}
	rd := csv.NewReader(bytes.NewReader(b))
	rd.FieldsPerRecord = -1
	rd.Comma = separator(b)
	for {
		rec, err := rd.Read()
		if err == io.EOF {
			return records, lines, nil
		}
		if err != nil {
			return nil, nil, err
		}
		line, _ := rd.FieldPos(0)
		records, lines = append(records, rec), append(lines, line)
	}
}

// separator is what divides the heading most: comma, semicolon or tab.
func separator(b []byte) rune {
	heading, _, _ := bytes.Cut(b, []byte("\n"))
	best := ','
	for _, r := range ";\t" {
		if bytes.Count(heading, []byte(string(r))) > bytes.Count(heading, []byte(string(best))) {
			best = r
		}
	}
	return best
}

// checkHeading trims the heading's names in place and tells whether the rows
// can be read by them.
func checkHeading(file string, heading, columns []string, p *Problems) bool {
	have := map[string]bool{}
	ok := true
	for i, h := range heading {
		h = strings.TrimSpace(h)
		if have[h] && h != "" {
			p.add(file, 1, "keep one of them", "column %q stands twice", h)
			ok = false
		}
		heading[i], have[h] = h, true
	}
	for _, c := range columns {
		if !have[c] {
			p.add(file, 1, "the columns are "+strings.Join(columns, ", "), "column %q is missing", c)
			ok = false
		}
		delete(have, c)
	}
	delete(have, "note")
	delete(have, "")
	for _, c := range slices.Sorted(maps.Keys(have)) {
		p.add(file, 1, "the columns are "+strings.Join(columns, ", ")+"; note is free", "column %q is unknown", c)
		ok = false
	}
	return ok
}

// checkWidth reports rows with more cells than the heading names: a separator
// in a text without quotes would cut the text short.
func checkWidth(file string, records [][]string, lines []int, p *Problems) {
	for i, rec := range records[1:] {
		for _, cell := range rec[min(len(rec), len(records[0])):] {
			if strings.TrimSpace(cell) != "" {
				p.add(file, lines[i+1], "put quotes around a text that holds the separator", "has %d cells, the heading %d", len(rec), len(records[0]))
				break
			}
		}
	}
}

func rowsOf(records [][]string, lines []int) []row {
	var rows []row
	for i, rec := range records[1:] {
		r := row{line: lines[i+1], cells: map[string]string{}}
		blank := true
		for j, cell := range rec {
			cell = strings.TrimSpace(cell)
			blank = blank && cell == ""
			if j < len(records[0]) && records[0][j] != "" {
				r.cells[records[0][j]] = cell
			}
		}
		if !blank {
			rows = append(rows, r)
		}
	}
	return rows
}
