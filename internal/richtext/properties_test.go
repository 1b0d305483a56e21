package richtext

import (
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
	htmlatom "golang.org/x/net/html/atom"
)

// allowed are the tags that may leave this package, each with its attributes.
var allowed = map[string]string{
	"p": "", "br": "", "hr": "", "h1": "", "h2": "", "h3": "", "h4": "", "ul": "", "ol": "", "li": "",
	"blockquote": "", "pre": "", "code": "", "table": "", "tbody": "", "tr": "", "td": "colspan rowspan",
	"th": "colspan rowspan", "strong": "", "em": "", "u": "", "s": "", "a": "href",
}

// checkPassive parses out and reports whatever could act.
func checkPassive(t testing.TB, out string) {
	z := html.NewTokenizer(strings.NewReader(out))
	for {
		switch tt := z.Next(); tt {
		case html.ErrorToken:
			return
		case html.TextToken:
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
			token := z.Token()
			attrs, ok := allowed[token.Data]
			if !ok {
				t.Errorf("tag <%s> in %q", token.Data, out)
			}
			for _, a := range token.Attr {
				if !strings.Contains(" "+attrs+" ", " "+a.Key+" ") {
					t.Errorf("attribute %s of <%s> in %q", a.Key, token.Data, out)
				}
				if u, err := url.Parse(a.Val); a.Key == "href" && (err != nil || !strings.Contains(" http https ftp mailto ", " "+u.Scheme+" ")) {
					t.Errorf("link to %q in %q", a.Val, out)
				}
			}
		default:
			t.Errorf("%v in %q", tt, out)
		}
	}
}

// visibleText returns the visible text of in, found with another parser than
// ours: a browser's. ok is false if that parser gives up.
func visibleText(in string) (text string, ok bool) {
	body := &html.Node{Type: html.ElementNode, Data: "body", DataAtom: htmlatom.Body}
	nodes, err := html.ParseFragmentWithOptions(strings.NewReader(plain(in)), body, html.ParseOptionEnableScripting(false))
	if err != nil {
		return "", false
	}
	for _, n := range nodes {
		body.AppendChild(n)
	}
	var out strings.Builder
	visible(body, &out)
	return out.String(), true
}

// visible writes the text that a browser would show.
func visible(n *html.Node, out *strings.Builder) {
	if n.Type == html.TextNode {
		out.WriteString(n.Data)
		return
	}
	if n.Type == html.ElementNode && tags[n.Data].role == hidden {
		return
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if edgy(c) {
			out.WriteByte(' ')
		}
		visible(c, out)
		if edgy(c) {
			out.WriteByte(' ')
		}
	}
}

func edgy(n *html.Node) bool {
	return n.Type == html.ElementNode && (tags[n.Data].role == edge || tags[n.Data].role == holder ||
		tags[n.Data].role == special && n.Data != "a" && n.Data != "sup" && n.Data != "q")
}

// letters returns the letters and digits of s in order.
func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.Is(unicode.Nd, r) {
			return r
		}
		return -1
	}, s)
}

// checkWords reports words of the visible text of in that out lacks. A word may
// be cut by a mark or a block edge, where the two parsers differ.
func checkWords(t testing.TB, in, out string) {
	had, ok := visibleText(in)
	if !ok {
		return
	}
	has, _ := visibleText(out)
	has = letters(has)
	for _, w := range strings.FieldsFunc(had, func(r rune) bool { return !isWord(r) }) {
		if !strings.Contains(has, w) && fewer(has, letters(had)) {
			t.Errorf("lost %q of %q in %q", w, in, out)
			return
		}
	}
}

// fewer tells whether got has less of some letter than want. Browsers move the
// stray text of a table before it; the letters are the same.
func fewer(got, want string) bool {
	count := map[rune]int{}
	for _, r := range got {
		count[r]++
	}
	for _, r := range want {
		count[r]--
		if count[r] < 0 {
			return true
		}
	}
	return false
}

// checkHTML holds what must be true of every HTML input.
func checkHTML(t testing.TB, in string) {
	clean, wiki := Clean(in), Wiki(in)
	back := HTML(wiki)
	checkPassive(t, clean)
	checkPassive(t, back)
	checkPassive(t, FromRendered(in))
	if again := Clean(clean); again != clean {
		t.Errorf("Clean is not idempotent on %q:\n %q\n %q", in, clean, again)
	}
	if again := Wiki(back); again != wiki {
		t.Errorf("the round trip of %q is not stable:\n %q\n %q\n by %q", in, wiki, again, back)
	}
	if Clean(back) != back {
		t.Errorf("HTML(%q) is not clean:\n %q\n %q", wiki, back, Clean(back))
	}
	for _, out := range []string{clean, wiki, back, Text(in), Identity(in)} {
		if !utf8.ValidString(out) {
			t.Errorf("invalid UTF-8 from %q: %q", in, out)
		}
	}
	checkWords(t, in, clean)
	checkWords(t, clean, back)
}

// checkWiki holds what must be true of every wiki input.
func checkWiki(t testing.TB, in string) {
	out := HTML(in)
	checkPassive(t, out)
	if again := Clean(out); again != out {
		t.Errorf("HTML(%q) is not clean:\n %q\n %q", in, out, again)
	}
	wiki := Wiki(out)
	if again := Wiki(HTML(wiki)); again != wiki {
		t.Errorf("the round trip of %q is not stable:\n %q\n %q\n by %q", in, wiki, again, HTML(wiki))
	}
	checkWords(t, out, HTML(wiki))
}

func TestCorpusHoldsItsProperties(t *testing.T) {
	inputs(t, func(t *testing.T, kind, in string) {
		if kind == "jira" {
			checkWiki(t, in)
			return
		}
		checkHTML(t, in)
		checkWiki(t, Wiki(in))
	})
}

// TestNoLetterIsLost holds the plain text of each side against the other.
func TestNoLetterIsLost(t *testing.T) {
	inputs(t, func(t *testing.T, kind, in string) {
		if kind != "html" {
			return
		}
		has := letters(Text(HTML(Wiki(in))))
		for _, w := range strings.FieldsFunc(Text(in), func(r rune) bool { return !isWord(r) }) {
			if !strings.Contains(has, w) {
				t.Errorf("lost %q of %q", w, in)
			}
		}
	})
}
