package itopsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"unicode/utf8"
)

// pair and object keep the order of a JSON object's members, as PHP does.
type pair struct {
	key   string
	value any
}
type object []pair

// list is a JSON array.
type list []any

// get returns the member named key, or nil.
func (o object) get(key string) any {
	for _, p := range o {
		if p.key == key {
			return p.value
		}
	}
	return nil
}

// encodePHP writes v as PHP's json_encode does by default: "\/" for a slash
// and \u escapes for everything beyond ASCII.
func encodePHP(v any) []byte {
	var b bytes.Buffer
	writePHP(&b, v)
	return b.Bytes()
}

func writePHP(b *bytes.Buffer, v any) {
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case int:
		b.WriteString(strconv.Itoa(v))
	case json.Number:
		b.WriteString(v.String())
	case string:
		writePHPString(b, v)
	case object:
		writePHPObject(b, v)
	case list:
		writePHPList(b, v)
	default:
		panic(fmt.Sprintf("itopsim: encodePHP: %T", v))
	}
}

func writePHPObject(b *bytes.Buffer, o object) {
	b.WriteByte('{')
	for i, p := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		writePHPString(b, p.key)
		b.WriteByte(':')
		writePHP(b, p.value)
	}
	b.WriteByte('}')
}

func writePHPList(b *bytes.Buffer, l list) {
	b.WriteByte('[')
	for i, v := range l {
		if i > 0 {
			b.WriteByte(',')
		}
		writePHP(b, v)
	}
	b.WriteByte(']')
}

func writePHPString(b *bytes.Buffer, s string) {
	b.WriteByte('"')
	for s != "" {
		if n := span(s, plainByte); n > 0 {
			b.WriteString(s[:n])
			s = s[n:]
			continue
		}
		r, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		switch {
		case r == '"' || r == '\\' || r == '/':
			b.WriteByte('\\')
			b.WriteByte(byte(r))
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r >= 0x10000:
			r -= 0x10000
			fmt.Fprintf(b, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		case r < 0x20 || r >= utf8.RuneSelf:
			fmt.Fprintf(b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
}

// plainByte tells whether PHP writes a byte as it is.
func plainByte(c byte) bool {
	return c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\' && c != '/'
}

// decodeJSON reads one JSON value, keeping the order of members and the
// spelling of numbers.
func decodeJSON(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := decodeValue(dec, 0)
	if err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, fmt.Errorf("more than one JSON value")
	}
	return v, nil
}

// maxDepth is PHP's own limit on nesting.
const maxDepth = 512

func decodeValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		return decodeObject(dec, depth)
	case json.Delim('['):
		return decodeList(dec, depth)
	}
	return tok, nil
}

func decodeObject(dec *json.Decoder, depth int) (any, error) {
	o := object{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		v, err := decodeValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		o = append(o, pair{key.(string), v})
	}
	_, err := dec.Token()
	return o, err
}

func decodeList(dec *json.Decoder, depth int) (any, error) {
	l := list{}
	for dec.More() {
		v, err := decodeValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
	_, err := dec.Token()
	return l, err
}

// ordered turns what encoding/json decodes into object and list, members
// sorted by name.
func ordered(v any) any {
	switch v := v.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		sort.Strings(names)
		o := object{}
		for _, name := range names {
			o = append(o, pair{name, ordered(v[name])})
		}
		return o
	case []any:
		l := list{}
		for _, e := range v {
			l = append(l, ordered(e))
		}
		return l
	case float64:
		return json.Number(strconv.FormatFloat(v, 'f', -1, 64))
	}
	return v
}
