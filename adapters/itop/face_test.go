package itop

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"passerelle"
)

// recording is one exchange of a real iTop.
type recording struct {
	Request struct {
		Method, Path, Encoding string
		Headers                json.RawMessage
		Form, Query            map[string]json.RawMessage
		JSON                   json.RawMessage
		BodyRaw                string `json:"body_raw"`
	}
	Response struct {
		Body json.RawMessage
	}
}

func load(t testing.TB, path string) recording {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var rec recording
	if err := json.Unmarshal(b, &rec); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return rec
}

// text is a parameter as it stood on the wire: json_data is shown parsed.
func text(name string, v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) != nil || name == "json_data" && s == "hello" {
		return string(v)
	}
	return s
}

// replay sends a recorded request to the face.
func (f *face) replay(name string, rec recording) heard {
	f.t.Helper()
	q := rec.Request
	values := url.Values{}
	for _, m := range []map[string]json.RawMessage{q.Form, q.Query} {
		for k, v := range m {
			values.Set(k, text(k, v))
		}
	}
	method, path, body, kind := q.Method, f.url, values.Encode(), "application/x-www-form-urlencoded"
	switch {
	case method == http.MethodGet:
		path, body = path+"?"+values.Encode(), ""
	case strings.HasPrefix(q.Encoding, "multipart"):
		body, kind = multipartBody(f.t, values, q.Encoding == "multipart-file")
	case q.Encoding == "rawjson":
		path, body, kind = path+"?version=1.3", string(q.JSON), "application/json"
	}
	r, err := http.NewRequest(method, path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	var headers map[string]string
	_ = json.Unmarshal(q.Headers, &headers)
	if token, ok := headers["Auth-Token"]; ok {
		r.Header.Set("Auth-Token", token)
	}
	if _, ok := headers["Authorization"]; ok {
		r.SetBasicAuth(faceUser, facePassword)
		if strings.Contains(name, "basic-bad") {
			r.SetBasicAuth(faceUser, "nope")
		}
	}
	return f.do(r)
}

func multipartBody(t testing.TB, values url.Values, file bool) (body, kind string) {
	t.Helper()
	var b bytes.Buffer
	mw := multipart.NewWriter(&b)
	for k := range values {
		w, err := mw.CreateFormField(k)
		if file && k == "json_data" {
			w, err = mw.CreateFormFile(k, "message.json")
		}
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte(values.Get(k)))
	}
	_ = mw.Close()
	return b.String(), mw.FormDataContentType()
}

func TestAnswersLikeTheRecordedITop(t *testing.T) {
	paths, _ := filepath.Glob("testdata/recordings/*.json")
	if len(paths) < 50 {
		t.Fatalf("only %d recordings", len(paths))
	}
	for _, path := range paths {
		name := filepath.Base(path)
		if strings.HasPrefix(name, "160-") {
			continue // pushes, see TestRecordedPushes
		}
		t.Run(name, func(t *testing.T) {
			rec := load(t, path)
			var want heard
			if err := json.Unmarshal(rec.Response.Body, &want); err != nil {
				t.Fatal(err)
			}
			_ = json.Unmarshal(rec.Response.Body, &want.has)
			compare(t, newFace(t).replay(name, rec), want)
		})
	}
}

// compare looks at all but what the face has of its own: its list of
// operations, and a hint behind iTop's own words.
func compare(t *testing.T, got, want heard) {
	t.Helper()
	if got.Code != want.Code || got.status != http.StatusOK {
		t.Errorf("HTTP %d code %d (%s), want %d (%s)", got.status, got.Code, got.message(), want.Code, want.message())
	}
	if (got.Message == nil) != (want.Message == nil) {
		t.Errorf("message %q, want %q", got.message(), want.message())
	}
	if want.Operations == nil && !strings.HasPrefix(got.message(), want.message()) {
		t.Errorf("message %q, want %q", got.message(), want.message())
	}
	for _, member := range []string{"code", "message", "objects", "version", "operations", "authorized"} {
		g, gok := got.has[member]
		w, wok := want.has[member]
		if gok != wok || (string(g) == "null") != (string(w) == "null") {
			t.Errorf("member %q is %s, want %s", member, g, w)
		}
	}
	if got.Version != want.Version || (want.Authorized != nil && (got.Authorized == nil || *got.Authorized != *want.Authorized)) {
		t.Errorf("got %s", got.raw)
	}
	for key, o := range want.Objects {
		g := got.Objects[key]
		if g.Code != o.Code || g.Message != o.Message || g.Class != o.Class || g.Key != o.Key || len(g.Fields) != len(o.Fields) {
			t.Errorf("object %s is %+v, want %+v", key, g, o)
		}
		for k, v := range o.Fields {
			if g.Fields[k] != v {
				t.Errorf("field %s is %q, want %q", k, g.Fields[k], v)
			}
		}
	}
}

