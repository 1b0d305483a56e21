package agent

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode"

	"passerelle"
	"passerelle/internal/foreign"
)

const (
	maxAnswer = 1 << 20 // what is read of an answer, in bytes
)

// answer is what an agent said: the members of a JSON object, or nothing that
// is understood.
type answer map[string]json.RawMessage

// parse reads an answer that is a JSON object.
func parse(text []byte) (answer, bool) {
	var said answer
	if len(text) > maxAnswer || !foreign.Shallow(text) || json.Unmarshal(unmarked(text), &said) != nil || said == nil {
		return answer{}, false
	}
	return said, true
}

// judge reads the answer to a message that was taken (2xx). An agent may say
// nothing, or something that is no JSON; but a code other than 0 is a refusal,
// and so a JSON that cannot be read may be one.
func (a *Agent) judge(text []byte) (answer, error) {
	said, ok := parse(text)
	if !ok {
		if object(text) && (len(text) > maxAnswer || !foreign.Shallow(text)) {
			return nil, fail(passerelle.Unsure, "", "the answer is over %d bytes or nests deeper than %d", maxAnswer, foreign.MaxDepth)
		}
		return said, nil
	}
	for _, o := range append([]answer{said}, said.objects()...) {
		if code := o.code(); code != "" {
			return nil, fail(passerelle.Stuck, "the agent refused the message: correct it there and retry, or drop the entry", "code %s: %s", a.mask.quote(code), a.mask.quote(o.message()))
		}
	}
	return said, nil
}

// object tells whether a text begins as a JSON object.
func object(text []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(unmarked(text)), []byte("{")) }

// unmarked is a text without the byte order mark that PHP may put before it.
func unmarked(text []byte) []byte { return bytes.TrimPrefix(text, []byte("\ufeff")) }

// code is the answer's code, "" for none and for 0.
func (o answer) code() string {
	raw := strings.Trim(string(o["code"]), `"`)
	if n, err := strconv.ParseFloat(raw, 64); raw == "null" || err == nil && n == 0 {
		return ""
	}
	return raw
}

// message is what the answer says to people.
func (o answer) message() string {
	for _, name := range []string{"message", "error"} {
		var s string
		if json.Unmarshal(o[name], &s) == nil && s != "" {
			return s
		}
	}
	return ""
}

// objects are the objects of an iTop-like answer.
func (o answer) objects() []answer {
	var list map[string]answer
	if json.Unmarshal(o["objects"], &list) != nil {
		return nil
	}
	var out []answer
	for _, x := range list {
		out = append(out, x)
	}
	return out
}

// refOf is the reference that an answer to a create gives; empty if there is
// none that can be the partner's.
func (a *Agent) refOf(said answer, m *passerelle.Message) passerelle.Ref {
	ref := said.ref()
	if list := said.objects(); len(list) == 1 {
		ref = list[0].objectRef()
	}
	if a.secret(ref.Key) || a.secret(ref.Number) || echoes(ref, m) {
		return passerelle.Ref{}
	}
	return ref
}

// ref reads {"id": …, "key" or "ref": …}, as a Jira or a simple agent answers.
// A key is the tool's own only if it is a number and no id is given.
func (o answer) ref() passerelle.Ref {
	id, key := o.word("id"), o.word("key")
	if id == "" && isNumber(key) {
		id, key = key, ""
	}
	if ref := o.word("ref"); ref != "" {
		key = ref
	}
	return passerelle.Ref{Key: id, Number: key}
}

// objectRef reads an object of an iTop-like answer.
func (o answer) objectRef() passerelle.Ref {
	var fields answer
	_ = json.Unmarshal(o["fields"], &fields) // none: nothing is said
	ref := passerelle.Ref{Key: o.word("key"), Number: fields.word("ref")}
	if ref.Key == "" {
		ref.Key = fields.word("id")
	}
	return ref
}

// echoes tells whether an agent answers with the broker's own number, which the
// create's output_fields gave it (R6), and not with its own.
func echoes(ref passerelle.Ref, m *passerelle.Message) bool {
	var sent, own answer
	_ = json.Unmarshal(m.Body, &sent)
	_ = json.Unmarshal(sent["output_fields"], &own) // a text in other contracts
	return ref.Number != "" && ref.Number == own.word("ref")
}

func (a *Agent) secret(s string) bool {
	password := a.cfg.Password.Reveal()
	return password != "" && strings.Contains(s, password)
}

// maxWord bounds a key or a number, in bytes.
const maxWord = 100

// word is a member that is a short text or a whole number.
func (o answer) word(name string) string {
	word := string(o[name])
	if !isNumber(word) {
		var text string
		_ = json.Unmarshal(o[name], &text) // no text: none
		word = strings.TrimSpace(text)
	}
	if len(word) > maxWord || strings.IndexFunc(word, unprintable) >= 0 {
		return ""
	}
	return word
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func unprintable(r rune) bool { return !unicode.IsPrint(r) }
