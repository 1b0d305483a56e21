package itop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"passerelle"
)

// request is one message to the face, read and taken apart.
type request struct {
	w                     http.ResponseWriter // of the answer, for deadlines only
	http                  *http.Request
	header, form, message credentials // by the way that they came; the first that is given counts
	looked                bool        // at seen, with that verdict
	seen                  credentials
	verdict               error
	guest                 bool     // room was given before the sender was known
	leaves                []func() // give back what the message takes while it is worked on
	bare                  bool     // the body is the message itself, as iTop's webhooks send
	version               string
	given                 bool // json_data was there
	json                  gjson.Result
	files                 []spliced
	bad                   error // what is wrong with json_data; told to who may know
}

// credentials are those that count: Basic and tokens win over the form, as in
// iTop, and the form over the message.
func (q *request) credentials() credentials {
	for _, c := range []credentials{q.header, q.form} {
		if c.given() {
			return c
		}
	}
	return q.message
}

// leave gives back what the message took.
func (q *request) leave() {
	for _, leave := range q.leaves {
		leave()
	}
}

// kept are the files that the spool holds for the message.
func (q *request) kept() []passerelle.File {
	var out []passerelle.File
	for _, f := range q.files {
		if f.err == nil {
			out = append(out, f.file)
		}
	}
	return out
}

