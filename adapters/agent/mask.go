package agent

import (
	"encoding/base64"
	"html"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxQuote bounds what an error repeats of foreign words, in bytes.
const maxQuote = 500

// withheld stands for words that hold our credentials in disguise.
const withheld = "(not repeated here: it holds our credentials)"

// mask hides our credentials in what others say: an agent in debug mode, or a
// proxy, may echo what it got.
type mask struct {
	plain *strings.Replacer
	bare  []string // of the credentials, as bare makes them
}

func newMask(user, password string) *mask {
	m := &mask{}
	var pairs []string
	for _, s := range []string{password, user, base64.StdEncoding.EncodeToString([]byte(user + ":" + password)), base64.StdEncoding.EncodeToString([]byte(password))} {
		if s != "" {
			pairs = append(pairs, s, "***")
		}
		if b := bare(s); b != "" {
			m.bare = append(m.bare, b)
		}
	}
	m.plain = strings.NewReplacer(pairs...)
	return m
}

// quote is the beginning of foreign words, fit for an error.
func (m *mask) quote(s string) string {
	s = m.plain.Replace(s) // before it is cut: half a secret would not be found
	if m.holds(s) {
		return withheld
	}
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) > maxQuote {
		s = strings.ToValidUTF8(s[:maxQuote], "") + "…"
	}
	return s
}

// holds tells whether a text has one of the credentials, however escaped.
func (m *mask) holds(s string) bool {
	s = bare(s)
	for _, b := range m.bare {
		if strings.Contains(s, b) {
			return true
		}
	}
	return false
}

// escapes are those of URLs and forms, and of JSON and of Go.
var escapes = regexp.MustCompile(`%[0-9A-Fa-f]{2}|\\+u[0-9A-Fa-f]{4}|\\+U[0-9A-Fa-f]{8}|\\+x[0-9A-Fa-f]{2}`)

// bare undoes a text's escapes, also those of escapes, and keeps only the
// letters and digits of ASCII, which all of them leave alone.
func bare(s string) string {
	for range 5 {
		next := escapes.ReplaceAllStringFunc(html.UnescapeString(s), unescape)
		if next == s {
			break
		}
		s = next
	}
	return strings.Map(letter, s)
}

func unescape(s string) string {
	n, _ := strconv.ParseUint(strings.TrimLeft(s, `%\uUx`), 16, 32) // the pattern is of hexadecimal digits
	if n >= utf8.RuneSelf {
		return ""
	}
	return string(rune(n))
}

func letter(r rune) rune {
	if '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
		return r
	}
	return -1
}
