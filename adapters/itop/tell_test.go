package itop

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/adapters/itop/itopsim"
)

// nastyTitles are what people write, and what a template language, JSON, OQL or
// a form could take for its own.
var nastyTitles = []string{
	"plain", `"quotes" and 'quotes' « guillemets »`, `a \ backslash \n \u0041 \\`, `","operation":"core/create","x":"`, `{"a":1}`, "[1,2]", "null", "12",
	"$this->ref$ $this->title$ $this->head_html(public_log)$", "%24this->ref%24 $this-&gt;ref$ $APP_URL$ $current_contact->friendlyname$",
	"<b>bold</b> & <script>alert(1)</script> x<y &amp; &nbsp;", "emoji 😀 \U0001F469\u200d\U0001F4BB e\u0301 \u202e\ufeff\u2028", "tab\t line\nend\r\n \u0001\u0008\u001f\u007f",
	"SELECT Team WHERE name = 'x'", "100% +1 a=b&c=d", strings.Repeat("é", 255), " blanks around ",
}

// telling is an iTop whose pushes come to a face, and which is read by the same
// adapter.
type telling struct {
	*face
	test *testing.T
	sim  *itopsim.Sim
	key  string
}

// newTelling opens a demonstration's iTop with one ticket that has something in
// every field.
func newTelling(t *testing.T, fixture string, side passerelle.Side, extra string) *telling {
	t.Helper()
	file, err := os.Open(fixture)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f, err := itopsim.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	f.Accounts = []itopsim.Account{
		{Login: "gateway", Password: "pw", Profiles: []string{itopsim.ProfileREST, itopsim.ProfileAgent}, Name: "Compte Passerelle"},
		{Login: "agent", Password: "demo-itop-agent", Profiles: []string{itopsim.ProfileAgent}, Name: "Agent DRANÉ", ContactID: 102}}
	sim, err := itopsim.New(f)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(sim)
	t.Cleanup(func() { srv.Close(); sim.Close() })
	w := &telling{test: t, sim: sim, face: newFace(t, func(c *Config) { c.Side, c.BaseURL, c.User, c.Password = side, srv.URL, "gateway", "pw" })}
	ticket := `{"operation":"core/create","comment":"c","class":"UserRequest","fields":{"title":"t","description":"<p>l'été &amp; &lt;b&gt;</p><ul><li>1</li></ul>",` + extra + `
		"public_log":"<p>public \"q\" &amp; 😀</p>","private_log":"<p>private $this-&gt;ref$</p>","solution":"<p>s</p>","pending_reason":"a < b & \"c\"\nd","user_comment":"merci \\ $this->ref$"}}`
	person(t, srv.URL, ticket)
	for _, write := range sim.Writes() {
		w.key = fmt.Sprint(write.Key)
	}
	return w
}

// push sets a title in the console and gives what a webhook with this payload
// told of it.
func (w *telling) push(payload, title string) []*passerelle.Event {
	w.t.Helper()
	w.sim.SetTriggers([]itopsim.Trigger{{Name: "n", On: "update", Class: "UserRequest", Attcodes: []string{"title"}, Context: []string{itopsim.ContextConsole},
		Action: itopsim.Action{URL: w.url, Headers: []string{"Content-type: application/json", "Auth-Token: " + faceToken}, Payload: payload}}})
	person(w.test, w.itop.cfg.BaseURL, `{"operation":"core/update","comment":"c","class":"UserRequest","key":`+w.key+`,"fields":{"title":"before"}}`)
	w.desk.events()
	person(w.test, w.itop.cfg.BaseURL, `{"operation":"core/update","comment":"c","class":"UserRequest","key":`+w.key+`,"fields":{"title":`+quoteJSON(title)+`}}`)
	pushed := w.desk.events()
	if len(pushed) == 0 {
		w.t.Fatalf("%s: nothing was pushed: %+v", title, w.sim.Sent()[len(w.sim.Sent())-1])
	}
	return pushed
}

// lasting is an event without what only a push knows: when, who, and a
// value's label.
func lasting(e *passerelle.Event) *passerelle.Event {
	c := *e
	c.Fields = maps.Clone(e.Fields)
	for _, name := range []string{"priority_id", "author"} {
		delete(c.Fields, name)
	}
	c.At = time.Time{}
	return &c
}

