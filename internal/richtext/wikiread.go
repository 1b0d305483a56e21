package richtext

import (
	"strconv"
	"strings"
)

// A wikiReader builds a document from Jira wiki markup, by the rules of Jira's
// own renderer as far as they are known: macros first, then blocks line by
// line, then phrases within a line.
type wikiReader struct {
	*builder
	macros []*block // what stands behind the marks \x01…\x02
}

// readWiki reads wiki markup in time linear in its size.
func readWiki(s string) *block {
	r := &wikiReader{builder: newBuilder()}
	s = r.extract(plain(s), "code", "noformat")
	r.blocks(r.extract(s, "quote", "panel"), false)
	return r.document()
}

// blocks reads lines. Inside an item or a cell (tight) only lists and text
// are known.
func (r *wikiReader) blocks(s string, tight bool) {
	for s != "" {
		line, rest, _ := strings.Cut(s, "\n")
		switch at := strings.TrimLeft(line, " \t"); {
		case strings.Trim(at, " \t") == "":
			r.flush()
		case isListLine(at):
			rest = r.list(s)
		case tight:
			r.lines(at)
		case at[0] == '|':
			rest = r.table(s)
		case isRule(at):
			r.flush()
			r.place(&block{kind: rule})
		case headingLevel(at) > 0:
			r.heading(at)
		case strings.HasPrefix(at, "bq."):
			r.open(&block{kind: quote})
			r.lines(at[3:])
			r.close(quote)
		default:
			r.lines(at)
		}
		s = rest
	}
	r.flush()
}

// lines adds a line to the current paragraph; a macro in it stands alone.
func (r *wikiReader) lines(s string) {
	r.lineBreak()
	for {
		text, rest, ok := strings.Cut(s, "\x01")
		r.phrases(text)
		if !ok {
			return
		}
		mark, after, _ := strings.Cut(rest, "\x02")
		r.macro(mark)
		s = after
	}
}

// macro puts the block behind a mark in its place.
func (r *wikiReader) macro(mark string) {
	n := 0
	for _, c := range mark {
		n = n*10 + int(c-'0')
	}
	r.flush()
	b := r.macros[n]
	if b.kind == code {
		if !b.empty() {
			r.place(&block{kind: code, source: b.source, text: b.text})
		}
		return
	}
	r.open(&block{kind: quote})
	level := r.level
	r.level = 0
	r.blocks(r.extract(b.text, "quote", "panel"), false)
	r.level = level
	r.close(quote)
}

// isRule tells a line of four or five dashes.
func isRule(s string) bool {
	s = strings.TrimRight(s, " \t")
	return s == "----" || s == "-----"
}

// headingLevel returns the n of "hn." at the start of a line, or 0.
func headingLevel(s string) int {
	if len(s) > 2 && s[0] == 'h' && s[1] >= '1' && s[1] <= '6' && s[2] == '.' {
		return int(s[1] - '0')
	}
	return 0
}

func (r *wikiReader) heading(s string) {
	r.flush()
	r.level = headingLevel(s)
	r.lines(s[3:])
	r.flush()
	r.level = 0
}

// maxList bounds the depth of lists in wiki markup, where each line names all
// the lists it is in.
const maxList = 10

// isListLine tells "* text", "## text", "*- text". Two or three dashes are a
// dash, not a list.
func isListLine(s string) bool {
	n := len(s) - len(strings.TrimLeft(s, "*#-"))
	return n > 0 && n < len(s) && (s[n] == ' ' || s[n] == '\t') &&
		!strings.HasPrefix(s, "--") && strings.Trim(s[n:], " \t") != ""
}

// marks returns the lists that a line is in, and its text.
func listMarks(s string) (marks, text string) {
	n := len(s) - len(strings.TrimLeft(s, "*#-"))
	return strings.ReplaceAll(s[:min(n, maxList)], "-", "*"), s[n:]
}

// list reads a list up to a blank line or another block, and returns the rest.
// A line without marks goes on with the item above it.
func (r *wikiReader) list(s string) string {
	r.flush()
	base, open := len(r.stack), ""
	for s != "" {
		line, rest, _ := strings.Cut(s, "\n")
		at := strings.TrimLeft(line, " \t")
		if isListLine(at) {
			marks, text := listMarks(at)
			r.nest(base, open, marks)
			open = marks
			r.lines(text)
		} else if strings.Trim(at, " \t") == "" || at[0] == '|' || isRule(at) || headingLevel(at) > 0 || strings.HasPrefix(at, "bq.") {
			break
		} else {
			r.lines(at)
		}
		s = rest
	}
	r.flush()
	r.stack = r.stack[:base]
	return s
}

// nest goes from an item of the lists open to a new item of the lists want.
func (r *wikiReader) nest(base int, open, want string) {
	r.flush()
	same := 0
	for same < len(open) && same < len(want) && open[same] == want[same] {
		same++
	}
	r.stack = r.stack[:min(len(r.stack), base+2*same)]
	if same == len(want) && len(r.stack) > base {
		r.stack = r.stack[:len(r.stack)-1]
		r.open(&block{kind: item})
	}
	for _, m := range want[same:] {
		r.open(&block{kind: list, ordered: m == '#'})
		r.open(&block{kind: item})
	}
}

// extract replaces the named macros, {name} … {name}, by marks. What is left
// open is text.
func (r *wikiReader) extract(s string, names ...string) string {
	var out strings.Builder
	none := map[string]bool{} // names without a further end
	for {
		i := strings.IndexByte(s, '{')
		if i < 0 {
			out.WriteString(s)
			return out.String()
		}
		name, title, n := openMacro(s[i:], names)
		if n == 0 || none[name] || i > 0 && s[i-1] == '\\' {
			out.WriteString(s[:i+1])
			s = s[i+1:]
			continue
		}
		end := closing(s[i+n:], name)
		if end < 0 {
			none[name] = true
			continue
		}
		out.WriteString(s[:i])
		out.WriteString(r.mark(name, title, s[i+n:i+n+end]))
		s = s[i+n+end+len(name)+2:]
	}
}

// closing returns where {name} stands in s, not escaped, or -1.
func closing(s, name string) int {
	for from := 0; ; {
		i := strings.Index(s[from:], "{"+name+"}")
		if i < 0 {
			return -1
		}
		if from += i; from == 0 || s[from-1] != '\\' {
			return from
		}
		from++
	}
}

// openMacro reads {name} or {name:…} at the start of s: its name, its title if
// it has one, and its length, or 0.
func openMacro(s string, names []string) (name, title string, n int) {
	end := strings.IndexByte(s[:min(len(s), 200)], '}')
	if end < 0 {
		return "", "", 0
	}
	name, args, _ := strings.Cut(s[1:end], ":")
	for _, known := range names {
		if name != known {
			continue
		}
		for arg := range strings.SplitSeq(args, "|") {
			if t, ok := strings.CutPrefix(arg, "title="); ok {
				title = t
			}
		}
		return name, title, end + 1
	}
	return "", "", 0
}

// mark stores a macro and returns what stands for it in the text. Its title
// becomes a bold line above it.
func (r *wikiReader) mark(name, title, body string) string {
	b := &block{kind: quote, text: body}
	head := ""
	if title = strings.TrimSpace(title); title != "" {
		head = "{*}" + title + "{*}\n"
	}
	if name == "code" || name == "noformat" {
		b = &block{kind: code, text: trimCode(body), source: name == "code"}
	} else {
		b.text = head + body
		head = ""
	}
	r.macros = append(r.macros, b)
	return head + "\x01" + strconv.Itoa(len(r.macros)-1) + "\x02"
}
