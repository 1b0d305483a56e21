// Package admin is the API of the operators: where a ticket stands and why,
// what waits, the decisions about what is parked, and a backup. It listens on its
// own address, loopback by default. It shows no text of a ticket, but for the
// backup, which holds them all.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"passerelle"
	"passerelle/outbox"
)

// Ticket is a pair of tickets and its story.
type Ticket struct {
	Contract  string           `json:"contract"`
	Terms     string           `json:"terms"`
	Own       passerelle.Ref   `json:"own"`
	Requester passerelle.Ref   `json:"requester"`
	Partner   passerelle.Ref   `json:"partner"`
	State     passerelle.State `json:"state"`
	Born      time.Time        `json:"born"`
	Moved     time.Time        `json:"moved"`
	Purged    time.Time        `json:"purged,omitzero"` // when its words were last taken out of the store
	Story     []Line           `json:"story"`
}

// Line is one event of a ticket, or one entry of the outbox: what it was about,
// where it went and what became of it, never its text.
type Line struct {
	ID        uint64            `json:"id"`
	Contract  string            `json:"contract"`
	Ticket    string            `json:"ticket"`
	At        time.Time         `json:"at"`
	From      passerelle.Side   `json:"from"`
	Kind      passerelle.Kind   `json:"kind"`
	To        passerelle.Side   `json:"to,omitempty"`
	Template  string            `json:"template,omitempty"`
	State     passerelle.State  `json:"state"`
	Rule      string            `json:"rule,omitempty"`
	Status    outbox.Status     `json:"status"`
	Attempts  int               `json:"attempts,omitempty"`
	Due       time.Time         `json:"due,omitzero"`
	Settled   time.Time         `json:"settled,omitzero"`
	Class     passerelle.Class  `json:"class,omitempty"`
	Error     string            `json:"error,omitempty"`
	Note      string            `json:"note,omitempty"`
	Unknown   bool              `json:"outcome_unknown,omitempty"` // a try may have taken effect: it will be asked about
	Files     int               `json:"files,omitempty"`
	Bytes     int64             `json:"bytes,omitempty"`
	Decisions []outbox.Decision `json:"decisions,omitempty"`
	Trace     *outbox.Trace     `json:"trace,omitempty"` // of words that are not kept, or not any more
}

// Decision is the body of a retry or a drop.
type Decision struct {
	By  string `json:"by"`
	Why string `json:"why"`
}

// Handler returns the API. terms gives a contract's present version, which a
// retried entry is rendered under; decided is told of each entry that was
// decided about.
func Handler(s outbox.Store, contracts []string, terms func(contract string) string, decided func(context.Context, *outbox.Entry)) http.Handler {
	a := &api{s, contracts, terms, decided}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/tickets/{ref...}", a.ticket)
	mux.HandleFunc("POST /api/end/{ref...}", a.end)
	mux.HandleFunc("GET /api/outbox", a.list)
	mux.HandleFunc("GET /api/outbox/{id}", a.show)
	mux.HandleFunc("POST /api/outbox/{id}/retry", a.retry)
	mux.HandleFunc("POST /api/outbox/{id}/drop", a.drop)
	return mux
}

type api struct {
	store     outbox.Store
	contracts []string
	terms     func(string) string
	decided   func(context.Context, *outbox.Entry)
}

// ticket tells of the pairs that a reference of either side, or the broker's
// own, means.
func (a *api) ticket(w http.ResponseWriter, r *http.Request) {
	links, ok := a.links(w, r)
	if !ok {
		return
	}
	var found []*Ticket
	for _, l := range links {
		t, err := a.tell(r.Context(), l)
		if err != nil {
			fail(w, http.StatusInternalServerError, err.Error())
			return
		}
		found = append(found, t)
	}
	answer(w, found)
}

// links finds pairs by any reference of either side, or the broker's own.
func (a *api) links(w http.ResponseWriter, r *http.Request) (found []*passerelle.Link, ok bool) {
	seen := map[string]bool{}
	for _, c := range a.contracts {
		for _, side := range []passerelle.Side{passerelle.Requester, passerelle.Partner, passerelle.Broker} {
			l, err := a.store.Find(r.Context(), c, side, r.PathValue("ref"))
			if errors.Is(err, passerelle.ErrNotFound) || err == nil && seen[c+"/"+l.ID] {
				continue
			}
			if err != nil {
				fail(w, http.StatusInternalServerError, err.Error())
				return nil, false
			}
			seen[c+"/"+l.ID] = true
			found = append(found, l)
		}
	}
	if len(found) == 0 {
		fail(w, http.StatusNotFound, "no ticket is known by "+strconv.Quote(r.PathValue("ref"))+" (give a number or id of either side, or the gateway's own)")
	}
	return found, len(found) > 0
}

