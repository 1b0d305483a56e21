package itop

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/tidwall/gjson"
)

// What a message may hold: far more than any tool says, and little enough that
// no message can make us hold much more than its own size.
const (
	maxMembers = 1000 // of one object
	maxFiles   = 100  // attachments
	maxDigits  = 100  // characters of a number
	maxKey     = 255  // bytes of a key, a number or a stimulus
)

// sound reads a valid JSON text, which nests as deep as the splicer allows, and
// says why it is none that we can hold; twice tells whether an object has two
// members of one name.
func sound(b []byte) (twice bool, err error) {
	var open []level
	for i := 0; i < len(b); {
		switch c := b[i]; c {
		case '{', '[':
			open = append(open, level{object: c == '{', key: c == '{'})
		case '}', ']':
			open = open[:len(open)-1]
		case ',':
			at := &open[len(open)-1]
			at.key = at.object
		case '"':
			end := i + 1 + textLen(b[i+1:])
			if at := len(open) - 1; at >= 0 && open[at].key {
				if twice = !open[at].fresh(plainText(b[i+1:end])) || twice; len(open[at].names) > maxMembers {
					return twice, fmt.Errorf("an object has more than %d members", maxMembers)
				}
			}
			i = end
		case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			n := until(b[i:], &scalarStop)
			if _, err := strconv.ParseFloat(string(b[i:i+min(n, maxDigits+1)]), 64); err != nil || n > maxDigits {
				return twice, fmt.Errorf("%.20s… is a number that no tool can hold", b[i:i+n])
			}
			i += n - 1
		}
		i++
	}
	return twice, nil
}

// level is an object or an array that is being read.
type level struct {
	object, key bool // key: a name comes next
	names       map[string]bool
}

// fresh notes a name, and tells whether it is the first of its kind.
func (l *level) fresh(name string) bool {
	if l.names == nil {
		l.names = map[string]bool{}
	}
	l.key = false
	known := l.names[name]
	l.names[name] = true
	return !known
}

// textLen is the length of a string up to its closing quote.
func textLen(b []byte) int {
	for i := 0; ; i++ {
		switch b[i] {
		case '"':
			return i
		case '\\':
			i++
		}
	}
}

// last keeps, of members of one name, the last: it is what iTop would have
// taken (PHP's json_decode), and so nothing is judged that is not carried.
func last(b []byte) []byte {
	var out bytes.Buffer
	writeLast(&out, gjson.ParseBytes(b))
	return out.Bytes()
}

func writeLast(out *bytes.Buffer, v gjson.Result) {
	if !v.IsObject() && !v.IsArray() {
		out.WriteString(v.Raw)
		return
	}
	final, n := map[string]int{}, 0 // the last place of each name
	if v.IsObject() {
		v.ForEach(func(k, _ gjson.Result) bool { n++; final[k.Str] = n; return true })
	}
	ends, at := "[]", 0
	if v.IsObject() {
		ends = "{}"
	}
	comma := ends[:1]
	v.ForEach(func(k, x gjson.Result) bool {
		if at++; v.IsObject() && final[k.Str] != at {
			return true
		}
		out.WriteString(comma)
		if comma = ","; v.IsObject() {
			out.WriteString(k.Raw + ":")
		}
		writeLast(out, x)
		return true
	})
	if at == 0 {
		out.WriteString(comma)
	}
	out.WriteString(ends[1:])
}
