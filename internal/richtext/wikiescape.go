package richtext

import (
	"strconv"
	"strings"
)

// A lineEncoder writes the pieces of a line, escaping characters of the text
// only where Jira would take them for markup: at a phrase mark that could begin
// a phrase which something later on the line could end, at brackets and braces,
// and at what means a block at the start of a line.
type lineEncoder struct {
	c      lineContext
	pieces []piece
	out    strings.Builder
	prev   rune         // the last character written, as Jira will see it
	escape []bool       // by piece: a character that needs one
	ends   map[rune]int // the last piece that could end a phrase, by mark
}

func (e *lineEncoder) encode() string {
	e.plan()
	for i, p := range e.pieces {
		switch {
		case p.mark != 0:
			e.mark(i, p)
		case p.ready != "":
			e.ready(i, p)
		case e.escape[i]:
			e.protect(p.char)
		case p.char == '&' && entityLen(text(e.pieces[i:], 34)) > 0:
			e.write("&amp;", ';')
		default:
			e.write(p.text(), p.last())
		}
	}
	return e.out.String()
}

// plan decides which characters need an escape, from the right: whether one
// begins a phrase depends on what is left bare after it.
func (e *lineEncoder) plan() {
	e.escape = make([]bool, len(e.pieces))
	e.ends = map[rune]int{}
	if !e.c.inner {
		if i := e.blockStart(); i >= 0 {
			e.escape[i] = true
		}
	}
	for i := len(e.pieces) - 1; i >= 0; i-- {
		if p := e.pieces[i]; p.char != 0 && p.run == "" {
			e.escape[i] = e.escape[i] || e.special(i, p.char) || e.inOwnPhrase(p) || e.opensPhrase(i) || e.isDash(i)
		}
		e.noteEnd(i)
	}
}

// noteEnd notes whether the piece after i, all of whose neighbours are known
// now, could end a phrase.
func (e *lineEncoder) noteEnd(i int) {
	if p := e.pieces[i]; p.mark != 0 {
		e.noteMark(rune(p.mark), i)
	}
	if i+1 == len(e.pieces) || e.escape[i+1] {
		return
	}
	p, q := e.pieces[i], e.pieces[i+1]
	switch {
	case q.char == 0 || q.run != "", isSpace(p.last()) && p.char != 0:
	case q.char == '!', q.char == '?' && p.char == '?' && !e.escape[i]:
		e.noteMark(q.char, i+1)
	case strings.ContainsRune("*_+-^~", q.char) && (p.char != q.char || e.escape[i]) && !e.wordAfter(i+1):
		e.noteMark(q.char, i+1)
	}
}

// noteMark notes the last place where a phrase could end.
func (e *lineEncoder) noteMark(r rune, i int) {
	if _, ok := e.ends[r]; !ok {
		e.ends[r] = i
	}
}

// next returns the character after piece i, or a line end.
func (e *lineEncoder) next(i int) rune {
	if i+1 < len(e.pieces) {
		return e.pieces[i+1].first()
	}
	return '\n'
}

// wordAfter tells whether a letter or digit is sure to follow piece i: an
// address may be put in brackets yet.
func (e *lineEncoder) wordAfter(i int) bool {
	return i+1 < len(e.pieces) && e.pieces[i+1].bare == "" && isWord(e.next(i))
}

func (e *lineEncoder) write(s string, last rune) {
	e.out.WriteString(s)
	e.prev = last
}

