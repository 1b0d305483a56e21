package login

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"passerelle"
)

const (
	password = "example-requester-password"
	hash     = "$2a$10$y1Q42ocib8nvJSII9zq8be3IOygPRbextNlOZQHa0GueFLHcibdNO" // of password, as cheap as one may be
	token    = "example-face-token"
)

// open makes a door with two accounts with a password and one with a token.
func open(t testing.TB, cfg Config) *Door {
	t.Helper()
	d, err := NewGuard(cfg).Door("c/requester", []Account{{User: "sumit", Password: hash}, {User: "other", Password: hash}, {Token: HashToken(token)}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// from is a request from an address, with what proxies say of it.
func from(addr string, forwarded ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.RemoteAddr = addr
	for _, f := range forwarded {
		r.Header.Add("X-Forwarded-For", f)
	}
	return r
}

// enter is a login; it returns "" for one that is let in.
func enter(d *Door, addr string, c Credentials) Why { return why(d.Enter(from(addr), c)) }

func why(err error) Why {
	var no *Refusal
	if errors.As(err, &no) {
		return no.Why
	}
	return ""
}

const here, there = "192.0.2.1:1000", "198.51.100.7:1000"

func right() Credentials { return Credentials{User: "sumit", Password: password} }

func guess(n int) Credentials { return Credentials{User: "sumit", Password: fmt.Sprint("guess ", n)} }

func TestWhoComesIn(t *testing.T) {
	d := open(t, Config{})
	for name, c := range map[string]struct {
		given Credentials
		want  Why
	}{
		"password":                     {right(), ""},
		"token":                        {Credentials{Token: token}, ""},
		"a token decides alone":        {Credentials{User: "sumit", Password: password, Token: "x"}, Wrong},
		"right token, wrong password":  {Credentials{User: "sumit", Password: "x", Token: token}, ""},
		"another password":             {Credentials{User: "sumit", Password: password + "x"}, Wrong},
		"no password":                  {Credentials{User: "sumit"}, Wrong},
		"another user":                 {Credentials{User: "nobody", Password: password}, Wrong},
		"no user":                      {Credentials{Password: password}, Nothing},
		"nothing":                      {Credentials{}, Nothing},
		"the hash for the password":    {Credentials{User: "sumit", Password: hash}, Wrong},
		"the hash for the token":       {Credentials{Token: HashToken(token).Reveal()}, Wrong},
		"more than bcrypt looks at":    {Credentials{User: "sumit", Password: strings.Repeat("x", 100)}, Wrong},
		"the user as token":            {Credentials{Token: "sumit"}, Wrong},
		"a user with the token's hash": {Credentials{User: "", Password: token}, Nothing},
	} {
		if got := enter(d, fmt.Sprintf("192.0.2.%d:1", len(name)), c.given); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestLongPasswords: bcrypt looks at 72 bytes; two passwords that begin alike
// are not one.
func TestLongPasswords(t *testing.T) {
	long := passerelle.Secret(strings.Repeat("a", MaxPassword))
	kept, err := HashPassword(long)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewGuard(Config{}).Door("d", []Account{{User: "u", Password: kept}})
	if err != nil {
		t.Fatal(err)
	}
	if got := enter(d, here, Credentials{User: "u", Password: long.Reveal() + "b"}); got != Wrong {
		t.Errorf("a longer one: %q", got)
	}
	if got := enter(d, here, Credentials{User: "u", Password: long.Reveal()}); got != "" {
		t.Errorf("the right one: %q", got)
	}
	if _, err := HashPassword(long + "b"); err == nil || !strings.Contains(err.Error(), "73 bytes") {
		t.Errorf("hashed: %v", err)
	}
}

// TestOnlyHashesAreTaken: what is kept as it is, or as a hash that is soon tried
// through, is refused with what to run.
func TestOnlyHashesAreTaken(t *testing.T) {
	cheap := "$2a$04$" + hash[7:]
	for want, accounts := range map[string][]Account{
		"password: it is kept as it is":        {{User: "u", Password: "clear-text-example"}},
		"run `gateway password`":               {{User: "u", Password: "clear-text-example"}},
		"token: it is kept as it is":           {{Token: "clear-text-example"}},
		"run `gateway token`":                  {{Token: passerelle.Secret(hash)}},
		"is the hash of a token":               {{User: "u", Password: HashToken(token)}},
		"cost 4, which is not between":         {{User: "u", Password: passerelle.Secret(cheap)}},
		"neither a token nor a user":           {{User: "u"}},
		"stands twice":                         {{User: "u", Password: hash}, {User: "u", Password: hash}},
		"another one's 10, by which strangers": {{User: "u", Password: hash}, {User: "v", Password: passerelle.Secret("$2a$11$" + hash[7:])}},
	} {
		_, err := NewGuard(Config{}).Door("d", accounts)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "clear-text") || strings.Contains(err.Error(), hash[10:])) {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

// TestGuessesAreSlowedDown: after five wrong passwords of an account from an
// address the next ones wait, longer and longer. The right one from elsewhere,
// another account's and a token from the same address do not.
func TestGuessesAreSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, Config{})
		for i := range freeTries {
			if got := enter(d, here, guess(i)); got != Wrong {
				t.Fatalf("guess %d: %q", i, got)
			}
		}
		var waits []string
		for i := range 9 {
			err := d.Enter(from(here), right())
			var no *Refusal
			if !errors.As(err, &no) || no.Why != Slow || no.Status() != http.StatusTooManyRequests {
				t.Fatalf("the right one was looked at: %v", err)
			}
			waits = append(waits, no.After.String())
			if i == 0 {
				for name, got := range map[string]Why{
					"the right one from elsewhere": enter(d, there, right()),
					"the other account":            enter(d, here, Credentials{User: "other", Password: password}),
					"a token":                      enter(d, here, Credentials{Token: token}),
				} {
					if got != "" {
						t.Errorf("%s is refused: %q", name, got)
					}
				}
			}
			time.Sleep(no.After)
			if got := enter(d, here, guess(100+i)); got != Wrong {
				t.Fatalf("guess %d after its wait: %q", i, got)
			}
		}
		time.Sleep(longestWait)
		if got, want := strings.Join(waits, " "), "1s 2s 4s 8s 16s 32s 1m0s 1m0s 1m0s"; got != want {
			t.Errorf("waits %s, want %s", got, want)
		}
		if got := enter(d, here, right()); got != "" {
			t.Errorf("the right one after the wait: %q", got)
		}
		for i := range freeTries { // all is forgiven
			if got := enter(d, there, guess(i)); got != Wrong {
				t.Errorf("guess %d after the right one: %q", i, got)
			}
		}
	})
}

// TestAnAccountOfOnesOwnBuysNoGuesses: a right login between the guesses takes
// nothing back of what other accounts are guarded by.
func TestAnAccountOfOnesOwnBuysNoGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, Config{})
		compared := 0
		for i := range 20 {
			if enter(d, here, guess(i)) == Wrong {
				compared++
			}
			clear(d.accounts[1].sources) // not remembered, so that it is a login like the first
			if got := enter(d, here, Credentials{User: "other", Password: password}); got != "" {
				t.Fatalf("the own account: %q", got)
			}
		}
		if compared != freeTries {
			t.Errorf("%d guesses were compared, want %d", compared, freeTries)
		}
	})
}

