package itopsim

import (
	"fmt"
	"strings"
)

// oqlError is a query that iTop refuses, with the PHP class of the refusal.
type oqlError struct{ class, message string }

func (e *oqlError) Error() string { return e.message }

// token is one word of an OQL query; at is where it starts, in bytes.
type token struct {
	name string // as iTop's parser calls it
	text string
	at   int
}

var keywords = map[string]string{
	"SELECT": "SELECT", "FROM": "FROM", "AS": "AS_ALIAS", "JOIN": "JOIN", "ON": "ON", "WHERE": "WHERE", "AND": "LOG_AND", "OR": "LOG_OR",
	"LIKE": "LIKE", "NOT": "NOT", "IN": "IN", "INTERVAL": "INTERVAL",
	"SECOND": "F_SECOND", "MINUTE": "F_MINUTE", "HOUR": "F_HOUR", "DAY": "F_DAY", "MONTH": "F_MONTH", "YEAR": "F_YEAR",
	"NOW": "F_NOW", "DATE_ADD": "F_DATE_ADD", "DATE_SUB": "F_DATE_SUB", "DATE_FORMAT": "F_DATE_FORMAT",
	"CURRENT_DATE": "F_CURRENT_DATE", "DATE": "F_DATE", "ISNULL": "F_ISNULL", "CONCAT": "F_CONCAT",
}

var punctuation = []struct{ text, name string }{
	{"!=", "NOT_EQ"}, {"<>", "NOT_EQ"}, {"<=", "LE"}, {">=", "GE"}, {"=", "EQ"}, {"<", "LT"}, {">", "GT"},
	{"(", "PAR_OPEN"}, {")", "PAR_CLOSE"}, {",", "COMA"}, {".", "DOT"}, {":", "COLON"}, {"-", "MATH_MINUS"},
}

// lexOQL cuts a query in tokens; the last one is EOF.
func lexOQL(query string) ([]token, error) {
	var out []token
	for i := 0; i < len(query); {
		if strings.IndexByte(" \t\r\n", query[i]) >= 0 {
			i++
			continue
		}
		t, n, err := nextToken(query, i)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
		i += n
	}
	return append(out, token{"EOF", "", len(query)}), nil
}

func nextToken(query string, i int) (token, int, error) {
	switch c := query[i]; {
	case c == '\'' || c == '"':
		return quoted(query, i)
	case c >= '0' && c <= '9':
		n := span(query[i:], func(c byte) bool { return c >= '0' && c <= '9' || c == '.' })
		return token{"NUMVAL", query[i : i+n], i}, n, nil
	case wordByte(c):
		n := span(query[i:], wordByte)
		word := query[i : i+n]
		if name := keywords[strings.ToUpper(word)]; name != "" {
			return token{name, word, i}, n, nil
		}
		return token{"NAME", word, i}, n, nil
	case c == '`':
		if n := strings.IndexByte(query[i+1:], '`'); n >= 0 {
			return token{"NAME", query[i+1 : i+1+n], i}, n + 2, nil
		}
	}
	for _, p := range punctuation {
		if strings.HasPrefix(query[i:], p.text) {
			return token{p.name, p.text, i}, len(p.text), nil
		}
	}
	return token{}, 0, &oqlError{"OQLLexException", fmt.Sprintf("Unexpected character - found '%c' at %d in '%s'", query[i], i, query)}
}

func quoted(query string, i int) (token, int, error) {
	var b strings.Builder
	for j := i + 1; j < len(query); j++ {
		switch c := query[j]; {
		case c == '\\' && j+1 < len(query):
			j++
			b.WriteByte(query[j])
		case c == query[i]:
			return token{"STRVAL", b.String(), i}, j + 1 - i, nil
		default:
			b.WriteByte(c)
		}
	}
	return token{}, 0, &oqlError{"OQLLexException", fmt.Sprintf("Unexpected end of string - found '%s' at %d in '%s'", query[i:], i, query)}
}

func wordByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80
}

func span(s string, ok func(byte) bool) int {
	for i := 0; i < len(s); i++ {
		if !ok(s[i]) {
			return i
		}
	}
	return len(s)
}
