package itop

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// ask posts a form to a face, and returns its answer with the headers.
func ask(f *face, form url.Values, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	change(r)
	w := httptest.NewRecorder()
	f.itop.Serve(w, r, f.desk)
	return w
}

// TestGuessesAreAnsweredAsITopDoes: who guesses hears code 1, and after some
// guesses also 429 with when to come again, in the header, the form, the message
// and by core/check_credentials; the right one from elsewhere is taken.
func TestGuessesAreAnsweredAsITopDoes(t *testing.T) {
	for name, way := range map[string]func(password string) (url.Values, func(*http.Request)){
		"header": func(p string) (url.Values, func(*http.Request)) {
			return url.Values{"json_data": {`{"operation":"list_operations"}`}}, func(r *http.Request) { r.SetBasicAuth(faceUser, p) }
		},
		"form": func(p string) (url.Values, func(*http.Request)) {
			return url.Values{"json_data": {`{"operation":"list_operations"}`}, "auth_user": {faceUser}, "auth_pwd": {p}}, func(*http.Request) {}
		},
		"message": func(p string) (url.Values, func(*http.Request)) {
			return url.Values{"json_data": {`{"operation":"list_operations","auth_user":"` + faceUser + `","auth_pwd":"` + p + `"}`}}, func(*http.Request) {}
		},
		"check_credentials": func(p string) (url.Values, func(*http.Request)) {
			return url.Values{"json_data": {`{"operation":"core/check_credentials","user":"` + faceUser + `","password":"` + p + `"}`}},
				func(r *http.Request) { r.Header.Set("Auth-Token", faceToken) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFace(t)
			for n := range 40 {
				form, change := way("guess " + strconv.Itoa(n))
				form.Set("version", "1.3")
				w := ask(f, form, change)
				if w.Code == http.StatusTooManyRequests {
					after, err := strconv.Atoi(w.Header().Get("Retry-After"))
					if err != nil || after < 1 || n < 5 || !strings.HasPrefix(w.Body.String(), `{"code":1,"message":"Error: Invalid login: too many were wrong`) {
						t.Errorf("after %d guesses: Retry-After %d, %s", n, after, w.Body)
					}
					form, change = way(facePassword)
					form.Set("version", "1.3")
					w = ask(f, form, func(r *http.Request) { change(r); r.RemoteAddr = "198.51.100.7:1" })
					if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"code":0`) {
						t.Errorf("the right one from elsewhere: %d %s", w.Code, w.Body)
					}
					return
				}
				if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"Error: Invalid login"`) && !strings.Contains(w.Body.String(), `"authorized":false`) {
					t.Errorf("guess %d: %d %s", n, w.Code, w.Body)
				}
			}
			t.Error("nobody is slowed down")
		})
	}
}
