package jirasim

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"
)

// issue is one ticket. values holds what forms can set, by field id, in the
// types that parse makes; what only Jira sets has a place of its own.
type issue struct {
	id, key  string
	number   int
	project  Project
	typ      Named
	status   Status
	values   map[string]any
	creator  *User
	created  time.Time
	updated  time.Time
	resolved time.Time
	comments []*comment
	files    []*file
	past     []*history
	props    map[string]json.RawMessage
	watchers []*User
	links    []*remoteLink
	indexed  []*issue // earlier states, oldest first, as a late index knows them
}

type comment struct {
	id         string
	author     *User
	editor     *User
	body       string
	created    time.Time
	updated    time.Time
	visibility *visibility
	props      map[string]json.RawMessage
}

type visibility struct {
	Type  string `json:"type"` // role or group
	Value string `json:"value"`
}

type file struct {
	id, name, mime string
	author         *User
	created        time.Time
	data           []byte
}

type history struct {
	id      string
	author  *User
	created time.Time
	items   []change
	meta    json.RawMessage // historyMetadata, as given with a transition
}

// change is one line of the history. A nil text is JSON null.
type change struct {
	field, fieldID, kind string // kind: jira or custom
	from, fromText       *string
	to, toText           *string
}

type remoteLink struct {
	id     int
	global string
	body   map[string]json.RawMessage
}

// internal says whether JSM hides the comment from customers.
func (c *comment) internal() bool {
	var v struct{ Internal bool }
	return json.Unmarshal(c.props["sd.public.comment"], &v) == nil && v.Internal
}

// seenBy says whether u may read the comment. Roles and groups are taken as
// held by every agent and nobody else.
func (c *comment) seenBy(u *User) bool {
	return u.staff() || !c.internal() && c.visibility == nil
}

// find looks an issue up by id, key, or a key it had before it was moved.
func (s *Sim) find(ref string) *issue {
	if is := s.issues[ref]; is != nil {
		return is
	}
	return s.issues[s.keys[strings.ToUpper(ref)]]
}

func (s *Sim) project(ref string) (Project, bool) {
	for _, p := range s.fx.Projects {
		if strings.EqualFold(p.Key, ref) || p.ID == ref {
			return p, true
		}
	}
	return Project{}, false
}

func (s *Sim) workflow(p Project) Workflow {
	for _, w := range s.fx.Workflows {
		if w.Name == p.Workflow {
			return w
		}
	}
	return Workflow{}
}

func (s *Sim) statusNamed(name string) Status {
	for _, st := range s.fx.Statuses {
		if st.Name == name {
			return st
		}
	}
	return Status{}
}

// touch marks that is changes now: what it was stays visible to a late index.
func (s *Sim) touch(is *issue, now time.Time) {
	old := *is
	old.values, old.indexed = maps.Clone(is.values), nil
	is.indexed = append(is.indexed, &old)
	keep := 0
	for i, o := range is.indexed {
		if o.updated.Before(now.Add(-s.lag)) {
			keep = i
		}
	}
	is.indexed = is.indexed[keep:]
	is.updated = now
}

// atIndex is the state of an issue that the search index knows: nil if none.
func (s *Sim) atIndex(is *issue, now time.Time) *issue {
	if s.lag <= 0 {
		return is
	}
	limit := now.Add(-s.lag)
	if !is.updated.After(limit) {
		return is
	}
	for i := len(is.indexed) - 1; i >= 0; i-- {
		if !is.indexed[i].updated.After(limit) {
			return is.indexed[i]
		}
	}
	return nil
}

// record adds a history entry and answers it.
func (s *Sim) record(is *issue, u *User, now time.Time, items []change) *history {
	h := &history{id: fmt.Sprint(s.next.history), author: u, created: now, items: items}
	s.next.history++
	is.past = append(is.past, h)
	return h
}

// name gives an issue the next number of a project.
func (s *Sim) name(is *issue, p Project) {
	is.project, is.number = p, s.number[p.Key]
	s.number[p.Key]++
	is.key = fmt.Sprintf("%s-%d", p.Key, is.number)
	s.keys[is.key] = is.id
}
