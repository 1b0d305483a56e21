package itop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"passerelle"
)

var _ passerelle.Teller = (*ITop)(nil)

// Tell composes what iTop's webhook would have posted of a ticket by this
// payload, and takes it as if it had been posted. Who acted, and the name that
// an enumeration gives its value, no reading tells: see placeholder.render.
func (t *ITop) Tell(ctx context.Context, key string, payload []byte) ([]*passerelle.Event, error) {
	tree, codes, err := readPayload(payload)
	if err != nil {
		return nil, badPayload(key, err)
	}
	f, err := t.ticket(ctx, key, strings.Join(codes, ","))
	if err != nil {
		return nil, hinted(err, correctPayload)
	}
	tree, err = eachText(tree, func(s string) (string, error) { return fill(s, key, f) })
	if err != nil {
		return nil, badPayload(key, err)
	}
	events, err := t.told(tree)
	if err != nil {
		return nil, badPayload(key, err)
	}
	return events, nil
}

const correctPayload = "correct the payload in the contract, and the webhook in iTop with it"

// badPayload says that a payload of the contract cannot be told.
func badPayload(key string, err error) error {
	e := &passerelle.Error{Op: "itop", Class: passerelle.Stuck, Ticket: key, Err: fmt.Errorf("the payload cannot be composed by reading: %w", err), Hint: correctPayload}
	if errors.Is(err, errTooLong) {
		e.Hint = "shorten the ticket's texts"
	}
	return e
}

// told takes a message that was composed here as one that was posted.
func (t *ITop) told(tree any) ([]*passerelle.Event, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // for its size, and for people
	if err := enc.Encode(tree); err != nil {
		return nil, err
	}
	if int64(body.Len()) > t.cfg.LimitBytes {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d [R24]", errTooLong, body.Len(), t.cfg.LimitBytes)
	}
	q := &request{}
	if err := q.parse(body.Bytes()); err != nil {
		return nil, err
	}
	op := q.json.Get("operation").String()
	if !slices.Contains(writes, op) {
		return nil, fmt.Errorf("operation %q tells nothing", op)
	}
	if err := q.needs(op); err != nil {
		return nil, err
	}
	return t.events(op, q)
}

// readPayload takes a webhook's template apart, and lists the attributes that it
// reads.
func readPayload(payload []byte) (tree any, codes []string, err error) {
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.UseNumber()
	if !json.Valid(payload) || dec.Decode(&tree) != nil {
		return nil, nil, errors.New("it is no JSON")
	}
	if gjson.GetBytes(payload, "hint").Bool() {
		return nil, nil, errors.New("it is a hint, which tells nothing but that there is something to read")
	}
	seen := map[string]bool{"id": true}
	_, err = eachText(tree, func(s string) (string, error) {
		for _, m := range placeholders.FindAllStringSubmatch(s, -1) {
			p, err := readPlaceholder(m)
			if err != nil {
				return "", err
			}
			if p.code != "" {
				seen[p.code] = true
			}
		}
		return s, nil
	})
	return tree, slices.Sorted(maps.Keys(seen)), err
}

// eachText changes every text of a JSON value, but the names of its members.
func eachText(v any, change func(string) (string, error)) (any, error) {
	var err error
	switch v := v.(type) {
	case string:
		return change(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			if out[i], err = eachText(v[i], change); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for name := range v {
			if out[name], err = eachText(v[name], change); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

// placeholders are iTop's, in both of its spellings each. What it does not know
// stays as it is.
var (
	placeholders = regexp.MustCompile(`(?:\$|%24)(this|trigger|action|current_contact|current_user)-(?:>|&gt;)([^$%]+?)(?:\$|%24)`)
	verbOf       = regexp.MustCompile(`^(\w+)\((\w+)\)$`)
)

// placeholder is $this->code$ or $this->verb(code)$. Without a code it is about
// who acted, or by which trigger.
type placeholder struct{ text, verb, code string }

func readPlaceholder(m []string) (placeholder, error) {
	p := placeholder{text: m[0]}
	if m[1] != "this" {
		return p, nil
	}
	if p.code = m[2]; !attributeCode.MatchString(p.code) {
		call := verbOf.FindStringSubmatch(m[2])
		if call == nil || !slices.Contains([]string{"raw", "label", "html", "head", "head_html"}, call[1]) || !attributeCode.MatchString(call[2]) {
			return p, fmt.Errorf("%s cannot be read ($this->code$ can, and raw, label, html, head and head_html of a code; an external field instead of a path)", m[0])
		}
		p.verb, p.code = call[1], call[2]
	}
	return p, nil
}

// fill puts a ticket's values in the places of a text, once: what a value holds
// is no placeholder.
func fill(text, key string, ticket gjson.Result) (string, error) {
	var failed error
	out := placeholders.ReplaceAllStringFunc(text, func(s string) string {
		p, err := readPlaceholder(placeholders.FindStringSubmatch(s))
		if err == nil {
			s, err = p.render(key, ticket)
		}
		if err != nil {
			failed = err
		}
		return s
	})
	return out, failed
}

// render is what stands for the placeholder. Of an enumeration REST tells the
// value and not its label: label(…) is the value, which the contract's table of
// values may know. Who acted, and by which trigger, is nobody.
func (p placeholder) render(key string, ticket gjson.Result) (string, error) {
	v := ticket.Get(p.code)
	entries := v.Get("entries")
	switch {
	case p.code == "":
		return "", nil
	case p.code == "id":
		return key, nil
	case p.verb == "head" || p.verb == "head_html":
		if !entries.IsArray() {
			return "", fmt.Errorf("%s: %s is no journal", p.text, p.code)
		}
		field := map[string]string{"head": "message", "head_html": "message_html"}[p.verb]
		list := entries.Array()
		if len(list) == 0 {
			return "", nil
		}
		return list[len(list)-1].Get(field).String(), nil
	case v.IsObject():
		return "", fmt.Errorf("%s: %s is a journal or a file (of a journal, write $this->head_html(%s)$)", p.text, p.code, p.code)
	case v.IsArray():
		return "", nil // linked objects
	case p.verb == "html":
		return shownHTML(v.String()), nil
	}
	return v.String(), nil
}

// What iTop's cleaning leaves of HTML: these elements, and entities.
var (
	markup = regexp.MustCompile(`(?i)<[!?][^<>]*>|</?(?:a|b|big|blockquote|br|center|cite|code|del|div|em|fieldset|figcaption|figure|font|h[1-4]|hr|i|img|ins|kbd|legend|li|mark|nav|ol|p|pre|q|s|samp|section|small|span|strike|strong|sub|sup|table|tbody|td|th|thead|tr|tt|u|ul|var)(?:\s[^<>]*)?/?>`)
	entity = regexp.MustCompile(`&(?:#[0-9]+|#[xX][0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]*);`)
)

// shownHTML is what html(…) makes of a value: an attribute that holds HTML is
// shown as it is, another one escaped. REST does not tell which it is, so the
// value must: what iTop's cleaning of HTML would have altered is plain text.
func shownHTML(s string) string {
	rest := markup.ReplaceAllString(s, "")
	plain := strings.ContainsAny(entity.ReplaceAllString(rest, ""), "<&")
	switch {
	case plain:
		return htmlEscaper.Replace(s)
	case rest != s:
		return `<div class="HTML ibo-is-html-content" >` + s + `</div>`
	}
	return s
}

var htmlEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#039;")
