package admin

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"passerelle/internal/login"
)

// Protect asks each caller of the API for the operators' token, as
// "Authorization: Bearer". Without a token to ask for it takes every request but
// those of web pages: a page that an operator's browser shows must decide nothing
// and read nothing here.
func Protect(next http.Handler, door *login.Door, token bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !token && fromAPage(r) {
			_ = door.Refuse(r, login.Strange) // noted; the answer is ours
			fail(w, http.StatusForbidden, "a web page asks, or the gateway is called by a name: refused (call it by 127.0.0.1 or localhost, with gateway's own commands or curl; or set admin_token)")
			return
		}
		if !token {
			next.ServeHTTP(w, r)
			return
		}
		if err := door.Enter(r, login.Credentials{Token: bearer(r)}); err != nil {
			refuse(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

func refuse(w http.ResponseWriter, err error) {
	status := http.StatusUnauthorized
	var no *login.Refusal
	if errors.As(err, &no) && no.After > 0 {
		status = no.Status()
		w.Header().Set("Retry-After", strconv.Itoa(login.Seconds(no.After)))
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="operators"`)
	fail(w, status, "the operators' token is missing or wrong (give the token in PASSERELLE_ADMIN_TOKEN, or the file that holds it in PASSERELLE_ADMIN_TOKEN_FILE)")
}

// fromAPage tells whether a browser made the request for a page of another
// site, or for one whose name was turned to this address (DNS rebinding).
func fromAPage(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "none" && site != "same-origin" {
		return true
	}
	if http.NewCrossOriginProtection().Check(r) != nil {
		return true
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err != nil && !strings.EqualFold(host, "localhost")
}
