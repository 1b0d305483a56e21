package itop

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"
)

// sized is an addattachment message of exactly n bytes, with one file.
func sized(n int, name string) string {
	head := `{"operation":"syn/addattachment","comment":"c","class":"UserRequest","key":2,"attachments":[{"data":"`
	tail := `","filename":"` + name + `"}]}`
	data := n - len(head) - len(tail)
	data -= data % 4
	pad := strings.Repeat(" ", n-len(head)-len(tail)-data)
	return head + strings.Repeat("QUJD", data/4) + tail + pad
}

func small(c *Config) { c.LimitBytes = 64 << 10 }

// R24: a message of the limit passes, one byte more is refused by name.
func TestR24TheLimitToTheByte(t *testing.T) {
	const limit = 64 << 10
	f := newFace(t, small)
	urlencoded := "application/x-www-form-urlencoded"
	for name, send := range map[string]func(string) heard{
		"bare": f.hook,
		"urlencoded": func(s string) heard {
			return f.post(urlencoded, url.Values{"version": {"1.3"}, "json_data": {s}}.Encode(), "Auth-Token", faceToken)
		},
		"all escaped": func(s string) heard {
			var b strings.Builder
			for i := range len(s) {
				fmt.Fprintf(&b, "%%%02X", s[i])
			}
			return f.post(urlencoded, "version=1.3&json_data="+b.String(), "Auth-Token", faceToken)
		},
		"multipart": func(s string) heard {
			body, kind := multipartBody(t, url.Values{"version": {"1.3"}, "json_data": {s}}, false)
			return f.post(kind, body, "Auth-Token", faceToken)
		},
	} {
		if h := send(sized(limit, "plan.pdf")); h.Code != 0 || len(f.desk.events()) != 1 {
			t.Errorf("%s: a message of the limit: %s", name, h.raw)
		}
		before := len(f.desk.content)
		for _, over := range []int{1, 1000, limit} {
			if name == "all escaped" && over == limit {
				continue // over the cap: its end is not read
			}
			h := send(sized(limit+over, "plan.pdf"))
			for _, w := range []string{fmt.Sprint(limit + over), "65536 bytes", "« plan.pdf »", "R24", "nothing was stored"} {
				if h.Code != 100 || h.status != 200 || !strings.Contains(h.message(), w) {
					t.Errorf("%s, %d too many: %q does not say %q", name, over, h.message(), w)
				}
			}
			if len(f.desk.events()) != 0 {
				t.Errorf("%s: an event of a message over the limit", name)
			}
			f.desk.released(t)
		}
		if len(f.desk.content) != before {
			t.Errorf("%s: %d files over the limit were put whole", name, len(f.desk.content)-before)
		}
	}
}

func TestR24TextAloneCanBeTooLong(t *testing.T) {
	f := newFace(t, small)
	f.fails(`{"operation":"core/update","comment":"c","class":"UserRequest","key":2,"fields":{"public_log":"`+strings.Repeat("é", 40_000)+`"}}`, 100, "80", "65536", "R24")
}

// endless is a body of n bytes that nobody holds.
type endless struct {
	head, fill string
	n          int
}

func (e endless) reader() io.Reader {
	return io.MultiReader(strings.NewReader(e.head), io.LimitReader(&repeater{text: e.fill}, int64(e.n)))
}

type repeater struct {
	text string
	at   int
}

func (r *repeater) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.text[r.at]
		r.at = (r.at + 1) % len(r.text)
	}
	return len(p), nil
}

// The caller of a body far over every cap hears the answer, not a reset; and
// the body costs no memory, whatever it is made of.
func TestABodyOverTheCapCostsNoMemory(t *testing.T) {
	f := newFace(t, func(c *Config) { c.LimitBytes = 2 << 20 })
	const n = 9 << 20
	attach := `{"operation":"syn/addattachment","attachments":[{"filename":"a","data":"`
	for name, c := range map[string]struct {
		kind, token string
		body        endless
		code        int
	}{
		"file, bare":            {"application/json", faceToken, endless{attach, "QUJD", n}, 100},
		"text, bare":            {"application/json", faceToken, endless{`{"a":"`, "text", n}, 100},
		"keys, bare":            {"application/json", faceToken, endless{`{"a":1`, `,"b":1`, n}, 100},
		"brackets, bare":        {"application/json", faceToken, endless{``, `[`, n}, 4},
		"a key without end":     {"application/json", faceToken, endless{`{"`, `k`, n}, 100},
		"a number without end":  {"application/json", faceToken, endless{`{"a":`, `1`, n}, 100},
		"blanks":                {"application/json", faceToken, endless{`{"a":`, ` `, n}, 100},
		"file, form":            {"application/x-www-form-urlencoded", faceToken, endless{"version=1.3&json_data=" + url.QueryEscape(attach), "QUJD", n}, 100},
		"a name without end":    {"application/x-www-form-urlencoded", faceToken, endless{"", "n", n}, 100},
		"names without end":     {"application/x-www-form-urlencoded", faceToken, endless{"", "n=1&", n}, 100},
		"a long version":        {"application/x-www-form-urlencoded", faceToken, endless{"version=", "1", n}, 100},
		"file, multipart":       {"multipart/form-data; boundary=b", faceToken, endless{"--b\r\nContent-Disposition: form-data; name=\"json_data\"\r\n\r\n" + attach, "QUJD", n}, 100},
		"a header without end":  {"multipart/form-data; boundary=b", faceToken, endless{"--b\r\nA: ", "h", n}, 100},
		"no boundary":           {"multipart/form-data", faceToken, endless{"", "h", n}, 100},
		"no part":               {"multipart/form-data; boundary=b", faceToken, endless{"", "h\r\n", n}, 100},
		"file, stranger":        {"application/json", "", endless{attach, "QUJD", n}, 1},
		"text, stranger":        {"application/json", "", endless{`{"a":"`, "text", n}, 1},
		"file, a wrong token":   {"application/json", "x", endless{attach, "QUJD", n}, 1},
		"file, wrong in a form": {"application/x-www-form-urlencoded", "", endless{"auth_user=a&auth_pwd=b&json_data=" + url.QueryEscape(attach), "QUJD", n}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := http.NewRequest(http.MethodPost, f.url, io.NopCloser(c.body.reader()))
			r.Header.Set("Content-Type", c.kind)
			if c.token != "" {
				r.Header.Set("Auth-Token", c.token)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			h := f.do(r)
			runtime.ReadMemStats(&after)
			if h.Code != c.code || h.status != 200 || len(f.desk.events()) != 0 {
				t.Errorf("HTTP %d %s", h.status, h.raw)
			}
			// The words of a message within the limit are held, in a buffer that
			// doubles; the recording spool holds what it is given.
			if got, most := after.TotalAlloc-before.TotalAlloc, uint64(24<<20); got > most {
				t.Errorf("%d bytes were allocated, at most %d", got, most)
			}
			f.desk.released(t)
			if len(f.desk.content) != 0 {
				t.Error("a file was put whole")
			}
		})
	}
}

