package itop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"passerelle"
)

// iTop's own result codes.
const (
	codeOK           = 0
	codeUnauthorised = 1
	codeNoVersion    = 2
	codeNoJSON       = 3
	codeBadJSON      = 4
	codeVersion      = 10
	codeOperation    = 11
	codeInternal     = 100
)

var versions = []string{"1.0", "1.1", "1.2", "1.3", "1.4"}

// answer is what the face says, in iTop's shape.
type answer struct {
	Objects    map[string]object `json:"objects,omitempty"`
	Code       int               `json:"code"`
	Message    *string           `json:"message"`
	Version    string            `json:"version,omitempty"`
	Operations []operation       `json:"operations,omitempty"`
	Authorized *bool             `json:"authorized,omitempty"`
}

type object struct {
	Code    int               `json:"code"`
	Message string            `json:"message"`
	Class   string            `json:"class"`
	Key     string            `json:"key"`
	Fields  map[string]string `json:"fields"`
}

type operation struct {
	Verb        string `json:"verb"`
	Description string `json:"description"`
	Extension   string `json:"extension"`
}

// fault is an error that has a code of iTop's.
type fault struct {
	code int
	text string
}

// Error is the message that the caller reads.
func (f *fault) Error() string { return f.text }

func failf(code int, format string, args ...any) error {
	return &fault{code, "Error: " + fmt.Sprintf(format, args...)}
}

// Serve answers as iTop's webservices/rest.php does: HTTP 200 with a code of
// its own. When the event could not be stored it answers 503, so that a sender
// who looks at the status tries again.
func (t *ITop) Serve(w http.ResponseWriter, r *http.Request, d passerelle.Desk) {
	ans, err := t.handle(r, d)
	status := http.StatusOK
	if err != nil {
		ans, status = failure(err)
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "10")
	}
	// What was not read is read here, so that the caller sees the answer
	// rather than a reset; it is bounded, and kept nowhere.
	_, _ = io.CopyN(io.Discard, r.Body, 4*t.cfg.LimitBytes)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(ans)
}

// failure puts an error in iTop's shape. Only what is not stored because of us
// is an HTTP error too.
func failure(err error) (*answer, int) {
	var f *fault
	if errors.As(err, &f) {
		return &answer{Code: f.code, Message: &f.text}, http.StatusOK
	}
	text := "Error: " + err.Error()
	if passerelle.ClassOf(err) == passerelle.Refused {
		return &answer{Code: codeInternal, Message: &text}, http.StatusOK
	}
	return &answer{Code: codeInternal, Message: &text}, http.StatusServiceUnavailable
}

// request is one message to the face, read and taken apart.
type request struct {
	creds   credentials
	header  bool // creds came in the headers
	version string
	given   bool // json_data was there
	json    gjson.Result
	files   []passerelle.File
	bad     map[int]error
	size    int64
	names   []string // of the files, for a refusal by size
}

func (t *ITop) handle(r *http.Request, d passerelle.Desk) (*answer, error) {
	q := &request{creds: headerCredentials(r)}
	q.header = q.creds.given()
	if q.header && !t.authorised(q.creds) {
		return nil, failf(codeUnauthorised, "Invalid login")
	}
	err := t.read(r.Context(), r, q, d)
	defer func() { d.Release(q.files...) }()
	if !t.authorised(q.creds) { // before any other word about the message
		return nil, failf(codeUnauthorised, "Invalid login")
	}
	if err != nil {
		return nil, err
	}
	if err := q.check(); err != nil {
		return nil, err
	}
	return t.operate(r.Context(), q, d)
}

// read takes the request apart as it streams by.
func (t *ITop) read(ctx context.Context, r *http.Request, q *request, d passerelle.Desk) error {
	err := t.parts(r, func(p part) error {
		switch p.name {
		case "json_data":
			return t.readJSON(ctx, p.r, q, d)
		case "version":
			return short(p.r, &q.version)
		case "auth_user":
			return q.formCredential(p.r, &q.creds.user)
		case "auth_pwd":
			return q.formCredential(p.r, &q.creds.password)
		case "auth_token":
			return q.formCredential(p.r, &q.creds.token)
		}
		return nil
	})
	if errors.Is(err, errTooLong) {
		return t.tooBig(q, fmt.Sprintf("more than the %d bytes that the contract's limit allows this kind of body", t.cfg.LimitBytes))
	}
	return err
}

