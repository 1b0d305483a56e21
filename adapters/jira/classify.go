package jira

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/internal/foreign"
)

// verdict is what a status means: whose fault it is and what would work.
type verdict struct {
	class passerelle.Class
	hint  string
}

// judge gives every HTTP status its fate. A write whose effect the status
// leaves open is unsure.
func judge(status int, head http.Header, write bool) verdict {
	switch {
	case status == http.StatusUnauthorized || loginRefused(status, head):
		return verdict{passerelle.Denied, "check the account and its password or token; Jira may want it to solve a CAPTCHA first"}
	case status == http.StatusForbidden:
		return verdict{passerelle.Stuck, "give the account the permission"}
	case status == http.StatusNotFound:
		return verdict{passerelle.Stuck, "no such issue, or the account has no permission to see it"}
	case status == http.StatusConflict, status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		return verdict{passerelle.Temporary, ""}
	case status == http.StatusRequestEntityTooLarge:
		return verdict{passerelle.Stuck, "raise the limit of Jira or of the proxy before it, or send less"}
	case status == http.StatusTooManyRequests:
		return verdict{passerelle.Down, ""}
	case write && mayHaveWorked(status):
		return verdict{passerelle.Unsure, ""}
	case status >= 500:
		return verdict{passerelle.Down, ""}
	case status >= 300 && status < 400:
		return verdict{passerelle.Stuck, "set base_url to where Jira really is: " + elsewhere(head)}
	}
	return verdict{passerelle.Stuck, ""}
}

// loginRefused recognises a refusal of the account: Data Center answers 403
// once it wants a CAPTCHA, or leads to the login page.
func loginRefused(status int, head http.Header) bool {
	reason := head.Get("X-Seraph-LoginReason")
	switch {
	case status == http.StatusForbidden:
		return reason != "" && reason != "OK" || head.Get("X-Authentication-Denied-Reason") != ""
	case status >= 300 && status < 400:
		to, err := url.Parse(head.Get("Location"))
		return err == nil && isLogin(to)
	}
	return false
}

// mayHaveWorked lists the statuses that can come after the effect: an error
// late in Jira's own work, or a proxy that lost Jira's answer.
func mayHaveWorked(status int) bool {
	return slices.Contains([]int{500, 502, 504, 520, 522, 524}, status)
}

// elsewhere is the host that a redirect names.
func elsewhere(head http.Header) string {
	u, err := url.Parse(head.Get("Location"))
	if err != nil || u.Host == "" {
		return "it answers with a redirect"
	}
	return u.Scheme + "://" + u.Host
}

// refusal is what Jira said when it refused.
type refusal struct {
	status int
	text   string
	fields map[string]string // by field id
}

func (r *refusal) Error() string {
	s := "Jira answered " + strconv.Itoa(r.status)
	if r.text == "" {
		return s + " " + http.StatusText(r.status)
	}
	return s + ": " + r.text
}

// refused makes the error of an answer that is not a success.
func (c call) refused(a *answer) error {
	v := judge(a.status, a.head, c.writes)
	err := passerelle.Errorf(v.class, c.op, "%w", newRefusal(a))
	err.Ticket, err.Hint = c.ticket, v.hint
	err.Perhaps = c.writes && a.status >= 500
	err.After = foreign.RetryAfter(a.head, time.Now())
	return err
}

// newRefusal reads Jira's own words: general messages first, then those of the
// fields. A page is never quoted.
func newRefusal(a *answer) *refusal {
	r := &refusal{status: a.status, fields: map[string]string{}}
	said, err := parse(a.body)
	if err != nil || !said.IsObject() {
		return r
	}
	var parts, named []string
	for _, m := range said.Get("errorMessages").Array() {
		parts = append(parts, m.String())
	}
	said.Get("errors").ForEach(func(k, v gjson.Result) bool {
		r.fields[k.String()] = v.String()
		named = append(named, k.String()+": "+v.String())
		return true
	})
	slices.Sort(named)
	parts = append(parts, named...)
	if m := said.Get("message"); len(parts) == 0 && m.Type == gjson.String {
		parts = append(parts, m.String())
	}
	r.text = clip(strings.Join(parts, "; "))
	return r
}

// clip bounds what is quoted, and keeps it to one line without markup.
func clip(s string) string {
	if strings.Contains(s, "<html") || strings.Contains(s, "<body") {
		return ""
	}
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 1000 {
		return string(r[:1000]) + "…"
	}
	return s
}

// broken makes the error of a request without a whole answer. What was sent may
// have taken effect; what was not has not.
func (c call) broken(ctx context.Context, err error, sent bool) error {
	class := passerelle.Down
	switch {
	case sent && c.writes:
		class = passerelle.Unsure
	case ctx.Err() != nil: // the caller gave up: not Jira's fault
		class = passerelle.Temporary
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	out := passerelle.Errorf(class, c.op, "%w", err)
	out.Ticket = c.ticket
	return out
}

// fail makes an error of our own about the call.
func (c call) fail(class passerelle.Class, hint, format string, args ...any) *passerelle.Error {
	return &passerelle.Error{Op: c.op, Class: class, Ticket: c.ticket, Hint: hint, Err: fmt.Errorf(format, args...)}
}

// statusOf is the HTTP status that Jira refused with, or 0.
func statusOf(err error) int {
	var r *refusal
	if errors.As(err, &r) {
		return r.status
	}
	return 0
}
