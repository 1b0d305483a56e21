// Package fault makes a server misbehave on demand: it delays, refuses,
// drops or truncates answers, before or after the effect took place.
//
// It serves the simulators (adapters/*/…sim) and tests only. It keeps nothing
// on disk. A Gate with no rule changes nothing.
package fault

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Kind names one way to misbehave.
type Kind string

const (
	Delay      Kind = "delay"       // wait Millis, then answer normally
	Status     Kind = "status"      // answer Code (and Retry-After) without effect
	Late       Kind = "late"        // take effect, then answer Code, as a proxy does that lost the answer
	DropBefore Kind = "drop-before" // close the connection without effect
	DropAfter  Kind = "drop-after"  // take effect, then close the connection without an answer
	Truncate   Kind = "truncate"    // take effect, then cut the answer's body in half
)

// Rule says which requests misbehave and how. The zero Times means until the
// rules are cleared; the zero Rate means every matching request.
type Rule struct {
	Match      string  `json:"match"`       // part of the request's label ("" = all); see Gate.Serve
	Kind       Kind    `json:"kind"`        // see the constants
	Code       int     `json:"code"`        // HTTP status, for Status and Late
	RetryAfter int     `json:"retry_after"` // seconds, sent as Retry-After when > 0
	Body       string  `json:"body"`        // body of such an answer; default a short HTML page, as proxies send
	Millis     int     `json:"millis"`      // how long Delay waits, in milliseconds
	Times      int     `json:"times"`       // how many requests it spoils, 0 = all
	Rate       float64 `json:"rate"`        // share of matching requests, 0 = all
}

// Gate stands in front of a handler and spoils what its rules say. It is safe
// for concurrent use; its zero value is ready.
type Gate struct {
	mu    sync.Mutex
	rules []*Rule
	rng   *rand.Rand
	hits  int
}

// Seed makes the rules that have a Rate repeatable.
func (g *Gate) Seed(seed uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rng = rand.New(rand.NewPCG(seed, seed))
}

// Add appends a rule; the first rule that matches a request spoils it. It
// refuses a rule of an unknown kind.
func (g *Gate) Add(r Rule) error {
	switch r.Kind {
	case Delay, Status, Late, DropBefore, DropAfter, Truncate:
	default:
		return fmt.Errorf("fault: unknown kind %q (one of delay, status, late, drop-before, drop-after, truncate)", r.Kind)
	}
	if (r.Kind == Status || r.Kind == Late) && (r.Code < 200 || r.Code > 599) {
		return fmt.Errorf("fault: kind %s wants a code from 200 to 599, got %d", r.Kind, r.Code)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rules = append(g.rules, &r)
	return nil
}

// Clear removes all rules.
func (g *Gate) Clear() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rules = nil
}

// Hits tells how many requests were spoilt so far.
func (g *Gate) Hits() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hits
}

// pick returns a copy of the rule that applies to label, if one does.
func (g *Gate) pick(label string) (Rule, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, r := range g.rules {
		if !strings.Contains(label, r.Match) {
			continue
		}
		if r.Rate > 0 {
			if g.rng == nil {
				g.rng = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
			}
			if g.rng.Float64() >= r.Rate {
				continue
			}
		}
		if r.Times > 0 {
			if r.Times--; r.Times == 0 {
				g.rules = append(g.rules[:i:i], g.rules[i+1:]...)
			}
		}
		g.hits++
		return *r, true
	}
	return Rule{}, false
}

// Serve answers one request through next, spoilt if a rule matches label
// (for instance "POST /rest/api/2/issue", or "core/update UserRequest").
func (g *Gate) Serve(w http.ResponseWriter, r *http.Request, label string, next http.HandlerFunc) {
	rule, ok := g.pick(label)
	if !ok {
		next(w, r)
		return
	}
	switch rule.Kind {
	case Delay:
		select {
		case <-time.After(time.Duration(rule.Millis) * time.Millisecond):
			next(w, r)
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	case Status:
		refuse(w, rule)
	case Late:
		next(newRecorder(), r)
		refuse(w, rule)
	case DropBefore:
		panic(http.ErrAbortHandler)
	case DropAfter:
		next(newRecorder(), r)
		panic(http.ErrAbortHandler)
	case Truncate:
		truncate(w, r, next)
	}
}

func refuse(w http.ResponseWriter, rule Rule) {
	if rule.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(rule.RetryAfter))
	}
	body := rule.Body
	if body == "" {
		w.Header().Set("Content-Type", "text/html")
		body = "<html><body><h1>" + strconv.Itoa(rule.Code) + " " + http.StatusText(rule.Code) + "</h1></body></html>"
	}
	w.WriteHeader(rule.Code)
	fmt.Fprint(w, body)
}

// recorder is an answer that nobody hears, or not all of it.
type recorder struct {
	head http.Header
	code int
	body bytes.Buffer
}

func newRecorder() *recorder { return &recorder{head: http.Header{}, code: http.StatusOK} }

func (r *recorder) Header() http.Header         { return r.head }
func (r *recorder) WriteHeader(code int)        { r.code = code }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

func truncate(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	rec := newRecorder()
	next(rec, r)
	for k, v := range rec.head {
		w.Header()[k] = v
	}
	b := rec.body.Bytes()
	w.Header().Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(rec.code)
	_, _ = w.Write(b[:len(b)/2])
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	panic(http.ErrAbortHandler)
}

// ServeHTTP lets a person or a test set rules over HTTP: POST adds one Rule
// given as JSON, DELETE clears all, GET lists them.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		var rule Rule
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&rule); err != nil {
			http.Error(w, "fault: "+err.Error(), http.StatusBadRequest)
			return
		}
		if err := g.Add(rule); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	case http.MethodDelete:
		g.Clear()
	case http.MethodGet:
	default:
		http.Error(w, "fault: use GET, POST or DELETE", http.StatusMethodNotAllowed)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(g.rules)
}
