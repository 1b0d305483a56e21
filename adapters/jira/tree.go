package jira

import (
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
	if !gjson.ValidBytes(raw) {
		return gjson.Result{}, errNotJSON
	}
	return gjson.ParseBytes(raw), nil
}
