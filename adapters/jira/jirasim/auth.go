package jirasim

import (
	"net/http"
	"net/url"
	"strings"
)

// captchaAfter is how many wrong passwords in a row lock an account out of
// Basic until a person solves a CAPTCHA (here: DELETE /sim/captcha/{user}).
const captchaAfter = 3

// public says what Jira shows to anybody.
func public(path string) bool {
	return path == "/rest/api/2/serverInfo" || path == "/login.jsp"
}

// authenticate finds who asks: nil for nobody, or a refusal.
func (s *Sim) authenticate(r *http.Request) (*User, *answer) {
	head := r.Header.Get("Authorization")
	if head == "" {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if token, ok := strings.CutPrefix(head, "Bearer "); ok {
		return s.bearer(token)
	}
	name, secret, ok := r.BasicAuth()
	if !ok {
		return nil, ref(loginFailed())
	}
	return s.basic(s.base(r), name, secret)
}

func (s *Sim) bearer(token string) (*User, *answer) {
	for _, u := range s.users {
		if !s.cloud() && u.Token != "" && u.Token == token {
			return u, nil
		}
	}
	return nil, ref(loginFailed())
}

// basic takes name and password (Cloud: e-mail and token), and counts what is
// wrong. Once locked, even the right password is refused.
func (s *Sim) basic(base, name, secret string) (*User, *answer) {
	u := s.login(name)
	if u == nil {
		return nil, ref(loginFailed())
	}
	if s.failed[u.Name] >= captchaAfter {
		return nil, ref(s.loginDenied(base))
	}
	want := u.Password
	if s.cloud() {
		want = u.Token
	}
	if want == "" || want != secret {
		s.failed[u.Name]++
		return nil, ref(loginFailed())
	}
	delete(s.failed, u.Name)
	return u, nil
}

func (s *Sim) login(name string) *User {
	for _, u := range s.users {
		if u.Name == name || s.cloud() && u.Email != "" && u.Email == name {
			return u
		}
	}
	return nil
}

// ResetCaptcha lets an account log in again, as a person who solved the CAPTCHA
// would.
func (s *Sim) ResetCaptcha(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.failed, user)
}

func ref(a answer) *answer { return &a }

func loginFailed() answer {
	return page(http.StatusUnauthorized, "Basic Authentication Failure - Reason : AUTHENTICATED_FAILED").
		with("X-Seraph-LoginReason", "AUTHENTICATED_FAILED").
		with("WWW-Authenticate", `OAuth realm="jira"`)
}

func (s *Sim) loginDenied(base string) answer {
	code := http.StatusForbidden
	if s.cloud() {
		code = http.StatusUnauthorized
	}
	return page(code, "Basic Authentication Failure - Reason : AUTHENTICATION_DENIED").
		with("X-Seraph-LoginReason", "AUTHENTICATION_DENIED").
		with("X-Authentication-Denied-Reason", "CAPTCHA_CHALLENGE; login-url="+base+"/login.jsp")
}

// anonymous refuses who did not log in; a download leads to the login page, as
// for a browser.
func anonymous(r *http.Request, base string) answer {
	if strings.HasPrefix(r.URL.Path, "/secure/") {
		to := base + "/login.jsp?permissionViolation=true&os_destination=" + url.QueryEscape(r.URL.Path)
		return page(http.StatusFound, "Log in").with("Location", to)
	}
	return fail(http.StatusUnauthorized, "You are not authenticated. Authentication required to perform this operation.")
}

// escapeHeader writes a name as Jira does in X-AUSERNAME.
func escapeHeader(name string) string { return url.PathEscape(name) }

// staff says whether u works on issues here, rather than only reporting them.
func (u *User) staff() bool { return u != nil && (u.Agent || u.Admin) }
