// Package adapters lists the tools that the gateway can speak to, and reads
// their part of the configuration.
package adapters

import (
	"fmt"
	"os"
	"strings"
	"time"

	"passerelle"
	"passerelle/adapters/agent"
	"passerelle/adapters/itop"
	"passerelle/adapters/jira"
	"passerelle/internal/intake"
	"passerelle/internal/login"
)

// Adapter is one side's tool: what is said to it, read of it, and the faces
// that it talks to.
type Adapter struct {
	Out   passerelle.Outbound
	Watch passerelle.Watcher
	Faces map[string]passerelle.Inbound // by path below /{contract}/{side}/
}

// The paths of the faces.
const (
	RESTPath    = "webservices/rest.php" // iTop's protocol
	WebhookPath = "webhook"              // Jira's webhooks
)

// Settings is one side of a contract in gateway.yaml: exactly one tool.
type Settings struct {
	Workers int   `yaml:"workers"` // messages in flight to this tool at most; default 8
	ITop    *ITop `yaml:"itop"`    // Combodo iTop; default none
	Jira    *Jira `yaml:"jira"`    // Jira Data Center or Cloud; default none
	// Agent is a program of the partner's own that speaks the contract's
	// messages: beside jira it only posts to our face; alone, with a url, it is
	// this side's tool; default none.
	Agent *Agent `yaml:"agent"`
}

// SecretRef tells where a secret is; the secret itself never stands in the
// configuration.
type SecretRef struct {
	File string `yaml:"file"` // a file that holds it, its last line end not counted; default none
	Env  string `yaml:"env"`  // an environment variable that holds it; default none
	// Value is the secret itself, for programs and tests; no configuration can
	// hold it.
	Value passerelle.Secret `yaml:"-"`
}

// Read returns the secret, "" for an empty reference.
func (s SecretRef) Read() (passerelle.Secret, error) {
	switch {
	case s.Value != "":
		return s.Value, nil
	case s.File != "" && s.Env != "":
		return "", fmt.Errorf("give file or env, not both")
	case s.File != "":
		b, err := os.ReadFile(s.File)
		return passerelle.Secret(strings.TrimRight(string(b), "\r\n")), err
	case s.Env != "":
		v, ok := os.LookupEnv(s.Env)
		if !ok {
			return "", fmt.Errorf("the environment has no %s", s.Env)
		}
		return passerelle.Secret(v), nil
	}
	return "", nil
}

// ITop is an iTop's part of the configuration.
type ITop struct {
	BaseURL   string        `yaml:"base_url"`   // the iTop's address, without /webservices/rest.php; default none: nothing is sent there
	User      string        `yaml:"user"`       // technical account there; default none
	Password  SecretRef     `yaml:"password"`   // its password; default none
	Token     SecretRef     `yaml:"token"`      // instead of user and password; default none
	Version   string        `yaml:"version"`    // of its REST API; default 1.3
	Class     string        `yaml:"class"`      // of its tickets; default UserRequest
	Timeout   time.Duration `yaml:"timeout"`    // for one request; default 1m
	MarkField string        `yaml:"mark_field"` // field that carries the broker's own reference, such as title; default none: a create whose answer is lost waits for a person
	History   bool          `yaml:"history"`    // our account may read iTop's history of changes (CMDBChangeOp), which shows lost journal entries; default false
	ReadFirst bool          `yaml:"read_first"` // a pushed journal entry is a hint: the ticket is read, and what another push should have told travels before it; default false: it travels at once
	Accounts  []Account     `yaml:"accounts"`   // who may post to our face for it; default nobody
	TLS       `yaml:",inline"`
}

// Account is a technical account that may post to a face. Its secrets are
// hashes, as `gateway password` and `gateway token` print them.
type Account struct {
	User     string    `yaml:"user"`     // for the form and for Basic; default none
	Password SecretRef `yaml:"password"` // hash of its password; default none
	Token    SecretRef `yaml:"token"`    // hash of its token, for the headers Auth-Token and Authorization: Bearer; default none
}

// Agent is a program that speaks the contract's messages itself (R26).
type Agent struct {
	Accounts []Account     `yaml:"accounts"` // who may post to our face for it; default nobody
	URL      string        `yaml:"url"`      // where the contract's messages are posted, in full; default none: nothing is sent to it
	AuthURL  string        `yaml:"auth_url"` // what a message's auth_url says; default url
	User     string        `yaml:"user"`     // technical account at the agent; default none
	Password SecretRef     `yaml:"password"` // its password; default none
	Form     bool          `yaml:"form"`     // post as an iTop takes it, in the form field json_data; default false: application/json
	Timeout  time.Duration `yaml:"timeout"`  // for one message with its file; default 1m
	TLS      `yaml:",inline"`
}

