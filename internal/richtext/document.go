package richtext

import (
	"strings"
	"unicode"
)

// A kind says what a block is.
type kind uint8

const (
	root kind = iota
	para
	heading
	list
	item
	quote
	code
	rule
	table
	row
	cell
)

// A style is a set of marks on a run of text.
type style uint8

const (
	bold style = 1 << iota
	italic
	underline
	strike
	mono
)

// styles lists the marks in the order in which they are opened.
var styles = [...]style{bold, italic, underline, strike, mono}

// A span is a run of text with one style and one link. The text "\n" alone is
// a line break.
type span struct {
	text  string
	style style
	link  string
}

// A block is a node of the document. Only paragraphs and headings have spans,
// only code has text.
type block struct {
	kind       kind
	level      int  // heading
	ordered    bool // list
	header     bool // cell
	source     bool // code: program text, else preformatted
	cols, rows int  // cell: how many it spans
	spans      []span
	text       string
	kids       []*block
}

// isSpace tells the blanks that HTML and wiki markup collapse. No-break spaces
// are text.
func isSpace(r rune) bool {
	return r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == '\f'
}

// isWord tells letters and digits, next to which Jira sees no phrase mark.
func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.Is(unicode.Nd, r) }

// isBlank tells whether a person would see nothing of s.
func isBlank(s string) bool {
	for _, r := range s {
		if !unicode.IsSpace(r) && r != '\u200b' && r != '\ufeff' {
			return false
		}
	}
	return true
}

// tidy trims lines, gives each blank the style that both its neighbours share,
// and joins runs that look the same.
func tidy(in []span) []span {
	var j joiner
	for i, s := range in {
		core := strings.Trim(s.text, " ")
		if strings.HasPrefix(s.text, " ") {
			j.blank(s, in[i:])
		}
		if core != "" {
			j.add(span{core, s.style, s.link})
			if strings.HasSuffix(s.text, " ") {
				j.blank(s, in[i+1:])
			}
		}
	}
	return trimBreaks(j.spans())
}

// A joiner collects runs, joining those that look the same.
type joiner struct {
	out  []span
	text strings.Builder // of the last run
}

// add adds a run or a line break.
func (j *joiner) add(s span) {
	if last := j.last(); last == nil || s.text == "\n" || last.text == "\n" || last.style != s.style || last.link != s.link {
		j.endRun()
		j.out = append(j.out, s)
		if s.text == "\n" {
			j.out[len(j.out)-1] = span{text: "\n"}
			return
		}
	}
	j.text.WriteString(s.text)
}

func (j *joiner) last() *span {
	if len(j.out) == 0 {
		return nil
	}
	return &j.out[len(j.out)-1]
}

func (j *joiner) endRun() {
	if j.text.Len() > 0 {
		j.last().text = j.text.String()
		j.text.Reset()
	}
}

func (j *joiner) spans() []span {
	j.endRun()
	return j.out
}

// blank adds the blank of s between what there is and what follows.
func (j *joiner) blank(s span, rest []span) {
	last, next := j.last(), nextInk(rest)
	if last == nil || last.text == "\n" || next.text == "\n" || next.text == "" || strings.HasSuffix(j.text.String(), " ") {
		return
	}
	blank := span{" ", s.style & last.style & next.style, ""}
	switch {
	case s.link == last.link && s.link == next.link:
		blank.link = s.link
	case last.link != "" || next.link != "": // a link cuts monospace in two
		blank.style &^= mono
	}
	j.add(blank)
}

// nextInk finds the first run that is more than a blank.
func nextInk(spans []span) span {
	for _, s := range spans {
		if strings.Trim(s.text, " ") != "" {
			return s
		}
	}
	return span{}
}

// trimBreaks drops line breaks at either end.
func trimBreaks(s []span) []span {
	for len(s) > 0 && s[0].text == "\n" {
		s = s[1:]
	}
	for len(s) > 0 && s[len(s)-1].text == "\n" {
		s = s[:len(s)-1]
	}
	return s
}

// empty tells whether nothing of b would be seen.
func (b *block) empty() bool {
	if b.kind == rule || b.kind == cell && len(b.kids) > 0 {
		return false
	}
	for _, s := range b.spans {
		if !isBlank(s.text) {
			return false
		}
	}
	return len(b.kids) == 0 && isBlank(b.text)
}

// prune drops what has no text: empty items, lists, quotes, rows and tables.
// Empty cells stay, since they hold the place of their column.
func prune(b *block) {
	kept := b.kids[:0]
	ink := false
	for _, k := range b.kids {
		prune(k)
		if k.kind == cell || !k.empty() {
			kept = append(kept, k)
		}
		ink = ink || !k.empty()
	}
	b.kids = kept
	if (b.kind == row || b.kind == table) && !ink {
		b.kids = nil
	}
}
