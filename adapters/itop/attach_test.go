package itop

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidwall/sjson"

	"passerelle"
	trouble "passerelle/internal/fault"
)

// R23: a plain Attachment object does what syn/addattachment does: it is named
// as a reading names it, and found after a lost answer.
func TestR23AFileAsAPlainAttachment(t *testing.T) {
	s := newSubcontractor(t)
	key := s.ticket().Key
	var sent []string
	for _, content := range []string{"hello", "", "hello", strings.Repeat("\x00\xff", 40_000)} {
		m := s.attachmentMessage(key, "é.txt", content)
		sent = append(sent, deliver(t, s.itop, m, s.desk).Names...)
		if r, err := s.itop.Probe(t.Context(), m, s.desk); err != nil || !slices.Contains(r.Either, sent[len(sent)-1]) {
			t.Errorf("probe: %+v, %v", r, err)
		}
	}
	if got := s.facts(key, passerelle.Attach); !slices.Equal(got, sent) || len(got) != 4 {
		t.Errorf("read %v, sent %v", got, sent)
	}
	for _, kind := range []trouble.Kind{trouble.DropAfter, trouble.Truncate, trouble.DropBefore} {
		m := s.attachmentMessage(key, string(kind)+".txt", "hello")
		_ = s.sim.Faults().Add(trouble.Rule{Match: "core/create Attachment", Kind: kind, Times: 1})
		if _, err := s.itop.Deliver(t.Context(), m, s.desk); passerelle.ClassOf(err) != passerelle.Unsure {
			t.Errorf("%s: %v", kind, err)
		}
		r, err := s.itop.Probe(t.Context(), m, s.desk)
		if kind == trouble.DropBefore && !errors.Is(err, passerelle.ErrAbsent) || kind != trouble.DropBefore && (err != nil || len(r.Either) != 1) {
			t.Errorf("%s: %+v, %v", kind, r, err)
		}
	}
}

// The answer says which attachment is ours, whatever else is attached at the
// same moment, and whatever the template asks for.
func TestTheAnswerNamesTheAttachment(t *testing.T) {
	s := newSubcontractor(t)
	key := s.ticket().Key
	s.spoil = func(body string) string {
		if strings.Contains(body, `"filename":"a.txt"`) {
			s.console(`{"operation":"core/create","comment":"c","class":"Attachment","fields":{"item_class":"UserRequest","item_id":"` + key + `","contents":{"data":"b3Vycy4=","filename":"a.txt"}}}`)
		}
		return body
	}
	m := s.attachmentMessage(key, "a.txt", "ours.")
	m.Body, _ = sjson.SetBytes(m.Body, "output_fields", "*")
	r := deliver(t, s.itop, m, s.desk)
	if got := s.facts(key, passerelle.Attach); len(got) != 2 || !slices.Equal(r.Names, got[1:]) {
		t.Errorf("ours is %v of %v", r.Names, got)
	}
	if s.asking(`"output_fields":"*"`) > 0 {
		t.Error("iTop was asked to send the file back with its answer")
	}
}

// iTop takes a file for a ticket that does not exist: it would be lost.
func TestNoFileForATicketThatIsGone(t *testing.T) {
	s := newSubcontractor(t)
	_, err := s.itop.Deliver(t.Context(), s.attachmentMessage("77", "a.txt", "x"), s.desk)
	if !errors.Is(err, errGone) || passerelle.ClassOf(err) != passerelle.Stuck || len(s.sim.Writes()) > 0 {
		t.Errorf("%v, writes %v", err, s.sim.Writes())
	}
}

// damage changes the bytes of a file on its way.
func damage(body string) string {
	return strings.Replace(body, base64.StdEncoding.EncodeToString([]byte("hello")), base64.StdEncoding.EncodeToString([]byte("hullo")), 1)
}

// R24: a file that arrived as another is taken back and sent again.
func TestR24ADamagedFileIsTakenBack(t *testing.T) {
	s := newSubcontractor(t)
	key := s.ticket().Key
	m := s.attachmentMessage(key, "a.txt", "hello")
	s.spoil = damage
	_, err := s.itop.Deliver(t.Context(), m, s.desk)
	for _, word := range []string{"« a.txt »", "damaged", "5 bytes", "taken back"} {
		if passerelle.ClassOf(err) != passerelle.Temporary || !strings.Contains(fmt.Sprint(err), word) {
			t.Errorf("%v does not say %q", err, word)
		}
	}
	if got := s.facts(key, passerelle.Attach); len(got) != 0 {
		t.Errorf("it is still there: %v", got)
	}
	s.spoil = nil
	if deliver(t, s.itop, m, s.desk); len(s.facts(key, passerelle.Attach)) != 1 {
		t.Error("it does not go again")
	}
}