// Jira is a Jira's part of the configuration.
type Jira struct {
	BaseURL      string          `yaml:"base_url"`      // its address, with its context path; required
	Cloud        bool            `yaml:"cloud"`         // Jira Cloud rather than Data Center; default false
	User         string          `yaml:"user"`          // technical account there (Cloud: e-mail); default none
	Password     SecretRef       `yaml:"password"`      // its password, Data Center only; default none
	Token        SecretRef       `yaml:"token"`         // personal access token (Cloud: API token); default none
	Timeout      time.Duration   `yaml:"timeout"`       // for one request; default 30s
	Transfer     time.Duration   `yaml:"transfer"`      // for one file; default 10m
	Project      string          `yaml:"project"`       // key of the project; default none
	MarkField    string          `yaml:"mark_field"`    // field that carries the broker's own id and can be searched; default none
	TextLimit    int             `yaml:"text_limit"`    // characters of one text, as its administrator set them; default 32767
	SearchDelays []time.Duration `yaml:"search_delays"` // waits before each search for a lost create; default [0s, 2s, 5s, 8s]
	Webhook      Webhook         `yaml:"webhook"`       // how it proves a webhook; default: every webhook is refused
	TLS          `yaml:",inline"`
}

// Webhook lists what is taken as proof that a webhook comes from Jira.
type Webhook struct {
	Secrets  []SecretRef `yaml:"secrets"`  // of X-Hub-Signature, several while one replaces another; default none
	Tokens   []SecretRef `yaml:"tokens"`   // hashes of those in the URL as ?token= or as Authorization: Bearer; default none
	User     string      `yaml:"user"`     // Basic; default none
	Password SecretRef   `yaml:"password"` // Basic: the hash of its password; default none
}

// Terms is what a tool must know of the contract that it serves.
type Terms struct {
	Contract   string // by name
	Side       passerelle.Side
	LimitBytes int64          // of one message (R24)
	Scope      string         // which tickets stand with the partner's team, in an iTop's words (OQL); empty: it is not told
	Intake     *intake.Intake // bounds what the faces take in at a time, for all tools of a gateway; nil: one of its own
	Guard      *login.Guard   // watches the faces' accounts, for all tools of a gateway; nil: one of its own
}

// door makes the accounts of a face. An error names the account.
func (t Terms) door(face string, accounts []login.Account) (*login.Door, error) {
	if t.Guard == nil {
		t.Guard = login.NewGuard(login.Config{})
	}
	return t.Guard.Door(t.Contract+"/"+string(t.Side)+face, accounts)
}

// Open makes the tool that the settings describe, for one side of a contract.
func Open(s *Settings, t Terms) (*Adapter, error) {
	contract, side := t.Contract, t.Side
	at := func(err error) error { return fmt.Errorf("%s: %s: %w", contract, side, err) }
	switch {
	case s.ITop != nil && (s.Jira != nil || s.Agent != nil):
		return nil, at(fmt.Errorf("itop excludes jira and agent (keep one)"))
	case s.ITop != nil:
		tool, err := openITop(s.ITop, t)
		if err != nil {
			return nil, at(err)
		}
		return &Adapter{Out: tool, Watch: tool, Faces: map[string]passerelle.Inbound{RESTPath: tool}}, nil
	case s.Agent != nil && s.Agent.URL != "" && s.Jira != nil:
		return nil, at(fmt.Errorf("agent.url excludes jira: both would hear each message (keep one)"))
	case s.Agent != nil && s.Agent.URL != "":
		a, err := openAgent(s.Agent, t)
		if err != nil {
			return nil, at(err)
		}
		return a, nil
	case s.Jira == nil:
		return nil, at(fmt.Errorf("no tool is given (itop, jira, or agent with a url)"))
	}
	j, err := openJira(s.Jira, t)
	if err != nil {
		return nil, at(err)
	}
	a := &Adapter{Out: j, Watch: j, Faces: map[string]passerelle.Inbound{WebhookPath: j}}
	if s.Agent != nil {
		face, err := openITop(&ITop{Accounts: s.Agent.Accounts}, t)
		if err != nil {
			return nil, at(fmt.Errorf("agent: %w", err))
		}
		a.Faces[RESTPath] = face
	}
	return a, nil
}

