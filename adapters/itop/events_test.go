package itop

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"passerelle"
)

func message(fields string) string {
	return `{"operation":"core/create","comment":"c","class":"UserRequest","fields":{` + fields + `}}`
}

func TestExternalKeysInEveryForm(t *testing.T) {
	f := newFace(t)
	for value, want := range map[string]string{
		`3`: "3", `"3"`: "3", `"Organisation A"`: "Organisation A", `null`: "", `{"id":3}`: "3",
		`{"name":"Organisation A","org_id":3}`:                                                              "Organisation A",
		`{"friendlyname":"Jules Verne"}`:                                                                    "Jules Verne",
		`"SELECT Organization WHERE name = \"L'\\\"ENT\\\" \\\\ \""`:                                        `L'"ENT" \ `,
		`"SELECT Service WHERE name='d\\'accès' AND org_name='B'"`:                                          "d'accès",
		`"select Service AS s JOIN Organization AS o ON s.org_id = o.id WHERE o.name='B' AND s.name = 'A'"`: "A",
		`"SELECT Service JOIN Organization ON Service.org_id = Organization.id WHERE Service.name = 'A'"`:   "A",
	} {
		if e := f.one(message(`"org_id":` + value)); e.Fields["org_id"] != want {
			t.Errorf("%s is %q, want %q", value, e.Fields["org_id"], want)
		}
	}
	for value, word := range map[string]string{
		`[3]`:                                  "a list is not understood",
		`{"email":"x"}`:                        "org_id",
		`{"name":{}}`:                          "org_id",
		`{"name":["a"]}`:                       "org_id",
		`"SELECT Organization WHERE code='x'"`: "SELECT Organization WHERE code='x'",
		`"SELECT Organization WHERE name='a' OR name='b'"`:  "one name",
		`"SELECT Service AS s WHERE o.name='B'"`:            "one name",
		`"SELECT Organization WHERE service_name='a'"`:      "one name",
		`"SELECT Organization WHERE name='not closed"`:      "one name",
		`"SELECT Organization WHERE name=\"a\" AND name='"`: "",
	} {
		if word != "" {
			f.fails(message(`"org_id":`+value), 100, "org_id", word)
		}
	}
	if e := f.one(message(`"title":"SELECT the name = 'x'"`)); e.Fields["title"] != "SELECT the name = 'x'" {
		t.Errorf("a title was read as a query: %q", e.Fields["title"])
	}
}

func TestJournalsInEveryForm(t *testing.T) {
	f := newFace(t)
	update := func(fields string) []*passerelle.Event {
		t.Helper()
		body := `{"operation":"core/update","comment":"c","class":"UserRequest","fields":{"customer_id":5,"last_update_by":"customer",` + fields + `}}`
		if h := f.hook(body); h.Code != 0 {
			t.Fatalf("%s: %s", body, h.raw)
		}
		return f.desk.events()
	}
	for fields, want := range map[string]string{
		`"public_log":"<p>a</p>"`:                                               "public-log change",
		`"private_log":"<p>b</p>"`:                                              "private-log change",
		`"public_log":"<p>a</p>","private_log":"<p>b</p>"`:                      "private-log public-log change",
		`"public_log":"","private_log":"  "`:                                    "change",
		`"public_log":"<p> </p>"`:                                               "change",
		`"title":"x"`:                                                           "change",
		`"public_log":{"add_item":{"message":"<p>a</p>"}}`:                      "public-log change",
		`"public_log":{"add_item":{"message":"<p>a</p>","format":"html"}}`:      "public-log change",
		`"public_log":{"add_item":{"message":"a","format":"text"},"items":[1]}`: "public-log change",
	} {
		var kinds []string
		for _, e := range update(fields) {
			kinds = append(kinds, string(e.Kind))
			if e.Kind == passerelle.Change && (e.Fields["public_log"] != "" || e.Fields["private_log"] != "") {
				t.Errorf("%s: the change carries a journal: %v", fields, e.Fields)
			}
			if e.Kind != passerelle.Change && len(e.Fields) != 1 {
				t.Errorf("%s: %s carries %v", fields, e.Kind, e.Fields)
			}
		}
		if got := strings.Join(kinds, " "); got != want {
			t.Errorf("%s: %s, want %s", fields, got, want)
		}
	}
	if e := update(`"public_log":{"add_item":{"message":"si a<b et <c>\n& d","format":"text"}}`)[0]; !strings.Contains(e.Fields["public_log"], "a&lt;b et &lt;c&gt;") {
		t.Errorf("a plain text was taken for HTML: %q", e.Fields["public_log"])
	}
	f.fails(`{"operation":"core/update","comment":"c","class":"UserRequest","key":2,"fields":{"public_log":{"items":[{"message":"x"}]}}}`, 100, "public_log", "replaces the whole journal")
}