// read takes the request apart as it streams by. An error is one of the
// request as a whole; what is wrong with the message is q.bad, so that
// credentials behind it are still read.
func (t *ITop) read(r *http.Request, q *request, d passerelle.Desk) error {
	err := t.parts(r, q, func(p part) error {
		switch p.name {
		case "json_data":
			return t.readJSON(r.Context(), p.r, q, d)
		case "version":
			return short(p.r, &q.version)
		case "auth_user":
			return short(p.r, &q.form.user)
		case "auth_pwd":
			return short(p.r, &q.form.password)
		case "auth_token":
			return short(p.r, &q.form.token)
		}
		return nil
	})
	if errors.Is(err, errTooLong) {
		return t.tooBig(fmt.Sprintf("more than %d bytes", 3*t.cfg.LimitBytes), nil)
	}
	return err
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

// readJSON reads the message. Files go to the spool on the way.
func (t *ITop) readJSON(ctx context.Context, r io.Reader, q *request, d passerelle.Desk) error {
	if q.given {
		q.bad = failf(codeBadJSON, "Parameter json_data is there twice")
		return nil
	}
	s := &splicer{r: bufio.NewReaderSize(r, view(q.http.ContentLength)), limit: t.cfg.LimitBytes, data: messageData,
		put:   func(r io.Reader) (passerelle.File, error) { return d.Put(ctx, r) },
		drop:  func(f passerelle.File) { d.Release(f) },
		admit: func(words []byte) error { return t.admit(q, words) },
		room:  func() error { return t.room(ctx, q) }}
	err := s.splice()
	q.given, q.files = s.size > 0, s.files
	q.note(s.out.Bytes())
	var not *errNotJSON
	switch {
	case !q.given && errors.As(err, &not):
		return nil // an empty json_data is a missing one
	case errors.As(err, &not):
		q.bad = failf(codeBadJSON, "%s (%v)", badJSON, not)
	case errors.Is(err, errTooLong):
		return err
	case err != nil:
		q.bad = err
	case s.many > maxFiles:
		q.bad = tooMany(s.many, s.names)
	case s.over():
		q.bad = t.tooBig(fmt.Sprintf("%d bytes", s.size), s.names)
	default:
		q.bad = q.parse(s.out.Bytes())
	}
	return nil
}

const badJSON = "Parameter json_data is not a valid JSON structure"

// messageData tells whether the value that comes is a file's base64:
// attachments[].data (syn/addattachment) or fields.contents.data (core/create
// of an Attachment).
func messageData(p []step) bool {
	if len(p) != 3 || p[2].name != "data" {
		return false
	}
	return p[0].name == "attachments" && p[1].array || p[0].name == "fields" && p[1].name == "contents"
}

// admit decides whether a message may take room, as soon as it wants some. A
// sender may give its credentials after json_data, or in it: a few such
// messages at a time are trusted, so that strangers cost a bounded amount of
// memory and disk.
func (t *ITop) admit(q *request, words []byte) error {
	q.note(words)
	c := q.credentials()
	if c.whole() {
		return t.enter(q, c)
	}
	select {
	case t.guests <- struct{}{}:
		q.guest, q.leaves = true, append(q.leaves, func() { <-t.guests })
		return nil
	default:
		return passerelle.Errorf(passerelle.Down, "itop", "too many messages at once whose credentials come last (send them in the header, or before json_data)")
	}
}

// room gives a place to a message with much text, which is held until it is
// answered.
func (t *ITop) room(ctx context.Context, q *request) error {
	leave, err := t.cfg.Intake.Place(ctx, !q.guest)
	if err == nil {
		q.leaves = append(q.leaves, leave)
	}
	return err
}

// note keeps the credentials in the message: a partner's agent puts them there
// (R26). They are checked like any others and go no further; auth_url is never
// followed. words may be the beginning of a message only.
func (q *request) note(words []byte) {
	q.message = credentials{user: gjson.GetBytes(words, "auth_user").String(), password: gjson.GetBytes(words, "auth_pwd").String()}
}

func (q *request) parse(b []byte) error {
	if !gjson.ValidBytes(b) || !utf8.Valid(b) || loneSurrogate(b) {
		return failf(codeBadJSON, badJSON)
	}
	twice, err := sound(b)
	if err != nil {
		return failf(codeBadJSON, "%s (%v)", badJSON, err)
	}
	if twice {
		b = last(b)
		q.note(b)
	}
	q.json = gjson.ParseBytes(b)
	if q.json.IsArray() || q.json.Type == gjson.Null {
		return failf(codeBadJSON, badJSON)
	}
	return nil
}

// tooBig refuses a message by its size (R24).
func (t *ITop) tooBig(size string, names []string) error {
	return failf(codeInternal, "the message has %s, the limit is %d bytes [R24]%s (send fewer or smaller files; nothing was stored)", size, t.cfg.LimitBytes, quoted(names))
}

// tooMany refuses a message by the number of its files, each of which takes a
// place in the spool.
func tooMany(n int, names []string) error {
	return failf(codeInternal, "the message has %d attachments, the limit is %d%s (send them in several messages; nothing was stored)", n, maxFiles, quoted(names))
}

// quoted lists the first names of files.
func quoted(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return ": « " + strings.ToValidUTF8(strings.Join(names, " », « "), "?") + " »"
}

// check says what is wrong with a request that was read, in iTop's order.
func (q *request) check() error {
	operation := q.json.Get("operation")
	if q.bare && q.version == "" {
		q.version = versions[3] // a webhook's bare JSON has no version
	}
	switch {
	case q.version == "":
		return failf(codeNoVersion, "Missing parameter 'version' (e.g. '1.0')")
	case !q.given, q.bare && !operation.Exists() && q.json.Get("json_data").Exists():
		return failf(codeNoJSON, "Missing parameter 'json_data'")
	case !slices.Contains(versions, q.version):
		return failf(codeVersion, "There is no service available for version '%s'", strings.ToValidUTF8(q.version, "?"))
	case q.bad != nil:
		return q.bad
	case !operation.Exists():
		return failf(codeInternal, "Missing parameter 'operation'")
	}
	return nil
}

// needs checks the parameters that iTop wants for each operation, in its order.
func (q *request) needs(op string) error {
	var need []string
	switch op {
	case "core/get":
		need = []string{"class", "key"}
	case "core/check_credentials":
		need = []string{"user", "password"}
	case "core/create", "core/update":
		need = []string{"comment", "class", "fields"}
	case "core/apply_stimulus":
		need = []string{"comment", "class", "stimulus"}
	case "syn/addattachment":
		need = []string{"comment", "class", "attachments"}
	}
	for _, name := range need {
		if !q.json.Get(name).Exists() {
			return failf(codeInternal, "Missing parameter '%s'", name)
		}
	}
	return nil
}