// TestKnownSendersAreNotLockedOut: behind a balancer all have one address. A
// sender that came in before still does while another guesses at its account;
// a flood of guesses is compared at a bounded rate.
func TestKnownSendersAreNotLockedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, Config{})
		if got := enter(d, here, right()); got != "" {
			t.Fatal(got)
		}
		for i := range 100 { // four guesses a second
			_ = enter(d, here, guess(i))
			if got := enter(d, here, right()); got != "" {
				t.Fatalf("locked out after %d guesses: %q", i, got)
			}
			time.Sleep(time.Second / 4)
		}
		for i := range 1000 { // a thousand at once
			_ = enter(d, here, guess(1000+i))
		}
		if got := enter(d, here, right()); got != Slow {
			t.Errorf("after a flood the password is still compared: %q", got)
		}
		if got := enter(d, there, right()); got != "" {
			t.Errorf("another address: %q", got)
		}
		time.Sleep(time.Second)
		if got := enter(d, here, right()); got != "" {
			t.Errorf("a second after the flood: %q", got)
		}
	})
}

// TestAttackedAccount: when many addresses guess at one account, each has one
// try; the right password from a new address is let in at once.
func TestAttackedAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, Config{})
		for i := range attackedTries {
			d.guard.charge(d, d.guard.Source(from(fmt.Sprintf("10.0.%d.1:1", i))), "sumit", time.Now())
		}
		if got := enter(d, here, right()); got != "" {
			t.Errorf("the right one: %q", got)
		}
		d.guard.charge(d, d.guard.Source(from("10.1.0.1:1")), "sumit", time.Now())
		if a, b := enter(d, there, guess(1)), enter(d, there, guess(2)); a != Wrong || b != Slow {
			t.Errorf("a guesser: %q, %q", a, b)
		}
	})
}

// TestAnAddressGuessesAtManyUsers: names that are tried out are slowed down too,
// whether they exist or not.
func TestAnAddressGuessesAtManyUsers(t *testing.T) {
	d := open(t, Config{})
	d.dummy = nil // the hash costs time here, and nothing else
	for i := range freeAddress {
		if got := enter(d, here, Credentials{User: fmt.Sprint("user", i), Password: "x"}); got != Wrong {
			t.Fatalf("user %d: %q", i, got)
		}
	}
	if got := enter(d, here, Credentials{User: "another", Password: "x"}); got != Slow {
		t.Errorf("the next user: %q", got)
	}
}