// The pushed entry and the one read back have one name, whatever the order of
// the message; another text, log or ticket has another.
func TestAJournalEntryNamesItself(t *testing.T) {
	f := newFace(t)
	name := func(key, log, text string) string {
		b, _ := json.Marshal(text)
		f.hook(`{"operation":"core/update","comment":"c","class":"UserRequest","fields":{"customer_id":"` + key + `","` + log + `":` + string(b) + `}}`)
		return f.desk.events()[0].Names[0]
	}
	first := name("5", "public_log", "<p>a b</p>")
	if !strings.HasPrefix(first, "5/public_log/") || !strings.HasSuffix(first, "#1") || len(first) != len("5/public_log/#1")+64 {
		t.Errorf("name %q", first)
	}
	if got := name("5", "public_log", "<p>a  \n b</p>"); got != first {
		t.Errorf("blanks change the name: %s", got)
	}
	for _, other := range []string{name("6", "public_log", "<p>a b</p>"), name("5", "private_log", "<p>a b</p>"), name("5", "public_log", "<p>a c</p>")} {
		if other == first {
			t.Errorf("two facts are called %s", first)
		}
	}
}

func TestStimulus(t *testing.T) {
	f := newFace(t)
	e := f.one(`{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","stimulus":"ev_reopen","fields":{"customer_id":"5","reopen_reason":"<p>non</p>","last_update_by":"customer"}}`)
	if e.Signal != "ev_reopen" || e.Kind != "" || e.Author != "customer" || e.Fields["reopen_reason"] != "<p>non</p>" || len(e.Names) != 0 {
		t.Errorf("%+v", e)
	}
	f.fails(`{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":2}`, 100, "Missing parameter 'stimulus'")
	f.fails(`{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":2,"stimulus":""}`, 100, "Missing parameter 'stimulus'")
}

func TestWhatIsRefused(t *testing.T) {
	f := newFace(t)
	for body, want := range map[string]struct {
		code  int
		words string
	}{
		`{"operation":"core/delete","comment":"c","class":"UserRequest","key":2}`: {100, "R33"},
		`{"operation":"core/get_related","class":"UserRequest","key":2}`:          {11, "Unknown verb 'core/get_related' in version '1.3'"},
		`{"operation":""}`: {11, "Unknown verb"},
		`{"operation":"core/update","comment":"c","class":"Person","key":2,"fields":{}}`:                                         {100, "'Person' is not a valid class"},
		`{"operation":"core/update","comment":"c","class":"Attachment","key":2,"fields":{}}`:                                     {100, "'Attachment' is not a valid class"},
		`{"operation":"core/update","comment":"c","class":"UserRequest","fields":{"title":"x"}}`:                                 {100, "Missing parameter 'key'"},
		`{"operation":"core/update","comment":"c","class":"UserRequest","key":{"a":1},"fields":{"title":"x"}}`:                   {100, "key:"},
		`{"operation":"core/update","comment":"c","class":"UserRequest","key":2,"fields":"x"}`:                                   {100, "fields:"},
		`{"operation":"core/update","comment":"c","class":"UserRequest","key":2,"fields":["x"]}`:                                 {100, "fields:"},
		`{"operation":"core/create","comment":"c","class":"UserRequest"}`:                                                        {100, "Missing parameter 'fields'"},
		`{"operation":"syn/addattachment","comment":"c","class":"UserRequest","attachments":[{"data":"","filename":"a"}]}`:       {100, "Missing parameter 'key'"},
		`{"operation":"syn/addattachment","comment":"c","class":"UserRequest","key":2,"attachments":{"data":"","filename":"a"}}`: {3, "expected a list"},
		`{"hint":true,"operation":"syn/addattachment"}`:                                                                          {100, "customer_id"},
	} {
		f.fails(body, want.code, want.words)
	}
}

