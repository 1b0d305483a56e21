package itopsim

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// scene is a part of testdata/replay.txt: a fixture and the steps on it.
type scene struct {
	name, fixture, at string
	steps             []string
}

func scenes(t *testing.T) []scene {
	t.Helper()
	file, err := os.Open("testdata/replay.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var out []scene
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		words := strings.Fields(line)
		switch {
		case line == "" || line[0] == '#':
		case words[0] == "scene":
			out = append(out, scene{name: words[1], fixture: words[2], at: strings.Join(words[3:], "")})
		default:
			last := &out[len(out)-1]
			last.steps = append(last.steps, line)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestReplay plays every scene: the recorded requests go to the simulator, and
// its answers and webhooks must be the recorded ones.
func TestReplay(t *testing.T) {
	for _, sc := range scenes(t) {
		t.Run(sc.name, func(t *testing.T) {
			if sc.at == "" {
				play(t, sc)
				return
			}
			synctest.Test(t, func(t *testing.T) {
				at, err := time.Parse(time.RFC3339, sc.at)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Until(at))
				play(t, sc)
			})
		})
	}
}

// player runs one scene.
type player struct {
	*comparer
	sim   *Sim
	mu    sync.Mutex
	heard []heard // webhooks not yet compared

	logged int // events of the webhook log already compared
}

// heard is one webhook as it arrived.
type heard struct {
	method, path, kind, auth, body string
}

func newPlayer(t *testing.T, sc scene) *player {
	sim := open(t, "testdata/"+sc.fixture)
	sim.AppURL = "http://127.0.0.1:8090/"
	p := &player{comparer: &comparer{t, sim.zone, time.Now()}, sim: sim}
	sim.Client(&http.Client{Transport: p})
	return p
}

func play(t *testing.T, sc scene) {
	p := newPlayer(t, sc)
	for _, step := range sc.steps {
		p.step(step)
		if t.Failed() { // what follows builds on it
			t.Fatalf("stopped at: %.200s", step)
		}
	}
	if len(p.heard) > 0 {
		t.Errorf("webhooks that nobody expected: %q", p.heard)
	}
}

// RoundTrip hears the simulator's webhooks.
func (p *player) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = append(p.heard, heard{r.Method, r.URL.RequestURI(), r.Header.Get("Content-Type"), strings.SplitN(r.Header.Get("Authorization"), " ", 2)[0], string(body)})
	w := httptest.NewRecorder()
	_, _ = io.WriteString(w, `{"ok":true}`)
	return w.Result(), nil
}

func (p *player) step(line string) {
	p.t.Helper()
	verb, rest, _ := strings.Cut(line, " ")
	words := strings.Fields(rest)
	if verb != "posts" && len(p.heard) > 0 {
		p.t.Errorf("before %.100s: webhooks that nobody expected: %q", line, p.heard)
		p.heard = nil
	}
	switch verb {
	case "send":
		for _, name := range words {
			p.send(name, 0)
		}
	case "first": // the recording kept the first objects only
		p.send(words[1], atoi(words[0]))
	case "do", "try":
		p.do(words[0], words[1], rest[len(words[0])+len(words[1])+2:], verb == "try")
	case "at":
		p.sim.store.next[words[0]] = atoi(words[1])
		if len(words) > 2 {
			p.sim.store.refs = atoi(words[2])
		}
	case "triggers":
		p.setTriggers(words[0])
	case "posts":
		p.posts(words)
	case "log":
		p.log(words)
	case "table": // see tables_test.go
	case "mode":
		p.sim.SetMode(Mode(strings.TrimPrefix(rest, "normal")))
	case "limits":
		p.sim.PostMax, p.sim.UploadMax = int64(atoi(words[0])), int64(atoi(words[1]))
	case "wait":
		d, err := time.ParseDuration(rest)
		if err != nil {
			p.t.Fatal(err)
		}
		time.Sleep(d)
	default:
		p.t.Fatalf("unknown step %q", line)
	}
}

// do does what the recordings do not show: it must succeed, unless tried.
func (p *player) do(door, login, params string, try bool) {
	path := map[string]string{"rest": "/webservices/rest.php", "console": "/console/rest.php", "portal": "/portal/rest.php"}[door]
	d := desk{p.t, p.sim, path, login, "<password>"}
	if try {
		d.call(params)
		return
	}
	d.must(params)
}

func (p *player) setTriggers(file string) {
	if file == "none" {
		p.sim.SetTriggers(nil)
		return
	}
	data, err := os.ReadFile("testdata/" + file)
	if err != nil {
		p.t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPut, "/sim/triggers", strings.NewReader(string(data)))
	w := httptest.NewRecorder()
	p.sim.ServeHTTP(w, r)
	if w.Code != http.StatusNoContent {
		p.t.Fatalf("%s: %s", file, w.Body)
	}
}

// send replays one recorded request and compares the answer.
func (p *player) send(name string, first int) {
	p.t.Helper()
	r := readRecording(p.t, name)
	w := httptest.NewRecorder()
	p.sim.ServeHTTP(w, r.build(p.t))
	if w.Code != r.Response.Status {
		p.t.Errorf("%s: status %d, want %d", name, w.Code, r.Response.Status)
	}
	if got, want := w.Header().Get("Content-Type"), r.Response.Headers["content-type"]; got != want {
		p.t.Errorf("%s: content type %q, want %q", name, got, want)
	}
	want, err := decodeJSON(r.Response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if text, ok := want.(string); ok { // not JSON
		if got := w.Body.String(); got != text {
			p.t.Errorf("%s: body\n got %s\nwant %s", name, got, text)
		}
		return
	}
	got, err := decodeJSON(w.Body.Bytes())
	if err != nil {
		p.t.Fatalf("%s: answer %q: %v", name, w.Body, err)
	}
	if first > 0 {
		keepFirst(got, first)
	}
	if d := p.differ("", want, got); d != "" {
		p.t.Errorf("%s%s", name, d)
	}
}

func keepFirst(v any, n int) {
	o := v.(object)
	for i := range o {
		if objects, ok := o[i].value.(object); ok && o[i].key == "objects" {
			o[i].value = objects[:n]
		}
	}
}

// posts compares the webhooks since the last step with recorded ones.
func (p *player) posts(names []string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.heard) != len(names) {
		p.t.Errorf("%d webhooks, want %d (%v): %q", len(p.heard), len(names), names, p.heard)
		p.heard = nil
		return
	}
	for i, name := range names {
		p.post(readRecording(p.t, name), p.heard[i])
	}
	p.heard = nil
}

func (p *player) post(r *recording, got heard) {
	p.t.Helper()
	headers := map[string]string{}
	var pairs [][2]string
	_ = json.Unmarshal(r.Request.Headers, &pairs)
	for _, h := range pairs {
		headers[strings.ToLower(h[0])] = h[1]
	}
	want := heard{r.Request.Method, r.Request.Path, headers["content-type"], strings.SplitN(headers["authorization"], " ", 2)[0], r.Request.BodyRaw}
	if want.method != got.method || want.path != got.path || want.kind != got.kind || want.auth != got.auth {
		p.t.Errorf("%s: posted %s %s %s %s, want %s %s %s %s", r.name, got.method, got.path, got.kind, got.auth, want.method, want.path, want.kind, want.auth)
	}
	if !p.sameText(want.body, got.body) {
		at, w, g := 0, "", ""
		w, g = p.maskTexts(want.body, got.body)
		for at < min(len(g), len(w)) && g[at] == w[at] {
			at++
		}
		p.t.Errorf("%s: body, from byte %d\n got %.300s\nwant %.300s", r.name, at, g[at:], w[at:])
	}
}

// log compares what iTop's own log (EventWebhook) says of the webhooks since
// the last log step; without a name it only skips them.
func (p *player) log(names []string) {
	p.t.Helper()
	sent := p.sim.Sent()
	ours := sent[p.logged:]
	p.logged = len(sent)
	if len(names) == 0 {
		return
	}
	data, err := os.ReadFile("testdata/recordings/" + names[0] + ".json")
	if err != nil {
		p.t.Fatal(err)
	}
	var recorded struct {
		Events []struct {
			Message, Payload, Response string
			URL                        string `json:"webhook_url"`
		}
	}
	if err := json.Unmarshal(data, &recorded); err != nil {
		p.t.Fatal(err)
	}
	if len(recorded.Events) != len(ours) {
		p.t.Errorf("%s: %d events, want %d", names[0], len(ours), len(recorded.Events))
	}
	for _, e := range recorded.Events {
		_, payload, _ := strings.Cut(e.Payload, "\n\nAfter preparation:\n")
		if !slices.ContainsFunc(ours, func(s Sent) bool { return p.sameEvent(s, e.Message, payload, e.Response) }) {
			p.t.Errorf("%s: no event %q with payload %.300q", names[0], e.Message, payload)
		}
	}
}

func (p *player) sameEvent(s Sent, message, payload, response string) bool {
	return s.Message == message && p.sameText(payload, s.Payload) && s.Answer == response
}

// TestEveryRecordingAccounted: each recording is replayed, or testdata says why not.
func TestEveryRecordingAccounted(t *testing.T) {
	replayed := map[string]bool{}
	for _, sc := range scenes(t) {
		for _, step := range sc.steps {
			words := strings.Fields(step)
			switch words[0] {
			case "send", "posts", "log", "table":
				words = words[1:]
			case "first":
				words = words[2:]
			default:
				continue
			}
			for _, name := range words {
				replayed[name] = true
			}
		}
	}
	excused := lines(t, "testdata/not-replayed.txt")
	all := lines(t, "testdata/all.txt")
	if len(all) != 708 {
		t.Errorf("all.txt has %d names, want 708", len(all))
	}
	for name := range all {
		if replayed[name] == (excused[name] != "") {
			t.Errorf("%s: replayed %v, listed as not replayed %q: exactly one must hold", name, replayed[name], excused[name])
		}
	}
	for name := range excused {
		if _, known := all[name]; !known {
			t.Errorf("not-replayed.txt: %s is no recording", name)
		}
	}
	t.Logf("%d recordings replayed, %d not", len(replayed), len(excused))
	if len(replayed) < 300 {
		t.Errorf("only %d recordings replayed", len(replayed))
	}
}

// lines reads "name, reason" lines; the reason of a bare name is empty.
func lines(t *testing.T, path string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		name, reason, _ := strings.Cut(line, ", ")
		out[strings.TrimSpace(name)] = reason
	}
	return out
}
