package itopsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// recording is one recorded conversation with a real iTop.
type recording struct {
	name     string
	Request  recordedRequest
	Response struct {
		Status  int
		Headers map[string]string
		Body    json.RawMessage
	}
}

type recordedRequest struct {
	Method   string
	Path     string
	Headers  json.RawMessage
	Form     map[string]json.RawMessage
	Query    map[string]json.RawMessage
	JSON     json.RawMessage
	Encoding string
	BodyRaw  string `json:"body_raw"`
}

func readRecording(t *testing.T, name string) *recording {
	t.Helper()
	data, err := os.ReadFile("testdata/recordings/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	r := &recording{name: name}
	if err := json.Unmarshal(data, r); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return r
}

// shortened marks a long text that the recording does not hold in full.
var shortened = regexp.MustCompile(`(?s)^(.+)\.\.\.<([0-9]+) chars total>$`)

// lengthen gives a shortened text its length again, by repeating its last
// characters. What it says beyond the cut is not the recorded text.
func lengthen(v any) any {
	switch v := v.(type) {
	case string:
		m := shortened.FindStringSubmatch(v)
		if m == nil {
			return v
		}
		total := atoi(m[2])
		closing := ""
		if strings.HasPrefix(m[1], "<p>") {
			closing = "</p>"
		}
		pad := m[1][len(m[1])-4:]
		text := m[1] + strings.Repeat(pad, total/4)
		return text[:total-len(closing)] + closing
	case object:
		for i := range v {
			v[i].value = lengthen(v[i].value)
		}
	case list:
		for i := range v {
			v[i] = lengthen(v[i])
		}
	}
	return v
}

// values turns recorded parameters into what went over the wire.
func values(t *testing.T, params map[string]json.RawMessage) url.Values {
	t.Helper()
	out := url.Values{}
	for name, raw := range params {
		v, err := decodeJSON(raw)
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := v.(string); ok {
			out.Set(name, text)
		} else {
			out.Set(name, string(encodePHP(lengthen(v))))
		}
	}
	return out
}

// build makes the HTTP request anew. The recorded placeholders "<password>"
// and "<token>" are the fixture's own passwords and token; a recording of a
// refused token or HTTP Basic account gets a wrong one.
func (r *recording) build(t *testing.T) *http.Request {
	t.Helper()
	path, _, _ := strings.Cut(r.Request.Path, "<query below")
	target := strings.TrimSuffix(path, "?")
	if r.Request.Query != nil {
		target += "?" + values(t, r.Request.Query).Encode()
	}
	body, kind := r.body(t)
	req := httptest.NewRequest(r.Request.Method, target, body)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	headers := map[string]string{}
	_ = json.Unmarshal(r.Request.Headers, &headers)
	bad := strings.Contains(r.name, "bad")
	if strings.HasPrefix(headers["Authorization"], "Basic") {
		password := "<password>"
		if strings.Contains(r.name, "basic-bad") {
			password = "nope"
		}
		req.SetBasicAuth("sumit-broker", password)
	}
	if token := headers["Auth-Token"]; token != "" {
		if bad {
			token = "nope"
		}
		req.Header.Set("Auth-Token", token)
	}
	return req
}

func (r *recording) body(t *testing.T) (*bytes.Reader, string) {
	form := values(t, r.Request.Form)
	switch r.Request.Encoding {
	case "rawjson":
		return bytes.NewReader(r.Request.JSON), "application/json"
	case "multipart", "multipart-file":
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for name := range form {
			field, err := w.CreateFormField(name)
			if r.Request.Encoding == "multipart-file" && name == "json_data" {
				field, err = w.CreateFormFile(name, "request.json")
			}
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(field, form.Get(name))
		}
		w.Close()
		return bytes.NewReader(b.Bytes()), w.FormDataContentType()
	case "":
		return bytes.NewReader(nil), ""
	}
	return bytes.NewReader([]byte(form.Encode())), "application/x-www-form-urlencoded"
}

// The masks. Only what cannot be the same twice is hidden, and only where both
// sides have something of that sort.
var masked = map[string]string{
	"time_spent": "elapsed seconds of the recorded ticket",
	"temp_id":    "random suffix of a dropped file",
}

// maskedText hides inside longer texts: the badge's random id.
var maskedText = regexp.MustCompile(`ibo-field-badge-[0-9a-f]+\\?"|rest-agent-[0-9A-Za-z]{6}`)

var anyDate = regexp.MustCompile(`20[0-9]{2}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}`)

// comparer knows what "now" is on both sides: the evening of the recordings,
// and the moments of the test.
type comparer struct {
	t     *testing.T
	zone  *time.Location
	since time.Time
}

var evening = [2]string{"2026-11-21 17:50:00", "2026-11-21 19:59:59"}

func (c *comparer) recordedNow(date string) string {
	switch {
	case date >= evening[0] && date <= evening[1]:
		return "<now>"
	case date >= "2026-11-22 17:50:00" && date <= "2026-11-22 19:59:59":
		return "<tomorrow>"
	}
	return date
}

func (c *comparer) ourNow(date string) string {
	from, to := c.since.Add(-2*time.Second).In(c.zone), time.Now().Add(2*time.Second).In(c.zone)
	day := 24 * time.Hour
	switch {
	case date >= from.Format(stamp) && date <= to.Format(stamp):
		return "<now>"
	case date >= from.Add(day).Format(stamp) && date <= to.Add(day).Format(stamp):
		return "<tomorrow>"
	}
	return date
}

func (c *comparer) sameText(want, got string) bool {
	if want == got {
		return true
	}
	want, got = c.maskTexts(want, got)
	return want == got
}

func (c *comparer) maskTexts(want, got string) (string, string) {
	return maskedText.ReplaceAllString(anyDate.ReplaceAllStringFunc(want, c.recordedNow), "<random>"),
		maskedText.ReplaceAllString(anyDate.ReplaceAllStringFunc(got, c.ourNow), "<random>")
}

// differ gives the first difference between two JSON values, "" if none. The
// order of members counts.
func (c *comparer) differ(path string, want, got any) string {
	switch want := want.(type) {
	case object:
		got, ok := got.(object)
		if !ok || len(want) != len(got) {
			return fmt.Sprintf("%s: want %s\n got %s", path, encodePHP(want), encodePHP(got))
		}
		for i := range want {
			if want[i].key != got[i].key {
				return fmt.Sprintf("%s: member %d is %q, want %q", path, i, got[i].key, want[i].key)
			}
			if masked[want[i].key] != "" {
				continue
			}
			if d := c.differ(path+"/"+want[i].key, want[i].value, got[i].value); d != "" {
				return d
			}
		}
		return ""
	case list:
		got, ok := got.(list)
		if !ok || len(want) != len(got) {
			return fmt.Sprintf("%s: want %s\n got %s", path, encodePHP(want), encodePHP(got))
		}
		for i := range want {
			if d := c.differ(fmt.Sprintf("%s/%d", path, i), want[i], got[i]); d != "" {
				return d
			}
		}
		return ""
	case string:
		if got, ok := got.(string); ok && (c.sameText(want, got) || sameShortened(want, got)) {
			return ""
		}
	}
	if fmt.Sprintf("%T %v", want, want) == fmt.Sprintf("%T %v", got, got) {
		return ""
	}
	return fmt.Sprintf("%s: want %#v\n got %#v", path, want, got)
}

// sameShortened compares what the recording kept of a long text, and its length.
func sameShortened(want, got string) bool {
	m := shortened.FindStringSubmatch(want)
	return m != nil && strings.HasPrefix(got, m[1]) && len(got) == atoi(m[2])
}