// What cannot be taken back is for a person, by its id; a refused deletion is
// not a refused account.
func TestADamagedFileThatStaysIsForAPerson(t *testing.T) {
	for _, refusal := range []string{`{"code":1,"message":"no rights"}`, `{"code":100,"message":"no"}`, ``} {
		s := newSubcontractor(t)
		key := s.ticket().Key
		s.spoil = damage
		s.tamper = func(request, answer string) string {
			if strings.Contains(request, "core%2Fdelete") {
				return refusal
			}
			return answer
		}
		_, err := s.itop.Deliver(t.Context(), s.attachmentMessage(key, "a.txt", "hello"), s.desk)
		for _, word := range []string{"R-000001", "delete attachment 1 (« a.txt »)", "retry"} {
			if passerelle.ClassOf(err) != passerelle.Stuck || !strings.Contains(fmt.Sprint(err), word) {
				t.Errorf("%s: %v does not say %q", refusal, err, word)
			}
		}
	}
}

// What syn/addattachment left is told by comparison only: nothing is deleted on
// such evidence.
func TestADamagedFileOfTheContractsOwnOperation(t *testing.T) {
	sim, _, d := academy(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body := damage(string(b))
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		sim.ServeHTTP(w, r)
	}))
	defer srv.Close()
	it := client(t, srv.URL)
	_, err := it.Deliver(t.Context(), fileMessage(t, d, "a.txt", "hello"), d)
	if passerelle.ClassOf(err) != passerelle.Stuck || !strings.Contains(fmt.Sprint(err), "delete attachment 1 (« a.txt »)") || len(names(t, it, passerelle.Attach)) != 1 {
		t.Errorf("%v", err)
	}
}

// An answer without the content would make every probe say "absent": the file
// would be sent again and again.
func TestAFileThatCannotBeReadBackIsNotSentAgain(t *testing.T) {
	s := newSubcontractor(t)
	key := s.ticket().Key
	s.tamper = func(request, answer string) string {
		if strings.Contains(request, "contents") && strings.Contains(request, "core%2Fget") {
			return `{"code":0,"message":"Found: 0","objects":null}`
		}
		return answer
	}
	_, err := s.itop.Deliver(t.Context(), s.attachmentMessage(key, "a.txt", "hello"), s.desk)
	if passerelle.ClassOf(err) != passerelle.Stuck || !strings.Contains(fmt.Sprint(err), "attachment 1") {
		t.Errorf("%v", err)
	}
}

// oddNames are file names as people and attackers write them, and what stands
// in the other tool.
func oddNames() map[string]string {
	long := strings.Repeat("é", 300)
	return map[string]string{
		"été à la plage 😀.pdf": "été à la plage 😀.pdf", `l'« a » "b" & <c>.txt`: `l'« a » "b" & <c>.txt`, "  a  b.txt ": "a  b.txt",
		"../../x": "x", "/etc/passwd": "passwd", `C:\x\y.doc`: "y.doc", `..\..\z.sh`: "z.sh", "a\x00b.txt": "ab.txt", "a\r\n\tb\u007f\u0085.txt": "ab.txt",
		"\u202egpj.exe": "gpj.exe", "\u2066a\u2069.txt": "a.txt", "$this->data$": "$this->data$", "$this->data$\x01.txt": "$this->data$.txt", ".htaccess": ".htaccess", "%2e%2e%2fx": "%2e%2e%2fx",
		long + ".pdf": strings.Repeat("é", 250) + "….pdf", long: strings.Repeat("é", 254) + "…", long + "." + long: strings.Repeat("é", 254) + "…",
	}
}

// Names out: what iTop stores is harmless, fits its column, and is found again.
func TestR23OddNamesGoOut(t *testing.T) {
	for name, want := range oddNames() {
		if utf8.RuneCountInString(want) > 255 {
			t.Fatalf("%q is too long for iTop", want)
		}
		s := newSubcontractor(t)
		key := s.ticket().Key
		m := s.attachmentMessage(key, name, "hello")
		r := deliver(t, s.itop, m, s.desk)
		if p, err := s.itop.Probe(t.Context(), m, s.desk); err != nil || !slices.Equal(p.Either, r.Names) {
			t.Errorf("%q: probe %+v, %v", name, p, err)
		}
		e := s.fetch(key)[0]
		if stored := s.stored("1"); stored != want || e.Files[0].Name != want || s.desk.bytesOf(t, e.Files[0]) != "hello" {
			t.Errorf("%.40q is stored as %q and read as %q, want %q", name, stored, e.Files[0].Name, want)
		}
	}
}

// stored is an attachment's name as iTop holds it.
func (s *subcontractor) stored(id string) string {
	s.t.Helper()
	f, err := s.itop.document(s.t.Context(), "Attachment", id, digest, func(passerelle.File) {})
	if err != nil {
		s.t.Fatal(err)
	}
	return f.Name
}