const attachmentObject = `{"operation":"core/create","comment":"c","class":"Attachment","fields":{"item_class":"UserRequest","item_id":"2","item_org_id":1,"contents":%CONTENTS%}}`

// Stock iTop attaches by creating an object.
func TestAttachmentObject(t *testing.T) {
	f := newFace(t, partner)
	with := func(contents string) string { return strings.ReplaceAll(attachmentObject, "%CONTENTS%", contents) }
	e := f.one(with(`{"data":"aGVsbG8=","filename":"C:\\dir\\é \"x\".txt","mimetype":"text/plain"}`))
	if e.Kind != passerelle.Attach || len(e.Files) != 1 || !slices.Contains(e.Claims, passerelle.Claim{Side: passerelle.Broker, Key: "2"}) {
		t.Fatalf("%+v", e)
	}
	if file := e.Files[0]; file.Name != `é "x".txt` || file.MIME != "text/plain" || f.desk.bytesOf(t, file) != "hello" || file.Size != 5 || e.Alias != fileAlias("2", file) || strings.Contains(e.Alias, "é") {
		t.Errorf("%+v, alias %s", e.Files[0], e.Alias)
	}
	f.fails(with(`"aGVsbG8="`), 100, "contents")
	f.fails(with(`[{"data":"file:0","filename":"a"}]`), 100, "contents")
	f.fails(with(`{"filename":"a"}`), 4, "missing data")
	f.fails(with(`{"data":"*","filename":"a"}`), 4, "attachments[0]", "« a »")
	f.fails(`{"operation":"core/create","comment":"c","class":"Attachment","fields":{"item_class":"UserRequest","item_id":2}}`, 100, "contents")
	f.fails(`{"operation":"core/create","comment":"c","class":"Attachment","fields":{"item_class":"UserRequest","contents":{"data":"","filename":"a"}}}`, 100, "item_id")
	f.fails(`{"operation":"core/create","comment":"c","class":"Attachment","fields":{"item_class":"Person","item_id":2,"contents":{"data":"","filename":"a"}}}`, 100, "item_class: 'Person'")
}

func TestAttachmentNames(t *testing.T) {
	f := newFace(t)
	for name, want := range map[string]string{
		"a.txt": "a.txt", "../../etc/passwd": "passwd", `C:\x\y.doc`: "y.doc", "/": "", "..": "", ".": "", " ": "", "\u0000": "",
		"é à 😀.pdf": "é à 😀.pdf", "l'« a »\"b\".txt": "l'« a »\"b\".txt", "a\r\nb\u0000\u007f.txt": "ab.txt", "a/..": "", "\u202Egpj.exe": "gpj.exe", "\u0085a": "a",
	} {
		b, _ := json.Marshal(name)
		body := `{"operation":"syn/addattachment","comment":"c","class":"UserRequest","key":2,"attachments":[{"data":"aGVsbG8=","filename":` + string(b) + `}]}`
		if want == "" {
			f.fails(body, 4, "attachments[0]: missing filename")
			continue
		}
		if got := f.one(body).Files[0].Name; got != want {
			t.Errorf("%q is stored as %q, want %q", name, got, want)
		}
	}
}

// R29: what comes with a create follows it, one event a fact.
func TestR29CreateWithJournalAndFiles(t *testing.T) {
	f := newFace(t)
	h := f.hook(`{"operation":"core/create","comment":"c","class":"UserRequest","output_fields":{"ref":"","id":""},"fields":{"customer_id":5,"title":"t","public_log":"<p>a</p>","private_log":"<p>b</p>"},
		"attachments":[{"data":"","filename":"empty"},{"data":"aGVsbG8=","filename":"b","mimetype":"x/y"}]}`)
	var kinds []string
	for _, e := range f.desk.events() {
		kinds = append(kinds, string(e.Kind))
	}
	if got := strings.Join(kinds, " "); got != "create private-log public-log attach attach" {
		t.Errorf("%s: %s", got, h.raw)
	}
	if o := h.Objects["UserRequest::7"]; o.Message != "created" || o.Fields["ref"] != "FRS-7" || o.Fields["id"] != "7" || h.Message != nil {
		t.Error(h.raw)
	}
}
