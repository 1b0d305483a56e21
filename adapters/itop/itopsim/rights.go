package itopsim

import "slices"

// Profiles that mean something here. An account needs ProfileREST for
// /webservices/rest.php, and one of the others to read or write anything.
const (
	ProfileAdmin     = "Administrator"
	ProfileREST      = "REST Services User"
	ProfileAgent     = "Support Agent"           // tickets and attachments; no history, no deletion of tickets
	ProfilePortal    = "Portal user"             // /portal/ only: public log entries and attachments
	ProfileInterface = "SUMiT interface account" // as the agent, and reads history
)

type right string

const (
	read   right = "reading"
	create right = "creating"
	modify right = "modifying"
	remove right = "deleting"
)

func (a *Account) has(profile string) bool { return slices.Contains(a.Profiles, profile) }

// may tells whether an account may do something with a class. Nobody writes
// catalogue, users or history through the simulator but an administrator.
func (a *Account) may(m *model, r right, class string) bool {
	if a.has(ProfileAdmin) {
		return true
	}
	if !a.has(ProfileAgent) && !a.has(ProfileInterface) && !a.has(ProfilePortal) {
		return false
	}
	history := m.isA(class, "CMDBChangeOp") || m.isA(class, "CMDBChange")
	switch r {
	case read:
		return !history || a.has(ProfileInterface)
	case create, modify:
		return slices.Contains([]string{"UserRequest", "Attachment", "InlineImage", "WorkOrder"}, class)
	}
	return class == "Attachment" && !a.has(ProfilePortal)
}

// portalOnly: in the portal a person writes public log entries and adds files;
// closing, refusing a solution and all else are the agents' (R21).
func (w *write) portalOnly(fields object) error {
	if w.context != ContextPortal {
		return nil
	}
	for _, p := range fields {
		if p.key != "public_log" {
			return refused(codeUnauthorized, "%s: the portal writes public_log only (use /console/rest.php as an agent)", p.key)
		}
	}
	if w.stimulus != "" {
		return refused(codeUnauthorized, "%s: the portal applies no stimulus (use /console/rest.php as an agent)", w.stimulus)
	}
	return nil
}

func (w *write) allow(r right, class string) error {
	if w.sim.readOnly() && r != read || !w.account.may(w.sim.model, r, class) {
		return refused(codeUnauthorized, "The current user does not have enough permissions for %s data of class %s", r, class)
	}
	return nil
}
