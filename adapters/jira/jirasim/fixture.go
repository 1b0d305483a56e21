package jirasim

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Fixture is what a new Jira holds.
type Fixture struct {
	Flavour         string     `json:"flavour"`     // "dc" (default) or "cloud"
	ContextPath     string     `json:"contextPath"` // such as "/jira"; default none
	BaseURL         string     `json:"baseURL"`     // what links begin with; default the host of the request, plus ContextPath
	Users           []User     `json:"users"`
	Projects        []Project  `json:"projects"`
	IssueTypes      []Named    `json:"issueTypes"`
	Priorities      []Named    `json:"priorities"` // the first is the default of a new issue
	Resolutions     []Named    `json:"resolutions"`
	Fields          []Field    `json:"fields"`
	Statuses        []Status   `json:"statuses"`
	Workflows       []Workflow `json:"workflows"`
	Webhooks        []Webhook  `json:"webhooks"`
	Timezone        string     `json:"timezone"`        // of dates in answers, such as Europe/Paris; default UTC
	AttachmentLimit int64      `json:"attachmentLimit"` // bytes; default 10 MiB
	TextLimit       int        `json:"textLimit"`       // characters of one text; default 32767
}

// User is an account. Name is what DC identifies it by, Key what Cloud does
// (there it is the accountId). A user without Password and Token cannot log in.
type User struct {
	Name        string `json:"name"`
	Key         string `json:"key"`         // default Name
	DisplayName string `json:"displayName"` // default Name
	Email       string `json:"email"`
	Password    string `json:"password"`
	Token       string `json:"token"` // DC: personal access token (Bearer); Cloud: API token (Basic email:token)
	Admin       bool   `json:"admin"`
	Agent       bool   `json:"agent"`    // sees and writes internal comments, edits, deletes
	Timezone    string `json:"timezone"` // of dates in its queries; default the fixture's
}

// Project holds issues. NextNumber is the number of its next issue, default 1.
type Project struct {
	Key        string   `json:"key"`
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	IssueTypes []string `json:"issueTypes"` // default: all
	Components []string `json:"components"`
	Workflow   string   `json:"workflow"` // default: the first
	NextNumber int      `json:"nextNumber"`
}

// Named is anything known by an id and a name.
type Named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Field is a custom field, or a system field (summary, description, priority,
// components, reporter, assignee, duedate, labels, environment) whose screens
// or needs differ from the usual.
type Field struct {
	ID           string   `json:"id"` // such as customfield_12003
	Name         string   `json:"name"`
	Type         string   `json:"type"`    // string, text, option, number, date, datetime, labels; left out for a system field
	Allowed      []string `json:"allowed"` // the values of an option field
	HideOnCreate bool     `json:"hideOnCreate"`
	HideOnEdit   bool     `json:"hideOnEdit"`
	Required     bool     `json:"required"`  // at create
	MaxLength    int      `json:"maxLength"` // characters; default 255 for string, TextLimit for text
}

// Status is a step of a workflow.
type Status struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Category string `json:"category"` // new, indeterminate or done
}

// Workflow says which status may follow which.
type Workflow struct {
	Name        string       `json:"name"`
	Initial     string       `json:"initial"` // name of the status of a new issue
	Transitions []Transition `json:"transitions"`
}

// Transition leads to one status. One without Fields has no screen: it takes
// no field at all.
type Transition struct {
	ID         string        `json:"id"`
	Name       string        `json:"name"`
	From       []string      `json:"from"` // status names; empty = any
	To         string        `json:"to"`
	Fields     []ScreenField `json:"fields"`
	Resolution string        `json:"resolution"` // set by the workflow itself (a post-function)
	Event      string        `json:"event"`      // DC issue_event_type_name; default by the statuses' categories
	Timer      bool          `json:"timer"`      // the workflow takes it by itself: see /sim/timer
}

// ScreenField is one field of a transition's screen.
type ScreenField struct {
	ID       string `json:"id"`
	Required bool   `json:"required"`
}

// Webhook is a listener. In its URL, ${issue.key}, ${issue.id} and
// ${project.key} are replaced.
type Webhook struct {
	Name        string   `json:"name"`
	URL         string   `json:"url"`
	Events      []string `json:"events"`      // such as jira:issue_updated; empty = issues and comments, not attachments
	Secret      string   `json:"secret"`      // signs: X-Hub-Signature
	User        string   `json:"user"`        // Basic, with Password
	Password    string   `json:"password"`    //
	JQL         string   `json:"jql"`         // only issues it matches; empty = all
	ExcludeBody bool     `json:"excludeBody"` // send no body
}

// Load reads a fixture as JSON. An unknown key is an error.
func Load(r io.Reader) (*Fixture, error) {
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	f := new(Fixture)
	if err := dec.Decode(f); err != nil {
		return nil, fmt.Errorf("jirasim: fixture: %w", err)
	}
	if dec.More() {
		return nil, fmt.Errorf("jirasim: fixture: text after the JSON object (one object is wanted)")
	}
	return f, nil
}

// filled returns a copy of f with every default written out.
func (f Fixture) filled() Fixture {
	f.Flavour = or(f.Flavour, "dc")
	f.ContextPath = strings.TrimSuffix(f.ContextPath, "/")
	f.Timezone = or(f.Timezone, "UTC")
	if f.AttachmentLimit == 0 {
		f.AttachmentLimit = 10 << 20
	}
	if f.TextLimit == 0 {
		f.TextLimit = 32767
	}
	f.Users = append([]User(nil), f.Users...)
	for i := range f.Users {
		u := &f.Users[i]
		u.Key, u.DisplayName, u.Timezone = or(u.Key, u.Name), or(u.DisplayName, u.Name), or(u.Timezone, f.Timezone)
	}
	f.Projects = append([]Project(nil), f.Projects...)
	for i := range f.Projects {
		f.Projects[i] = f.filledProject(f.Projects[i], i)
	}
	f.IssueTypes, f.Priorities, f.Resolutions = numbered(f.IssueTypes), numbered(f.Priorities), numbered(f.Resolutions)
	return f
}

func (f Fixture) filledProject(p Project, i int) Project {
	p.ID, p.Name = or(p.ID, fmt.Sprint(10000+i)), or(p.Name, p.Key)
	if p.NextNumber == 0 {
		p.NextNumber = 1
	}
	if p.Workflow == "" && len(f.Workflows) > 0 {
		p.Workflow = f.Workflows[0].Name
	}
	if len(p.IssueTypes) == 0 {
		for _, t := range f.IssueTypes {
			p.IssueTypes = append(p.IssueTypes, t.Name)
		}
	}
	return p
}

func numbered(list []Named) []Named {
	list = append([]Named(nil), list...)
	for i := range list {
		list[i].ID = or(list[i].ID, fmt.Sprint(i+1))
	}
	return list
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