// openAgent makes a side that is a partner's own agent: it cannot be read.
func openAgent(s *Agent, t Terms) (*Adapter, error) {
	password, err := s.Password.Read()
	if err != nil {
		return nil, fmt.Errorf("agent: password: %w", err)
	}
	way, err := s.transport(s.URL)
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	way.DisableKeepAlives = true // a connection that it closes while idle would leave an outcome unknown
	out, err := agent.New(agent.Config{Contract: t.Contract, Side: t.Side, URL: s.URL, AuthURL: s.AuthURL, User: s.User, Password: password, Form: s.Form, Timeout: s.Timeout, Transport: &fenced{way}})
	if err != nil {
		return nil, err
	}
	face, err := openITop(&ITop{Accounts: s.Accounts}, t)
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	return &Adapter{Out: out, Faces: map[string]passerelle.Inbound{RESTPath: face}}, nil
}

func openITop(s *ITop, t Terms) (*itop.ITop, error) {
	cfg := itop.Config{Contract: t.Contract, Side: t.Side, BaseURL: s.BaseURL, User: s.User, Version: s.Version, Class: s.Class, Timeout: s.Timeout, MarkField: s.MarkField,
		LimitBytes: t.LimitBytes, Intake: t.Intake, Scope: t.Scope, History: s.History}
	var err error
	if cfg.Password, cfg.Token, err = readBoth(s.Password, s.Token); err != nil {
		return nil, err
	}
	accounts, err := readAccounts(s.Accounts)
	if err != nil {
		return nil, err
	}
	if cfg.Door, err = t.door("", accounts); err != nil {
		return nil, err
	}
	way, err := s.transport(s.BaseURL)
	if err != nil {
		return nil, err
	}
	cfg.Transport = &fenced{way}
	return itop.New(cfg)
}

func readAccounts(list []Account) ([]login.Account, error) {
	var out []login.Account
	for i, a := range list {
		password, token, err := readBoth(a.Password, a.Token)
		if err != nil {
			return nil, fmt.Errorf("accounts[%d]: %w", i, err)
		}
		out = append(out, login.Account{User: a.User, Password: password, Token: token})
	}
	return out, nil
}

func readBoth(password, token SecretRef) (p, t passerelle.Secret, err error) {
	if p, err = password.Read(); err != nil {
		return "", "", fmt.Errorf("password: %w", err)
	}
	if t, err = token.Read(); err != nil {
		return "", "", fmt.Errorf("token: %w", err)
	}
	return p, t, nil
}

func openJira(s *Jira, t Terms) (*jira.Jira, error) {
	cfg := jira.Config{Contract: t.Contract, Side: t.Side, Intake: t.Intake, BaseURL: s.BaseURL, Cloud: s.Cloud, User: s.User, Timeout: s.Timeout,
		Transfer: s.Transfer, Project: s.Project, MarkField: s.MarkField, TextLimit: s.TextLimit, SearchDelays: s.SearchDelays}
	var err error
	if cfg.Password, cfg.Token, err = readBoth(s.Password, s.Token); err != nil {
		return nil, err
	}
	if cfg.Webhook.Secrets, err = readAll(s.Webhook.Secrets); err != nil {
		return nil, fmt.Errorf("webhook.secrets: %w", err)
	}
	if cfg.Webhook.Door, err = s.Webhook.door(t); err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	way, err := s.transport(s.BaseURL)
	if err != nil {
		return nil, err
	}
	elsewhere, err := s.elsewhere()
	if err != nil {
		return nil, err
	}
	return jira.New(cfg, jira.Transport(&fenced{way}), jira.Elsewhere(elsewhere))
}

// door lets in who comes without a signature.
func (w *Webhook) door(t Terms) (*login.Door, error) {
	tokens, err := readAll(w.Tokens)
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	password, err := w.Password.Read()
	if err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	if (w.User == "") != (password == "") {
		return nil, fmt.Errorf("user and password go together (give both or none)")
	}
	var accounts []login.Account
	for _, token := range tokens {
		accounts = append(accounts, login.Account{Token: token})
	}
	if password != "" {
		accounts = append(accounts, login.Account{User: w.User, Password: password})
	}
	return t.door("/webhook", accounts)
}

func readAll(refs []SecretRef) ([]passerelle.Secret, error) {
	var out []passerelle.Secret
	for _, ref := range refs {
		v, err := ref.Read()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}
