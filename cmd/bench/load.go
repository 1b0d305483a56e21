package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const token = "bench-token"

// client keeps a connection for each sender.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}

// messages are the contract's own, in its folder's demo/bench: $ID and $NUMBER
// stand for the requester's ticket, $TEXT for what it says, $ISSUE for the
// partner's ticket.
type messages struct {
	ticket   string // how the requester's agent enters a ticket in his tool
	escalate string // and gives it to the partner's team, in his tool
	create   string // the ticket is escalated
	log      string // an entry of the public journal
	resolve  string // how the partner's agent resolves, in his tool: "METHOD /path", then JSON
	close    string // the stimulus that the requester may send then
}

func readMessages(contract string) (m messages, err error) {
	for name, to := range map[string]*string{"ticket.json": &m.ticket, "escalate.json": &m.escalate, "create.json": &m.create,
		"public-log.json": &m.log, "resolve.txt": &m.resolve, "close.json": &m.close} {
		text, err := os.ReadFile(filepath.Join(contract, "demo", "bench", name))
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

// said is a message on a ticket that tells which one it is: 0 the create, then the
// journal updates, then the closing.
func (b *bench) said(ticket, i int) string {
	message := b.say.log
	switch i {
	case 0:
		message = b.say.create
	case b.logs + 1:
		message = b.say.close
	}
	return b.fill(message, ticket, fmt.Sprintf("id-%d-%d ", ticket, i))
}

// post sends a message, as a form, and returns when it is acknowledged.
func (b *bench) post(ctx context.Context, face, body string) error {
	form := url.Values{"version": {"1.3"}, "json_data": {body}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, face, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	return acknowledged(req)
}

// acknowledged sends a form; an answer whose code is not 0 is an error.
func acknowledged(req *http.Request) error {
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Auth-Token", token)
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	var said struct{ Code *int }
	if json.Unmarshal(answer, &said) != nil || said.Code == nil || *said.Code != 0 {
		return fmt.Errorf("%s: %s", res.Status, answer)
	}
	return nil
}

// load is what senders did.
type load struct {
	start time.Time
	took  time.Duration   // until the last answer
	posts []time.Duration // each post's, until its answer
}

func (l *load) rate() float64 { return float64(len(l.posts)) / l.took.Seconds() }

// at is the duration within which that share of the posts was answered, in
// milliseconds.
func (l *load) at(share float64) float64 {
	all := slices.Sorted(slices.Values(l.posts))
	return all[int(share*float64(len(all)-1))].Seconds() * 1000
}

// sender is one of several that post side by side.
type sender struct {
	b     *bench
	ctx   context.Context
	face  string
	posts []time.Duration
}

func (s *sender) post(body string) error {
	start := time.Now()
	err := s.b.post(s.ctx, s.face, body)
	s.posts = append(s.posts, time.Since(start))
	return err
}

// send has so many senders work, each on one ticket after the other, as long as
// more says so; tickets are counted from 1.
func (b *bench) send(ctx context.Context, face string, senders int, more func(ticket int) bool, work func(s *sender, ticket int) error) (*load, error) {
	all := make([]sender, senders)
	errs := make([]error, senders)
	var next atomic.Int64
	var wg sync.WaitGroup
	out := &load{start: time.Now()}
	for i := range all {
		s := &all[i]
		*s = sender{b: b, ctx: ctx, face: face}
		wg.Go(func() {
			for n := int(next.Add(1)); errs[i] == nil && more(n); n = int(next.Add(1)) {
				errs[i] = work(s, n)
			}
		})
	}
	wg.Wait()
	out.took = time.Since(out.start)
	for i := range all {
		out.posts = append(out.posts, all[i].posts...)
	}
	return out, errors.Join(errs...)
}

// upTo is a fixed number of tickets.
func upTo(n int) func(int) bool { return func(ticket int) bool { return ticket <= n } }

// during is as many tickets as fit.
func during(d time.Duration) func(int) bool {
	end := time.Now().Add(d)
	return func(int) bool { return time.Now().Before(end) }
}

// warm opens the senders' connections.
func (b *bench) warm(ctx context.Context, face string, senders int) error {
	_, err := b.send(ctx, face, senders, upTo(4*senders), func(s *sender, _ int) error {
		return s.post(`{"operation":"list_operations"}`)
	})
	return err
}
