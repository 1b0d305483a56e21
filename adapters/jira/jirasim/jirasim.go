// Package jirasim is a Jira to test and demonstrate against: Jira Service
// Management Data Center first (REST v2, webhooks), Cloud style where cheap.
//
// It keeps everything in memory and loses it when it goes. It is written from
// Jira's published behaviour and real captures, never from the adapter it
// serves, so that both cannot share one mistake. What it does not implement it
// answers with 501 and says so; what it cannot know (exact error wordings, the
// rendering of every wiki macro) it approximates. Under /sim/ a test or a
// person can look at its effects and make it misbehave.
package jirasim

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // a bare container has no zone files

	"passerelle/internal/fault"
)

// Sim is one Jira. Make it with New, serve it as an http.Handler, end it with
// Close.
type Sim struct {
	fx      Fixture
	zone    *time.Location
	gate    fault.Gate
	rest    http.Handler
	control *http.ServeMux
	post    *postman
	rate    limiter

	mu     sync.Mutex // guards all below
	users  []*User
	fields []*fieldDef
	issues map[string]*issue // by id
	keys   map[string]string // key, old keys too, to id
	parts  map[string][]Named
	number map[string]int // next number of a project
	next   counters
	lag    time.Duration
	clock  func() time.Time
	writes []Write
	failed map[string]int // wrong passwords in a row, by user name
}

type counters struct{ issue, comment, file, history, link int }

// automation is the account that the workflow timer acts under.
var automation = User{Name: "automation", Key: "JIRAUSER10001", DisplayName: "Automation for Jira", Agent: true}

// New makes a Jira that holds f and nothing else. Its error lists all mistakes
// of f.
func New(f *Fixture) (*Sim, error) {
	full := f.filled()
	if err := full.check(); err != nil {
		return nil, err
	}
	zone, err := time.LoadLocation(full.Timezone)
	if err != nil {
		return nil, fmt.Errorf("jirasim: timezone: %w", err)
	}
	s := &Sim{
		fx: full, zone: zone, post: newPostman(full.Flavour == "cloud"),
		issues: map[string]*issue{}, keys: map[string]string{}, parts: map[string][]Named{},
		number: map[string]int{}, failed: map[string]int{}, clock: time.Now,
		next: counters{issue: 10001, comment: 10001, file: 10001, history: 10101, link: 10001},
	}
	s.fill()
	s.rest, s.control = s.restRoutes(), s.controlRoutes()
	if err := s.checkWebhooks(full.Webhooks); err != nil {
		return nil, err
	}
	s.SetWebhooks(full.Webhooks)
	return s, nil
}

func (s *Sim) fill() {
	for i := range s.fx.Users {
		s.users = append(s.users, &s.fx.Users[i])
	}
	bot := automation
	bot.Timezone = s.fx.Timezone
	s.users = append(s.users, &bot)
	s.fields = fieldDefs(s.fx)
	id := 10100
	for _, p := range s.fx.Projects {
		s.number[p.Key] = p.NextNumber
		for _, name := range p.Components {
			s.parts[p.Key] = append(s.parts[p.Key], Named{ID: fmt.Sprint(id), Name: name})
			id++
		}
	}
}

func (s *Sim) cloud() bool { return s.fx.Flavour == "cloud" }

// Faults is the gate in front of the REST API and the downloads. A request's
// label is its method and path, such as "POST /rest/api/2/issue".
func (s *Sim) Faults() *fault.Gate { return &s.gate }

// IndexLag makes a JQL search blind for what happened during the last d: it
// finds an issue as it was before.
func (s *Sim) IndexLag(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lag = d
}

// Clock sets what time it is there, for what is written and searched from now on.
// The rate limit and the waits between webhooks keep the real time.
func (s *Sim) Clock(now func() time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = now
}

// RateLimit refuses with 429 and Retry-After what an account asks beyond
// perSecond, after a first burst. Zero turns it off.
func (s *Sim) RateLimit(perSecond float64, burst int) { s.rate.set(perSecond, burst) }

// Client sets what sends the webhooks; default http.DefaultClient.
func (s *Sim) Client(c *http.Client) { s.post.setClient(c) }

// Flush waits until every webhook queued so far was sent or dropped. It does
// not wait for Cloud's later retries.
func (s *Sim) Flush() { s.post.flush() }

// Close sends what is queued, without delay and without later retries, and
// waits for it. The Sim must not be asked anything afterwards.
func (s *Sim) Close() { s.post.close() }

// ServeHTTP answers as Jira does, and under /sim/ for tests and people.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, s.fx.ContextPath)
	if !ok || !strings.HasPrefix(path, "/") {
		page(http.StatusNotFound, "Nothing here: this Jira lives under "+s.fx.ContextPath).write(w)
		return
	}
	path = strings.Replace(path, "/rest/api/latest/", "/rest/api/2/", 1)
	r2 := r.Clone(r.Context())
	r2.URL.Path, r2.URL.RawPath = path, ""
	if strings.HasPrefix(path, "/sim/") {
		s.control.ServeHTTP(w, r2)
		return
	}
	s.gate.Serve(w, r2, r.Method+" "+path, s.rest.ServeHTTP)
}

// admit checks the account and its rate before a request goes on; it tells
// who asks, nil for nobody.
func (s *Sim) admit(head http.Header, r *http.Request) (*User, *answer) {
	user, refusal := s.authenticate(r)
	if refusal != nil {
		return nil, refusal
	}
	if user == nil {
		if !public(r.URL.Path) {
			return nil, ref(anonymous(r, s.base(r)))
		}
		return nil, nil
	}
	head.Set("X-AUSERNAME", escapeHeader(user.Name))
	return user, s.rate.take(user.Name, time.Now(), head)
}

// base is what the links in an answer begin with.
func (s *Sim) base(r *http.Request) string {
	if s.fx.BaseURL != "" {
		return strings.TrimSuffix(s.fx.BaseURL, "/")
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host + s.fx.ContextPath
}
