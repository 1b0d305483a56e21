package jirasim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"
)

// dateTime is how Jira writes and wants a moment.
const dateTime = "2006-01-02T15:04:05.000-0700"

// parse reads a field's value, nil for none. Its second answer says what is
// wrong, in Jira's words as far as they are known.
func (s *Sim) parse(d *fieldDef, p Project, raw json.RawMessage) (any, string) {
	raw = bytes.TrimSpace(raw)
	if bytes.Equal(raw, []byte("null")) {
		return nil, s.missing(d)
	}
	switch d.kind {
	case kindSummary, kindString, kindText:
		return s.parseText(d, raw)
	case kindDate, kindDatetime:
		return s.parseDate(d, raw)
	case kindNumber:
		return parseNumber(raw)
	case kindLabels:
		return parseLabels(raw)
	case kindOption:
		return pick(raw, "Option", "value", d.options, "Could not find valid 'id' or 'value' in the Parent Option object.")
	case kindPriority:
		return pick(raw, "Priority", "name", s.fx.Priorities, "Could not find valid 'id' or 'name' in priority object.")
	case kindResolution:
		return pick(raw, "Resolution", "name", s.fx.Resolutions, "Could not find valid 'id' or 'name' in resolution object.")
	case kindComponents:
		return pickAll(raw, s.parts[p.Key])
	case kindUser:
		return s.parseUser(d, raw)
	}
	return nil, "jirasim: no such kind of field: " + string(d.kind)
}

// missing says what Jira answers when a field that may not be empty is.
func (s *Sim) missing(d *fieldDef) string {
	switch {
	case d.ID == "summary":
		return "You must specify a summary of the issue."
	case d.Required:
		return d.Name + " is required."
	}
	return ""
}

func (s *Sim) parseText(d *fieldDef, raw json.RawMessage) (any, string) {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return nil, "Operation value must be a string"
	}
	if d.kind == kindSummary {
		return parseSummary(text, d.MaxLength)
	}
	if length(text) > d.MaxLength {
		return nil, tooLong(d.MaxLength)
	}
	if text == "" {
		return nil, s.missing(d)
	}
	return text, ""
}

func tooLong(limit int) string {
	return "The entered text is too long. It exceeds the allowed limit of " + grouped(limit) + " characters."
}

// length counts as Java does: a character beyond the basic plane counts twice.
func length(text string) int { return len(utf16.Encode([]rune(text))) }

func parseSummary(text string, limit int) (any, string) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return nil, "You must specify a summary of the issue."
	case strings.ContainsAny(text, "\r\n"):
		return nil, "The summary is invalid because it contains newline characters."
	case length(text) > limit:
		return nil, fmt.Sprintf("Summary must be less than %d characters.", limit+1)
	}
	return text, ""
}

func (s *Sim) parseDate(d *fieldDef, raw json.RawMessage) (any, string) {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return nil, "Operation value must be a string"
	}
	if text == "" {
		return nil, s.missing(d)
	}
	if d.kind == kindDate {
		if _, err := time.Parse(time.DateOnly, text); err != nil {
			return nil, "Error parsing date string: " + text
		}
		return text, ""
	}
	t, err := time.Parse(dateTime, text)
	if err != nil {
		return nil, "Error parsing time: " + text
	}
	return t, ""
}

func parseNumber(raw json.RawMessage) (any, string) {
	var n float64
	if json.Unmarshal(raw, &n) != nil {
		return nil, "Operation value must be a number"
	}
	return n, ""
}

func parseLabels(raw json.RawMessage) (any, string) {
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		return nil, "data was not an array"
	}
	for _, l := range list {
		if text := badLabel(l); text != "" {
			return nil, text
		}
	}
	return list, ""
}

func badLabel(label string) string {
	switch {
	case strings.ContainsAny(label, " \t\r\n"):
		return fmt.Sprintf("The label '%s' contains spaces which is invalid.", label)
	case length(label) > 255:
		return fmt.Sprintf("The label '%s' exceeds the maximum length for labels of 255 characters.", label)
	}
	return ""
}

// pick finds one of list by its id or, under the key word, its name.
func pick(raw json.RawMessage, what, word string, list []Named, otherwise string) (any, string) {
	var given map[string]any
	if json.Unmarshal(raw, &given) != nil {
		return nil, otherwise
	}
	if id, ok := given["id"].(string); ok {
		for _, n := range list {
			if n.ID == id {
				return n, ""
			}
		}
		return nil, fmt.Sprintf("%s id '%s' is not valid", what, id)
	}
	name, ok := given[word].(string)
	if !ok {
		return nil, otherwise
	}
	for _, n := range list {
		if n.Name == name {
			return n, ""
		}
	}
	if word == "value" {
		what += " value"
	} else {
		what += " name"
	}
	return nil, fmt.Sprintf("%s '%s' is not valid", what, name)
}

func pickAll(raw json.RawMessage, list []Named) (any, string) {
	var given []json.RawMessage
	if json.Unmarshal(raw, &given) != nil {
		return nil, "data was not an array"
	}
	picked := []Named{}
	for _, g := range given {
		n, bad := pick(g, "Component", "name", list, "expected 'id' or 'name' property")
		if bad != "" {
			return nil, bad
		}
		picked = append(picked, n.(Named))
	}
	return picked, ""
}

// parseUser finds an existing user: by name on Data Center, by accountId on
// Cloud.
func (s *Sim) parseUser(d *fieldDef, raw json.RawMessage) (any, string) {
	var given struct{ Name, AccountID *string }
	if json.Unmarshal(raw, &given) != nil {
		return nil, "expected Object"
	}
	ref := given.Name
	if s.cloud() {
		ref = given.AccountID
	}
	for _, u := range s.users {
		if ref != nil && (!s.cloud() && u.Name == *ref || s.cloud() && u.Key == *ref) {
			return u, ""
		}
	}
	switch {
	case d.ID == "assignee" && (ref == nil || *ref == ""):
		return nil, ""
	case d.ID == "reporter":
		return nil, "The reporter specified is not a user."
	case ref == nil:
		return nil, "expected Object containing a \"name\" property"
	}
	return nil, fmt.Sprintf("User '%s' does not exist.", *ref)
}
