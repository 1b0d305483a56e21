package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"strings"
	"testing"

	"passerelle"
	"passerelle/mapping"
)

const reference = "../../contracts/orleans-tours-gar/v1"

// pair is a ticket whose numbers cannot be mistaken for each other.
func pair() *passerelle.Link {
	return &passerelle.Link{ID: "7", State: passerelle.Open, Own: passerelle.Ref{Key: "7", Number: "FRS-000007"},
		Requester: passerelle.Ref{Key: "1504", Number: "R-001515"}, Partner: passerelle.Ref{Key: "10042", Number: "GSN1-4711"}}
}

// told is what the requester says for each template. Its texts need care: HTML,
// quotes, a backslash, letters of four bytes, and a file's place in a title.
var told = map[string]passerelle.Event{
	"create": {Kind: passerelle.Create, Fields: map[string]string{"title": `« 📚 » "a" \ <b> & $this->data$`, "description": "<p>l'accès est <b>refusé</b> &amp; rien.</p>", "public_log": "<p>Depuis lundi.</p>",
		"org_id": "Académie d'Orléans-Tours", "customer_app_id": "SUMiT", "last_update_by": "customer", "establishment_id": "0750655E", "origin": "phone", "reporting_date": "2026-11-21 09:30:00",
		"impact_id": "Un service", "urgency_id": "2", "priority_id": "Haute", "domain_id": "Usage pédagogique du numérique", "familygroup_id": "Support GAR", "servicefamily_id": "Incident",
		"service_id": "Accès aux ressources", "servicesubcategory_id": "Accès ressource", "caller_id": "Jeanne Martin", "request_type": "incident", "customer_id": "1504", "customer_ref": "R-001515", "beneficiary_id": "Jeanne Martin"}},
	"add-attachment":           {Kind: passerelle.Attach, Files: []passerelle.File{{Name: `l'écran "2".png`, MIME: "image/png", Size: 3, Sum: "aa"}}},
	"close":                    {Kind: passerelle.Close, Fields: map[string]string{"user_comment": `Merci "beaucoup" \o/ <3`}},
	"end-pending":              {Kind: passerelle.Resume},
	"reopen":                   {Kind: passerelle.Reopen, Fields: map[string]string{"reopen_reason": "<p>Toujours <b>là</b>.</p>"}},
	"reopen-rejection-refused": {Kind: passerelle.Reopen},
	"update-private-log":       {Kind: passerelle.PrivateLog, Fields: map[string]string{"private_log": "<p>Vu &amp; revu.</p>"}},
	"update-public-log":        {Kind: passerelle.PublicLog, Fields: map[string]string{"public_log": "<p>C'est <b>urgent</b> : 3 &lt; 4.</p>"}},
}