func (q *request) formCredential(r io.Reader, to *string) error {
	if q.header { // Basic wins over the form, as in iTop
		return nil
	}
	return short(r, to)
}

// short reads a value that has no business being long.
func short(r io.Reader, to *string) error {
	b, err := io.ReadAll(io.LimitReader(r, 1025))
	if len(b) > 1024 {
		return failf(codeInternal, "a parameter has more than 1024 bytes")
	}
	*to = string(b)
	return err
}

func (t *ITop) readJSON(ctx context.Context, r io.Reader, q *request, d passerelle.Desk) error {
	s := &splicer{ctx: ctx, r: bufio.NewReaderSize(r, 32<<10), spool: d, limit: t.cfg.LimitBytes, bad: map[int]error{}}
	err := s.splice()
	q.given = s.size > 0
	q.files, q.bad, q.size = append(q.files, s.files...), s.bad, s.size
	var not *errNotJSON
	switch {
	case s.size == 0 && err != nil && errors.As(err, &not):
		return nil // an empty json_data is a missing one
	case errors.As(err, &not):
		return failf(codeBadJSON, "Parameter json_data is not a valid JSON structure (%v)", not)
	case err != nil:
		return err
	case s.size > s.limit:
		q.json = gjson.Result{}
		q.names = fileNames(s.out.Bytes())
		return t.tooBig(q, fmt.Sprintf("%d bytes", s.size))
	}
	return q.parse(s.out.Bytes())
}

func (q *request) parse(b []byte) error {
	if !gjson.ValidBytes(b) {
		return failf(codeBadJSON, "Parameter json_data is not a valid JSON structure")
	}
	q.json = gjson.ParseBytes(b)
	if q.json.IsArray() || q.json.Type == gjson.Null {
		return failf(codeBadJSON, "Parameter json_data is not a valid JSON structure")
	}
	// R26: a partner's agent puts its credentials into the message. They are
	// checked like any others and go no further; auth_url is never followed.
	if !q.creds.given() {
		q.creds = credentials{user: q.json.Get("auth_user").String(), password: q.json.Get("auth_pwd").String()}
	}
	return nil
}

// fileNames finds the names of the files in a text that was cut off.
func fileNames(b []byte) []string {
	var names []string
	for _, rest := range bytes.Split(b, []byte(`"filename"`))[1:] {
		if parts := bytes.SplitN(rest, []byte(`"`), 3); len(parts) == 3 {
			names = append(names, string(parts[1]))
		}
	}
	return names
}

// tooBig refuses a message by its size (R24).
func (t *ITop) tooBig(q *request, size string) error {
	text := fmt.Sprintf("the message has %s, the limit is %d bytes [R24]", size, t.cfg.LimitBytes)
	if len(q.names) > 0 {
		text += ": « " + strings.Join(q.names, " », « ") + " »"
	}
	return failf(codeInternal, "%s (send fewer or smaller files; nothing was stored)", text)
}

func (q *request) check() error {
	if q.version == "" && q.json.Get("operation").Exists() && q.header {
		q.version = versions[3] // a webhook's bare JSON has no version
	}
	switch {
	case q.version == "":
		return failf(codeNoVersion, "Missing parameter 'version' (e.g. '1.0')")
	case !q.given:
		return failf(codeNoJSON, "Missing parameter 'json_data'")
	case !slices.Contains(versions, q.version):
		return failf(codeVersion, "There is no service available for version '%s'", strings.ToValidUTF8(q.version, "?"))
	case !q.json.Get("operation").Exists():
		return failf(codeInternal, "Missing parameter 'operation'")
	}
	return nil
}

// ops are the operations of the face, in the order that iTop lists them.
var ops = []operation{
	{"core/create", "Create an object", "CoreServices"},
	{"core/update", "Update an object", "CoreServices"},
	{"core/apply_stimulus", "Apply a stimulus to change the state of an object", "CoreServices"},
	{"core/get", "Search for objects", "CoreServices"},
	{"core/check_credentials", "Check user credentials", "CoreServices"},
	{"syn/addattachment", "Add attachments to an object", "Passerelle"},
}

