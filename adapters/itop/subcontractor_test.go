package itop

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"passerelle"
	"passerelle/adapters/itop/itopsim"
)

// subcontractor is a stock iTop 3.2.0 as the partner's tool: no field, stimulus
// or operation of the contract's own.
type subcontractor struct {
	t    *testing.T
	sim  *itopsim.Sim
	url  string
	itop *ITop
	desk *recorder
	// spoil changes what reaches the iTop, and tamper what it answers.
	spoil  func(body string) string
	tamper func(request, answer string) string
	mu     sync.Mutex
	asked  []string // bodies of the requests so far
}

func newSubcontractor(t *testing.T, change ...func(*Config)) *subcontractor {
	t.Helper()
	sim, err := itopsim.New(&itopsim.Fixture{Model: itopsim.ModelStock,
		Accounts: []itopsim.Account{
			{Login: "gateway", Password: "pw", Profiles: []string{itopsim.ProfileREST, itopsim.ProfileAgent}, Name: "Compte Passerelle", Language: "FR FR"},
			{Login: "agent", Password: "demo-itop-agent", Profiles: []string{itopsim.ProfileAgent}, Name: "Agent FRS"}},
		Objects: []itopsim.Object{
			{Class: "Organization", ID: 1, Fields: map[string]any{"name": "FRS"}},
			{Class: "Team", ID: 1, Fields: map[string]any{"name": "N1", "org_id": "FRS"}},
			{Class: "Team", ID: 2, Fields: map[string]any{"name": "N2", "org_id": "FRS"}}}})
	if err != nil {
		t.Fatal(err)
	}
	s := &subcontractor{t: t, sim: sim, desk: newRecorder()}
	srv := httptest.NewServer(s)
	t.Cleanup(func() { srv.Close(); sim.Close() })
	s.url = srv.URL
	s.itop = s.client(change...)
	return s
}

func (s *subcontractor) client(change ...func(*Config)) *ITop {
	s.t.Helper()
	cfg := Config{Contract: "c", Side: passerelle.Partner, BaseURL: s.url, User: "gateway", Password: "pw", Timeout: 5 * time.Second}
	for _, c := range change {
		c(&cfg)
	}
	it, err := New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return it
}

// ServeHTTP is the way to the iTop; people in its console are not disturbed.
func (s *subcontractor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/console/") {
		s.sim.ServeHTTP(w, r)
		return
	}
	b, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.asked = append(s.asked, string(b))
	s.mu.Unlock()
	request := string(b)
	if s.spoil != nil {
		request = s.spoil(request)
	}
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(request)), int64(len(request))
	rec := httptest.NewRecorder()
	s.sim.ServeHTTP(rec, r)
	answer := rec.Body.String()
	if s.tamper != nil {
		answer = s.tamper(request, answer)
	}
	w.WriteHeader(rec.Code)
	_, _ = io.WriteString(w, answer)
}

// asking counts the requests that hold all the words, form-encoded or not.
func (s *subcontractor) asking(words ...string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, body := range s.asked {
		all := true
		for _, w := range words {
			all = all && strings.Contains(body, w)
		}
		if all {
			n++
		}
	}
	return n
}

const createTemplate = `{"operation":"core/create","class":"UserRequest","comment":"c","output_fields":"id, ref","fields":{"org_id":1,"title":%TITLE%,"description":"<p>d</p>"}}`

func createMessage(t *testing.T, title string) *passerelle.Message {
	t.Helper()
	return &passerelle.Message{ID: "c/2/1", Op: "core/create", Kind: passerelle.Create, To: passerelle.Partner,
		Body: json.RawMessage(strings.ReplaceAll(createTemplate, "%TITLE%", quoteJSON(title)))}
}

// quoteJSON spells < and > as they are, as the contract's rendering does.
func quoteJSON(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s)
	return strings.TrimSuffix(b.String(), "\n")
}

// ticket makes a ticket by a create of ours.
func (s *subcontractor) ticket() passerelle.Ref {
	s.t.Helper()
	return deliver(s.t, s.itop, createMessage(s.t, "FRS-000001 Panne"), s.desk).Ref
}

func (s *subcontractor) console(body string) { s.t.Helper(); person(s.t, s.url, body) }

func (s *subcontractor) stimulus(key, name, fields string, goals ...string) *passerelle.Message {
	return &passerelle.Message{ID: name, Op: "core/apply_stimulus", Key: key, Number: "R-000001", Goals: goals,
		Body: json.RawMessage(`{"operation":"core/apply_stimulus","class":"UserRequest","comment":"c","key":"` + key + `","stimulus":"` + name + `","output_fields":"id","fields":{` + fields + `}}`)}
}

func (s *subcontractor) status(key string) string {
	s.t.Helper()
	f, err := s.itop.ticket(s.t.Context(), key, "status")
	if err != nil {
		s.t.Fatal(err)
	}
	return f.Get("status").String()
}

func (s *subcontractor) entry(key, log, html string) *passerelle.Message {
	return &passerelle.Message{ID: "entry", Op: "core/update", Key: key, Number: "R-000001", Rich: []string{"fields." + log},
		Body: json.RawMessage(`{"operation":"core/update","class":"UserRequest","comment":"c","key":"` + key + `","output_fields":"id","fields":{"` + log + `":` + quoteJSON(html) + `}}`)}
}

// attachmentMessage is a file as a plain Attachment object.
func (s *subcontractor) attachmentMessage(key, name, content string) *passerelle.Message {
	s.t.Helper()
	f, err := s.desk.Put(s.t.Context(), strings.NewReader(content))
	if err != nil {
		s.t.Fatal(err)
	}
	f.Name, f.MIME = name, "text/plain"
	// As the contract's rendering writes it: the token stands for bytes once.
	filename := strings.ReplaceAll(quoteJSON(name), passerelle.DataToken, `\u0024`+passerelle.DataToken[1:])
	return &passerelle.Message{ID: "file", Op: "core/create", Key: key, Number: "R-000001", Files: []passerelle.File{f},
		Body: json.RawMessage(`{"operation":"core/create","class":"Attachment","comment":"c","output_fields":"id","fields":{"item_class":"UserRequest","item_id":"` + key +
			`","item_org_id":1,"contents":{"filename":` + filename + `,"data":"` + passerelle.DataToken + `","mimetype":"text/plain"}}}`)}
}

// facts are the names of what a reading finds.
func (s *subcontractor) facts(key string, kinds ...passerelle.Kind) []string {
	s.t.Helper()
	snap, err := s.itop.Read(s.t.Context(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, e := range snap.Events {
		for _, k := range kinds {
			if e.Kind == k {
				out = append(out, e.Names...)
			}
		}
	}
	return out
}
