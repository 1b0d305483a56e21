package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"passerelle"
	"passerelle/internal/foreign"
)

// httpError gives an HTTP status that is no success its class.
func (a *Agent) httpError(res *http.Response, text []byte) error {
	class, hint := fate(res.StatusCode)
	why := fmt.Sprintf("HTTP %d %s", res.StatusCode, http.StatusText(res.StatusCode))
	if said, ok := parse(text); ok && said.message() != "" {
		why += ": " + a.mask.quote(said.message())
	}
	e := fail(class, hint, "%s", why)
	e.After = foreign.RetryAfter(res.Header, time.Now())
	return e
}

// fate says what a status means for a write, and what would work.
func fate(status int) (passerelle.Class, string) {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return passerelle.Denied, "check user, password and the address that the agent allows"
	case status == http.StatusNotFound:
		return passerelle.Down, "is url the address of the agent?"
	case status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status == http.StatusTooEarly:
		return passerelle.Down, ""
	case status == http.StatusServiceUnavailable:
		return passerelle.Down, "maintenance, or a proxy without its agent"
	case status == http.StatusRequestEntityTooLarge:
		return passerelle.Stuck, "raise the body limit of the agent and of the server before it"
	case status >= 500 || status < 200:
		return passerelle.Unsure, ""
	case status < 400:
		return passerelle.Down, "url leads elsewhere: give the address of the agent itself"
	}
	return passerelle.Stuck, ""
}

// lost classifies a request without an answer: certainly not sent (no
// connection, no such name, no trust), or nobody knows.
func (a *Agent) lost(err error, tr *trace) error {
	var op *net.OpError
	if tr.asked.Load() && !tr.connected.Load() || errors.As(err, &op) && op.Op == "dial" {
		return fail(passerelle.Down, "", "not sent: %s", a.mask.quote(err.Error()))
	}
	return fail(passerelle.Unsure, "", "no answer: %s", broken(err))
}

// broken says how a connection ended. Other words of the HTTP library's own are
// not repeated: they quote, in part, what came, which may be our credentials.
func broken(err error) string {
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "it took too long"
	case errors.Is(err, context.Canceled):
		return "given up"
	case errors.As(err, &op):
		return op.Error()
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed"
	}
	return "what came broke off, or is not HTTP"
}
