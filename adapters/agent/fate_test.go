package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"passerelle"
)

// TestEveryStatusHasItsFate: from 101 to 599.
func TestEveryStatusHasItsFate(t *testing.T) {
	fates := map[int]passerelle.Class{101: passerelle.Unsure, 401: passerelle.Denied, 403: passerelle.Denied, 404: passerelle.Down, 408: passerelle.Down,
		413: passerelle.Stuck, 425: passerelle.Down, 429: passerelle.Down, 503: passerelle.Down}
	hundreds := map[int]passerelle.Class{3: passerelle.Down, 4: passerelle.Stuck, 5: passerelle.Unsure}
	for status := 200; status < 600; status++ {
		_, err := deliver(open(t, "http://x", func(c *Config) { c.Transport = hasty{status} }), create(), nil)
		if status < 300 {
			if err != nil {
				t.Errorf("%d: %v", status, err)
			}
			continue
		}
		want := fates[status]
		if want == "" {
			want = hundreds[status/100]
		}
		if e := fails(t, err, want); !strings.Contains(e.Error(), fmt.Sprint("HTTP ", status)) {
			t.Errorf("%d: %v", status, e)
		}
	}
	for status, want := range fates {
		_, err := deliver(open(t, "http://x", func(c *Config) { c.Transport = hasty{status} }), create(), nil)
		fails(t, err, want)
	}
}

// TestRetryAfter: seconds or a date, a day at most.
func TestRetryAfter(t *testing.T) {
	for _, status := range []int{429, 503} {
		for v, want := range map[string]time.Duration{"7": 7 * time.Second, "": 0, "-3": 0, "soon": 0, "99999999999": 24 * time.Hour, "0": 0,
			time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): time.Hour, "Mon, 02 Jan 2006 15:04:05 GMT": 0} {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", v)
				w.WriteHeader(status)
			}))
			_, err := deliver(open(t, srv.URL, nil), create(), nil)
			srv.Close()
			if got := fails(t, err, passerelle.Down).After; got > want || got < want-2*time.Second {
				t.Errorf("%d, %q: wait %v, want %v", status, v, got, want)
			}
		}
	}
}

// TestNoRedirectIsFollowed: the credentials go to one address only.
func TestNoRedirectIsFollowed(t *testing.T) {
	elsewhere, got := listen(t, 200, "")
	for _, status := range []int{301, 302, 303, 307, 308} {
		srv := httptest.NewServer(http.RedirectHandler(elsewhere, status))
		_, err := deliver(open(t, srv.URL, nil), create(), nil)
		srv.Close()
		fails(t, err, passerelle.Down)
	}
	if len(*got) != 0 {
		t.Errorf("%d requests went elsewhere", len(*got))
	}
}

// TestNotSentOrNobodyKnows: without a connection nothing was sent; afterwards
// nobody knows.
func TestNotSentOrNobodyKnows(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	answers := func(text string) string {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			conn, _, _ := w.(http.Hijacker).Hijack()
			_, _ = io.WriteString(conn, text)
			conn.Close()
		}))
		t.Cleanup(srv.Close)
		return srv.URL
	}
	noName := func(c *Config) {
		c.Transport = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.DNSError{Err: "no such host", Name: "gar.example"}
		}}
	}
	for _, c := range []struct {
		name, url string
		change    func(*Config)
		want      passerelle.Class
	}{
		{"refused", "http://127.0.0.1:1", nil, passerelle.Down},
		{"no such name", "http://gar.example", noName, passerelle.Down},
		{"no trust", secure.URL, nil, passerelle.Down},
		{"hung up", answers(""), nil, passerelle.Unsure},
		{"not HTTP", answers("SSH-2.0\r\n\r\n"), nil, passerelle.Unsure},
		{"cut off", answers("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"code\":0"), nil, passerelle.Unsure},
		{"an error, cut off", answers("HTTP/1.1 422 No\r\nContent-Length: 50\r\n\r\n{\"code\":0"), nil, passerelle.Stuck},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := deliver(open(t, c.url, c.change), create(), nil)
			fails(t, err, c.want)
		})
	}
}

// TestNoConnectionIsKept: one that is closed while idle would lose a message.
func TestNoConnectionIsKept(t *testing.T) {
	at, got := listen(t, 200, "")
	a := open(t, at, nil)
	for range 2 {
		if _, err := deliver(a, create(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if (*got)[0].RemoteAddr == (*got)[1].RemoteAddr {
		t.Error("both messages came over one connection")
	}
}

// TestNothingTellsTheCredentials: agents, proxies and debug pages that echo all
// they got, in every spelling, raw, in a form and with Basic.
func TestNothingTellsTheCredentials(t *testing.T) {
	for name, echo := range echoesOf {
		for _, how := range []string{"raw", "form", "basic"} {
			t.Run(name+"/"+how, func(t *testing.T) {
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					b, _ := io.ReadAll(r.Body)
					echo(w, string(b)+" "+r.Header.Get("Authorization")+" "+all())
				}))
				defer srv.Close()
				m := create()
				if how == "basic" {
					m.Body = []byte(`{"operation":"core/create"}`)
				}
				r, err := deliver(open(t, srv.URL, func(c *Config) { c.Form = how == "form" }), m, nil)
				quiet(t, r, err)
			})
		}
	}
}

