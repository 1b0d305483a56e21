// Package agent speaks to a partner that keeps an agent of its own: a program
// that takes the annex's messages (to-partner/*.json) by HTTP and writes them
// into the partner's tool itself. It gets them as the contract renders them,
// with the credentials in the places that the template has for them.
//
// It keeps nothing on disk and can read nothing back: the agent has no marks of
// ours, so that a lost answer stays unknown. Such a message is parked, and an
// operator decides after a look at the partner's ticket.
package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"

	"passerelle"
)

// Config says where the agent is, and how it takes a message.
type Config struct {
	Contract string            // whose tickets
	Side     passerelle.Side   // which party's agent this is
	URL      string            // where messages are posted, in full
	AuthURL  string            // what a message's auth_url says; default URL
	User     string            // technical account at the agent; none where it asks for none
	Password passerelle.Secret // its password
	Form     bool              // post the message as an iTop takes it, in the form field json_data; default application/json
	Timeout  time.Duration     // for one message with its file; default 1 min

	// Transport carries the requests. The default is as http.DefaultTransport
	// with TLS 1.2 or newer, and a connection for each message: one that the
	// agent closes while it is idle would leave an outcome unknown.
	Transport http.RoundTripper
}

// Agent is one partner's agent.
type Agent struct {
	cfg  *Config // behind a pointer, so that an Agent that is printed shows no password
	mask *mask   // hides our credentials in what the agent says
}

// New returns an Agent. It makes no request.
func New(cfg Config) (*Agent, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("agent: %s %s: %w", cfg.Contract, cfg.Side, err)
	}
	if cfg.AuthURL == "" {
		cfg.AuthURL = cfg.URL
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = time.Minute
	}
	if cfg.Transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		own.DisableKeepAlives = true
		cfg.Transport = own
	}
	return &Agent{cfg: &cfg, mask: newMask(cfg.User, cfg.Password.Reveal())}, nil
}

// check names what is missing. It never repeats the URL: somebody may have put
// a password there.
func (c Config) check() error {
	u, err := url.Parse(c.URL)
	switch {
	case c.Contract == "" || c.Side == "":
		return errors.New("contract and side are needed")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("url must be a full http or https address")
	case u.User != nil:
		return errors.New("url must not hold credentials (give user and password)")
	case c.User == "" && c.Password != "":
		return errors.New("a password needs a user")
	case !utf8.ValidString(c.User) || !utf8.ValidString(c.Password.Reveal()):
		return errors.New("user and password must be UTF-8, for they travel in JSON")
	}
	return nil
}

// Deliver posts one message. A create's Receipt has the partner's reference if
// the agent answers with it; else it comes later, by update-reference (R5).
func (a *Agent) Deliver(ctx context.Context, m *passerelle.Message, files passerelle.Spool) (*passerelle.Receipt, error) {
	if m.Op == passerelle.OpNotify { // R25: the annex has no message for it
		return &passerelle.Receipt{Note: "not told: an agent has no watchers or labels"}, nil
	}
	said, err := a.send(ctx, m, files)
	if err != nil {
		return nil, named(err, m)
	}
	r := &passerelle.Receipt{}
	if m.Op == "core/create" {
		r.Ref = a.refOf(said, m)
	}
	return r, nil
}

// Probe cannot tell: an agent keeps no marks and is not read. Its answer is
// always passerelle.ErrUnknown, upon which the entry is parked as "outcome
// unknown" and an operator decides: drop it if the ticket shows it, retry it if
// not.
func (a *Agent) Probe(context.Context, *passerelle.Message, passerelle.Spool) (*passerelle.Receipt, error) {
	return nil, passerelle.ErrUnknown
}

// named adds the operation and the ticket, as people call it, to an error.
func named(err error, m *passerelle.Message) error {
	var e *passerelle.Error
	if !errors.As(err, &e) {
		return err
	}
	if e.Op, e.Ticket = "agent: "+m.Op, m.Number; m.Number == "" {
		e.Ticket = m.Key
	}
	return err
}

// fail makes an error of a class. What the agent, or the way there, said must
// have passed mask.quote.
func fail(class passerelle.Class, hint, format string, args ...any) *passerelle.Error {
	return &passerelle.Error{Op: "agent", Class: class, Hint: hint, Err: fmt.Errorf(format, args...)}
}
