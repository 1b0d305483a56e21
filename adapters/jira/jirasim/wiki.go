package jirasim

import (
	"html"
	"regexp"
	"strings"
)

// wikiDepth bounds how deep macros, lists and marks may nest.
const wikiDepth = 20

var (
	wikiMacro   = regexp.MustCompile(`\{(code|noformat|quote|panel)(?::([^}\n]*))?\}`)
	wikiHeading = regexp.MustCompile(`^h([1-6])\.\s+(.*)$`)
	wikiItem    = regexp.MustCompile(`^\s*([*#]+|-+)\s+(.*)$`)
	wikiRule    = regexp.MustCompile(`^\s*-{4,}\s*$`)
	wikiTitle   = regexp.MustCompile(`(?:^|\|)title=([^|]*)`)
)

// Render turns wiki markup into HTML, as Jira does for people to read: a
// rendition of its own, close in structure, not the same to the letter.
func Render(text string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	return strings.TrimSuffix(wikiBlocks(text, 0), "\n")
}

// wikiBlocks renders a text with its macros. A macro that never ends is plain
// text.
func wikiBlocks(text string, depth int) string {
	if depth > wikiDepth {
		return html.EscapeString(text)
	}
	var b strings.Builder
	for {
		at := wikiMacro.FindStringSubmatchIndex(text)
		if at == nil {
			break
		}
		name, args := text[at[2]:at[3]], ""
		if at[4] >= 0 {
			args = text[at[4]:at[5]]
		}
		inner, rest, closed := strings.Cut(text[at[1]:], "{"+name+"}")
		if !closed {
			b.WriteString(wikiLines(text[:at[1]], depth))
			text = text[at[1]:]
			continue
		}
		b.WriteString(wikiLines(text[:at[0]], depth))
		b.WriteString(wikiMacroHTML(name, args, strings.Trim(inner, "\n"), depth))
		text = rest
	}
	b.WriteString(wikiLines(text, depth))
	return b.String()
}

func wikiMacroHTML(name, args, inner string, depth int) string {
	switch name {
	case "code":
		lang, _, _ := strings.Cut(args, "|")
		if lang == "" || strings.Contains(lang, "=") {
			lang = "java"
		}
		return `<div class="code panel" style="border-width: 1px;">` + wikiHead(args, "code") +
			`<div class="codeContent panelContent">` + "\n" + `<pre class="code-` + html.EscapeString(lang) + `">` +
			html.EscapeString(inner) + "</pre>\n</div></div>\n"
	case "noformat":
		return `<div class="preformatted panel" style="border-width: 1px;"><div class="preformattedContent panelContent">` +
			"\n<pre>" + html.EscapeString(inner) + "</pre>\n</div></div>\n"
	case "quote":
		return "<blockquote>" + strings.TrimSuffix(wikiBlocks(inner, depth+1), "\n") + "</blockquote>\n"
	}
	return `<div class="panel" style="border-width: 1px;">` + wikiHead(args, "panel") + `<div class="panelContent">` + "\n" +
		wikiBlocks(inner, depth+1) + "</div></div>\n"
}

// wikiHead is the title line of a {code} or {panel}.
func wikiHead(args, kind string) string {
	title := wikiTitle.FindStringSubmatch(args)
	if title == nil {
		return ""
	}
	class := "panelHeader"
	if kind == "code" {
		class = "codeHeader panelHeader"
	}
	return `<div class="` + class + `" style="border-bottom-width: 1px;"><b>` + html.EscapeString(title[1]) + "</b></div>"
}

// wikiLines renders text without macros: headings, lists, tables, paragraphs.
func wikiLines(text string, depth int) string {
	var b strings.Builder
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); {
		line := lines[i]
		heading := wikiHeading.FindStringSubmatch(line)
		quote, isQuote := strings.CutPrefix(line, "bq. ")
		n := 1
		switch {
		case strings.TrimSpace(line) == "":
		case heading != nil:
			b.WriteString("<h" + heading[1] + ">" + wikiInline(heading[2], depth) + "</h" + heading[1] + ">\n")
		case isQuote:
			b.WriteString("<blockquote><p>" + wikiInline(quote, depth) + "</p></blockquote>\n")
		case wikiRule.MatchString(line):
			b.WriteString("<hr />\n")
		case wikiItem.MatchString(line):
			n = run(lines[i:], wikiItem.MatchString)
			b.WriteString(wikiList(lines[i:i+n], depth))
		case strings.HasPrefix(line, "|"):
			n = run(lines[i:], func(l string) bool { return strings.HasPrefix(l, "|") })
			b.WriteString(wikiTable(lines[i:i+n], depth))
		default:
			n = run(lines[i:], isPlain)
			b.WriteString(wikiParagraph(lines[i:i+n], depth))
		}
		i += n
	}
	return b.String()
}

