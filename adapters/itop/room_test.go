package itop

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"passerelle/internal/intake"
)

// full is an intake in which nothing large finds room.
func full(t *testing.T) *intake.Intake {
	t.Helper()
	in := intake.New(intake.Config{Large: 1, Wait: 10 * time.Millisecond})
	b := in.Body(context.Background(), io.LimitReader(&repeater{text: "x"}, 2*intake.Free))
	t.Cleanup(b.Done)
	if _, err := io.CopyN(io.Discard, b, 2*intake.Free); err != nil { // it has a turn, and keeps it
		t.Fatal(err)
	}
	for range 2 * intake.Texts {
		known := in.Figures().Texts < intake.Texts
		leave, err := in.Place(t.Context(), known)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(leave)
	}
	return in
}

// TestNoRoomIsAnswered: a large message that finds no room is answered in iTop's
// form with 503 and Retry-After, however it is sent; nothing of it is left. Small
// ones pass, and who is nobody hears only that.
func TestNoRoomIsAnswered(t *testing.T) {
	f := newFace(t, func(c *Config) { c.Intake = full(t) })
	file := sized(3*intake.Free, "plan.pdf")
	text := `{"operation":"core/update","comment":"c","class":"UserRequest","key":2,"fields":{"public_log":"` + strings.Repeat("a", 2*intake.Text) + `"}}`
	brackets := `{"a":[` + strings.Repeat("[],", intake.Text) + `[]]}`
	form := "application/x-www-form-urlencoded"
	for name, message := range map[string]string{"a file": file, "a long text": text, "much of nothing": brackets} {
		mixed, kind := multipartBody(t, url.Values{"version": {"1.3"}, "json_data": {message}}, false)
		for way, send := range map[string]func(key, token string) heard{
			"bare": func(key, token string) heard { return f.post("application/json", message, key, token) },
			"form": func(key, token string) heard {
				return f.post(form, url.Values{"version": {"1.3"}, "json_data": {message}}.Encode(), key, token)
			},
			"multipart": func(key, token string) heard { return f.post(kind, mixed, key, token) },
		} {
			h := send("Auth-Token", faceToken)
			if h.status != http.StatusServiceUnavailable || h.Code != codeInternal || !strings.Contains(h.message(), "too many large messages at once") || !strings.Contains(h.message(), "send it again") {
				t.Errorf("%s, %s: HTTP %d %s", name, way, h.status, h.raw)
			}
			if h := send("X-Nothing", ""); h.Code != codeUnauthorised || h.status != http.StatusOK {
				t.Errorf("%s, %s, of a stranger: HTTP %d %s", name, way, h.status, h.raw)
			}
		}
	}
	if f.desk.released(t); len(f.desk.events()) != 0 {
		t.Error("a message without room left an event")
	}
	if h := f.hook(sized(intake.Free/2, "small.pdf")); h.Code != 0 {
		t.Errorf("a small one: %s", h.raw)
	}
	if n := len(f.itop.guests); n != 0 {
		t.Errorf("%d places of guests are still taken", n)
	}
}

// TestRetryAfterIsSaid: the answer says when to come again.
func TestRetryAfterIsSaid(t *testing.T) {
	f := newFace(t, func(c *Config) { c.Intake = full(t) })
	r, _ := http.NewRequest(http.MethodPost, f.url, strings.NewReader(sized(3*intake.Free, "a")))
	r.Header.Set("Auth-Token", faceToken)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Header.Get("Retry-After") != "10" {
		t.Errorf("Retry-After: %q", res.Header.Get("Retry-After"))
	}
}