// TestManyAddressesDoNotFillMemory: what is remembered has a bound, and an IPv6
// network is one address.
func TestManyAddressesDoNotFillMemory(t *testing.T) {
	d := open(t, Config{})
	for i := range 3 * maxTries {
		_ = enter(d, fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255), Credentials{Token: fmt.Sprint("wrong", i)})
	}
	if n := len(d.guard.tries); n > maxTries || d.guard.order.Len() != n {
		t.Errorf("%d tries are remembered, at most %d", n, maxTries)
	}
	for i := range 10 * maxSources {
		d.accounts[0].remember(d.guard.Source(from(fmt.Sprintf("10.0.%d.%d:1", i>>8, i&255))), mac{}, time.Now())
	}
	if n := len(d.accounts[0].sources); n > maxSources {
		t.Errorf("%d sources are remembered, at most %d", n, maxSources)
	}
	if a, b := d.guard.Source(from("[2001:db8::1]:1")), d.guard.Source(from("[2001:db8::ffff:1]:1")); a != b {
		t.Errorf("%v and %v are two", a, b)
	}
}

// TestManyAtOnce: a hundred guesses at once are not more than one after the
// other; a sender whose first hundred requests come at once costs one hash.
func TestManyAtOnce(t *testing.T) {
	d := open(t, Config{})
	at := func(n int, c func(int) Credentials) map[Why]int {
		var wg sync.WaitGroup
		var mu sync.Mutex
		got := map[Why]int{}
		for i := range n {
			wg.Go(func() {
				w := enter(d, here, c(i))
				mu.Lock()
				defer mu.Unlock()
				got[w]++
			})
		}
		wg.Wait()
		return got
	}
	begin := time.Now()
	if got := at(100, func(int) Credentials { return right() }); got[""] != 100 {
		t.Errorf("a sender's first hundred: %v", got)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("they took %v", took)
	}
	if got := at(100, func(i int) Credentials { return Credentials{User: "other", Password: fmt.Sprint(i)} }); got[Wrong] > freeTries || got[Slow] < 90 {
		t.Errorf("a hundred guesses: %v", got)
	}
}

// TestHashesAreBounded: where too many wait for a hash, the next is told to come
// again, and is not charged; tokens and known senders need none.
func TestHashesAreBounded(t *testing.T) {
	d := open(t, Config{})
	if got := enter(d, here, right()); got != "" {
		t.Fatal(got)
	}
	for range maxQueue {
		d.guard.queue <- struct{}{}
	}
	var no *Refusal
	if err := d.Enter(from(there), right()); !errors.As(err, &no) || no.Why != Busy || no.Status() != 503 || no.After == 0 {
		t.Errorf("one more: %v", err)
	}
	if n := len(d.guard.tries); n != 0 {
		t.Errorf("it was charged: %d", n)
	}
	if a, b := enter(d, here, right()), enter(d, there, Credentials{Token: token}); a != "" || b != "" {
		t.Errorf("a known sender %q, a token %q", a, b)
	}
}

// TestUnknownUsersCostTheSame: the time of an answer does not tell whether a user
// exists, before nor after that user came in.
func TestUnknownUsersCostTheSame(t *testing.T) {
	d := open(t, Config{})
	least := func(user string) time.Duration {
		best := time.Hour
		for i := range 3 {
			begin := time.Now()
			if got := enter(d, fmt.Sprintf("10.0.0.%d:1", i), Credentials{User: user, Password: fmt.Sprint(user, i)}); got != Wrong {
				t.Fatalf("%s: %q", user, got)
			}
			best = min(best, time.Since(begin))
		}
		return best
	}
	known, unknown := least("sumit"), least("nobody")
	_ = enter(d, here, right())
	if after := least("sumit"); known > 4*unknown || unknown > 4*known || unknown > 4*after {
		t.Errorf("a known user costs %v, an unknown one %v, one that came in %v", known, unknown, after)
	}
}