// link finds the one pair that a reference means.
func (a *api) link(w http.ResponseWriter, r *http.Request) (*passerelle.Link, bool) {
	links, ok := a.links(w, r)
	if !ok {
		return nil, false
	}
	if len(links) > 1 {
		fail(w, http.StatusConflict, strconv.Quote(r.PathValue("ref"))+" means several tickets: give the gateway's own number")
		return nil, false
	}
	return links[0], true
}

// end takes a pair out of the interface by an operator's decision (R32): both
// tickets stay as they are, and a later create of the requester's takes it up
// again.
func (a *api) end(w http.ResponseWriter, r *http.Request) {
	d, ok := readDecision(w, r)
	if !ok {
		return
	}
	link, ok := a.link(w, r)
	if !ok {
		return
	}
	for {
		l := link.Clone()
		if l.State == passerelle.Closed || l.State == passerelle.Left || l.State == passerelle.New {
			fail(w, http.StatusConflict, l.Names()+" is "+string(l.State)+" already")
			return
		}
		err := a.store.Append(r.Context(), ended(l, a.terms(l.Contract), d))
		if errors.Is(err, outbox.ErrConflict) { // it moved meanwhile
			link, err = a.store.Find(r.Context(), l.Contract, passerelle.Broker, l.ID)
			if err == nil {
				continue
			}
		}
		if err != nil {
			fail(w, http.StatusInternalServerError, err.Error())
			return
		}
		a.ticket(w, r)
		return
	}
}

// ended is the change that takes a pair out, with the decision for its story.
func ended(l *passerelle.Link, terms string, d Decision) *outbox.Change {
	now := time.Now()
	if l.State, l.Moved = passerelle.Left, now; l.Partner.Key == "" {
		l.State = passerelle.New // nothing was ever made over there: another escalation is the first
	}
	l.Turn++
	l.Generation++
	for _, side := range []passerelle.Side{passerelle.Requester, passerelle.Partner} {
		l.Shown[side] = l.Turn // nobody is brought anywhere
	}
	e := &passerelle.Event{Contract: l.Contract, From: passerelle.Broker, Kind: passerelle.Leave, At: now}
	return &outbox.Change{Link: l, Entries: []*outbox.Entry{{Schema: outbox.EntrySchema, Contract: l.Contract, Terms: terms, Event: e, State: l.State, Turn: l.Turn,
		Rule: "R32", Status: outbox.Done, Note: "ended by an operator", Decisions: []outbox.Decision{{At: now, By: d.By, Verb: "end", Why: d.Why, Terms: terms}}}}}
}

func (a *api) tell(ctx context.Context, l *passerelle.Link) (*Ticket, error) {
	t := &Ticket{Contract: l.Contract, Terms: l.Terms, Own: l.Own, Requester: l.Requester, Partner: l.Partner, State: l.State, Born: l.Born, Moved: l.Moved, Purged: l.Purged}
	for e, err := range a.store.Entries(ctx, outbox.Query{Link: l.ID}) {
		if err != nil {
			return nil, err
		}
		t.Story = append(t.Story, line(e, l))
	}
	return t, nil
}

func line(e *outbox.Entry, l *passerelle.Link) Line {
	n := Line{ID: e.ID, Contract: e.Contract, At: e.Created, To: e.To, Template: e.Template, State: e.State, Rule: e.Rule, Status: e.Status, Attempts: e.Attempts,
		Due: e.Before, Settled: e.Settled, Class: e.Class, Error: e.Error, Note: e.Note, Unknown: e.Probe && !e.Status.Final(), Decisions: e.Decisions, Trace: e.Trace}
	if e.Event != nil {
		n.From, n.Kind, n.Files = e.Event.From, e.Event.Kind, len(e.Event.Files)
		for _, f := range e.Event.Files {
			n.Bytes += f.Size
		}
	}
	if l != nil {
		n.Ticket = l.Names()
	}
	return n
}

