package jira_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"passerelle"
	"passerelle/adapters/jira"
	"passerelle/internal/intake"
)

// TestLongWebhooksNeedAPlace: a long webhook is held only where there is room,
// and else answered 503 with Retry-After; a short one always passes. A signature
// is known to be right at the end only: until then its sender is a stranger.
func TestLongWebhooksNeedAPlace(t *testing.T) {
	in := intake.New(intake.Config{Wait: 10 * time.Millisecond})
	j := stub(t, nil, func(c *jira.Config) {
		c.Contract, c.Side, c.Intake = "c", passerelle.Partner, in
		c.Webhook = jira.Webhook{Secrets: []jira.Secret{"s"}, Door: door(t, "t")}
	})
	short := `{"issue":{"id":"10001"}}`
	long := `{"issue":{"id":"10001"},"x":"` + strings.Repeat("x", 2*intake.Text) + `"}`
	var leave []func()
	for range intake.Texts {
		l, err := in.Place(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, l)
	}
	d := &desk{}
	for name, c := range map[string]struct {
		body string
		head []string
		want int
	}{
		"short, signed": {short, []string{"X-Hub-Signature", sign("s", short)}, http.StatusOK},
		"long, signed":  {long, []string{"X-Hub-Signature", sign("s", long)}, http.StatusServiceUnavailable},
		"long, a token": {long, []string{"Authorization", "Bearer t"}, http.StatusOK},
	} {
		res := post(j, d, "/", c.body, c.head...)
		if res.Code != c.want || c.want != http.StatusOK && res.Header().Get("Retry-After") != "10" {
			t.Errorf("%s: %d %v %s", name, res.Code, res.Header(), res.Body)
		}
	}
	for _, l := range leave {
		l()
	}
	if res := post(j, d, "/", long, "X-Hub-Signature", sign("s", long)); res.Code != http.StatusOK || len(d.looked) != 3 {
		t.Errorf("once there is room: %d %s, %v", res.Code, res.Body, d.looked)
	}
	if f := in.Figures(); f.Texts != 0 {
		t.Errorf("%d places are still taken", f.Texts)
	}
}