// Strangers share a few places: who gives no credentials before json_data costs
// a bounded amount of memory and disk, all together.
func TestStrangersShareFewPlaces(t *testing.T) {
	f := newFace(t)
	gate := make(chan struct{})
	attach := `{"operation":"syn/addattachment","comment":"c","class":"UserRequest","key":2,"attachments":[{"filename":"a","data":"`
	done := make(chan heard)
	sending := func(fill string) {
		pr, pw := io.Pipe()
		go func() { // ends when the request has taken all
			_, _ = io.WriteString(pw, "version=1.3&json_data="+url.QueryEscape(attach+fill))
			<-gate
			_, _ = io.WriteString(pw, url.QueryEscape(`QUJD"}]}`)+"&auth_user="+faceUser+"&auth_pwd="+url.QueryEscape(facePassword))
			pw.Close()
		}()
		r, _ := http.NewRequest(http.MethodPost, f.url, pr)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		go func() { done <- f.do(r) }()
	}
	for range maxGuests {
		sending(strings.Repeat("QUJD", 20_000)) // more than the client holds back
	}
	for len(f.itop.guests) < maxGuests {
		time.Sleep(time.Millisecond)
	}
	late := "version=1.3&json_data=" + url.QueryEscape(attach+`QUJD"}]}`) + "&auth_user=" + faceUser + "&auth_pwd=" + url.QueryEscape(facePassword)
	puts := f.desk.puts
	if h := f.post("application/x-www-form-urlencoded", late); h.status != 503 || !strings.Contains(h.message(), "before json_data") {
		t.Errorf("one more: HTTP %d %s", h.status, h.raw)
	}
	if h := f.post("application/x-www-form-urlencoded", strings.Replace(late, "<password>", "x", 1)+"x"); h.Code != 1 || h.status != 200 {
		t.Errorf("a stranger more: HTTP %d %s", h.status, h.raw)
	}
	if f.desk.puts != puts {
		t.Error("a file was put without a place")
	}
	// Whoever says first who it is needs no place.
	if h := f.hook(attach + `QUJD"}]}`); h.Code != 0 {
		t.Errorf("a known sender: %s", h.raw)
	}
	first := "auth_user=" + faceUser + "&auth_pwd=" + url.QueryEscape(facePassword) + "&" + late
	if h := f.post("application/x-www-form-urlencoded", first); h.Code != 0 {
		t.Errorf("credentials first: %s", h.raw)
	}
	inside := `{"auth_user":"sumit-broker","auth_pwd":"<password>",` + attach[1:] + `QUJD"}]}`
	if h := f.post("application/json", inside); h.Code != 0 {
		t.Errorf("credentials first in the message: %s", h.raw)
	}
	if h := f.post("application/x-www-form-urlencoded", "auth_user=a&auth_pwd=b&"+late); h.Code != 1 {
		t.Errorf("wrong credentials first: %s", h.raw)
	}
	close(gate)
	for range maxGuests {
		if h := <-done; h.Code != 0 {
			t.Errorf("a guest: %s", h.raw)
		}
	}
	if n := len(f.itop.guests); n != 0 {
		t.Errorf("%d places are still taken", n)
	}
	if got := len(f.desk.events()); got != maxGuests+3 {
		t.Errorf("%d events", got)
	}
}

// A caller that goes away in the middle of a file leaves nothing.
func TestACallerThatGoesAwayLeavesNothing(t *testing.T) {
	it, _ := New(faceConfig())
	d := newRecorder()
	for _, cut := range []int{10, 100, 110, 200} {
		body := sized(300, "a")[:cut]
		r, _ := http.NewRequest(http.MethodPost, "/", io.MultiReader(strings.NewReader(body), broken{}))
		r.Header.Set("Auth-Token", faceToken)
		r.Header.Set("Content-Type", "application/json")
		it.Serve(discard{}, r, d)
		if len(d.events()) != 0 {
			t.Error("half a message was accepted")
		}
		d.released(t)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