var statuses = []outbox.Status{outbox.Waiting, outbox.Lent, outbox.Parked, outbox.Done, outbox.Refused, outbox.Superseded, outbox.Dropped}

// list answers ?status=parked,waiting&contract=…&after=ID&limit=N; by default
// what is not final.
func (a *api) list(w http.ResponseWriter, r *http.Request) {
	q := outbox.Query{Contract: r.FormValue("contract"), Limit: 100}
	for _, s := range strings.Split(strings.Join(r.Form["status"], ","), ",") {
		if s == "" {
			continue
		}
		if !slices.Contains(statuses, outbox.Status(s)) {
			fail(w, http.StatusBadRequest, strconv.Quote(s)+" is no status: one of waiting, lent, parked, done, refused, superseded, dropped")
			return
		}
		q.Status = append(q.Status, outbox.Status(s))
	}
	if len(q.Status) == 0 {
		q.Status = []outbox.Status{outbox.Waiting, outbox.Lent, outbox.Parked}
	}
	var err error
	if v := r.FormValue("limit"); v != "" {
		if q.Limit, err = strconv.Atoi(v); err != nil {
			fail(w, http.StatusBadRequest, "limit is no number")
			return
		}
	}
	if v := r.FormValue("after"); v != "" {
		if q.After, err = strconv.ParseUint(v, 10, 64); err != nil {
			fail(w, http.StatusBadRequest, "after is no entry's id")
			return
		}
	}
	lines := []Line{}
	for e, err := range a.store.Entries(r.Context(), q) {
		if err != nil {
			fail(w, http.StatusInternalServerError, err.Error())
			return
		}
		l, _ := a.store.Find(r.Context(), e.Contract, passerelle.Broker, e.Link) // without it the line has no ticket
		lines = append(lines, line(e, l))
	}
	answer(w, lines)
}

func (a *api) show(w http.ResponseWriter, r *http.Request) {
	id, ok := a.id(w, r)
	if !ok {
		return
	}
	e, err := a.store.Entry(r.Context(), id)
	a.one(w, r, e, err)
}

func (a *api) one(w http.ResponseWriter, r *http.Request, e *outbox.Entry, err error) {
	switch {
	case errors.Is(err, passerelle.ErrNotFound):
		fail(w, http.StatusNotFound, "there is no entry "+r.PathValue("id"))
	case err != nil:
		fail(w, http.StatusConflict, err.Error())
	default:
		l, _ := a.store.Find(r.Context(), e.Contract, passerelle.Broker, e.Link) // without it the line has no ticket
		answer(w, line(e, l))
	}
}

func (a *api) retry(w http.ResponseWriter, r *http.Request) { a.decide(w, r, "retry", a.store.Retry) }

func (a *api) drop(w http.ResponseWriter, r *http.Request) { a.decide(w, r, "drop", a.store.Drop) }

func (a *api) decide(w http.ResponseWriter, r *http.Request, verb string, do func(context.Context, uint64, outbox.Decision) (*outbox.Entry, error)) {
	id, ok := a.id(w, r)
	if !ok {
		return
	}
	d, ok := readDecision(w, r)
	if !ok {
		return
	}
	decision := outbox.Decision{At: time.Now(), By: d.By, Verb: verb, Why: d.Why}
	if e, err := a.store.Entry(r.Context(), id); err == nil {
		decision.Terms = a.terms(e.Contract)
	}
	e, err := do(r.Context(), id, decision)
	if err == nil {
		a.decided(r.Context(), e)
	}
	a.one(w, r, e, err)
}

// readDecision reads who decides, and why.
func readDecision(w http.ResponseWriter, r *http.Request) (d Decision, ok bool) {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<14))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		fail(w, http.StatusBadRequest, "the decision is not readable: "+err.Error())
		return d, false
	}
	if d.Why == "" || d.By == "" {
		fail(w, http.StatusBadRequest, "say who decides and why: both are kept with the ticket")
		return d, false
	}
	return d, true
}

func (a *api) id(w http.ResponseWriter, r *http.Request) (uint64, bool) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		fail(w, http.StatusBadRequest, strconv.Quote(r.PathValue("id"))+" is no entry's id (gateway outbox list shows them)")
	}
	return id, err == nil
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the caller left
}

func fail(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text}) // the caller left
}
