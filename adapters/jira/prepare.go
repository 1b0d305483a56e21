package jira

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"passerelle"
	"passerelle/internal/foreign"
	"passerelle/internal/richtext"
)

// wish is what a Message asks of Jira, in Jira's own forms.
type wish struct {
	project any            // as given; nil if not
	fields  map[string]any // without the project
	comment string         // wiki markup; empty for none
}

// prepare reads a Message's body: an annex message with Jira's field ids. Only
// fields and body matter to Jira; accounts, trace and output_fields stay here.
// HTML texts become wiki markup.
func prepare(m *passerelle.Message) (*wish, error) {
	if !foreign.Shallow(m.Body) {
		return nil, fmt.Errorf("the message's body is nested more than %d deep", foreign.MaxDepth)
	}
	dec := json.NewDecoder(bytes.NewReader(m.Body))
	dec.UseNumber() // a long number stays as it is
	var body map[string]any
	if err := dec.Decode(&body); err != nil {
		return nil, fmt.Errorf("the message's body is not a JSON object: %w", err)
	}
	for _, path := range m.Rich {
		if err := replace(body, path, richtext.Wiki); err != nil {
			return nil, err
		}
	}
	w := &wish{fields: map[string]any{}}
	if fields, ok := body["fields"].(map[string]any); ok {
		w.fields = fields
	} else if body["fields"] != nil {
		return nil, errors.New("the message's fields are not a JSON object")
	}
	w.project = w.fields["project"]
	delete(w.fields, "project")
	comment, ok := body["body"].(string)
	if body["body"] != nil && !ok {
		return nil, errors.New("the message's body text is not a string")
	}
	w.comment = comment
	return w, nil
}

// replace changes the text at a gjson path: names and array places, joined by
// dots. Where the path leads nowhere there is nothing to change.
func replace(at any, path string, change func(string) string) error {
	steps, err := split(path)
	if err != nil {
		return err
	}
	for i, name := range steps {
		put, now := child(at, name)
		if now == nil {
			return nil
		}
		if i < len(steps)-1 {
			at = now
			continue
		}
		text, ok := now.(string)
		if !ok {
			return fmt.Errorf("what the contract calls rich text at %q is not a text", path)
		}
		put(change(text))
	}
	return nil
}

// child finds one step below, and how to change it.
func child(at any, name string) (put func(any), now any) {
	switch x := at.(type) {
	case map[string]any:
		return func(v any) { x[name] = v }, x[name]
	case []any:
		if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < len(x) {
			return func(v any) { x[n] = v }, x[n]
		}
	}
	return nil, nil
}

// split cuts a plain gjson path at its dots. Queries and modifiers name no
// single place.
func split(path string) ([]string, error) {
	var steps []string
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '\\' && i+1 < len(path):
			i++
			b.WriteByte(path[i])
		case c == '.':
			steps = append(steps, b.String())
			b.Reset()
		case strings.IndexByte("#@|*?!{[(", c) >= 0:
			return nil, fmt.Errorf("the rich text path %q names no single place", path)
		default:
			b.WriteByte(c)
		}
	}
	return append(steps, b.String()), nil
}

// projectKey is the project that a wish names, or otherwise.
func (w *wish) projectKey(otherwise string) string {
	if p, ok := w.project.(map[string]any); ok {
		for _, name := range []string{"key", "id"} {
			if s, ok := p[name].(string); ok && s != "" {
				return s
			}
		}
	}
	return otherwise
}

// text is a field of the wish as one text; empty for none.
func (w *wish) text(field string) string {
	if field == "" || w.fields[field] == nil {
		return ""
	}
	raw, err := encode(w.fields[field])
	if err != nil {
		return ""
	}
	v, err := parse(raw)
	if err != nil {
		return ""
	}
	return flat(v)
}
