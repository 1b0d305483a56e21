package richtext

import "strings"

// table reads the rows at the start of s and returns what follows them.
func (r *wikiReader) table(s string) string {
	r.open(&block{kind: table})
	for {
		s = strings.TrimLeft(s, " \t")
		if s == "" || s[0] != '|' {
			break
		}
		s = r.row(s)
	}
	r.close(table)
	return s
}

// row reads one row, which may run over several lines, up to a bar at the end
// of a line, a blank line, or the next row.
func (r *wikiReader) row(s string) string {
	r.open(&block{kind: row})
	defer r.close(row)
	for i := 0; ; {
		header := strings.HasPrefix(s[i:], "||")
		i++
		if header {
			i++
		}
		if rest, ok := endOfLine(s[i:]); ok {
			return rest
		}
		n := cellEnd(s[i:])
		r.open(&block{kind: cell, header: header})
		r.blocks(s[i:i+n], true)
		r.close(cell)
		if i += n; i >= len(s) || s[i] != '|' {
			rest, _ := endOfLine(s[i:])
			return rest
		}
	}
}

// endOfLine returns what follows the line end, if only blanks stand before it.
func endOfLine(s string) (string, bool) {
	line, rest, _ := strings.Cut(s, "\n")
	return rest, strings.Trim(line, " \t") == ""
}

// cellEnd returns where the text of a cell ends: at a bar that is no part of a
// link or image, or at the line end after which the row cannot go on.
func cellEnd(s string) int {
	for i := 0; i < len(s); {
		switch s[i] {
		case '|':
			return i
		case '\n':
			next, _, _ := strings.Cut(s[i+1:], "\n")
			if next = strings.TrimLeft(next, " \t"); next == "" || next[0] == '|' {
				return i
			}
			i++
		case '\\':
			i += 1 + len(firstOf(s[i+1:]))
		case '[':
			i += 1 + linkLen(s[i+1:])
		case '!':
			if n := imageLen(s[i+1:]); n > 0 && !isWord(lastRune(s[:i])) {
				i += n
			}
			i++
		default:
			i++
		}
	}
	return len(s)
}

// firstOf returns the first byte of s unless it ends the line.
func firstOf(s string) string {
	if s == "" || s[0] == '\n' {
		return ""
	}
	return s[:1]
}

// linkLen returns the length of a link's inside with its closing bracket, or 0.
func linkLen(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ']':
			if _, target, _ := cutLink(s[:i]); target != "" {
				return i + 1
			}
			return 0
		case '[', '\n':
			return 0
		}
	}
	return 0
}

// imageLen returns the length of an image's inside with its closing mark, or
// 0: "!name.png|width=300!".
func imageLen(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '!':
			if i > 0 && !isSpace(rune(s[0])) && !isSpace(rune(s[i-1])) {
				return i + 1
			}
			return 0
		case '\n', '\\', '[', '{', '\x01':
			return 0
		}
	}
	return 0
}
