package wiring

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"passerelle"
	"passerelle/adapters"
	"passerelle/internal/login"
	"passerelle/mapping"
	"passerelle/outbox"
)

// Who may do what. Two contracts, a and b, run in one gateway, each with a
// ticket of its own: a's is R-000007 (gateway FRS-000001), b's is R-000108
// (gateway FRS-000002). All operations are at a's faces, or the operators'.
//
//	ok     taken             none  there is no such ticket    rule  judged, and refused by the contract
//	no     nobody known      401, 403, 404, 409               the HTTP status
//
// What is refused with no, 401, 403, 404 or none has changed nothing; whatever is
// done at a's faces changes nothing of b and shows nothing of b.
const roles = `
operation                        | nobody badpw badtok  reqA partA jiraA forged  reqB partB jiraB  oper
requester list_operations        | no     no    no      ok   no    no    no      no   no    no     no
requester check_credentials      | no     no    no      ok   no    no    no      no   no    no     no
requester get by key             | no     no    no      ok   no    no    no      no   no    no     no
requester get by reference       | no     no    no      ok   no    no    no      no   no    no     no
requester get by OQL             | no     no    no      ok   no    no    no      no   no    no     no
requester get b's by key         | no     no    no      none no    no    no      no   no    no     no
requester get b's by reference   | no     no    no      none no    no    no      no   no    no     no
requester get b's by OQL         | no     no    no      none no    no    no      no   no    no     no
requester create                 | no     no    no      ok   no    no    no      no   no    no     no
requester public log             | no     no    no      ok   no    no    no      no   no    no     no
requester private log            | no     no    no      ok   no    no    no      no   no    no     no
requester log on b's             | no     no    no      rule no    no    no      no   no    no     no
requester log on b's by key      | no     no    no      rule no    no    no      no   no    no     no
requester attach                 | no     no    no      ok   no    no    no      no   no    no     no
requester attach as an object    | no     no    no      ok   no    no    no      no   no    no     no
requester attach to b's          | no     no    no      rule no    no    no      no   no    no     no
requester close                  | no     no    no      rule no    no    no      no   no    no     no
requester hint                   | no     no    no      ok   no    no    no      no   no    no     no
requester delete                 | no     no    no      rule no    no    no      no   no    no     no
requester unknown operation      | no     no    no      verb no    no    no      no   no    no     no
partner list_operations          | no     no    no      no   ok    no    no      no   no    no     no
partner get by key               | no     no    no      no   ok    no    no      no   no    no     no
partner get b's by key           | no     no    no      no   none  no    no      no   no    no     no
partner create                   | no     no    no      no   rule  no    no      no   no    no     no
partner public log               | no     no    no      no   ok    no    no      no   no    no     no
partner log on b's               | no     no    no      no   rule  no    no      no   no    no     no
partner reference                | no     no    no      no   ok    no    no      no   no    no     no
partner reference of b's         | no     no    no      no   rule  no    no      no   no    no     no
partner attach                   | no     no    no      no   ok    no    no      no   no    no     no
partner attach to b's            | no     no    no      no   rule  no    no      no   no    no     no
partner hint                     | no     no    no      no   ok    no    no      no   no    no     no
webhook                          | 401    401   401     401  401   ok    401     401  401   401    401
another contract's face          | 404    404   404     404  404   404   404     404  404   404    404
no path                          | 404    404   404     404  404   404   404     404  404   404    404
admin tickets                    | 401    401   401     401  401   401   401     401  401   401    ok
admin outbox                     | 401    401   401     401  401   401   401     401  401   401    ok
admin entry                      | 401    401   401     401  401   401   401     401  401   401    ok
admin retry                      | 401    401   401     401  401   401   401     401  401   401    ok
admin drop                       | 401    401   401     401  401   401   401     401  401   401    409
admin backup                     | 401    401   401     401  401   401   401     401  401   401    ok
admin resync                     | 401    401   401     401  401   401   401     401  401   401    409
admin escalate                   | 401    401   401     401  401   401   401     401  401   401    409
admin restored                   | 401    401   401     401  401   401   401     401  401   401    404
admin end                        | 401    401   401     401  401   401   401     401  401   401    ok
admin purge                      | 401    401   401     401  401   401   401     401  401   401    409
admin nothing                    | 401    401   401     401  401   401   401     401  401   401    404
admin metrics                    | ok     ok    ok      ok   ok    ok    ok      ok   ok    ok     ok
admin healthz                    | ok     ok    ok      ok   ok    ok    ok      ok   ok    ok     ok
admin readyz                     | ok     ok    ok      ok   ok    ok    ok      ok   ok    ok     ok
`

