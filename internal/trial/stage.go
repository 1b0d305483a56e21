// Package trial sets up simulated tools from a contract folder, for the
// demonstration, `gateway sim`, the conversations and the benchmark: who plays
// the two tools and with what accounts is data of the contract, demo/stage.yaml.
//
// It keeps nothing. What can go wrong: a stage that names a tool nobody can
// play, or data that the simulator refuses; the error names the file.
package trial

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"passerelle"
	"passerelle/adapters"
	"passerelle/internal/login"
	"passerelle/mapping"
)

// Kinds of tools that a stage can have.
const (
	ITop  = "itop"
	Jira  = "jira"
	Agent = "agent" // a partner's own, which takes the contract's messages; in conversations only
)

// Stage is a contract's demo/stage.yaml: its two tools, simulated.
type Stage struct {
	Requester Role `yaml:"requester"`
	Partner   Role `yaml:"partner"`
	dir       string
}

// Role is how one side's tool is played.
type Role struct {
	Kind     string  `yaml:"kind"`     // itop, jira or agent
	Data     string  `yaml:"data"`     // what it holds: a file beside stage.yaml; not for an agent
	Triggers string  `yaml:"triggers"` // itop: folder of the contract with triggers.csv and its payloads
	Gateway  Account `yaml:"gateway"`  // our technical account there
	Agent    Account `yaml:"agent"`    // who acts there
	// Settings are further keys of the tool, as gateway.yaml has them below itop
	// or jira.
	Settings map[string]any `yaml:"settings"`
}

// Account is a login of a simulated tool: an example, never a real one.
type Account struct {
	User     string `yaml:"user"`
	Password string `yaml:"password"`
	Token    string `yaml:"token"`
}

// Load reads the stage of a contract folder.
func Load(dir string) (*Stage, error) {
	file := filepath.Join(dir, StageFile)
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s, err := Parse(dir, b)
	if err == nil && (s.Requester.Kind == Agent || s.Partner.Kind == Agent) {
		err = fmt.Errorf("kind %q has nobody to act there (%s or %s)", Agent, ITop, Jira)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

// StageFile is the stage's place in a contract folder.
const StageFile = "demo/stage.yaml"

// Parse reads a stage whose other files lie in a contract folder.
func Parse(dir string, b []byte) (*Stage, error) {
	s := &Stage{dir: dir}
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(s); err != nil {
		return nil, err
	}
	for _, side := range Sides {
		if r := s.Role(side); r.Kind != ITop && r.Kind != Jira && r.Kind != Agent {
			return nil, fmt.Errorf("%s: kind %q can not be played (%s, %s or %s)", side, r.Kind, ITop, Jira, Agent)
		}
	}
	return s, nil
}

// Sides are the two that have a tool.
var Sides = []passerelle.Side{passerelle.Requester, passerelle.Partner}

// Role is how one side is played.
func (s *Stage) Role(side passerelle.Side) *Role {
	if side == passerelle.Partner {
		return &s.Partner
	}
	return &s.Requester
}

// Secret makes a reference to a secret of that name: its value itself, or a
// file that now holds it.
type Secret func(name, value string) (adapters.SecretRef, error)

// InMemory is the Secret of programs that keep no files.
func InMemory(_, value string) (adapters.SecretRef, error) {
	return adapters.SecretRef{Value: passerelle.Secret(value)}, nil
}

// Connect is one side of a link: how the gateway reaches the tool at url, and
// by what token the tool's webhooks and its agent prove themselves.
func (s *Stage) Connect(side passerelle.Side, url, token string, secret Secret) (adapters.Settings, error) {
	r := s.Role(side)
	out := adapters.Settings{}
	face, err := secret(string(side)+"-face", login.HashToken(passerelle.Secret(token)).Reveal())
	if err != nil {
		return out, err
	}
	password, err := secret(string(side)+"-account", r.Gateway.Password+r.Gateway.Token) // one of the two
	if err != nil {
		return out, err
	}
	accounts := []adapters.Account{{Token: face}}
	if r.Kind == ITop {
		out.ITop = &adapters.ITop{}
		if err := r.settings(out.ITop); err != nil {
			return out, err
		}
		out.ITop.BaseURL, out.ITop.User, out.ITop.Password, out.ITop.Accounts = url, r.Gateway.User, password, accounts
		return out, nil
	}
	out.Agent = &adapters.Agent{Accounts: accounts}
	if r.Kind == Agent {
		if err := r.settings(out.Agent); err != nil {
			return out, err
		}
		out.Agent.URL, out.Agent.User, out.Agent.Password = url, r.Gateway.User, password
		return out, nil
	}
	out.Jira = &adapters.Jira{}
	if err := r.settings(out.Jira); err != nil {
		return out, err
	}
	hook, err := secret(string(side)+"-webhook", token)
	out.Jira.BaseURL, out.Jira.Token, out.Jira.Webhook.Secrets = url, password, []adapters.SecretRef{hook}
	return out, err
}

// settings fills a tool's configuration with the role's further keys.
func (r *Role) settings(to any) error {
	b, err := yaml.Marshal(r.Settings)
	if err != nil || len(r.Settings) == 0 {
		return err
	}
	if err := yaml.UnmarshalWithOptions(b, to, yaml.Strict()); err != nil {
		_, text := mapping.YAMLError(err)
		return fmt.Errorf("demo/stage.yaml: settings: %s (the keys are those below %s in gateway.example.yaml)", text, r.Kind)
	}
	return nil
}

// Serve serves h on an address of the loopback until the returned
// function is called.
func Serve(addr string, h http.Handler) (url string, stop func() error, err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, err
	}
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }() // ends with Close below
	return "http://" + l.Addr().String(), func() error { err := s.Close(); <-done; return err }, nil
}
