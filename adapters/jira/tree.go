package jira

import (
	"errors"
	"fmt"

	"github.com/tidwall/gjson"
)

// maxDepth bounds how deep foreign JSON may nest. gjson and encoding/json
// descend by recursion: megabytes of "[" would end the process.
const maxDepth = 100

var errNotJSON = errors.New("not valid JSON")

// parse reads foreign JSON.
func parse(raw []byte) (gjson.Result, error) {
	if d := depth(raw); d > maxDepth {
		return gjson.Result{}, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	if !gjson.ValidBytes(raw) {
		return gjson.Result{}, errNotJSON
	}
	return gjson.ParseBytes(raw), nil
}

// depth tells how deep raw nests, up to one more than maxDepth. It does not
// care whether raw is JSON.
func depth(raw []byte) int {
	deepest, now, text := 0, 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '[' || c == '{':
			if now++; now > deepest {
				deepest = now
			}
			if deepest > maxDepth {
				return deepest
			}
		case c == ']' || c == '}':
			now--
		}
	}
	return deepest
}
