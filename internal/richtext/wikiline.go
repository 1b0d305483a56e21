package richtext

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// A lineContext says what surrounds a line, since other characters need an
// escape in a cell or in a link than in a paragraph.
type lineContext struct {
	inCell, inLink, inMono bool
	inner                  bool  // not at the start of a line of the text
	around                 style // styles already open outside
}

// A piece is a part of a line about to be written: one character of text or a
// stretch of characters that never need an escape, a phrase mark, or markup that
// is ready.
type piece struct {
	char   rune   // text: its first character; 0 if none
	run    string // text of more than one character, all of it
	mark   byte   // phrase mark; 0 if none
	open   bool   // the mark begins a phrase
	ready  string // markup
	bare   string // an address that may stand without brackets, instead
	around style  // styles open here
}

// wikiLine writes one line.
func wikiLine(spans []span, c lineContext) string {
	e := &lineEncoder{c: c, pieces: pieces(spans, c), prev: '\n'}
	return e.encode()
}

// A unit is a stretch of a line with one style as seen from outside: plain
// text, or a link or monospaced phrase as a whole.
type unit struct {
	style style
	text  string
	ready string
	bare  string
}

// units groups runs: links outermost, then monospace.
func units(spans []span, c lineContext) (out []unit) {
	for i := 0; i < len(spans); {
		s, j := spans[i], i+1
		switch {
		case s.link != "":
			for j < len(spans) && spans[j].link == s.link {
				j++
			}
			out = append(out, linkUnit(spans[i:j], c))
		case s.style&mono != 0:
			for j < len(spans) && spans[j].link == "" && spans[j].style&mono != 0 {
				j++
			}
			out = append(out, monoUnit(spans[i:j], c))
		default:
			out = append(out, unit{style: s.style, text: s.text})
		}
		i = j
	}
	return out
}

// loosen sets apart the blanks at the edges of plain text. A blank has the
// styles that both sides share: a phrase cannot end at a blank.
func loosen(us []unit) (out []unit) {
	for i, u := range us {
		core := strings.Trim(u.text, " ")
		if i > 0 && strings.HasPrefix(u.text, " ") {
			out = append(out, unit{style: u.style & us[i-1].style, text: " "})
		}
		if u.ready != "" || core != "" {
			out = append(out, unit{u.style, core, u.ready, u.bare})
		}
		if i+1 < len(us) && core != "" && strings.HasSuffix(u.text, " ") {
			out = append(out, unit{style: u.style & us[i+1].style, text: " "})
		}
	}
	return out
}

// shared returns the styles that all runs have.
func shared(spans []span) style {
	all := ^style(0)
	for _, s := range spans {
		all &= s.style
	}
	return all
}

// strip returns the runs without some styles and without their link.
func strip(spans []span, gone style) []span {
	out := slices.Clone(spans)
	for i := range out {
		out[i].style &^= gone
		out[i].link = ""
	}
	return out
}

// linkUnit writes [text|address], or the address alone if that is its text.
func linkUnit(spans []span, c lineContext) unit {
	u := unit{style: shared(spans) &^ mono}
	text, link := spans[0].text, spans[0].link
	if len(spans) == 1 && spans[0].style&mono == 0 && urlAt(text) == text && cleanURL(text) == link {
		u.bare, u.ready = text, "["+text+"]"
		return u
	}
	c.inLink, c.inner, c.around = true, true, c.around|u.style
	u.ready = "[" + wikiLine(strip(spans, u.style), c) + "|" + link + "]"
	return u
}

// monoUnit writes {{text}}.
func monoUnit(spans []span, c lineContext) unit {
	u := unit{style: shared(spans) &^ mono}
	c.inMono, c.inner, c.around = true, true, c.around|u.style
	u.ready = "{{" + wikiLine(strip(spans, u.style|mono), c) + "}}"
	return u
}

// markOf are the phrase marks, in the order of styles.
var markOf = [...]byte{'*', '_', '+', '-'}

// pieces lays out a line: the text with the marks that open and close styles,
// those lasting longest outermost.
func pieces(spans []span, c lineContext) (out []piece) {
	us := loosen(units(spans, c))
	ends := lastings(us)
	var stack []int // open styles, as indexes of markOf
	for i, u := range us {
		keep := 0
		for keep < len(stack) && u.style&styles[stack[keep]] != 0 {
			keep++
		}
		out, stack = closeMarks(out, stack, keep), stack[:keep]
		var add []int
		for m := range markOf {
			if u.style&styles[m] != 0 && u.text != " " && !slices.Contains(stack, m) { // none begins at a blank
				add = append(add, m)
			}
		}
		slices.SortStableFunc(add, func(a, b int) int { return ends[i][b] - ends[i][a] })
		for _, m := range add {
			out = append(out, piece{mark: markOf[m], open: true})
			stack = append(stack, m)
		}
		out = appendUnit(out, u, c.around)
	}
	return closeMarks(out, stack, 0)
}

// closeMarks closes the styles of the stack above keep.
func closeMarks(out []piece, stack []int, keep int) []piece {
	for i := len(stack) - 1; i >= keep; i-- {
		out = append(out, piece{mark: markOf[stack[i]]})
	}
	return out
}

func appendUnit(out []piece, u unit, around style) []piece {
	if u.ready != "" {
		return append(out, piece{ready: u.ready, bare: u.bare})
	}
	around |= u.style
	for i := 0; i < len(u.text); {
		r, n := utf8.DecodeRuneInString(u.text[i:])
		p := piece{char: r, around: around}
		if more := i + plainLen(u.text[i:]); more > i+n && len(out) >= blockHead {
			p.run, n = u.text[i:more], more-i
		}
		out, i = append(out, p), i+n
	}
	return out
}

// blockHead is how many pieces of a line are a character each: they may mean a block.
const blockHead = 8

// plainLen is how many bytes at the start of s are characters of which Jira makes
// nothing wherever they stand.
func plainLen(s string) int {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= utf8.RuneSelf, c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == ' ', c == ',', c == '.', c == ';', c == ':', c == '\'', c == '"':
		default:
			return i
		}
	}
	return len(s)
}

// lastings tells for each unit and style up to which unit the style lasts.
func lastings(us []unit) [][len(markOf)]int {
	ends := make([][len(markOf)]int, len(us)+1)
	for i := len(us) - 1; i >= 0; i-- {
		for m := range markOf {
			if ends[i][m] = 0; us[i].style&styles[m] != 0 {
				ends[i][m] = max(i+1, ends[i+1][m])
			}
		}
	}
	return ends
}

// first returns the first character that p will show, as far as it matters:
// whether it is a letter, a blank, or a mark.
func (p piece) first() rune {
	switch {
	case p.mark != 0:
		return rune(p.mark)
	case p.ready != "":
		if p.bare != "" {
			return 'h'
		}
		r, _ := utf8.DecodeRuneInString(p.ready)
		return r
	}
	return p.char
}

// last returns the last character of text, 0 if p is none.
func (p piece) last() rune {
	if p.run != "" {
		return lastRune(p.run)
	}
	return p.char
}

// text returns the text that p is.
func (p piece) text() string {
	if p.run != "" {
		return p.run
	}
	return string(p.char)
}

// isMark tells whether p is the text character d.
func (p piece) is(d rune) bool { return p.char == d }

// text returns up to n characters of text from the start of ps.
func text(ps []piece, n int) string {
	var out strings.Builder
	for _, p := range ps {
		if p.char == 0 {
			break
		}
		for _, r := range p.text() {
			if n--; n < 0 {
				return out.String()
			}
			out.WriteRune(r)
		}
	}
	return out.String()
}
