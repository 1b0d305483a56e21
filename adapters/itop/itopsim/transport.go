package itopsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// request is one call of the REST service, before it is understood.
type request struct {
	form, query url.Values
	files       map[string]string
	basic       *url.Userinfo
	token       string
	context     string

	account *Account
	version string
	params  object // json_data
}

// maxBody protects the simulator; PHP's own limit is Sim.PostMax.
const maxBody = 256 << 20

func (s *Sim) serveREST(w http.ResponseWriter, r *http.Request, context string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "itopsim: "+err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	req := s.readRequest(r, body)
	req.context = context
	failed := s.understand(req)
	next := func(w http.ResponseWriter, _ *http.Request) { s.respond(w, req, failed) }
	if context != ContextREST {
		next(w, r) // faults are for the other program, not for people
		return
	}
	s.faults.Serve(w, r, req.label(), next)
}

// label names the call for fault rules.
func (req *request) label() string {
	return scalar(req.params.get("operation")) + " " + scalar(req.params.get("class"))
}

// readRequest takes parameters from where PHP takes them: the query, and the
// form of a POST. A body of another type or method is not read.
func (s *Sim) readRequest(r *http.Request, body []byte) *request {
	req := &request{query: r.URL.Query(), form: url.Values{}, files: map[string]string{}, token: r.Header.Get("Auth-Token")}
	if user, password, ok := r.BasicAuth(); ok {
		req.basic = url.UserPassword(user, password)
	}
	if r.Method != http.MethodPost || s.PostMax > 0 && int64(len(body)) > s.PostMax {
		return req
	}
	kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch kind {
	case "application/x-www-form-urlencoded":
		req.form = parseForm(string(body))
	case "multipart/form-data":
		s.readMultipart(req, body, params["boundary"])
	}
	return req
}

// parseForm is more forgiving than url.ParseQuery, as PHP is.
func parseForm(body string) url.Values {
	v := url.Values{}
	for _, part := range strings.Split(body, "&") {
		name, value, _ := strings.Cut(part, "=")
		n, errN := url.QueryUnescape(name)
		x, errX := url.QueryUnescape(value)
		if errN == nil && errX == nil {
			v.Set(n, x)
		}
	}
	return v
}

func (s *Sim) readMultipart(req *request, body []byte, boundary string) {
	mr := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := mr.NextPart()
		if err != nil {
			return
		}
		data, _ := io.ReadAll(part)
		switch {
		case part.FileName() == "":
			req.form.Set(part.FormName(), string(data))
		case s.UploadMax == 0 || int64(len(data)) <= s.UploadMax:
			req.files[part.FormName()] = string(data)
		}
	}
}

// param reads a parameter from the form or the query.
func (req *request) param(name string) string {
	if v := req.form.Get(name); v != "" {
		return v
	}
	return req.query.Get(name)
}

// understand does what rest.php does before an operation runs, in its order.
func (s *Sim) understand(req *request) error {
	s.mu.Lock()
	mode := s.mode
	s.mu.Unlock()
	data := req.param("json_data")
	if data == "" {
		data = req.files["json_data"]
	}
	params, jsonErr := decodeParams(data)
	req.params, _ = params.(object)
	switch mode {
	case Maintenance, DatabaseDown:
		return &failure{crash: true}
	}
	if err := s.login(req); err != nil {
		return err
	}
	if req.version = req.param("version"); req.version == "" {
		return thrown(codeNoVersion, "Missing parameter 'version' (e.g. '1.0')")
	}
	if data == "" {
		return thrown(codeNoJSON, "Missing parameter 'json_data'")
	}
	if jsonErr != nil {
		return thrown(codeBadJSON, "Parameter json_data is not a valid JSON structure")
	}
	if !slices.Contains([]string{"1.0", "1.1", "1.2", "1.3", "1.4"}, req.version) {
		return thrown(codeBadVersion, "There is no service available for version '%s'", req.version)
	}
	return nil
}

var surrogates = regexp.MustCompile(`(?i)\\u(d[89ab][0-9a-f]{2})(\\u(d[c-f][0-9a-f]{2}))?|\\\\|\\ud[c-f][0-9a-f]{2}`)

// decodeParams reads json_data with PHP's strictness: UTF-8 and paired
// surrogates only; null and an empty list count as no structure.
func decodeParams(data string) (any, error) {
	bad := errors.New("not a JSON structure")
	if !json.Valid([]byte(data)) || !utf8.ValidString(data) {
		return nil, bad
	}
	if loneSurrogate(data) {
		return nil, bad
	}
	v, err := decodeJSON([]byte(data))
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case nil, bool:
		return nil, bad
	case list:
		if len(v) == 0 {
			return nil, bad
		}
	}
	return v, nil
}

// loneSurrogate looks for half of a pair of \u escapes, which PHP refuses.
func loneSurrogate(data string) bool {
	if !strings.Contains(data, `\ud`) && !strings.Contains(data, `\uD`) {
		return false
	}
	for _, m := range surrogates.FindAllStringSubmatch(data, -1) {
		if m[0] != `\\` && m[3] == "" {
			return true
		}
	}
	return false
}

// respond runs the operation and writes its answer.
func (s *Sim) respond(w http.ResponseWriter, req *request, failed error) {
	var body object
	if failed == nil {
		body, failed = s.run(req)
	}
	var f *failure
	switch {
	case failed == nil:
	case errors.As(failed, &f) && f.crash:
		s.crash(w)
		return
	case f != nil:
		body = f.body()
	default:
		body = (&failure{code: codeInternal, message: failed.Error(), thrown: true}).body()
	}
	out, kind := encodePHP(body), "application/json"
	if callback := req.param("callback"); callback != "" {
		out, kind = []byte(callback+"("+string(out)+");"), "application/javascript"
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(out)
}

// crash is PHP's answer when it cannot go on.
func (s *Sim) crash(w http.ResponseWriter) {
	s.mu.Lock()
	mode := s.mode
	s.mu.Unlock()
	if mode == Maintenance {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write(encodePHP(object{{"data", list{object{{"code", codeInternal},
			{"message", "This application is currently under maintenance."}}}}, {"scripts", list{}}}))
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = io.WriteString(w, "<p>iTop: An error occurred, check server error log for more information.</p>\n")
}

// now is PHP's local time.
func (s *Sim) now() string { return time.Now().In(s.zone).Format(stamp) }
