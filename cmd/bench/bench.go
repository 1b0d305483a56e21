package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"passerelle"
	"passerelle/adapters"
	"passerelle/internal/trial"
	"passerelle/internal/wiring"
	"passerelle/mapping"
	"passerelle/outbox"
)

type bench struct {
	rounds, tickets, logs, senders, size, large int
	contract, dir                               string
	shared                                      bool // NATS too
	say                                         messages
}

const token = "bench-token"

// noop is the baseline: a bare server that reads the same form, parses the JSON
// and answers.
func (b *bench) noop(ctx context.Context) (float64, error) {
	u, stop, err := trial.Serve("127.0.0.1:0", http.HandlerFunc(noopHandler))
	if err != nil {
		return 0, err
	}
	rate, err := b.load(ctx, u)
	return rate, errors.Join(err, stop())
}

func noopHandler(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<20) // else a form ends at 10 MB
	var v any
	if err := json.Unmarshal([]byte(r.FormValue("json_data")), &v); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"objects":{},"code":0,"message":null}`) // the sender left
}

// rawSync is the other baseline: 4 KB appends, each synced.
func (b *bench) rawSync() (float64, error) {
	f, err := os.CreateTemp(b.dir, "bench-sync-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 4096)
	const n = 200
	start := time.Now()
	for range n {
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
	}
	return n / time.Since(start).Seconds(), nil
}

// gateway measures one fresh gateway on a fresh store: how fast it accepts, and
// how fast all of it has reached the other side.
func (b *bench) gateway(ctx context.Context, open opener) (accepted, delivered float64, err error) {
	dir, err := os.MkdirTemp(b.dir, "bench-")
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := &rig{b: b, ctx: ctx, openStore: open}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.start(dir); err != nil {
		return 0, 0, err
	}
	start := time.Now()
	accepted, err = b.load(ctx, r.face)
	if err != nil {
		return 0, 0, err
	}
	if err := r.drained(); err != nil {
		return 0, 0, err
	}
	delivered = float64(b.tickets*(1+b.logs)) / time.Since(start).Seconds()
	return accepted, delivered, r.check()
}

// load posts all messages of a round: a ticket's own in order, tickets side by
// side. It returns messages a second.
func (b *bench) load(ctx context.Context, face string) (float64, error) {
	work := make(chan int)
	errs := make(chan error, b.senders)
	var wg sync.WaitGroup
	start := time.Now()
	for range b.senders {
		wg.Go(func() {
			for ticket := range work {
				if err := b.ticket(ctx, face, ticket); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	var err error
	for t := 1; t <= b.tickets && err == nil; t++ {
		select {
		case work <- t:
		case err = <-errs:
		}
	}
	close(work)
	wg.Wait()
	took := time.Since(start)
	select {
	case e := <-errs:
		err = errors.Join(err, e)
	default:
	}
	return float64(b.tickets*(1+b.logs)) / took.Seconds(), err
}

func (b *bench) ticket(ctx context.Context, face string, n int) error {
	if err := b.post(ctx, face, b.fill(b.say.create, n, "")); err != nil {
		return err
	}
	for i := 1; i <= b.logs; i++ {
		if err := b.post(ctx, face, b.fill(b.say.log, n, fmt.Sprintf("id-%d-%d ", n, i))); err != nil {
			return err
		}
	}
	return nil
}

// messages are the contract's own, in its folder's demo/bench: $ID and $NUMBER
// stand for the requester's ticket, $TEXT for what it says.
type messages struct {
	ticket string // how the requester's agent enters a ticket in his tool
	create string // the ticket is escalated
	log    string // an entry of the public journal
}

func readMessages(contract string) (m messages, err error) {
	for name, to := range map[string]*string{"ticket": &m.ticket, "create": &m.create, "public-log": &m.log} {
		text, err := os.ReadFile(filepath.Join(contract, "demo", "bench", name+".json"))
		if err != nil {
			return m, fmt.Errorf("a contract to measure by needs its messages: %w", err)
		}
		*to = string(text)
	}
	return m, nil
}

// fill makes a message of about b.size bytes, its text beginning so.
func (b *bench) fill(message string, n int, text string) string {
	const words = "La console ne répond pas. "
	text += strings.Repeat(words, max(1, (b.size-len(message)-len(text))/len(words)))
	return strings.NewReplacer("$ID", strconv.Itoa(n), "$NUMBER", fmt.Sprintf("%06d", n), "$TEXT", text).Replace(message)
}

func (b *bench) post(ctx context.Context, face, body string) error {
	form := url.Values{"version": {"1.3"}, "json_data": {body}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, face, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Auth-Token", token)
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && !strings.Contains(string(answer), `"code":0`) {
		err = fmt.Errorf("%s: %s", res.Status, answer)
	}
	return err
}

// client keeps a connection for each sender.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}

// opener makes a fresh store in a folder.
type opener func(dir string) (outbox.Store, error)

// rig is a gateway on a store, between two simulated tools.
type rig struct {
	b         *bench
	ctx       context.Context
	store     outbox.Store
	openStore opener
	stage     *trial.Stage
	itop      *trial.Tool
	jira      *trial.Tool
	face      string
	stops     []func() error
}

func (r *rig) start(dir string) (err error) {
	if r.stage, err = trial.Load(r.b.contract); err != nil {
		return err
	}
	if r.itop, err = r.open(passerelle.Requester); err != nil {
		return err
	}
	if r.jira, err = r.open(passerelle.Partner); err != nil {
		return err
	}
	for n := 1; n <= r.b.tickets; n++ { // the tickets exist in the requester's tool
		if _, err := r.itop.Console(r.ctx, r.b.say.ticket); err != nil {
			return err
		}
	}
	if r.store, err = r.openStore(dir); err != nil {
		return err
	}
	return r.wire()
}

func (r *rig) open(side passerelle.Side) (*trial.Tool, error) {
	t, err := r.stage.Open(side)
	if err == nil {
		t.URL, err = r.serve(t)
	}
	return t, err
}

func (r *rig) wire() error {
	c, err := mapping.Load(os.DirFS(r.b.contract))
	if err != nil {
		return err
	}
	link := wiring.Link{Contract: c}
	if link.Requester, err = r.stage.Connect(passerelle.Requester, r.itop.URL, token, trial.InMemory); err != nil {
		return err
	}
	if link.Partner, err = r.stage.Connect(passerelle.Partner, r.jira.URL, token, trial.InMemory); err != nil {
		return err
	}
	link.Partner.Workers = 16
	g, err := wiring.Build([]wiring.Link{link}, r.store, wiring.Options{Backoff: outbox.Backoff{First: time.Second, Max: time.Minute, Age: time.Hour}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	public, err := r.serve(g.Public)
	if err != nil {
		return err
	}
	r.face = public + "/" + c.Name + "/requester/" + adapters.RESTPath
	ctx, cancel := context.WithCancel(r.ctx)
	done := make(chan error, 1)
	go func() { done <- g.Relay.Run(ctx) }() // ends with cancel
	r.stops = append(r.stops, func() error { cancel(); return <-done })
	return nil
}

func (r *rig) serve(h http.Handler) (string, error) {
	u, stop, err := trial.Serve("127.0.0.1:0", h)
	if err == nil {
		r.stops = append(r.stops, stop)
	}
	return u, err
}

// drained waits until nothing is left to be told to the partner.
func (r *rig) drained() error {
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		s, err := r.store.Stats(r.ctx)
		if err != nil {
			return err
		}
		left := 0
		for dest, by := range s.ByStatus {
			if dest.Side == "partner" {
				left += by[outbox.Waiting] + by[outbox.Lent] + by[outbox.Parked]
				if by[outbox.Parked] > 0 {
					return fmt.Errorf("%d entries are parked", by[outbox.Parked])
				}
			}
		}
		if left == 0 {
			return nil
		}
	}
	return errors.New("not drained after five minutes")
}

// check reads what the simulated Jira was told: each ticket once, each entry
// once, in order.
func (r *rig) check() error {
	issues := 0
	next := map[string]int{}
	for _, w := range r.jira.Jira.Writes() {
		switch w.Kind {
		case "issue":
			issues++
		case "comment":
			var n, i int
			text := fmt.Sprint(w.Detail)
			if at := strings.Index(text, "id-"); at < 0 {
				return fmt.Errorf("a comment without an id on %s", w.Issue)
			} else if _, err := fmt.Sscanf(text[at:], "id-%d-%d", &n, &i); err != nil {
				return err
			}
			if next[w.Issue]++; next[w.Issue] != i {
				return fmt.Errorf("%s: entry %d came where %d belongs", w.Issue, i, next[w.Issue])
			}
		}
	}
	if issues != r.b.tickets {
		return fmt.Errorf("%d issues for %d tickets", issues, r.b.tickets)
	}
	for issue, n := range next {
		if n != r.b.logs {
			return fmt.Errorf("%s has %d entries of %d", issue, n, r.b.logs)
		}
	}
	return nil
}

func (r *rig) close() error {
	var errs []error
	for i := len(r.stops) - 1; i >= 0; i-- {
		errs = append(errs, r.stops[i]())
	}
	if r.itop != nil {
		r.itop.Close()
	}
	if r.jira != nil {
		r.jira.Close()
	}
	if r.store != nil {
		errs = append(errs, r.store.Close())
	}
	return errors.Join(errs...)
}
