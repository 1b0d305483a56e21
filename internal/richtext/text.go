package richtext

import (
	"strconv"
	"strings"
)

// writeText writes the document for a plain text field or a mail.
func writeText(doc *block) string {
	w := &textWriter{}
	w.blocks(doc.kids, "\n\n", "")
	return w.out.String()
}

type textWriter struct{ out strings.Builder }

// blocks writes blocks with sep between them, all but the first line after
// indent.
func (w *textWriter) blocks(kids []*block, sep, indent string) {
	for i, k := range kids {
		if i > 0 {
			w.out.WriteString(strings.ReplaceAll(sep, "\n", "\n"+indent))
		}
		w.block(k, indent)
	}
}

func (w *textWriter) block(b *block, indent string) {
	switch b.kind {
	case rule:
		w.out.WriteString("----")
	case code:
		w.out.WriteString(strings.ReplaceAll(b.text, "\n", "\n"+indent))
	case quote:
		w.out.WriteString("> ")
		w.blocks(b.kids, "\n\n", indent+"> ")
	case list:
		w.list(b, indent)
	case table:
		w.table(b, indent)
	default:
		w.out.WriteString(strings.ReplaceAll(spanText(b.spans), "\n", "\n"+indent))
	}
}

// spanText writes runs; a link that does not show its address is followed by it.
func spanText(spans []span) string {
	var out strings.Builder
	for i, s := range spans {
		out.WriteString(s.text)
		if s.link == "" || i+1 < len(spans) && spans[i+1].link == s.link {
			continue
		}
		if shown := joined(spans[:i+1], s.link); shown != s.link && "mailto:"+shown != s.link {
			out.WriteString(" (" + s.link + ")")
		}
	}
	return out.String()
}

// joined returns the text of the link that ends the runs.
func joined(spans []span, link string) string {
	i := len(spans)
	for i > 0 && spans[i-1].link == link {
		i--
	}
	var out strings.Builder
	for _, s := range spans[i:] {
		out.WriteString(s.text)
	}
	return out.String()
}

// list writes items with a dash, or numbered.
func (w *textWriter) list(l *block, indent string) {
	for i, it := range l.kids {
		head := "- "
		if l.ordered {
			head = strconv.Itoa(i+1) + ". "
		}
		if i > 0 {
			w.out.WriteString("\n" + indent)
		}
		w.out.WriteString(head)
		w.blocks(it.kids, "\n", indent+strings.Repeat(" ", len(head)))
	}
}

// table writes a row on a line, cells between bars.
func (w *textWriter) table(t *block, indent string) {
	for i, r := range t.kids {
		if i > 0 {
			w.out.WriteString("\n" + indent)
		}
		for j, c := range r.kids {
			if j > 0 {
				w.out.WriteString(" | ")
			}
			w.blocks(c.kids, "\n", indent)
		}
	}
}
