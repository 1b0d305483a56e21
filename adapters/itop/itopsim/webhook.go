package itopsim

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Sent is one webhook, as iTop's own log (EventWebhook) keeps it. An HTTP 500
// counts as sent: iTop looks at the connection only, and never tries again.
type Sent struct {
	Time    time.Time `json:"time"`
	Trigger string    `json:"trigger"`
	Class   string    `json:"class"`
	Key     int       `json:"key"`
	URL     string    `json:"url"`
	Method  string    `json:"method"`
	Payload string    `json:"payload"` // the body as it left
	Status  int       `json:"status"`  // HTTP status, 0 where none came
	Answer  string    `json:"answer"`  // the first kilobyte of what came back
	Error   string    `json:"error"`   // why nothing was sent or nothing came back
	Message string    `json:"message"` // what iTop's log says: "Sent" or "Errors: …"
}

// post is a webhook ready to be sent.
type post struct {
	record  Sent
	action  Action
	headers [][2]string
}

// jsonHeader is the one spelling that makes the module escape, and its default.
const jsonHeader = "Content-type: application/json"

// webhookTimeout is iTop's own patience.
const webhookTimeout = 120 * time.Second

// render fills an action's template with the object as it now stands.
func (w *write) render(t *Trigger, o *record) *post {
	language := t.Action.Language
	if language == "" && w.sim.model.sumit {
		language = "FR FR"
	}
	fill := &template{sim: w.sim, this: o, trigger: t, account: w.account, french: language == "FR FR"}
	p := &post{action: t.Action, record: Sent{Trigger: t.Name, Class: o.class.name, Key: o.id, Method: strings.ToUpper(t.Action.Method), URL: fill.apply(t.Action.URL)}}
	if p.record.Method == "" {
		p.record.Method = http.MethodPost
	}
	lines := t.Action.Headers
	if len(lines) == 0 {
		lines = []string{jsonHeader}
	}
	for _, h := range lines {
		name, value, _ := strings.Cut(h, ":")
		p.headers = append(p.headers, [2]string{strings.TrimSpace(name), strings.TrimSpace(fill.apply(value))})
	}
	payload, err := fill.payload(&t.Action)
	if err != nil {
		p.record.Error = err.Error()
		p.record.Message = "Error: Wrong JSON format for input, see error log for more information."
	}
	p.record.Payload = payload
	return p
}

// payload renders the body. Module 1.4.6 escapes only where the header is
// exactly "Content-type: application/json", or where the action has no header
// at all; any other spelling gets the text as it is, quotes and line ends included.
func (t *template) payload(a *Action) (string, error) {
	if a.ITop {
		v, err := decodeJSON([]byte(a.Payload))
		if err != nil {
			return "", errors.New("the payload of an ActioniTopWebhook must be JSON: " + err.Error())
		}
		return "version=1.3&json_data=" + url.QueryEscape(string(encodePHP(t.applyJSON(v)))), nil
	}
	if len(a.Headers) > 0 && !slices.Contains(a.Headers, jsonHeader) {
		return t.apply(a.Payload), nil
	}
	v, err := decodeJSON([]byte(a.Payload))
	if err != nil {
		return "", errors.New("the payload must be JSON: " + err.Error())
	}
	return string(encodePHP(t.applyJSON(v))), nil
}

// send sends webhooks one after the other; asynchronous ones on their own.
func (s *Sim) send(posts []*post) {
	for _, p := range posts {
		if !p.action.Async {
			s.deliver(p)
			continue
		}
		s.async.Add(1)
		go func() {
			defer s.async.Done()
			s.deliver(p)
		}()
	}
}

func (s *Sim) deliver(p *post) {
	if p.record.Error == "" {
		s.exchange(p)
	}
	p.record.Time = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, p.record)
}

func (s *Sim) exchange(p *post) {
	ctx, cancel := context.WithTimeout(context.Background(), webhookTimeout)
	defer cancel()
	s.mu.Lock()
	client := s.client
	s.mu.Unlock()
	req, err := s.httpRequest(ctx, p)
	if err == nil {
		var resp *http.Response
		if resp, err = client.Do(req); err == nil {
			defer resp.Body.Close()
			head, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
			p.record.Status, p.record.Answer, p.record.Message = resp.StatusCode, string(head), "Sent"
			return
		}
	}
	p.record.Error = err.Error()
	p.record.Message = "Errors: Error while sending request to webhook: Problem opening URL: " + p.record.URL + ", " + err.Error()
}

// httpRequest writes headers as their author spelt them. Only POST and PUT
// carry the payload.
func (s *Sim) httpRequest(ctx context.Context, p *post) (*http.Request, error) {
	if strings.ContainsAny(p.record.URL, " \t\r\n") {
		return nil, errors.New("URL using bad/illegal format or missing URL")
	}
	body := ""
	if p.record.Method == http.MethodPost || p.record.Method == http.MethodPut {
		body = p.record.Payload
	}
	req, err := http.NewRequestWithContext(ctx, p.record.Method, p.record.URL, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "spider")
	req.Header.Set("Accept", "*/*")
	for _, h := range p.headers {
		req.Header.Set(h[0], h[1])
	}
	if p.action.User != "" {
		req.SetBasicAuth(p.action.User, p.action.Password)
	}
	return req, nil
}
