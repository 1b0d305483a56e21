package jirasim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// controlRoutes is for tests and people; nothing under /sim/ asks who you are.
func (s *Sim) controlRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("/sim/faults", &s.gate)
	get := func(path string, value func() any) {
		mux.HandleFunc("GET /sim/"+path, func(w http.ResponseWriter, _ *http.Request) { ok(value()).write(w) })
	}
	put := func(path string, h func(r *http.Request, body []byte) answer) {
		mux.HandleFunc("PUT /sim/"+path, control(h))
		mux.HandleFunc("POST /sim/"+path, control(h))
	}
	get("writes", func() any { return s.Writes() })
	get("sent", func() any { return s.Sent() })
	get("webhooks", func() any { return s.shownWebhooks() })
	put("webhooks", s.controlWebhooks)
	put("webhooks/faults", s.controlWebhookFaults)
	put("lag", s.controlLag)
	put("rate", s.controlRate)
	put("timer/{key}", s.controlTimer)
	put("move/{key}", s.controlMove)
	mux.HandleFunc("DELETE /sim/captcha/{user}", control(func(r *http.Request, _ []byte) answer {
		s.ResetCaptcha(r.PathValue("user"))
		return done()
	}))
	mux.HandleFunc("/sim/", control(func(r *http.Request, _ []byte) answer {
		return fail(http.StatusNotFound, "there are GET /sim/writes, sent, webhooks; PUT /sim/webhooks, webhooks/faults, lag, rate; POST /sim/timer/{key}, move/{key}; DELETE /sim/captcha/{user}; GET, POST, DELETE /sim/faults")
	}))
	return mux
}

func control(h func(*http.Request, []byte) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			fail(http.StatusBadRequest, err.Error()).write(w)
			return
		}
		h(r, body).write(w)
	}
}

// shownWebhooks hides the secrets.
func (s *Sim) shownWebhooks() []Webhook {
	list := []Webhook{}
	for _, l := range s.post.list() {
		h := l.hook
		if h.Secret != "" {
			h.Secret = "***"
		}
		if h.Password != "" {
			h.Password = "***"
		}
		list = append(list, h)
	}
	return list
}

func (s *Sim) controlWebhooks(_ *http.Request, body []byte) answer {
	var hooks []Webhook
	if err := json.Unmarshal(body, &hooks); err != nil {
		return fail(http.StatusBadRequest, "want a JSON list of webhooks: "+err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkWebhooks(hooks); err != nil {
		return fail(http.StatusBadRequest, err.Error())
	}
	s.SetWebhooks(hooks)
	return ok(s.shownWebhooks())
}

func (s *Sim) controlWebhookFaults(_ *http.Request, body []byte) answer {
	var f WebhookFaults
	if err := json.Unmarshal(body, &f); err != nil {
		return fail(http.StatusBadRequest, `want {"drop":0.5,"delayMillis":100,"outOfOrder":true}: `+err.Error())
	}
	s.SetWebhookFaults(f)
	return ok(f)
}

func (s *Sim) controlLag(_ *http.Request, body []byte) answer {
	var lag struct {
		Millis int `json:"millis"`
	}
	if err := json.Unmarshal(body, &lag); err != nil {
		return fail(http.StatusBadRequest, `want {"millis":5000}: `+err.Error())
	}
	s.IndexLag(time.Duration(lag.Millis) * time.Millisecond)
	return ok(lag)
}

func (s *Sim) controlRate(_ *http.Request, body []byte) answer {
	var rate struct {
		PerSecond float64 `json:"perSecond"`
		Burst     int     `json:"burst"`
	}
	if err := json.Unmarshal(body, &rate); err != nil {
		return fail(http.StatusBadRequest, `want {"perSecond":5,"burst":10}, 0 = off: `+err.Error())
	}
	s.RateLimit(rate.PerSecond, rate.Burst)
	return ok(rate)
}

// controlled is a call that nobody logged in for: it acts as the automation.
func (s *Sim) controlled(r *http.Request) *call {
	bot := s.users[len(s.users)-1]
	return &call{view: view{s: s, base: s.base(r), user: bot}, r: r, now: s.clock()}
}

// controlTimer fires the workflow's timer: the due date passed, the automation
// takes the issue back to work. With {"to":"status"} it goes there.
func (s *Sim) controlTimer(r *http.Request, body []byte) answer {
	var want struct{ To string }
	if len(body) > 0 && json.Unmarshal(body, &want) != nil {
		return fail(http.StatusBadRequest, `want no body, or {"to":"name of a status"}`)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	is := s.find(r.PathValue("key"))
	if is == nil {
		return fail(http.StatusNotFound, "Issue Does Not Exist")
	}
	possible := s.transitions(is)
	i := slices.IndexFunc(possible, func(t Transition) bool {
		return t.To == want.To || want.To == "" && t.Timer
	})
	if i < 0 {
		return fail(http.StatusConflict, fmt.Sprintf("no transition for the timer from status '%s'", is.status.Name))
	}
	c := s.controlled(r)
	h := s.move(c, is, possible[i], &edit{values: map[string]any{}})
	s.fireIssue(c.view, is, "jira:issue_updated", s.eventType(possible[i], h), c.user, h, nil)
	return ok(m{"key": is.key, "status": is.status.Name})
}

// controlMove moves an issue to another project: a new key, the old one still
// leads to it.
func (s *Sim) controlMove(r *http.Request, body []byte) answer {
	var want struct{ Project string }
	_ = json.Unmarshal(body, &want)
	s.mu.Lock()
	defer s.mu.Unlock()
	is := s.find(r.PathValue("key"))
	p, known := s.project(want.Project)
	switch {
	case is == nil:
		return fail(http.StatusNotFound, "Issue Does Not Exist")
	case !known || p.Key == is.project.Key:
		return fail(http.StatusBadRequest, `want {"project":"KEY"}, of another project of this Jira`)
	}
	c := s.controlled(r)
	h := s.moveTo(c, is, p)
	s.fireIssue(c.view, is, "jira:issue_updated", "issue_moved", c.user, h, nil)
	return ok(m{"key": is.key, "id": is.id})
}

func (s *Sim) moveTo(c *call, is *issue, p Project) *history {
	s.touch(is, c.now)
	old, oldKey := is.project, is.key
	s.name(is, p)
	items := []change{
		remark("project", str(old.ID), str(old.Name), str(p.ID), str(p.Name)),
		remark("Key", nil, str(oldKey), nil, str(is.key)),
	}
	is.values["components"] = nil // they belong to the old project
	if to := s.statusNamed(s.workflow(p).Initial); !s.inWorkflow(p, is.status) {
		items = append(items, statusChange(is.status, to))
		is.status = to
	}
	s.wrote(c.user, "move", is, oldKey+" -> "+is.key)
	return s.record(is, c.user, c.now, items)
}

func (s *Sim) inWorkflow(p Project, st Status) bool {
	w := s.workflow(p)
	return w.Initial == st.Name || slices.ContainsFunc(w.Transitions, func(t Transition) bool { return t.To == st.Name })
}
