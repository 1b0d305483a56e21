package mapping

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"passerelle"
)

// print writes a table as a spreadsheet would.
func (t *table) print(columns []string, comma rune) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Comma = comma
	_ = w.Write(columns) // to memory
	for _, r := range t.rows {
		var cells []string
		for _, c := range columns {
			cells = append(cells, r.get(c))
		}
		_ = w.Write(cells)
	}
	w.Flush()
	return b.Bytes()
}

// FuzzTable: a table that is read is text, and printed and read again it says
// the same; one that is not is reported, with its file.
func FuzzTable(f *testing.F) {
	columns := []string{"a", "b"}
	for _, s := range []string{"a,b\n1,2\n", "\ufeffa;b\r\n\"x;y\";\"é \"\"q\"\"\"\r\n", "b\ta\tnote\n1\t2\t3\n", "a,b\r1,2\r", "a,b\n\"", "a,b\n1,2,3\n", "a,a,b\n", "a,b\n\x00", "a,b\n\xff", "a,b\n\n , \n\"\n\",x", "a;b,c\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Problems
		got := readTable(fstest.MapFS{"t.csv": {Data: b}}, "t.csv", columns, &p)
		if err := p.err(); err != nil && !strings.Contains(err.Error(), "t.csv") {
			t.Fatalf("no file in %v", err)
		}
		if len(p) > 0 {
			return
		}
		for _, r := range got.rows {
			for _, c := range columns {
				if v := r.get(c); !utf8.ValidString(v) || strings.Contains(v, "\x00") || v != strings.TrimSpace(v) {
					t.Fatalf("%q", v)
				}
			}
		}
		for _, comma := range ",;\t" {
			var again Problems
			back := readTable(fstest.MapFS{"t.csv": {Data: got.print(columns, comma)}}, "t.csv", columns, &again)
			if len(again) > 0 || len(back.rows) != len(got.rows) {
				t.Fatalf("%q: printed, it has %d rows of %d: %v", b, len(back.rows), len(got.rows), again)
			}
			for i := range back.rows {
				if !reflect.DeepEqual(only(back.rows[i], columns), only(got.rows[i], columns)) {
					t.Fatalf("%q became %q", got.rows[i].cells, back.rows[i].cells)
				}
			}
		}
	})
}

func only(r row, columns []string) (out []string) {
	for _, c := range columns {
		out = append(out, r.get(c))
	}
	return out
}

// TestHostileContract: a contract is a file that somebody sent; whatever is in
// it, Load ends soon and says where the trouble is.
func TestHostileContract(t *testing.T) {
	reference := folder(t)
	yaml := string(reference[contractFile].Data)
	for name, c := range map[string]struct{ file, text string }{
		"YAML, deep":               {contractFile, "name: " + strings.Repeat("[", 30_000)},
		"YAML, deep maps":          {contractFile, "name: " + strings.Repeat("{a: ", 15_000)},
		"YAML, much":               {contractFile, "# " + strings.Repeat("x", 1<<20) + "\n" + yaml},
		"YAML, a key twice":        {contractFile, yaml + "\nname: other\n"},
		"YAML, aliases of itself":  {contractFile, yaml + "\nx: &a [*a]\n"},
		"YAML, laughs":             {contractFile, yaml + "\nx: &a [1,1,1,1,1,1]\ny: &b [*a,*a,*a,*a,*a,*a]\nz: &c [*b,*b,*b,*b,*b,*b]\n"},
		"YAML, NUL":                {contractFile, yaml + "\n# \x00"},
		"YAML, Windows-1252":       {contractFile, yaml + "\n# caf\xe9"},
		"YAML, huge number":        {contractFile, strings.Replace(yaml, "name:", "limit_bytes: 1e999999\nname:", 1)},
		"CSV, a quote without end": {"fields.csv", string(reference["fields.csv"].Data) + "\"" + strings.Repeat("x", 1<<20)},
		"CSV, a column twice":      {"fields.csv", "name,name\n"},
		"CSV, NUL":                 {"fields.csv", string(reference["fields.csv"].Data) + "\x00"},
		"template, deep":           {"to-partner/create.json", strings.Repeat("[", 1<<20)},
		"template, deep objects":   {"to-partner/create.json", strings.Repeat(`{"a":`, 1<<20/5)},
		"template, a member twice": {"to-partner/create.json", `{"operation":"core/create","operation":"core/delete"}`},
		"template, NUL":            {"to-partner/create.json", "{\"a\":\"\x00\"}"},
	} {
		fsys := maps.Clone(reference)
		if fsys[c.file] == nil {
			t.Fatalf("%s: the reference has no %s, only %v", name, c.file, slices.Sorted(maps.Keys(fsys)))
		}
		fsys[c.file] = &fstest.MapFile{Data: []byte(c.text)}
		_, err := Load(fsys)
		var ps Problems
		if !errors.As(err, &ps) || !strings.Contains(err.Error(), c.file) {
			t.Errorf("%s: %.300v", name, err)
		}
	}
}

// FuzzTemplate: a template that loads is printed as JSON with every text that a
// person may write in its places; what it says does not depend on them.
func FuzzTemplate(f *testing.F) {
	reference := folder(f)
	for _, name := range []string{"to-partner/create.json", "to-requester/update-public-log.json"} {
		if file := reference[name]; file != nil {
			f.Add(file.Data, "x")
		}
	}
	for _, s := range awkward {
		f.Add([]byte(`{"operation":"core/update","class":"UserRequest","comment":"c","key":"$this->provider_id$","fields":{"summary":"$this->title$ $this->html(description)$"}}`), s)
	}
	f.Fuzz(func(t *testing.T, b []byte, text string) {
		other := maps.Clone(reference)
		other["to-partner/create.json"] = &fstest.MapFile{Data: b}
		c, err := Load(other)
		if err != nil {
			return // FuzzLoad
		}
		shape := func(text string) any {
			e := &passerelle.Event{From: passerelle.Requester, Kind: passerelle.Create, Fields: given(t)}
			for name, field := range c.fields {
				if field.Type == "text" && !field.rich() {
					e.Fields[name] = text
				}
			}
			if c.Interpret(e) != nil {
				return nil
			}
			ms, errs := c.Render(Send{passerelle.Partner, "create"}, e, pair(passerelle.New), passerelle.Open, "m")
			if len(ms) == 0 || errs[0] != nil {
				return nil
			}
			var v any
			if err := json.Unmarshal(ms[0].Body, &v); err != nil {
				t.Fatalf("%s: %v", ms[0].Body, err)
			}
			return outline(v)
		}
		plain, odd := shape("x"), shape("x"+text)
		if plain != nil && odd != nil && !reflect.DeepEqual(plain, odd) {
			t.Fatalf("%q: the message's shape changed: %v, %v", text, plain, odd)
		}
	})
}

// outline is a JSON value without its texts.
func outline(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			out[k] = outline(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = outline(x)
		}
		return out
	case string:
		return "text"
	}
	return v
}
