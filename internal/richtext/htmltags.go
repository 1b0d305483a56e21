package richtext

import (
	"strconv"
	"strings"
)

// chars adds text, as it is inside pre.
func (r *htmlReader) chars(s string) {
	if r.pre != nil {
		r.pre.WriteString(s)
		return
	}
	r.text(s)
}

// start hears a start tag.
func (r *htmlReader) start(name string, attrs attributes) {
	t := tags[name]
	if r.pre != nil {
		r.startInPre(name, t)
		if t.role != holder {
			return
		}
	}
	switch t.role {
	case inline:
		if r.rendered && attrs.has("aui-lozenge") {
			r.text(" ")
		}
	case edge:
		r.flush()
		r.startDiv(name, attrs)
	case mark:
		r.mark(t.style, +1)
	case holder:
		r.hold(name, t.kind, attrs)
	case special:
		r.startSpecial(name, attrs)
	}
}

// end hears an end tag.
func (r *htmlReader) end(name string) {
	t := tags[name]
	if r.pre != nil {
		if t.role != holder && name != "pre" && name != "listing" && name != "xmp" {
			r.preEdge(t)
			return
		}
		r.endPre()
	}
	switch t.role {
	case edge:
		r.flush()
		r.endDiv(name)
	case mark:
		r.mark(t.style, -1)
	case holder:
		r.release(t.kind)
	case special:
		r.endSpecial(name)
	}
}

// mark counts open styles: an unclosed one lasts, as in a browser, and a stray
// end tag is nothing.
func (r *htmlReader) mark(s style, by int) {
	for i, at := range styles {
		if at == s {
			r.marks[i] = max(0, r.marks[i]+by)
		}
	}
	r.setStyle()
}

func (r *htmlReader) setStyle() {
	r.style = 0
	for i, s := range styles {
		if r.marks[i] > 0 {
			r.style |= s
		}
	}
}

// hold opens a block, after closing what it ends: an item ends an item.
func (r *htmlReader) hold(name string, k kind, attrs attributes) {
	b := &block{kind: k}
	switch k {
	case list:
		b.ordered = name == "ol"
	case item:
		r.closeIn(item, list)
		if r.find(list) == 0 && !r.open(&block{kind: list}) {
			return
		}
	case row:
		r.release(cell)
		r.closeIn(row, table)
		if r.find(table) == 0 && !r.open(&block{kind: table}) {
			return
		}
	case cell:
		r.release(cell)
		if !r.needRow() {
			return
		}
		b.header = name == "th"
		b.cols, b.rows = spanned(attrs["colspan"]), spanned(attrs["rowspan"])
		r.saved = append(r.saved, r.marks)
	}
	r.open(b)
}

// closeIn closes the nearest inner block if it is inside the nearest outer one.
func (r *htmlReader) closeIn(inner, outer kind) {
	r.flush()
	if i := r.find(outer); i > 0 && len(r.stack) > i+1 && r.stack[i+1].kind == inner {
		r.stack = r.stack[:i+1]
	}
}

// needRow makes sure that a cell has a row and a table around it.
func (r *htmlReader) needRow() bool {
	if i := r.find(row); i > 0 {
		r.stack = r.stack[:i+1]
		return true
	}
	if r.find(table) == 0 && !r.open(&block{kind: table}) {
		return false
	}
	return r.open(&block{kind: row})
}

// spanned reads a colspan or rowspan within reason; 0 stands for one.
func spanned(s string) int {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < 2 {
		return 0
	}
	return min(n, 50)
}

// release closes a block. What was marked inside a cell ends with it.
func (r *htmlReader) release(k kind) {
	if k != cell && k != row && k != table {
		r.close(k)
		return
	}
	cells := r.openCells()
	r.close(k)
	for range cells - r.openCells() {
		if n := len(r.saved); n > 0 {
			r.marks, r.saved = r.saved[n-1], r.saved[:n-1]
		}
		r.link = ""
	}
	r.setStyle()
}

func (r *htmlReader) openCells() (n int) {
	for _, b := range r.stack {
		if b.kind == cell {
			n++
		}
	}
	return n
}

// startSpecial hears the tags that are a case of their own.
func (r *htmlReader) startSpecial(name string, attrs attributes) {
	switch name {
	case "br":
		r.lineBreak()
	case "hr":
		r.flush()
		r.place(&block{kind: rule})
	case "img":
		r.text(r.imageText(attrs))
	case "a":
		r.link = ""
		if !r.rendered || !attrs.has("user-hover") {
			r.link = cleanURL(attrs["href"])
		}
	case "sup":
		r.raised = true
	case "q":
		r.text("“")
	case "pre", "listing", "xmp", "plaintext":
		r.flush()
		r.pre, r.source = &strings.Builder{}, r.rendered && strings.HasPrefix(attrs["class"], "code-")
	default: // h1 … h6
		r.flush()
		r.level = int(name[1] - '0')
	}
}

func (r *htmlReader) endSpecial(name string) {
	switch name {
	case "br":
		r.lineBreak()
	case "a":
		r.link = ""
	case "sup":
		r.raised = false
	case "q":
		r.text("”")
	case "h1", "h2", "h3", "h4", "h5", "h6":
		r.flush()
		r.level = 0
	}
}

// startInPre hears a tag inside pre, where only lines count. A new item, row
// or cell ends a pre that was left open.
func (r *htmlReader) startInPre(name string, t tag) {
	switch {
	case name == "br":
		r.pre.WriteByte('\n')
	case name == "code":
		r.source = true
	case t.role == holder:
		r.endPre()
	default:
		r.preEdge(t)
	}
}

// preEdge starts a new line at the edge of a block inside pre.
func (r *htmlReader) preEdge(t tag) {
	if t.role == edge && r.pre.Len() > 0 && !strings.HasSuffix(r.pre.String(), "\n") {
		r.pre.WriteByte('\n')
	}
}

// endPre ends preformatted text, if any is open.
func (r *htmlReader) endPre() {
	if r.pre == nil {
		return
	}
	b := &block{kind: code, text: trimCode(r.pre.String()), source: r.source}
	r.pre = nil
	if !b.empty() {
		r.place(b)
	}
}

// trimCode drops blank lines around code, and blanks at its end.
func trimCode(s string) string {
	s = strings.TrimRight(s, " \t\n")
	for {
		line, rest, ok := strings.Cut(s, "\n")
		if !ok || strings.TrimSpace(line) != "" {
			return s
		}
		s = rest
	}
}
