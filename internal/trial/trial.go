// Package trial sets up simulated tools from a contract folder: their data from
// demo/, and the triggers and webhooks that the contract's documents have their
// administrators set up. It is for the demonstration, `gateway sim` and the
// conversations.
package trial

import (
	"encoding/csv"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"passerelle/adapters/itop/itopsim"
	"passerelle/adapters/jira/jirasim"
)

// ITop makes an iTop simulator from a contract folder: its data from
// demo/itop.json, its triggers from from-requester, posting to face with token.
func ITop(dir, face, token string) (*itopsim.Sim, error) {
	f, err := os.Open(filepath.Join(dir, "demo", "itop.json"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fixture, err := itopsim.Load(f)
	if err != nil {
		return nil, err
	}
	if face != "" {
		if fixture.Triggers, err = Triggers(dir, face, token); err != nil {
			return nil, err
		}
	}
	return itopsim.New(fixture)
}

// Triggers reads what the contract tells an iTop administrator to set up:
// from-requester/triggers.csv and the payloads beside it.
func Triggers(dir, face, token string) ([]itopsim.Trigger, error) {
	f, err := os.Open(filepath.Join(dir, "from-requester", "triggers.csv"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("triggers.csv: %w", err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	var out []itopsim.Trigger
	for _, r := range rows[1:] {
		get := func(name string) string { return r[column[name]] }
		payload, err := os.ReadFile(filepath.Join(dir, "from-requester", get("payload")+".json"))
		if err != nil {
			return nil, err
		}
		t := itopsim.Trigger{Name: get("name"), On: get("on"), Class: get("class"), State: get("state"), Filter: get("filter"), Context: strings.Split(get("context"), "|"),
			Action: itopsim.Action{URL: face, Headers: []string{"Content-type: application/json", "Auth-Token: " + token}, Payload: string(payload)}}
		if a := get("attcodes"); a != "" {
			t.Attcodes = strings.Split(a, "|")
		}
		out = append(out, t)
	}
	return out, nil
}

// Jira makes a Jira simulator from a contract folder's demo/jira.json; its
// webhooks go to face, signed with secret.
func Jira(dir, face, secret string) (*jirasim.Sim, error) {
	f, err := os.Open(filepath.Join(dir, "demo", "jira.json"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fixture, err := jirasim.Load(f)
	if err != nil {
		return nil, err
	}
	sim, err := jirasim.New(fixture)
	if err == nil && face != "" {
		sim.SetWebhooks(Webhooks(face, secret))
	}
	return sim, err
}

// Webhooks are the webhooks that docs/jira-side.md has a Jira
// administrator set up.
func Webhooks(face, secret string) []jirasim.Webhook {
	return []jirasim.Webhook{{Name: "passerelle", URL: face, Secret: secret,
		Events: []string{"jira:issue_created", "jira:issue_updated", "comment_created", "comment_updated", "attachment_created"}}}
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
