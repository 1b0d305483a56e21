package itop

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"passerelle"
)

// update is a message whose fields are given as JSON.
func update(fields string) string {
	return `{"operation":"core/update","comment":"c","class":"UserRequest","key":"2","fields":` + fields + `}`
}

// TestHostileJSON: what no tool would send is refused with words, and leaves
// nothing; TestBadJSONIsCode4 and TestSpliceRefusesWhatIsNotJSON have the rest.
func TestHostileJSON(t *testing.T) {
	f := newFace(t, func(c *Config) { c.LimitBytes = 4 << 20 })
	var members []string
	for i := range maxMembers + 1 {
		members = append(members, fmt.Sprintf(`"f%d":1`, i))
	}
	for name, c := range map[string]struct {
		body string
		code int
		says string
	}{
		"a megabyte of [":          {strings.Repeat("[", 1<<20), 4, "nested"},
		`a megabyte of {"a":`:      {strings.Repeat(`{"a":`, 1<<20/5), 4, "nested"},
		"a number of 1e6 digits":   {update(`{"title":` + strings.Repeat("9", 1_000_000) + `}`), 4, "no tool can hold"},
		"1e999999":                 {update(`{"title":1e999999}`), 4, "no tool can hold"},
		"-1e999999 as the key":     {strings.Replace(update(`{"title":"a"}`), `"2"`, "-1e999999", 1), 4, "no tool can hold"},
		"half a surrogate pair":    {update(`{"title":"\ud83d"}`), 4, ""},
		"halves the wrong way":     {update(`{"title":"\ude00\ud83d"}`), 4, ""},
		"a raw NUL":                {update("{\"title\":\"\x00\"}"), 4, "control character"},
		"invalid UTF-8":            {update("{\"title\":\"caf\xe9\"}"), 4, ""},
		"overlong UTF-8":           {update("{\"title\":\"\xc0\xaf\"}"), 4, ""},
		"a surrogate as UTF-8":     {update("{\"title\":\"\xed\xa0\xbd\"}"), 4, ""},
		"UTF-16":                   {"{\x00\"\x00a\x00\"\x00:\x001\x00}\x00", 4, ""},
		"many members":             {update("{" + strings.Join(members, ",") + "}"), 4, "more than 1000 members"},
		"many members, deep":       {`{"x":[[{` + strings.Join(members, ",") + `}]]}`, 4, "more than 1000 members"},
		"NUL in a key":             {strings.Replace(update(`{"title":"a"}`), `"2"`, `"2\u0000"`, 1), 100, "control characters"},
		"a long key":               {strings.Replace(update(`{"title":"a"}`), `"2"`, `"`+strings.Repeat("2", 256)+`"`, 1), 100, "more than 255 bytes"},
		"a long customer_id":       {update(`{"customer_id":"` + strings.Repeat("é", 128) + `"}`), 100, "customer_id: more than 255 bytes"},
		"a long provider_ref":      {update(`{"provider_ref":"` + strings.Repeat("x", 1<<20) + `"}`), 100, "provider_ref: more than 255 bytes"},
		"a long ticket in a hint":  {`{"hint":true,"operation":"x","customer_id":"` + strings.Repeat("1", 256) + `"}`, 100, "customer_id: more than 255 bytes"},
		"a long stimulus":          {`{"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":2,"stimulus":"` + strings.Repeat("x", 256) + `"}`, 100, "stimulus"},
		"a long query as the key":  {strings.Replace(update(`{"title":"a"}`), `"2"`, `"SELECT UserRequest WHERE `+strings.Repeat("a", 1<<20)+`"`, 1), 100, "only a query with"},
		"a list in place of a key": {strings.Replace(update(`{"title":"a"}`), `"2"`, `[1]`, 1), 100, "key:"},
	} {
		h := f.hook(c.body)
		if h.Code != c.code || h.status != 200 || !strings.Contains(h.message(), c.says) || len(h.raw) > 3*maxSaid {
			t.Errorf("%s: HTTP %d, %.300s", name, h.status, h.raw)
		}
		if n := len(f.desk.events()) + len(f.desk.looked); n != 0 {
			t.Errorf("%s: %d things were accepted", name, n)
		}
	}
}

// TestEscapedNUL: JSON may hold one, and it travels as what it is, up to where
// a tool refuses it: a title is not silently changed on the way.
func TestEscapedNUL(t *testing.T) {
	f := newFace(t)
	if e := f.one(update(`{"title":"a\u0000b"}`)); e.Fields["title"] != "a\x00b" {
		t.Errorf("%q", e.Fields["title"])
	}
}

