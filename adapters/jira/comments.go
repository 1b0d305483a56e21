package jira

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/internal/richtext"
)

// publicKey is where Jira Service Management keeps whether a comment is
// internal.
const publicKey = "sd.public.comment"

// comment is one comment of an issue, with what decides who may read it.
type comment struct {
	id       string
	body     string // wiki markup
	html     string
	author   string
	account  string // Jira's id of who wrote it, or edited it last
	created  time.Time
	updated  time.Time
	public   bool
	mark     mark
	original bool // the text is still the one that mark was left with
}

// comments reads all comments of an issue.
func (j *Jira) comments(ctx context.Context, op, ticket, key string) ([]comment, error) {
	me, err := j.whoami(ctx)
	if err != nil {
		return nil, err
	}
	var list []comment
	for p := (paging{}); ; {
		c := call{op: op, ticket: ticket, method: http.MethodGet, path: issuePath(key, "comment"), query: url.Values{
			"startAt": {strconv.Itoa(len(list))}, "maxResults": {"100"}, "orderBy": {"created"}, "expand": {"renderedBody,properties"},
		}}
		a, err := j.do(ctx, c)
		if err == nil {
			err = p.end(c, a, len(list))
		}
		if err != nil {
			return nil, err
		}
		page := a.json.Get("comments").Array()
		for _, c := range page {
			one, err := j.comment(ctx, op, ticket, me, c)
			if err != nil {
				return nil, err
			}
			list = append(list, one)
		}
		if len(page) == 0 || int64(len(list)) >= a.json.Get("total").Int() {
			return list, nil
		}
	}
}

func (j *Jira) comment(ctx context.Context, op, ticket string, me *account, c gjson.Result) (comment, error) {
	props, err := j.commentProperties(ctx, op, ticket, c)
	if err != nil {
		return comment{}, err
	}
	one := comment{
		id: c.Get("id").String(), author: c.Get("author.displayName").String(), html: text(c, "renderedBody", "body"),
		created: moment(c.Get("created").String()), updated: moment(c.Get("updated").String()),
		public: isPublic(c, props), mark: readMark(props.of[markKey]),
	}
	one.body = c.Get("body").String()
	one.account = accountOf(c.Get("author"))
	if one.edited() {
		one.account = accountOf(c.Get("updateAuthor"))
	}
	one.original = !one.edited() || one.mark.Sum == digest(one.body) || me.is(c.Get("updateAuthor"))
	return one, nil
}

// text is Jira's own rendering where it is given, else ours.
func text(of gjson.Result, rendered, raw string) string {
	if r := of.Get(rendered); r.Type == gjson.String && r.Str != "" {
		return richtext.FromRendered(r.Str)
	}
	return richtext.HTML(of.Get(raw).String())
}

func (c comment) edited() bool { return c.updated.After(c.created) }

// onlyInternal tells whether a file is shown in internal comments and in no
// public one: it belongs to what agents say among themselves (R16).
func onlyInternal(name string, list []comment) bool {
	internal := false
	for _, c := range list {
		shown := shows(c.body, name)
		if shown && c.public {
			return false
		}
		internal = internal || shown
	}
	return internal
}

// shows tells whether a comment links to a file or shows it: [^name], [words|^name],
// !name! or !name|options!.
func shows(body, name string) bool {
	for rest := body; name != ""; {
		before, after, found := strings.Cut(rest, name)
		if !found {
			return false
		}
		link := strings.HasSuffix(before, "[^") || strings.HasSuffix(before, "|^")
		if link && startsWith(after, "]|") || strings.HasSuffix(before, "!") && startsWith(after, "!|") {
			return true
		}
		rest = rest[len(before)+1:]
	}
	return false
}

func startsWith(s, any string) bool { return s != "" && strings.IndexByte(any, s[0]) >= 0 }

// properties are those of a comment. If they are not sure, one that is not
// there may exist all the same.
type properties struct {
	of   map[string]gjson.Result
	sure bool
}

// commentProperties takes the properties that came with the comment. If they
// do not tell who may read it, they may not have been expanded: it asks.
func (j *Jira) commentProperties(ctx context.Context, op, ticket string, c gjson.Result) (properties, error) {
	p := properties{of: map[string]gjson.Result{}}
	for _, one := range c.Get("properties").Array() {
		p.of[one.Get("key").String()] = one.Get("value")
	}
	if _, told := p.of[publicKey]; told {
		p.sure = true
		return p, nil
	}
	path := "/rest/api/2/comment/" + url.PathEscape(c.Get("id").String()) + "/properties"
	a, err := j.do(ctx, call{op: op, ticket: ticket, method: http.MethodGet, path: path})
	if hidden(err) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	p.sure = a.json.Get("keys").IsArray()
	for _, k := range a.json.Get("keys").Array() {
		name := k.Get("key").String()
		if name != publicKey && name != markKey {
			continue
		}
		one, err := j.do(ctx, call{op: op, ticket: ticket, method: http.MethodGet, path: path + "/" + url.PathEscape(name)})
		if hidden(err) {
			p.sure = false
			continue
		}
		if err != nil {
			return p, err
		}
		p.of[name] = one.json.Get("value")
	}
	return p, nil
}

// hidden tells a property that we may not read, or that went meanwhile.
func hidden(err error) bool {
	s := statusOf(err)
	return s == http.StatusNotFound || s == http.StatusForbidden && passerelle.ClassOf(err) == passerelle.Stuck
}

// isPublic decides who may read a comment, and fails closed (R16): public is
// only what Jira plainly says is not internal.
func isPublic(c gjson.Result, p properties) bool {
	if v := c.Get("visibility"); v.Exists() && v.Type != gjson.Null {
		return false
	}
	jsd := c.Get("jsdPublic")
	if jsd.Exists() && jsd.Type != gjson.True {
		return false
	}
	value, told := p.of[publicKey]
	if told {
		return value.Get("internal").Type == gjson.False
	}
	return p.sure || jsd.Type == gjson.True
}

// commentEvent tells of a comment as it stands: see names.go.
func (j *Jira) commentEvent(issue string, c comment) *passerelle.Event {
	e := j.event(issue, c.created, c.author, c.account)
	name := commentName(issue, c.id, c.public)
	if c.edited() {
		name, e.At = editName(name, c.updated), c.updated
		e.Edited = true
	}
	e.Names = []string{name}
	if c.original {
		e.Mark = c.mark.ID
	}
	e.Kind = passerelle.PrivateLog
	field := "private_log"
	if c.public {
		e.Kind, field = passerelle.PublicLog, "public_log"
	}
	e.Fields[field] = c.html
	return e
}