// What is composed by reading is what was pushed, for every payload of every
// contract and whatever people write.
func TestTellIsWhatIsPushed(t *testing.T) {
	const sumit = `"org_id":10,"caller_id":101,"beneficiary_id":101,"establishment_id":301,"customer_app_id":4,"servicesubcategory_id":502,"urgency_id":2,"impact_id":2,
		"reopen_reason":"<p>non \"résolu\"</p>","provider_id":"10042","provider_ref":"GSN1-1",`
	for _, c := range []struct {
		contract, from, fixture string
		side                    passerelle.Side
		extra                   string
		payloads                int
	}{
		{"orleans-tours-gar", "requester", "itop", passerelle.Requester, sumit, 7},
		{"insa-groupe", "requester", "school", passerelle.Requester, `"org_id":21,"caller_id":101,"servicesubcategory_id":501,`, 9},
		{"insa-groupe", "partner", "group", passerelle.Partner, `"org_id":30,"caller_id":11,"servicesubcategory_id":82,`, 9},
	} {
		root := "../../contracts/" + c.contract + "/v1/"
		w := newTelling(t, root+"demo/"+c.fixture+".json", c.side, c.extra)
		files, err := filepath.Glob(root + "from-" + c.from + "/*.json")
		if err != nil {
			t.Fatal(err)
		}
		told := 0
		for _, file := range files {
			payload, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if gjson.GetBytes(payload, "hint").Bool() {
				if _, err := w.itop.Tell(t.Context(), w.key, payload); passerelle.ClassOf(err) != passerelle.Stuck || !strings.Contains(err.Error(), "it is a hint") {
					t.Errorf("%s: %v", file, err)
				}
				continue
			}
			told++
			for _, title := range nastyTitles {
				pushed := w.push(string(payload), title)
				composed, err := w.itop.Tell(t.Context(), w.key, payload)
				if err != nil {
					t.Fatalf("%s, %q: %v", file, title, err)
				}
				w.same(file+" "+title, pushed, composed)
				if !strings.HasSuffix(file, "/create.json") {
					break // no other payload has the title
				}
				if got := composed[0].Fields["title"]; got != title {
					t.Errorf("%s: the title %q is told as %q", file, title, got)
				}
			}
		}
		if told != c.payloads {
			t.Errorf("%s from %s: %d payloads", c.contract, c.from, told)
		}
	}
}

func (w *telling) same(what string, pushed, told []*passerelle.Event) {
	w.t.Helper()
	if len(pushed) != len(told) {
		w.t.Fatalf("%s: %d events were pushed, %d told", what, len(pushed), len(told))
	}
	for i := range pushed {
		a, b := lasting(pushed[i]), lasting(told[i])
		if !reflect.DeepEqual(a, b) {
			w.t.Errorf("%s:\npushed %+v\ntold   %+v", what, a, b)
		}
	}
}

// Of an enumeration REST tells the value, not its label; who acted it does not
// tell at all.
func TestTellWhatNoReadingTells(t *testing.T) {
	w := newTelling(t, signedContract+"/demo/itop.json", passerelle.Requester,
		`"org_id":10,"caller_id":101,"beneficiary_id":101,"establishment_id":301,"customer_app_id":4,"servicesubcategory_id":502,"urgency_id":2,"impact_id":2,`)
	payload := `{"operation":"core/update","class":"UserRequest","comment":"c","fields":{"customer_id":"$this->id$","priority_id":"$this->label(priority)$","author":"$current_contact->friendlyname$",
		"by":"[$current_user->login$$trigger->description$$action->name$]","public_log":"$this->head_html(public_log)$","plain":"$this->head(public_log)$","raw":"$this->raw(priority)$",
		"both":"$this->title$ $this->ref$ %24this-&gt;ref%24","team":"$this->team_name$","none":"$this->reopen_reason$","list":"$this->contacts_list$","other":"$nope->x$ $this$","number":12345678901234567890,"yes":true}}`
	pushed := w.push(payload, "see $this->ref$")[0]
	if pushed.Fields["author"] == "" {
		t.Error("the push names nobody")
	}
	events, err := w.itop.Tell(t.Context(), w.key, []byte(payload))
	if err != nil || len(events) != 2 {
		t.Fatalf("%+v, %v", events, err)
	}
	entry, change := events[0], events[1]
	if entry.Kind != passerelle.PublicLog || len(entry.Fields) != 1 || !slices.Equal(entry.Names, pushed.Names) {
		t.Errorf("%+v", entry)
	}
	for name, want := range map[string]string{"priority_id": "2", "raw": "2", "author": "", "by": "[]", "plain": "public \"q\" & 😀", "both": "see $this->ref$ R-000001 R-000001",
		"team": "", "none": "", "list": "", "other": "$nope->x$ $this$", "number": "12345678901234567890", "yes": "true", "customer_id": w.key} {
		if got := change.Fields[name]; got != want {
			t.Errorf("%s is told as %q, want %q", name, got, want)
		}
	}
}

