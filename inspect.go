package passerelle

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// Needs is what a contract needs of one side's tool, as plain data.
type Needs struct {
	Side     Side
	Messages []MessageNeed // what is sent there, in order of file
	Reads    []ReadNeed    // what that tool's own administrator is told to have it send
	Statuses []StatusNeed  // what it calls the states
	Teams    []string      // the teams by which it tells which tickets are the partner's
}

// MessageNeed is what one template needs.
type MessageNeed struct {
	File     string      // the template, for people: to-partner/create.json
	Op       string      // the annex's operation
	Class    string      // of an iTop's object; else empty
	Project  string      // key of a Jira's project; else empty
	Type     string      // name of a Jira's type of issue; else empty
	Fields   []FieldNeed // in order of the template
	Comment  bool        // it writes a comment
	Files    bool        // it carries a file
	Stimulus string      // of an iTop
	Moves    []Move      // the changes of status that it makes
	Whence   []string    // the tool's statuses in which it is sent; empty: a create
}

// FieldNeed is a field that a message sets.
type FieldNeed struct {
	Code   string
	Values []string // those that the contract's tables let stand there; none: whatever the ticket says
	Names  bool     // a value is the name or id of another object (an iTop's external key)
	Member string   // the value stands in an object, under this name: {"value": …}
	List   bool     // the value stands in a list
}

// Move is a change of status: from one of the first to one of the second,
// preferred first.
type Move struct{ From, To []string }

// StatusNeed is a state in the tool's words, preferred first.
type StatusNeed struct {
	State State
	Words []string
}

// ReadNeed is what one payload of the tool's own administrator reads.
type ReadNeed struct {
	File   string   // for people: from-requester/create.json
	Class  string   // of the objects
	Fields []string // by the tool's codes
	Filter string   // the query that chooses the objects; may be empty
}

// Verdict says what became of one need.
type Verdict string

const (
	Met     Verdict = "ok"                // it is there
	Missing Verdict = "missing"           // somebody must act before the contract can work
	Unsaid  Verdict = "cannot be checked" // the tool does not tell without a write
)

// Finding is one need, looked at in the tool.
type Finding struct {
	Verdict Verdict
	Subject string // what it belongs to: "the create screen of GSN1"
	What    string // "customfield_12030 (UAI)"; for what is not met, a whole sentence
	Who     string // the files of the contract that need it; may be empty
	Hint    string // what would work, and who must do it; empty where all is well
}

// Findings is a list that an inspection grows.
type Findings []Finding

// Add keeps a finding; one that is there already gets the further file that
// needs it.
func (l *Findings) Add(v Verdict, subject, what, who, hint string) {
	f := Finding{Verdict: v, Subject: subject, What: what, Who: who, Hint: hint}
	i := slices.IndexFunc(*l, func(o Finding) bool {
		o.Who = who
		return o == f
	})
	switch {
	case i < 0:
		*l = append(*l, f)
	case who != "" && !strings.Contains((*l)[i].Who, who):
		(*l)[i].Who += ", " + who
	}
}

// Met keeps that something is there.
func (l *Findings) Met(subject, what string) { l.Add(Met, subject, what, "", "") }

// Stopped keeps that the tool could not be asked further.
func (l *Findings) Stopped(tool string, err error) {
	hint := "look at base_url and the network, and check again"
	var e *Error
	if errors.As(err, &e) && e.Hint != "" {
		hint, err = e.Hint, e.Err
	}
	l.Add(Missing, tool, "the inspection ends here: "+err.Error(), "", hint)
}

// Inspector is a tool that can be asked whether it has what a contract needs.
type Inspector interface {
	// Inspect asks and never writes. A tool that cannot be asked further is the
	// last finding.
	Inspect(ctx context.Context, n *Needs) []Finding
}
