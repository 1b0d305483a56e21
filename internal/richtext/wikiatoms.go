package richtext

import (
	"sort"
	"strings"
)

// brace reads what can begin with a brace: {{text}}, {*}, {color:red}.
func (sc *lineScanner) brace(s string) {
	if n := sc.monoLen(s); n > 0 {
		sc.add(atom{kind: monoAtom, text: s[2 : n-2]}, n, '}')
		return
	}
	for m := range phraseMarks {
		if strings.HasPrefix(s[1:], m+"}") {
			sc.add(atom{kind: braced, text: m}, len(m)+2, '}')
			return
		}
	}
	if _, _, n := openMacro(s, []string{"color", "anchor"}); n > 0 {
		sc.i += n
		sc.prev = '}'
		return
	}
	sc.literal("{", 1, '{')
}

// monoLen returns the length of {{text}} at the start of s, or 0.
func (sc *lineScanner) monoLen(s string) int {
	if !strings.HasPrefix(s, "{{") || len(s) < 5 || isWord(sc.prev) || sc.inMono {
		return 0
	}
	if isSpace(rune(s[2])) || s[2] == '{' || s[2] == '}' {
		return 0
	}
	k := sort.SearchInts(sc.monoEnds, sc.i+3)
	if k == len(sc.monoEnds) {
		return 0
	}
	return sc.monoEnds[k] + 2 - sc.i
}

// link reads [text|target]. What does not lead anywhere is text in brackets.
func (sc *lineScanner) link(s string) {
	n := linkLen(s[1:])
	if n == 0 {
		sc.literal("[", 1, '[')
		return
	}
	text, target, isURL := cutLink(s[1:n])
	a := atom{kind: linkAtom, text: text, target: target}
	if !isURL {
		a.target = ""
	}
	if text == "" {
		a.text, a.plain = strings.TrimLeft(target, "#^"), true
		if name, ok := strings.CutPrefix(target, "~"); ok {
			a.text = "@" + name
		}
		if isURL {
			a.text = strings.Trim(s[1:n], " \t")
		}
	}
	sc.add(a, 1+n, ']')
}

// cutLink splits a link's inside at its bar. Of a target that is no address
// only an anchor, an attachment and a user are known; others give "".
func cutLink(s string) (text, target string, isURL bool) {
	target = s
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		} else if s[i] == '|' {
			text, target = strings.Trim(s[:i], " \t"), s[i+1:]
			break
		}
	}
	target, _, _ = strings.Cut(target, "|") // a tip may follow
	target = strings.TrimSpace(target)
	if u := cleanURL(target); u != "" {
		return text, u, true
	}
	if len(target) > 1 && strings.IndexByte("#^~", target[0]) >= 0 && !strings.Contains(target, " ") {
		return text, target, false
	}
	return "", "", false
}

// image reads !name|size! as a visible reference.
func (sc *lineScanner) image(s string) {
	n := imageLen(s[1:])
	name, _, _ := strings.Cut(s[1:n], "|")
	if u := cleanURL(name); u != "" && fileName(u) != "" {
		name = fileName(u)
	}
	sc.literal("[image: "+name+"]", 1+n, ']')
}

// dash reads " -- " and " --- " as the dashes that Jira shows for them.
func (sc *lineScanner) dash(s string) bool {
	n := len(s) - len(strings.TrimLeft(s, "-"))
	if n != 2 && n != 3 || !isSpace(sc.prev) || n < len(s) && !isSpace(rune(s[n])) {
		return false
	}
	d := map[int]string{2: "–", 3: "—"}[n]
	sc.literal(d, n, lastRune(d))
	return true
}

// phrase reads a mark, noting whether it could begin or end a phrase here.
func (sc *lineScanner) phrase(s, m string) {
	next, _ := firstRune(s[len(m):])
	d := rune(m[0])
	sc.add(atom{
		kind:   bare,
		text:   m,
		opens:  !isWord(sc.prev) && sc.prev != '\\' && !isSpace(next) && next != d,
		closes: !isSpace(sc.prev) && sc.prev != d && !isWord(next),
	}, len(m), d)
}
