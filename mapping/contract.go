// Package mapping turns a contract folder into decisions and messages: what
// an event means, whether the two parties' agreement allows it, and what the
// other side is told in its own words. All of it is pure functions over the
// folder's files; it keeps nothing and talks to nobody.
//
// What can go wrong: a folder with mistakes does not load (all of them are
// reported at once, with file and line); an event that the contract does not
// allow is refused with an error that says what would be; a value without a
// translation stops the message from being rendered.
package mapping

import (
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"

	"passerelle"
)

// Contract is one version of an agreement between two parties.
type Contract struct {
	Name    string `yaml:"name"`    // as in URLs and metrics
	Version string `yaml:"version"` // v1, v2 …: a version in use is never edited
	Title   string `yaml:"title"`   // for people
	Between struct {
		Requester Party `yaml:"requester"`
		Partner   Party `yaml:"partner"`
	} `yaml:"between"`
	Timezone   string `yaml:"timezone"`    // of the requester's tool, whose dates carry no offset; default Europe/Paris
	LimitBytes int64  `yaml:"limit_bytes"` // of one whole JSON message (R24); default 10485760
	OwnRef     string `yaml:"own_ref"`     // the broker's own number, one %d; default "FRS-%06d"
	// Keys says by what, beside the broker's own id, a ticket is recognised:
	// provider_id, customer_ref (R28); default none.
	Keys []string `yaml:"keys"`
	UAI  string   `yaml:"uai"` // the field that must be a valid RAMSESE identifier (R3); default none
	// Caller is the field whose name goes into the description (R4, §1.5);
	// default none.
	Caller string `yaml:"caller"`
	// PrivateLogToRequester lets the partner's internal comments reach the
	// requester's private journal (R16); default false.
	PrivateLogToRequester bool `yaml:"private_log_to_requester"`
	// Sign says who is named above a journal entry that travels: none, role (the
	// party) or name (the person, where the tool tells); default none.
	Sign   string `yaml:"sign"`
	Notify Notify `yaml:"notify"` // what the partner's team is told (R25)
	// TellAfter is after how long without transmission the sender is told so, by
	// a private note, and again when all has arrived; default 4h, 0s is never.
	TellAfter     time.Duration `yaml:"tell_after"`
	AtEscalation  AtEscalation  `yaml:"at_escalation"`
	Notes         Notes         `yaml:"notes"`
	CatalogueSpec catalogueSpec `yaml:"catalogue"`

	Catalogue *Catalogue     `yaml:"-"`
	Zone      *time.Location `yaml:"-"` // Timezone, loaded

	fields    map[string]*Field
	values    values
	signals   []signal
	lifecycle lifecycle
	templates map[Send]*template
	pushes    map[passerelle.Side]*pushes
	facts     []string  // the fields of the create that later templates name
	source    *ast.File // contract.yaml, for the lines of its mistakes; kept during Load
}

// Party is one of the two who signed.
type Party struct {
	Name string `yaml:"name"`
	Tool string `yaml:"tool"`
	// Dates is how this party's tool writes them: local (2006-01-02 15:04:05, in
	// timezone, as iTop) or offset (2006-01-02T15:04:05.000+0100, as Jira);
	// default local for the requester, offset for the partner.
	Dates string `yaml:"dates"`
}

// party is the one behind a side.
func (c *Contract) party(s passerelle.Side) Party {
	if s == passerelle.Partner {
		return c.Between.Partner
	}
	return c.Between.Requester
}

// AtEscalation says what of a ticket's history travels with its escalation
// (R29).
type AtEscalation struct {
	PublicLog   string `yaml:"public_log"`  // newest, all or none; default newest
	PrivateLog  string `yaml:"private_log"` // newest or none; default none
	Attachments string `yaml:"attachments"` // all or none; default all
}

