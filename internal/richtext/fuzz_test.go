package richtext

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// seed adds the corpus to a fuzz target; further seeds are in testdata/fuzz.
func seed(f *testing.F) {
	for _, cases := range readCorpus(f) {
		for _, c := range cases {
			_, in := c.input()
			f.Add(in)
		}
	}
}

func FuzzHTML(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, in string) { checkWiki(t, in) })
}

func FuzzWiki(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, in string) { checkHTML(t, in) })
}

func FuzzClean(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, in string) {
		out := Clean(in)
		checkPassive(t, out)
		checkWords(t, in, out)
		if again := Clean(out); again != out {
			t.Errorf("not idempotent:\n %q\n %q\n %q", in, out, again)
		}
	})
}

func FuzzFromRendered(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, in string) {
		out := FromRendered(in)
		checkPassive(t, out)
		if again := Clean(out); again != out {
			t.Errorf("not clean:\n %q\n %q\n %q", in, out, again)
		}
	})
}

func FuzzText(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, in string) {
		if out := Text(in); !utf8.ValidString(out) || strings.ContainsAny(out, "\x00\x01\x02\x08\x0b\x1b\x1f\x7f\r") {
			t.Errorf("Text(%q) = %q", in, out)
		}
	})
}

// FuzzEscape: what was typed is what is seen, line by line, and nothing of it
// is a tag.
func FuzzEscape(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, in string) {
		out := Escape(in)
		checkPassive(t, out)
		if got, want := strings.Fields(Text(out)), strings.Fields(plain(in)); !isBlank(in) &&
			strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("Escape(%q) shows %q", in, got)
		}
	})
}

// FuzzIdentity: a name does not depend on how blanks are written, and a name's
// own text has that name.
func FuzzIdentity(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, in string) {
		id := Identity(in)
		if again := Identity(escaper.Replace(id)); again != id {
			t.Errorf("Identity(%q) = %q, but again %q", in, id, again)
		}
		if spaced := Identity("<p> \u00a0\u200b" + in); spaced != id {
			t.Errorf("Identity(%q) = %q, but with blanks %q", in, id, spaced)
		}
	})
}

func FuzzImages(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, in string) {
		for _, i := range Images(in) {
			if i.ID == "" && !embedded(i.Src) {
				t.Errorf("Images(%q) has %+v", in, i)
			}
		}
	})
}