// html(…) of an attribute that holds HTML and of another, which REST does not
// tell apart: what cleaning would have altered is plain text.
func TestTellHTML(t *testing.T) {
	const open, end = `<div class="HTML ibo-is-html-content" >`, `</div>`
	for value, want := range map[string]string{
		"": "", "plain": "plain", "<p>a</p>": open + "<p>a</p>" + end, `<p style="x">a &amp; b<br/>c&nbsp;&#39;&#x27;</p>`: open + `<p style="x">a &amp; b<br/>c&nbsp;&#39;&#x27;</p>` + end,
		"a < b": "a &lt; b", "AT&T": "AT&amp;T", "a &lt; b": "a &lt; b", "<tag> \"q\" 'r'": "&lt;tag&gt; &quot;q&quot; &#039;r&#039;", "<p>a & b</p>": "&lt;p&gt;a &amp; b&lt;/p&gt;",
		"<script>alert(1)</script>": "&lt;script&gt;alert(1)&lt;/script&gt;", "<p": "&lt;p", "<!DOCTYPE html PUBLIC \"-//W3C\">\n<?xml encoding=\"UTF-8\"?>\n": open + "<!DOCTYPE html PUBLIC \"-//W3C\">\n<?xml encoding=\"UTF-8\"?>\n" + end,
		"<IMG src=\"a\">": open + "<IMG src=\"a\">" + end, "<h1>a</h1><h7>": "&lt;h1&gt;a&lt;/h1&gt;&lt;h7&gt;",
	} {
		if got := shownHTML(value); got != want {
			t.Errorf("%q is shown as %q, want %q", value, got, want)
		}
	}
	w := newTelling(t, "../../contracts/insa-groupe/v1/demo/school.json", passerelle.Requester, `"org_id":21,"caller_id":101,"servicesubcategory_id":501,`)
	payload := []byte(`{"operation":"core/update","class":"UserRequest","comment":"c","fields":{"customer_id":"$this->id$","t":"$this->html(title)$","d":"$this->html(description)$","p":"$this->html(pending_reason)$","s":"$this->html(solution)$"}}`)
	for _, title := range []string{"plain", "a & b", "x<y et \"z\" & 'w'", "<tag> &", "C&A"} {
		pushed := w.push(string(payload), title)
		told, err := w.itop.Tell(t.Context(), w.key, payload)
		if err != nil {
			t.Fatal(err)
		}
		w.same(title, pushed, told)
	}
}

