package jira

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/tidwall/gjson"

	"passerelle/internal/foreign"
)

var errNotJSON = errors.New("not valid JSON")

// parse reads foreign JSON.
func parse(raw []byte) (gjson.Result, error) {
	if !foreign.Shallow(raw) {
		return gjson.Result{}, fmt.Errorf("nested more than %d deep", foreign.MaxDepth)
	}
	if !foreign.Few(raw) {
		return gjson.Result{}, fmt.Errorf("of more than %d values", foreign.MaxValues)
	}
	if !gjson.ValidBytes(raw) {
		return gjson.Result{}, errNotJSON
	}
	return gjson.ParseBytes(bytes.ToValidUTF8(raw, []byte("\ufffd"))), nil
}
