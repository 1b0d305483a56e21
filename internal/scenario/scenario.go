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

// Cast is what the narration calls the two tools.
type Cast struct {
	Requester string `yaml:"requester"`
	Partner   string `yaml:"partner"`
}

// Step is one thing that somebody does, and what is seen then.
type Step struct {
	Say       Text              `yaml:"say"`
	Requester map[string]any    `yaml:"requester"` // what its agent does: of an iTop, an operation of its REST;
	Partner   map[string]any    `yaml:"partner"`   // of a Jira, a request {method, path, json} or {path, file: {name, text}}
	Keep      map[string]string `yaml:"keep"`      // from the answer: name → path
	Sees      []Sight           `yaml:"sees"`
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
