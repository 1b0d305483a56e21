package richtext

import (
	"strings"

	"golang.org/x/net/html"
)

// A tagRole says what a tag means to the document.
type tagRole uint8

const (
	inline  tagRole = iota // no meaning: its content is plain text
	edge                   // ends a paragraph: p, div, section …
	mark                   // a style
	holder                 // opens a block: quote, list, item …
	hidden                 // its content is no text: script, style …
	special                // handled one by one
)

// A tag is what the readers know of an HTML element.
type tag struct {
	role  tagRole
	style style
	kind  kind
}

// tags lists every element that means something. What is not here is inline.
var tags = map[string]tag{
	"b": {role: mark, style: bold}, "strong": {role: mark, style: bold},
	"i": {role: mark, style: italic}, "em": {role: mark, style: italic},
	"cite": {role: mark, style: italic}, "var": {role: mark, style: italic}, "dfn": {role: mark, style: italic},
	"u": {role: mark, style: underline}, "ins": {role: mark, style: underline},
	"s": {role: mark, style: strike}, "strike": {role: mark, style: strike}, "del": {role: mark, style: strike},
	"code": {role: mark, style: mono}, "tt": {role: mark, style: mono},
	"kbd": {role: mark, style: mono}, "samp": {role: mark, style: mono},

	"p": {role: edge}, "div": {role: edge}, "section": {role: edge}, "article": {role: edge},
	"header": {role: edge}, "footer": {role: edge}, "main": {role: edge}, "nav": {role: edge},
	"aside": {role: edge}, "address": {role: edge}, "figure": {role: edge}, "figcaption": {role: edge},
	"fieldset": {role: edge}, "legend": {role: edge}, "form": {role: edge}, "center": {role: edge},
	"details": {role: edge}, "summary": {role: edge}, "dialog": {role: edge}, "hgroup": {role: edge},
	"dl": {role: edge}, "dt": {role: edge}, "dd": {role: edge}, "option": {role: edge},
	"select": {role: edge}, "optgroup": {role: edge}, "textarea": {role: edge}, "caption": {role: edge},
	"body": {role: edge}, "html": {role: edge},

	"blockquote": {role: holder, kind: quote},
	"ul":         {role: holder, kind: list}, "ol": {role: holder, kind: list},
	"menu": {role: holder, kind: list}, "dir": {role: holder, kind: list},
	"li": {role: holder, kind: item}, "table": {role: holder, kind: table},
	"tr": {role: holder, kind: row}, "td": {role: holder, kind: cell}, "th": {role: holder, kind: cell},
	"thead": {role: edge}, "tbody": {role: edge}, "tfoot": {role: edge},

	"script": {role: hidden}, "style": {role: hidden}, "title": {role: hidden},
	"iframe": {role: hidden}, "noembed": {role: hidden}, "noframes": {role: hidden},

	"h1": {role: special}, "h2": {role: special}, "h3": {role: special},
	"h4": {role: special}, "h5": {role: special}, "h6": {role: special},
	"pre": {role: special}, "listing": {role: special}, "xmp": {role: special}, "plaintext": {role: special},
	"a": {role: special}, "br": {role: special}, "hr": {role: special}, "img": {role: special},
	"sup": {role: special}, "q": {role: special},
}

// An htmlReader builds a document from HTML tokens. Tags are counted, not
// nested: an unclosed or crossed tag costs no more than a closed one.
type htmlReader struct {
	*builder
	rendered bool // by Jira: its classes have a meaning
	marks    [len(styles)]int
	saved    [][len(styles)]int // the marks outside each open cell
	divs     []bool             // open div elements; true opened a quote
	pre      *strings.Builder   // the text of the open pre, or nil
	source   bool
}

// readHTML reads HTML in time linear in its size.
func readHTML(s string, rendered bool) *block {
	r := &htmlReader{builder: newBuilder(), rendered: rendered}
	eachToken(plain(s), r)
	r.endPre()
	return r.document()
}

// A tokenSink hears the tokens of an HTML text.
type tokenSink interface {
	start(name string, attrs attributes)
	end(name string)
	chars(text string)
}

// eachToken tells sink what s consists of, without hidden content.
func eachToken(s string, sink tokenSink) {
	z := html.NewTokenizer(strings.NewReader(s))
	hiding, foreign := "", 0
	for {
		t := z.Next()
		switch t {
		case html.ErrorToken:
			return
		case html.TextToken:
			if hiding == "" {
				sink.chars(string(z.Text()))
			}
			continue
		case html.StartTagToken, html.EndTagToken, html.SelfClosingTagToken:
		default:
			continue
		}
		name, attrs := tagAndAttributes(z)
		if name == "svg" || name == "math" {
			foreign = max(0, foreign+step(t))
		}
		switch {
		case t == html.EndTagToken:
			if name == hiding {
				hiding = ""
			} else if hiding == "" {
				sink.end(name)
			}
		case tags[name].role == hidden && t == html.SelfClosingTagToken && foreign > 0:
			z.NextIsNotRawText() // only in svg and math does the slash close it
		case tags[name].role == hidden:
			hiding = name
		case hiding == "":
			if name == "noscript" {
				z.NextIsNotRawText()
			}
			sink.start(name, attrs)
		}
	}
}

// step is what a token adds to the number of open elements.
func step(t html.TokenType) int {
	switch t {
	case html.StartTagToken:
		return 1
	case html.EndTagToken:
		return -1
	}
	return 0
}

// attributes are a tag's; the first of a name counts.
type attributes map[string]string

func tagAndAttributes(z *html.Tokenizer) (string, attributes) {
	raw, more := z.TagName()
	name := string(raw)
	var attrs attributes
	for more {
		var k, v []byte
		k, v, more = z.TagAttr()
		if attrs == nil {
			attrs = attributes{}
		}
		if _, dup := attrs[string(k)]; !dup {
			attrs[string(k)] = string(v)
		}
	}
	return name, attrs
}

// has tells whether class is among the element's classes.
func (a attributes) has(class string) bool {
	for c := range strings.FieldsSeq(a["class"]) {
		if c == class {
			return true
		}
	}
	return false
}
