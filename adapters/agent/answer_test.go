package agent

import (
	"strings"
	"testing"

	"passerelle"
	"passerelle/internal/foreign"
)

// TestReferenceOfACreate: what an agent may answer, and what is learned of it
// (R5: nothing is no error).
func TestReferenceOfACreate(t *testing.T) {
	none := passerelle.Ref{}
	for answer, want := range map[string]passerelle.Ref{
		`{"code":0,"message":"","objects":{"UserRequest::1":{"code":0,"key":"10042","fields":{"ref":"GSN1-4711"}}}}`: {Key: "10042", Number: "GSN1-4711"},
		`{"code":0,"objects":{"X::1":{"key":10042,"fields":{}}}}`:                                                    {Key: "10042"},
		`{"code":0,"objects":{"X::1":{"fields":{"id":"10042","ref":"GSN1-4711"}}}}`:                                  {Key: "10042", Number: "GSN1-4711"},
		`{"id":"10042","key":"GSN1-4711","self":"https://x/"}`:                                                       {Key: "10042", Number: "GSN1-4711"},
		`{"id":10042,"ref":"GSN1-4711"}`:                                                                             {Key: "10042", Number: "GSN1-4711"},
		"\ufeff {\"id\":10042}":                                                                                      {Key: "10042"},
		`{"key":"10042","ref":"GSN1-4711"}`:                                                                          {Key: "10042", Number: "GSN1-4711"},
		`{"key":"GSN1-4711"}`:                                                                                        {Number: "GSN1-4711"},
		`{"ref":"GSN1-4711"}`:                                                                                        {Number: "GSN1-4711"},
		`{"code":0}`:                                                                                                 none,
		`{"code":0,"objects":null}`:                                                                                  none,
		`{"code":0,"objects":{"X::1":{"key":1},"X::2":{"key":2}}}`:                                                   none, // which?
		`{"code":"0"}`:                              none,
		`{"code":null,"objects":[]}`:                none,
		`{"id":{"a":1},"key":["x"]}`:                none,
		`{"id":true,"key":1.5}`:                     none,
		`{"id":"a\u0000b","ref":"a\nb"}`:            none,
		`{"id":"` + strings.Repeat("9", 200) + `"}`: none,
		`{"id":"7","ref":"FRS-000007"}`:             none, // our own number
		`{"code":0,"objects":{"X::1":{"key":"7","fields":{"ref":"FRS-000007"}}}}`: none,
		``:                                 none,
		`null`:                             none,
		`OK`:                               none,
		`"GSN1-4711"`:                      none,
		`[{"id":1}]`:                       none,
		`{"id":1`:                          none,
		`<html>code: 1</html>`:             none,
		strings.Repeat("[", 500_000):       none,
		strings.Repeat("x", maxAnswer+100): none,
	} {
		at, _ := listen(t, 200, answer)
		r, err := deliver(open(t, at, nil), create(), nil)
		if err != nil {
			t.Errorf("%.60s: %v", answer, err)
		} else if r.Ref != want {
			t.Errorf("%.60s: %+v, want %+v", answer, r.Ref, want)
		}
	}
}

// TestOnlyACreateGivesAReference: an agent may answer an update with anything.
func TestOnlyACreateGivesAReference(t *testing.T) {
	at, _ := listen(t, 201, `{"id":10042,"key":"GSN1-4711"}`)
	m := &passerelle.Message{Op: "core/update", Key: "1", Kind: passerelle.PublicLog, Body: []byte(`{}`)}
	if r, err := deliver(open(t, at, nil), m, nil); err != nil || r.Ref != (passerelle.Ref{}) {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestCodeIsARefusal: whatever HTTP says, any code but 0 is told to a person.
func TestCodeIsARefusal(t *testing.T) {
	for answer, want := range map[string]string{
		`{"code":1,"message":"Error: Invalid login"}`:   "code 1: Error: Invalid login",
		`{"code":"100","error":"non  pris\nen charge"}`: "code 100: non pris en charge",
		`{"code":-1}`:                     "code -1: ",
		`{"code":"KO","message":{"a":1}}`: "code KO: ",
		`{"code":0,"objects":{"X::1":{"code":3,"message":"no"}}}`: "code 3: no",
		`{"code":0.5,"id":1,"key":"A-1"}`:                         "code 0.5: ",
		`{"code":2,"message":"` + strings.Repeat("é", 600) + `"}`: "code 2: " + strings.Repeat("é", 250) + "…",
	} {
		at, _ := listen(t, 200, answer)
		r, err := deliver(open(t, at, nil), create(), nil)
		e := fails(t, err, passerelle.Stuck)
		if r != nil || e.Err.Error() != want || e.Hint == "" || e.Op != "agent: core/create" {
			t.Errorf("%.60s: %+v, %v", answer, r, e)
		}
	}
}

// TestHTTPErrorTellsTheAgentsMessage: where it is JSON; a page is not quoted.
func TestHTTPErrorTellsTheAgentsMessage(t *testing.T) {
	for answer, want := range map[string]string{`{"message":"ticket inconnu"}`: "HTTP 422 Unprocessable Entity: ticket inconnu", `<html>no`: "HTTP 422 Unprocessable Entity"} {
		at, _ := listen(t, 422, answer)
		_, err := deliver(open(t, at, nil), create(), nil)
		if e := fails(t, err, passerelle.Stuck); e.Err.Error() != want {
			t.Errorf("%s: %v", answer, e)
		}
	}
}

// TestAnswerThatCannotBeRead: a JSON too big or too deep may be a refusal.
func TestAnswerThatCannotBeRead(t *testing.T) {
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}` }
	for _, text := range []string{deep(foreign.MaxDepth + 1), strings.Repeat(`{"a":`, 400_000), `{"a":"` + strings.Repeat("x", maxAnswer) + `"}`} {
		at, _ := listen(t, 200, text)
		_, err := deliver(open(t, at, nil), create(), nil)
		fails(t, err, passerelle.Unsure)
	}
	at, _ := listen(t, 200, deep(foreign.MaxDepth))
	if _, err := deliver(open(t, at, nil), create(), nil); err != nil {
		t.Error(err)
	}
}

// FuzzAnswer: nothing that an agent says breaks us, and no reference is odd.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{`{"code":0,"objects":{"X::1":{"key":1,"fields":{"ref":"a"}}}}`, `{"id":1,"key":"A-1"}`, `{"code":"1","message":"x"}`, "\ufeff{}", `{"objects":{"a":null}}`} {
		f.Add([]byte(s))
	}
	a, err := New(Config{Contract: "c", Side: passerelle.Partner, URL: "http://x", User: user, Password: "FUZZCANARY"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		said, err := a.judge(text)
		if err != nil {
			quiet(t, nil, err)
			if strings.Contains(err.Error(), "FUZZCANARY") {
				t.Error(err)
			}
			return
		}
		for _, s := range []string{a.refOf(said, create()).Key, a.refOf(said, create()).Number} {
			if len(s) > maxWord || strings.IndexFunc(s, unprintable) >= 0 || strings.Contains(s, "FUZZCANARY") {
				t.Errorf("%q", s)
			}
		}
	})
}
