package conversation

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"passerelle"
	"passerelle/adapters"
	"passerelle/internal/relay"
	"passerelle/internal/trial"
	"passerelle/internal/wiring"
	"passerelle/mapping"
	"passerelle/outbox"
)

// rig is a gateway between two simulated tools, with an ear at each.
type rig struct {
	ctx       context.Context
	contract  *mapping.Contract
	store     outbox.Store
	stage     *trial.Stage
	tools     map[passerelle.Side]*trial.Tool
	ears      map[passerelle.Side]*ear
	relay     *relay.Relay
	readFirst bool               // a journal entry that the requester's iTop pushes is a hint only
	deaf      func() bool        // whether the gateway does not hear a message; nil: never
	change    func(*wiring.Link) // changes the two tools' settings; nil: none is changed
	retention relay.Retention
	trouble   relay.Trouble // of a destination; default one failure and a second
	sweep     relay.Sweep   // how the tools are asked what they did not tell; none by default
	public    string        // address of the gateway's faces
	admin     http.Handler  // the operators' API
	logged    lines         // all that the gateway wrote in its log
	stops     []func() error
	cancel    context.CancelFunc
	halt      func() error // ends the gateway
}

// token is what the tools' webhooks prove themselves by, in a play.
const token = "conversation-token"

// newRig sets up the contract of a folder; with holds files that stand in for
// the folder's own.
func newRig(ctx context.Context, dir string, with overlay, options ...func(*rig)) (r *rig, err error) {
	r = &rig{ctx: ctx, store: outbox.NewMem(), cancel: func() {},
		tools: map[passerelle.Side]*trial.Tool{}, ears: map[passerelle.Side]*ear{}}
	for _, o := range options {
		o(r)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.contract, err = mapping.Load(with.over(os.DirFS(dir))); err != nil {
		return r, err
	}
	if r.stage, err = stage(dir, with); err != nil {
		return r, err
	}
	for _, side := range trial.Sides {
		if err := r.open(side); err != nil {
			return r, err
		}
	}
	return r, r.start()
}

// stage is who plays the tools: the folder's stage, or the overlay's.
func stage(dir string, with overlay) (*trial.Stage, error) {
	b, is := with[trial.StageFile]
	if !is {
		return trial.Load(dir)
	}
	s, err := trial.Parse(dir, b)
	if err != nil {
		return nil, fmt.Errorf("with %s: %w", trial.StageFile, err)
	}
	return s, nil
}

func (r *rig) open(side passerelle.Side) error {
	t, err := r.stage.Open(side)
	if err != nil {
		return err
	}
	hear := map[string]func(*http.Request, []byte) string{trial.ITop: hearITop, trial.Jira: hearJira, trial.Agent: hearAgent}
	r.tools[side], r.ears[side] = t, &ear{next: t, hear: hear[t.Kind]}
	t.URL, err = r.serve(r.ears[side])
	return err
}

func (r *rig) serve(h http.Handler) (string, error) {
	u, stop, err := trial.Serve("127.0.0.1:0", h)
	if err == nil {
		r.stops = append(r.stops, stop)
	}
	return u, err
}

// face is the address of a side's faces.
func (r *rig) face(side passerelle.Side) string {
	return r.public + "/" + r.contract.Name + "/" + string(side)
}

// start wires the gateway and points the tools' webhooks at it.
func (r *rig) start() (err error) {
	link := wiring.Link{Contract: r.contract}
	if link.Requester, err = r.stage.Connect(passerelle.Requester, r.tools[passerelle.Requester].URL, token, trial.InMemory); err != nil {
		return err
	}
	if link.Partner, err = r.stage.Connect(passerelle.Partner, r.tools[passerelle.Partner].URL, token, trial.InMemory); err != nil {
		return err
	}
	if r.readFirst && link.Requester.ITop != nil {
		link.Requester.ITop.ReadFirst = true
	}
	if r.change != nil {
		r.change(&link)
	}
	g, err := wiring.Build([]wiring.Link{link}, r.store, wiring.Options{Backoff: outbox.Backoff{First: 10 * time.Millisecond, Max: 50 * time.Millisecond, Age: time.Minute},
		Trouble: cmp.Or(r.trouble, relay.Trouble{First: time.Second, Slip: 1}), // a tool that is away stays so for a step
		Sweep:   r.sweep, Retention: r.retention, Again: 2 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&r.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		return err
	}
	r.relay, r.admin = g.Relay, g.Admin
	if r.public, err = r.serve(r.hearing(g.Public)); err != nil {
		return err
	}
	for side, t := range r.tools {
		if err := t.Point(r.face(side), token); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(r.ctx)
	r.cancel = cancel
	ended := make(chan error, 1)
	go func() { ended <- g.Relay.Run(ctx) }() // ends with cancel, in halt
	r.halt = sync.OnceValue(func() error { cancel(); return <-ended })
	r.stops = append(r.stops, r.halt)
	return nil
}

// restart ends the gateway and begins another one on another store.
func (r *rig) restart(store func() (outbox.Store, error)) error {
	err := errors.Join(r.halt(), r.store.Close())
	if err != nil {
		return err
	}
	if r.store, err = store(); err != nil {
		return err
	}
	return r.start()
}

// hearing stands before the gateway's faces, and loses what is not heard: as
// iTop and Jira see it, nobody is there.
func (r *rig) hearing(faces http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if r.deaf != nil && r.deaf() {
			panic(http.ErrAbortHandler)
		}
		faces.ServeHTTP(w, req)
	})
}

func (r *rig) close() error {
	var errs []error
	for i := len(r.stops) - 1; i >= 0; i-- {
		errs = append(errs, r.stops[i]())
	}
	for _, t := range r.tools {
		t.Close()
	}
	return errors.Join(append(errs, r.store.Close())...)
}

// act does what a section says and returns the answer.
func (r *rig) act(side passerelle.Side, verb, text string) (string, error) {
	text = r.full(text)
	if verb == "says" {
		return r.post(side, text)
	}
	ans, err := r.tools[side].Say(r.ctx, text)
	return ans.Raw, err
}

// post sends JSON to the gateway's face, as a webhook does.
func (r *rig) post(side passerelle.Side, text string) (string, error) {
	req, err := http.NewRequestWithContext(r.ctx, http.MethodPost, r.face(side)+"/"+adapters.RESTPath, strings.NewReader(text))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Auth-Token", token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("the face answers %s: %s", res.Status, bytes.TrimSpace(b))
	}
	return string(b), err
}

