package jirasim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// check reports all mistakes of a filled fixture at once.
func (f Fixture) check() error {
	var bad []error
	report := func(format string, args ...any) {
		bad = append(bad, fmt.Errorf("jirasim: fixture: "+format, args...))
	}
	if f.Flavour != "dc" && f.Flavour != "cloud" {
		report("flavour %q: want dc or cloud", f.Flavour)
	}
	if f.ContextPath != "" && !strings.HasPrefix(f.ContextPath, "/") {
		report("contextPath %q: want it to begin with /", f.ContextPath)
	}
	if _, err := time.LoadLocation(f.Timezone); err != nil {
		report("timezone %q: want a name such as Europe/Paris", f.Timezone)
	}
	f.checkUsers(report)
	f.checkFields(report)
	f.checkWorkflows(report)
	f.checkProjects(report)
	return errors.Join(bad...)
}

type reporter func(format string, args ...any)

func (f Fixture) checkUsers(report reporter) {
	seen := map[string]bool{}
	for _, u := range f.Users {
		if u.Name == "" || seen[u.Name] {
			report("user %q: want a name, used once", u.Name)
		}
		seen[u.Name] = true
		if _, err := time.LoadLocation(u.Timezone); err != nil {
			report("user %s: timezone %q: want a name such as Europe/Paris", u.Name, u.Timezone)
		}
	}
}

func (f Fixture) checkFields(report reporter) {
	seen := map[string]bool{}
	for _, d := range f.Fields {
		if seen[d.ID] {
			report("field %s: stands twice", d.ID)
		}
		seen[d.ID] = true
		_, system := systemKind(d.ID)
		switch {
		case system && d.Type != "":
			report("field %s: a system field has its own type (leave type out)", d.ID)
		case !system && !strings.HasPrefix(d.ID, "customfield_"):
			report("field %s: unknown (want customfield_NNNNN or one of %s)", d.ID, strings.Join(systemIDs(), ", "))
		case !system && !slices.Contains(customKinds, kind(d.Type)):
			report("field %s: type %q: want one of %v", d.ID, d.Type, customKinds)
		case d.Type == "option" && len(d.Allowed) == 0:
			report("field %s: an option field needs its allowed values", d.ID)
		}
	}
}

func (f Fixture) hasStatus(name string) bool {
	return slices.ContainsFunc(f.Statuses, func(s Status) bool { return s.Name == name })
}

func (f Fixture) checkWorkflows(report reporter) {
	for _, s := range f.Statuses {
		if !slices.Contains([]string{"new", "indeterminate", "done"}, s.Category) {
			report("status %s: category %q: want new, indeterminate or done", s.Name, s.Category)
		}
	}
	for _, w := range f.Workflows {
		if !f.hasStatus(w.Initial) {
			report("workflow %s: initial status %q is not among the statuses", w.Name, w.Initial)
		}
		for _, t := range w.Transitions {
			f.checkTransition(w, t, report)
		}
	}
}

func (f Fixture) checkTransition(w Workflow, t Transition, report reporter) {
	for _, name := range append([]string{t.To}, t.From...) {
		if !f.hasStatus(name) {
			report("workflow %s: transition %s: status %q is not among the statuses", w.Name, t.Name, name)
		}
	}
	for _, d := range t.Fields {
		if _, system := systemKind(d.ID); !system && !slices.ContainsFunc(f.Fields, func(x Field) bool { return x.ID == d.ID }) {
			report("workflow %s: transition %s: field %q is not among the fields", w.Name, t.Name, d.ID)
		}
	}
	if t.Resolution != "" && !hasName(f.Resolutions, t.Resolution) {
		report("workflow %s: transition %s: resolution %q is not among the resolutions", w.Name, t.Name, t.Resolution)
	}
}

func (f Fixture) checkProjects(report reporter) {
	if len(f.Projects) == 0 {
		report("no project (at least one is wanted)")
	}
	for _, p := range f.Projects {
		if p.Key == "" {
			report("a project without a key (such as GSN1)")
		}
		if !slices.ContainsFunc(f.Workflows, func(w Workflow) bool { return w.Name == p.Workflow }) {
			report("project %s: workflow %q is not among the workflows", p.Key, p.Workflow)
		}
		for _, t := range p.IssueTypes {
			if !hasName(f.IssueTypes, t) {
				report("project %s: issue type %q is not among the issueTypes", p.Key, t)
			}
		}
	}
}

func hasName(list []Named, name string) bool {
	return slices.ContainsFunc(list, func(n Named) bool { return n.Name == name })
}