func TestRecordedPushes(t *testing.T) {
	f := newFace(t)
	push := func(name string) []*passerelle.Event {
		rec := load(t, "testdata/recordings/160-sumit-push-"+name+".json")
		if h := f.hook(rec.Request.BodyRaw); h.Code != 0 {
			t.Fatalf("%s: %s", name, h.raw)
		}
		return f.desk.events()
	}
	events := push("01-console-escalate-1")
	if len(events) != 2 || events[0].Kind != passerelle.Create || events[1].Kind != passerelle.PublicLog {
		t.Fatalf("escalation: %+v", events)
	}
	if e := events[0]; e.Key != "1505" || e.Fields["title"] != `Accès "impossible" à l'ENT \ 😀` || e.Author != "customer" ||
		!slices.Contains(e.Claims, passerelle.Claim{Side: passerelle.Requester, Key: "R-001516"}) {
		t.Errorf("create: %+v", e)
	}
	if _, ok := events[0].Fields["private_log"]; ok {
		t.Error("a private log is in the create: it could come out public (R16)")
	}
	if got := push("06-console-attachment-1"); len(got) != 0 || !slices.Equal(f.desk.looked, []string{"c/requester/1505"}) {
		t.Errorf("hint: %v, %v", got, f.desk.looked)
	}
	if e := push("22-console-close-1")[0]; e.Signal != "ev_close" || e.Kind != "" || e.Fields["user_comment"] != `Merci "beaucoup"` || e.Claims[0] != (passerelle.Claim{Side: passerelle.Broker, Key: "1001"}) {
		t.Errorf("close: %+v", e)
	}
}

const logMessage = `{"operation":"core/update","comment":"c","class":"UserRequest","fields":{"customer_id":"5","public_log":"<p>a+b & é</p>"}}`

func TestEveryTransportGivesTheSameEvent(t *testing.T) {
	form := url.Values{"version": {"1.3"}, "auth_user": {faceUser}, "auth_pwd": {facePassword}, "json_data": {logMessage}}
	urlencoded := "application/x-www-form-urlencoded"
	field, fieldType := multipartBody(t, form, false)
	file, fileType := multipartBody(t, form, true)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(faceUser+":"+facePassword))
	last := "json_data=" + url.QueryEscape(logMessage) + "&version=1.3&auth_pwd=" + url.QueryEscape(facePassword) + "&auth_user=" + faceUser
	for name, send := range map[string]func(f *face) heard{
		"urlencoded":            func(f *face) heard { return f.post(urlencoded, form.Encode()) },
		"urlencoded, user last": func(f *face) heard { return f.post(urlencoded, last) },
		"form without a type":   func(f *face) heard { return f.post("", form.Encode()) },
		"multipart field":       func(f *face) heard { return f.post(fieldType, field) },
		"multipart file":        func(f *face) heard { return f.post(fileType, file) },
		"GET, Basic": func(f *face) heard {
			r, _ := http.NewRequest(http.MethodGet, f.url+"?"+url.Values{"version": {"1.3"}, "json_data": {logMessage}}.Encode(), nil)
			r.SetBasicAuth(faceUser, facePassword)
			return f.do(r)
		},
		"bare JSON, token": func(f *face) heard { return f.hook(logMessage) },
		"bare JSON, Basic": func(f *face) heard { return f.post("application/json", logMessage, "Authorization", basic) },
		"bare JSON, Bearer": func(f *face) heard {
			return f.post("application/json", logMessage, "Authorization", "bearer "+faceToken)
		},
		"bare JSON, charset": func(f *face) heard {
			return f.post("application/json; charset=utf-8", logMessage, "Auth-Token", faceToken)
		},
		"bare JSON, text":    func(f *face) heard { return f.post("text/plain", " \n"+logMessage, "Auth-Token", faceToken) },
		"bare JSON, no type": func(f *face) heard { return f.post("", logMessage, "Auth-Token", faceToken) },
		"bare JSON, credentials inside": func(f *face) heard {
			return f.post("application/json", `{"auth_url":"x","auth_user":"sumit-broker","auth_pwd":"<password>",`+logMessage[1:])
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFace(t)
			h := send(f)
			events := f.desk.events()
			if h.Code != 0 || len(events) != 2 || events[0].Fields["public_log"] != "<p>a+b & é</p>" || events[0].Key != "5" {
				t.Errorf("%s, events %+v", h.raw, events)
			}
		})
	}
}

