package itop

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/adapters/itop/itopsim"
	trouble "passerelle/internal/fault"
)

const canary = "c4n4ry pass&word"

func client(t testing.TB, url string) *ITop {
	t.Helper()
	it, err := New(Config{Contract: "c", Side: passerelle.Requester, BaseURL: url, User: "gateway", Password: "demo-itop-gateway", Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return it
}

// academy is an iTop with one ticket, 1, at the external team.
func academy(t *testing.T) (*itopsim.Sim, *ITop, *recorder) {
	t.Helper()
	file, err := os.Open("../../contracts/orleans-tours-gar/v1/demo/itop.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fixture, err := itopsim.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	sim, err := itopsim.New(fixture)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(sim)
	t.Cleanup(func() { srv.Close(); sim.Close() })
	it := client(t, srv.URL)
	person(t, srv.URL, `{"operation":"core/create","comment":"c","class":"UserRequest","fields":{"title":"t","description":"<p>d</p>","org_id":10,"caller_id":101,"beneficiary_id":101,"establishment_id":301,"customer_app_id":4,"servicesubcategory_id":502,"urgency_id":2,"impact_id":2}}`)
	person(t, srv.URL, `{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":1,"stimulus":"ev_assign","fields":{"team_id":{"name":"Support GAR"}}}`)
	return sim, it, newRecorder()
}

// person acts in the console.
func person(t *testing.T, url, body string) {
	t.Helper()
	res, err := http.PostForm(url+"/console/rest.php", map[string][]string{"version": {"1.3"}, "auth_user": {"agent"}, "auth_pwd": {"demo-itop-agent"}, "json_data": {body}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); !strings.Contains(string(b), `"code":0`) {
		t.Fatalf("%s: %s", body, b)
	}
}

// toRequester reads a message of the contract, with values in its places.
func toRequester(t *testing.T, name string, pairs ...string) *passerelle.Message {
	t.Helper()
	b, err := os.ReadFile("../../contracts/orleans-tours-gar/v1/to-requester/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	body := strings.NewReplacer(append([]string{"$this->customer_id$", "1"}, pairs...)...).Replace(string(b))
	var v struct{ Operation string }
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatal(err)
	}
	return &passerelle.Message{ID: name, Op: v.Operation, Key: "1", Number: "R-000001", Body: json.RawMessage(body)}
}

func entryMessage(t *testing.T, html string) *passerelle.Message {
	m := toRequester(t, "update-public-log", "$this->head_html(public_log)$", html)
	m.Rich = []string{"fields.public_log"}
	return m
}

func fileMessage(t *testing.T, d *recorder, name, content string) *passerelle.Message {
	t.Helper()
	f, err := d.Put(t.Context(), strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	f.Name = name
	m := toRequester(t, "add-attachment", "$this->filename$", name, "$this->mimetype$", "text/plain")
	m.Files = []passerelle.File{f}
	return m
}

func names(t *testing.T, it *ITop, kinds ...passerelle.Kind) []string {
	t.Helper()
	s, err := it.Read(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range s.Events {
		if slices.Contains(kinds, e.Kind) {
			out = append(out, e.Names...)
		}
	}
	return out
}

func deliver(t *testing.T, it *ITop, m *passerelle.Message, d *recorder) *passerelle.Receipt {
	t.Helper()
	r, err := it.Deliver(t.Context(), m, d)
	if err != nil {
		t.Fatalf("%s: %v", m.ID, err)
	}
	return r
}

func TestEveryMessageOfTheContract(t *testing.T) {
	_, it, d := academy(t)
	state := func(want string) {
		t.Helper()
		if f, err := it.ticket(t.Context(), "1", "status"); err != nil || f.Get("status").String() != want {
			t.Errorf("status %s, want %s (%v)", f, want, err)
		}
	}
	deliver(t, it, toRequester(t, "update-reference", "$this->ref$", "GSN1-1", "$this->id$", "10042"), d)
	public := deliver(t, it, entryMessage(t, "<p>a &amp; b</p>"), d)
	private := deliver(t, it, toRequester(t, "update-private-log", "$this->head_html(private_log)$", "<p>c</p>"), d)
	file := deliver(t, it, fileMessage(t, d, "é.txt", "hello"), d)
	if got := names(t, it, passerelle.PublicLog); !slices.Equal(got[len(got)-1:], public.Names) {
		t.Errorf("public: %v, %v", got, public.Names)
	}
	if got := names(t, it, passerelle.PrivateLog); !slices.Equal(got, private.Names) {
		t.Errorf("private: %v, %v", got, private.Names)
	}
	if got := names(t, it, passerelle.Attach); !slices.Equal(got, file.Names) {
		t.Errorf("file: %v, %v", got, file.Names)
	}
	pending := toRequester(t, "pending", "$this->pending_finish_date$", "2026-12-02 10:00:00")
	deliver(t, it, pending, d)
	state("cex_pending")
	pending.Goals = []string{"cex_pending"}
	if r := deliver(t, it, pending, d); r.Note == "" {
		t.Error("a status that is there already is done")
	}
	deliver(t, it, toRequester(t, "end-pending"), d)
	state("cex")
	deliver(t, it, toRequester(t, "resolve", "$this->value(resolutioncode_id)$", "39", "$this->html(solution)$", "<p>ok</p>"), d)
	state("resolved")
}

func TestTheSameTextTwiceHasTwoNames(t *testing.T) {
	_, it, d := academy(t)
	var got []string
	for range 3 {
		got = append(got, deliver(t, it, entryMessage(t, "<p>Bonjour</p>"), d).Names...)
	}
	for k, name := range got {
		if !strings.HasSuffix(name, fmt.Sprint("#", k+1)) {
			t.Errorf("%v", got)
		}
	}
	if read := names(t, it, passerelle.PublicLog); !slices.Equal(read, got) {
		t.Errorf("read %v, written %v", read, got)
	}
}

// After a lost answer the tool is asked; it finds exactly what took effect.
func TestProbeAfterALostAnswer(t *testing.T) {
	for _, kind := range []trouble.Kind{trouble.DropAfter, trouble.Truncate, trouble.DropBefore} {
		sim, it, d := academy(t)
		for _, m := range []*passerelle.Message{entryMessage(t, "<p>perdu</p>"), fileMessage(t, d, "p.txt", "perdu"), toRequester(t, "pending", "$this->pending_finish_date$", "2026-12-02 10:00:00")} {
			if m.Op == "core/apply_stimulus" {
				m.Goals = []string{"cex_pending"}
			}
			if _, err := it.Probe(t.Context(), m, d); !errors.Is(err, passerelle.ErrAbsent) {
				t.Errorf("%s before: %v", m.ID, err)
			}
			_ = sim.Faults().Add(trouble.Rule{Match: m.Op, Kind: kind, Times: 1})
			if _, err := it.Deliver(t.Context(), m, d); passerelle.ClassOf(err) != passerelle.Unsure {
				t.Errorf("%s %s: %v", kind, m.ID, err)
			}
			r, err := it.Probe(t.Context(), m, d)
			if kind == trouble.DropBefore {
				if !errors.Is(err, passerelle.ErrAbsent) {
					t.Errorf("%s %s: %v", kind, m.ID, err)
				}
			} else if err != nil || len(r.Either) != 1 && m.Goals == nil {
				t.Errorf("%s %s: %+v, %v", kind, m.ID, r, err)
			}
		}
	}
}

// A person's entry is never taken for ours, not even when ours is lost.
func TestAnEntryOfSomebodyElseIsNotOurs(t *testing.T) {
	list := func(texts ...string) []entry {
		var items []string
		for _, s := range texts {
			items = append(items, fmt.Sprintf(`{"message_html":%q}`, s))
		}
		return logEntries(t, `{"entries":[`+strings.Join(items, ",")+`]}`)
	}
	before := list("<p>a</p>")
	for _, c := range []struct {
		after []entry
		want  int
	}{{list("<p>a</p>", "<p>theirs</p>"), -1}, {list("<p>a</p>"), -1}, {list("<p>a</p>", "<p>ours!</p>", "<p>theirs</p>"), 1}, {list("<p>a</p>", "<p>theirs</p>", "<p>ours !</p>"), 2}} {
		want := ""
		if c.want >= 0 {
			want = c.after[c.want].name
		}
		if got := ours(newOf(before, c.after), "<p>ours!</p>").name; got != want {
			t.Errorf("%v: got %q, want %q", c.after, got, want)
		}
	}
}

// A redirect, a refusal, a proxy's page: every HTTP status has its class.
func TestEveryStatusHasItsClass(t *testing.T) {
	for code := 200; code < 600; code++ {
		for _, write := range []bool{false, true} {
			err := httpError(&http.Response{StatusCode: code, Header: http.Header{"Retry-After": {"7"}}}, write)
			want := passerelle.Stuck
			switch {
			case code == 200:
				if err != nil {
					t.Errorf("200: %v", err)
				}
				continue
			case code == 401, code == 403:
				want = passerelle.Denied
			case slices.Contains([]int{404, 408, 425, 429, 503}, code), code >= 300 && code < 400:
				want = passerelle.Down
			case (code < 300 || code >= 500) && write:
				want = passerelle.Unsure
			case code < 300, code >= 500:
				want = passerelle.Down
			}
			var e *passerelle.Error
			if !errors.As(err, &e) || e.Class != want || e.After != 7*time.Second || e.Perhaps != (write && code >= 500) {
				t.Errorf("%d, write %v: %v, want %s", code, write, err, want)
			}
		}
	}
}

// What an iTop, a proxy or the network answers, and its class; our secrets are
// in no error, even where they are echoed.
func TestAnswersHaveTheirClassAndKeepSecrets(t *testing.T) {
	var status int
	var body string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	defer srv.Close()
	it, _ := New(Config{Contract: "c", Side: passerelle.Requester, BaseURL: srv.URL, User: "u", Password: canary, Timeout: 5 * time.Second})
	m := toRequester(t, "end-pending")
	for _, c := range []struct {
		status int
		body   string
		want   passerelle.Class
	}{
		{200, "<html>" + canary, passerelle.Unsure}, {200, `{"code":1,"message":"` + canary + `"}`, passerelle.Denied}, {200, `{"code":100,"message":"c4n4ry+pass%26word"}`, passerelle.Stuck},
		{200, `{"code":0,"objects":{"a":{"code":100,"message":"` + canary + `"}}}`, passerelle.Stuck}, {200, `{"a":1}`, passerelle.Unsure}, {200, "", passerelle.Unsure},
		{200, strings.Repeat("[", 1_000_000), passerelle.Unsure}, {302, canary, passerelle.Down}, {401, canary, passerelle.Denied}, {413, canary, passerelle.Stuck}, {500, canary, passerelle.Unsure}, {503, canary, passerelle.Down},
	} {
		status, body = c.status, c.body
		_, err := it.Deliver(t.Context(), m, newRecorder())
		if passerelle.ClassOf(err) != c.want {
			t.Errorf("%d %.40s: %s %v, want %s", c.status, c.body, passerelle.ClassOf(err), err, c.want)
		}
		if s := fmt.Sprintf("%v %+v", err, err); strings.Contains(s, "c4n4ry") || len(s) > 2000 {
			t.Errorf("a secret: %s", s)
		}
	}
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	l.Close()
	if _, err := client(t, "http://"+l.Addr().String()).Deliver(t.Context(), m, newRecorder()); passerelle.ClassOf(err) != passerelle.Down {
		t.Errorf("refused: %v", err)
	}
	tls := httptest.NewTLSServer(http.NotFoundHandler()) // nobody vouches for it
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer tls.Close()
	if _, err := client(t, tls.URL).Deliver(t.Context(), m, newRecorder()); passerelle.ClassOf(err) != passerelle.Down {
		t.Errorf("no trust: %v", err)
	}
}

func TestATicketThatIsGone(t *testing.T) {
	_, it, d := academy(t)
	m := entryMessage(t, "<p>x</p>")
	m.Key, m.Number = "999", "R-000999"
	if _, err := it.Deliver(t.Context(), m, d); passerelle.ClassOf(err) != passerelle.Stuck || !errors.Is(err, errGone) || !strings.Contains(err.Error(), "R-000999") {
		t.Errorf("%v", err)
	}
	if s, err := it.Read(t.Context(), "999"); err != nil || !s.Gone {
		t.Errorf("%+v %v", s, err)
	}
}

// The upload says its size and is not held in memory.
func TestUploadHasALength(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 24<<10 - 1, 24 << 10, 24<<10 + 1, 100_000} {
		raw := strings.Repeat("x", n)
		body, _, size, err := (&upload{strings.NewReader(raw), int64(n)}).body(nil, []byte(`{"data":"`+passerelle.DataToken+`"}`))
		b, readErr := io.ReadAll(body)
		if err != nil || readErr != nil || int64(len(b)) != size || !strings.Contains(string(b), `"`+base64.StdEncoding.EncodeToString([]byte(raw))+`"`) {
			t.Errorf("%d bytes: %d of %d, %v", n, len(b), size, err)
		}
	}
}

func TestFetchBringsTheBytes(t *testing.T) {
	_, it, d := academy(t)
	m := fileMessage(t, d, "é.txt", strings.Repeat("hello", 10_000))
	deliver(t, it, m, d)
	s, err := it.Read(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	e := s.Events[len(s.Events)-1]
	if err := it.Fetch(t.Context(), e, d); err != nil || e.Files[0].Sum != m.Files[0].Sum || e.Files[0].Name != "é.txt" || e.Alias == "" {
		t.Errorf("%+v %v", e, err)
	}
}

// logEntries reads a journal as iTop shows it.
func logEntries(t *testing.T, log string) []entry {
	t.Helper()
	return entriesOf("1", "public_log", gjson.Parse(log))
}

// In October iTop's clock goes back an hour: the order within a journal stays.
func TestJournalOrderIsNotByDate(t *testing.T) {
	it := client(t, "http://itop.example")
	ticket := gjson.Parse(`{"public_log":{"entries":[{"date":"2026-10-25 02:59:51","message_html":"1"},{"date":"2026-10-25 02:00:00","message_html":"2"}]},
		"private_log":{"entries":[{"date":"2026-10-25 02:30:00","message_html":"p"}]}}`)
	var got string
	for _, e := range byDate(it.logEvents("1", "private_log", passerelle.PrivateLog, ticket), it.logEvents("1", "public_log", passerelle.PublicLog, ticket)) {
		got += e.Fields["public_log"] + e.Fields["private_log"]
	}
	if got != "p12" {
		t.Errorf("order %s", got)
	}
}

// What a webhook tells and what is read later have one name.
func TestPushAndReadGiveOneName(t *testing.T) {
	sim, it, _ := academy(t)
	f := newFace(t)
	sim.SetTriggers([]itopsim.Trigger{{Name: "log", On: "update", Class: "UserRequest", Attcodes: []string{"public_log"}, Context: []string{"GUI:Console"},
		Action: itopsim.Action{URL: f.url, Headers: []string{"Content-type: application/json", "Auth-Token: " + faceToken},
			Payload: `{"operation":"core/update","class":"UserRequest","comment":"c","fields":{"customer_id":"$this->id$","public_log":"$this->head_html(public_log)$"}}`}}})
	var pushed []string
	for _, text := range []string{"<p>a &amp; b</p>", "x<y et z", "<ul><li>1</li><li>\u00a02</li></ul>", `"quotes" \ 😀`, "<p>a &amp; b</p>x", "e\u0301"} {
		b, _ := json.Marshal(text)
		person(t, strings.TrimSuffix(it.cfg.BaseURL, "/"), `{"operation":"core/update","comment":"c","class":"UserRequest","key":1,"fields":{"public_log":`+string(b)+`}}`)
		events := f.desk.events()
		if len(events) == 0 {
			t.Fatalf("%s: nothing was pushed: %+v", text, sim.Sent())
		}
		pushed = append(pushed, events[0].Names...)
	}
	if read := names(t, it, passerelle.PublicLog); !slices.Equal(read, pushed) {
		t.Errorf("read %v, pushed %v", read, pushed)
	}
}

// Somebody attaches another file at the same moment: ours is told by its bytes.
func TestTwoFilesAtOnce(t *testing.T) {
	sim, _, d := academy(t)
	m := fileMessage(t, d, "a.txt", "ours.")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength <= 0 {
			t.Error("a request without a length")
		}
		if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart") {
			other := httptest.NewServer(sim)
			person(t, other.URL, `{"operation":"syn/addattachment","comment":"c","class":"UserRequest","key":1,"attachments":[{"data":"dGhleXI=","filename":"a.txt","mimetype":"text/plain"}]}`)
			other.Close()
		}
		sim.ServeHTTP(w, r)
	}))
	defer srv.Close()
	it := client(t, srv.URL)
	r := deliver(t, it, m, d)
	ids := names(t, it, passerelle.Attach)
	if len(ids) != 2 || !slices.Equal(r.Names, ids[1:]) {
		t.Errorf("ours is %v of %v", r.Names, ids)
	}
	if p, err := it.Probe(t.Context(), m, d); err != nil || !slices.Equal(p.Either, ids[1:]) {
		t.Errorf("probe: %+v %v", p, err)
	}
}