func (t *ITop) operate(ctx context.Context, q *request, d passerelle.Desk) (*answer, error) {
	switch op := q.json.Get("operation").String(); op {
	case "list_operations":
		text := fmt.Sprintf("Operations: %d", len(ops))
		return &answer{Message: &text, Version: q.version, Operations: ops}, nil
	case "core/check_credentials":
		ok := t.authorised(credentials{user: q.json.Get("user").String(), password: q.json.Get("password").String()})
		return &answer{Authorized: &ok}, nil
	case "core/get":
		return t.get(ctx, q, d)
	case "core/create", "core/update", "core/apply_stimulus", "syn/addattachment":
		return t.write(ctx, op, q, d)
	case "core/delete":
		return nil, failf(codeInternal, "a deletion is never carried over [R33] (close or reassign the ticket instead)")
	default:
		return nil, failf(codeOperation, "Unknown verb '%s' in version '%s'", op, q.version)
	}
}

// write turns a message into events and has them accepted.
func (t *ITop) write(ctx context.Context, op string, q *request, d passerelle.Desk) (*answer, error) {
	if err := q.need(op); err != nil {
		return nil, err
	}
	if q.json.Get("hint").Bool() {
		return t.hint(ctx, q, d)
	}
	events, err := t.events(op, q)
	if err != nil {
		return nil, err
	}
	link, err := d.Accept(ctx, events...)
	if err != nil {
		return nil, err
	}
	verb := "updated"
	if op == "core/create" {
		verb = "created"
	}
	return t.shown(link, verb, q.json.Get("output_fields")), nil
}

// need checks the parameters that iTop wants for each operation.
func (q *request) need(op string) error {
	need := []string{"comment", "class"}
	switch op {
	case "core/create", "core/update":
		need = append(need, "fields")
	case "core/apply_stimulus":
		need = append(need, "stimulus")
	}
	for _, name := range need {
		if !q.json.Get(name).Exists() && !(name == "comment" && q.json.Get("hint").Bool()) {
			return failf(codeInternal, "Missing parameter '%s'", name)
		}
	}
	return nil
}

// hint is a webhook that only says "look": iTop cannot push a file's bytes.
func (t *ITop) hint(ctx context.Context, q *request, d passerelle.Desk) (*answer, error) {
	key := q.json.Get("customer_id").String()
	if key == "" {
		key = q.json.Get("fields.customer_id").String()
	}
	if key == "" {
		return nil, failf(codeInternal, "a hint needs customer_id, the ticket's id in your iTop")
	}
	if err := d.Look(ctx, t.cfg.Contract, t.cfg.Side, key); err != nil {
		return nil, err
	}
	return &answer{Objects: map[string]object{}, Message: nil}, nil
}

// get answers for the broker's own ticket.
func (t *ITop) get(ctx context.Context, q *request, d passerelle.Desk) (*answer, error) {
	if !q.json.Get("class").Exists() || !q.json.Get("key").Exists() {
		return nil, failf(codeInternal, "Missing parameter 'class' or 'key'")
	}
	link, err := d.Find(ctx, t.cfg.Contract, passerelle.Broker, plainKey(q.json.Get("key")))
	if errors.Is(err, passerelle.ErrNotFound) {
		text := "Found: 0"
		return &answer{Message: &text}, nil
	}
	if err != nil {
		return nil, err
	}
	ans := t.shown(link, "", q.json.Get("output_fields"))
	text := "Found: 1"
	ans.Message = &text
	return ans, nil
}

// shown is the broker's own ticket as iTop would show it.
func (t *ITop) shown(l *passerelle.Link, verb string, output gjson.Result) *answer {
	all := map[string]string{
		"id": l.Own.Key, "ref": l.Own.Number, "status": string(l.State),
		"customer_id": l.Requester.Key, "customer_ref": l.Requester.Number,
		"provider_id": l.Partner.Key, "provider_ref": l.Partner.Number,
	}
	fields := map[string]string{}
	for _, name := range outputFields(output) {
		if name == "*" {
			fields = all
			break
		}
		if v, ok := all[name]; ok {
			fields[name] = v
		}
	}
	key := t.cfg.Class + "::" + l.Own.Key
	return &answer{Objects: map[string]object{key: {Message: verb, Class: t.cfg.Class, Key: l.Own.Key, Fields: fields}}}
}

// outputFields reads "id, ref", "*", or the annex's object {ref, id} (R6).
func outputFields(v gjson.Result) []string {
	if v.IsObject() {
		var names []string
		v.ForEach(func(k, _ gjson.Result) bool { names = append(names, k.String()); return true })
		return names
	}
	if strings.Trim(v.String(), " *+") == "" {
		return []string{"*"}
	}
	names := strings.Split(v.String(), ",")
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	return names
}
