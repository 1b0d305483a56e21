package jira

import (
	"strings"

	"github.com/tidwall/gjson"

	"passerelle/internal/richtext"
)

// scalars flattens an issue's fields to texts, by Jira's own codes: an option
// is its value, a named thing its name, a list is joined. Formatted texts are
// HTML. What is empty, or no scalar at all (comments, files), is left out.
func scalars(issue gjson.Result) map[string]string {
	out, schema, html := map[string]string{}, issue.Get("schema"), issue.Get("renderedFields")
	issue.Get("fields").ForEach(func(k, v gjson.Result) bool {
		code, text := k.String(), flat(v)
		if v.Type == gjson.String && formatted(schema, code) {
			text = rendered(html, code, v.Str)
		}
		if text != "" {
			out[code] = text
		}
		return true
	})
	if id := issue.Get("fields.status.id").String(); id != "" {
		out["status_id"] = id
	}
	return out
}

// formatted tells the fields that hold wiki markup. Jira renders one-line
// fields too: these stay plain, since tables compare them.
func formatted(schema gjson.Result, code string) bool {
	if code == "description" || code == "environment" {
		return true
	}
	return strings.HasSuffix(schema.Get(gjson.Escape(code)+".custom").String(), ":textarea")
}

// rendered is Jira's own rendering of a field, or ours where it has none.
func rendered(html gjson.Result, code, raw string) string {
	if r := html.Get(gjson.Escape(code)); r.Type == gjson.String && r.Str != "" {
		return richtext.FromRendered(r.Str)
	}
	return richtext.HTML(raw)
}

// flat is a value as one text; empty for what has none.
func flat(v gjson.Result) string {
	switch {
	case v.IsArray():
		var parts []string
		for _, one := range v.Array() {
			if s := flat(one); s != "" {
				parts = append(parts, s)
			}
		}
		return strings.Join(parts, ", ")
	case v.IsObject():
		for _, name := range []string{"value", "name", "displayName", "key"} {
			if s := v.Get(name); s.Exists() && s.Type != gjson.Null && s.Type != gjson.JSON {
				return s.String()
			}
		}
		return ""
	}
	return v.String()
}
