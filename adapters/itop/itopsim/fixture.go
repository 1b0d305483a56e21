package itopsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Models of data a Sim can have.
const (
	ModelStock = "stock" // a plain iTop 3.2.0
	ModelSUMiT = "sumit" // with SUMiT's fields, stimuli and syn/addattachment
)

// Fixture is what a new iTop holds.
type Fixture struct {
	Model    string    `json:"model"`    // ModelStock or ModelSUMiT
	Timezone string    `json:"timezone"` // PHP's; default Europe/Paris. Stored dates are local, without offset
	Accounts []Account `json:"accounts"`
	Objects  []Object  `json:"objects"`
	Triggers []Trigger `json:"triggers"`
}

// Account is one login of the iTop.
type Account struct {
	Login     string   `json:"login"`
	Password  string   `json:"password"`
	Token     string   `json:"token"`      // for the Auth-Token header; "" = none
	Profiles  []string `json:"profiles"`   // see rights.go
	Name      string   `json:"name"`       // friendly name, shown as user_login in logs; default the login
	ContactID int      `json:"contact_id"` // the account's Person
	ID        int      `json:"id"`         // default: the next from 2 on, as iTop's first administrator is 1
	Language  string   `json:"language"`   // "FR FR" or "EN US" (the default): the language of error messages
}

// Object is one stored object. External keys are numbers or names of a target
// that is in the fixture; logs are lists of {date, user_login, message}.
type Object struct {
	Class  string         `json:"class"`
	ID     int            `json:"id"` // 0 = the next free one
	Fields map[string]any `json:"fields"`
}

// Trigger says when an Action is sent.
type Trigger struct {
	Name     string   `json:"name"`
	On       string   `json:"on"`       // create, update, enter, leave or delete
	Class    string   `json:"class"`    // UserRequest, Attachment
	State    string   `json:"state"`    // for enter and leave
	Attcodes []string `json:"attcodes"` // target_attcodes, for update; empty = any
	Filter   string   `json:"filter"`   // OQL; empty = every object of the class
	Context  []string `json:"context"`  // GUI:Console, GUI:Portal, CRON, Synchro, REST/JSON; empty = always
	Action   Action   `json:"action"`
}

// Action is one webhook, as its administrator wrote it.
type Action struct {
	Name     string   `json:"name"`     // what $action->name$ gives; default the trigger's name
	URL      string   `json:"url"`      // absolute; placeholders work in it
	Method   string   `json:"method"`   // default post
	Headers  []string `json:"headers"`  // "Content-type: application/json" spelt so makes 1.4.6 escape; see webhook.go
	User     string   `json:"user"`     // HTTP Basic when set, as a RemoteiTopConnection does
	Password string   `json:"password"` //
	ITop     bool     `json:"itop"`     // ActioniTopWebhook: a form post with version and json_data
	Payload  string   `json:"payload"`  // template with $this->…$ placeholders
	Async    bool     `json:"async"`    // default synchronous: the agent's click waits
	Language string   `json:"language"` // of label(): "FR FR" (default under sumit) or "EN US" (default under stock)
}

// Load reads a fixture written as JSON. An unknown key is an error.
func Load(r io.Reader) (*Fixture, error) {
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	f := new(Fixture)
	if err := dec.Decode(f); err != nil {
		return nil, fmt.Errorf("itopsim: fixture: %w", err)
	}
	if dec.More() {
		return nil, errors.New("itopsim: fixture: more than one JSON value in the file")
	}
	return f, nil
}

// check reports the mistakes a Fixture or SetTriggers could hide.
func (t *Trigger) check(m *model) error {
	c := m.classes[t.Class]
	if c == nil {
		return fmt.Errorf("itopsim: trigger %q: unknown class %q (one of %v)", t.Name, t.Class, m.names())
	}
	switch t.On {
	case "create", "update", "delete":
	case "enter", "leave":
		if t.State == "" {
			return fmt.Errorf("itopsim: trigger %q: on %q wants a state", t.Name, t.On)
		}
	default:
		return fmt.Errorf("itopsim: trigger %q: unknown event %q (one of create, update, enter, leave, delete)", t.Name, t.On)
	}
	for _, code := range t.Attcodes {
		if c.attr(code) == nil {
			return fmt.Errorf("itopsim: trigger %q: class %s has no attribute %q", t.Name, t.Class, code)
		}
	}
	if t.Action.URL == "" {
		return fmt.Errorf("itopsim: trigger %q: the action has no url", t.Name)
	}
	if t.Filter == "" {
		return nil
	}
	if _, err := parseOQL(t.Filter); err != nil {
		return fmt.Errorf("itopsim: trigger %q: filter: %w", t.Name, err)
	}
	return nil
}
