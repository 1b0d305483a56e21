package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"passerelle"
	"passerelle/internal/richtext"
)

// load loads a contract that must have no mistakes.
func load(t testing.TB, fsys fs.FS) *Contract {
	t.Helper()
	c, err := Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pair is a ticket in a state, with numbers that cannot be mistaken for each
// other.
func pair(s passerelle.State) *passerelle.Link {
	l := &passerelle.Link{ID: "7", Contract: "orleans-tours-gar", Terms: "v1", State: s, Own: passerelle.Ref{Key: "7", Number: "FRS-000007"},
		Requester: passerelle.Ref{Key: "1504", Number: "R-001515"}, Partner: passerelle.Ref{Key: "10042", Number: "GSN1-4711"}}
	if s == passerelle.New {
		l.Partner = passerelle.Ref{}
	}
	return l
}

// shown is one case of testdata/render: what a tool says, what the contract
// decides, and every message that follows.
type shown struct {
	Says   string            `json:"says"`
	State  passerelle.State  `json:"state"` // of the pair before
	From   passerelle.Side   `json:"from"`
	Kind   passerelle.Kind   `json:"kind,omitempty"`
	Signal string            `json:"signal,omitempty"`
	Fields map[string]string `json:"fields,omitempty"`
	Files  []passerelle.File `json:"files,omitempty"`

	Means passerelle.Kind  `json:"means"`
	Next  passerelle.State `json:"next"`
	Rule  string           `json:"rule"`
	Hears []heard          `json:"hears"`
}

type heard struct {
	Template string            `json:"template"`
	ID       string            `json:"id"`
	Key      string            `json:"key,omitempty"`
	Number   string            `json:"number,omitempty"`
	Goals    []string          `json:"goals,omitempty"`
	Public   bool              `json:"public"`
	Rich     []string          `json:"rich,omitempty"`
	Files    []passerelle.File `json:"files,omitempty"`
	Body     json.RawMessage   `json:"body"`
}

// TestRender plays testdata/render through Interpret, Admit and Render, and
// holds that every template of the reference contract is shown there.
func TestRender(t *testing.T) {
	c := load(t, folder(t))
	unseen := map[*template]bool{}
	for _, tpl := range c.templates {
		unseen[tpl] = true
	}
	files, err := filepath.Glob("testdata/render/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata/render: no cases (%v)", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			var s shown
			if err := json.Unmarshal(b, &s); err != nil {
				t.Fatal(err)
			}
			s.play(t, c, unseen)
			got := pretty(t, s)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			} else if !bytes.Equal(got, b) {
				t.Errorf("%s: got\n%s\nwant\n%s", s.Says, got, b)
			}
		})
	}
	for tpl := range unseen {
		t.Errorf("%s: no case shows it", tpl.file)
	}
}

func (s *shown) play(t *testing.T, c *Contract, unseen map[*template]bool) {
	t.Helper()
	e := &passerelle.Event{Contract: c.Name, From: s.From, Kind: s.Kind, Signal: s.Signal, Files: s.Files, Fields: map[string]string{}}
	for k, v := range s.Fields {
		e.Fields[k] = v
	}
	if err := c.Interpret(e); err != nil {
		t.Fatal(err)
	}
	l := pair(s.State)
	step, err := c.Admit(e, l)
	if err != nil {
		t.Fatal(err)
	}
	s.Means, s.Next, s.Rule, s.Hears = e.Kind, step.Next, step.Rule, []heard{}
	for _, send := range step.Sends {
		if send.Template == NotifyTemplate {
			continue // contracts/…/testdata/switch-notify-*.txtar
		}
		delete(unseen, c.template(send))
		ms, errs := c.Render(send, e, l, step.Next, "m")
		for i, m := range ms {
			if errs[i] != nil {
				t.Fatal(errs[i])
			}
			if m.To != send.To || m.Kind != e.Kind || m.Op != body(t, m)["operation"] {
				t.Errorf("%v: the message says to %s, kind %s, op %s", send, m.To, m.Kind, m.Op)
			}
			s.Hears = append(s.Hears, heard{string(send.To) + ":" + send.Template, m.ID, m.Key, m.Number, m.Goals, m.Public, m.Rich, m.Files, m.Body})
		}
	}
}

