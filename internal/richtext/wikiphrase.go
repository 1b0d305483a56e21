package richtext

import (
	"html"
	"strings"
	"unicode/utf8"
)

// An atomKind says what a piece of a wiki line is.
type atomKind uint8

const (
	literal   atomKind = iota // text
	bare                      // a phrase mark: *
	braced                    // a phrase mark anywhere: {*}
	monoAtom                  // {{text}}
	linkAtom                  // [text|target], or an address
	breakAtom                 // \\
)

// An atom is a piece of a wiki line.
type atom struct {
	kind   atomKind
	text   string // literal text, the mark itself, or the inside
	target string // link: its address
	opens  bool   // bare: could begin a phrase
	closes bool   // bare: could end a phrase
	plain  bool   // link: text is literal, not markup
}

// phraseMarks are the marks of a phrase and the style each stands for.
var phraseMarks = map[string]style{
	"*": bold, "_": italic, "??": italic, "+": underline, "-": strike, "^": 0, "~": 0,
}

// escapable are the characters that Jira lets a backslash protect.
const escapable = "-#*_+?^~|%{}[]()!@"

// phrases reads one line.
func (r *wikiReader) phrases(s string) {
	atoms := r.atoms(s)
	last := map[string]int{} // where each mark could end a phrase at the latest
	for i, a := range atoms {
		if a.kind == braced || a.kind == bare && a.closes {
			last[a.text] = i
		}
	}
	open, outside := map[string]bool{}, r.style
	for i, a := range atoms {
		switch {
		case a.kind != bare && a.kind != braced:
			r.atom(a)
		case open[a.text] && (a.closes || a.kind == braced):
			delete(open, a.text)
			r.restyle(outside, open)
		case !open[a.text] && (a.opens || a.kind == braced) && last[a.text] > i:
			open[a.text] = true
			r.restyle(outside, open)
			r.raised = a.text == "^"
		case a.kind == braced:
			r.text("{" + a.text + "}")
		default:
			r.text(a.text)
		}
	}
	r.style = outside
}

func (r *wikiReader) restyle(outside style, open map[string]bool) {
	r.style = outside
	for m := range open {
		r.style |= phraseMarks[m]
	}
}

// atom adds a piece that is no phrase mark.
func (r *wikiReader) atom(a atom) {
	style, link := r.style, r.link
	switch a.kind {
	case literal:
		r.text(a.text)
	case breakAtom:
		r.lineBreak()
	case monoAtom:
		r.style |= mono
		r.phrases(a.text)
	case linkAtom:
		if a.target != "" {
			r.link = a.target
		}
		if a.plain {
			r.text(a.text)
		} else {
			r.phrases(a.text)
		}
	}
	r.style, r.link = style, link
}

// A lineScanner cuts a line into atoms.
type lineScanner struct {
	s        string
	i        int
	out      []atom
	text     strings.Builder // not yet an atom
	prev     rune            // the character before i, as Jira would see it
	monoEnds []int           // where "}}" can end a monospaced phrase, in order
	inLink   bool
	inMono   bool
}

// atoms cuts a line into pieces.
func (r *wikiReader) atoms(s string) []atom {
	sc := &lineScanner{s: s, prev: '\n', inLink: r.link != "", inMono: r.style&mono != 0}
	for i := 1; i+1 < len(s); i++ {
		if s[i] == '}' && s[i+1] == '}' && !isSpace(rune(s[i-1])) && !wordAt(s[i+2:]) {
			sc.monoEnds = append(sc.monoEnds, i)
		}
	}
	for sc.i < len(s) {
		sc.next()
	}
	sc.endText()
	return sc.out
}

func wordAt(s string) bool {
	r, _ := firstRune(s)
	return isWord(r)
}

// next takes one atom.
func (sc *lineScanner) next() {
	s := sc.s[sc.i:]
	switch c := s[0]; {
	case c == '\\':
		sc.backslash(s)
	case c == '&':
		sc.entity(s)
	case c == '{':
		sc.brace(s)
	case c == '[' && !sc.inLink:
		sc.link(s)
	case c == '!' && !isWord(sc.prev) && imageLen(s[1:]) > 0:
		sc.image(s)
	case sc.dash(s):
	case strings.IndexByte("*_+-^~", c) >= 0:
		sc.phrase(s, s[:1])
	case strings.HasPrefix(s, "??"):
		sc.phrase(s, "??")
	case !isWord(sc.prev) && !sc.inLink && !sc.inMono && urlAt(s) != "":
		u := urlAt(s)
		sc.add(atom{kind: linkAtom, text: u, target: cleanURL(u), plain: true}, len(u), lastRune(u))
	default:
		r, n := utf8.DecodeRuneInString(s)
		sc.literal(s[:n], n, r)
	}
}

// add appends an atom made of n bytes and ending in last.
func (sc *lineScanner) add(a atom, n int, last rune) {
	sc.endText()
	sc.out = append(sc.out, a)
	sc.i += n
	sc.prev = last
}

// literal adds text made of n bytes and ending in last.
func (sc *lineScanner) literal(text string, n int, last rune) {
	sc.text.WriteString(text)
	sc.i += n
	sc.prev = last
}

// endText makes one atom of the text so far.
func (sc *lineScanner) endText() {
	if sc.text.Len() > 0 {
		sc.out = append(sc.out, atom{kind: literal, text: sc.text.String()})
		sc.text.Reset()
	}
}

// backslash reads an escape or a forced line end; any other is a backslash.
func (sc *lineScanner) backslash(s string) {
	switch {
	case len(s) > 1 && sc.prev != '\\' && strings.IndexByte(escapable, s[1]) >= 0:
		sc.literal(s[1:2], 2, ';') // Jira makes it &#nn;
	case strings.HasPrefix(s, `\\`) && sc.prev != '\\' && !pathAhead(s[2:]):
		sc.add(atom{kind: breakAtom}, 2, '\n')
	case strings.HasPrefix(s, `\\`):
		sc.literal(s[:2], 2, '\\')
	default:
		sc.literal(s[:1], 1, '\\')
	}
}

// pathAhead tells whether another backslash follows in the same word, as in a
// Windows path, which Jira leaves alone.
func pathAhead(s string) bool {
	i := strings.IndexAny(s, "\\ \t")
	return i >= 0 && s[i] == '\\'
}

// entity reads &name; as the character it stands for.
func (sc *lineScanner) entity(s string) {
	if n := entityLen(s); n > 0 {
		if t := html.UnescapeString(s[:n]); t != s[:n] {
			sc.literal(t, n, ';')
			return
		}
	}
	sc.literal("&", 1, '&')
}

// entityLen returns the length of what looks like an entity at the start of s,
// or 0.
func entityLen(s string) int {
	i := 1
	if i < len(s) && s[i] == '#' {
		i++
	}
	for j := i; j < len(s) && j < 33; j++ {
		switch c := s[j]; {
		case c == ';' && j > i:
			return j + 1
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		default:
			return 0
		}
	}
	return 0
}