// TestOfTwoAlikeTheLastCounts: as in iTop, everywhere in a message: what is
// judged is what is carried.
func TestOfTwoAlikeTheLastCounts(t *testing.T) {
	f := newFace(t, partner)
	for body, want := range map[string]string{
		update(`{"title":"a","title":"b"}`):                                              "change 2 b",
		update(`{"title":"a","\u0074itle":"b"}`):                                         "change 2 b",
		update(`{"title":"a"},"fields":{"title":"b"}`):                                   "change 2 b",
		update(`{"title":{"name":"a","name":"b"}}`):                                      "change 2 b",
		update(`{"title":"a"},"key":"3"`):                                                "change 3 a",
		update(`{"title":"a"},"key":{"id":"3","id":"4"}`):                                "change 4 a",
		update(`{"title":"a"},"operation":"core/apply_stimulus","stimulus":"ev_x"`):      " 2 a",
		update(`{"title":"a"},"hint":true,"hint":false`):                                 "change 2 a",
		update(`{"public_log":"<p>a</p>","public_log":""}`):                              "change 2 ",
		update(`{"title":"a","x":[{"y":1,"y":2},{}],"z":{}},"class":"UserRequest"`):      "",
		`{"auth_user":"x","auth_user":"` + faceUser + `",` + update(`{"title":"a"}`)[1:]: "change 2 a",
	} {
		h := f.hook(body)
		events := f.desk.events()
		got := ""
		if len(events) > 0 {
			got = fmt.Sprint(events[0].Kind, " ", events[0].Claims[0].Key, " ", events[0].Fields["title"])
		}
		if got != want {
			t.Errorf("%s: %q, want %q: %s", body, got, want, h.raw)
		}
	}
	for _, body := range []string{
		strings.Replace(update(`{"title":"a"},"class":"Person"`), "", "", 1),
		update(`{"title":"a"},"operation":"core/delete"`),
	} {
		if h := f.hook(body); h.Code != 100 || len(f.desk.events()) != 0 {
			t.Errorf("%s: %s", body, h.raw)
		}
	}
	// Credentials are no exception.
	h := f.post("application/json", `{"auth_user":"`+faceUser+`","auth_pwd":"`+facePassword+`","auth_pwd":"x",`+update(`{"title":"a"}`)[1:])
	if h.Code != 1 || len(f.desk.events()) != 0 {
		t.Error(h.raw)
	}
}

// TestAMillionTinyAttachments: they are counted, not kept, and refused by name.
func TestAMillionTinyAttachments(t *testing.T) {
	f := newFace(t, func(c *Config) { c.LimitBytes = 64 << 20 })
	message := func(n int, item string) string {
		return `{"operation":"syn/addattachment","comment":"c","class":"UserRequest","key":2,"attachments":[` + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + `]}`
	}
	f.fails(message(1_000_000, `{"data":"QQ==","filename":"tiny.txt"}`), 100, "1000000 attachments", "the limit is 100", "« tiny.txt", "nothing was stored")
	if f.desk.puts != maxFiles {
		t.Errorf("%d files were put", f.desk.puts)
	}
	f.fails(message(maxFiles+1, `{"data":"QQ==","filename":"a"}`), 100, "101 attachments")
	f.fails(message(200_000, `{}`), 100, "more than 100")
	f.fails(message(200_000, `1`), 100, "more than 100")
	f.desk.released(t)
	if h := f.hook(message(maxFiles, `{"data":"QQ==","filename":"a"}`)); h.Code != 0 || len(f.desk.events()) != maxFiles {
		t.Errorf("%d attachments: %s", maxFiles, h.raw)
	}
}

// TestNamesOfFilesAreShort: a name and a type have the length of iTop's own.
func TestNamesOfFilesAreShort(t *testing.T) {
	f := newFace(t)
	e := f.one(`{"operation":"syn/addattachment","comment":"c","class":"UserRequest","key":2,"attachments":[{"data":"QQ==","filename":"` + strings.Repeat("é", 100_000) + `.pdf","mimetype":"` + strings.Repeat("x", 100_000) + `"}]}`)
	if n := utf8.RuneCountInString(e.Files[0].Name); n != maxName || !strings.HasSuffix(e.Files[0].Name, "….pdf") || e.Files[0].MIME != "" {
		t.Errorf("%d characters, %q", n, e.Files[0].MIME)
	}
	e = f.one(`{"operation":"syn/addattachment","comment":"c","class":"UserRequest","key":2,"attachments":[{"data":"QQ==","filename":"a","mimetype":"a/b\r\nX-Atlassian-Token: x"}]}`)
	if e.Files[0].MIME != "" {
		t.Errorf("%q", e.Files[0].MIME)
	}
}