// Without admin_token whoever reaches the loopback is an operator, but for the
// page that a browser shows: it asks across sites, or under a name that was
// turned to this address.
const rolesOfTheLoopback = `
operation       | curl page rebound
admin tickets   | ok   403  403
admin outbox    | ok   403  403
admin entry     | ok   403  403
admin retry     | ok   403  403
admin drop      | 409  403  403
admin backup    | ok   403  403
admin resync    | 409  403  403
admin escalate  | 409  403  403
admin restored  | 404  403  403
admin end       | ok   403  403
admin purge     | 409  403  403
admin metrics   | ok   ok   ok
admin healthz   | ok   ok   ok
admin readyz    | ok   ok   ok
`

// operation is one request: at a's faces a path and iTop's JSON, or a webhook,
// or one of the operators'.
type operation struct{ method, path, body string }

// operations are those of the tables, by their names.
func operations() map[string]operation {
	ops := map[string]operation{
		"webhook":                 {"POST", "/a/partner/webhook", `{"webhookEvent":"jira:issue_updated","issue":{"id":"10007"}}`},
		"another contract's face": {"POST", "/c/requester/webservices/rest.php", `{"operation":"list_operations"}`},
		"no path":                 {"GET", "/", ""},
		"admin tickets":           {"GET", "/api/tickets/R-000007", ""},
		"admin outbox":            {"GET", "/api/outbox", ""},
		"admin entry":             {"GET", "/api/outbox/1", ""},
		"admin retry":             {"POST", "/api/outbox/1/retry", `{"by":"op","why":"test"}`},
		"admin drop":              {"POST", "/api/outbox/1/drop", `{"by":"op","why":"test"}`},
		"admin backup":            {"GET", "/api/backup", ""},
		"admin resync":            {"POST", "/api/resync/R-000007", ""},
		"admin escalate":          {"POST", "/api/escalate/a/99", ""},
		"admin restored":          {"GET", "/api/restored", ""},
		"admin end":               {"POST", "/api/end/R-000007", `{"by":"op","why":"test"}`},
		"admin purge":             {"POST", "/api/purge/R-000007", `{"by":"op","why":"test"}`},
		"admin nothing":           {"GET", "/api/", ""},
		"admin metrics":           {"GET", "/metrics", ""},
		"admin healthz":           {"GET", "/healthz", ""},
		"admin readyz":            {"GET", "/readyz", ""},
	}
	const get, log = `{"operation":"core/get","class":"UserRequest","output_fields":"*","key":`, `{"operation":"core/update","comment":"c","class":"UserRequest",`
	const file = `"attachments":[{"data":"Ym9uam91cg==","filename":"f.txt","mimetype":"text/plain"}]}`
	const attach = `{"operation":"syn/addattachment","comment":"c","class":"UserRequest",`
	for name, body := range map[string]string{
		"requester list_operations":      `{"operation":"list_operations"}`,
		"requester check_credentials":    `{"operation":"core/check_credentials","user":"sumit-a","password":"x"}`,
		"requester get by key":           get + `"1"}`,
		"requester get by reference":     get + `{"ref":"FRS-000001"}}`,
		"requester get by OQL":           get + `"SELECT UserRequest WHERE id = 1"}`,
		"requester get b's by key":       get + `"2"}`,
		"requester get b's by reference": get + `{"ref":"FRS-000002"}}`,
		"requester get b's by OQL":       get + `"SELECT UserRequest WHERE ref = \"FRS-000002\""}`,
		"requester create":               escalation("9", "R-000009"),
		"requester public log":           log + `"fields":{"customer_id":"7","public_log":"<p>public</p>"}}`,
		"requester private log":          log + `"fields":{"customer_id":"7","private_log":"<p>private</p>"}}`,
		"requester log on b's":           log + `"fields":{"customer_id":"108","customer_ref":"R-000108","public_log":"<p>x</p>"}}`,
		"requester log on b's by key":    log + `"key":"2","fields":{"public_log":"<p>x</p>"}}`,
		"requester attach":               attach + `"fields":{"customer_id":"7"},` + file,
		"requester attach as an object":  `{"operation":"core/create","comment":"c","class":"Attachment","fields":{"customer_id":"7","item_class":"UserRequest","item_id":"1","contents":{"data":"aGVsbG8=","filename":"g.txt","mimetype":"text/plain"}}}`,
		"requester attach to b's":        attach + `"key":"2","fields":{"customer_id":"108"},` + file,
		"requester close":                `{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","stimulus":"ev_close","fields":{"customer_id":"7"}}`,
		"requester hint":                 `{"operation":"syn/addattachment","comment":"c","class":"UserRequest","hint":true,"customer_id":"77"}`,
		"requester delete":               `{"operation":"core/delete","comment":"c","class":"UserRequest","key":"1"}`,
		"requester unknown operation":    `{"operation":"core/frobnicate"}`,
		"partner list_operations":        `{"operation":"list_operations"}`,
		"partner get by key":             get + `"1"}`,
		"partner get b's by key":         get + `"2"}`,
		"partner create":                 escalation("9", "R-000009"),
		"partner public log":             log + `"key":"1","fields":{"public_log":"<p>public, partner</p>"}}`,
		"partner log on b's":             log + `"key":"2","fields":{"public_log":"<p>x</p>"}}`,
		"partner reference":              log + `"key":"1","fields":{"provider_id":"10007","provider_ref":"GSN1-7"}}`,
		"partner reference of b's":       log + `"key":"2","fields":{"provider_id":"10008","provider_ref":"GSN1-8"}}`,
		"partner attach":                 attach + `"key":"1",` + `"fields":{"last_update_by":"provider"},` + file,
		"partner attach to b's":          attach + `"key":"2",` + `"fields":{"last_update_by":"provider"},` + file,
		"partner hint":                   `{"operation":"core/update","comment":"c","class":"UserRequest","hint":true,"provider_id":"10007"}`,
	} {
		side, _, _ := strings.Cut(name, " ")
		ops[name] = operation{"POST", "/a/" + side + "/" + adapters.RESTPath, body}
	}
	return ops
}

