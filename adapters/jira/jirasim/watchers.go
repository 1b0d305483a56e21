package jirasim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

func (s *Sim) listWatchers(c *call, is *issue) answer {
	list := []any{}
	for _, u := range is.watchers {
		list = append(list, c.person(u))
	}
	return ok(m{
		"self":       c.link("/rest/api/2/issue/%s/watchers", is.key),
		"isWatching": slices.Contains(is.watchers, c.user), "watchCount": len(is.watchers), "watchers": list,
	})
}

// addWatcher takes a name as a JSON string; without one, who asks watches.
func (s *Sim) addWatcher(c *call, is *issue) answer {
	u := c.user
	if len(c.body) > 0 {
		var name string
		if json.Unmarshal(c.body, &name) != nil {
			return fail(http.StatusBadRequest, "the body must be a user name as a JSON string")
		}
		if u = s.watcher(name); u == nil {
			return fail(http.StatusBadRequest, fmt.Sprintf("User '%s' does not exist.", name))
		}
	}
	if !slices.Contains(is.watchers, u) {
		is.watchers = append(is.watchers, u)
		s.wrote(c.user, "watch", is, u.Name)
	}
	return done()
}

func (s *Sim) watcher(name string) *User {
	for _, u := range s.users {
		if s.cloud() && u.Key == name || !s.cloud() && u.Name == name {
			return u
		}
	}
	return nil
}

func (s *Sim) removeWatcher(c *call, is *issue) answer {
	u := s.watcher(or(c.query.Get("username"), c.query.Get("accountId")))
	if u == nil {
		return fail(http.StatusBadRequest, "The query parameter 'username' was not provided or names nobody.")
	}
	is.watchers = slices.DeleteFunc(is.watchers, func(x *User) bool { return x == u })
	s.wrote(c.user, "unwatch", is, u.Name)
	return done()
}

func (s *Sim) listLinks(c *call, is *issue) answer {
	list := []m{}
	for _, l := range is.links {
		if g := c.query.Get("globalId"); g == "" || g == l.global {
			list = append(list, c.remote(is, l))
		}
	}
	return ok(list)
}

func (c *call) remote(is *issue, l *remoteLink) m {
	out := asMap(l.body)
	out["id"], out["self"] = l.id, c.link("/rest/api/2/issue/%s/remotelink/%d", is.key, l.id)
	return out
}

// putLink makes a link, or changes the one that has the same globalId.
func (s *Sim) putLink(c *call, is *issue) answer {
	var body map[string]json.RawMessage
	if bad := c.decode(&body); bad != nil {
		return *bad
	}
	var object struct{ URL, Title string }
	_ = json.Unmarshal(body["object"], &object)
	for field, value := range map[string]string{"url": object.URL, "title": object.Title} {
		if value == "" {
			return invalid(map[string]string{field: fmt.Sprintf("'%s' is required.", field)})
		}
	}
	l := &remoteLink{id: s.next.link, body: body}
	_ = json.Unmarshal(body["globalId"], &l.global)
	i := slices.IndexFunc(is.links, func(x *remoteLink) bool { return l.global != "" && x.global == l.global })
	code := http.StatusOK
	if i >= 0 {
		l.id = is.links[i].id
		is.links[i] = l
	} else {
		s.next.link++
		is.links, code = append(is.links, l), http.StatusCreated
	}
	s.wrote(c.user, "link", is, object.URL)
	return answer{code: code, body: m{"id": l.id, "self": c.remote(is, l)["self"]}}
}

func (s *Sim) deleteLink(c *call, is *issue) answer {
	i := slices.IndexFunc(is.links, func(x *remoteLink) bool { return x.id == numberOf(c.arg("id")) })
	if i < 0 {
		return fail(http.StatusNotFound, fmt.Sprintf("A remote issue link with id '%s' does not exist.", c.arg("id")))
	}
	is.links = slices.Delete(is.links, i, i+1)
	s.wrote(c.user, "link-delete", is, c.arg("id"))
	return done()
}