// TestMultipartPartThatLies: a part may say what it likes of its size, and hide
// base64 of its own kind: what counts is what came.
func TestMultipartPartThatLies(t *testing.T) {
	f := newFace(t)
	for _, head := range []string{"Content-Length: 3\r\n", "Content-Length: 99999999999\r\n", "Content-Transfer-Encoding: base64\r\n", ""} {
		body := "--b\r\n" + head + "Content-Disposition: form-data; name=\"json_data\"\r\n\r\n" + update(`{"title":"a"}`) + "\r\n--b\r\nContent-Disposition: form-data; name=\"version\"\r\n\r\n1.3\r\n--b--"
		if h := f.post("multipart/form-data; boundary=b", body, "Auth-Token", faceToken); h.Code != 0 || len(f.desk.events()) != 1 {
			t.Errorf("%q: %s", head, h.raw)
		}
	}
}

// TestAnAnswerWithoutEnd: an iTop, or what answers in its place, cannot fill our
// memory, whatever its answer is made of.
func TestAnAnswerWithoutEnd(t *testing.T) {
	flood := func(head, fill string, n int) io.Reader {
		block := strings.NewReader(strings.Repeat(fill, 1<<20/len(fill)))
		var blocks []io.Reader
		for range n>>20 + 1 {
			blocks = append(blocks, io.NewSectionReader(block, 0, block.Size()))
		}
		return io.MultiReader(append([]io.Reader{strings.NewReader(head)}, blocks...)...)
	}
	it := answering(t, func() io.Reader { return flood(`{"code":0,"message":"`, "x", maxAnswer) })
	if _, err := it.ticket(t.Context(), "1", "id"); err == nil || !strings.Contains(err.Error(), "more than 67108864 bytes") {
		t.Error(err)
	}
	// One that brings a file: its words are bounded, and many files are too many.
	for name, c := range map[string]struct {
		head, fill string
		n, puts    int
		says       string
	}{
		"words beside the file": {`{"code":0,"x":"`, "x", maxAnswer + 1<<20, 0, "too long"},
		"many files":            {`{"code":0,"objects":{"A::1":{"code":0,"fields":{"contents":{"data":"QQ=="`, `,"data":"QQ=="`, 1 << 20, maxFiles, ""},
	} {
		it, d := answering(t, func() io.Reader { return flood(c.head, c.fill, c.n) }), newRecorder()
		e := &passerelle.Event{Kind: passerelle.Attach, Key: "1", Source: "7"}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := it.Fetch(t.Context(), e, d)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; err == nil || !strings.Contains(err.Error(), c.says) || d.puts != c.puts || got > 5*maxAnswer {
			t.Errorf("%s: %d files, %d bytes allocated, %v", name, d.puts, got, err)
		}
		d.released(t)
	}
}

// answering is a client of an iTop that always answers the same.
func answering(t testing.TB, body func() io.Reader) *ITop {
	t.Helper()
	it, err := New(Config{Contract: "c", Side: passerelle.Requester, BaseURL: "http://itop.example", User: "gateway", Password: canary, MarkField: "title",
		Scope: "SELECT UserRequest WHERE team_name = 'x'", History: true, Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(body())}, nil
		})})
	if err != nil {
		t.Fatal(err)
	}
	it.waits = nil
	return it
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	return f(r)
}

// recorded adds what real iTops said and were told as seeds.
func recorded(f *testing.F, add func(body, answer string)) {
	f.Helper()
	files, err := filepath.Glob("itopsim/testdata/recordings/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal("no recordings", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 20_000 {
			add(gjson.GetBytes(b, "request").Raw, gjson.GetBytes(b, "response").Raw)
		}
	}
}

