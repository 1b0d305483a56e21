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
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"passerelle"
	"passerelle/internal/intake"
	"passerelle/internal/login"
)

// Config says which iTop it is, and who may talk to its face.
type Config struct {
	Contract string          // whose tickets
	Side     passerelle.Side // which party's tool this is
	Door     *login.Door     // who may post to the face; default nobody

	BaseURL  string            // of the iTop, without webservices/rest.php; empty: nothing is sent there
	User     string            // technical account at the iTop
	Password passerelle.Secret // its password
	Token    passerelle.Secret // instead of user and password
	Version  string            // of the REST API; default 1.3
	Class    string            // of the tickets; default UserRequest
	Timeout  time.Duration     // for one request; default 60 s

	// MarkField is the ticket's field that carries the broker's own reference, by
	// which a create whose answer was lost is found; default none.
	MarkField string

	// Scope is a query (OQL) for the tickets that stand with the partner's team,
	// "SELECT UserRequest WHERE team_name = 'Support'"; default none: no sweep
	// finds a ticket that nobody told of, and no reading says Away.
	Scope string
	// History says that our account may read what iTop notes of each change
	// (CMDBChangeOp), which shows lost journal entries; default false.
	History bool

	Intake     *intake.Intake    // bounds what is taken in at a time; default one of its own
	LimitBytes int64             // of one JSON message (R24); default 10 MiB
	Transport  http.RoundTripper // default: as http.DefaultTransport, with TLS 1.2 or newer
}

// ITop is one iTop: a face for it and a client to it.
type ITop struct {
	cfg    *Config // behind a pointer: fmt cannot mask a Secret in an unexported value
	client *http.Client
	mask   *strings.Replacer // hides our own secrets in what an iTop answers
	self   atomic.Value      // string: our account's id there, once an entry of ours told it
	waits  []time.Duration   // for an image without a ticket
	guests chan struct{}     // messages kept before we know who sends them
}

// maxGuests bounds how many messages may take room, in memory and in the spool,
// before their sender is known: those whose credentials come after json_data.
const maxGuests = 4

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
	if cfg.MarkField != "" && !attributeCode.MatchString(cfg.MarkField) {
		return nil, fmt.Errorf("itop: %s %s: mark_field: %q is no attribute code (such as title)", cfg.Contract, cfg.Side, cfg.MarkField)
	}
	if cfg.Scope = strings.TrimSpace(cfg.Scope); cfg.Scope != "" && !isOQL(cfg.Scope) {
		return nil, fmt.Errorf("itop: %s %s: scope: %q is no query (such as SELECT UserRequest WHERE team_name = 'Support')", cfg.Contract, cfg.Side, cfg.Scope)
	}
	if cfg.Door == nil {
		cfg.Door, _ = login.NewGuard(login.Config{}).Door("", nil) // no account is wrong
	}
	if cfg.Intake == nil {
		cfg.Intake = intake.New(intake.Config{})
	}
	return &ITop{cfg: &cfg, client: newClient(cfg), mask: newMask(cfg), waits: imageWaits(), guests: make(chan struct{}, maxGuests)}, nil
}

// enter lets known senders in. Credentials are looked at once, however often a
// request comes to this: each look at wrong ones counts.
func (t *ITop) enter(q *request, c credentials) error {
	if !q.looked || q.seen != c {
		q.looked, q.seen = true, c
		q.verdict = t.cfg.Door.Enter(q.http, login.Credentials{User: c.user, Password: c.password, Token: c.token})
		if q.verdict == nil {
			intake.Within(q.w, intake.KnownBody)
		}
	}
	return q.verdict
}

// check answers core/check_credentials, by which a sender may try passwords too:
// it is slowed down like any other.
func (t *ITop) check(q *request) (ok bool, err error) {
	err = t.cfg.Door.Enter(q.http, login.Credentials{User: q.json.Get("user").String(), Password: q.json.Get("password").String()})
	var no *login.Refusal
	if errors.As(err, &no) && no.After == 0 {
		return false, nil
	}
	return err == nil, err
}

// credentials are what a caller gave, by one of the ways.
type credentials struct{ user, password, token string }

func (c credentials) given() bool { return c.user != "" || c.token != "" }

// whole tells whether nothing more can come that would make them right.
func (c credentials) whole() bool { return c.token != "" || c.user != "" && c.password != "" }

// headerCredentials are those of the request's headers.
func headerCredentials(r *http.Request) credentials {
	c := credentials{token: r.Header.Get("Auth-Token")}
	if scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		c.token = strings.TrimSpace(bearer)
	}
	if user, pwd, ok := r.BasicAuth(); ok {
		c.user, c.password = user, pwd
	}
	return c
}