// escalation is a create of a requester's ticket.
func escalation(id, ref string) string {
	return strings.NewReplacer(`"customer_id":"7"`, `"customer_id":"`+id+`"`, "R-000007", ref).Replace(create)
}

// The accounts of the tables. A requester comes in by a password, the others by
// tokens; a Jira signs.
const (
	passwordOfA = "example-requester-password"
	hashOfA     = "$2a$10$y1Q42ocib8nvJSII9zq8be3IOygPRbextNlOZQHa0GueFLHcibdNO" // of it
)

// show gives a request what a role has.
func show(role string, r *http.Request, body string) {
	bearer := func(token string) {
		r.Header.Set("Auth-Token", token)
		r.Header.Set("Authorization", "Bearer "+token)
	}
	sign := func(secret string) {
		m := hmac.New(sha256.New, []byte(secret))
		m.Write([]byte(body))
		r.Header.Set("X-Hub-Signature", "sha256="+hex.EncodeToString(m.Sum(nil)))
	}
	switch role {
	case "badpw":
		r.SetBasicAuth("sumit-a", "wrong-c4nary-password")
	case "badtok":
		bearer("wrong-c4nary-token")
	case "reqA":
		r.SetBasicAuth("sumit-a", passwordOfA)
	case "partA", "reqB", "partB", "oper":
		bearer("example-token-" + role)
	case "jiraA", "jiraB":
		sign("example-secret-" + role)
	case "forged":
		sign("wrong-c4nary-secret")
	case "page":
		r.Header.Set("Origin", "https://page.example")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Content-Type", "text/plain")
	case "rebound":
		r.Host = "page.example:8081"
	}
}

