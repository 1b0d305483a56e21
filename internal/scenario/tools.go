package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
)

// Tools is where the two tools are, and the names that the play has kept.
type Tools struct {
	Requester string        // base URL of the iTop
	Partner   string        // base URL of the Jira
	Patience  time.Duration // how long a sight may take to appear
	cast      Cast
	vars      map[string]string
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

// console does an operation in the iTop as a person at its console.
func (t *Tools) console(ctx context.Context, op map[string]any) (gjson.Result, error) {
	body, err := t.encode(op)
	if err != nil {
		return gjson.Result{}, err
	}
	a := t.cast.Requester
	return t.itop(ctx, "/console/rest.php", a.User, a.Password, body)
}

func (t *Tools) itop(ctx context.Context, path, user, password, body string) (gjson.Result, error) {
	form := url.Values{"version": {"1.3"}, "auth_user": {user}, "auth_pwd": {password}, "json_data": {body}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.Requester+path, strings.NewReader(form.Encode()))
	if err != nil {
		return gjson.Result{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	ans, err := do(req)
	if err == nil && ans.Get("code").Int() != 0 {
		err = fmt.Errorf("%s: code %d: %s", path, ans.Get("code").Int(), ans.Get("message"))
	}
	return ans, err
}

// jira makes a request as the partner's agent.
func (t *Tools) jira(ctx context.Context, r *Request) (gjson.Result, error) {
	var body io.Reader = http.NoBody
	kind := "application/json"
	switch {
	case r.File != nil:
		var b bytes.Buffer
		mw := multipart.NewWriter(&b)
		w, err := mw.CreateFormFile("file", r.File.Name)
		if err != nil {
			return gjson.Result{}, err
		}
		if _, err := io.WriteString(w, t.expand(r.File.Text)); err != nil {
			return gjson.Result{}, err
		}
		if err := mw.Close(); err != nil {
			return gjson.Result{}, err
		}
		body, kind = &b, mw.FormDataContentType()
	case r.JSON != nil:
		s, err := t.encode(r.JSON)
		if err != nil {
			return gjson.Result{}, err
		}
		body = strings.NewReader(s)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, t.Partner+t.expand(r.Path), body)
	if err != nil {
		return gjson.Result{}, err
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("X-Atlassian-Token", "no-check")
	req.SetBasicAuth(t.cast.Partner.User, t.cast.Partner.Password)
	return do(req)
}

func do(req *http.Request) (gjson.Result, error) {
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return gjson.Result{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return gjson.Result{}, err
	}
	if res.StatusCode >= 300 {
		return gjson.Result{}, fmt.Errorf("%s %s: %s: %s", req.Method, req.URL.Path, res.Status, bytes.TrimSpace(b))
	}
	return gjson.ParseBytes(b), nil
}

// look reads what a sight is about, by the tool's own API.
func (t *Tools) look(ctx context.Context, s Sight) (gjson.Result, error) {
	if s.Side == passerelle.Partner {
		path := map[string]string{"": "?expand=renderedFields", "attachments": "?fields=attachment", "comments": "/comment?expand=properties"}[s.Of]
		return t.jira(ctx, &Request{Method: http.MethodGet, Path: "/rest/api/2/issue/${issue}" + path})
	}
	a := t.cast.Requester
	user, password := a.User, a.Password
	if a.Reader != "" {
		user, password = a.Reader, a.ReaderPassword
	}
	op := map[string]any{"operation": "core/get", "class": "UserRequest", "key": "${ticket}", "output_fields": "*"}
	if s.Of == "attachments" {
		op = map[string]any{"operation": "core/get", "class": "Attachment", "key": "SELECT Attachment WHERE item_class = 'UserRequest' AND item_id = ${ticket}", "output_fields": "contents"}
	}
	body, err := t.encode(op)
	if err != nil {
		return gjson.Result{}, err
	}
	ans, err := t.itop(ctx, "/webservices/rest.php", user, password, body)
	if s.Of == "attachments" {
		return ans.Get("objects.@values"), err
	}
	return ans.Get("objects.@values.0.fields"), err
}
