package richtext

import (
	"fmt"
	"strings"
	"testing"
)

// nasty are patterns that grow badly in a careless parser. Each is repeated to
// fill the size below.
var nasty = map[string]string{
	"tags nested":            "<div>",
	"quotes nested":          "<blockquote>x",
	"lists nested":           "<ul><li>x",
	"tables nested":          "<table><tr><td>x",
	"bold nested":            "<b>x",
	"bold then paragraphs":   "<b a=1><p>x",
	"other tags nested":      "<b><i><u><s><code>x",
	"links nested":           `<a href="https://x.fr/">x`,
	"links and marks":        `<a href="https://x.fr/"><b>x</b>y`,
	"stray end tags":         "</p></b></table></ul></td>",
	"pre nested":             "<pre>x<br>",
	"svg nested":             "<svg><style/>",
	"attributes":             "<p a=b",
	"entities":               "&amp;&#",
	"less-than":              "<",
	"comments":               "<!--",
	"text marks":             "*a _b -c +d ^e ~f !g ??h ",
	"text marks closed":      "*a* _b_ -c- ",
	"stars":                  "*",
	"backslashes":            `\`,
	"escaped backslashes":    `\\a`,
	"brackets":               "[",
	"closed brackets":        "[a|",
	"links in wiki":          "[a|https://x.fr/]",
	"braces":                 "{",
	"code left open":         "{code:x}",
	"quote left open":        "{quote}a\\{quote}",
	"quotes side by side":    "{quote}a{quote}",
	"panels and quotes":      "{panel}{quote}a{panel}",
	"mono left open":         "{{a ",
	"mono with bad ends":     "{{a}}b",
	"images":                 "!a ",
	"rows":                   "|a",
	"rows of images":         "|!a|",
	"header rows":            "||",
	"list marks":             "*#-",
	"list lines":             "* a\n** b\n",
	"deep list lines":        "*** a\n### b\n",
	"addresses":              "http://%",
	"addresses side by side": "https://x.fr/a?",
	"dashes":                 " -- ",
	"new lines":              "\n|\n",
	"colours":                "{color:red}",
	"breaks":                 "<br>a",
	"spans in a table":       `<td colspan=50 rowspan=50>x`,
}

// functions are all that take foreign text.
var functions = map[string]func(string){
	"Clean": func(s string) { Clean(s) }, "Wiki": func(s string) { Wiki(s) },
	"HTML": func(s string) { HTML(s) }, "FromRendered": func(s string) { FromRendered(s) },
	"Text": func(s string) { Text(s) }, "Identity": func(s string) { Identity(s) },
	"Images": func(s string) { Images(s) }, "Escape": func(s string) { Escape(s) },
}

// TestLongTextsEnd: no pattern makes a function grow with the square of the
// size, which would run into the test's deadline; BenchmarkPatterns has the
// times.
func TestLongTextsEnd(t *testing.T) {
	const size = 1 << 15
	for _, pattern := range nasty {
		in := strings.Repeat(pattern, size/len(pattern))
		for _, call := range functions {
			call(in)
		}
	}
}

// BenchmarkPatterns gives the time by byte at two sizes: it must be the same.
func BenchmarkPatterns(b *testing.B) {
	for name, pattern := range nasty {
		for f, call := range functions {
			for _, size := range []int{1 << 13, 1 << 15} {
				in := strings.Repeat(pattern, size/len(pattern))
				b.Run(fmt.Sprintf("%s/%s/%d", f, name, size), func(b *testing.B) {
					b.SetBytes(int64(len(in)))
					for b.Loop() {
						call(in)
					}
				})
			}
		}
	}
}

// TestFiveThousandDeep: depth costs structure, never text.
func TestFiveThousandDeep(t *testing.T) {
	for _, tag := range []string{"div", "blockquote", "b", "span", "ul", "table", "li", "x-y", "pre", "svg"} {
		open, end := strings.Repeat("<"+tag+">", 5000), strings.Repeat("</"+tag+">", 5000)
		in := "avant" + open + "milieu" + end + "après"
		for name, out := range map[string]string{"Clean": Clean(in), "HTML": HTML(Wiki(in)), "Text": Text(in), "Identity": Identity(in)} {
			if got := letters(Text(out)); got != "avantmilieuaprès" {
				t.Errorf("%s of 5000 <%s> shows %q", name, tag, got)
			}
		}
		checkHTML(t, in)
	}
}

// TestDeepItemsKeepTheirText: five thousand nested items, each with a word.
func TestDeepItemsKeepTheirText(t *testing.T) {
	in := strings.Repeat("<ul><li>mot", 5000)
	for name, out := range map[string]string{"Clean": Clean(in), "HTML": HTML(Wiki(in))} {
		if n := strings.Count(Text(out), "mot"); n != 5000 {
			t.Errorf("%s keeps %d of 5000 words", name, n)
		}
	}
	checkHTML(t, in)
}
