package jirasim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// Limits of a property.
const (
	propertyKeyLimit   = 255
	propertyValueLimit = 32768
)

// property is a named JSON value that hangs on an issue or a comment.
type property struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

func sortedKeys[V any](of map[string]V) []string { return slices.Sorted(maps.Keys(of)) }

func (is *issue) setProperty(k string, v json.RawMessage)  { put(&is.props, k, v) }
func (c *comment) setProperty(k string, v json.RawMessage) { put(&c.props, k, v) }

func put(props *map[string]json.RawMessage, k string, v json.RawMessage) {
	if *props == nil {
		*props = map[string]json.RawMessage{}
	}
	(*props)[k] = v
}

// properties reads the list that comes with an issue or a comment.
func properties(list []property) (map[string]json.RawMessage, *answer) {
	out := map[string]json.RawMessage{}
	for _, p := range list {
		if bad := badProperty(p.Key, p.Value); bad != nil {
			return nil, bad
		}
		out[p.Key] = p.Value
	}
	return out, nil
}

func badProperty(key string, value []byte) *answer {
	switch {
	case key == "" || len(key) > propertyKeyLimit:
		return ref(fail(http.StatusBadRequest, fmt.Sprintf("The property key must be between 1 and %d characters long.", propertyKeyLimit)))
	case len(value) > propertyValueLimit:
		return ref(fail(http.StatusBadRequest, fmt.Sprintf("The property value must not be longer than %d bytes.", propertyValueLimit)))
	case !json.Valid(value):
		return ref(fail(http.StatusBadRequest, "The property value must be valid, non-empty JSON."))
	}
	return nil
}

func propertyList(c *call, props map[string]json.RawMessage) answer {
	keys := []m{}
	for _, k := range sortedKeys(props) {
		keys = append(keys, m{"self": c.link("%s/%s", c.r.URL.Path, k), "key": k})
	}
	return ok(m{"keys": keys})
}

func propertyValue(c *call, props map[string]json.RawMessage) answer {
	v, found := props[c.arg("name")]
	if !found {
		return fail(http.StatusNotFound, fmt.Sprintf("The property with key '%s' does not exist.", c.arg("name")))
	}
	return ok(property{c.arg("name"), v})
}

// putProperty answers 201 for a new property and 200 for a changed one.
func (s *Sim) putProperty(c *call, is *issue, what string, props *map[string]json.RawMessage) answer {
	key := c.arg("name")
	if bad := badProperty(key, c.body); bad != nil {
		return *bad
	}
	_, had := (*props)[key]
	put(props, key, slices.Clone(c.body))
	s.wrote(c.user, what, is, key+" = "+string(c.body))
	if had {
		return answer{code: http.StatusOK}
	}
	return answer{code: http.StatusCreated}
}

func (s *Sim) dropProperty(c *call, is *issue, what string, props map[string]json.RawMessage) answer {
	if found := propertyValue(c, props); found.code != http.StatusOK {
		return found
	}
	delete(props, c.arg("name"))
	s.wrote(c.user, what+"-delete", is, c.arg("name"))
	return done()
}

func (s *Sim) listIssueProperties(c *call, is *issue) answer { return propertyList(c, is.props) }
func (s *Sim) getIssueProperty(c *call, is *issue) answer    { return propertyValue(c, is.props) }
func (s *Sim) putIssueProperty(c *call, is *issue) answer {
	return s.putProperty(c, is, "property", &is.props)
}
func (s *Sim) deleteIssueProperty(c *call, is *issue) answer {
	return s.dropProperty(c, is, "property", is.props)
}

func (s *Sim) listCommentProperties(c *call, _ *issue, one *comment) answer {
	return propertyList(c, one.props)
}
func (s *Sim) getCommentProperty(c *call, _ *issue, one *comment) answer {
	return propertyValue(c, one.props)
}
func (s *Sim) putCommentProperty(c *call, is *issue, one *comment) answer {
	return s.putProperty(c, is, "comment-property", &one.props)
}
func (s *Sim) deleteCommentProperty(c *call, is *issue, one *comment) answer {
	return s.dropProperty(c, is, "comment-property", one.props)
}
