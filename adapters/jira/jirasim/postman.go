package jirasim

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// sentLimit bounds how many deliveries are remembered.
const sentLimit = 10000

// Sent is one webhook delivery that was tried, or dropped by a fault.
type Sent struct {
	Time    time.Time   `json:"time"`
	Webhook string      `json:"webhook"`
	Event   string      `json:"event"`
	URL     string      `json:"url"`
	Body    string      `json:"body"`
	Header  http.Header `json:"header"`
	Status  int         `json:"status"` // of the answer; 0 = none
	Error   string      `json:"error"`
	Retry   int         `json:"retry"` // 0 = the first try
}

// WebhookFaults says how deliveries go wrong.
type WebhookFaults struct {
	Drop        float64 `json:"drop"`        // share lost for good, 0 to 1
	DelayMillis int     `json:"delayMillis"` // before each delivery
	OutOfOrder  bool    `json:"outOfOrder"`  // of two that wait, the second goes first
}

// postman sends webhooks: in order for each, all at once beside each other.
type postman struct {
	cloud   bool
	closing chan struct{}
	retries sync.WaitGroup

	mu      sync.Mutex
	idle    *sync.Cond
	client  *http.Client
	hooks   []*line
	faults  WebhookFaults
	sent    []Sent
	pending int
	closed  bool
}

// line is the queue of one webhook. A goroutine works on it while there is
// something in it.
type line struct {
	hook    Webhook
	jobs    []job
	busy    bool
	skipped bool // the first was overtaken once
}

type job struct {
	event, url, id string
	body           []byte
}

func newPostman(cloud bool) *postman {
	p := &postman{cloud: cloud, closing: make(chan struct{}), client: http.DefaultClient}
	p.idle = sync.NewCond(&p.mu)
	return p
}

func (p *postman) setClient(c *http.Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.client = c
}

func (p *postman) set(hooks []Webhook) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hooks = nil
	for _, h := range hooks {
		p.hooks = append(p.hooks, &line{hook: h})
	}
}

func (p *postman) list() []*line {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.hooks)
}

// queue adds a delivery; after close it is lost, as on a Jira that stops.
func (p *postman) queue(l *line, j job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	j.id = rand.Text()
	l.jobs = append(l.jobs, j)
	p.pending++
	if !l.busy {
		l.busy = true
		go p.drain(l)
	}
}

func (p *postman) drain(l *line) {
	for {
		p.pause()
		j, faults, more := p.take(l)
		if !more {
			return
		}
		if faults.Drop > 0 && mathrand.Float64() < faults.Drop {
			p.note(Sent{Time: time.Now(), Webhook: l.hook.Name, Event: j.event, URL: j.url, Body: string(j.body), Error: "dropped by a fault of the simulator"})
		} else if p.send(l.hook, j, 0) && p.cloud {
			p.later(l.hook, j)
		}
		p.finished()
	}
}

// pause waits the delay that the faults ask for.
func (p *postman) pause() {
	p.mu.Lock()
	d := time.Duration(p.faults.DelayMillis) * time.Millisecond
	p.mu.Unlock()
	p.wait(d)
}

// wait tells whether the time passed; closing cuts it short.
func (p *postman) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.closing:
		return false
	}
}

// take removes the next delivery from the line, or ends the work on it.
func (p *postman) take(l *line) (job, WebhookFaults, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(l.jobs) == 0 {
		l.busy = false
		return job{}, p.faults, false
	}
	i := 0
	if p.faults.OutOfOrder && len(l.jobs) > 1 && !l.skipped {
		i = 1
	}
	l.skipped = i == 1
	j := l.jobs[i]
	l.jobs = slices.Delete(l.jobs, i, i+1)
	return j, p.faults, true
}

func (p *postman) finished() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending--
	p.idle.Broadcast()
}

func (p *postman) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.pending > 0 {
		p.idle.Wait()
	}
}

func (p *postman) close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.closing)
	}
	p.mu.Unlock()
	p.flush()
	p.retries.Wait()
}

// later tries again as Cloud does: five times, 5 to 15 minutes apart. Data
// Center never does.
func (p *postman) later(h Webhook, j job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.retries.Add(1)
	go func() {
		defer p.retries.Done()
		for n := 1; n <= 5; n++ {
			if !p.wait(5*time.Minute+time.Duration(n-1)*150*time.Second) || !p.send(h, j, n) {
				return
			}
		}
	}()
}

// send makes one delivery and tells whether Cloud would try it again.
func (p *postman) send(h Webhook, j job, retry int) bool {
	p.mu.Lock()
	client := p.client
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s := Sent{Time: time.Now(), Webhook: h.Name, Event: j.event, URL: j.url, Body: string(j.body), Retry: retry}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, j.url, bytes.NewReader(j.body))
	if err == nil {
		p.dress(req, h, j, retry)
		s.Header = req.Header.Clone()
		s.Status, err = exchange(client, req)
	}
	if err != nil {
		s.Error = err.Error()
	}
	p.note(s)
	return s.Status == 0 || s.Status >= 500 || slices.Contains([]int{408, 409, 425, 429}, s.Status)
}

func (p *postman) dress(req *http.Request, h Webhook, j job, retry int) {
	req.Header.Set("Content-Type", "application/json; charset=UTF-8")
	req.Header.Set("User-Agent", "Atlassian HttpClient (jirasim)")
	if h.Secret != "" {
		req.Header.Set("X-Hub-Signature", Sign(h.Secret, j.body))
	}
	if h.User != "" {
		req.SetBasicAuth(h.User, h.Password)
	}
	if !p.cloud {
		return
	}
	req.Header.Set("X-Atlassian-Webhook-Identifier", j.id)
	req.Header.Set("X-Atlassian-Webhook-Flow", "Primary")
	if retry > 0 {
		req.Header.Set("X-Atlassian-Webhook-Retry", fmt.Sprint(retry))
	}
}

// Sign is the value of X-Hub-Signature for a body.
func Sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

func exchange(client *http.Client, req *http.Request) (int, error) {
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	_, readErr := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, errors.Join(readErr, resp.Body.Close())
}

func (p *postman) note(s Sent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, s)
	if len(p.sent) > sentLimit {
		p.sent = slices.Clone(p.sent[len(p.sent)-sentLimit:])
	}
}

// Sent lists the deliveries so far, oldest first (the last 10,000).
func (s *Sim) Sent() []Sent {
	s.post.mu.Lock()
	defer s.post.mu.Unlock()
	return append([]Sent{}, s.post.sent...)
}

// SetWebhookFaults makes deliveries go wrong from now on; the zero value ends
// it.
func (s *Sim) SetWebhookFaults(f WebhookFaults) {
	s.post.mu.Lock()
	defer s.post.mu.Unlock()
	s.post.faults = f
}
