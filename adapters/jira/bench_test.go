package jira_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"passerelle"
	"passerelle/adapters/jira"
	"passerelle/adapters/jira/jirasim"
	"passerelle/internal/fault"
)

// bench is a Jira simulator behind a socket, and our adapter in front of it.
type bench struct {
	*testing.T
	sim   *jirasim.Sim
	url   string
	jira  *jira.Jira
	spool *spool
}

const (
	ownID = "70042"
	goalA = "A clôturer"
)

// newBench starts the reference contract's Jira; change may alter it.
func newBench(t *testing.T, change ...func(*jirasim.Fixture)) *bench {
	t.Helper()
	f, err := os.Open("../../contracts/orleans-tours-gar/v1/demo/jira.json")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	fx, err := jirasim.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(fx)
	}
	sim, err := jirasim.New(fx)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(sim)
	s.Config.ErrorLog = nil
	s.Start()
	t.Cleanup(sim.Close)
	t.Cleanup(s.Close)
	b := &bench{T: t, sim: sim, url: s.URL + fx.ContextPath, spool: &spool{}}
	b.jira = b.adapter(nil)
	return b
}

// adapter makes an adapter for the bench's Jira; change may alter its
// configuration.
func (b *bench) adapter(change func(*jira.Config), opts ...jira.Option) *jira.Jira {
	b.Helper()
	cfg := jira.Config{
		Contract: "c", Side: passerelle.Partner, BaseURL: b.url, User: "gateway", Password: "demo-jira-gateway",
		Project: "GSN1", MarkField: "customfield_12005", SearchDelays: []time.Duration{0, time.Millisecond}, Timeout: 5 * time.Second,
	}
	if change != nil {
		change(&cfg)
	}
	j, err := jira.New(cfg, opts...)
	if err != nil {
		b.Fatal(err)
	}
	return j
}

// placeholder is iTop's syntax for a field of the ticket.
var placeholder = regexp.MustCompile(`\$this->(?:\w+\()?(\w+)\)?\$`)

// message is one of the annex's messages with its placeholders filled.
func (b *bench) message(name, key string, values map[string]string) *passerelle.Message {
	b.Helper()
	raw, err := os.ReadFile("testdata/messages/" + name + ".json")
	if err != nil {
		b.Fatal(err)
	}
	values["id"], values["provider_id"] = ownID, key
	raw = regexp.MustCompile(`"SELECT [^,]*?"\n`).ReplaceAll(raw, []byte("\"Affectation\"\n"))
	raw = regexp.MustCompile(`\{"name": "SELECT .*\}`).ReplaceAll(raw, []byte(`{"name": "Affectation"}`))
	raw = placeholder.ReplaceAllFunc(raw, func(p []byte) []byte {
		field := string(placeholder.FindSubmatch(p)[1])
		if field == "data" {
			return p
		}
		v, _ := json.Marshal(values[field])
		return v[1 : len(v)-1]
	})
	var m struct{ Operation string }
	if err := json.Unmarshal(raw, &m); err != nil {
		b.Fatalf("%s: %v", name, err)
	}
	return &passerelle.Message{
		ID: name + "-1", Op: m.Operation, Key: key, To: passerelle.Partner, Body: raw,
		Rich: []string{"body", "fields.description", "fields.customfield_12003", "fields.customfield_12018"},
	}
}

func (b *bench) creation() *passerelle.Message {
	return b.message("create", "", map[string]string{
		"title": "Accès impossible", "ref": "R-070042", "customer_ref": "R-001515", "last_update_by": "customer",
		"description": "<p>Le <b>médiacentre</b> est vide.</p>", "public_log": "<p>Bonjour</p>",
	})
}

func (b *bench) fileMessage(name, content string) *passerelle.Message {
	m := b.message("add-attachment", "", map[string]string{"filename": name, "mimetype": "text/plain"})
	f, _ := b.spool.Put(context.Background(), strings.NewReader(content))
	f.Name, f.MIME = name, "text/plain"
	m.Files = []passerelle.File{f}
	return m
}

// to is m for another issue, under another id.
func to(m *passerelle.Message, key, id string) *passerelle.Message {
	c := *m
	c.Key, c.ID = key, id
	return &c
}

func (b *bench) deliver(m *passerelle.Message) *passerelle.Receipt {
	b.Helper()
	r, err := b.jira.Deliver(context.Background(), m, b.spool)
	if err != nil {
		b.Fatalf("deliver %s: %v", m.ID, err)
	}
	return r
}

func (b *bench) refuses(m *passerelle.Message, class passerelle.Class, words ...string) *passerelle.Error {
	b.Helper()
	_, err := b.jira.Deliver(context.Background(), m, b.spool)
	return b.isError(err, class, words...)
}

