// Package richtext carries formatted text between tools: iTop keeps journals
// and descriptions as HTML, Jira as wiki markup.
//
// Every text is read into one small document (paragraphs, headings, lists,
// quotes, code, rules, tables; runs of styled text inside) and written from it,
// so nothing of the source's markup can reach the other side: what the document
// has no word for stays as plain text. Only script, style and embedded frames
// lose their content.
//
// Nothing is kept on disk and nothing here returns an error: any input gives
// some text. What can go wrong is approximation: see the README of testdata for
// the shapes that one of the two languages cannot hold.
package richtext

import "strings"

// Clean returns html reduced to a small set of harmless tags, fit to be stored
// in iTop: no script, style, event handler, form, frame, remote image or link
// with an active scheme. Images become a visible reference, "[image: name]", or
// "[image-2]" for one that iTop stores by that number.
// The visible text is kept. Clean of a clean text is the same text. Of a text
// beyond a megabyte only the words, lines and addresses are kept.
func Clean(html string) string {
	if len(html) > longest {
		return lines(html, escaper.Replace, "<br>")
	}
	return writeHTML(readHTML(html, false))
}

// FromRendered returns Jira's rendered HTML (renderedBody, renderedFields) as
// clean HTML for iTop: classes, icons and user-hover links go, emoticon images
// become the characters one types for them, links stay.
func FromRendered(html string) string {
	return writeHTML(readHTML(html, true))
}

// Wiki returns html as Jira wiki markup. Characters of the text are escaped
// only where Jira would take them for markup, so that prose stays readable.
func Wiki(html string) string {
	return writeWiki(wikiForm(readHTML(html, false)))
}

// HTML returns Jira wiki markup as clean HTML. FromRendered is better where
// Jira's own rendering is at hand.
func HTML(wiki string) string {
	return writeHTML(readWiki(wiki))
}

// Text returns html as plain text that a person can read.
func Text(html string) string {
	if len(html) > longest {
		return lines(html, func(words string) string { return words }, "\n")
	}
	return writeText(readHTML(html, false))
}

// Escape returns plain text as HTML paragraphs: a blank line starts a new one,
// a line end is a <br>, and & < > are escaped.
func Escape(text string) string {
	var out strings.Builder
	for _, para := range paragraphs(plain(text)) {
		out.WriteString("<p>")
		for i, line := range para {
			if i > 0 {
				out.WriteString("<br>")
			}
			out.WriteString(escaper.Replace(line))
		}
		out.WriteString("</p>")
	}
	return out.String()
}

// paragraphs splits text at blank lines, then at line ends.
func paragraphs(text string) (paras [][]string) {
	var para []string
	for line := range strings.SplitSeq(text+"\n", "\n") {
		if strings.TrimSpace(line) != "" {
			para = append(para, strings.TrimRight(line, " \t"))
			continue
		}
		if para != nil {
			paras = append(paras, para)
		}
		para = nil
	}
	if para != nil {
		paras = append(paras, para)
	}
	return paras
}

// escaper does what HTML needs and no more: quotes inside text are left alone.
var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// plain makes s valid UTF-8 with \n line ends and without control characters.
func plain(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if strings.IndexFunc(s, isControl) < 0 { // nor a \r: the common case
		return s
	}
	s = lineEnds.Replace(s)
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return -1
		}
		return r
	}, s)
}

var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// isControl tells the characters that no text needs; tab and newline are not
// among them. U+0085 is a line end to some, but a blank to us.
func isControl(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' || r == 0x7f
}
