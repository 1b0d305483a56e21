package fault

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// spoiled is a server whose one effect is counted, behind a gate.
func spoiled(t *testing.T, g *Gate) (url string, effects *atomic.Int64) {
	effects = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.Serve(w, r, r.Method+" "+r.URL.Path, func(w http.ResponseWriter, _ *http.Request) {
			effects.Add(1)
			fmt.Fprint(w, "0123456789")
		})
	}))
	t.Cleanup(s.Close)
	return s.URL, effects
}

func ask(url string) (status int, body string, err error) {
	res, err := http.Post(url+"/a/b", "text/plain", strings.NewReader("x"))
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// TestKinds: each kind spoils as it says, and has the effect or not.
func TestKinds(t *testing.T) {
	for _, c := range []struct {
		rule    Rule
		status  int
		body    string
		broken  bool
		effects int
	}{
		{Rule{Kind: Status, Code: 429, RetryAfter: 7, Body: "slow"}, 429, "slow", false, 0},
		{Rule{Kind: DropBefore}, 0, "", true, 0},
		{Rule{Kind: DropAfter}, 0, "", true, 1},
		{Rule{Kind: Truncate}, 200, "01234", true, 1},
		{Rule{Kind: Delay, Millis: 1}, 200, "0123456789", false, 1},
		{Rule{Kind: Status, Code: 500, Match: "GET "}, 200, "0123456789", false, 1},
	} {
		t.Run(string(c.rule.Kind)+c.rule.Match, func(t *testing.T) {
			var g Gate
			if err := g.Add(c.rule); err != nil {
				t.Fatal(err)
			}
			url, effects := spoiled(t, &g)
			status, body, err := ask(url)
			if status != c.status || body != c.body || (err != nil) != c.broken {
				t.Errorf("got %d %q %v, want %d %q broken=%v", status, body, err, c.status, c.body, c.broken)
			}
			if n := int(effects.Load()); n != c.effects {
				t.Errorf("%d effects, want %d", n, c.effects)
			}
		})
	}
}

// TestTimes: a rule with Times spoils so many requests and no more.
func TestTimes(t *testing.T) {
	var g Gate
	if err := g.Add(Rule{Kind: Status, Code: 503, Times: 2}); err != nil {
		t.Fatal(err)
	}
	url, effects := spoiled(t, &g)
	for range 5 {
		if _, _, err := ask(url); err != nil {
			t.Fatal(err)
		}
	}
	if n := effects.Load(); n != 3 || g.Hits() != 2 {
		t.Errorf("%d effects and %d hits of 5 requests, want 3 and 2", n, g.Hits())
	}
}

// TestRate: a share of the requests, repeatable by its seed.
func TestRate(t *testing.T) {
	hits := func(seed uint64) int {
		var g Gate
		g.Seed(seed)
		if err := g.Add(Rule{Kind: DropBefore, Rate: 0.3}); err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			g.pick("x")
		}
		return g.Hits()
	}
	if a, b := hits(1), hits(1); a != b || a < 200 || a > 400 {
		t.Errorf("%d and %d of 1000, want the same and about 300", a, b)
	}
}

// TestDelayWaits: a delayed answer comes after the time that the rule says.
func TestDelayWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		if err := g.Add(Rule{Kind: Delay, Millis: 5000}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		g.Serve(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), "x", func(http.ResponseWriter, *http.Request) {})
		if waited := time.Since(start); waited != 5*time.Second {
			t.Errorf("waited %v", waited)
		}
	})
}

// TestHTTP: rules are set, listed and cleared by a person too; nonsense is
// refused.
func TestHTTP(t *testing.T) {
	var g Gate
	do := func(method, body string) (int, string) {
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequest(method, "/sim/faults", strings.NewReader(body)))
		return w.Code, w.Body.String()
	}
	for _, c := range []struct {
		method, body, want string
		code               int
	}{
		{"POST", `{"kind":"drop-after","match":"core/update"}`, "drop-after", 200},
		{"GET", "", "core/update", 200},
		{"POST", `{"kind":"explode"}`, `unknown kind "explode"`, 400},
		{"POST", `{"kind":"status"}`, "a code from 200 to 599", 400},
		{"POST", `{"kin":"delay"}`, "unknown field", 400},
		{"DELETE", "", "null", 200},
		{"PUT", "", "use GET, POST or DELETE", 405},
	} {
		if code, body := do(c.method, c.body); code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.body, code, body, c.code, c.want)
		}
	}
	if _, ok := g.pick("core/update UserRequest"); ok {
		t.Error("a cleared rule still spoils")
	}
	if err := g.Add(Rule{Kind: Truncate}); err != nil {
		t.Errorf("a good rule is refused: %v", err)
	}
}