// all is the password and the user in many spellings.
func all() string {
	php := strings.NewReplacer(`"`, `\"`, "/", `\/`, "é", `\u00e9`).Replace(password)
	return strings.Join([]string{user, password, url.QueryEscape(password), url.PathEscape(password), php, fmt.Sprintf("%q", password), fmt.Sprintf("%+q", password)}, " ")
}

var echoesOf = map[string]func(w http.ResponseWriter, text string){
	"message": func(w http.ResponseWriter, text string) { say(w, 200, map[string]any{"code": 3, "message": text}) },
	"cut message": func(w http.ResponseWriter, text string) {
		say(w, 200, map[string]any{"code": 3, "message": strings.Repeat("x", maxQuote-4) + password + text})
	},
	"code": func(w http.ResponseWriter, text string) { say(w, 200, map[string]any{"code": text}) },
	"object": func(w http.ResponseWriter, text string) {
		say(w, 200, map[string]any{"objects": map[string]any{"X::1": map[string]any{"code": 3, "message": text}}})
	},
	"refusal":      func(w http.ResponseWriter, text string) { say(w, 422, map[string]any{"error": text}) },
	"denial":       func(w http.ResponseWriter, text string) { say(w, 401, map[string]any{"message": text}) },
	"page":         func(w http.ResponseWriter, text string) { w.WriteHeader(500); _, _ = io.WriteString(w, text) },
	"reference":    func(w http.ResponseWriter, _ string) { say(w, 200, map[string]any{"id": "7" + password, "key": "8"}) },
	"number":       func(w http.ResponseWriter, _ string) { say(w, 200, map[string]any{"id": 7, "ref": password}) },
	"bad protocol": func(w http.ResponseWriter, text string) { shout(w, text+"\r\n\r\n") },
	"bad status":   func(w http.ResponseWriter, text string) { shout(w, "HTTP/1.1 "+text+"\r\n\r\n") },
	"bad header":   func(w http.ResponseWriter, text string) { shout(w, "HTTP/1.1 200 OK\r\n"+text+"\r\n\r\n") },
	"reason":       func(w http.ResponseWriter, text string) { shout(w, "HTTP/1.1 418 "+text+"\r\n\r\n") },
	"redirect": func(w http.ResponseWriter, text string) {
		shout(w, "HTTP/1.1 302 Found\r\nLocation: http://%zz"+text+"\r\n\r\n")
	},
	"length": func(w http.ResponseWriter, text string) {
		shout(w, "HTTP/1.1 200 OK\r\nContent-Length: "+text+"\r\n\r\n")
	},
	"chunks": func(w http.ResponseWriter, text string) {
		shout(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+text+"\r\n")
	},
}

func say(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// shout answers without HTTP's help.
func shout(w http.ResponseWriter, text string) {
	conn, _, _ := w.(http.Hijacker).Hijack()
	_, _ = io.WriteString(conn, text)
	conn.Close()
}

// quiet looks for parts of the credentials in all that a delivery leaves.
func quiet(t *testing.T, r *passerelle.Receipt, err error) {
	t.Helper()
	said := fmt.Sprintf("%+v %#v", r, r)
	for e := err; e != nil; e = errors.Unwrap(e) {
		said += fmt.Sprintf("\n%v %+v", e, e)
	}
	if b, err := json.Marshal(r); err == nil {
		said += string(b)
	}
	for _, part := range []string{user, `Zx`, "q>", "%42", "2542", "WngiOS", "c3VtaXQtZ3"} { // the last two are in base64
		if strings.Contains(said, part) {
			t.Errorf("%q is in: %s", part, said)
		}
	}
}

// TestMaskLeavesTheRest: what is no credential is repeated.
func TestMaskLeavesTheRest(t *testing.T) {
	for _, c := range []struct{ user, password, said, want string }{
		{"gw", "s3cret", "l'utilisateur gw n'a pas le droit", "l'utilisateur *** n'a pas le droit"},
		{"gw", "s3cret", "100 % des tickets : \\u0041 &amp; voilà", "100 % des tickets : \\u0041 &amp; voilà"},
		{"gw", "s3cret", "s3%63ret", withheld},
		{"", "", "a\xff  b\n", "a? b"},
		{"gw", "!?", "non !", "non !"},
	} {
		if got := newMask(c.user, c.password).quote(c.said); got != c.want {
			t.Errorf("%q: %q, want %q", c.said, got, c.want)
		}
	}
}

// TestConfigPrintsNoPassword: whoever logs a Config or an Agent.
func TestConfigPrintsNoPassword(t *testing.T) {
	a := open(t, "http://x", nil)
	for _, v := range []any{*a.cfg, a, *a} {
		if s := fmt.Sprintf("%v %+v %#v", v, v, v); strings.Contains(s, "Zx") {
			t.Error(s)
		}
	}
}
