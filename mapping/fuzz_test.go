package mapping

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"passerelle"
)

// FuzzLoad replaces one file of the reference contract: Load says what is
// wrong, the same each time, or gives a contract that can be used.
func FuzzLoad(f *testing.F) {
	fsys := folder(f)
	names := slices.Sorted(maps.Keys(fsys))
	for i, name := range names {
		b := fsys[name].Data
		f.Add(byte(i), b[:len(b)/2])
	}
	for _, s := range []string{"", "\xef\xbb\xbf", "\xff\xfe", "[", strings.Repeat("[", 2000), strings.Repeat(`{"a":`, 500), "a: &a [*a, *a]", "a,b\n\"", "%", "---\n---\n", "\r"} {
		for _, name := range []string{contractFile, "fields.csv", "lifecycle.csv", "to-partner/create.json"} {
			f.Add(byte(slices.Index(names, name)), []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, i byte, b []byte) {
		other := maps.Clone(fsys)
		other[names[int(i)%len(names)]] = &fstest.MapFile{Data: b}
		c, err := Load(other)
		if err != nil {
			var ps Problems
			if !errors.As(err, &ps) || len(ps) == 0 {
				t.Fatalf("the error is a %T", err)
			}
			if _, again := Load(other); again == nil || again.Error() != err.Error() {
				t.Fatalf("once\n%v\nand then\n%v", err, again)
			}
			return
		}
		e := &passerelle.Event{From: passerelle.Requester, Kind: passerelle.Create, Fields: given(t)}
		if c.Interpret(e) == nil {
			_, _ = c.Admit(e, pair(passerelle.New)) // a refusal is an answer
		}
		everything(t, c, e)
	})
}

// everything renders an event with every template: each message is JSON.
func everything(t *testing.T, c *Contract, e *passerelle.Event) {
	t.Helper()
	for send := range c.templates {
		ms, errs := c.Render(send, e, pair(passerelle.Open), passerelle.Open, "m")
		if len(ms) != len(errs) {
			t.Fatalf("%v: %d messages, %d errors", send, len(ms), len(errs))
		}
		for i, m := range ms {
			if (m == nil) == (errs[i] == nil) {
				t.Fatalf("%v: a message or an error, not %v and %v", send, m, errs[i])
			}
			if m != nil && (!json.Valid(m.Body) || int64(len(m.Body)) > c.LimitBytes+64) {
				t.Fatalf("%v: the body is no good: %q", send, m.Body)
			}
		}
	}
}

// FuzzRender fills every template with what a person may write.
func FuzzRender(f *testing.F) {
	c := load(f, folder(f))
	for _, s := range awkward {
		f.Add(s, s, s)
	}
	f.Add("Accès", "<p>a</p><script>b</script>", "é.png")
	f.Fuzz(func(t *testing.T, title, rich, file string) {
		e := &passerelle.Event{From: passerelle.Requester, Kind: passerelle.Create, Fields: given(t), Files: []passerelle.File{{Name: file, MIME: title, Size: 1}}}
		for name, field := range c.fields {
			switch {
			case field.rich():
				e.Fields[name] = rich
			case field.Type == "text":
				e.Fields[name] = title
			}
		}
		if err := c.Interpret(e); err != nil {
			t.Fatal(err)
		}
		everything(t, c, e)
		ms, errs := c.Render(Send{passerelle.Partner, "create"}, e, pair(passerelle.New), passerelle.Open, "m")
		if errs[0] != nil {
			t.Fatal(errs[0])
		}
		if got, want := body(t, ms[0])["fields"].(map[string]any)["summary"], string([]rune(title)); want != "" && got != want {
			t.Fatalf("the title %q became %q", want, got)
		}
	})
}