// TestLogTellsWhoAndNoSecret: the log names the door, the account and the
// address; never what was typed. Nobody can fill it.
func TestLogTellsWhoAndNoSecret(t *testing.T) {
	var log strings.Builder
	counted := map[Why]int{}
	d := open(t, Config{Log: slog.New(slog.NewTextHandler(&log, nil)), Count: func(door string, w Why) {
		if door != "c/requester" {
			t.Errorf("counted at %q", door)
		}
		counted[w]++
	}})
	const canary = "c4nary"
	for _, c := range []Credentials{{User: "sumit", Password: canary}, {User: canary, Password: canary}, {Token: canary}, {User: "sumit", Password: canary, Token: canary}, {}} {
		_ = enter(d, here, c)
	}
	_ = d.Refuse(from(there), Forged)
	for i := range freeTries {
		_ = enter(d, "192.0.2.99:1", Credentials{Token: fmt.Sprint(canary, i)})
	}
	for _, want := range []string{`why="wrong password" user=sumit`, `why="unknown user"`, `why="wrong token"`, "why=signature", "why=nothing", "from=192.0.2.99/32 why=\"wrong token\" wait=1", "from=192.0.2.1/32", "door=c/requester"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %s", want)
		}
	}
	for i := range 1000 {
		_ = enter(d, fmt.Sprintf("10.0.%d.%d:1", i>>8, i&255), Credentials{Token: canary})
	}
	if strings.Contains(log.String(), canary) || strings.Contains(log.String(), hash[10:]) {
		t.Error("the log shows what was typed, or a hash")
	}
	if n := strings.Count(log.String(), "\n"); n > 2*linesAtOnce {
		t.Errorf("%d lines", n)
	}
	if counted[Wrong] < 1000 || counted[Forged] != 1 {
		t.Errorf("counted %v", counted)
	}
}

func TestSource(t *testing.T) {
	proxies, err := ParseProxies([]string{"192.0.2.1", "10.0.0.0/8", "2001:db8::/32"})
	if err != nil {
		t.Fatal(err)
	}
	g := NewGuard(Config{Proxies: proxies})
	for name, c := range map[string]struct {
		r    *http.Request
		want string
	}{
		"a peer":                     {from("198.51.100.7:1"), "198.51.100.7/32"},
		"a peer is not believed":     {from("198.51.100.7:1", "203.0.113.9"), "198.51.100.7/32"},
		"a proxy is believed":        {from("192.0.2.1:1", "203.0.113.9"), "203.0.113.9/32"},
		"what stands before may lie": {from("192.0.2.1:1", "1.1.1.1, 203.0.113.9"), "203.0.113.9/32"},
		"two proxies":                {from("192.0.2.1:1", "1.1.1.1, 203.0.113.9, 10.1.2.3"), "203.0.113.9/32"},
		"two headers":                {from("192.0.2.1:1", "1.1.1.1", "203.0.113.9"), "203.0.113.9/32"},
		"a proxy that says nothing":  {from("192.0.2.1:1"), "192.0.2.1/32"},
		"a proxy that says nonsense": {from("192.0.2.1:1", "unknown"), "192.0.2.1/32"},
		"mapped":                     {from("[::ffff:192.0.2.1]:1", "::ffff:203.0.113.9"), "203.0.113.9/32"},
		"IPv6":                       {from("[2001:db8::1]:1", "2001:db9:0:1:2:3:4:5"), "2001:db9:0:1::/64"},
		"no address":                 {from("@"), "invalid Prefix"},
	} {
		if got := g.Source(c.r).String(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if _, err := ParseProxies([]string{"balancer.example"}); err == nil || !strings.Contains(err.Error(), "neither an address nor a network") {
		t.Errorf("a name: %v", err)
	}
}

// BenchmarkLogin measures what a login costs.
func BenchmarkLogin(b *testing.B) {
	kept, err := HashPassword(password)
	if err != nil {
		b.Fatal(err)
	}
	fresh := func() *Door {
		d, err := NewGuard(Config{}).Door("d", []Account{{User: "sumit", Password: kept}, {Token: HashToken(token)}})
		if err != nil {
			b.Fatal(err)
		}
		return d
	}
	d, r := fresh(), from(here)
	for range freeTries + 20 { // a guesser who has guessed before
		d.guard.charge(d, d.guard.Source(from("192.0.2.66:1")), "sumit", time.Now().Add(time.Minute))
	}
	for name, login := range map[string]func(i int) error{
		"known password": func(int) error { return d.Enter(r, right()) },
		"token":          func(int) error { return d.Enter(r, Credentials{Token: token}) },
		"first password": func(i int) error {
			d.accounts[0].right, d.accounts[0].sources = false, map[netip.Prefix]*source{}
			return d.Enter(r, right())
		},
		"bad password": func(i int) error { return d.Enter(from(fmt.Sprintf("10.0.%d.%d:1", i>>8&255, i&255)), guess(i)) },
		"bad user": func(i int) error {
			return d.Enter(from(fmt.Sprintf("10.0.%d.%d:1", i>>8&255, i&255)), Credentials{User: "nobody", Password: "x"})
		},
		"slowed down": func(i int) error { return d.Enter(from("192.0.2.66:1"), guess(-1)) },
	} {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			_ = login(0)
			i := 0
			for b.Loop() {
				_ = login(i)
				i++
			}
		})
	}
}