// TestRoles plays the tables against gateways as the program wires them, over
// real sockets.
func TestRoles(t *testing.T) {
	for _, table := range []struct {
		text  string
		token passerelle.Secret
	}{{roles, login.HashToken("example-token-oper")}, {rolesOfTheLoopback, ""}} {
		lines := strings.Split(strings.TrimSpace(table.text), "\n")
		_, head, _ := strings.Cut(lines[0], "|")
		for column, role := range strings.Fields(head) {
			t.Run(role, func(t *testing.T) {
				g := newTwo(t, table.token)
				for n, l := range lines[1:] {
					name, cells, _ := strings.Cut(l, "|")
					g.play(n, role, strings.TrimSpace(name), strings.Fields(cells)[column])
				}
				if s := g.log.String(); strings.Contains(s, "c4nary") || strings.Contains(s, passwordOfA) || strings.Contains(s, "example-token") || strings.Contains(s, "example-secret") {
					t.Errorf("a secret is in the log: %s", s)
				}
			})
		}
	}
}

// two is a gateway with two contracts.
type two struct {
	t             *testing.T
	store         *counted
	public, admin string
	ops           map[string]operation
	log           *syncLog
}

// counted is a store whose attachments are counted.
type counted struct {
	outbox.Store
	spool spool
}

func (c *counted) Files() passerelle.Spool { return &c.spool }

// spool counts the attachments that somebody still holds.
type spool struct {
	passerelle.Spool
	held atomic.Int64
}

func (s *spool) Put(ctx context.Context, r io.Reader) (passerelle.File, error) {
	f, err := s.Spool.Put(ctx, r)
	if err == nil {
		s.held.Add(1)
	}
	return f, err
}

func (s *spool) Release(files ...passerelle.File) {
	s.held.Add(-int64(len(files)))
	s.Spool.Release(files...)
}

