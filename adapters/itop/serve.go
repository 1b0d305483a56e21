package itop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/internal/intake"
	"passerelle/internal/login"
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
	Code       int                 `json:"code"`
	Message    *string             `json:"message"`
	Objects    *map[string]*object `json:"objects,omitempty"` // nil: not said; none: null
	Version    string              `json:"version,omitempty"`
	Operations []operation         `json:"operations,omitempty"`
	Authorized *bool               `json:"authorized,omitempty"`
}

// none are the objects of an answer about nothing.
func none() *map[string]*object { return new(map[string]*object) }

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
	return &fault{code, "Error: " + clip(fmt.Sprintf(format, args...))}
}

// maxSaid bounds an error, which may quote the message, in bytes.
const maxSaid = 8 << 10

func clip(s string) string {
	if len(s) > maxSaid {
		s = s[:maxSaid] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// Serve answers as iTop's webservices/rest.php does: HTTP 200 with a code of
// its own. When the event could not be stored it answers 503, so that a sender
// who looks at the status tries again.
func (t *ITop) Serve(w http.ResponseWriter, r *http.Request, d passerelle.Desk) {
	ans, err := t.handle(w, r, d)
	status := http.StatusOK
	if err != nil {
		ans, status = failure(err)
	}
	if status != http.StatusOK {
		w.Header().Set("Retry-After", strconv.Itoa(after(err)))
	}
	// What was not read is read here, so that the caller sees the answer
	// rather than a reset; it is bounded, and kept nowhere.
	intake.Within(w, leftovers)
	_, _ = io.CopyN(io.Discard, r.Body, 4*t.cfg.LimitBytes+maxHead)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(ans)
}

// leftovers is how long the part of a body may take that nobody wants any more.
const leftovers = 30 * time.Second

// after says in how many seconds to come again.
func after(err error) int {
	var no *login.Refusal
	if errors.As(err, &no) {
		return login.Seconds(no.After)
	}
	var e *passerelle.Error
	if errors.As(err, &e) && e.After > 0 {
		return login.Seconds(e.After)
	}
	return 10
}

// failure puts an error in iTop's shape. Only what is not stored because of us,
// or because its sender must wait, is an HTTP error too.
func failure(err error) (*answer, int) {
	var no *login.Refusal
	if errors.As(err, &no) {
		return refused(no)
	}
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

// refused answers who is not let in: iTop has one code for it.
func refused(no *login.Refusal) (*answer, int) {
	text, code, status := "Error: "+no.Error(), codeUnauthorised, http.StatusOK
	if no.Why == login.Busy {
		code = codeInternal
	}
	if no.After > 0 {
		status = no.Status()
	}
	return &answer{Code: code, Message: &text}, status
}

func (t *ITop) handle(w http.ResponseWriter, r *http.Request, d passerelle.Desk) (*answer, error) {
	q := &request{w: w, http: r, header: headerCredentials(r)}
	intake.Within(w, intake.UnprovenBody)
	defer q.leave()
	if q.header.given() {
		if err := t.enter(q, q.header); err != nil {
			return nil, err
		}
	}
	err := t.read(r, q, d)
	defer func() { d.Release(q.kept()...) }()
	if err := t.enter(q, q.credentials()); err != nil { // before any other word about the message
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	if err := q.check(); err != nil {
		return nil, err
	}
	return t.operate(r.Context(), q, d)
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
	op := q.json.Get("operation").String()
	if q.json.Get("hint").Bool() {
		return t.hint(ctx, q, d)
	}
	if err := q.needs(op); err != nil {
		return nil, err
	}
	switch op {
	case "list_operations":
		text := fmt.Sprintf("Operations: %d", len(ops))
		return &answer{Message: &text, Version: q.version, Operations: ops}, nil
	case "core/check_credentials":
		ok, err := t.check(q)
		if err != nil {
			return nil, err
		}
		return &answer{Authorized: &ok}, nil
	case "core/get":
		return t.get(ctx, q, d)
	case "core/delete":
		return nil, failf(codeInternal, "a deletion is never carried over [R33] (close or reassign the ticket instead)")
	}
	if slices.Contains(writes, op) {
		return t.write(ctx, op, q, d)
	}
	return nil, failf(codeOperation, "Unknown verb '%s' in version '%s'", op, q.version)
}

// writes are the operations that tell something.
var writes = []string{"core/create", "core/update", "core/apply_stimulus", "syn/addattachment"}

// write turns a message into events and has them accepted.
func (t *ITop) write(ctx context.Context, op string, q *request, d passerelle.Desk) (*answer, error) {
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
	return t.shown(link, verb, outputFields(q.json.Get("output_fields"))), nil
}

// hint is a webhook that only says "look": iTop cannot push a file's bytes. It
// names the ticket by its id in the sender's own iTop.
func (t *ITop) hint(ctx context.Context, q *request, d passerelle.Desk) (*answer, error) {
	name := "customer_id"
	if t.cfg.Side == passerelle.Partner {
		name = "provider_id"
	}
	key := q.json.Get(name).String()
	if key == "" {
		key = q.json.Get("fields." + name).String()
	}
	if key == "" || key == "0" {
		return nil, failf(codeInternal, "a hint needs %s, the ticket's id in your iTop", name)
	}
	if err := shortKey(name, key); err != nil {
		return nil, err
	}
	if err := d.Look(ctx, t.cfg.Contract, t.cfg.Side, key); err != nil {
		return nil, err
	}
	return &answer{Objects: none()}, nil
}

// get answers for the broker's own ticket.
func (t *ITop) get(ctx context.Context, q *request, d passerelle.Desk) (*answer, error) {
	if class := q.json.Get("class").String(); class != t.cfg.Class {
		return nil, t.noClass(class)
	}
	key, err := plainKey(q.json.Get("key"))
	if err != nil {
		return nil, err
	}
	output := outputFields(q.json.Get("output_fields"))
	all := t.all(&passerelle.Link{})
	for _, name := range output {
		if _, ok := all[name]; !ok && name != "*" {
			return nil, failf(codeInternal, "output_fields: invalid attribute code '%s'", name)
		}
	}
	link, err := d.Find(ctx, t.cfg.Contract, passerelle.Broker, key)
	if errors.Is(err, passerelle.ErrNotFound) {
		text := "Found: 0"
		return &answer{Message: &text, Objects: none()}, nil
	}
	if err != nil {
		return nil, err
	}
	ans := t.shown(link, "", output)
	text := "Found: 1"
	ans.Message = &text
	return ans, nil
}

func (t *ITop) noClass(class string) error {
	return failf(codeInternal, "class: '%s' is not a valid class' (use %s)", class, t.cfg.Class)
}

// all is what the face says of the broker's own ticket.
func (t *ITop) all(l *passerelle.Link) map[string]string {
	return map[string]string{
		"id": l.Own.Key, "ref": l.Own.Number, "friendlyname": l.Own.Number, "status": string(l.State),
		"customer_id": l.Requester.Key, "customer_ref": l.Requester.Number,
		"provider_id": l.Partner.Key, "provider_ref": l.Partner.Number,
	}
}

// shown is the broker's own ticket as iTop would show it. A field that it does
// not have is left out: the answer to a write must not depend on it.
func (t *ITop) shown(l *passerelle.Link, verb string, output []string) *answer {
	all := t.all(l)
	fields := map[string]string{}
	for _, name := range output {
		if name == "*" {
			fields = all
			break
		}
		if v, ok := all[name]; ok {
			fields[name] = v
		}
	}
	o := &object{Message: verb, Class: t.cfg.Class, Key: l.Own.Key, Fields: fields}
	return &answer{Objects: &map[string]*object{t.cfg.Class + "::" + l.Own.Key: o}}
}

// outputFields reads "id, ref", "*", "*+", or the annex's object {ref, id} (R6).
func outputFields(v gjson.Result) []string {
	var names []string
	if v.IsObject() {
		v.ForEach(func(k, _ gjson.Result) bool { names = append(names, k.String()); return len(names) < maxMembers })
		return names
	}
	for name := range strings.SplitSeq(v.String(), ",") {
		switch name = strings.TrimSpace(name); name {
		case "", "*", "*+":
			return []string{"*"}
		}
		if names = append(names, name); len(names) == maxMembers {
			break
		}
	}
	return names
}
