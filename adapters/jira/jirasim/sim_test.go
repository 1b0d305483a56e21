package jirasim_test

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"passerelle/adapters/jira/jirasim"
)

// bench is a simulator and somebody who asks it, without sockets.
type bench struct {
	*testing.T
	sim  *jirasim.Sim
	auth string // Authorization
}

// small loads testdata/small.json; change may alter it.
func small(t *testing.T, change func(*jirasim.Fixture)) *bench {
	t.Helper()
	f, err := os.Open("testdata/small.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fx, err := jirasim.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(fx)
	}
	sim, err := jirasim.New(fx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	return &bench{T: t, sim: sim, auth: "Bearer robot-token"}
}

func cloud(fx *jirasim.Fixture) { fx.Flavour = "cloud" }

// as is the same bench for somebody else.
func (b *bench) as(user, secret string) *bench {
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth(user, secret)
	return &bench{b.T, b.sim, r.Header.Get("Authorization")}
}

// cloudRobot asks as Cloud's clients do.
func (b *bench) cloudRobot() *bench { return b.as("robot@jira.example", "robot-token") }

// reply is an answer, with its JSON read if it is JSON.
type reply struct {
	code int
	head http.Header
	text string
	json map[string]any
	list []any
}

func (b *bench) ask(method, path, body string) reply {
	b.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return b.do(r)
}

func (b *bench) do(r *http.Request) reply {
	b.Helper()
	if b.auth != "" && r.Header.Get("Authorization") == "" {
		r.Header.Set("Authorization", b.auth)
	}
	w := httptest.NewRecorder()
	b.sim.ServeHTTP(w, r)
	out := reply{code: w.Code, head: w.Header(), text: w.Body.String()}
	_ = json.Unmarshal(w.Body.Bytes(), &out.json)
	_ = json.Unmarshal(w.Body.Bytes(), &out.list)
	return out
}

// want asks and insists on a status.
func (b *bench) want(code int, method, path, body string) reply {
	b.Helper()
	out := b.ask(method, path, body)
	if out.code != code {
		b.Fatalf("%s %s: %d, want %d\n%s", method, path, out.code, code, out.text)
	}
	return out
}

// open makes an issue and tells its key; fields are added to the usual ones.
func (b *bench) open(fields string) string {
	b.Helper()
	if fields != "" {
		fields = "," + fields
	}
	body := `{"fields":{"project":{"key":"ONE"},"issuetype":{"name":"Request"},"summary":"A summary"` + fields + `}}`
	return b.want(201, "POST", "/rest/api/2/issue", body).json["key"].(string)
}

func (b *bench) field(key, name string) any {
	b.Helper()
	return b.want(200, "GET", "/rest/api/2/issue/"+key, "").at("fields", name)
}

func (b *bench) statusOf(key string) string {
	b.Helper()
	return b.want(200, "GET", "/rest/api/2/issue/"+key, "").at("fields", "status", "name").(string)
}

// at follows keys (strings) and positions (ints) into the JSON.
func (r reply) at(path ...any) any {
	var v any = r.json
	if r.json == nil {
		v = r.list
	}
	for _, p := range path {
		switch p := p.(type) {
		case string:
			object, _ := v.(map[string]any)
			v = object[p]
		case int:
			list, _ := v.([]any)
			if p >= len(list) {
				return nil
			}
			v = list[p]
		}
	}
	return v
}

// upload posts files, given as name and content in turn.
func (b *bench) upload(key string, files ...string) reply {
	b.Helper()
	r := multipartRequest(b.T, "/rest/api/2/issue/"+key+"/attachments", files...)
	r.Header.Set("X-Atlassian-Token", "no-check")
	return b.do(r)
}

func multipartRequest(t *testing.T, path string, files ...string) *http.Request {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for i := 0; i+1 < len(files); i += 2 {
		part, err := w.CreateFormFile("file", files[i])
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(part, files[i+1])
	}
	_ = w.Close()
	r := httptest.NewRequest("POST", path, &body)
	r.Header.Set("Content-Type", w.FormDataContentType())
	return r
}

// kinds counts the effects of each kind.
func (b *bench) kinds() map[string]int {
	n := map[string]int{}
	for _, w := range b.sim.Writes() {
		n[w.Kind]++
	}
	return n
}

func (b *bench) equal(got, want any) {
	b.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if !bytes.Equal(g, w) {
		b.Errorf("got  %s\nwant %s", g, w)
	}
}

func requireReference(fx *jirasim.Fixture) { fx.Fields[0].Required = true }
