package jira

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"

	"passerelle/internal/login"
)

var errNotJira = errors.New("not known to come from our Jira (give a valid X-Hub-Signature, token or Basic account)")

// proofs is what a request shows to prove that it comes from Jira.
type proofs struct {
	secrets   []Secret
	signature string // as given; only weighed if there are secrets
	refused   error  // nil: a valid token or Basic account; weighed only without a signature
}

func (w Webhook) proofs(r *http.Request) proofs {
	p := proofs{secrets: w.Secrets, signature: r.Header.Get("X-Hub-Signature")}
	if len(w.Secrets) == 0 {
		p.signature = ""
	}
	if p.signature == "" {
		p.refused = w.enter(r)
	}
	return p
}

// hold weighs the proofs. A signature that is there must be right, even beside
// a valid token.
func (p proofs) hold(body []byte) bool {
	if p.signature == "" {
		return p.refused == nil
	}
	return signed(body, p.signature, p.secrets)
}

// enter looks for a token, in the address or as Bearer, and for Basic; one that
// is right is enough.
func (w Webhook) enter(r *http.Request) error {
	var given []login.Credentials
	if token := r.URL.Query().Get("token"); token != "" {
		given = append(given, login.Credentials{Token: token})
	}
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		given = append(given, login.Credentials{Token: bearer})
	}
	if user, password, ok := r.BasicAuth(); ok {
		given = append(given, login.Credentials{User: user, Password: password})
	}
	if len(given) == 0 {
		return w.Door.Refuse(r, login.Nothing)
	}
	var err error
	for _, c := range given {
		if err = w.Door.Enter(r, c); err == nil {
			return nil
		}
	}
	return err
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
