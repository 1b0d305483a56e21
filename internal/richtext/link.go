package richtext

import (
	"net/url"
	"strings"
)

// schemes are those that a link may have.
var schemes = map[string]bool{"http": true, "https": true, "ftp": true, "mailto": true}

// cleanURL returns an absolute address with a harmless scheme, in ASCII and
// without the characters that would end it in HTML or in wiki markup; "" if it
// is not one. A clean address stays as it is.
func cleanURL(s string) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.TrimSpace(s))
	u, err := url.Parse(s)
	if err != nil || !schemes[strings.ToLower(u.Scheme)] {
		return ""
	}
	if u.Scheme == "mailto" && u.Opaque == "" {
		return ""
	}
	if u.Scheme != "mailto" && !isHost(u.Host) {
		return ""
	}
	clean := encodeRest(u.String())
	if again, err := url.Parse(clean); err != nil || again.String() != clean {
		return ""
	}
	return clean
}

// isHost tells a name or number from what wiki markup would end in.
func isHost(s string) bool {
	return strings.Trim(s, ".:-") != "" && strings.IndexFunc(s, func(r rune) bool {
		return !isWord(r) && !strings.ContainsRune(".:-_%", r)
	}) < 0
}

// encodeRest percent-encodes what url.URL lets through and we cannot.
func encodeRest(s string) string {
	const hex = "0123456789ABCDEF"
	var out strings.Builder
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f && !strings.ContainsRune("\"'<>[]{}|\\^`!", rune(c)) {
			out.WriteByte(c)
		} else {
			out.WriteString("%" + string(hex[c>>4]) + string(hex[c&15]))
		}
	}
	return out.String()
}

// linkStarts are what begins an address in plain text, as Jira sees it.
var linkStarts = []string{"http://", "https://", "ftp://", "mailto:"}

// urlAt returns the address that plain text has at its start, or "".
func urlAt(s string) string {
	if s == "" || strings.IndexByte("hfmHFM", s[0]) < 0 {
		return ""
	}
	for _, start := range linkStarts {
		if len(s) > len(start) && strings.EqualFold(s[:len(start)], start) {
			n := len(start)
			for n < min(len(s), maxURL) && isURLByte(s[n]) {
				n++
			}
			u := strings.TrimRight(s[:n], linkEnds)
			if n < maxURL && len(u) > len(start) && cleanURL(u) != "" {
				return u
			}
		}
	}
	return ""
}

// maxURL bounds an address in plain text.
const maxURL = 2048

// linkEnds are characters that an address in plain text does not end with.
const linkEnds = ".,;:?)*_~"

func isURLByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		strings.IndexByte("-_.~;/?:@#&=%+$,()*", c) >= 0
}

// autolink makes links of the addresses that stand in plain text, as Jira does.
func autolink(spans []span) []span {
	var out []span
	for i, s := range spans {
		prev := ' ' // a link or a mark
		if i > 0 && spans[i-1].link == "" && spans[i-1].style == s.style {
			prev = lastRune(spans[i-1].text)
		}
		if s.link != "" || s.style&mono != 0 || s.text == "\n" || !strings.Contains(s.text, ":") { // each address has one
			out = append(out, s)
		} else {
			out = linkText(out, s, prev)
		}
	}
	return out
}

// linkText splits one run at its addresses; prev is the character before it.
func linkText(out []span, s span, prev rune) []span {
	from := 0
	for i := 0; i < len(s.text); {
		u := ""
		if !isWord(prev) {
			u = urlAt(s.text[i:])
		}
		if u == "" {
			r, n := firstRune(s.text[i:])
			prev, i = r, i+n
			continue
		}
		if i > from {
			out = append(out, span{s.text[from:i], s.style, ""})
		}
		out = append(out, span{u, s.style, cleanURL(u)})
		i += len(u)
		from, prev = i, lastRune(u)
	}
	if from < len(s.text) {
		out = append(out, span{s.text[from:], s.style, ""})
	}
	return out
}