// A payload that cannot be told is an error that says what would work, before
// anything is asked where that can be known.
func TestTellRefuses(t *testing.T) {
	s := newSubcontractor(t)
	key := s.ticket().Key
	update := func(text string) string {
		return `{"operation":"core/update","class":"UserRequest","comment":"c","fields":{"provider_id":"$this->id$","x":"` + text + `"}}`
	}
	for _, c := range []struct {
		payload string
		asked   int
		says    string
	}{
		{`{"operation"`, 0, "it is no JSON"}, {``, 0, "it is no JSON"}, {`{} {}`, 0, "it is no JSON"}, {update("$this->caller_id->org_id->name$"), 0, "an external field instead of a path"},
		{update("$this->url()$"), 0, "$this->url()$ cannot be read"}, {update("$this->text(title)$"), 0, "$this->text(title)$ cannot be read"}, {update("$this->title,ref$"), 0, "cannot be read"},
		{update("%24this-&gt;hyperlink()%24"), 0, "cannot be read"}, {update("$this->nope$"), 1, "correct the payload"}, {update("$this->public_log$"), 1, "write $this->head_html(public_log)$"},
		{update("$this->html(public_log)$"), 1, "is a journal or a file"}, {update("$this->head_html(title)$"), 1, "title is no journal"}, {update("$this->head(title)$"), 1, "title is no journal"},
		{`{"operation":"core/get","class":"UserRequest","key":"$this->id$"}`, 1, `operation "core/get" tells nothing`}, {`{"operation":"core/update","class":"UserRequest"}`, 1, "Missing parameter 'comment'"},
		{`{"operation":"core/update","class":"Person","comment":"c","fields":{}}`, 1, "not a valid class"}, {`{"operation":"core/delete"}`, 1, "tells nothing"}, {`"$this->id$"`, 1, "tells nothing"},
		{`{"operation":"syn/addattachment","class":"UserRequest","comment":"c","key":"1","attachments":[{"data":"file:0","filename":"$this->title$"}]}`, 1, "data must be base64"},
		{`null`, 1, "not a valid JSON structure"}, {`{"hint":true,"operation":"core/update","provider_id":"$this->item_id$"}`, 0, "it is a hint"},
	} {
		before := s.asking("")
		events, err := s.itop.Tell(t.Context(), key, []byte(c.payload))
		if passerelle.ClassOf(err) != passerelle.Stuck || !strings.Contains(fmt.Sprint(err), c.says) || events != nil {
			t.Errorf("%s: %+v, %v, want %q", c.payload, events, err, c.says)
		}
		var e *passerelle.Error
		if !errors.As(err, &e) || e.Hint == "" {
			t.Errorf("%s: no hint: %v", c.payload, err)
		}
		if n := s.asking("") - before; n != c.asked {
			t.Errorf("%s: %d requests", c.payload, n)
		}
	}
	if _, err := s.itop.Tell(t.Context(), "999", []byte(update("y"))); !errors.Is(err, passerelle.ErrNotFound) || !errors.Is(err, errGone) {
		t.Errorf("a ticket that is gone: %v", err)
	}
	if _, err := s.itop.Tell(t.Context(), "1 OR 1", []byte(update("y"))); passerelle.ClassOf(err) != passerelle.Stuck {
		t.Errorf("no key: %v", err)
	}
	small := s.client(func(c *Config) { c.LimitBytes = 200 })
	if _, err := small.Tell(t.Context(), key, []byte(update(strings.Repeat("x", 200)))); passerelle.ClassOf(err) != passerelle.Stuck || !strings.Contains(fmt.Sprint(err), "R24") || !strings.Contains(fmt.Sprint(err), "shorten") {
		t.Errorf("too long: %v", err)
	}
}

// An answer of another shape gives no text that nobody wrote.
func TestTellTakesNothingMalformed(t *testing.T) {
	var fields string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"code":0,"message":"","objects":{"a":{"code":0,"key":"1","fields":`+fields+`}}}`)
	}))
	defer srv.Close()
	it := client(t, srv.URL)
	payload := []byte(`{"operation":"core/update","class":"UserRequest","comment":"c","fields":{"customer_id":"$this->id$","title":"$this->title$","public_log":"$this->head_html(public_log)$"}}`)
	for answer, want := range map[string]string{
		`{"title":"t","public_log":{"entries":[{"message_html":"<p>1</p>"},{"message_html":"<p>2</p>"}]}}`: `{"customer_id":"1","title":"t"} <p>2</p>`,
		`{"title":null,"public_log":{"entries":[]}}`:                                                       `{"customer_id":"1","title":""} `,
		`{"title":5,"public_log":{"entries":[{}]}}`:                                                        `{"customer_id":"1","title":"5"} `,
		`{"title":"t","public_log":"x"}`:                                                                   "error", `{"title":"t"}`: "error", `{"title":"t","public_log":{"entries":{}}}`: "error", `{"title":{"a":1},"public_log":{"entries":[]}}`: "error", `[]`: "error",
	} {
		fields = answer
		events, err := it.Tell(t.Context(), "1", payload)
		got := "error"
		if err == nil {
			change := events[len(events)-1]
			b, _ := json.Marshal(change.Fields)
			got = string(b) + " "
			if len(events) > 1 {
				got += events[0].Fields["public_log"]
			}
		}
		if got != want {
			t.Errorf("%s: %s (%v), want %s", answer, got, err, want)
		}
	}
}