// printed fills a template's text as one would by hand.
func printed(t *testing.T, name string, e passerelle.Event, authURL string) string {
	t.Helper()
	b, err := os.ReadFile(path.Join(reference, "to-partner", name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if from, to := strings.Index(text, "SELECT"), strings.LastIndex(text, `domain_name$\""`); from > 0 {
		text = text[:from] + "Accès ressource" + text[to+len(`domain_name$\"`):] // R7
	}
	values := map[string]string{"ref": "FRS-000007", "id": "7", "customer_ref": "R-001515", "provider_id": "10042", "value(org_id)": "10", "value(customer_app_id)": "4",
		"reporting_date": "2026-11-21T09:30:00.000+0100", "value(impact_id)": "Majeur", "value(urgency_id)": "Moyenne", "data": "AP/+", "filename": `l'écran "2".png`, "mimetype": "image/png"}
	for k, v := range e.Fields {
		for _, verb := range []string{k, "html(" + k + ")", "head_html(" + k + ")"} {
			if _, given := values[verb]; !given {
				values[verb] = v
			}
		}
	}
	values["html(description)"] = "<p>Demandeur : Jeanne Martin</p>" + values["html(description)"] // R4
	pairs := []string{`"https://support.pp.test-gar.education.fr"`, inJSON(authURL), `"auth_user": "xxxxxxxxxx"`, `"auth_user": ` + inJSON(user), `"auth_pwd": "xxxxxxxxxx"`, `"auth_pwd": ` + inJSON(password)}
	for k, v := range values {
		pairs = append(pairs, `"$this->`+k+`$"`, inJSON(v))
	}
	var out bytes.Buffer
	if err := json.Compact(&out, []byte(strings.NewReplacer(pairs...).Replace(text))); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// inJSON writes a text as the annex would, with the fewest escapes; only the
// file's place in a person's text is disguised.
func inJSON(s string) string {
	s = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	return strings.ReplaceAll(s, "$this->data$", `\u0024this->data$`)
}

// TestR26EveryTemplateArrivesAsPrinted: each message to the partner arrives as
// the annex prints it, byte for byte and in its order, with our credentials in
// their places, raw and in a form.
func TestR26EveryTemplateArrivesAsPrinted(t *testing.T) {
	c, err := mapping.Load(os.DirFS(reference))
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(os.DirFS(reference), "to-partner/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no templates (%v)", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".json")
		for _, form := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/form=%v", name, form), func(t *testing.T) { arrives(t, c, name, form) })
		}
	}
}

func arrives(t *testing.T, c *mapping.Contract, name string, form bool) {
	e, ok := told[name]
	if !ok {
		t.Fatal("no event is told for this template")
	}
	want := printed(t, name+".json", e, "https://gar.example/auth")
	e.From, e.Contract, e.Fields = passerelle.Requester, c.Name, cloned(e.Fields)
	if err := c.Interpret(&e); err != nil {
		t.Fatal(err)
	}
	l := pair()
	if name == "create" {
		l.State, l.Partner = passerelle.New, passerelle.Ref{}
	}
	if _, err := c.Admit(&e, l); name == "create" && err != nil { // it names the caller
		t.Fatal(err)
	}
	ms, errs := c.Render(mapping.Send{To: passerelle.Partner, Template: name}, &e, l, passerelle.Open, "m")
	if len(ms) != 1 || errs[0] != nil {
		t.Fatal(len(ms), errs)
	}
	at, got := listen(t, 200, "")
	a := open(t, at, func(c *Config) { c.AuthURL, c.Form = "https://gar.example/auth", form })
	if _, err := deliver(a, ms[0], spoolOf("aa", []byte{0x00, 0xff, 0xfe})); err != nil {
		t.Fatal(err)
	}
	if heard := message(t, (*got)[0], form); heard != want {
		t.Errorf("heard\n%s\nwant\n%s", heard, want)
	}
}

func cloned(m map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// message is what a request says, and checks how it says it.
func message(t *testing.T, r heard, form bool) string {
	t.Helper()
	if r.Method != "POST" || r.URL.Path != "/agent.php" || r.ContentLength != int64(len(r.body)) || r.Header.Get("Authorization") != "" {
		t.Errorf("%s %s, Content-Length %d of %d, %v", r.Method, r.URL, r.ContentLength, len(r.body), r.Header)
	}
	media := r.Header.Get("Content-Type")
	if !form {
		if media != "application/json" {
			t.Errorf("Content-Type %q", media)
		}
		return string(r.body)
	}
	v, err := url.ParseQuery(string(r.body))
	if err != nil || media != "application/x-www-form-urlencoded" || v.Get("version") != "1.3" || len(v) != 2 {
		t.Errorf("%v: Content-Type %q, form %v", err, media, v)
	}
	return v.Get("json_data")
}

// TestCredentialsOnlyWhereTheTemplateHasThem: top-level members only, in their
// order, and HTTP Basic where there are none.
func TestCredentialsOnlyWhereTheTemplateHasThem(t *testing.T) {
	for _, c := range []struct {
		name, body, want string
		basic            bool
	}{
		{"inner", ` {"a" : {"auth_pwd":"in"}, "auth_pwd": null ,"z":[1, {"auth_user":"in"}]} `, ` {"a" : {"auth_pwd":"in"}, "auth_pwd": "Zx\"9/é<q>&+ %42" ,"z":[1, {"auth_user":"in"}]} `, false},
		{"none", `{"operation":"core/create","auth":"mine"}`, `{"operation":"core/create","auth":"mine"}`, true},
		{"url only", `{"auth_url":1.5,"b":2}`, `{"auth_url":"URL","b":2}`, true},
		{"escaped name", `{"auth_\u0075ser":{"x":[]},"b":2}`, `{"auth_\u0075ser":"sumit-gw","b":2}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			at, got := listen(t, 200, "")
			m := &passerelle.Message{Op: "core/update", Kind: passerelle.PrivateLog, Key: "10042", Body: []byte(c.body)}
			if _, err := deliver(open(t, at, nil), m, nil); err != nil {
				t.Fatal(err)
			}
			r := (*got)[0]
			if want := strings.ReplaceAll(c.want, "URL", at); string(r.body) != want { // auth_url is url by default
				t.Errorf("heard %s, want %s", r.body, want)
			}
			u, p, ok := r.BasicAuth()
			if ok != c.basic || ok && (u != user || p != password) {
				t.Errorf("Basic %q %q %v, want %v", u, p, ok, c.basic)
			}
		})
	}
}

// TestNoAccount: an agent that asks for none gets none.
func TestNoAccount(t *testing.T) {
	at, got := listen(t, 200, "")
	a := open(t, at, func(c *Config) { c.User, c.Password = "", "" })
	for _, body := range []string{`{"auth_user":"x","auth_pwd":"x"}`, `{}`} {
		if _, err := deliver(a, &passerelle.Message{Op: "core/update", Body: []byte(body)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if b := string((*got)[0].body); b != `{"auth_user":"","auth_pwd":""}` || (*got)[1].Header.Get("Authorization") != "" {
		t.Errorf("heard %s, %v", b, (*got)[1].Header)
	}
}

// TestNewRefuses lists what no Agent is made of; no error repeats the address.
func TestNewRefuses(t *testing.T) {
	good := Config{Contract: "c", Side: passerelle.Partner, URL: "https://gar.example/agent.php", User: "u", Password: "p"}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no contract":        func(c *Config) { c.Contract = "" },
		"no side":            func(c *Config) { c.Side = "" },
		"no url":             func(c *Config) { c.URL = "" },
		"no host":            func(c *Config) { c.URL = "/agent.php" },
		"another scheme":     func(c *Config) { c.URL = "ftp://u:CANARY@gar.example" },
		"credentials in it":  func(c *Config) { c.URL = "https://u:CANARY@gar.example" },
		"no address":         func(c *Config) { c.URL = "https://gar.example:CANARY/%" },
		"password, no user":  func(c *Config) { c.User = "" },
		"password not UTF-8": func(c *Config) { c.Password = "CANARY\xff" },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestProbeNeverKnows: the agent keeps no marks.
func TestProbeNeverKnows(t *testing.T) {
	at, got := listen(t, 200, `{"id":1}`)
	r, err := open(t, at, nil).Probe(t.Context(), create(), nil)
	if r != nil || !errors.Is(err, passerelle.ErrUnknown) || len(*got) != 0 {
		t.Errorf("%v, %v, %d requests", r, err, len(*got))
	}
}

// TestNotOurMessage: what is no JSON object is never sent.
func TestNotOurMessage(t *testing.T) {
	at, got := listen(t, 200, "")
	for _, body := range []string{``, `[]`, `{"a":1`, `{"a" 1}`, `"x"`} {
		_, err := deliver(open(t, at, nil), &passerelle.Message{Op: "core/update", Number: "GSN1-4711", Body: []byte(body)}, nil)
		if e := fails(t, err, passerelle.Stuck); e.Ticket != "GSN1-4711" || e.Op != "agent: core/update" {
			t.Errorf("%s: %v", body, e)
		}
	}
	if len(*got) != 0 {
		t.Errorf("%d requests", len(*got))
	}
}
