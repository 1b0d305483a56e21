package richtext

import "strings"

// maxDepth bounds how deep blocks nest, so that no input can overflow the
// stack. What nests deeper joins the deepest block.
const maxDepth = 64

// partsOf is how many blocks deep the parts of one are: table, row, cell.
const partsOf = 3

// implied is how many blocks place opens between a block and its content.
var implied = [cell + 1]int{list: 1, table: 2, row: 1}

// A builder makes a document from a stream of text and block edges. Both
// readers use it: blanks and empty blocks are treated once and alike.
type builder struct {
	stack   []*block
	refused [cell + 1]int // blocks not opened because of maxDepth
	level   int           // the heading we are in, or 0
	style   style
	link    string
	raised  bool // at the start of a superscript

	spans []span
	run   strings.Builder
	runAt span // style and link of the run
	blank span // waits for what comes after it; no text: none waits
}

func newBuilder() *builder {
	return &builder{stack: []*block{{kind: root}}}
}

// document ends the text and returns it.
func (b *builder) document() *block {
	b.flush()
	prune(b.stack[0])
	return b.stack[0]
}

func (b *builder) top() *block { return b.stack[len(b.stack)-1] }

// text adds s to the current paragraph; blanks collapse.
func (b *builder) text(s string) {
	for s != "" {
		if n := wordsLen(s); n > 0 {
			b.ink(s[:n])
			s = s[n:]
			continue
		}
		if isSpace(rune(s[0])) && b.blank.text == "" {
			b.blank = span{" ", b.style, b.link}
		}
		s = s[1:] // a blank or a control character is one byte
	}
}

// wordsLen is how many bytes at the start of s are words with one space between
// them.
func wordsLen(s string) int {
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ' && i > 0 && i+1 < len(s) && s[i+1] > ' ' && s[i+1] != 0x7f:
		case c <= ' ', c == 0x7f:
			return i
		}
	}
	return len(s)
}

// ink adds words, and the blank that waited before them.
func (b *builder) ink(words string) {
	at := span{style: b.style, link: b.link}
	switch {
	case b.blank.text == "":
	case b.run.Len() > 0 && at == b.runAt && b.blank == (span{" ", at.style, at.link}):
		b.run.WriteByte(' ')
	default:
		b.endRun()
		b.spans = append(b.spans, b.blank)
	}
	b.blank = span{}
	if b.runAt != at {
		b.endRun()
		b.runAt = at
	}
	if b.raised && words[0] >= '0' && words[0] <= '9' { // 10<sup>3</sup> is not 103
		b.run.WriteByte('^')
	}
	b.raised = false
	b.run.WriteString(words)
}

func (b *builder) endRun() {
	if b.run.Len() > 0 {
		b.spans = append(b.spans, span{b.run.String(), b.runAt.style, b.runAt.link})
		b.run.Reset()
	}
}

// lineBreak ends a line; a second one in a row ends the paragraph.
func (b *builder) lineBreak() {
	b.endRun()
	b.blank = span{}
	switch n := len(b.spans); {
	case n == 0:
	case b.level > 0:
		b.blank = span{text: " "}
	case b.spans[n-1].text == "\n":
		b.flush()
	default:
		b.spans = append(b.spans, span{text: "\n"})
	}
}

// flush ends the current paragraph or heading, if there is any text in it.
func (b *builder) flush() {
	b.endRun()
	b.blank = span{}
	p := &block{kind: para, spans: tidy(b.spans)}
	b.spans = nil
	if b.level > 0 {
		p.kind, p.level = heading, b.level
	}
	if !p.empty() {
		b.place(p)
	}
}

// place puts k into the current block, opening the item or cell that it needs.
func (b *builder) place(k *block) {
	switch b.top().kind {
	case list:
		b.push(&block{kind: item})
	case table:
		b.push(&block{kind: row})
		b.push(&block{kind: cell})
	case row:
		b.push(&block{kind: cell})
	}
	b.top().kids = append(b.top().kids, k)
}

// open starts a block that holds others, and tells whether it did: deeper than
// maxDepth nothing opens but the parts of what is open.
func (b *builder) open(k *block) bool {
	b.flush()
	switch k.kind {
	case item, row, cell:
		b.push(k)
		return true
	}
	if len(b.stack)+implied[b.top().kind]+partsOf > maxDepth {
		b.refused[k.kind]++
		return false
	}
	b.place(k)
	b.stack = append(b.stack, k)
	return true
}

func (b *builder) push(k *block) {
	b.top().kids = append(b.top().kids, k)
	b.stack = append(b.stack, k)
}

// close ends the nearest open block of the kind, and all within it. A block
// outside the current cell is out of reach, except by what ends cells.
func (b *builder) close(k kind) {
	b.flush()
	if b.refused[k] > 0 {
		b.refused[k]--
		return
	}
	if i := b.find(k); i > 0 {
		b.stack = b.stack[:i]
	}
}

// find returns where the nearest open block of the kind is, or 0. The search
// ends at a table, and for all but rows and cells at a cell.
func (b *builder) find(k kind) int {
	for i := len(b.stack) - 1; i > 0; i-- {
		switch at := b.stack[i].kind; {
		case at == k:
			return i
		case at == table, at == cell && k != row && k != table:
			return 0
		}
	}
	return 0
}
