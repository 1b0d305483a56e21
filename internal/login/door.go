// Package login lets known callers in, and slows down those who guess.
//
// Passwords are kept as bcrypt hashes, tokens, which are random, as SHA-256. One
// that was found right is remembered as a keyed HMAC, so that only the first
// request of a sender costs the hash. A right token is always let in. A password
// is not even looked at while its sender must wait after wrong ones; how long
// goes by source address and account, so that nobody locks out anybody else.
//
// Nothing is kept on disk, and what is kept in memory is bounded, however many
// addresses and names there are. What can go wrong is told as a *Refusal.
package login

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"passerelle"
)

// Account is who may come in: by user and password, by a token, or by either.
type Account struct {
	User     string
	Password passerelle.Secret // its hash, as HashPassword makes it
	Token    passerelle.Secret // its hash, as HashToken makes it
}

// Credentials are what a caller gave. A token decides alone.
type Credentials struct{ User, Password, Token string }

// Refusal says why somebody was not let in.
type Refusal struct {
	Why   Why
	After time.Duration // how long to wait before the next try; 0: other credentials are needed
}

// Why is a reason to let nobody in.
type Why string

// The reasons of a Refusal.
const (
	Nothing Why = "nothing"    // no credentials were given
	Wrong   Why = "wrong"      // they are nobody's
	Slow    Why = "slow"       // too many were wrong before: these were not looked at
	Busy    Why = "busy"       // too many others are being looked at
	Forged  Why = "signature"  // a webhook's signature is not that of its body
	Strange Why = "cross-site" // a web page's request, which the operator did not make
)

// Error is what the caller may read: it is the same for a user who exists and
// one who does not.
func (r *Refusal) Error() string {
	switch r.Why {
	case Slow:
		return fmt.Sprintf("Invalid login: too many were wrong, this one was not looked at (wait %d s, or come in by a token)", Seconds(r.After))
	case Busy:
		return fmt.Sprintf("too many logins are being looked at (wait %d s, or come in by a token)", Seconds(r.After))
	}
	return "Invalid login"
}

// Status is the HTTP status of a refusal: 401, 429 or 503.
func (r *Refusal) Status() int {
	switch r.Why {
	case Slow:
		return http.StatusTooManyRequests
	case Busy:
		return http.StatusServiceUnavailable
	}
	return http.StatusUnauthorized
}

// Seconds rounds up, for Retry-After.
func Seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// Door is one face's accounts. Its methods may be called at once.
type Door struct {
	name     string
	guard    *Guard
	accounts []*account
	dummy    []byte // a hash that is compared, for its time, where the user is unknown; nil: nobody has a password
}

type account struct {
	user    string
	hash    []byte // of the password; nil: none
	token   [sha256.Size]byte
	byToken bool

	mu      sync.Mutex
	right   bool // known is set
	known   mac  // of user and password, once they were found right
	sources map[netip.Prefix]*source
}

// source is an address that an account came in from.
type source struct {
	last  time.Time
	wrong float64 // wrong passwords since, less those that were long enough ago
}

const (
	// maxSources bounds how many addresses of an account are remembered.
	maxSources = 64
	// maxWrong wrong passwords a source that an account came in from may give
	// at once before its right one is not looked for any more; wrongEach a second.
	maxWrong, wrongEach = 20, 5
)

// Door makes the door of a face. Its name is for the log and the metrics.
// Accounts of one door have hashes of one cost, by which nobody can tell a user
// who exists.
func (g *Guard) Door(name string, accounts []Account) (*Door, error) {
	d := &Door{name: name, guard: g}
	cost := 0
	for i, a := range accounts {
		one, c, err := newAccount(a)
		if err == nil && c != 0 && cost != 0 && c != cost {
			err = fmt.Errorf("password: its hash has cost %d and another one's %d, by which strangers can tell users (run `gateway password` for both)", c, cost)
		}
		if err == nil && c != 0 && d.find(a.User) != nil {
			err = fmt.Errorf("user %q stands twice with a password (give the new password to another user while both are used)", a.User)
		}
		if err != nil {
			return nil, fmt.Errorf("accounts[%d]: %w", i, err)
		}
		if cost = max(cost, c); d.dummy == nil {
			d.dummy = one.hash
		}
		d.accounts = append(d.accounts, one)
	}
	return d, nil
}

