package itop

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"passerelle/internal/intake"
)

// clocked is an answer that notes how long its body may take, in turn.
type clocked struct {
	*httptest.ResponseRecorder
	given []time.Duration
}

func (c *clocked) SetReadDeadline(at time.Time) error {
	c.given = append(c.given, time.Until(at).Round(time.Second))
	return nil
}

// TestStrangersHaveAMinute: a body has a minute to arrive until its sender is
// known, then as long as the server gives; what nobody wants has half a minute.
func TestStrangersHaveAMinute(t *testing.T) {
	it, err := New(faceConfig())
	if err != nil {
		t.Fatal(err)
	}
	const form = "version=1.3&json_data=%7B%22operation%22%3A%22list_operations%22%7D"
	known := []time.Duration{intake.UnprovenBody, intake.KnownBody, leftovers}
	for name, c := range map[string]struct {
		token, body string
		want        []time.Duration
	}{
		"a token":       {faceToken, form, known},
		"in the form":   {"", "auth_user=" + faceUser + "&auth_pwd=" + facePassword + "&" + form, known},
		"a stranger":    {"", form, []time.Duration{intake.UnprovenBody, leftovers}},
		"a wrong token": {"x", form, []time.Duration{intake.UnprovenBody, leftovers}},
	} {
		w := &clocked{ResponseRecorder: httptest.NewRecorder()}
		r, _ := http.NewRequest(http.MethodPost, "/", strings.NewReader(c.body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Auth-Token", c.token)
		it.Serve(w, r, newRecorder())
		if !slices.Equal(w.given, c.want) {
			t.Errorf("%s: %v, want %v (%s)", name, w.given, c.want, w.Body)
		}
	}
}