// isError checks a classified error and words of its text.
func (b *bench) isError(err error, class passerelle.Class, words ...string) *passerelle.Error {
	b.Helper()
	var e *passerelle.Error
	if !errors.As(err, &e) {
		b.Fatalf("want a %s error, got %v", class, err)
	}
	if e.Class != class {
		b.Fatalf("want a %s error, got a %s one: %v", class, e.Class, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			b.Fatalf("the error should say %q: %v", w, err)
		}
	}
	return e
}

func (b *bench) probe(m *passerelle.Message) (*passerelle.Receipt, error) {
	return b.jira.Probe(context.Background(), m, b.spool)
}

func (b *bench) read(key string) *passerelle.Snapshot {
	b.Helper()
	s, err := b.jira.Read(context.Background(), key)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// issue creates an issue and returns its id.
func (b *bench) issue() string {
	b.Helper()
	return b.deliver(b.creation()).Ref.Key
}

func (b *bench) fault(r fault.Rule) {
	b.Helper()
	if err := b.sim.Faults().Add(r); err != nil {
		b.Fatal(err)
	}
}

// agent asks Jira as a person of the partner's team would.
func (b *bench) agent(method, path string, body any) map[string]any {
	b.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		b.Fatal(err)
	}
	return b.ask(method, path, "application/json", raw)
}

func (b *bench) ask(method, path, kind string, raw []byte) map[string]any {
	b.Helper()
	if string(raw) == "null" {
		raw = nil
	}
	r, err := http.NewRequest(method, b.url+path, bytes.NewReader(raw))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	r.Header.Set("X-Atlassian-Token", "no-check")
	r.SetBasicAuth("agent-gar", "demo-jira-agent")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	out := map[string]any{}
	text, _ := io.ReadAll(res.Body)
	if res.StatusCode >= 300 {
		b.Fatalf("%s %s: %d %s", method, path, res.StatusCode, text)
	}
	_ = json.Unmarshal(text, &out)
	return out
}

// says writes a comment as an agent. internal may be anything: it is the value
// of Jira's property; nil leaves the property out.
func (b *bench) says(issue, text string, internal any) string {
	b.Helper()
	body := map[string]any{"body": text}
	if internal != nil {
		body["properties"] = []any{map[string]any{"key": "sd.public.comment", "value": map[string]any{"internal": internal}}}
	}
	return b.agent("POST", "/rest/api/2/issue/"+issue+"/comment", body)["id"].(string)
}

// edits changes a comment as an agent, later than it was written as Jira counts.
func (b *bench) edits(issue, comment string, body map[string]any) {
	b.Helper()
	time.Sleep(2 * time.Millisecond)
	b.agent("PUT", "/rest/api/2/issue/"+issue+"/comment/"+comment, body)
}

// goes makes a transition as an agent.
func (b *bench) goes(issue, transition string, fields map[string]any) {
	b.Helper()
	b.agent("POST", "/rest/api/2/issue/"+issue+"/transitions", map[string]any{"transition": map[string]any{"id": transition}, "fields": fields})
}

// attaches adds a file as an agent and returns its id.
func (b *bench) attaches(issue, name, content string) string {
	b.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	part, _ := w.CreateFormFile("file", name)
	_, _ = io.WriteString(part, content)
	_ = w.Close()
	b.ask("POST", "/rest/api/2/issue/"+issue+"/attachments", w.FormDataContentType(), body.Bytes())
	files := b.fields(issue)["attachment"].([]any)
	return files[len(files)-1].(map[string]any)["id"].(string)
}

func (b *bench) fields(issue string) map[string]any {
	b.Helper()
	return b.agent("GET", "/rest/api/2/issue/"+issue, nil)["fields"].(map[string]any)
}

func (b *bench) status(issue string) string {
	b.Helper()
	return b.fields(issue)["status"].(map[string]any)["name"].(string)
}

// writes counts what the gateway's account did, by kind.
func (b *bench) writes(kind string) int {
	n := 0
	for _, w := range b.sim.Writes() {
		if w.User == "gateway" && w.Kind == kind {
			n++
		}
	}
	return n
}

// spool keeps files in memory.
type spool struct {
	mu       sync.Mutex
	kept     map[string][]byte
	released int
}

func (s *spool) Put(_ context.Context, r io.Reader) (passerelle.File, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return passerelle.File{}, err
	}
	sum := sha256.Sum256(raw)
	f := passerelle.File{Size: int64(len(raw)), Sum: hex.EncodeToString(sum[:])}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		s.kept = map[string][]byte{}
	}
	s.kept[f.Sum] = raw
	return f, nil
}

func (s *spool) Release(files ...passerelle.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released += len(files)
}

func (s *spool) Open(sum string) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	raw, ok := s.kept[sum]
	if !ok {
		return nil, fmt.Errorf("spool: %s: %w", sum, passerelle.ErrNotFound)
	}
	return io.NopCloser(bytes.NewReader(raw)), nil
}
