package itopsim

import (
	"regexp"
	"strings"
)

// htmlToText renders HTML as the library soundasleep/html2text does for iTop.
func htmlToText(src string) string {
	if strings.Contains(src, "MsoNormal") {
		src = strings.NewReplacer("<o:p>", "", "</o:p>", "").Replace(src)
	}
	src = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(src)
	t := textRenderer{office: strings.Contains(src, "urn:schemas-microsoft-com:office")}
	return tidyText(t.children(&element{tag: "body", kids: bodyOf(parseHTML(src))}, false))
}

var (
	aroundTabs  = regexp.MustCompile(` *\t *`)
	lineStarts  = regexp.MustCompile(`\n[ \t]*`)
	lineEnds    = regexp.MustCompile(`[ \t]*\n`)
	manyLines   = regexp.MustCompile(`\n\n\n*`)
	htmlBlanks  = regexp.MustCompile("[\t\n\f\r \u00a0]+")
	quoteStarts = regexp.MustCompile(`\n> >`)
)

const phpBlanks = " \t\n\r\x00\x0b"

func tidyText(s string) string {
	s = aroundTabs.ReplaceAllString(s, "\t")
	s = strings.TrimLeft(s, phpBlanks)
	s = lineStarts.ReplaceAllString(s, "\n")
	s = strings.ReplaceAll(s, "\u00a0", " ")
	s = strings.TrimRight(s, phpBlanks)
	s = lineEnds.ReplaceAllString(s, "\n")
	s = strings.ReplaceAll(s, "\r", "\n")
	return manyLines.ReplaceAllString(s, "\n\n")
}

type textRenderer struct{ office bool }

// node renders one node; prev is the name of the visible sibling before it.
func (t textRenderer) node(e *element, prev, next string, pre bool) string {
	if e.tag == "" {
		return plainText(e.text, prev, pre)
	}
	switch e.tag {
	case "hr":
		rule := strings.Repeat("-", 63) + "\n"
		if prev != "" {
			return "\n" + rule
		}
		return rule
	case "style", "head", "title", "meta", "script":
		return ""
	}
	before, after := "", ""
	switch e.tag {
	case "h1", "h2", "h3", "h4", "h5", "h6", "pre", "p":
		before, after = "\n\n", "\n\n"
	case "ol", "ul":
		before = "\n\n"
	case "td", "th":
		before = "\t"
	case "tr", "div":
		before = "\n"
	case "li":
		before, after = "- ", "\n"
	case "br":
		after = "\n"
	}
	out := before + t.children(e, pre || e.tag == "pre") + after
	switch e.tag {
	case "a":
		return linkText(e, out, next)
	case "img":
		return imageText(e)
	case "blockquote":
		return quoteText(out)
	}
	return out
}

func (t textRenderer) children(e *element, pre bool) string {
	var parts []string
	prev, trailing := "", 0
	for i, kid := range e.kids {
		next := ""
		if i+1 < len(e.kids) {
			next = e.kids[i+1].tag
		}
		text := t.node(kid, prev, next, pre)
		if kid.tag == "" && strings.TrimSpace(text) == "" {
			trailing++
		} else {
			prev, trailing = kid.tag, 0
			if prev == "" {
				prev = "#text"
			}
		}
		parts = append(parts, text)
	}
	return strings.Join(parts[:len(parts)-trailing], "")
}

func plainText(text, prev string, pre bool) string {
	if pre {
		s := lineEnds.ReplaceAllString("\n"+strings.Trim(text, "\n\r\t ")+"\n", "\n")
		return strings.ReplaceAll(s, "\n", "\r")
	}
	s := htmlBlanks.ReplaceAllString(text, " ")
	if strings.Trim(s, phpBlanks) != "" && (prev == "p" || prev == "div") {
		return "\n" + s
	}
	return s
}

func linkText(e *element, out, next string) string {
	out, href := strings.Trim(out, phpBlanks), e.attr("href")
	if len(out) > 1 && out[0] == '[' && out[len(out)-1] == ']' {
		out = out[1 : len(out)-1]
		if title := e.attr("title"); title != "" {
			out = title
		}
	}
	if out == "" {
		out = e.attr("title")
	}
	switch {
	case href == "":
		if e.attr("name") != "" {
			out = "[" + out + "]"
		}
	case href == out, href == "mailto:"+out, href == "http://"+out, href == "https://"+out:
	case out == "":
		out = href
	default:
		out = "[" + out + "](" + href + ")"
	}
	if len(next) == 2 && next[0] == 'h' && next != "hr" {
		out += "\n"
	}
	return out
}

func imageText(e *element) string {
	for _, name := range []string{"title", "alt"} {
		if v := e.attr(name); v != "" {
			return "[" + v + "]"
		}
	}
	return ""
}

func quoteText(out string) string {
	out = "\n" + tidyText(out)
	out = strings.ReplaceAll(out, "\n", "\n> ")
	out = quoteStarts.ReplaceAllString(out, "\n>>")
	return "\n" + out + "\n\n"
}