func newAccount(a Account) (one *account, cost int, err error) {
	one = &account{user: a.User, sources: map[netip.Prefix]*source{}}
	if a.Token == "" && (a.User == "" || a.Password == "") {
		return nil, 0, fmt.Errorf("account %q has neither a token nor a user with a password (give one)", a.User)
	}
	if a.User != "" && a.Password != "" {
		if cost, err = passwordHash(a.Password.Reveal()); err != nil {
			return nil, 0, fmt.Errorf("password: it %w", err)
		}
		one.hash = []byte(a.Password.Reveal())
	}
	if a.Token != "" {
		if one.token, err = tokenHash(a.Token.Reveal()); err != nil {
			return nil, 0, fmt.Errorf("token: it %w", err)
		}
		one.byToken = true
	}
	return one, cost, nil
}

// Enter returns nil for one of the accounts, and else a *Refusal. It may take
// the time of a hash, for an unknown user as for a wrong password.
func (d *Door) Enter(r *http.Request, c Credentials) error {
	from := d.guard.Source(r)
	switch {
	case c.Token != "":
		return d.byToken(from, c.Token)
	case c.User == "":
		return d.Refuse(r, Nothing)
	case d.dummy == nil:
		return d.guard.wrong(d, from, c.User, "unknown user")
	}
	return d.byPassword(r, from, c)
}

// Refuse notes a caller that was refused for another reason than its login.
func (d *Door) Refuse(r *http.Request, why Why) error {
	d.guard.note(d, d.guard.Source(r), "", string(why), why, 0)
	return &Refusal{Why: why}
}

// byToken lets a right token in, whatever was wrong before: a token is too long
// to be guessed, and who has it must not suffer from his neighbours.
func (d *Door) byToken(from netip.Prefix, token string) error {
	sum := sha256.Sum256([]byte(token))
	ok := 0
	for _, a := range d.accounts {
		if a.byToken {
			ok |= subtle.ConstantTimeCompare(a.token[:], sum[:])
		}
	}
	if ok == 1 {
		return nil
	}
	return d.guard.wrong(d, from, "", "wrong token")
}

// find returns the account of a user, comparing all of them in constant time.
func (d *Door) find(user string) (found *account) {
	for _, a := range d.accounts {
		if a.hash != nil && subtle.ConstantTimeCompare([]byte(a.user), []byte(user)) == 1 {
			found = a
		}
	}
	return found
}

func (d *Door) byPassword(r *http.Request, from netip.Prefix, c Credentials) error {
	a, now := d.find(c.User), time.Now()
	m := d.guard.mac(d.name, c.User, c.Password)
	if a != nil && a.recalls(from, m, now) {
		return nil
	}
	f, mine, wait := d.guard.begin(d, from, c.User, m, now)
	if wait > 0 {
		d.guard.count(d, Slow)
		return &Refusal{Why: Slow, After: wait}
	}
	if !mine { // the same credentials are being looked at already
		return f.await(r.Context())
	}
	err := d.guard.weigh(r.Context(), func() bool { return d.right(a, c.Password, m) })
	if err == nil {
		a.remember(from, m, now)
	}
	d.guard.end(d, from, c.User, m, f, err)
	if err != nil && errors.Is(err, errWrong) {
		return d.guard.told(d, from, c.User, a != nil)
	}
	return err
}

// right compares a password with what is kept. It costs one hash, but for what
// is remembered.
func (d *Door) right(a *account, password string, m mac) bool {
	if a == nil || len(password) > MaxPassword {
		_ = bcrypt.CompareHashAndPassword(d.dummy, []byte("nobody")) // for its time alone
		return false
	}
	if a.is(m) {
		return true
	}
	return bcrypt.CompareHashAndPassword(a.hash, []byte(password)) == nil
}

// is tells whether these are the credentials that were found right.
func (a *account) is(m mac) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.right && subtle.ConstantTimeCompare(a.known[:], m[:]) == 1
}

// recalls tells whether the account came in from there before, by the same
// password. Of many wrong ones only some are compared: a guesser who shares the
// address of a sender, behind a proxy, gets wrongEach guesses a second.
func (a *account) recalls(from netip.Prefix, m mac, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sources[from]
	if s == nil {
		return false
	}
	s.wrong = max(0, s.wrong-wrongEach*now.Sub(s.last).Seconds())
	s.last = now
	if s.wrong >= maxWrong {
		return false
	}
	if a.right && subtle.ConstantTimeCompare(a.known[:], m[:]) == 1 {
		return true
	}
	s.wrong++
	return false
}

// remember keeps right credentials, and where they came from.
func (a *account) remember(from netip.Prefix, m mac, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.right, a.known = true, m
	if a.sources[from] == nil && len(a.sources) >= maxSources {
		oldest := from
		for p, s := range a.sources {
			if o := a.sources[oldest]; o == nil || s.last.Before(o.last) {
				oldest = p
			}
		}
		delete(a.sources, oldest)
	}
	a.sources[from] = &source{last: now}
}
