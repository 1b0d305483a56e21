package jira

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
)

var errNotJira = errors.New("not known to come from our Jira (give a valid X-Hub-Signature, token or Basic account)")

// proofs is what a request shows to prove that it comes from Jira.
type proofs struct {
	secrets   []Secret
	signature string // as given; only weighed if there are secrets
	known     bool   // a valid token or Basic account
}

func (w Webhook) proofs(r *http.Request) proofs {
	p := proofs{secrets: w.Secrets, signature: r.Header.Get("X-Hub-Signature"), known: w.token(r) || w.basic(r)}
	if len(w.Secrets) == 0 {
		p.signature = ""
	}
	return p
}

// possible tells whether reading the body can lead anywhere.
func (p proofs) possible() bool { return p.known || p.signature != "" }

// hold weighs the proofs. A signature that is there must be right, even beside
// a valid token.
func (p proofs) hold(body []byte) bool {
	if p.signature == "" {
		return p.known
	}
	return signed(body, p.signature, p.secrets)
}

// signed checks sha256=<hex> over the raw body against every secret.
func signed(body []byte, signature string, secrets []Secret) bool {
	given, ok := strings.CutPrefix(signature, "sha256=")
	if !ok {
		return false
	}
	sum, err := hex.DecodeString(given)
	if err != nil {
		return false
	}
	valid := false
	for _, s := range secrets {
		mac := hmac.New(sha256.New, []byte(s))
		mac.Write(body)
		valid = hmac.Equal(mac.Sum(nil), sum) || valid
	}
	return valid
}

// token looks for one of the secret tokens, in the address or as Bearer.
func (w Webhook) token(r *http.Request) bool {
	given := []string{r.URL.Query().Get("token")}
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		given = append(given, bearer)
	}
	valid := false
	for _, s := range w.Tokens {
		for _, g := range given {
			valid = equal(g, s) || valid
		}
	}
	return valid
}

func (w Webhook) basic(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	if !ok {
		return false
	}
	right := equal(user, Secret(w.User))
	return equal(password, w.Password) && right
}

// equal compares in a time that tells nothing of either text. An empty secret
// equals nothing.
func equal(given string, want Secret) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want))
	return hmac.Equal(a[:], b[:]) && want != ""
}
