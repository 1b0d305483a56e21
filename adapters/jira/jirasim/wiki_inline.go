package jirasim

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// wikiMarks are the signs around a phrase, and what they become.
var wikiMarks = []struct{ sign, tag string }{
	{"??", "cite"}, {"*", "b"}, {"_", "em"}, {"-", "del"}, {"+", "ins"}, {"^", "sup"}, {"~", "sub"},
}

var (
	wikiURL   = regexp.MustCompile(`^(?:https?|ftp)://[^\s<>"'|\]\\{}]*[^\s<>"'|\]\\{}.,;:!?()]`)
	wikiColor = regexp.MustCompile(`^\{color:(#?[A-Za-z0-9]+)\}`)
	wikiImage = regexp.MustCompile(`^!([^\s!|](?:[^!|\n]*\.[A-Za-z0-9]{2,5}))(?:\|[^!\n]*)?!`)
)

// wikiInline renders one line.
func wikiInline(text string, depth int) string {
	var b strings.Builder
	before := ' '
	for text != "" {
		out, used := wikiPiece(text, before, depth)
		b.WriteString(out)
		before, _ = utf8.DecodeLastRuneInString(text[:used])
		text = text[used:]
	}
	return b.String()
}

// wikiPiece renders what text begins with, and says how much that was. before
// is the character in front of it.
func wikiPiece(text string, before rune, depth int) (string, int) {
	if depth <= wikiDepth {
		for _, try := range []func(string, rune, int) (string, int){wikiEscape, wikiBrace, wikiLink, wikiPicture, wikiBare, wikiDash, wikiPhrase} {
			if out, used := try(text, before, depth); used > 0 {
				return out, used
			}
		}
	}
	_, size := utf8.DecodeRuneInString(text)
	return html.EscapeString(text[:size]), size
}

// wikiEscape: two backslashes break the line; one takes the next sign as it is.
func wikiEscape(text string, _ rune, _ int) (string, int) {
	if strings.HasPrefix(text, `\\`) {
		return "<br/>", 2
	}
	if len(text) > 1 && text[0] == '\\' && strings.IndexByte(`{}[]|*_-+^~?!#\`, text[1]) >= 0 {
		return html.EscapeString(text[1:2]), 2
	}
	return "", 0
}

// wikiBrace: {{mono}} and {color:red}text{color}.
func wikiBrace(text string, _ rune, depth int) (string, int) {
	if rest, is := strings.CutPrefix(text, "{{"); is {
		if inner, _, closed := strings.Cut(rest, "}}"); closed && inner != "" {
			return "<tt>" + html.EscapeString(inner) + "</tt>", len(inner) + 4
		}
	}
	if c := wikiColor.FindStringSubmatch(text); c != nil {
		if inner, _, closed := strings.Cut(text[len(c[0]):], "{color}"); closed {
			return `<font color="` + c[1] + `">` + wikiInline(inner, depth+1) + "</font>", len(c[0]) + len(inner) + len("{color}")
		}
	}
	return "", 0
}

// wikiLink: [url], [text|url], [~user], [^file], [#anchor].
func wikiLink(text string, _ rune, depth int) (string, int) {
	rest, is := strings.CutPrefix(text, "[")
	inner, _, closed := strings.Cut(rest, "]")
	if !is || !closed || inner == "" {
		return "", 0
	}
	used := len(inner) + 2
	if name, is := strings.CutPrefix(inner, "~"); is {
		return `<a class="user-hover" rel="` + html.EscapeString(name) + `">` + html.EscapeString(name) + "</a>", used
	}
	if name, is := strings.CutPrefix(inner, "^"); is {
		return `<a href="` + url.PathEscape(name) + `">` + html.EscapeString(name) + "</a>", used
	}
	shown, target := inner, inner
	if i := strings.LastIndex(inner, "|"); i >= 0 {
		shown, target = inner[:i], inner[i+1:]
	}
	if !followable(target) {
		return "", 0
	}
	label := html.EscapeString(shown)
	if shown != target {
		label = wikiInline(shown, depth+1)
	}
	return wikiAnchor(target, label), used
}

// followable keeps scripts and the like out of links.
func followable(target string) bool {
	u, err := url.Parse(strings.TrimSpace(target))
	if err != nil {
		return false
	}
	switch strings.ToLower(u.Scheme) {
	case "http", "https", "ftp", "mailto":
		return true
	case "":
		return strings.HasPrefix(target, "#") || strings.HasPrefix(target, "/")
	}
	return false
}

func wikiAnchor(target, label string) string {
	return `<a href="` + html.EscapeString(strings.TrimSpace(target)) + `" class="external-link" target="_blank" rel="nofollow noopener">` + label + "</a>"
}

// wikiPicture: !image.png!, !my image.png! or !image.png|thumbnail!.
func wikiPicture(text string, before rune, _ int) (string, int) {
	p := wikiImage.FindStringSubmatch(text)
	if p == nil || isWord(before) {
		return "", 0
	}
	return `<span class="image-wrap" style=""><img src="` + html.EscapeString(url.PathEscape(p[1])) + `" style="border: 0px solid black" /></span>`, len(p[0])
}

// wikiBare: an address that stands alone.
func wikiBare(text string, before rune, _ int) (string, int) {
	found := wikiURL.FindString(text)
	if found == "" || isWord(before) {
		return "", 0
	}
	return wikiAnchor(found, html.EscapeString(found)), len(found)
}

// wikiDash: two or three hyphens between spaces.
func wikiDash(text string, before rune, _ int) (string, int) {
	for _, d := range []struct{ sign, entity string }{{"--- ", "&#8212; "}, {"-- ", "&#8211; "}} {
		if before == ' ' && strings.HasPrefix(text, d.sign) {
			return d.entity, len(d.sign)
		}
	}
	return "", 0
}

// wikiPhrase: *bold* and its kin. A sign opens after a non-word and before a
// non-space, and closes the other way round.
func wikiPhrase(text string, before rune, depth int) (string, int) {
	for _, mark := range wikiMarks {
		rest, is := strings.CutPrefix(text, mark.sign)
		if !is || isWord(before) || strings.HasPrefix(rest, mark.sign[:1]) {
			continue
		}
		if end := phraseEnd(rest, mark.sign); end > 0 {
			return "<" + mark.tag + ">" + wikiInline(rest[:end], depth+1) + "</" + mark.tag + ">", end + 2*len(mark.sign)
		}
	}
	return "", 0
}

// phraseLimit bounds a phrase, so that a line of unclosed signs stays cheap.
const phraseLimit = 2000

func phraseEnd(text, sign string) int {
	if first, _ := utf8.DecodeRuneInString(text); unicode.IsSpace(first) {
		return 0
	}
	for i := 1; i < min(len(text), phraseLimit); i++ {
		if !strings.HasPrefix(text[i:], sign) || text[i-1] == '\\' {
			continue
		}
		last, _ := utf8.DecodeLastRuneInString(text[:i])
		next, _ := utf8.DecodeRuneInString(text[i+len(sign):])
		if !unicode.IsSpace(last) && !isWord(next) && !strings.HasPrefix(text[i+len(sign):], sign) {
			return i
		}
	}
	return 0
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
