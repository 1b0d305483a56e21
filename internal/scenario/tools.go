package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/internal/trial"
)

// Tools is the two tools, and the names that the play has kept.
type Tools struct {
	Requester, Partner *trial.Tool
	Patience           time.Duration // how long a sight may take to appear
	// Amid is called, where it is set, after the deed of each step, from 1 on, before
	// anybody looks what became of it.
	Amid func(step int) error
	vars map[string]string
}

func (t *Tools) of(side passerelle.Side) *trial.Tool {
	if side == passerelle.Partner {
		return t.Partner
	}
	return t.Requester
}

// expand puts kept names into a text: ${ticket}.
func (t *Tools) expand(s string) string {
	for k, v := range t.vars {
		s = strings.ReplaceAll(s, "${"+k+"}", v)
	}
	return s
}

// encode writes a step's data as JSON, with the kept names in its texts.
func (t *Tools) encode(v map[string]any) (string, error) {
	b, err := json.Marshal(t.expandAll(v))
	return string(b), err
}

func (t *Tools) expandAll(v any) any {
	switch v := v.(type) {
	case string:
		return t.expand(v)
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			out[k] = t.expandAll(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = t.expandAll(x)
		}
		return out
	}
	return v
}

// act does what a step says, as the agent of that side's tool.
func (t *Tools) act(ctx context.Context, side passerelle.Side, deed map[string]any) (gjson.Result, error) {
	text, err := t.encode(deed)
	if err != nil {
		return gjson.Result{}, err
	}
	tool := t.of(side)
	if tool.Kind == trial.ITop {
		return tool.Console(ctx, text)
	}
	r := gjson.Parse(text)
	path := r.Get("path").String()
	if f := r.Get("file"); f.Exists() {
		return tool.Upload(ctx, path, f.Get("name").String(), f.Get("text").String())
	}
	return tool.Request(ctx, r.Get("method").String(), path, r.Get("json").Raw)
}

// look reads what a sight is about, by the tool's own API: the requester's
// ticket is ${ticket}, the partner's ${issue}.
func (t *Tools) look(ctx context.Context, s Sight) (gjson.Result, error) {
	key := "${ticket}"
	if s.Side == passerelle.Partner {
		key = "${issue}"
	}
	tool := t.of(s.Side)
	key = t.expand(key)
	if tool.Kind == trial.Jira {
		path := map[string]string{"": "?expand=renderedFields", "attachments": "?fields=attachment", "comments": "/comment?expand=properties"}[s.Of]
		return tool.Request(ctx, http.MethodGet, "/rest/api/2/issue/"+key+path, "")
	}
	if s.Of == "attachments" {
		ans, err := tool.Read(ctx, fmt.Sprintf(`{"operation":"core/get","class":"Attachment","key":"SELECT Attachment WHERE item_class = 'UserRequest' AND item_id = %s","output_fields":"contents"}`, key))
		return ans.Get("objects.@values"), err
	}
	ans, err := tool.Read(ctx, fmt.Sprintf(`{"operation":"core/get","class":"UserRequest","key":"%s","output_fields":"*"}`, key))
	return ans.Get("objects.@values.0.fields"), err
}
