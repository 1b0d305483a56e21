package adapters

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"passerelle"
	"passerelle/internal/login"
)

const canary = "s3cret-c4nary"

// TestSecretsDoNotPrint: an adapter that ends up in a log by mistake shows none
// of its secrets, whatever the verb.
func TestSecretsDoNotPrint(t *testing.T) {
	secret := SecretRef{Value: canary}
	password, err := login.HashPassword(canary)
	if err != nil {
		t.Fatal(err)
	}
	kept, token := SecretRef{Value: password}, SecretRef{Value: login.HashToken(canary)}
	account := []Account{{User: "u", Password: kept}, {Token: token}}
	for name, s := range map[string]*Settings{
		"itop":  {ITop: &ITop{BaseURL: "http://127.0.0.1:1", User: "u", Password: secret, Token: secret, Accounts: account}},
		"jira":  {Jira: &Jira{BaseURL: "http://127.0.0.1:1", Token: secret, Webhook: Webhook{Secrets: []SecretRef{secret}, Tokens: []SecretRef{token}, User: "u", Password: kept}}, Agent: &Agent{Accounts: account}},
		"agent": {Agent: &Agent{URL: "http://127.0.0.1:1/", User: "u", Password: secret, Accounts: account}},
	} {
		a, err := Open(s, Terms{Contract: "c", Side: passerelle.Partner, LimitBytes: 1 << 20})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, v := range []any{a, a.Out, a.Watch, a.Faces, s, *s} {
			for _, verb := range []string{"%v", "%+v", "%#v"} {
				text := fmt.Sprintf(verb, v)
				if strings.Contains(text, canary) || strings.Contains(text, password.Reveal()) || strings.Contains(text, kept.Value.Reveal()) {
					t.Errorf("%s: %T prints a secret with %s", name, v, verb)
				}
			}
		}
	}
}

// TestOneTool: a side has one tool, and the errors say which it may be.
func TestOneTool(t *testing.T) {
	for want, s := range map[string]*Settings{
		"no tool is given":                                 {},
		"itop excludes jira and agent":                     {ITop: &ITop{}, Jira: &Jira{}},
		"agent.url excludes jira":                          {Jira: &Jira{BaseURL: "http://127.0.0.1:1", Token: SecretRef{Value: "t"}}, Agent: &Agent{URL: "http://127.0.0.1:1/"}},
		"mark_field: \"a b\" is no attribute":              {ITop: &ITop{MarkField: "a b"}},
		"neither a token nor a user":                       {ITop: &ITop{Accounts: []Account{{User: "u"}}}},
		"the environment has no NO_SUCH_":                  {ITop: &ITop{Password: SecretRef{Env: "NO_SUCH_VARIABLE"}}},
		"user and password go together":                    {Jira: &Jira{BaseURL: "http://127.0.0.1:1", Webhook: Webhook{User: "u"}}},
		"webhook: accounts[0]: token: it is kept as it is": {Jira: &Jira{BaseURL: "http://127.0.0.1:1", Webhook: Webhook{Tokens: []SecretRef{{Value: "t"}}}}},
		"accounts[1]: password: it is kept as it is, where only its hash is taken (run `gateway password`": {ITop: &ITop{Accounts: []Account{{Token: SecretRef{Value: login.HashToken("t")}}, {User: "u", Password: SecretRef{Value: "p"}}}}},
		"give file or env, not both": {ITop: &ITop{Password: SecretRef{Env: "A", File: "b"}}},
	} {
		if _, err := Open(s, Terms{Contract: "c", Side: passerelle.Partner, LimitBytes: 1 << 20}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestSecretRef: a file's last line end is not part of the secret.
func TestSecretRef(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(" a b\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PASSERELLE_TEST_SECRET", "from env")
	for want, ref := range map[passerelle.Secret]SecretRef{" a b": {File: file}, "from env": {Env: "PASSERELLE_TEST_SECRET"}, "": {}} {
		if got, err := ref.Read(); err != nil || got != want {
			t.Errorf("%v: got %q, %v", ref, got.Reveal(), err)
		}
	}
}
