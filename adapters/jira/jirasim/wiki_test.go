package jirasim_test

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"passerelle/adapters/jira/jirasim"
)

// testdata/wiki.txt: markup, a line "=>", HTML, a line "----" between cases.
func TestRender(t *testing.T) {
	raw, err := os.ReadFile("testdata/wiki.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range strings.Split(string(raw), "\n--------\n") {
		markup, want, ok := strings.Cut(c, "\n=>\n")
		if !ok {
			t.Fatalf("no => in %q", c)
		}
		if got := jirasim.Render(markup); got != strings.TrimSuffix(want, "\n") {
			t.Errorf("%s\n got: %s\nwant: %s", markup, got, want)
		}
	}
}

// Whatever the markup, no script comes out and every element is closed.
func FuzzRender(f *testing.F) {
	for _, seed := range []string{"*a* _b_ {code}x{code} [x|javascript:alert(1)] <script>", "|a|b|\n||c||", "* a\n** b\n# c", "{quote}{quote}{panel:title=<b>}x{panel}", `!a.png! "><img src=x onerror=y>`, `[a|http://x" onclick="y]`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, markup string) {
		checkHTML(t, jirasim.Render(markup))
	})
}

func checkHTML(t *testing.T, text string) {
	var open []string
	for z := html.NewTokenizer(strings.NewReader(text)); ; {
		switch z.Next() {
		case html.ErrorToken:
			if len(open) > 0 {
				t.Errorf("left open: %v in %q", open, text)
			}
			return
		case html.StartTagToken:
			tok := z.Token()
			checkTag(t, tok, text)
			if tok.Data != "br" {
				open = append(open, tok.Data)
			}
		case html.SelfClosingTagToken:
			checkTag(t, z.Token(), text)
		case html.EndTagToken:
			name := z.Token().Data
			if len(open) == 0 || open[len(open)-1] != name {
				t.Errorf("</%s> closes %v in %q", name, open, text)
				return
			}
			open = open[:len(open)-1]
		}
	}
}

func checkTag(t *testing.T, tok html.Token, text string) {
	if tok.Data == "script" {
		t.Errorf("a script in %q", text)
	}
	for _, a := range tok.Attr {
		if strings.HasPrefix(a.Key, "on") || a.Key == "href" && strings.HasPrefix(strings.ToLower(strings.TrimSpace(a.Val)), "javascript:") {
			t.Errorf("%s=%q in %q", a.Key, a.Val, text)
		}
	}
}