func TestAnEarlierVersionIsAsGood(t *testing.T) {
	for version, code := range map[string]int{"1.0": 0, "1.1": 0, "1.2": 0, "1.3": 0, "1.4": 0, "1.5": 10, "2.0": 10, "1": 10, "é\xff": 10} {
		f := newFace(t)
		form := url.Values{"version": {version}, "json_data": {`{"operation":"list_operations"}`}}
		if h := f.post("application/x-www-form-urlencoded", form.Encode(), "Auth-Token", faceToken); h.Code != code {
			t.Errorf("version %q: %s, want code %d", version, h.raw, code)
		}
	}
}

// A stranger hears nothing but "Invalid login", and leaves nothing.
func TestStrangersLeaveNothing(t *testing.T) {
	attach := `{"operation":"syn/addattachment","comment":"c","class":"UserRequest","key":"2","attachments":[{"data":"aGVsbG8=","filename":"a"}]}`
	form := func(v url.Values) string { v.Set("version", "1.3"); v.Set("json_data", attach); return v.Encode() }
	good := url.Values{"auth_user": {faceUser}, "auth_pwd": {facePassword}}
	for name, c := range map[string]struct {
		body, kind string
		header     []string
	}{
		"nobody":                          {form(url.Values{}), "", nil},
		"nobody, bare":                    {attach, "application/json", nil},
		"bad JSON":                        {`{"operation":`, "application/json", nil},
		"bad version":                     {"version=9&json_data=1", "", nil},
		"wrong password":                  {form(url.Values{"auth_user": {faceUser}, "auth_pwd": {"x"}}), "", nil},
		"no password":                     {form(url.Values{"auth_user": {faceUser}}), "", nil},
		"a token's user without password": {form(url.Values{"auth_user": {"webhook"}}), "", nil},
		"wrong token, good form":          {form(good), "", []string{"Auth-Token", "x"}},
		"wrong Basic, good form":          {form(good), "", []string{"Authorization", "Basic eDp4"}},
		"wrong token, good Basic":         {form(url.Values{}), "", []string{"Auth-Token", "x", "Authorization", "Basic c3VtaXQtYnJva2VyOjxwYXNzd29yZD4="}},
		"wrong form, good message":        {"auth_user=a&auth_pwd=b&version=1.3&json_data=" + url.QueryEscape(`{"auth_user":"sumit-broker","auth_pwd":"<password>",`+attach[1:]), "", nil},
		"a user here, a password there":   {"auth_user=" + faceUser + "&version=1.3&json_data=" + url.QueryEscape(`{"auth_pwd":"<password>",`+attach[1:]), "", nil},
		"an empty token":                  {form(url.Values{"auth_token": {""}}), "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if c.kind == "" {
				c.kind = "application/x-www-form-urlencoded"
			}
			f := newFace(t)
			h := f.post(c.kind, c.body, c.header...)
			if h.Code != 1 || h.message() != "Error: Invalid login" || h.has["objects"] != nil || h.status != 200 {
				t.Error(h.raw)
			}
			if len(f.desk.events())+len(f.desk.looked) != 0 {
				t.Error("something was accepted")
			}
		})
	}
}