// run counts how many lines from the first on are of the same sort.
func run(lines []string, same func(string) bool) int {
	n := 1
	for n < len(lines) && same(lines[n]) {
		n++
	}
	return n
}

func isPlain(line string) bool {
	return strings.TrimSpace(line) != "" && !wikiHeading.MatchString(line) && !wikiRule.MatchString(line) &&
		!wikiItem.MatchString(line) && !strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "bq. ")
}

func wikiParagraph(lines []string, depth int) string {
	var parts []string
	for _, l := range lines {
		parts = append(parts, wikiInline(l, depth))
	}
	return "<p>" + strings.Join(parts, "<br/>\n") + "</p>\n"
}

// wikiList renders items whose marks are of the depth of their level.
func wikiList(lines []string, depth int) string {
	var b strings.Builder
	var open []byte // the marks of the lists that are open
	for _, line := range lines {
		item := wikiItem.FindStringSubmatch(line)
		marks := item[1]
		if len(marks) > wikiDepth {
			marks = marks[:wikiDepth]
		}
		keep := 0
		for keep < len(open) && keep < len(marks) && open[keep] == marks[keep] {
			keep++
		}
		for len(open) > keep {
			b.WriteString("</li>\n" + wikiListEnd(open[len(open)-1]))
			open = open[:len(open)-1]
		}
		if keep == len(marks) {
			b.WriteString("</li>\n<li>")
		}
		for ; keep < len(marks); keep++ {
			if keep > 0 && keep == len(open) && b.Len() > 0 {
				b.WriteString("\n")
			}
			b.WriteString(wikiListStart(marks[keep]) + "<li>")
			open = append(open, marks[keep])
		}
		b.WriteString(wikiInline(item[2], depth))
	}
	for len(open) > 0 {
		b.WriteString("</li>\n" + wikiListEnd(open[len(open)-1]))
		open = open[:len(open)-1]
	}
	return b.String()
}

func wikiListStart(mark byte) string {
	switch mark {
	case '#':
		return "<ol>\n"
	case '-':
		return `<ul class="alternate" type="square">` + "\n"
	}
	return "<ul>\n"
}

func wikiListEnd(mark byte) string {
	if mark == '#' {
		return "</ol>\n"
	}
	return "</ul>\n"
}

// wikiTable renders rows of |cells| and ||heads||.
func wikiTable(rows []string, depth int) string {
	var b strings.Builder
	b.WriteString(`<div class='table-wrap'>` + "\n" + `<table class='confluenceTable'><tbody>` + "\n")
	for _, row := range rows {
		b.WriteString("<tr>\n")
		for row = strings.TrimRight(row, " "); strings.Trim(row, "|") != ""; {
			cell, class := "td", "confluenceTd"
			if strings.HasPrefix(row, "||") {
				cell, class = "th", "confluenceTh"
			}
			row = strings.TrimLeft(row, "|")
			end := cellEnd(row)
			b.WriteString("<" + cell + " class='" + class + "'>" + wikiInline(strings.TrimSpace(row[:end]), depth) + "</" + cell + ">\n")
			row = row[end:]
		}
		b.WriteString("</tr>\n")
	}
	return b.String() + "</tbody></table>\n</div>\n"
}

// cellEnd finds the next bar outside of links and escapes.
func cellEnd(row string) int {
	inLink := false
	for i := 0; i < len(row); i++ {
		switch row[i] {
		case '\\':
			i++
		case '[':
			inLink = strings.Contains(row[i:], "]")
		case ']':
			inLink = false
		case '|':
			if !inLink {
				return i
			}
		}
	}
	return len(row)
}