// Notes names the template that carries the gateway's own notes to each side;
// it must be a private one (R13).
type Notes struct {
	Requester string `yaml:"requester"` // default update-private-log
	Partner   string `yaml:"partner"`   // default update-private-log
}

// catalogueSpec describes catalogue.csv.
type catalogueSpec struct {
	Columns []CatalogueColumn `yaml:"columns"`
	Target  string            `yaml:"target"`  // the heading of the partner's one column
	Targets []string          `yaml:"targets"` // or of its several, from the widest to the narrowest
	Default targetNames       `yaml:"default"` // for what matches nothing: one name, or one by target
}

// targetNames are the partner's names by heading; one alone stands for the only
// target.
type targetNames map[string]string

// UnmarshalYAML reads one name, or several by heading.
func (n *targetNames) UnmarshalYAML(decode func(any) error) error {
	var one string
	if decode(&one) == nil {
		*n = targetNames{"": one}
		return nil
	}
	var several map[string]string
	err := decode(&several)
	*n = several
	return err
}

// Load reads a contract folder. Its error is Problems: all mistakes at once.
// The contract may be used only if there is none.
func Load(fsys fs.FS) (*Contract, error) {
	var p Problems
	c := readContract(fsys, &p)
	if c.fields = readFields(fsys, &p); len(c.fields) == 0 {
		return c, p.err() // every other file names fields
	}
	c.values = readValues(fsys, c.fields, &p)
	c.signals = readSignals(fsys, c.fields, c.values, &p)
	c.Catalogue = readCatalogue(fsys, c, &p)
	c.templates = readTemplates(fsys, c, &p)
	c.lifecycle = readLifecycle(fsys, c, &p)
	c.pushes = map[passerelle.Side]*pushes{}
	for _, side := range []passerelle.Side{passerelle.Requester, passerelle.Partner} {
		c.pushes[side] = readPushes(fsys, c, side, &p)
	}
	c.checkNotes(&p)
	c.checkNotify(&p)
	c.checkNamedFields(&p)
	c.checkStatuses(&p)
	c.findFacts()
	c.source = nil
	return c, p.err()
}

// template finds what a Send names, the gateway's own note too; nil if there is
// none.
func (c *Contract) template(s Send) *template {
	if s.Template == NoteTemplate {
		return c.noteTemplate(s.To)
	}
	return c.templates[s]
}

func (c *Contract) noteTemplate(to passerelle.Side) *template {
	name := c.Notes.Requester
	if to == passerelle.Partner {
		name = c.Notes.Partner
	}
	return c.templates[Send{to, name}]
}

// lacksTemplates tells whether a party has no template at all.
func (c *Contract) lacksTemplates(side passerelle.Side) bool {
	if side != passerelle.Requester && side != passerelle.Partner {
		return false
	}
	for s := range c.templates {
		if s.To == side {
			return false
		}
	}
	return true
}

// findFacts lists the create's fields that other templates name, so that no
// more of a person's data is kept than messages need.
func (c *Contract) findFacts() {
	for _, f := range c.fields {
		if f.Create == "" || f.Type == "log" || slices.Contains(specials, f.Name) {
			continue
		}
		for s, t := range c.templates {
			if s.Template != string(passerelle.Create) && t.fields[f.Name] {
				c.facts = append(c.facts, f.Name)
				break
			}
		}
	}
	slices.Sort(c.facts)
}

// StatusWords are a tool's words for a state, preferred first.
func (c *Contract) StatusWords(side passerelle.Side, s passerelle.State) []string {
	words, _ := c.values.words("status", side, string(s))
	return words
}

// Summary says in one line how large the contract is.
func (c *Contract) Summary() string {
	rows := 0
	for _, sides := range c.lifecycle {
		for _, kinds := range sides {
			rows += len(kinds)
		}
	}
	return fmt.Sprintf("%d fields, %d catalogue rows, %d life-cycle rules, %d templates: no mistakes", len(c.fields), len(c.Catalogue.rows), rows, len(c.templates))
}
