// Package itop speaks the REST/JSON protocol of Combodo iTop, both ways: its
// face answers an iTop (or a partner's own agent) as an iTop would, and its
// client writes to a real one.
//
// It keeps nothing on disk. What can go wrong is told in iTop's own answers
// (inbound) and as classified errors (outbound). iTop keeps no marks of ours,
// loses concurrent journal writes on one ticket and has no idempotence: writes
// to one ticket must be serial, and are read back.
package itop

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-resty/resty/v2"

	"passerelle"
)

// Account is a technical account that may talk to the face.
type Account struct {
	User     string
	Password passerelle.Secret // for the form and for Basic
	Token    passerelle.Secret // for the Auth-Token header, or Authorization: Bearer
}

// Config says which iTop it is, and who may talk to its face.
type Config struct {
	Contract string          // whose tickets
	Side     passerelle.Side // which party's tool this is
	Accounts []Account       // who may post to the face

	BaseURL  string            // of the iTop, without webservices/rest.php; empty: nothing is sent there
	User     string            // technical account at the iTop
	Password passerelle.Secret // its password
	Token    passerelle.Secret // instead of user and password
	Version  string            // of the REST API; default 1.3
	Class    string            // of the tickets; default UserRequest
	Timeout  time.Duration     // for one request; default 60 s

	LimitBytes int64             // of one JSON message (R24); default 10 MiB
	Transport  http.RoundTripper // default http.DefaultTransport
}

// ITop is one iTop: a face for it and a client to it.
type ITop struct {
	cfg    Config
	client *resty.Client
}

// New returns an ITop. It makes no request.
func New(cfg Config) (*ITop, error) {
	if cfg.Version == "" {
		cfg.Version = "1.3"
	}
	if cfg.Class == "" {
		cfg.Class = "UserRequest"
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	if cfg.LimitBytes == 0 {
		cfg.LimitBytes = 10 << 20
	}
	if cfg.Contract == "" || cfg.Side == "" {
		return nil, fmt.Errorf("itop: contract and side are needed")
	}
	for _, a := range cfg.Accounts {
		if a.Token == "" && (a.User == "" || a.Password == "") {
			return nil, fmt.Errorf("itop: %s %s: account %q has neither a token nor a user with a password", cfg.Contract, cfg.Side, a.User)
		}
	}
	return &ITop{cfg: cfg, client: newClient(cfg)}, nil
}

// authorised tells whether the credentials are one of the accounts'. All are
// compared, in constant time.
func (t *ITop) authorised(c credentials) bool {
	ok := 0
	for _, a := range t.cfg.Accounts {
		if a.Token != "" && c.token != "" {
			ok |= subtle.ConstantTimeCompare([]byte(a.Token), []byte(c.token))
		}
		if a.User != "" && a.Password != "" {
			ok |= subtle.ConstantTimeCompare([]byte(a.User), []byte(c.user)) & subtle.ConstantTimeCompare([]byte(a.Password), []byte(c.password))
		}
	}
	return ok == 1
}

// credentials are what a caller gave, by whichever way.
type credentials struct{ user, password, token string }

func (c credentials) given() bool { return c.user != "" || c.token != "" }

// headerCredentials are those of the request's headers; Basic wins over the
// form, as in iTop.
func headerCredentials(r *http.Request) credentials {
	c := credentials{token: r.Header.Get("Auth-Token")}
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		c.token = bearer
	}
	if user, pwd, ok := r.BasicAuth(); ok {
		c.user, c.password = user, pwd
	}
	return c
}
