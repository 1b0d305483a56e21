package richtext

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Identity returns the text that names a journal entry of iTop, which has no
// number of its own: the visible text with a blank at each block edge, in NFC,
// each run of blanks one space, and inline images as [img:ID]. It is equal for
// an entry however we heard of it, pushed or read.
//
// It returns "" if nothing is left; the caller then names the entry by its HTML.
// What is already stored by this name must keep it: never change the result.
func Identity(html string) string {
	var sink identitySink
	eachToken(strings.ToValidUTF8(html, "\uFFFD"), &sink)
	return squeezed(norm.NFC.String(sink.String()))
}

// squeezed makes each run of blanks one space, none at the ends.
func squeezed(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	for word := range strings.FieldsFuncSeq(text, isUnicodeBlank) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(word)
	}
	return b.String()
}

type identitySink struct{ strings.Builder }

func (s *identitySink) chars(text string) { s.WriteString(text) }
func (s *identitySink) end(name string)   { s.edge(name) }

func (s *identitySink) start(name string, a attributes) {
	if id := a["data-img-id"]; name == "img" && id != "" {
		s.WriteString("[img:" + id + "]")
	}
	s.edge(name)
}

// edge writes a blank for a block element.
func (s *identitySink) edge(name string) {
	if blockTags[name] {
		s.WriteByte(' ')
	}
}

// blockTags are the elements whose start and end is a blank. The table is part
// of the identity: it does not follow what else this package learns.
var blockTags = set("p br div ul ol li dl dt dd table thead tbody tfoot tr td th caption " +
	"h1 h2 h3 h4 h5 h6 hr pre blockquote figure figcaption section article header footer " +
	"nav aside main address fieldset legend form center")

func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}

// isUnicodeBlank tells blanks of any width, zero among them.
func isUnicodeBlank(r rune) bool {
	return unicode.IsSpace(r) || r == '\u200b' || r == '\ufeff'
}