// syncLog is a log that several write to.
type syncLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *syncLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *syncLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newTwo starts a gateway with contracts a and b, and a ticket in each.
func newTwo(t *testing.T, adminToken passerelle.Secret) *two {
	t.Helper()
	bolt, err := outbox.OpenBolt(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	store := &counted{Store: bolt}
	store.spool.Spool = bolt.Files()
	log := &syncLog{}
	g, err := Build([]Link{linkOf(t, "a", "A"), linkOf(t, "b", "B")}, store, Options{Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		AdminToken: adminToken, Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	if err != nil {
		t.Fatal(err)
	}
	public, private := httptest.NewServer(g.Public), httptest.NewServer(g.Admin)
	t.Cleanup(func() { public.Close(); private.Close(); bolt.Close() })
	w := &two{t: t, store: store, public: public.URL, admin: private.URL, ops: operations(), log: log}
	rest := func(contract, side string) string { return "/" + contract + "/" + side + "/" + adapters.RESTPath }
	for _, said := range []struct{ role, path, body string }{
		{"reqA", rest("a", "requester"), escalation("7", "R-000007")},
		{"reqB", rest("b", "requester"), escalation("108", "R-000108")},
		{"partB", rest("b", "partner"), `{"operation":"core/update","comment":"c","class":"UserRequest","key":"2","fields":{"provider_id":"10008","provider_ref":"BRAVO-8"}}`},
	} {
		if _, got, body := w.ask(0, said.role, operation{"POST", said.path, said.body}, w.public); got != "ok" {
			t.Fatalf("%s could not begin: %s: %s", said.role, got, body)
		}
	}
	return w
}

// linkOf is a contract with accounts of its own: its requester's iTop, its
// partner's Jira and agent.
func linkOf(t *testing.T, name, letter string) Link {
	t.Helper()
	c, err := mapping.Load(os.DirFS("../../contracts/orleans-tours-gar/v1"))
	if err != nil {
		t.Fatal(err)
	}
	c.Name = name
	token := func(role string) []adapters.Account {
		return []adapters.Account{{Token: adapters.SecretRef{Value: login.HashToken(passerelle.Secret("example-token-" + role))}}}
	}
	requester := token("req" + letter)
	if letter == "A" {
		requester = []adapters.Account{{User: "sumit-a", Password: adapters.SecretRef{Value: hashOfA}}}
	}
	return Link{Contract: c,
		Requester: adapters.Settings{ITop: &adapters.ITop{Accounts: requester}},
		Partner: adapters.Settings{Agent: &adapters.Agent{Accounts: token("part" + letter)},
			Jira: &adapters.Jira{BaseURL: "http://127.0.0.1:9", Project: "GSN1", Webhook: adapters.Webhook{Secrets: []adapters.SecretRef{{Value: passerelle.Secret("example-secret-jira" + letter)}}}}}}
}

// play does one operation as one role, and compares the answer and what it left
// with the table.
func (g *two) play(n int, role, name, want string) {
	g.t.Helper()
	op, ok := g.ops[name]
	if !ok {
		g.t.Errorf("the table names %q, which is no operation", name)
		return
	}
	base, operators := g.public, strings.HasPrefix(name, "admin ")
	if operators {
		base = g.admin
	}
	a, b := g.holds("a"), g.holds("b")
	_, got, body := g.ask(n, role, op, base)
	if got != want {
		g.t.Errorf("%s: %s: %s, want %s: %.300s", role, name, got, want, body)
	}
	changed := g.holds("a") != a
	if slices.Contains([]string{"no", "none", "verb", "401", "403", "404"}, got) && changed {
		g.t.Errorf("%s: %s: refused, and it changed something", role, name)
	}
	if want == "ok" && writes(name) && !changed {
		g.t.Errorf("%s: %s: taken, and nothing changed", role, name)
	}
	if g.holds("b") != b {
		g.t.Errorf("%s: %s: the other contract changed", role, name)
	}
	if n := g.store.spool.held.Load(); n != 0 {
		g.t.Errorf("%s: %s: %d attachments are held", role, name, n)
	}
	if !operators && strings.Contains(body, "BRAVO") {
		g.t.Errorf("%s: %s: shows the other contract's ticket: %s", role, name, body)
	}
}

// writes tells whether an operation that is taken leaves something.
func writes(name string) bool {
	for _, w := range []string{"create", "log", "attach", "hint", "reference", "webhook", "retry", "end"} {
		if strings.Contains(name, " "+w) && !strings.Contains(name, "get") || name == w {
			return true
		}
	}
	return false
}

// ask does an operation from an address of its own, so that wrong logins slow
// nobody down, and says how it was answered.
func (g *two) ask(n int, role string, op operation, base string) (status int, verdict, body string) {
	g.t.Helper()
	r, err := http.NewRequest(op.method, base+op.path, strings.NewReader(op.body))
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Forwarded-For", fmt.Sprintf("10.0.%d.1", n))
	show(role, r, op.body)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return res.StatusCode, answered(res.StatusCode, op.path, b), string(b)
}

// answered reads an answer into the words of the table.
func answered(status int, path string, body []byte) string {
	if status != http.StatusOK {
		return fmt.Sprint(status)
	}
	var said struct {
		Code    int
		Message string
	}
	if !strings.HasSuffix(path, adapters.RESTPath) {
		return "ok"
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return err.Error()
	}
	switch {
	case said.Message == "Found: 0":
		return "none"
	case said.Code == 0:
		return "ok"
	}
	if word := map[int]string{1: "no", 11: "verb", 100: "rule"}[said.Code]; word != "" {
		return word
	}
	return fmt.Sprint("code ", said.Code)
}

// holds is all that the store holds of a contract, as text.
func (g *two) holds(contract string) string {
	g.t.Helper()
	var out strings.Builder
	put := func(v any, err error) {
		b, bad := json.Marshal(v)
		if err != nil || bad != nil {
			g.t.Fatal(err, bad)
		}
		out.Write(append(b, '\n'))
	}
	for l, err := range g.store.Links(g.t.Context()) {
		if err != nil || l.Contract == contract {
			put(l, err)
		}
	}
	for e, err := range g.store.Entries(g.t.Context(), outbox.Query{Contract: contract}) {
		put(e, err)
	}
	stats, err := g.store.Stats(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	for _, side := range []passerelle.Side{passerelle.Requester, passerelle.Partner} {
		put(stats.LooksAt[outbox.Dest{Contract: contract, Side: side}], nil)
	}
	return out.String()
}
