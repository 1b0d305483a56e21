package jirasim

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// bodyLimit bounds a JSON request.
const bodyLimit = 64 << 20

// call is one request, read and with its account known.
type call struct {
	view
	r     *http.Request
	query url.Values
	body  []byte
	now   time.Time
	parts []upload // of a multipart request
}

func (c *call) arg(name string) string { return c.r.PathValue(name) }

func (c *call) expands(what string) bool { return listed(c.query.Get("expand"), what) }

// number is a query parameter, or otherwise.
func (c *call) number(name string, otherwise int) int {
	if n, err := strconv.Atoi(c.query.Get(name)); err == nil && n >= 0 {
		return n
	}
	return otherwise
}

func listed(list, what string) bool {
	for _, x := range strings.Split(list, ",") {
		if strings.TrimSpace(x) == what {
			return true
		}
	}
	return false
}

type handler func(c *call) answer

// restRoutes keeps createmeta apart: its addresses and those of an issue
// called createmeta could not stand in one mux.
func (s *Sim) restRoutes() http.Handler {
	mux, create := http.NewServeMux(), http.NewServeMux()
	s.metaRoutes(s.under(mux))
	s.issueRoutes(s.under(mux))
	s.commentRoutes(s.under(mux))
	s.fileRoutes(s.under(mux))
	s.searchRoutes(mux)
	s.createMetaRoutes(s.under(create))
	mux.HandleFunc("GET /secure/attachment/{id}/{name...}", s.handle(s.download))
	mux.HandleFunc("GET /login.jsp", s.handle(func(*call) answer { return page(http.StatusOK, "Log in to Jira.") }))
	mux.HandleFunc("/", s.handle(unknown))
	create.HandleFunc("/", s.handle(unknown))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/rest/api/2/issue/createmeta") {
			create.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// under registers "GET myself" as GET /rest/api/2/myself.
func (s *Sim) under(mux *http.ServeMux) func(string, handler) {
	return func(pattern string, h handler) {
		verb, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(verb+" /rest/api/2/"+path, s.handle(h))
	}
}

func (s *Sim) searchRoutes(mux *http.ServeMux) {
	s.under(mux)("GET search", s.searchOld)
	s.under(mux)("POST search", s.searchOld)
	for _, version := range []string{"2", "3"} {
		mux.HandleFunc("GET /rest/api/"+version+"/search/jql", s.handle(s.searchJQL))
		mux.HandleFunc("POST /rest/api/"+version+"/search/jql", s.handle(s.searchJQL))
	}
}

func (s *Sim) createMetaRoutes(api func(string, handler)) {
	api("GET issue/createmeta", s.oldCreateMeta)
	api("GET issue/createmeta/{project}/issuetypes", s.createMetaTypes)
	api("GET issue/createmeta/{project}/issuetypes/{id}", s.createMetaFields)
}

func (s *Sim) issueRoutes(api func(string, handler)) {
	api("POST issue", s.createIssue)
	api("GET issue/{key}", s.onIssue(s.getIssue))
	api("PUT issue/{key}", s.onIssue(s.editIssue))
	api("DELETE issue/{key}", s.onIssue(s.deleteIssue))
	api("PUT issue/{key}/assignee", s.onIssue(s.assign))
	api("GET issue/{key}/editmeta", s.onIssue(s.editMeta))
	api("GET issue/{key}/transitions", s.onIssue(s.listTransitions))
	api("POST issue/{key}/transitions", s.onIssue(s.doTransition))
	api("GET issue/{key}/properties", s.onIssue(s.listIssueProperties))
	api("GET issue/{key}/properties/{name}", s.onIssue(s.getIssueProperty))
	api("PUT issue/{key}/properties/{name}", s.onIssue(s.putIssueProperty))
	api("DELETE issue/{key}/properties/{name}", s.onIssue(s.deleteIssueProperty))
	api("GET issue/{key}/watchers", s.onIssue(s.listWatchers))
	api("POST issue/{key}/watchers", s.onIssue(s.addWatcher))
	api("DELETE issue/{key}/watchers", s.onIssue(s.removeWatcher))
	api("GET issue/{key}/remotelink", s.onIssue(s.listLinks))
	api("POST issue/{key}/remotelink", s.onIssue(s.putLink))
	api("DELETE issue/{key}/remotelink/{id}", s.onIssue(s.deleteLink))
	api("GET issue/{key}/changelog", s.onIssue(s.changelog))
}

func (s *Sim) commentRoutes(api func(string, handler)) {
	api("GET issue/{key}/comment", s.onIssue(s.listComments))
	api("POST issue/{key}/comment", s.onIssue(s.addComment))
	api("GET issue/{key}/comment/{id}", s.onComment(s.getComment))
	api("PUT issue/{key}/comment/{id}", s.onComment(s.editComment))
	api("DELETE issue/{key}/comment/{id}", s.onComment(s.deleteComment))
	api("GET comment/{id}/properties", s.onComment(s.listCommentProperties))
	api("GET comment/{id}/properties/{name}", s.onComment(s.getCommentProperty))
	api("PUT comment/{id}/properties/{name}", s.onComment(s.putCommentProperty))
	api("DELETE comment/{id}/properties/{name}", s.onComment(s.deleteCommentProperty))
}

func (s *Sim) fileRoutes(api func(string, handler)) {
	api("POST issue/{key}/attachments", s.onIssue(s.attach))
	api("GET attachment/meta", s.attachmentMeta)
	api("GET attachment/{id}", s.onFile(s.getFile))
	api("DELETE attachment/{id}", s.onFile(s.deleteFile))
	api("GET attachment/content/{id}", s.onFile(s.redirectToFile))
}

func (s *Sim) metaRoutes(api func(string, handler)) {
	api("GET serverInfo", s.serverInfo)
	api("GET myself", s.myself)
	api("GET mypermissions", s.myPermissions)
	api("GET user", s.getUser)
	api("GET project", s.listProjects)
	api("GET project/{project}", s.onProject(s.getProject))
	api("GET project/{project}/components", s.onProject(s.listComponents))
	api("GET project/{project}/statuses", s.onProject(s.projectStatuses))
	api("GET project/{project}/versions", s.onProject(func(*call, Project) answer { return ok([]m{}) }))
	api("GET field", s.listFields)
	api("GET priority", s.listPriorities)
	api("GET resolution", s.listResolutions)
	api("GET status", s.listStatuses)
	api("GET issuetype", s.listTypes)
}

// unknown says plainly that this Jira is only an imitation.
func unknown(c *call) answer {
	return fail(http.StatusNotImplemented, fmt.Sprintf("jirasim: %s %s is not implemented by this simulator", c.r.Method, c.r.URL.Path))
}

// handle reads a request whole, answers it under the lock, and writes the
// answer after: a slow peer holds nothing up.
func (s *Sim) handle(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, refusal := s.admit(w.Header(), r)
		if refusal != nil {
			refusal.write(w)
			return
		}
		c := &call{view: view{s: s, base: s.base(r), user: user}, r: r, query: r.URL.Query()}
		if refusal := s.read(w, c); refusal != nil {
			refusal.write(w)
			return
		}
		s.locked(h, c).write(w)
	}
}