func pretty(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func body(t testing.TB, m *passerelle.Message) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(m.Body, &v); err != nil {
		t.Fatalf("the body is not JSON: %v\n%s", err, m.Body)
	}
	return v
}

// with is the reference contract with other files.
func with(t testing.TB, files ...string) fstest.MapFS {
	t.Helper()
	fsys := folder(t)
	for i := 0; i < len(files); i += 2 {
		fsys[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return fsys
}

// message renders one template text for the partner.
func message(t testing.TB, x string, e *passerelle.Event) *passerelle.Message {
	t.Helper()
	c := load(t, with(t, "to-partner/close.json", `{"operation": "core/update", "x": `+x+`}`))
	ms, errs := c.Render(Send{passerelle.Partner, "close"}, e, pair(passerelle.Resolved), passerelle.Closed, "m")
	if errs[0] != nil {
		t.Fatal(errs[0])
	}
	return ms[0]
}

func TestPlaceholders(t *testing.T) {
	fields := map[string]string{"title": `a < b & "c"`, "description": "<p>un</p><p>deux &amp; <b>trois</b></p>", "public_log": "<p>oui</p>", "urgency_id": "Critique",
		"org_id": "DSI", "reporting_date": "2026-07-14 08:00:00", "user_comment": "ligne 1\nligne 2", "service_id": "Import", "pending_finish_date": "demain"}
	for _, tt := range []struct{ says, template, want, rich string }{
		{"a field as it is", `"$this->title$"`, `a < b & "c"`, ""},
		{"the annex's arrow", `"$this-&gt;title$"`, `a < b & "c"`, ""},
		{"the annex's underscores", `"$this-&gt;user\\_comment$"`, "ligne 1\nligne 2", ""},
		{"in a verb too", `"$this->head\\_html(public\\_log)$"`, "<p>oui</p>", "x"},
		{"html of HTML", `"$this->html(description)$"`, fields["description"], "x"},
		{"html of a text is escaped", `"$this->html(title)$"`, richtext.Escape(fields["title"]), "x"},
		{"html of the broker's own", `"$this->html(ref)$"`, "<p>FRS-000007</p>", "x"},
		{"HTML without a verb is HTML", `"$this->description$"`, fields["description"], "x"},
		{"the newest entry", `"$this->head_html(public_log)$"`, "<p>oui</p>", "x"},
		{"the newest entry as text", `"$this->head(public_log)$"`, "oui", ""},
		{"text of HTML", `"$this->text(description)$"`, richtext.Text(fields["description"]), ""},
		{"text of a text", `"$this->text(title)$"`, `a < b & "c"`, ""},
		{"label is the contract's word", `"$this->label(urgency_id)$"`, "Critique", ""},
		{"value is the receiver's word (R8)", `"$this->value(urgency_id)$"`, "Haute", ""},
		{"value of any", `"$this->value(org_id)$"`, "10", ""},
		{"what an external key points at", `"$this->service_name$"`, "Import", ""},
		{"summer time", `"$this->reporting_date$"`, "2026-07-14T08:00:00.000+0200", ""},
		{"what is no date stays", `"$this->pending_finish_date$"`, "demain", ""},
		{"words around it", `"[$this->customer_ref$] $this->title$"`, `[R-001515] a < b & "c"`, ""},
		{"a text beside HTML is escaped", `"<b>$this->title$</b>$this->html(description)$"`, "<b>a &lt; b &amp; &#34;c&#34;</b>" + fields["description"], "x"},
		{"two that are empty beside words", `"($this->origin$$this->solution$)"`, "()", "x"},
		{"$this is the broker's ticket towards the partner (R26)", `"$this->id$ $this->ref$ $this->customer_id$ $this->customer_ref$ $this->provider_id$ $this->provider_ref$"`, "7 FRS-000007 1504 R-001515 10042 GSN1-4711", ""},
		{"without a file its words are empty", `"$this->filename$-$this->mimetype$"`, "-", ""},
		{"an empty text stays", `""`, "", ""},
	} {
		t.Run(tt.says, func(t *testing.T) {
			m := message(t, tt.template, &passerelle.Event{Kind: passerelle.Close, From: passerelle.Requester, Fields: fields})
			if got := body(t, m)["x"]; got != tt.want {
				t.Errorf("%s gives %q, want %q", tt.template, got, tt.want)
			}
			if got := strings.Join(m.Rich, " "); got != tt.rich {
				t.Errorf("%s: HTML at %q, want %q", tt.template, got, tt.rich)
			}
		})
	}
}

// TestR18EmptyIsLeftOut: an empty value goes, with what only it filled.
func TestR18EmptyIsLeftOut(t *testing.T) {
	for _, tt := range []struct{ says, template, want string }{
		{"a member", `{"a": "$this->origin$", "b": 1}`, `{"b":1}`},
		{"two empty placeholders", `{"a": "$this->origin$$this->solution$", "b": true}`, `{"b":true}`},
		{"the object around it", `{"a": {"value": "$this->value(urgency_id)$"}, "b": null}`, `{"b":null}`},
		{"the list around it", `{"a": [["$this->origin$"]], "b": 1.50}`, `{"b":1.50}`},
		{"not its neighbours", `{"a": [{"n": "$this->origin$", "k": "x"}, "$this->origin$", "y"]}`, `{"a":[{"k":"x"},"y"]}`},
		{"the file's bytes without a file", `{"a": {"data": "$this->data$"}, "b": 1}`, `{"b":1}`},
		{"what the author left empty stays", `{"a": {}, "b": [], "c": ""}`, `{"a":{},"b":[],"c":""}`},
	} {
		c := load(t, with(t, "to-partner/close.json", `{"operation": "core/update", "x": `+tt.template+`}`))
		e := &passerelle.Event{Kind: passerelle.Close, From: passerelle.Requester}
		r := &rendering{c: c, t: c.templates[Send{passerelle.Partner, "close"}], e: e, l: pair(passerelle.Resolved)}
		var b bytes.Buffer
		if _, err := r.write(&b, r.t.root.member("x"), "x"); err != nil {
			t.Fatal(err)
		}
		if b.String() != tt.want {
			t.Errorf("%s: got %s, want %s", tt.says, b.String(), tt.want)
		}
	}
}

// awkward are texts that must arrive as they were written.
var awkward = []string{
	`$this->ref$`, `$this->html(description)$`, passerelle.DataToken, `"`, `\`, `\u0041`, `</script>`, "a\u2028b\u2029c", "📚 é e\u0301 \u200d", "tab\tline\r\n", "\x00\x1f\x7f",
	`{"operation":"core/delete"}`, `","key":"1`, `%s %!d(MISSING)`, `${x} {{.}}`, `SELECT ServiceSubcategory WHERE 1`,
}

// TestSubstitutedOnce: a value is never taken for a placeholder, nor for JSON.
func TestSubstitutedOnce(t *testing.T) {
	for _, text := range awkward {
		m := message(t, `"$this->title$"`, &passerelle.Event{Kind: passerelle.Close, From: passerelle.Requester, Fields: map[string]string{"title": text, "description": "<p>d</p>"}})
		if got := body(t, m); got["x"] != text || len(got) != 2 {
			t.Errorf("%q became %q in %s", text, got["x"], m.Body)
		}
		if bytes.Contains(m.Body, []byte(passerelle.DataToken)) {
			t.Errorf("%q: the token for a file's bytes stands in a message without a file", text)
		}
	}
	m := message(t, `"$this->title$"`, &passerelle.Event{Kind: passerelle.Close, From: passerelle.Requester, Fields: map[string]string{"title": "caf\xe9"}})
	if got := body(t, m)["x"]; got != "caf\ufffd" {
		t.Errorf("invalid UTF-8 became %q", got)
	}
}

// TestDataTokenStandsOnce: whatever a file's name is, the token marks the place
// of its bytes alone.
func TestDataTokenStandsOnce(t *testing.T) {
	c := load(t, with(t, "to-partner/add-attachment.json", `{"operation": "syn/addattachment", "attachments": [{"filename": "$this->filename$", "mimetype": "$this->mimetype$", "data": "$this->data$"}]}`))
	for _, name := range awkward {
		e := &passerelle.Event{Kind: passerelle.Attach, From: passerelle.Requester, Files: []passerelle.File{{Name: name, MIME: name}}}
		ms, errs := c.Render(Send{passerelle.Partner, "add-attachment"}, e, pair(passerelle.Open), passerelle.Open, "m")
		if errs[0] != nil {
			t.Fatal(errs[0])
		}
		if n := bytes.Count(ms[0].Body, []byte(`"`+passerelle.DataToken+`"`)); n != 1 || bytes.Count(ms[0].Body, []byte(passerelle.DataToken)) != 1 {
			t.Errorf("%q: the token stands %d times in %s", name, n, ms[0].Body)
		}
		if file := body(t, ms[0])["attachments"].([]any)[0].(map[string]any); file["filename"] != name || file["mimetype"] != name {
			t.Errorf("%q became %q", name, file["filename"])
		}
	}
}

// TestRichPaths: the paths find the HTML, whatever a contract calls its fields.
func TestRichPaths(t *testing.T) {
	m := message(t, `{"a.b": [{"c": "$this->origin$"}, {"d|e": "$this->html(description)$"}], "@f": {"ü #": "$this->head_html(public_log)$"}}`,
		&passerelle.Event{Kind: passerelle.Close, From: passerelle.Requester, Fields: map[string]string{"description": "<p>d</p>", "public_log": "<p>l</p>"}})
	want := `x.a\.b.0.d\|e x.\@f.ü \#`
	if got := strings.Join(m.Rich, " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestR7SeveralComponents: a look-up that finds several is repeated, and an
// empty sub-category ("0") is no sub-category.
func TestR7SeveralComponents(t *testing.T) {
	c := load(t, with(t, "catalogue.csv", "domain,family_group,service_family,service,service_subcategory,component\nA,B,C,D,E,deux\nA,B,C,D,E,un\nA,B,C,D,F,un\nA,B,C,D,F,deux\n"))
	names := map[string]string{"domain_id": "A", "familygroup_id": "B", "servicefamily_id": "C", "service_id": "D", "servicesubcategory_id": "0"}
	e := &passerelle.Event{Kind: passerelle.Create, From: passerelle.Requester, Fields: names}
	if err := c.Interpret(e); err != nil {
		t.Fatal(err)
	}
	ms, errs := c.Render(Send{passerelle.Partner, "create"}, e, pair(passerelle.New), passerelle.Open, "m")
	if errs[0] != nil {
		t.Fatal(errs[0])
	}
	got, _ := json.Marshal(body(t, ms[0])["fields"].(map[string]any)["components"])
	if string(got) != `[{"name":"deux"},{"name":"un"}]` {
		t.Errorf("components are %s", got)
	}
}

// TestR24Limit: a message of exactly the limit travels, one byte more does not.
func TestR24Limit(t *testing.T) {
	c := load(t, folder(t))
	send, l := Send{passerelle.Partner, "add-attachment"}, pair(passerelle.Open)
	render := func(size int64) ([]*passerelle.Message, []error) {
		e := &passerelle.Event{Kind: passerelle.Attach, From: passerelle.Requester, Files: []passerelle.File{{Name: "petit"}, {Name: "é", Size: size}}}
		return c.Render(send, e, l, passerelle.Open, "m")
	}
	ms, errs := render(3_000_000)
	if errs[1] != nil {
		t.Fatal(errs[1])
	}
	full := int64(len(bytes.Replace(ms[1].Body, []byte(passerelle.DataToken), bytes.Repeat([]byte("A"), 4_000_000), 1))) // the bytes on the wire
	for _, tt := range []struct {
		limit int64
		fits  bool
	}{{full + 1, true}, {full, true}, {full - 1, false}} {
		c.LimitBytes = tt.limit
		ms, errs := render(3_000_000)
		if len(ms) != 2 || ms[0] == nil || ms[0].ID != "m/1" || errs[0] != nil {
			t.Fatalf("limit %d: the small file does not travel: %v", tt.limit, errs[0])
		}
		var big *TooBig
		switch {
		case tt.fits && (errs[1] != nil || ms[1].ID != "m/2"):
			t.Errorf("limit %d, message %d: %v", tt.limit, full, errs[1])
		case !tt.fits && (ms[1] != nil || !errors.As(errs[1], &big)):
			t.Errorf("limit %d, message %d: want TooBig, got %v", tt.limit, full, errs[1])
		case !tt.fits && (big.Size != full || big.Limit != tt.limit || big.File.Name != "é"):
			t.Errorf("limit %d, message %d: TooBig says %+v", tt.limit, full, big)
		}
	}
	if want := "« é » would make a message of 4000"; !strings.Contains((&TooBig{File: passerelle.File{Name: "é"}, Size: 4000, Limit: 1}).Error(), want) {
		t.Errorf("TooBig does not say %q", want)
	}
}

// TestR24TextTooLong: a text over the limit waits for an operator.
func TestR24TextTooLong(t *testing.T) {
	c := load(t, folder(t))
	e := &passerelle.Event{Kind: passerelle.PublicLog, From: passerelle.Requester, Fields: map[string]string{"public_log": "<p>x</p>"}}
	send := Send{passerelle.Partner, "update-public-log"}
	ms, _ := c.Render(send, e, pair(passerelle.Open), passerelle.Open, "m")
	c.LimitBytes = int64(len(ms[0].Body))
	if _, errs := c.Render(send, e, pair(passerelle.Open), passerelle.Open, "m"); errs[0] != nil {
		t.Errorf("a message of exactly the limit: %v", errs[0])
	}
	c.LimitBytes--
	ms, errs := c.Render(send, e, pair(passerelle.Open), passerelle.Open, "m")
	if ms[0] != nil || passerelle.ClassOf(errs[0]) != passerelle.Stuck || !strings.Contains(errs[0].Error(), "R-001515") {
		t.Errorf("one byte over: %v, %v", ms[0], errs[0])
	}
}

// TestRenderErrors: what cannot be rendered is stuck, and says in which table.
func TestRenderErrors(t *testing.T) {
	c := load(t, folder(t))
	create := func(name, v string) *passerelle.Event {
		e := escalation(t)
		e.Fields[name] = v
		return e
	}
	for _, tt := range []struct {
		says string
		send Send
		e    *passerelle.Event
		want string
	}{
		{"no such template", Send{passerelle.Partner, "destroy"}, &passerelle.Event{}, "render: R-001515: contract orleans-tours-gar v1 has no template partner:destroy"},
		{"a value without a word", Send{passerelle.Partner, "create"}, create("urgency_id", "Nulle"),
			"render to-partner/create.json: R-001515: urgency_id: values.csv has no row for « Nulle » (it has « Critique », « Haute », « Moyenne », « Basse ») (correct the contract's tables and retry)"},
		{"a tuple without a component", Send{passerelle.Partner, "create"}, create("domain_id", "Restauration"), "« Restauration > Support GAR > Incident > Accès aux ressources > Accès ressource » is no entry of the catalogue [R7]"},
	} {
		ms, errs := c.Render(tt.send, tt.e, pair(passerelle.New), passerelle.Open, "m")
		if len(ms) != 1 || len(errs) != 1 || ms[0] != nil || passerelle.ClassOf(errs[0]) != passerelle.Stuck || !strings.Contains(errs[0].Error(), tt.want) {
			t.Errorf("%s: got %v, %v; want %s", tt.says, ms, errs, tt.want)
		}
	}
}

// TestFactsStayFew: of a create only what later templates name is kept, and
// they fall back on it.
func TestFactsStayFew(t *testing.T) {
	c := load(t, with(t, "to-partner/close.json", `{"operation": "core/update", "x": "$this->title$/$this->origin$"}`))
	facts := c.Facts(escalation(t))
	if len(facts) != 2 || facts["title"] == "" || facts["origin"] == "" {
		t.Errorf("kept %v, want title and origin", facts)
	}
	l := pair(passerelle.Resolved)
	l.Facts = facts
	ms, _ := c.Render(Send{passerelle.Partner, "close"}, &passerelle.Event{Kind: passerelle.Close, Fields: map[string]string{"origin": "portal"}}, l, passerelle.Closed, "m")
	if got := body(t, ms[0])["x"]; got != facts["title"]+"/portal" {
		t.Errorf("rendered %q", got)
	}
	if facts := load(t, folder(t)).Facts(escalation(t)); len(facts) != 0 {
		t.Errorf("the reference contract keeps %v", facts)
	}
}