// patience bounds how long a step may take to settle: it is never reached by a
// conversation that works.
const patience = 20 * time.Second

// settle waits until nothing is on its way any more: no webhook, no hint, no
// entry that is due. What is parked stays.
func (r *rig) settle() error {
	quiet := 0
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		for _, t := range r.tools {
			if t.Jira != nil {
				t.Jira.Flush()
			}
		}
		busy, err := r.busy()
		if err != nil {
			return err
		}
		if quiet++; busy {
			quiet = 0
		}
		if quiet == 3 {
			return nil
		}
	}
	return fmt.Errorf("still on its way after %v: %s", patience, r.underway())
}

// underway tells what has not arrived.
func (r *rig) underway() string {
	var list []string
	for e, err := range r.store.Entries(r.ctx, outbox.Query{Status: []outbox.Status{outbox.Waiting, outbox.Lent}}) {
		if err != nil {
			return err.Error()
		}
		list = append(list, fmt.Sprintf("%s to the %s, %s, not before %s: %s", e.Template, e.To, e.Status, e.Before.Format(time.TimeOnly), e.Error))
	}
	if s, err := r.store.Stats(r.ctx); err == nil && s.Looks > 0 {
		list = append(list, fmt.Sprintf("%d tickets to read", s.Looks))
	}
	return strings.Join(list, "; ")
}

func (r *rig) busy() (bool, error) {
	s, err := r.store.Stats(r.ctx)
	if err != nil {
		return true, err
	}
	for dest, n := range s.LooksAt {
		if n > 0 && r.sweep.Every == 0 && !r.ears[dest.Side].isAway() { // sweeps have tickets read all the time
			return true, nil
		}
	}
	for e, err := range r.store.Entries(r.ctx, outbox.Query{Status: []outbox.Status{outbox.Waiting, outbox.Lent}}) {
		if err != nil {
			return true, err
		}
		if !r.ears[e.To].isAway() && s.Blocked[outbox.Dest{Contract: e.Contract, Side: e.To}] == 0 {
			return true, nil
		}
	}
	return false, nil
}

// is has a tool go away, or come back.
func (r *rig) is(side passerelle.Side, away bool) error {
	r.ears[side].leave(away)
	if !away {
		r.relay.Nudge(outbox.Dest{Contract: r.contract.Name, Side: side})
	}
	return r.settle()
}

// end tells how the pair and both tickets stand.
func (r *rig) end() (string, error) {
	var b strings.Builder
	for l, err := range r.store.Links(r.ctx) {
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s: %s\n", l.Own.Number, l.State)
		for _, side := range trial.Sides {
			if l.Ref(side).Key == "" {
				continue
			}
			status, err := r.tools[side].Status(r.ctx, l.Ref(side))
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, "  %s %s: %s\n", side, l.Ref(side).Number, status)
		}
	}
	for e, err := range r.store.Entries(r.ctx, outbox.Query{Status: []outbox.Status{outbox.Parked}}) {
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "  parked: %s to the %s: %s\n", e.Template, e.To, e.Error)
	}
	return b.String(), nil
}

// lines keeps what is written to it.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write keeps p.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