// protect writes a character so that it means itself.
func (e *lineEncoder) protect(r rune) {
	if strings.ContainsRune(escapable, r) && !(e.c.inMono && (r == '{' || r == '}')) {
		e.write(`\`+string(r), ';')
		return
	}
	e.write("&#"+strconv.Itoa(int(r))+";", ';')
}

// mark opens or closes a phrase: bare where Jira sees it so, else in braces.
func (e *lineEncoder) mark(i int, p piece) {
	fits := !isWord(e.prev)
	if !p.open {
		fits = !isWord(e.next(i))
	}
	if fits {
		e.write(string(p.mark), rune(p.mark))
		return
	}
	e.write("{"+string(p.mark)+"}", '}')
}

// ready writes markup that is made already; an address without brackets if
// nothing around would join it.
func (e *lineEncoder) ready(i int, p piece) {
	if p.bare != "" && !isWord(e.prev) && e.addressEnds(i+1) {
		e.write(p.bare, lastRune(p.bare))
		return
	}
	e.write(p.ready, lastRune(p.ready))
}

// addressEnds tells whether an address before piece i ends there.
func (e *lineEncoder) addressEnds(i int) bool {
	for ; i < len(e.pieces); i++ {
		p := e.pieces[i]
		if p.char == 0 {
			return p.mark == 0 && p.bare == ""
		}
		if e.escape[i] { // Jira takes a backslash or entity for a part of it
			return false
		}
		for _, r := range p.text() {
			if r >= 0x80 || !isURLByte(byte(r)) {
				return true
			}
			if !strings.ContainsRune(linkEnds, r) {
				return false
			}
		}
	}
	return true
}

// special tells characters that are markup wherever they stand.
func (e *lineEncoder) special(i int, r rune) bool {
	switch r {
	case '{', '[':
		return true
	case '}':
		return e.c.inMono
	case ']':
		return e.c.inLink
	case '|':
		return e.c.inCell || e.c.inLink
	case '(':
		return isEmoticon(text(e.pieces[i:], 9))
	case '\\': // plain only before text that a backslash does not change
		next := text(e.pieces[i+1:], 1)
		return next == "" || strings.Contains(escapable+`\`, next)
	}
	return false
}

// isEmoticon tells whether Jira would show a picture for the start of s.
func isEmoticon(s string) bool {
	end := strings.IndexByte(s, ')')
	if end < 0 {
		return false
	}
	for _, typed := range emoticons {
		if typed == s[:end+1] {
			return true
		}
	}
	return false
}

// inOwnPhrase tells whether p is the mark of a phrase that it stands in, and
// would end it.
func (e *lineEncoder) inOwnPhrase(p piece) bool {
	for m, d := range markOf {
		if p.char == rune(d) {
			return p.around&styles[m] != 0
		}
	}
	return false
}

// opensPhrase tells whether Jira would begin a phrase or an image here.
func (e *lineEncoder) opensPhrase(i int) bool {
	r := e.pieces[i].char
	if !strings.ContainsRune("*_+-^~!?", r) || isWord(e.before(i)) {
		return false
	}
	n := i + 1
	if r == '?' {
		if e.next(i) != '?' || e.escape[n] {
			return false
		}
		n++
	}
	next := e.next(n - 1)
	ends := e.ends[r] > n || r == '!' && e.c.inCell // an image may hold a bar
	return ends && !isSpace(next) && (next != r || e.escape[n])
}

// before returns the character before piece i, or a line end.
func (e *lineEncoder) before(i int) rune {
	if i == 0 {
		return '\n'
	}
	if p := e.pieces[i-1]; p.char != 0 {
		return p.last()
	}
	return '}' // some markup
}

// isDash tells a "--" or "---" between blanks, of which Jira makes one dash.
func (e *lineEncoder) isDash(i int) bool {
	if !e.pieces[i].is('-') || !isSpace(e.before(i)) {
		return false
	}
	n := 0
	for i+n < len(e.pieces) && n < 4 && e.pieces[i+n].is('-') {
		n++
	}
	return (n == 2 || n == 3) && isSpace(e.next(i+n-1))
}

// blockStart returns the piece to protect at the start of the line, where Jira
// would see a list, a heading, a quote, a row or a rule; or -1.
func (e *lineEncoder) blockStart() int {
	head := text(e.pieces, 6)
	switch {
	case headingLevel(head) > 0, strings.HasPrefix(head, "bq."):
		return 2
	case strings.HasPrefix(head, "|"):
		return 0
	case isRule(head) && len(head) == len(e.pieces):
		return 0
	}
	first := -1
	for i, p := range e.pieces {
		switch {
		case p.mark == '*', p.mark == '-':
		case p.is('*'), p.is('#'), p.is('-'):
			if first < 0 {
				first = i
			}
		case p.char != 0 && isSpace(p.char):
			return first
		default:
			return -1
		}
	}
	return -1
}
