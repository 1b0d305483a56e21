package login

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"passerelle"
)

const (
	// Cost is that of the hashes that are made here: some 100 ms of one core.
	Cost = 11
	// A hash that costs less is soon tried through, one that costs more is a
	// stranger's way to keep the gateway busy.
	leastCost, mostCost = 10, 13
	// MaxPassword is how many bytes of a password bcrypt takes.
	MaxPassword = 72
	// MinPassword and MinToken are how many characters a new one has at least.
	MinPassword, MinToken = 12, 16

	tokenMark = "sha256:"
)

// HashPassword is what a file keeps of a password: bcrypt, at Cost.
func HashPassword(password passerelle.Secret) (passerelle.Secret, error) {
	if len(password) > MaxPassword {
		return "", fmt.Errorf("the password has %d bytes, bcrypt takes %d (choose a shorter one)", len(password), MaxPassword)
	}
	b, err := bcrypt.GenerateFromPassword([]byte(password.Reveal()), Cost)
	return passerelle.Secret(b), err
}

// HashToken is what a file keeps of a token. A token is random, so that nobody
// can try them through: a fast hash is enough.
func HashToken(token passerelle.Secret) passerelle.Secret {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return passerelle.Secret(tokenMark + hex.EncodeToString(sum[:]))
}

// NewToken makes a token of 128 random bits or more.
func NewToken() passerelle.Secret { return passerelle.Secret(rand.Text()) }

// passwordHash checks what is kept of a password, and tells its cost.
func passwordHash(kept string) (cost int, err error) {
	if strings.HasPrefix(kept, tokenMark) {
		return 0, errors.New("is the hash of a token (give it as token, or run `gateway password`)")
	}
	cost, err = bcrypt.Cost([]byte(kept))
	switch {
	case err != nil:
		return 0, errors.New("is kept as it is, where only its hash is taken (run `gateway password`, give it the password, and keep what it prints instead)")
	case cost < leastCost || cost > mostCost:
		return 0, fmt.Errorf("has a bcrypt hash of cost %d, which is not between %d and %d (run `gateway password`)", cost, leastCost, mostCost)
	}
	return cost, nil
}

// tokenHash reads what is kept of a token.
func tokenHash(kept string) (sum [sha256.Size]byte, err error) {
	text, ok := strings.CutPrefix(kept, tokenMark)
	b, bad := hex.DecodeString(text)
	if !ok || bad != nil || len(b) != len(sum) {
		return sum, errors.New("is kept as it is, where only its hash is taken (run `gateway token`, or `gateway token --given` to keep the token that the tool has, and keep what it prints instead)")
	}
	return [sha256.Size]byte(b), nil
}
