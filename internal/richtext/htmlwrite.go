package richtext

import (
	"math/bits"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/microcosm-cc/bluemonday"
)

// policy is the last gate. What writeHTML makes passes it unchanged; if the
// writer were ever wrong, the policy is not. The tags are those which iTop's
// own sanitiser keeps: it drops others (sup, sub, h5 …) with their content.
var policy = sync.OnceValue(func() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowElements("p", "br", "hr", "h1", "h2", "h3", "h4", "ul", "ol", "li", "blockquote",
		"pre", "code", "table", "tbody", "tr", "td", "th", "strong", "em", "u", "s", "a")
	p.AllowAttrs("href").OnElements("a")
	p.AllowAttrs("colspan", "rowspan").Matching(bluemonday.Integer).OnElements("td", "th")
	p.AllowURLSchemes("http", "https", "ftp", "mailto")
	p.RequireParseableURLs(true)
	p.RequireNoFollowOnLinks(false)
	return p
})

// unquote undoes the escapes that text does not need: no attribute that we
// write can hold a quote.
var unquote = strings.NewReplacer("&#34;", `"`, "&#39;", "'")

// writeHTML writes the document with a small set of tags.
func writeHTML(doc *block) string {
	w := &htmlWriter{}
	w.blocks(doc.kids, false)
	return unquote.Replace(policy().Sanitize(w.out.String()))
}

type htmlWriter struct{ out strings.Builder }

func (w *htmlWriter) put(parts ...string) {
	for _, s := range parts {
		w.out.WriteString(s)
	}
}

// blocks writes kids. In an item or cell the first paragraph is bare.
func (w *htmlWriter) blocks(kids []*block, tight bool) {
	for i, k := range kids {
		if tight && i == 0 && k.kind == para {
			w.inline(k.spans)
			continue
		}
		w.block(k)
	}
}

func (w *htmlWriter) block(b *block) {
	switch b.kind {
	case para:
		w.put("<p>")
		w.inline(b.spans)
		w.put("</p>")
	case heading:
		h := "h" + strconv.Itoa(min(b.level, 4))
		w.put("<", h, ">")
		w.inline(b.spans)
		w.put("</", h, ">")
	case rule:
		w.put("<hr>")
	case code:
		w.code(b)
	default:
		w.holder(b)
	}
}

func (w *htmlWriter) code(b *block) {
	if b.source {
		w.put("<pre><code>", escaper.Replace(b.text), "</code></pre>")
		return
	}
	w.put("<pre>", escaper.Replace(b.text), "</pre>")
}

// holder writes a block that holds others.
func (w *htmlWriter) holder(b *block) {
	name := holderTag(b)
	w.put("<", name)
	if b.cols > 1 {
		w.put(` colspan="`, strconv.Itoa(b.cols), `"`)
	}
	if b.rows > 1 {
		w.put(` rowspan="`, strconv.Itoa(b.rows), `"`)
	}
	w.put(">")
	if b.kind == table {
		w.put("<tbody>")
	}
	w.blocks(b.kids, b.kind == item || b.kind == cell)
	if b.kind == table {
		w.put("</tbody>")
	}
	w.put("</", name, ">")
}

func holderTag(b *block) string {
	switch {
	case b.kind == list && b.ordered:
		return "ol"
	case b.kind == cell && b.header:
		return "th"
	}
	return map[kind]string{quote: "blockquote", list: "ul", item: "li", table: "table", row: "tr", cell: "td"}[b.kind]
}

// markTags are the elements of the styles, in the order of styles.
var markTags = [...]string{"strong", "em", "u", "s", "code"}

// inline writes runs of text. A link is the outermost element, styles nest in
// a fixed order within it.
func (w *htmlWriter) inline(spans []span) {
	var open style
	link := ""
	for _, s := range spans {
		if s.link != link {
			w.restyle(open, 0)
			open = 0
			if link != "" {
				w.put("</a>")
			}
			if link = s.link; link != "" {
				w.put(`<a href="`, escaper.Replace(link), `">`)
			}
		}
		if s.text == "\n" {
			w.restyle(open, 0)
			open = 0
			w.put("<br>")
			continue
		}
		w.restyle(open, s.style)
		open = s.style
		w.put(escaper.Replace(s.text))
	}
	w.restyle(open, 0)
	if link != "" {
		w.put("</a>")
	}
}

// restyle closes and opens tags to get from one style to another.
func (w *htmlWriter) restyle(from, to style) {
	keep := style(1)<<bits.TrailingZeros8(uint8(from^to)) - 1
	for i := len(styles) - 1; i >= 0; i-- {
		if styles[i] & ^keep & from != 0 {
			w.put("</", markTags[i], ">")
		}
	}
	for i, s := range styles {
		if s & ^keep & to != 0 {
			w.put("<", markTags[i], ">")
		}
	}
}

// firstRune and lastRune give a blank for an empty text.
func firstRune(s string) (rune, int) {
	if s == "" {
		return ' ', 0
	}
	return utf8.DecodeRuneInString(s)
}

func lastRune(s string) rune {
	if s == "" {
		return ' '
	}
	r, _ := utf8.DecodeLastRuneInString(s)
	return r
}
