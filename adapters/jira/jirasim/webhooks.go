package jirasim

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// usualEvents is what a webhook hears that names no events.
var usualEvents = []string{
	"jira:issue_created", "jira:issue_updated", "jira:issue_deleted",
	"comment_created", "comment_updated", "comment_deleted",
}

// SetWebhooks replaces all webhooks. What is queued for the old ones still
// goes out.
func (s *Sim) SetWebhooks(hooks []Webhook) { s.post.set(hooks) }

// checkWebhooks finds what could never be sent.
func (s *Sim) checkWebhooks(hooks []Webhook) error {
	for _, h := range hooks {
		if u, err := url.Parse(h.URL); err != nil || u.Host == "" {
			return fmt.Errorf("jirasim: webhook %s: url %q: want http://host/path", h.Name, h.URL)
		}
		q, err := parseJQL(h.JQL)
		if err == nil {
			_, err = s.compile(q.where, asker{now: s.clock()})
		}
		if err != nil {
			return fmt.Errorf("jirasim: webhook %s: jql: %w", h.Name, err)
		}
	}
	return nil
}

func (h Webhook) hears(event string) bool {
	if len(h.Events) == 0 {
		return slices.Contains(usualEvents, event)
	}
	return slices.Contains(h.Events, event)
}

// matches says whether the webhook's JQL lets the issue through. One that
// cannot be read lets nothing through.
func (s *Sim) matches(h Webhook, is *issue) bool {
	q, err := parseJQL(h.JQL)
	if err != nil {
		return false
	}
	match, err := s.compile(q.where, asker{now: s.clock()})
	return err == nil && match(is)
}

// address fills in the URL's variables.
func (h Webhook) address(is *issue) string {
	return strings.NewReplacer("${issue.key}", is.key, "${issue.id}", is.id, "${project.key}", is.project.Key).Replace(h.URL)
}

// fire queues one event for every webhook that wants it.
func (s *Sim) fire(is *issue, event string, body m) {
	var raw []byte
	for _, q := range s.post.list() {
		if !q.hook.hears(event) || !s.matches(q.hook, is) {
			continue
		}
		if raw == nil {
			body["timestamp"], body["webhookEvent"] = s.clock().UnixMilli(), event
			raw = encode(body)
		}
		j := job{event: event, url: q.hook.address(is), body: raw}
		if q.hook.ExcludeBody {
			j.body = nil
		}
		s.post.queue(q, j)
	}
}

// fireIssue tells an issue's event: with the changelog of h and the comment
// that came along, if any.
func (s *Sim) fireIssue(v view, is *issue, event, typeName string, u *User, h *history, c *comment) {
	v.user = nil
	body := m{"user": v.person(u), "issue": v.hookIssue(is), "issue_event_type_name": typeName}
	if h != nil {
		body["changelog"] = m{"id": h.id, "items": v.items(h.items)}
	}
	if c != nil {
		body["comment"] = v.comment(is, c)
	}
	s.fire(is, event, body)
}

// hookIssue is the issue as webhooks carry it; Cloud leaves the comments out.
func (v view) hookIssue(is *issue) m {
	fields := v.fields(is)
	if v.s.cloud() {
		delete(fields, "comment")
		delete(fields, "worklog")
		fields["security"] = nil
	}
	return m{"id": is.id, "self": v.link("/rest/api/2/issue/%s", is.id), "key": is.key, "fields": fields}
}

// fireComment tells a comment's own event. On Data Center it does not say
// which issue it belongs to, except in the comment's self; on Cloud a short
// issue comes with it.
func (s *Sim) fireComment(v view, is *issue, c *comment, event string, u *User) {
	v.user = nil
	body := m{"comment": v.comment(is, c)}
	if s.cloud() {
		fields := chosen(v.fields(is), []string{"summary", "issuetype", "project", "assignee", "priority", "status"}, "")
		body["issue"] = m{"id": is.id, "self": v.link("/rest/api/2/issue/%s", is.id), "key": is.key, "fields": fields}
	} else if u != nil {
		body["user"] = v.person(u)
	}
	s.fire(is, event, body)
}

// fireFile tells an attachment's own event, as in the field without the issue.
func (s *Sim) fireFile(v view, is *issue, f *file, event string) {
	v.user = nil
	s.fire(is, event, m{"attachment": v.file(f)})
}
