package richtext

import "strings"

// wikiForm returns the document in the shape that wiki markup can hold: no
// quote in a quote, no table in a cell or item, nothing after a list in an item
// or cell, one paragraph in a row. No text goes.
func wikiForm(doc *block) *block {
	out := &block{kind: root, kids: wikiBlocks(doc.kids, false)}
	prune(out)
	return out
}

// wikiBlocks shapes blocks that stand on their own.
func wikiBlocks(kids []*block, inQuote bool) (out []*block) {
	for _, k := range kids {
		switch k.kind {
		case para, heading:
			out = append(out, &block{kind: k.kind, level: min(k.level, 4), spans: wikiSpans(k.spans)})
		case quote:
			if inQuote {
				out = append(out, wikiBlocks(k.kids, true)...)
				continue
			}
			out = append(out, &block{kind: quote, kids: wikiBlocks(k.kids, true)})
		case list:
			out = append(out, wikiList(k, inQuote))
		case table:
			out = append(out, wikiTable(k, inQuote))
		case code:
			out = append(out, wikiCode(k))
		default:
			out = append(out, k)
		}
	}
	return out
}

// wikiSpans shapes runs of text: addresses become links, and monospace stands
// only where Jira would see it.
func wikiSpans(in []span) []span {
	return tidy(autolink(tidy(dropMono(in))))
}

// dropMono takes monospace from what touches a letter or digit, since Jira
// would show its braces.
func dropMono(in []span) []span {
	out := append([]span(nil), in...)
	for i := 0; i < len(out); {
		j := i + 1
		if out[i].style&mono != 0 {
			for j < len(out) && out[j].style&mono != 0 {
				j++
			}
			if i > 0 && isWord(lastRune(out[i-1].text)) || j < len(out) && wordAt(out[j].text) {
				for k := i; k < j; k++ {
					out[k].style &^= mono
				}
			}
		}
		i = j
	}
	return out
}

// wikiCode picks a macro that the code does not itself name; if it names both
// it becomes a paragraph.
func wikiCode(b *block) *block {
	names := map[bool]string{true: "{code", false: "{noformat"}
	for _, source := range []bool{b.source, !b.source} {
		if !strings.Contains(b.text, names[source]) {
			return &block{kind: code, source: source, text: b.text}
		}
	}
	p := &block{kind: para}
	for line := range strings.SplitSeq(b.text, "\n") {
		indent := len(line) - len(strings.TrimLeft(line, " \t"))
		text := strings.Repeat("\u00a0", indent) + strings.Join(strings.Fields(line), " ")
		if !isBlank(text) {
			p.spans = append(p.spans, span{text: text}, span{text: "\n"})
		}
	}
	p.spans = wikiSpans(p.spans)
	return p
}

// wikiList shapes a list: what follows an inner list becomes an item.
func wikiList(l *block, inQuote bool) *block {
	out := &block{kind: list, ordered: l.ordered}
	for _, it := range l.kids {
		for _, part := range splitItem(it.kids) {
			out.kids = append(out.kids, &block{kind: item, kids: wikiTight(part, inQuote)})
		}
	}
	return out
}

// splitItem cuts the content of an item where text follows a list.
func splitItem(kids []*block) (parts [][]*block) {
	from := 0
	for i := 1; i < len(kids); i++ {
		if kids[i-1].kind == list && kids[i].kind != list && kids[i].kind != rule {
			parts = append(parts, kids[from:i])
			from = i
		}
	}
	return append(parts, kids[from:])
}

// wikiTight shapes the content of an item or cell: paragraphs joined by line
// breaks, code, quotes, then lists.
func wikiTight(kids []*block, inQuote bool) (out []*block) {
	for _, k := range kids {
		switch k.kind {
		case para, heading:
			out = addTight(out, &block{kind: para, spans: wikiSpans(k.spans)})
		case table:
			out = addTight(out, &block{kind: para, spans: wikiSpans(flatTable(k))})
		case list:
			out = addList(out, wikiList(k, inQuote))
		case code:
			out = addTight(out, wikiCode(k))
		case quote:
			if !inQuote {
				out = addTight(out, &block{kind: quote, kids: wikiBlocks(k.kids, true)})
				continue
			}
			for _, in := range wikiTight(k.kids, true) {
				if in.kind == list {
					out = addList(out, in)
				} else {
					out = addTight(out, in)
				}
			}
		}
	}
	return out
}

// addTight adds a block that is no list; after a list it becomes an item.
func addTight(out []*block, b *block) []*block {
	if b.empty() {
		return out
	}
	if n := len(out); n > 0 {
		switch last := out[n-1]; {
		case last.kind == list:
			last.kids = append(last.kids, &block{kind: item, kids: []*block{b}})
			return out
		case last.kind == para && b.kind == para:
			last.spans = append(append(last.spans, span{text: "\n"}), b.spans...)
			return out
		}
	}
	return append(out, b)
}

// addList adds a list, joining it to one of the same sort.
func addList(out []*block, l *block) []*block {
	if n := len(out); n > 0 && out[n-1].kind == list && out[n-1].ordered == l.ordered {
		out[n-1].kids = append(out[n-1].kids, l.kids...)
		return out
	}
	return append(out, l)
}

// wikiTable shapes a table; a cell over several columns or rows is followed
// by empty ones.
func wikiTable(t *block, inQuote bool) *block {
	out := &block{kind: table}
	below := map[int]int{} // rows that a cell above still covers, by column
	for _, r := range t.kids {
		line := &block{kind: row}
		covered := func() {
			for below[len(line.kids)] > 0 {
				below[len(line.kids)]--
				line.kids = append(line.kids, &block{kind: cell})
			}
		}
		for _, c := range r.kids {
			covered()
			kids := wikiTight(c.kids, inQuote)
			for n := 0; n == 0 || n < c.cols; n++ {
				below[len(line.kids)] = c.rows - 1
				line.kids = append(line.kids, &block{kind: cell, header: c.header, kids: kids})
				kids = nil
			}
		}
		covered()
		out.kids = append(out.kids, line)
	}
	return out
}

// flatTable writes a table inside a cell or item as lines of text.
func flatTable(t *block) (out []span) {
	for _, r := range t.kids {
		for i, c := range r.kids {
			if i > 0 {
				out = append(out, span{text: " | "})
			}
			out = append(out, flatten(c)...)
		}
		out = append(out, span{text: "\n"})
	}
	return out
}

// flatten returns all text below b on one line.
func flatten(b *block) (out []span) {
	for _, s := range b.spans {
		if s.text == "\n" {
			s.text = " "
		}
		out = append(out, s)
	}
	if b.text != "" {
		out = append(out, span{text: strings.Join(strings.Fields(b.text), " ")})
	}
	for _, k := range b.kids {
		out = append(out, span{text: " "})
		out = append(out, flatten(k)...)
	}
	return out
}
