package richtext

import (
	"strconv"
	"strings"
)

// writeWiki writes a document in wiki form as Jira wiki markup.
func writeWiki(doc *block) string {
	w := &wikiWriter{}
	w.blocks(doc.kids)
	return w.out.String()
}

type wikiWriter struct{ out strings.Builder }

// blocks writes blocks with a blank line between them.
func (w *wikiWriter) blocks(kids []*block) {
	for i, k := range kids {
		if i > 0 {
			w.out.WriteString("\n\n")
		}
		w.block(k)
	}
}

func (w *wikiWriter) block(b *block) {
	switch b.kind {
	case para:
		w.lines(b.spans, lineContext{})
	case heading:
		w.out.WriteString("h" + strconv.Itoa(b.level) + ". ")
		w.lines(b.spans, lineContext{})
	case rule:
		w.out.WriteString("----")
	case code:
		w.code(b)
	case quote:
		w.out.WriteString("{quote}\n")
		w.blocks(b.kids)
		w.out.WriteString("\n{quote}")
	case list:
		w.list(b, "", lineContext{})
	case table:
		w.table(b)
	}
}

// lines writes a paragraph, each line on one of its own.
func (w *wikiWriter) lines(spans []span, c lineContext) {
	from := 0
	for i, s := range spans {
		if s.text == "\n" {
			w.out.WriteString(wikiLine(spans[from:i], c) + "\n")
			from = i + 1
		}
	}
	w.out.WriteString(wikiLine(spans[from:], c))
}

func (w *wikiWriter) code(b *block) {
	name := "{noformat}"
	if b.source {
		name = "{code}"
	}
	w.out.WriteString(name + "\n" + b.text + "\n" + name)
}

// list writes the items, each with the marks of all lists it is in.
func (w *wikiWriter) list(l *block, marks string, c lineContext) {
	if len(marks) < maxList {
		if l.ordered {
			marks += "#"
		} else {
			marks += "*"
		}
	}
	for i, it := range l.kids {
		if i > 0 {
			w.out.WriteByte('\n')
		}
		if it.kids[0].kind != list {
			w.out.WriteString(marks + " ")
		}
		w.tight(it.kids, marks, c)
	}
}

// tight writes the content of an item or cell.
func (w *wikiWriter) tight(kids []*block, marks string, c lineContext) {
	for i, k := range kids {
		if i > 0 {
			w.out.WriteByte('\n')
		}
		switch k.kind {
		case para:
			w.lines(k.spans, c)
		case list:
			w.list(k, marks, c)
		default:
			w.block(k)
		}
	}
}

// table writes the rows; header cells stand between double bars.
func (w *wikiWriter) table(t *block) {
	for i, r := range t.kids {
		if i > 0 {
			w.out.WriteByte('\n')
		}
		bar := "|"
		for _, c := range r.kids {
			if bar = "|"; c.header {
				bar = "||"
			}
			w.out.WriteString(bar)
			if len(c.kids) == 0 {
				w.out.WriteByte(' ')
			}
			w.tight(c.kids, "", lineContext{inCell: true})
		}
		w.out.WriteString(bar)
	}
}
