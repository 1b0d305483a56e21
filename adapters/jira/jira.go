// Package jira speaks to Jira: Data Center first (REST v2), Cloud where it
// differs.
//
// It is the three faces of one Jira that the gateway needs. Serve takes
// webhooks, as hints only: it checks them, has the issue's id committed, and
// answers. Read gives all that Jira says of one issue, as events whose names
// are the same at every reading; Changed tells which issues to read, for what no
// webhook told. Deliver makes one write, and Probe tells later whether a write
// whose answer was lost took effect; to that end every write leaves a mark that
// Jira keeps (see names.go and mark.go).
//
// Nothing is kept on disk. What can go wrong with Jira is classified in
// classify.go: a refused account stops all traffic (Jira locks accounts), a
// refused message waits for a person, trouble of Jira itself is waited out, and
// a lost answer to a write is said to be unsure, never tried again blindly.
//
// The technical account must serve the gateway alone: status changes and files
// of that account that carry no mark are taken for the gateway's own.
package jira

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"

	"github.com/go-resty/resty/v2"

	"passerelle"
)

// Jira is one Jira, as one contract and side use it. Its methods may be called
// at once from several goroutines; writes to one issue should be serial.
type Jira struct {
	cfg   *Config // behind a pointer: fmt cannot mask a Secret in an unexported value
	base  *url.URL
	api   *resty.Client // the REST API: no redirect is followed
	files *resty.Client // downloads: see follow
	// sent tells which attachments are the effect of which message: Jira cannot
	// mark them. What it forgets, at a restart or beyond its size, only matters if
	// the same file was sent twice and the second answer was lost.
	sent   ledger
	issues ledger // which issues are ours and which are strangers, so that a sweep asks once

	mu       sync.Mutex
	me       *account // our own account, once known
	projects []string // that were searched for changes, sorted
}

var (
	_ passerelle.Inbound  = (*Jira)(nil)
	_ passerelle.Outbound = (*Jira)(nil)
	_ passerelle.Sweeper  = (*Jira)(nil)
)

// Option changes how New builds a Jira.
type Option func(*settings)

type settings struct{ transport, elsewhere http.RoundTripper }

// Transport makes all requests go through rt, for instance one that trusts a
// private certificate authority. The default is net/http's usual transport
// with resty's limits.
func Transport(rt http.RoundTripper) Option {
	return func(s *settings) { s.transport = rt }
}

// Elsewhere makes the requests to another host than Jira's own go through rt.
// The default is the way to Jira itself.
func Elsewhere(rt http.RoundTripper) Option {
	return func(s *settings) { s.elsewhere = rt }
}

// New makes an adapter for the Jira that cfg describes. It sends nothing yet.
func New(cfg Config, opts ...Option) (*Jira, error) {
	cfg = cfg.filled()
	base, err := cfg.check()
	if err != nil {
		return nil, err
	}
	var s settings
	for _, o := range opts {
		o(&s)
	}
	j := &Jira{cfg: &cfg, base: base, sent: ledger{size: 4096}, issues: ledger{size: 1 << 16}}
	j.api = j.client(s.transport, stay)
	if s.elsewhere != nil {
		s.transport = &fork{j, s.transport, s.elsewhere}
	}
	j.files = j.client(s.transport, j.follow)
	return j, nil
}

// fork parts what is asked of Jira itself from what is asked of another host.
type fork struct {
	j             *Jira
	here, another http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (f *fork) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.j.inside(r.URL) {
		return f.here.RoundTrip(r)
	}
	return f.another.RoundTrip(r)
}

// client makes an HTTP client with our account and without retries: only the
// relay knows whether something may be sent again.
func (j *Jira) client(rt http.RoundTripper, follow func(*http.Request, []*http.Request) error) *resty.Client {
	c := resty.NewWithClient(&http.Client{Transport: rt, CheckRedirect: follow})
	c.SetLogger(silent{}).SetDisableWarn(true).SetDoNotParseResponse(true)
	c.SetHeader("User-Agent", "passerelle")
	switch {
	case j.cfg.Cloud && j.cfg.Token != "":
		c.SetBasicAuth(j.cfg.User, string(j.cfg.Token))
	case j.cfg.Token != "":
		c.SetAuthToken(string(j.cfg.Token))
	case j.cfg.User != "":
		c.SetBasicAuth(j.cfg.User, string(j.cfg.Password))
	}
	return c
}

// silent keeps resty from writing to the standard error: errors are returned.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}

// stay follows no redirect: the answer says where Jira really is, and a person
// decides whether our account goes there.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// follow follows a download to where Jira keeps its files: below base_url, and
// from a Cloud once to another host, over https and without our credentials.
func (j *Jira) follow(r *http.Request, via []*http.Request) error {
	switch below := j.inside(r.URL) && strings.HasPrefix(r.URL.Path, strings.TrimRight(j.base.Path, "/")+"/"); {
	case len(via) > 5 || !j.inside(via[len(via)-1].URL):
		return http.ErrUseLastResponse
	case below && !isLogin(r.URL):
		return nil
	case j.inside(r.URL) || !j.cfg.Cloud || r.URL.Scheme != "https" || r.URL.User != nil:
		return http.ErrUseLastResponse
	}
	r.Header.Del("Authorization")
	r.Header.Del("Cookie")
	r.Header.Del("Referer")
	return nil
}

// isLogin recognises Jira's login page, not a file that is called like it.
func isLogin(u *url.URL) bool {
	switch path.Base(u.Path) {
	case "login.jsp", "login.action", "login":
		return !strings.Contains(u.Path, "/attachment/")
	}
	return false
}

func (j *Jira) inside(u *url.URL) bool {
	return u.Scheme == j.base.Scheme && strings.EqualFold(u.Host, j.base.Host)
}
