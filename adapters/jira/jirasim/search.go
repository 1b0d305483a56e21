package jirasim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// searchLimit is the most issues Data Center gives at once.
const searchLimit = 1000

// query is a search, from a body or from parameters.
type query struct {
	JQL           string          `json:"jql"`
	StartAt       int             `json:"startAt"`
	MaxResults    *int            `json:"maxResults"`
	Fields        []string        `json:"fields"`
	Expand        json.RawMessage `json:"expand"`     // a list; Cloud: a string
	Properties    []string        `json:"properties"` // Cloud only
	NextPageToken string          `json:"nextPageToken"`
	ValidateQuery any             `json:"validateQuery"`
}

func (c *call) readQuery() (query, *answer) {
	var q query
	if c.r.Method == http.MethodPost {
		bad := c.decode(&q)
		if bad == nil && len(q.Properties) > 0 && !c.s.cloud() {
			bad = ref(fail(http.StatusBadRequest, `Unrecognized field "properties" (Class com.atlassian.jira.rest.v2.search.SearchRequestBean), not marked as ignorable`))
		}
		return q, bad
	}
	q.JQL, q.StartAt, q.NextPageToken = c.query.Get("jql"), c.number("startAt", 0), c.query.Get("nextPageToken")
	if c.query.Has("maxResults") {
		n := c.number("maxResults", 50)
		q.MaxResults = &n
	}
	q.Fields, q.Properties = split(c.query["fields"]), split(c.query["properties"])
	q.Expand = encode(c.query.Get("expand"))
	return q, nil
}

func (q query) count(limit int) int {
	if q.MaxResults == nil {
		return 50
	}
	return max(0, min(*q.MaxResults, limit))
}

func (q query) expand() string {
	var list []string
	if json.Unmarshal(q.Expand, &list) == nil {
		return strings.Join(list, ",")
	}
	var one string
	_ = json.Unmarshal(q.Expand, &one)
	return one
}

// found lists what the query matches in the state that the index knows, in
// order. The issues are shown as they are now.
func (s *Sim) found(c *call, text string) ([]*issue, *jql, *answer) {
	q, err := parseJQL(text)
	if err != nil {
		return nil, nil, ref(fail(http.StatusBadRequest, err.Error()))
	}
	match, err := s.compile(q.where, asker{c.user, c.now})
	if err != nil {
		return nil, nil, ref(fail(http.StatusBadRequest, err.Error()))
	}
	var list []*issue
	for _, is := range s.issues {
		if old := s.atIndex(is, c.now); old != nil && match(old) {
			list = append(list, old)
		}
	}
	if err := s.arrange(list, q.order); err != nil {
		return nil, nil, ref(fail(http.StatusBadRequest, err.Error()))
	}
	for i, old := range list {
		list[i] = s.issues[old.id]
	}
	return list, q, nil
}

func (s *Sim) beansOf(c *call, q query, list []*issue, otherwise string) []m {
	out := []m{}
	for _, is := range list {
		one := c.view.issue(is, q.Fields, otherwise, q.expand())
		if len(q.Properties) > 0 && s.cloud() {
			one["properties"] = chosen(asMap(is.props), q.Properties, "*all")
		}
		out = append(out, one)
	}
	return out
}

// searchOld is the search of Data Center; Cloud has removed it.
func (s *Sim) searchOld(c *call) answer {
	if s.cloud() {
		return fail(http.StatusGone, "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API.")
	}
	q, bad := c.readQuery()
	if bad != nil {
		return *bad
	}
	list, _, bad := s.found(c, q.JQL)
	if bad != nil {
		return *bad
	}
	count := q.count(searchLimit)
	part := list[min(q.StartAt, len(list)):min(q.StartAt+count, len(list))]
	return ok(m{
		"expand": "schema,names", "startAt": q.StartAt, "maxResults": count, "total": len(list),
		"issues": s.beansOf(c, q, part, "*navigable"),
	})
}

// searchJQL is Cloud's search: ids only unless fields are asked for, no total,
// a token for the next page, no unbounded query.
func (s *Sim) searchJQL(c *call) answer {
	if !s.cloud() {
		return unknown(c)
	}
	q, bad := c.readQuery()
	if bad != nil {
		return *bad
	}
	list, read, bad := s.found(c, q.JQL)
	if bad != nil {
		return *bad
	}
	if read.where == nil {
		return fail(http.StatusBadRequest, "Unbounded JQL queries are not allowed here. Please add a search restriction to your query.")
	}
	start, err := pageStart(q.NextPageToken)
	if err != nil {
		return fail(http.StatusBadRequest, "The provided next page token is invalid or expired.")
	}
	end := min(start+max(1, q.count(5000)), len(list))
	out := m{"issues": s.cloudBeans(c, q, list[min(start, len(list)):end]), "isLast": end == len(list)}
	if end < len(list) {
		out["nextPageToken"] = base64.RawURLEncoding.EncodeToString([]byte(fmt.Sprintf("page:%d", end)))
	}
	return ok(out)
}

func pageStart(token string) (int, error) {
	if token == "" {
		return 0, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimPrefix(string(raw), "page:"))
}

func (s *Sim) cloudBeans(c *call, q query, list []*issue) []m {
	if len(q.Fields) == 0 {
		out := []m{}
		for _, is := range list {
			out = append(out, m{"id": is.id})
		}
		return out
	}
	out := s.beansOf(c, q, list, "id")
	if strings.HasPrefix(c.r.URL.Path, "/rest/api/3/") {
		for _, one := range out {
			s.documents(one["fields"].(m))
		}
	}
	return out
}

// documents turns wiki texts into the document form of version 3: one
// paragraph a line, no marks.
func (s *Sim) documents(fields m) {
	for id, v := range fields {
		d := s.field(id)
		text, isText := v.(string)
		if d == nil || d.kind != kindText || !isText {
			continue
		}
		paragraphs := []m{}
		for _, line := range strings.Split(text, "\n") {
			content := []m{}
			if line != "" {
				content = append(content, m{"type": "text", "text": line})
			}
			paragraphs = append(paragraphs, m{"type": "paragraph", "content": content})
		}
		fields[id] = m{"type": "doc", "version": 1, "content": paragraphs}
	}
}
