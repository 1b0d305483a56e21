package jirasim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"strconv"
)

// answer is what a handler says, before it is written.
type answer struct {
	code int
	body any    // as JSON, unless kind is set
	kind string // Content-Type of raw
	raw  []byte
	head http.Header
}

// m is a JSON object.
type m map[string]any

// errorBody is Jira's ErrorCollection; either part may be empty, both are
// always there.
type errorBody struct {
	Messages []string          `json:"errorMessages"`
	Errors   map[string]string `json:"errors"`
}

func ok(body any) answer      { return answer{code: http.StatusOK, body: body} }
func created(body any) answer { return answer{code: http.StatusCreated, body: body} }
func done() answer            { return answer{code: http.StatusNoContent} }

// fail refuses with messages that belong to no field.
func fail(code int, messages ...string) answer {
	return answer{code: code, body: errorBody{messages, map[string]string{}}}
}

// invalid refuses with one message a field.
func invalid(errs map[string]string) answer {
	return answer{code: http.StatusBadRequest, body: errorBody{[]string{}, errs}}
}

// page is an HTML answer, as Jira's login layer and proxies give.
func page(code int, text string) answer {
	title := strconv.Itoa(code) + " - " + http.StatusText(code)
	raw := fmt.Sprintf("<html>\n<head>\n    <title>%s</title>\n</head>\n<body>\n<h1>%s</h1>\n<p>%s</p>\n</body>\n</html>\n", title, title, html.EscapeString(text))
	return answer{code: code, kind: "text/html;charset=UTF-8", raw: []byte(raw)}
}

func (a answer) with(key, value string) answer {
	if a.head == nil {
		a.head = http.Header{}
	}
	a.head.Set(key, value)
	return a
}

func (a answer) write(w http.ResponseWriter) {
	for k, v := range a.head {
		w.Header()[k] = v
	}
	if a.kind == "" && a.body != nil {
		a.kind, a.raw = "application/json;charset=UTF-8", encode(a.body)
	}
	if a.kind != "" {
		w.Header().Set("Content-Type", a.kind)
		w.Header().Set("Content-Length", strconv.Itoa(len(a.raw)))
	}
	w.WriteHeader(a.code)
	_, _ = w.Write(a.raw)
}

// encode writes JSON as Jira does: text is not HTML-escaped.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return []byte(fmt.Sprintf(`{"errorMessages":[%q],"errors":{}}`, "jirasim: "+err.Error()))
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// grouped writes 32767 as 32,767.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