func (s *Sim) locked(h handler, c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.now = s.clock()
	return h(c)
}

// read takes the body in: JSON in one piece, files part by part.
func (s *Sim) read(w http.ResponseWriter, c *call) *answer {
	if strings.HasPrefix(c.r.Header.Get("Content-Type"), "multipart/") {
		return s.readFiles(c)
	}
	var err error
	if c.body, err = io.ReadAll(http.MaxBytesReader(w, c.r.Body, bodyLimit)); err != nil {
		return ref(fail(http.StatusBadRequest, "the request body cannot be read: "+err.Error()))
	}
	kind, _, _ := strings.Cut(c.r.Header.Get("Content-Type"), ";")
	if len(c.body) > 0 && kind != "application/json" {
		return ref(page(http.StatusUnsupportedMediaType, "Unsupported Media Type"))
	}
	return nil
}

// onIssue answers 404 where there is no such issue.
func (s *Sim) onIssue(h func(*call, *issue) answer) handler {
	return func(c *call) answer {
		is := s.find(c.arg("key"))
		if is == nil {
			return fail(http.StatusNotFound, "Issue Does Not Exist")
		}
		return h(c, is)
	}
}

func (s *Sim) onProject(h func(*call, Project) answer) handler {
	return func(c *call) answer {
		p, found := s.project(c.arg("project"))
		if !found {
			return fail(http.StatusNotFound, fmt.Sprintf("No project could be found with key '%s'.", c.arg("project")))
		}
		return h(c, p)
	}
}
