package itop

import (
	"fmt"
	"net/http"
	"time"

	"passerelle"
	"passerelle/internal/foreign"
)

// httpError gives an HTTP status its class; nil for 200, of which the body
// tells the rest.
func httpError(res *http.Response, write bool) error {
	code := res.StatusCode
	fail := func(class passerelle.Class, hint string) error {
		return &passerelle.Error{Op: "itop", Class: class, Err: fmt.Errorf("HTTP %d %s", code, http.StatusText(code)), Hint: hint, After: foreign.RetryAfter(res.Header, time.Now()), Perhaps: write && code >= 500}
	}
	switch {
	case code == http.StatusOK:
		return nil
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fail(passerelle.Denied, "check the account and the address that iTop allows")
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code == http.StatusTooEarly:
		return fail(passerelle.Down, "")
	case code == http.StatusServiceUnavailable:
		return fail(passerelle.Down, "maintenance, or a proxy without its iTop")
	case code == http.StatusRequestEntityTooLarge:
		return fail(passerelle.Stuck, "raise the web server's body limit, PHP's post_max_size and upload_max_filesize")
	case (code >= 500 || code < 300) && write:
		return fail(passerelle.Unsure, "")
	case code >= 500, code < 400, code == http.StatusNotFound:
		return fail(passerelle.Down, "is base_url the address of this iTop?")
	}
	return fail(passerelle.Stuck, "")
}

// maxMessage bounds what an error repeats of iTop's own message, in bytes.
const maxMessage = 500

// codeError classifies iTop's own codes. Its messages are in the account's
// language: shown, never parsed.
func (t *ITop) codeError(code int, message string, big bool) error {
	e := &passerelle.Error{Op: "itop", Class: passerelle.Stuck, Err: fmt.Errorf("code %d: %s", code, t.quote(message, maxMessage))}
	switch {
	case code <= codeNoJSON && big:
		// PHP drops the whole form of a body over post_max_size, so that the
		// login looks wrong.
		e.Hint = "most likely the file is over PHP's post_max_size: raise it on the iTop, or drop this entry"
	case code == codeUnauthorised:
		e.Class, e.Hint = passerelle.Denied, "check the technical account, its profile « REST Services User », and that the iTop is not read-only"
	}
	return e
}

// unsure classifies an exchange that went wrong on the way: a write may have
// taken effect.
func unsure(write bool, format string, args ...any) error {
	if write {
		return passerelle.Errorf(passerelle.Unsure, "itop", format, args...)
	}
	return passerelle.Errorf(passerelle.Down, "itop", format, args...)
}
