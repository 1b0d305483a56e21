package jira_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"passerelle/adapters/jira"
)

func TestConfigMistakesAreAllReported(t *testing.T) {
	_, err := jira.New(jira.Config{BaseURL: "jira.example", Password: "p", Token: "t", Cloud: true, Webhook: jira.Webhook{Secrets: []jira.Secret{""}}})
	for _, want := range []string{"base_url", "password: given beside token", "user: missing", "Jira Cloud", "an empty secret"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("should say %q: %v", want, err)
		}
	}
	for _, url := range []string{"", "ftp://x", "http://u:p@x", "http://x?y", "http://x#y", "http://[", "https://"} {
		if _, err := jira.New(jira.Config{BaseURL: url}); err == nil {
			t.Errorf("%q is taken for an address", url)
		} else if strings.Contains(err.Error(), "u:p") {
			t.Errorf("shows the password: %v", err)
		}
	}
}

func TestSecretsPrintAsStars(t *testing.T) {
	c := jira.Config{Password: "hunter2", Token: "hunter2", Webhook: jira.Webhook{Secrets: []jira.Secret{"hunter2"}}}
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v %q %x %s", c, c, c.Token, c.Token, c.Password), string(raw)} {
		if strings.Contains(s, "hunter2") || strings.Contains(s, "68756e74657232") || !strings.Contains(s, "***") {
			t.Errorf("shows a secret: %s", s)
		}
	}
}

func TestAuthorization(t *testing.T) {
	for want, c := range map[string]jira.Config{
		"Basic dTpw": {User: "u", Password: "p"},
		"Basic dTp0": {User: "u", Token: "t", Cloud: true},
		"Bearer t":   {User: "u", Token: "t"},
		"":           {},
	} {
		sent := "nothing"
		c.BaseURL = "http://jira.example"
		j, err := jira.New(c, jira.Transport(direct(func(w http.ResponseWriter, r *http.Request) {
			sent = r.Header.Get("Authorization")
		})))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = j.Read(t.Context(), "1")
		same(t, "Authorization", sent, want)
	}
}