// fetch reads the ticket's files, with their bytes.
func (s *subcontractor) fetch(key string) []*passerelle.Event {
	s.t.Helper()
	snap, err := s.itop.Read(s.t.Context(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []*passerelle.Event
	for _, e := range snap.Events {
		if e.Kind != passerelle.Attach {
			continue
		}
		if err := s.itop.Fetch(s.t.Context(), e, s.desk); err != nil {
			s.t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// Names in: a file that a person attached is read, and pushed, by a name that is
// harmless; one that is nothing but tricks gets another.
func TestR23OddNamesComeIn(t *testing.T) {
	cases := oddNames()
	for name := range cases {
		if utf8.RuneCountInString(name) > 255 {
			delete(cases, name) // no iTop holds it
		}
	}
	cases["../.."], cases["\u202e"] = "attachment-1", "attachment-1"
	for name, want := range cases {
		s := newSubcontractor(t)
		key := s.ticket().Key
		contents := `{"data":"aGVsbG8=","filename":` + quoteJSON(name) + `,"mimetype":"text/plain"}`
		s.console(`{"operation":"core/create","comment":"c","class":"Attachment","fields":{"item_class":"UserRequest","item_id":"` + key + `","contents":` + contents + `}}`)
		e := s.fetch(key)[0]
		if got := e.Files[0]; got.Name != want || s.desk.bytesOf(t, got) != "hello" {
			t.Errorf("%q is read as %q, want %q", name, got.Name, want)
		}
		if want == "attachment-1" {
			continue // the face refuses it: see TestAttachmentNames
		}
		f := newFace(t, partner)
		if got := f.one(strings.ReplaceAll(attachmentObject, "%CONTENTS%", contents)); got.Files[0].Name != want {
			t.Errorf("%q is pushed as %q, want %q", name, got.Files[0].Name, want)
		}
	}
}

// Two files of one name are two, empty ones too; each has its bytes.
func TestR23TwoFilesOfOneName(t *testing.T) {
	s := newSubcontractor(t)
	key := s.ticket().Key
	var sent []string
	for _, content := range []string{"one", "two", "", "", "two"} {
		sent = append(sent, deliver(t, s.itop, s.attachmentMessage(key, "a.txt", content), s.desk).Names...)
	}
	var got []string
	var bodies string
	for _, e := range s.fetch(key) {
		got = append(got, e.Names...)
		bodies += s.desk.bytesOf(t, e.Files[0]) + ","
	}
	if !slices.Equal(got, sent) || len(slices.Compact(slices.Sorted(slices.Values(got)))) != 5 || bodies != "one,two,,,two," {
		t.Errorf("read %v, sent %v: %s", got, sent, bodies)
	}
}

// endlessFile is a spool of one large file that nobody holds.
type endlessFile struct {
	*recorder
	size int64
}

func (e endlessFile) Open(string) (io.ReadCloser, error) {
	return io.NopCloser(io.LimitReader(&repeater{text: "passerelle"}, e.size)), nil
}

func (e endlessFile) Put(_ context.Context, r io.Reader) (passerelle.File, error) { return digest(r) }

// R24: neither the upload nor the reading back holds a file in memory.
func TestR24AFileGoesAndComesBackAsAStream(t *testing.T) {
	const size = 24 << 20
	spool := endlessFile{newRecorder(), size}
	open := func() io.Reader { r, _ := spool.Open(""); return r }
	f, _ := digest(open())
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart") {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, `{"code":0,"objects":{"Attachment::5":{"code":0,"key":"5","fields":{"id":"5"}}}}`)
			return
		}
		if b, _ := io.ReadAll(r.Body); !strings.Contains(string(b), "contents") {
			_, _ = io.WriteString(w, `{"code":0,"objects":{"UserRequest::1":{"code":0,"key":"1","fields":{"id":"1"}}}}`)
			return
		}
		_, _ = io.WriteString(w, `{"code":0,"objects":{"Attachment::5":{"code":0,"key":"5","fields":{"contents":{"data":"`)
		_, _ = io.Copy(w, &encodingReader{r: open()})
		_, _ = io.WriteString(w, `","filename":"big.iso","mimetype":"x/y"}}}}}`)
	}))
	defer srv.Close()
	s := newSubcontractor(t)
	m := s.attachmentMessage("1", "big.iso", "")
	m.Files[0].Size, m.Files[0].Sum = size, f.Sum
	it := s.client(func(c *Config) { c.BaseURL, c.Timeout = srv.URL, 0 })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := it.Deliver(t.Context(), m, spool)
	runtime.ReadMemStats(&after)
	if err != nil || r.Names[0] != "1/attachment/5" {
		t.Errorf("%+v, %v", r, err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 4<<20 {
		t.Errorf("%d bytes were allocated for a file of %d", got, size)
	}
}
