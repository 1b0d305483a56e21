// Package foreign is what every adapter needs before it trusts what a tool
// sends: is this JSON safe to parse, and when may we come back. Pure functions.
package foreign

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxDepth is how deep the JSON of a tool may nest. Parsers recurse: a megabyte
// of "[" would end the process.
const MaxDepth = 100

// Shallow tells whether a JSON text nests no deeper than MaxDepth. It does not
// tell whether the text is JSON.
func Shallow(b []byte) bool {
	if bytes.Count(b, []byte("{"))+bytes.Count(b, []byte("[")) <= MaxDepth {
		return true
	}
	depth, quoted, escaped := 0, false, false
	for _, c := range b {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return true
}

// MaxValues is how many values the JSON of a tool may hold, about: each takes
// some hundred bytes once it is parsed, were it written in two.
const MaxValues = 2 << 20

// Few tells whether a JSON text holds no more than MaxValues. Commas within
// texts count too: no ticket has that many.
func Few(b []byte) bool { return bytes.Count(b, []byte(",")) <= MaxValues }

// longest bounds what a tool may ask us to wait.
const longest = 24 * time.Hour

// RetryAfter reads the header of that name, in seconds or as a date: how long
// not to ask again, 0 if it says nothing that can be read, a day at most.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	var wait time.Duration
	if n, err := strconv.ParseFloat(text, 64); err == nil && n > 0 {
		wait = time.Duration(min(n, longest.Seconds()) * float64(time.Second))
	} else if t, err := http.ParseTime(text); err == nil {
		wait = t.Sub(now)
	}
	return min(max(wait, 0), longest)
}