// R26: what a partner's agent puts into its message is checked and dropped.
func TestR26CredentialsInTheMessageGoNoFurther(t *testing.T) {
	f := newFace(t, partner)
	h := f.post("application/json", `{"auth_url":"https://elsewhere.example","auth_user":"sumit-broker","auth_pwd":"<password>",
		"operation":"core/update","comment":"c","class":"UserRequest","key":"2","fields":{"public_log":"<p>x</p>","provider_id":"10042"}}`)
	events := f.desk.events()
	b, _ := json.Marshal(events)
	if h.Code != 0 || len(events) != 2 {
		t.Fatal(h.raw)
	}
	for _, secret := range []string{facePassword, "auth_", "elsewhere", faceUser} {
		if bytes.Contains(b, []byte(secret)) || strings.Contains(h.raw, secret) {
			t.Errorf("%q went further: %s %s", secret, b, h.raw)
		}
	}
	if e := events[0]; e.Key != "10042" || e.From != passerelle.Partner || e.Claims[0] != (passerelle.Claim{Side: passerelle.Broker, Key: "2"}) {
		t.Errorf("%+v", e)
	}
}

func TestCheckCredentialsNeedsBoth(t *testing.T) {
	f := newFace(t)
	f.fails(`{"operation":"core/check_credentials","user":"x"}`, 100, "Missing parameter 'password'")
	if h := f.hook(`{"operation":"core/check_credentials","user":"webhook","password":""}`); h.Authorized == nil || *h.Authorized {
		t.Error(h.raw)
	}
}

func TestGet(t *testing.T) {
	f := newFace(t)
	for key, found := range map[string]bool{
		`2`: true, `"2"`: true, `"R-000002"`: true, `{"ref":"R-000002"}`: true, `{"id":2}`: true,
		`"SELECT UserRequest WHERE ref='R-000002'"`: true, `"SELECT UserRequest WHERE id = 2"`: true,
		`"999"`: false, `{"ref":"R-1"}`: false,
	} {
		h := f.hook(`{"operation":"core/get","class":"UserRequest","key":` + key + `,"output_fields":"id, ref ,status"}`)
		want := map[bool]string{true: "Found: 1", false: "Found: 0"}[found]
		if h.Code != 0 || h.message() != want || found == (string(h.has["objects"]) == "null") {
			t.Errorf("key %s: %s", key, h.raw)
		}
		if o := h.Objects["UserRequest::2"]; found && (o.Fields["ref"] != "R-000002" || o.Fields["status"] != "open" || len(o.Fields) != 3) {
			t.Errorf("key %s: %s", key, h.raw)
		}
	}
	for output, n := range map[string]int{``: 8, `,"output_fields":"*"`: 8, `,"output_fields":"*+"`: 8, `,"output_fields":"id"`: 1, `,"output_fields":{"ref":"","id":""}`: 2} {
		if h := f.hook(`{"operation":"core/get","class":"UserRequest","key":2` + output + `}`); len(h.Objects["UserRequest::2"].Fields) != n {
			t.Errorf("%s: %s", output, h.raw)
		}
	}
	f.fails(`{"operation":"core/get","class":"UserRequest","key":"SELECT UserRequest WHERE title='x'"}`, 100, "id = … or ref")
	f.fails(`{"operation":"core/get","class":"UserRequest","key":{"title":"x"}}`, 100, "key:")
	f.fails(`{"operation":"core/get","class":"Person","key":2}`, 100, "'Person' is not a valid class")
}

// What cannot be stored is an HTTP error too, so that a sender tries again; a
// refusal is not.
func TestWhatIsNotStoredIs503(t *testing.T) {
	for _, op := range []string{logMessage, `{"operation":"core/get","class":"UserRequest","key":2}`, `{"hint":true,"operation":"syn/addattachment","customer_id":"5"}`} {
		f := newFace(t)
		f.desk.refuse = errors.New("the disk is full")
		if h := f.hook(op); h.status != 503 || h.Code != 100 || !strings.Contains(h.message(), "disk") {
			t.Errorf("%s: HTTP %d %s", op, h.status, h.raw)
		}
	}
	f := newFace(t)
	f.desk.refuse = &passerelle.Error{Op: "close", Class: passerelle.Refused, Ticket: "R-001516", Err: errors.New("not from here")}
	if h := f.hook(logMessage); h.status != 200 || h.Code != 100 || h.message() != "Error: close: R-001516: not from here" {
		t.Errorf("HTTP %d %s", h.status, h.raw)
	}
	f = newFace(t)
	f.desk.full = errors.New("the disk is full")
	if h := f.hook(`{"operation":"syn/addattachment","comment":"c","class":"UserRequest","key":"2","attachments":[{"data":"aGVsbG8=","filename":"a"}]}`); h.status != 503 {
		t.Errorf("HTTP %d %s", h.status, h.raw)
	}
}
