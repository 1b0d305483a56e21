package jira

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/internal/intake"
	"passerelle/internal/login"
)

// Serve takes a webhook as a hint that something changed on an issue: once the
// desk has committed it, Serve answers 200, and the issue is read again later.
// Nothing else in a webhook is believed.
func (j *Jira) Serve(w http.ResponseWriter, r *http.Request, d passerelle.Desk) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		say(w, http.StatusMethodNotAllowed, "jira: webhook: "+r.Method+" is not accepted (Jira sends POST)")
		return
	}
	body, leave, status, err := j.admit(w, r)
	defer leave()
	if full := (*passerelle.Error)(nil); errors.As(err, &full) {
		w.Header().Set("Retry-After", strconv.Itoa(login.Seconds(full.After)))
		say(w, http.StatusServiceUnavailable, "jira: webhook: "+err.Error())
		return
	}
	if err != nil {
		var no *login.Refusal
		if errors.As(err, &no) && no.After > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(login.Seconds(no.After)))
			status = no.Status()
		}
		say(w, status, "jira: webhook: "+err.Error())
		return
	}
	h, err := readHint(body, r.URL.Query())
	if err != nil {
		say(w, http.StatusBadRequest, "jira: webhook: "+err.Error())
		return
	}
	if h.ignored != "" {
		answerJSON(w, http.StatusOK, map[string]string{"ignored": h.ignored})
		return
	}
	if err := d.Look(r.Context(), j.cfg.Contract, j.cfg.Side, h.issue); err != nil {
		busy(w, h.issue, err)
		return
	}
	answerJSON(w, http.StatusOK, map[string]string{"accepted": h.issue})
}

// admit reads a webhook's body within its limit, and lets in what proves to be
// Jira's. Without any proof in sight it does not even read. leave is called once
// the body is not held any more.
func (j *Jira) admit(w http.ResponseWriter, r *http.Request) (body []byte, leave func(), status int, err error) {
	leave = func() {}
	p := j.cfg.Webhook.proofs(r)
	if p.refused != nil {
		return nil, leave, http.StatusUnauthorized, notJira(p.refused)
	}
	intake.Within(w, intake.UnprovenBody)
	body, leave, err = j.hold(r, http.MaxBytesReader(w, r.Body, j.cfg.Webhook.Limit), p.signature == "")
	var large *http.MaxBytesError
	var full *passerelle.Error
	switch {
	case errors.As(err, &full):
		return nil, leave, http.StatusServiceUnavailable, err
	case errors.As(err, &large):
		return nil, leave, http.StatusRequestEntityTooLarge, fmt.Errorf("the body is larger than %d bytes (send less, or raise webhook.limit)", large.Limit)
	case err != nil:
		return nil, leave, http.StatusBadRequest, errors.New("the body is cut short")
	case !p.hold(body):
		_ = j.cfg.Webhook.Door.Refuse(r, login.Forged) // noted; the answer is ours
		return nil, leave, http.StatusUnauthorized, errNotJira
	}
	intake.Within(w, intake.KnownBody)
	return body, leave, http.StatusOK, nil
}

// hold reads a webhook's body into memory: a long one only with a place, which
// leave gives back. A signature is known to be right at the end only.
func (j *Jira) hold(r *http.Request, from io.Reader, known bool) (body []byte, leave func(), err error) {
	leave = func() {}
	body, err = io.ReadAll(io.LimitReader(from, intake.Text))
	if err != nil || len(body) < intake.Text {
		return body, leave, err
	}
	place, err := j.cfg.Intake.Place(r.Context(), known)
	if err != nil {
		return nil, leave, err
	}
	rest, err := io.ReadAll(from)
	return append(body, rest...), place, err
}

// notJira says why a webhook without a signature is refused.
func notJira(err error) error {
	var no *login.Refusal
	if errors.As(err, &no) && no.After > 0 {
		return no
	}
	return errNotJira
}

// hint is what a webhook is about.
type hint struct {
	issue   string // id, or key where no id is given
	ignored string // why nothing is to be done
}

// readHint finds the issue that a webhook is about. Jira can be told to send no
// body: then the address names the issue.
func readHint(body []byte, query url.Values) (hint, error) {
	if len(body) == 0 {
		for _, name := range []string{"issue_id", "issue_key"} {
			if v := query.Get(name); numeric(v) || isKey(v) {
				return hint{issue: v}, nil
			}
		}
		return hint{}, errors.New("the body is empty (let Jira send it, or add ?issue_id=${issue.id} to the address)")
	}
	hook, err := parse(body)
	if err != nil {
		return hint{}, fmt.Errorf("the body is %w", err)
	}
	if !hook.IsObject() {
		return hint{}, errors.New("the body is not a JSON object")
	}
	event := hook.Get("webhookEvent")
	if event.Exists() && event.Type != gjson.String {
		return hint{}, errors.New("webhookEvent is not a text")
	}
	if event.Exists() && !concerns(event.Str) {
		return hint{ignored: fmt.Sprintf("webhookEvent %.100q is none that the gateway follows", event.Str)}, nil
	}
	return issueHint(hook)
}

// concerns lists the events that can change what we say of an issue. An
// automation rule's payload has no event at all, and is taken.
func concerns(event string) bool {
	switch event {
	case "jira:issue_created", "jira:issue_updated", "jira:issue_deleted", "jira:issue_moved",
		"comment_created", "comment_updated", "comment_deleted",
		"attachment_created", "attachment_deleted":
		return true
	}
	return false
}

// issueHint takes the issue's id: it survives a move, and is what the gateway
// knows the issue by. Data Center tells of a comment without its issue, and at
// times of an attachment.
func issueHint(hook gjson.Result) (hint, error) {
	if id := hook.Get("issue.id"); id.Exists() {
		if !numeric(id.String()) {
			return hint{}, fmt.Errorf("issue.id %.100q is not a number", id.String())
		}
		return hint{issue: id.String()}, nil
	}
	if self := hook.Get("comment.self"); self.Exists() {
		id := issueOf(self.String())
		if id == "" {
			return hint{}, fmt.Errorf("comment.self %.200q names no issue (…/issue/{id}/comment/{id})", self.String())
		}
		return hint{issue: id}, nil
	}
	if key := hook.Get("issue.key"); key.Exists() {
		if !isKey(key.String()) {
			return hint{}, fmt.Errorf("issue.key %.100q is not a key", key.String())
		}
		return hint{issue: key.String()}, nil
	}
	return hint{ignored: "the webhook names no issue: the regular reading will find the change"}, nil
}

// busy asks Jira to come again. What nobody knows here needs no second try.
func busy(w http.ResponseWriter, issue string, err error) {
	if errors.Is(err, passerelle.ErrNotFound) {
		answerJSON(w, http.StatusOK, map[string]string{"ignored": "issue " + issue + " is none of the gateway's"})
		return
	}
	wait := 30 * time.Second
	var e *passerelle.Error
	if errors.As(err, &e) && e.After > 0 {
		wait = e.After
	}
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	say(w, http.StatusServiceUnavailable, "jira: webhook: issue "+issue+": not stored (send it again later)")
}

// say answers an error as Jira does.
func say(w http.ResponseWriter, status int, message string) {
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="webhook"`)
	}
	answerJSON(w, status, map[string]any{"errorMessages": []string{message}, "errors": map[string]string{}})
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	body, err := encode(v)
	if err != nil {
		status, body = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
