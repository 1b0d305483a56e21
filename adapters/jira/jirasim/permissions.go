package jirasim

import "strings"

// permissionNames are the project permissions that the simulator knows, with
// those that an agent needs.
var permissionNames = []struct {
	key, name string
	anybody   bool // a customer has it too
}{
	{"BROWSE_PROJECTS", "Browse Projects", true},
	{"CREATE_ISSUES", "Create Issues", true},
	{"EDIT_ISSUES", "Edit Issues", false},
	{"TRANSITION_ISSUES", "Transition Issues", false},
	{"ADD_COMMENTS", "Add Comments", true},
	{"CREATE_ATTACHMENTS", "Create Attachments", true},
	{"MODIFY_REPORTER", "Modify Reporter", false},
	{"ASSIGN_ISSUES", "Assign Issues", false},
	{"ADMINISTER_PROJECTS", "Administer Projects", false},
}

// myPermissions tells what the asking account may do. Cloud wants the question
// spelled out; Data Center tells all.
func (s *Sim) myPermissions(c *call) answer {
	asked := c.query.Get("permissions")
	if s.cloud() && asked == "" {
		return fail(400, "The 'permissions' query parameter is required.")
	}
	out := m{}
	for _, p := range permissionNames {
		if s.cloud() && !listed(asked, p.key) {
			continue
		}
		have := p.anybody || c.user.staff()
		if strings.HasPrefix(p.key, "ADMINISTER") {
			have = c.user.Admin
		}
		out[p.key] = m{"id": p.key, "key": p.key, "name": p.name, "type": "PROJECT", "description": "", "havePermission": have}
	}
	return ok(m{"permissions": out})
}