// FuzzFace: the whole face, as a web server calls it. It always answers in
// iTop's shape; a stranger leaves nothing; what is accepted is whole.
func FuzzFace(f *testing.F) {
	kinds := []string{"application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", ""}
	for _, s := range []string{logMessage, update(`{"title":"a","title":"b","public_log":"<p>x</p>"}`), sized(300, "é.txt"), `{"hint":true,"operation":"x","customer_id":"5"}`,
		`{"auth_user":"` + faceUser + `","auth_pwd":"` + facePassword + `",` + logMessage[1:], update(`{"provider_id":1e3,"provider_ref":"\ud83d\ude00"}`)} {
		f.Add(byte(0), true, []byte(s))
		f.Add(byte(1), false, []byte(url.Values{"auth_user": {faceUser}, "auth_pwd": {facePassword}, "version": {"1.3"}, "json_data": {s}}.Encode()))
		f.Add(byte(2), true, []byte("--b\r\nContent-Disposition: form-data; name=\"version\"\r\n\r\n1.3\r\n--b\r\nContent-Disposition: form-data; name=\"json_data\"\r\n\r\n"+s+"\r\n--b--"))
		f.Add(byte(3), false, []byte(s))
	}
	f.Fuzz(func(t *testing.T, kind byte, known bool, body []byte) {
		cfg := faceConfig()
		if kind&4 != 0 {
			cfg.Side = passerelle.Partner
		}
		it, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		d, w := newRecorder(), httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", kinds[kind&3])
		if known {
			r.Header.Set("Auth-Token", faceToken)
		}
		it.Serve(w, r, d)
		var said struct {
			Code *int
		}
		if json.Unmarshal(w.Body.Bytes(), &said) != nil || said.Code == nil || w.Code != 200 && w.Code != 503 || w.Body.Len() > 1<<20 {
			t.Fatalf("HTTP %d %.500s", w.Code, w.Body)
		}
		if !known && !bytes.Contains(body, []byte("password")) && !bytes.Contains(body, []byte("%")) && !bytes.Contains(body, []byte("token")) && !bytes.Contains(body, []byte(`\`)) && (len(d.accepted)+len(d.looked) > 0 || *said.Code == 0) {
			t.Fatalf("a stranger was heard: %s", w.Body)
		}
		if *said.Code != 0 && len(d.accepted) > 0 {
			t.Fatalf("refused and accepted: %s", w.Body)
		}
		for _, e := range d.accepted {
			wholeEvent(t, e)
		}
		for _, key := range d.looked {
			if len(key) > maxKey+20 || !utf8.ValidString(key) {
				t.Fatalf("looked at %q", key)
			}
		}
		d.released(t)
		if len(it.guests) != 0 {
			t.Fatal("a place is still taken")
		}
	})
}

// wholeEvent checks what holds of each event, wherever it comes from.
func wholeEvent(t *testing.T, e *passerelle.Event) {
	t.Helper()
	text := func(what, s string, most int) {
		if !utf8.ValidString(s) || len(s) > most {
			t.Fatalf("%s: %d bytes, %.100q", what, len(s), s)
		}
	}
	line := func(what, s string, most int) {
		if text(what, s, most); strings.ContainsFunc(s, unicode.IsControl) {
			t.Fatalf("%s: %.100q", what, s)
		}
	}
	line("key", e.Key, maxKey)
	line("signal", e.Signal, maxKey)
	line("alias", e.Alias, 2*maxKey+4*maxName)
	for _, n := range e.Names {
		line("name", n, 4*maxKey)
	}
	for _, c := range e.Claims {
		line("claim", c.Key, maxKey)
	}
	for k, v := range e.Fields {
		text("field", k, 1<<20)
		text(k, v, 1<<20)
	}
	for _, file := range e.Files {
		line("file", file.Name, 4*maxName)
		line("type", file.MIME, maxKey)
	}
	if len(e.Fields) > maxMembers || e.Contract != "c" {
		t.Fatalf("%d fields, contract %q", len(e.Fields), e.Contract)
	}
	b, err := json.Marshal(e)
	var again passerelle.Event
	if err != nil || json.Unmarshal(b, &again) != nil {
		t.Fatalf("it cannot be stored: %v", err)
	}
	if again.At = e.At; !reflect.DeepEqual(again.Fields, e.Fields) && len(e.Fields) > 0 || !reflect.DeepEqual(again.Names, e.Names) && len(e.Names) > 0 {
		t.Fatalf("stored and read it differs: %+v, %+v", e, again)
	}
}

// FuzzMultipart: the parts that the face sees are those that the standard
// library's form reader sees, however they arrive.
func FuzzMultipart(f *testing.F) {
	for _, s := range []string{"--b\r\nContent-Disposition: form-data; name=\"version\"\r\n\r\n1.3\r\n--b--", "--b\r\n\r\n\r\n--b--\r\n", "--b\nContent-Disposition: form-data; name=a\n\nx\n--b--", "--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"b\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=41\r\n--b--x", "--b"} {
		f.Add([]byte(s))
	}
	read := func(r io.Reader) (out []string, err error) {
		err = eachPart(&cappedReader{r: r, left: 1 << 20}, "b", func(p part) error {
			b, err := io.ReadAll(p.r)
			out = append(out, p.name+"="+string(b))
			return err
		})
		return out, err
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := read(bytes.NewReader(b))
		one, oneErr := read(iotest.OneByteReader(bytes.NewReader(b)))
		if !reflect.DeepEqual(got, one) || (err == nil) != (oneErr == nil) {
			t.Fatalf("read byte by byte it differs: %q %v, %q %v", got, err, one, oneErr)
		}
		var want []string
		mr := multipart.NewReader(bytes.NewReader(b), "b")
		for err == nil {
			p, end := mr.NextPart()
			if end != nil {
				break
			}
			text, _ := io.ReadAll(p)
			want = append(want, p.FormName()+"="+string(text))
		}
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}

// FuzzSound: a text without members of one name is left alone; of one with
// them the standard library, which keeps the last too, reads the same.
func FuzzSound(f *testing.F) {
	for _, s := range []string{`{"a":1,"a":2}`, `{"a":{"b":1,"\u0062":[]},"a":{}}`, `[1,-0.5e3,"\"{",[{"":0,"":null}]]`, `1e999999`, `{"a":[{"a":1},{"a":1}]}`, strings.Repeat("9", 200)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if depth(b) > 100 || !gjson.ValidBytes(b) || !json.Valid(b) || !utf8.Valid(b) || loneSurrogate(b) {
			return
		}
		twice, err := sound(b)
		var want, got any
		if bad := json.Unmarshal(b, &want); (bad == nil) != (err == nil) && len(b) < maxDigits {
			t.Fatalf("%s: %v, the standard library says %v", b, err, bad)
		}
		if err != nil {
			return
		}
		out := last(b)
		if again, err := sound(out); again || err != nil || json.Unmarshal(out, &got) != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s became %s", b, out)
		}
		if !twice && !reflect.DeepEqual(fields(gjson.ParseBytes(b)), fields(gjson.ParseBytes(out))) {
			t.Fatalf("%s was changed to %s", b, out)
		}
	})
}

// fields counts the members at the top.
func fields(v gjson.Result) (n int) {
	v.ForEach(func(_, _ gjson.Result) bool { n++; return true })
	return n
}

// FuzzITopAnswer: whatever answers in an iTop's place, each call ends with a
// result that is whole or a classified error, which never tells our password.
func FuzzITopAnswer(f *testing.F) {
	for _, s := range []string{`{"code":0,"message":"Found: 0","objects":null}`, "<html>", `{"code":1,"message":"Error: Invalid login ` + canary + `"}`, `{"code":0,"objects":{"UserRequest::1":{"code":0,"key":"1","fields":{"id":"1","ref":"R-1","public_log":{"entries":[{"date":"2026-01-01 10:00:00","user_login":"a","user_id":"1","message":"x","message_html":"<p>x</p>"}]}}}}}`,
		`{"code":0,"objects":{"Attachment::7":{"code":0,"key":"7","fields":{"item_id":"1","contents":{"data":"QQ==","mimetype":"a/b","filename":"é"}}}}}`, "{\"code\":0,\"objects\":{\"A::1\":{\"code\":0,\"key\":\"1\",\"fields\":{\"status\":\"\xff\"}}}}"} {
		f.Add([]byte(s))
	}
	recorded(f, func(_, answer string) { f.Add([]byte(answer)) })
	f.Fuzz(func(t *testing.T, b []byte) {
		it, d := answering(t, func() io.Reader { return bytes.NewReader(b) }), newRecorder()
		clean := func(err error) {
			var e *passerelle.Error
			switch {
			case err == nil, strings.Contains(fmt.Sprintf("%v", err), "not found"):
			case !asError(err, &e) && err != passerelle.ErrAbsent && err != passerelle.ErrUnknown:
				t.Fatalf("not classified: %v", err)
			case strings.Contains(err.Error(), canary) || !utf8.ValidString(err.Error()) || len(err.Error()) > 1<<14:
				t.Fatalf("%q", err)
			}
		}
		ctx := t.Context()
		one, err := it.ticket(ctx, "1", "status")
		if clean(err); !utf8.ValidString(one.Raw) {
			t.Fatalf("%q", one.Raw)
		}
		s, err := it.Read(ctx, "1")
		if clean(err); err == nil {
			for _, e := range s.Events {
				wholeEvent(t, e)
			}
		}
		e := &passerelle.Event{Contract: "c", Kind: passerelle.Attach, Key: "1", Source: "7"}
		if err = it.Fetch(ctx, e, d); err == nil {
			wholeEvent(t, e)
			d.Release(e.Files...)
		}
		clean(err)
		c, err := it.Changed(ctx, passerelle.Since{Cursor: "2026-01-01 00:00:00", Known: []passerelle.Ref{{Key: "1"}}, Others: true})
		if clean(err); err == nil && !utf8.ValidString(c.Next) {
			t.Fatalf("%q", c.Next)
		}
		for _, m := range []*passerelle.Message{
			{ID: "1", Op: "core/create", Body: []byte(`{"operation":"core/create","comment":"c","class":"UserRequest","fields":{"title":"t"}}`)},
			{ID: "2", Op: "core/update", Key: "1", Body: []byte(update(`{"public_log":"<p>x</p>"}`)), Rich: []string{"fields.public_log"}},
		} {
			r, err := it.Deliver(ctx, m, d)
			if clean(err); err == nil {
				for _, n := range append(r.Names, r.Ref.Key, r.Ref.Number) {
					if !utf8.ValidString(n) {
						t.Fatalf("%q", n)
					}
				}
			}
			_, err = it.Probe(ctx, m, d)
			clean(err)
		}
		d.released(t)
	})
}

func asError(err error, to **passerelle.Error) bool {
	for err != nil {
		if e, ok := err.(*passerelle.Error); ok {
			*to = e
			return true
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return false
		}
		err = u.Unwrap()
	}
	return false
}

// FuzzTell: a payload of a contract, filled from a ticket with any text.
func FuzzTell(f *testing.F) {
	for _, s := range []string{update(`{"title":"$this->title$","public_log":"$this->html(title)$"}`), `{"operation":"core/create"}`, `"$this->x$"`, `{"hint":true}`, update(`{"title":"$this->label(title)$ $x$"}`)} {
		f.Add([]byte(s), "<p>é\x00 $this->ref$</p>")
	}
	f.Fuzz(func(t *testing.T, payload []byte, text string) {
		if depth(payload) > 1000 {
			return // a contract's own, read from a file of 64 KB at most
		}
		value, _ := json.Marshal(text)
		it := answering(t, func() io.Reader {
			return strings.NewReader(`{"code":0,"objects":{"UserRequest::1":{"code":0,"key":"1","fields":{"id":"1","title":` + string(value) + `}}}}`)
		})
		events, err := it.Tell(t.Context(), "1", payload)
		var e *passerelle.Error
		if err != nil && !asError(err, &e) {
			t.Fatalf("not classified: %v", err)
		}
		for _, e := range events {
			wholeEvent(t, e)
		}
	})
}

// FuzzBase64: of a file's text, in any escapes, exactly its bytes are kept, or
// it is refused by name.
func FuzzBase64(f *testing.F) {
	for _, s := range []string{"aGVsbG8=", "aGVsbG8", "====", "a", "aGVs\nbG8=", "aGVsbG8=aGVs", "-_", "QQ=="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data string) {
		if !utf8.ValidString(data) {
			return
		}
		raw, _ := json.Marshal(data)
		d := newRecorder()
		s := newSplicer(strings.NewReader(`{"attachments":[{"data":`+string(raw)+`}]}`), d, 1<<20)
		if err := s.splice(); err != nil {
			t.Fatal(err)
		}
		want, bad := base64.StdEncoding.DecodeString(strings.NewReplacer("\n", "", "\r", "", "\t", "", " ", "").Replace(data))
		got := s.files[0]
		if (got.err == nil) != (bad == nil) || bad == nil && d.bytesOf(t, got.file) != string(want) {
			t.Fatalf("%q: %v, want %q, %v", data, got.err, want, bad)
		}
		letGo(s, d)
		d.released(t)
	})
}
