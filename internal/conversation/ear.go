package conversation

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
)

// ear stands before a tool and writes down what is written to it.
type ear struct {
	next http.Handler
	hear func(r *http.Request, body []byte) string // "" for what is no write of the gateway's
	mu   sync.Mutex
	list []string
	away int // what its writes are answered while nobody is there for the gateway: 503, or 429; 0: somebody is
	// lose tells, where it is set, of a write that takes effect but whose answer
	// never arrives: the connection is cut, or a proxy answers 503 instead.
	lose func() (lost, proxy bool)
	// watch is told, where it is set, when a write comes, has taken effect, and
	// has been answered.
	watch func(point string)
}

// ServeHTTP listens, and passes the request on.
func (e *ear) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	said := e.hear(r, body)
	if away := e.note(said); away > 0 {
		http.Error(w, "away", away)
		return
	}
	if said != "" && e.lose != nil {
		if lost, proxy := e.lose(); lost {
			e.next.ServeHTTP(httptest.NewRecorder(), r)
			if !proxy {
				panic(http.ErrAbortHandler) // cuts the connection
			}
			http.Error(w, "no answer", http.StatusServiceUnavailable)
			return
		}
	}
	if said != "" && e.watch != nil {
		e.watched(w, r)
		return
	}
	e.next.ServeHTTP(w, r)
}

// watched serves a write, and tells how far it is.
func (e *ear) watched(w http.ResponseWriter, r *http.Request) {
	e.watch("lent")
	answer := httptest.NewRecorder()
	e.next.ServeHTTP(answer, r)
	e.watch("effect")
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // whoever asked may be gone
	time.AfterFunc(time.Millisecond, func() { e.watch("settled") })
}

// note writes down what was said. Where nobody is there it returns what that is
// answered, else 0; what is no write is for the tool.
func (e *ear) note(said string) (away int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if said == "" {
		return 0
	}
	if e.away == 0 {
		e.list = append(e.list, strings.TrimSpace(said)+"\n")
	}
	return e.away
}

// leave says whether somebody is there. A tool that is away is one behind a proxy,
// which may have lost it in the midst of its work.
func (e *ear) leave(away bool) {
	e.answer(map[bool]int{true: http.StatusServiceUnavailable}[away])
}

// busy has the tool answer that it is asked too much: it did nothing.
func (e *ear) busy() { e.answer(http.StatusTooManyRequests) }

func (e *ear) answer(status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.away = status
}

func (e *ear) isAway() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.away > 0
}

// heard returns what was written since it was last asked.
func (e *ear) heard() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := strings.Join(e.list, "\n")
	e.list = nil
	return s
}

// hearITop writes down the operations that change something, as JSON.
func hearITop(r *http.Request, body []byte) string {
	if r.URL.Path != "/webservices/rest.php" {
		return "" // the agent's own doors
	}
	data := formValue(r.Header.Get("Content-Type"), body, "json_data")
	if op := gjson.Get(data, "operation").String(); op == "core/get" || op == "" {
		return ""
	}
	return pretty([]byte(data))
}

// hearAgent writes down every message, as it was posted.
func hearAgent(_ *http.Request, body []byte) string { return pretty(body) }

func formValue(kind string, body []byte, name string) string {
	media, params, err := mime.ParseMediaType(kind)
	if err != nil || media != "multipart/form-data" {
		v, _ := url.ParseQuery(string(body)) // what is no form has no value
		return v.Get(name)
	}
	mr := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for {
		p, err := mr.NextPart()
		if err != nil {
			return ""
		}
		if p.FormName() == name {
			b, _ := io.ReadAll(p) // it is in memory
			return string(b)
		}
	}
}

// hearJira writes down the gateway's own requests that change something.
func hearJira(r *http.Request, body []byte) string {
	_, _, basic := r.BasicAuth()
	if r.Method == http.MethodGet || basic || strings.HasSuffix(r.URL.Path, "/search") {
		return "" // readings, and the agent
	}
	head := r.Method + " " + r.URL.Path
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		return head + "\n" + files(r.Header.Get("Content-Type"), body)
	}
	return head + "\n" + pretty(body)
}

func files(kind string, body []byte) string {
	_, params, _ := mime.ParseMediaType(kind) // a bad one has no boundary, and no parts
	mr := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	var b strings.Builder
	for {
		p, err := mr.NextPart()
		if err != nil {
			return b.String()
		}
		content, _ := io.ReadAll(p) // it is in memory
		fmt.Fprintf(&b, "file: %s (%d bytes)\n", p.FileName(), len(content))
	}
}

// pretty lays JSON out for people, in the order of its members.
func pretty(b []byte) string {
	var out bytes.Buffer
	if json.Indent(&out, b, "", "  ") != nil {
		return string(b) + "\n"
	}
	return out.String() + "\n"
}

var (
	reLocal  = regexp.MustCompile(`20\d\d-\d\d-\d\d \d\d:\d\d:\d\d`)
	reOffset = regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4}`)
	reBytes  = regexp.MustCompile(`\$BYTES\((\d{1,8})\)`)
	reDue    = regexp.MustCompile(`(20\d\d-\d\d-\d\d) 23:59:59`)
)

// plain takes out of a text what differs from play to play: the references of
// the pair, and the dates of the moment. An end of day is a date that somebody
// chose, and stays.
func (r *rig) plain(s string) string {
	s = reDue.ReplaceAllString(s, "${1}§23:59:59")
	s = reLocal.ReplaceAllString(s, "$$NOW")
	s = reOffset.ReplaceAllString(s, "$$NOW")
	return strings.ReplaceAll(s, "§", " ")
}

// full puts the pair's references into what a section says, and files of so
// many bytes, in base64.
func (r *rig) full(s string) string {
	s = reBytes.ReplaceAllStringFunc(s, func(m string) string {
		n, _ := strconv.Atoi(reBytes.FindStringSubmatch(m)[1]) // it is digits
		return base64.StdEncoding.EncodeToString(make([]byte, n))
	})
	refs := map[string]string{}
	for l, err := range r.store.Links(r.ctx) {
		if err != nil {
			continue
		}
		refs["$TICKET"], refs["$NUMBER"] = l.Requester.Key, l.Requester.Number
		refs["$ISSUEID"], refs["$ISSUE"] = l.Ref(passerelle.Partner).Key, l.Partner.Number
		refs["$OWN"] = l.Own.Key
	}
	names := make([]string, 0, len(refs))
	for n := range refs {
		names = append(names, n)
	}
	sort.Slice(names, func(i, j int) bool { return len(names[i]) > len(names[j]) })
	for _, n := range names {
		s = strings.ReplaceAll(s, n, refs[n])
	}
	return s
}

// heardSoFar counts what was written since heard was last asked.
func (e *ear) heardSoFar() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.list)
}
