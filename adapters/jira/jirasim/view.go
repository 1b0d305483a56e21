package jirasim

import (
	"fmt"
	"net/url"
	"time"
)

// view shows what Jira holds, to one user, with links that begin with base.
type view struct {
	s    *Sim
	base string
	user *User // nil for a webhook, which sees all
}

func (v view) sees(c *comment) bool { return v.user == nil || c.seenBy(v.user) }

func (v view) link(format string, args ...any) string {
	return v.base + fmt.Sprintf(format, args...)
}

func (v view) when(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.In(v.s.zone).Format(dateTime)
}

// person is a user as embedded everywhere.
func (v view) person(u *User) any {
	if u == nil {
		return nil
	}
	out := m{
		"displayName": u.DisplayName, "active": true, "timeZone": u.Timezone,
		"avatarUrls": m{
			"48x48": v.link("/secure/useravatar?avatarId=10122"),
			"24x24": v.link("/secure/useravatar?size=small&avatarId=10122"),
			"16x16": v.link("/secure/useravatar?size=xsmall&avatarId=10122"),
			"32x32": v.link("/secure/useravatar?size=medium&avatarId=10122"),
		},
	}
	if u.Email != "" {
		out["emailAddress"] = u.Email
	}
	if v.s.cloud() {
		out["self"] = v.link("/rest/api/2/user?accountId=%s", url.QueryEscape(u.Key))
		out["accountId"], out["accountType"] = u.Key, accountType(u)
		return out
	}
	out["self"] = v.link("/rest/api/2/user?username=%s", url.QueryEscape(u.Name))
	out["name"], out["key"] = u.Name, u.Key
	return out
}

func accountType(u *User) string {
	switch {
	case u.Name == automation.Name:
		return "app"
	case u.staff():
		return "atlassian"
	}
	return "customer"
}

func (v view) status(st Status) m {
	return m{
		"self": v.link("/rest/api/2/status/%s", st.ID), "description": "", "name": st.Name, "id": st.ID,
		"iconUrl":        v.link("/images/icons/status_generic.gif"),
		"statusCategory": v.category(st.Category),
	}
}

func (v view) category(key string) m {
	id, color, name := 2, "default", "To Do"
	switch key {
	case "indeterminate":
		id, color, name = 4, "inprogress", "In Progress"
	case "done":
		id, color, name = 3, "success", "Done"
	}
	return m{"self": v.link("/rest/api/2/statuscategory/%d", id), "id": id, "key": key, "colorName": color, "name": name}
}

func (v view) priority(n Named) m {
	return m{"self": v.link("/rest/api/2/priority/%s", n.ID), "iconUrl": v.link("/images/icons/priorities/medium.svg"), "name": n.Name, "id": n.ID}
}

func (v view) resolution(n Named) m {
	return m{"self": v.link("/rest/api/2/resolution/%s", n.ID), "id": n.ID, "description": "", "name": n.Name}
}

func (v view) component(n Named) m {
	return m{"self": v.link("/rest/api/2/component/%s", n.ID), "id": n.ID, "name": n.Name}
}

func (v view) option(n Named) m {
	out := m{"self": v.link("/rest/api/2/customFieldOption/%s", n.ID), "value": n.Name, "id": n.ID}
	if !v.s.cloud() {
		out["disabled"] = false
	}
	return out
}

func (v view) issueType(n Named) m {
	return m{
		"self": v.link("/rest/api/2/issuetype/%s", n.ID), "id": n.ID, "description": "", "name": n.Name, "subtask": false,
		"iconUrl": v.link("/secure/viewavatar?size=xsmall&avatarId=10318&avatarType=issuetype"), "avatarId": 10318,
	}
}

func (v view) project(p Project) m {
	return m{
		"self": v.link("/rest/api/2/project/%s", p.ID), "id": p.ID, "key": p.Key, "name": p.Name, "projectTypeKey": "service_desk",
		"avatarUrls": m{
			"48x48": v.link("/secure/projectavatar?avatarId=10324"),
			"24x24": v.link("/secure/projectavatar?size=small&avatarId=10324"),
			"16x16": v.link("/secure/projectavatar?size=xsmall&avatarId=10324"),
			"32x32": v.link("/secure/projectavatar?size=medium&avatarId=10324"),
		},
	}
}

func (v view) file(f *file) m {
	return m{
		"self": v.link("/rest/api/2/attachment/%s", f.id), "id": f.id, "filename": f.name, "author": v.person(f.author),
		"created": v.when(f.created), "size": len(f.data), "mimeType": f.mime,
		"content": v.link("/secure/attachment/%s/%s", f.id, url.PathEscape(f.name)),
	}
}

// comment is one comment; Cloud's service desks tell if it is public, Data
// Center keeps that in a property.
func (v view) comment(is *issue, c *comment) m {
	out := m{
		"self": v.link("/rest/api/2/issue/%s/comment/%s", is.id, c.id), "id": c.id,
		"author": v.person(c.author), "updateAuthor": v.person(c.editor), "body": c.body,
		"created": v.when(c.created), "updated": v.when(c.updated),
	}
	if c.visibility != nil {
		out["visibility"] = c.visibility
	}
	if v.s.cloud() {
		out["jsdPublic"] = !c.internal()
	}
	return out
}

// value is a field's value as JSON.
func (v view) value(d *fieldDef, value any) any {
	switch x := value.(type) {
	case time.Time:
		return v.when(x)
	case *User:
		return v.person(x)
	case []Named:
		list := []m{}
		for _, n := range x {
			list = append(list, v.component(n))
		}
		return list
	case []string:
		return append([]string{}, x...)
	case Named:
		return v.named(d, x)
	case nil:
		return v.nothing(d)
	}
	return value
}

func (v view) named(d *fieldDef, n Named) m {
	switch d.kind {
	case kindPriority:
		return v.priority(n)
	case kindResolution:
		return v.resolution(n)
	}
	return v.option(n)
}

// nothing is how an empty field looks: the system's lists are [], all else null.
func (v view) nothing(d *fieldDef) any {
	if d.ID == "labels" || d.ID == "components" {
		return []m{}
	}
	return nil
}
