package mapping

import (
	"bytes"
	"encoding/csv"
	"reflect"
	"strings"
	"testing"
)

// TestSpreadsheetCSV: a table means the same however a spreadsheet saves it.
func TestSpreadsheetCSV(t *testing.T) {
	want := load(t, folder(t))
	for _, tt := range []struct {
		says string
		save func(t *testing.T, b []byte) []byte
	}{
		{"a French spreadsheet: ; and BOM and CRLF", func(t *testing.T, b []byte) []byte {
			return append([]byte("\xef\xbb\xbf"), rewrite(t, b, ';', true)...)
		}},
		{"tabs", func(t *testing.T, b []byte) []byte { return rewrite(t, b, '\t', false) }},
		{"everything in quotes", quoted},
		{"everything in quotes, ; and BOM and CRLF", func(t *testing.T, b []byte) []byte {
			return append([]byte("\xef\xbb\xbf"), bytes.ReplaceAll(bytes.ReplaceAll(quoted(t, b), []byte(`","`), []byte(`";"`)), []byte("\n"), []byte("\r\n"))...)
		}},
		{"trailing empty cells and lines", func(_ *testing.T, b []byte) []byte {
			return append(bytes.ReplaceAll(b, []byte("\n"), []byte(",,\n")), ",,,,\n\n"...)
		}},
		{"spaces around", func(t *testing.T, b []byte) []byte {
			return bytes.ReplaceAll(quoted(t, b), []byte(`","`), []byte(` "," `))
		}},
		{"an old Mac's line ends", func(_ *testing.T, b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r")) }},
		{"no line end at the end", func(_ *testing.T, b []byte) []byte { return bytes.TrimSuffix(b, []byte("\n")) }},
	} {
		t.Run(tt.says, func(t *testing.T) {
			fsys := folder(t)
			for name, f := range fsys {
				if strings.HasSuffix(name, ".csv") {
					f.Data = tt.save(t, f.Data)
				}
			}
			got := load(t, fsys)
			if got.Summary() != want.Summary() || !reflect.DeepEqual(got, want) {
				t.Errorf("another contract: %s, want %s", got.Summary(), want.Summary())
			}
		})
	}
}

func rewrite(t *testing.T, b []byte, comma rune, crlf bool) []byte {
	t.Helper()
	records, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	w.Comma, w.UseCRLF = comma, crlf
	if err := w.WriteAll(records); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func quoted(t *testing.T, b []byte) []byte {
	t.Helper()
	records, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, rec := range records {
		for i, cell := range rec {
			if i > 0 {
				out.WriteByte(',')
			}
			out.WriteString(`"` + strings.ReplaceAll(cell, `"`, `""`) + `"`)
		}
		out.WriteByte('\n')
	}
	return out.Bytes()
}
