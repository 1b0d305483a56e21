package jirasim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// newComment reads and checks a comment, without keeping it.
func (s *Sim) newComment(c *call, raw json.RawMessage) (*comment, map[string]string) {
	var req struct {
		Body       any         `json:"body"`
		Visibility *visibility `json:"visibility"`
		Properties []property  `json:"properties"`
	}
	if json.Unmarshal(raw, &req) != nil {
		return nil, map[string]string{"comment": "Unexpected or invalid JSON in the comment."}
	}
	if req.Visibility != nil && *req.Visibility == (visibility{}) {
		req.Visibility = nil // some clients send it empty
	}
	text, isText := req.Body.(string)
	if bad := s.badComment(text, isText || req.Body == nil, req.Visibility); bad != nil {
		return nil, bad
	}
	props, bad := properties(req.Properties)
	if bad != nil {
		return nil, map[string]string{"properties": bad.body.(errorBody).Messages[0]}
	}
	made := &comment{author: c.user, editor: c.user, body: text, created: c.now, updated: c.now, visibility: req.Visibility, props: props}
	return made, nil
}

func (s *Sim) badComment(text string, isText bool, v *visibility) map[string]string {
	switch {
	case !isText:
		return map[string]string{"comment": "Operation value must be a string"}
	case strings.TrimSpace(text) == "":
		return map[string]string{"comment": "Comment body can not be empty!"}
	case length(text) > s.fx.TextLimit:
		return map[string]string{"comment": tooLong(s.fx.TextLimit)}
	case v != nil && v.Type != "role" && v.Type != "group":
		return map[string]string{"commentLevel": "The visibility type must be 'role' or 'group'."}
	}
	return nil
}

// store adds a comment without telling the listeners: what it came with does.
func (s *Sim) store(c *call, is *issue, made *comment) {
	made.id = fmt.Sprint(s.next.comment)
	s.next.comment++
	is.comments = append(is.comments, made)
	s.wrote(c.user, "comment", is, made.describe())
}

// describe is the comment in one line, for the list of effects.
func (c *comment) describe() string {
	if c.internal() {
		return c.id + " (internal): " + c.body
	}
	return c.id + ": " + c.body
}

// keep adds a comment that came alone. Data Center tells it twice: once
// without the issue, once as an update of the issue.
func (s *Sim) keep(c *call, is *issue, made *comment) {
	s.touch(is, c.now)
	s.store(c, is, made)
	s.fireComment(c.view, is, made, "comment_created", nil)
	if !s.cloud() {
		s.fireIssue(c.view, is, "jira:issue_updated", "issue_commented", c.user, nil, made)
	}
}

func (s *Sim) addComment(c *call, is *issue) answer {
	made, errs := s.newComment(c, c.body)
	if errs != nil {
		return invalid(errs)
	}
	s.keep(c, is, made)
	return created(c.commentBean(is, made))
}

// commentBean is a comment with what the request expands.
func (c *call) commentBean(is *issue, one *comment) m {
	out := c.view.comment(is, one)
	if c.expands("renderedBody") {
		out["renderedBody"] = Render(one.body)
	}
	if c.expands("properties") {
		list := []property{}
		for _, k := range sortedKeys(one.props) {
			list = append(list, property{k, one.props[k]})
		}
		out["properties"] = list
	}
	return out
}

func (s *Sim) listComments(c *call, is *issue) answer {
	seen := slices.DeleteFunc(slices.Clone(is.comments), func(x *comment) bool { return !c.sees(x) })
	if c.query.Get("orderBy") == "-created" {
		slices.Reverse(seen)
	}
	start, count := c.number("startAt", 0), c.number("maxResults", 50)
	list := []m{}
	for _, one := range seen[min(start, len(seen)):min(start+count, len(seen))] {
		list = append(list, c.commentBean(is, one))
	}
	return ok(m{"startAt": start, "maxResults": count, "total": len(seen), "comments": list})
}

// onComment finds the comment of the request, in its issue or anywhere.
func (s *Sim) onComment(h func(*call, *issue, *comment) answer) handler {
	return func(c *call) answer {
		key, id := c.arg("key"), c.arg("id")
		for _, is := range s.issues {
			if key != "" && is != s.find(key) {
				continue
			}
			for _, one := range is.comments {
				if one.id == id && c.sees(one) {
					return h(c, is, one)
				}
			}
		}
		if key != "" && s.find(key) == nil {
			return fail(http.StatusNotFound, "Issue Does Not Exist")
		}
		return fail(http.StatusNotFound, fmt.Sprintf("Can not find a comment for the id: %s.", id))
	}
}

func (s *Sim) getComment(c *call, is *issue, one *comment) answer {
	return ok(c.commentBean(is, one))
}

func (s *Sim) editComment(c *call, is *issue, one *comment) answer {
	if !c.user.staff() && one.author != c.user {
		return fail(http.StatusForbidden, fmt.Sprintf("%s, you do not have the permission to edit this comment.", c.user.DisplayName))
	}
	made, errs := s.newComment(c, c.body)
	if errs != nil {
		return invalid(errs)
	}
	s.touch(is, c.now)
	one.body, one.visibility, one.editor, one.updated = made.body, made.visibility, c.user, c.now
	for k, v := range made.props {
		one.setProperty(k, v)
	}
	s.wrote(c.user, "comment-edit", is, one.describe())
	s.fireComment(c.view, is, one, "comment_updated", c.user)
	if !s.cloud() {
		s.fireIssue(c.view, is, "jira:issue_updated", "issue_comment_edited", c.user, nil, one)
	}
	return ok(c.commentBean(is, one))
}

func (s *Sim) deleteComment(c *call, is *issue, one *comment) answer {
	if !c.user.staff() && one.author != c.user {
		return fail(http.StatusForbidden, fmt.Sprintf("%s, you do not have the permission to delete this comment.", c.user.DisplayName))
	}
	s.touch(is, c.now)
	is.comments = slices.DeleteFunc(is.comments, func(x *comment) bool { return x == one })
	h := s.record(is, c.user, c.now, []change{remark("Comment", str(one.id), str(one.body), nil, nil)})
	s.wrote(c.user, "comment-delete", is, one.describe())
	s.fireComment(c.view, is, one, "comment_deleted", c.user)
	if !s.cloud() {
		s.fireIssue(c.view, is, "jira:issue_updated", "issue_comment_deleted", c.user, h, nil)
	}
	return done()
}
