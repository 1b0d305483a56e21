// Package scenario plays a contract's demonstration: what agents do in both
// tools, and what each side must see then. The script is data of the contract
// (demo/scenario.yaml); the tools are real ones or simulators, spoken to by
// their own APIs, so that nothing of the gateway is trusted.
package scenario

import (
	"bytes"
	"fmt"
	"io/fs"

	"github.com/goccy/go-yaml"

	"passerelle"
	"passerelle/mapping"
)

// Text is a sentence in both languages.
type Text struct {
	FR string `yaml:"fr"`
	EN string `yaml:"en"`
}

// Scenario is one play.
type Scenario struct {
	Title Text    `yaml:"title"`
	Cast  Cast    `yaml:"cast"`
	Steps []Step  `yaml:"steps"`
	Final []Final `yaml:"final"` // the table at the end
}

// Cast is who acts and who looks, in each tool.
type Cast struct {
	Requester Actor `yaml:"requester"`
	Partner   Actor `yaml:"partner"`
}

// Actor is an account of a tool and what the narration calls its tool.
type Actor struct {
	Tool     string `yaml:"tool"`
	User     string `yaml:"user"`
	Password string `yaml:"password"` // of a simulator: an example, never a real one
	// Reader and its password read the tool, where the actor itself may not.
	Reader         string `yaml:"reader"`
	ReaderPassword string `yaml:"reader_password"`
}

// Step is one thing that somebody does, and what is seen then.
type Step struct {
	Say       Text              `yaml:"say"`
	Requester map[string]any    `yaml:"requester"` // an operation of iTop's REST, done in the console
	Partner   *Request          `yaml:"partner"`   // a request of Jira's REST
	Keep      map[string]string `yaml:"keep"`      // from the answer: name → path
	Sees      []Sight           `yaml:"sees"`
}

// Request is a request of Jira's REST, as its own agent makes it.
type Request struct {
	Method string         `yaml:"method"`
	Path   string         `yaml:"path"`
	JSON   map[string]any `yaml:"json"`
	File   *struct {
		Name string `yaml:"name"`
		Text string `yaml:"text"`
	} `yaml:"file"`
}

// Sight is one thing that must be seen in a tool, soon.
type Sight struct {
	Side  passerelle.Side   `yaml:"side"`
	Of    string            `yaml:"of"`   // ticket (default), attachments or comments
	Path  string            `yaml:"path"` // within it, in gjson's syntax
	Is    *string           `yaml:"is"`   // the exact text
	Has   string            `yaml:"has"`  // a part of it
	Label Text              `yaml:"label"`
	Keep  map[string]string `yaml:"keep"` // name → path, from the same answer
}

// Final is one row of the table at the end.
type Final struct {
	Label     Text  `yaml:"label"`
	Requester Sight `yaml:"requester"`
	Partner   Sight `yaml:"partner"`
}

// Load reads a scenario of a contract folder.
func Load(fsys fs.FS, file string) (*Scenario, error) {
	b, err := fs.ReadFile(fsys, file)
	if err != nil {
		return nil, err
	}
	s := &Scenario{}
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(s); err != nil {
		line, text := mapping.YAMLError(err)
		return nil, fmt.Errorf("%s:%d: %s", file, line, text)
	}
	if len(s.Steps) == 0 || len(s.Final) == 0 {
		return nil, fmt.Errorf("%s: a scenario needs steps and a final table", file)
	}
	return s, nil
}
