package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	bigFiles  = 4         // of a big message
	bigFile   = 1_920_000 // bytes of one: the JSON of all four has nearly 10 MiB
	longTexts = 8         // at once
	bigTitle  = "Big messages: 10 MB of JSON with four attachments"

	bigSenders  = 64 // that send small messages
	besideBig   = 8  // that send big ones beside them
	besidePairs = 3  // of a while alone and one beside big messages
	besideTitle = "64 small senders beside 8 big ones"
)

// bigRound runs every measure of big messages once, each against a gateway of its
// own, for its memory at peak is measured.
func (b *bench) bigRound(ctx context.Context, t *table, _ *noop) error {
	files := newFiller(b.bigSize)
	for _, at := range []int{1, 4, 8} {
		if err := b.bigAt(ctx, t, files, at); err != nil {
			return fmt.Errorf("%d at once: %w", at, err)
		}
	}
	if err := b.bigCPU(ctx, t, files); err != nil {
		return fmt.Errorf("processor time: %w", err)
	}
	if err := b.bigBeside(ctx, t, files); err != nil {
		return err
	}
	if err := b.longTexts(ctx, t); err != nil {
		return fmt.Errorf("long texts: %w", err)
	}
	return nil
}

// withHouse starts a gateway with tickets that are open at both sides.
func (b *bench) withHouse(ctx context.Context, tickets int, do func(*house) error) (err error) {
	h, err := openHouse(ctx, b.contract, b.dir, map[string]any{"limits": map[string]int{"large": b.large}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	if err := h.enter(ctx, b.say, tickets); err != nil {
		return err
	}
	if _, err := b.send(ctx, h.face, 16, upTo(tickets), func(s *sender, ticket int) error { return s.post(b.said(ticket, 0)) }); err != nil {
		return err
	}
	if err := h.idle(ctx, time.Minute); err != nil {
		return err
	}
	return do(h)
}

// bigAt sends the messages, so many at once, until all have arrived.
func (b *bench) bigAt(ctx context.Context, t *table, files *filler, at int) error {
	return b.withHouse(ctx, at, func(h *house) error {
		start := time.Now()
		if err := files.sendAll(ctx, h.face, at, b.bigMessages); err != nil {
			return err
		}
		taken := time.Since(start)
		if err := h.idle(ctx, 5*time.Minute); err != nil {
			return err
		}
		u, err := usageOf(h.cmd.Process.Pid)
		if err != nil {
			return err
		}
		var peak *goal
		if at == 8 {
			peak = atMost(100)
		}
		t.add(bigTitle, fmt.Sprintf("%d at once: gateway's memory at peak, MB", at), peak, float64(u.peak)/1e6)
		t.add(bigTitle, fmt.Sprintf("%d at once: accepted, messages/s", at), nil, float64(b.bigMessages)/taken.Seconds())
		return h.arrived(b.bigMessages*bigFiles, b.bigSize)
	})
}

// arrived checks that the partner holds so many files of a size, each once and whole.
func (h *house) arrived(want, size int) error {
	seen := map[string]bool{}
	for _, w := range h.jira.Jira.Writes() {
		if w.Kind != "attachment" || strings.Contains(w.Detail, "(text/html, ") { // a long text
			continue
		}
		m := attached.FindStringSubmatch(w.Detail)
		if m == nil || m[2] != fmt.Sprint(size) || seen[m[1]] {
			return fmt.Errorf("the partner's tool was given %q", w.Detail)
		}
		seen[m[1]] = true
	}
	if len(seen) != want {
		return fmt.Errorf("%d files arrived, %d were sent", len(seen), want)
	}
	return nil
}

var attached = regexp.MustCompile(`: (\S+) \(.*, (\d+) bytes\)$`)

// bigCPU compares the gateway's processor time for a message with that of a server
// that only reads and parses it.
func (b *bench) bigCPU(ctx context.Context, t *table, files *filler) error {
	parse, err := b.bigNoop(ctx, t, files)
	if err != nil {
		return err
	}
	return b.withHouse(ctx, 1, func(h *house) error {
		h.hold.Lock()
		before, errA := usageOf(h.cmd.Process.Pid)
		err := files.sendAll(ctx, h.face, 1, b.bigMessages)
		taken, errB := usageOf(h.cmd.Process.Pid)
		h.hold.Unlock()
		if err := errors.Join(err, errA, errB, h.idle(ctx, 5*time.Minute)); err != nil {
			return err
		}
		all, err := usageOf(h.cmd.Process.Pid)
		if err != nil {
			return err
		}
		t.add(bigTitle, "processor time / no-op, accepted", atMost(1.5), float64(taken.cpu-before.cpu)/float64(parse))
		t.add(bigTitle, "processor time / no-op, accepted and delivered", atMost(1.5), float64(all.cpu-before.cpu)/float64(parse))
		return h.arrived(b.bigMessages*bigFiles, b.bigSize)
	})
}

// bigNoop is the processor time that a baseline of its own takes for all messages.
func (b *bench) bigNoop(ctx context.Context, t *table, files *filler) (took time.Duration, err error) {
	n, err := startNoop(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	before, errA := usageOf(n.pid)
	errB := files.sendAll(ctx, n.url, 1, b.bigMessages)
	after, errC := usageOf(n.pid)
	t.add(bigTitle, "no-op + parse, 1 at once: its memory at peak, MB", nil, float64(after.peak)/1e6)
	return after.cpu - before.cpu, errors.Join(errA, errB, errC)
}

// bigBeside has small senders write all the time, and big ones beside them in every
// other while, each on a ticket of its own, so that the two rates of each pair are of
// nearly the same moment. At the end all of it must have arrived.
func (b *bench) bigBeside(ctx context.Context, t *table, files *filler) error {
	return b.withHouse(ctx, bigSenders+besideBig, func(h *house) error {
		var sent atomic.Int64
		small := &crowd{n: bigSenders, do: func(i, k int) error {
			err := b.post(ctx, h.face, b.fill(b.say.log, i+1, fmt.Sprintf("id-%d-%d ", i+1, k+1)))
			sent.Add(1)
			return err
		}}
		small.begin()
		rate := func(while func()) (perSecond, seconds float64) {
			start, before := time.Now(), sent.Load()
			while()
			seconds = time.Since(start).Seconds()
			return float64(sent.Load()-before) / seconds, seconds
		}
		large := 0
		for range besidePairs {
			alone, _ := rate(func() { time.Sleep(b.beside) })
			big := &crowd{n: besideBig, do: func(i, _ int) error { return files.post(ctx, h.face, bigSenders+i+1) }}
			var err error
			both, seconds := rate(func() { big.begin(); time.Sleep(b.beside); err = big.end() })
			if err != nil {
				return errors.Join(err, small.end())
			}
			large += big.done()
			t.add(besideTitle, "small: rate / rate alone", atLeast(2.0/3), both/alone)
			t.add(besideTitle, "small alone, messages/s", nil, alone)
			t.add(besideTitle, "big, messages/s", nil, float64(big.done())/seconds)
		}
		if err := errors.Join(small.end(), h.idle(ctx, 5*time.Minute)); err != nil {
			return err
		}
		return errors.Join(h.arrived(large*bigFiles, b.bigSize), journals(h.jira.Jira.Writes(), small.counts))
	})
}

// crowd is so many senders that do one thing after the other until the end.
type crowd struct {
	n      int
	do     func(sender, i int) error
	counts []int // of what each has done
	errs   []error
	over   atomic.Bool
	all    sync.WaitGroup
}

func (c *crowd) begin() {
	c.counts, c.errs = make([]int, c.n), make([]error, c.n)
	for i := range c.n {
		c.all.Go(func() {
			for !c.over.Load() && c.errs[i] == nil {
				c.errs[i] = c.do(i, c.counts[i])
				c.counts[i]++
			}
		})
	}
}

// end waits until all have done what they had begun.
func (c *crowd) end() error {
	c.over.Store(true)
	c.all.Wait()
	return errors.Join(c.errs...)
}

func (c *crowd) done() (n int) {
	for _, one := range c.counts {
		n += one
	}
	return n
}

// longTexts sends entries of a journal that are as long as they may be to arrive
// whole, as a file: the dearest thing that a sender can say. The partner's tool holds
// its answers back until all are accepted.
func (b *bench) longTexts(ctx context.Context, t *table) error {
	return b.withHouse(ctx, longTexts, func(h *house) error {
		one := *b
		one.size = bigFiles * b.bigSize
		h.hold.Lock()
		errs := make([]error, longTexts)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = one.post(ctx, h.face, one.fill(one.say.log, i+1, fmt.Sprintf("id-%d-1 ", i+1))) })
		}
		wg.Wait()
		h.hold.Unlock()
		if err := errors.Join(append(errs, h.idle(ctx, 5*time.Minute))...); err != nil {
			return err
		}
		u, err := usageOf(h.cmd.Process.Pid)
		if err != nil {
			return err
		}
		t.add(bigTitle, fmt.Sprintf("%d texts of %.1f MB at once: gateway's memory at peak, MB", longTexts, float64(one.size)/1e6), nil, float64(u.peak)/1e6)
		files := 0
		for _, w := range h.jira.Jira.Writes() {
			if w.Kind == "attachment" {
				files++
			}
		}
		if files != longTexts {
			return fmt.Errorf("%d texts arrived as files, %d were sent", files, longTexts)
		}
		return nil
	})
}

// filler makes big messages. Each is another, though all share their text: no
// two files are alike.
type filler struct {
	text string // of a file behind its first bytes: base64 as PHP writes it in JSON, escaped for a form
	n    atomic.Int64
}

// unlike is how many bytes of a file are its own.
const unlike = 9

// newFiller makes messages whose files have so many bytes, a multiple of three.
func newFiller(size int) *filler {
	b := make([]byte, size-unlike)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	return &filler{text: url.QueryEscape(strings.ReplaceAll(base64.StdEncoding.EncodeToString(b), "/", `\/`))}
}

// body is a form with a message of its own on a ticket, and its size in bytes.
func (f *filler) body(ticket int) (io.Reader, int64) {
	head := fmt.Sprintf(`{"operation":"syn/addattachment","comment":"c","class":"UserRequest","output_fields":"id","fields":{"customer_id":"%d","customer_ref":"R-%06d","last_update_by":"customer"},"attachments":[`, ticket, ticket)
	var parts []io.Reader
	size := 0
	add := func(text string) { parts, size = append(parts, strings.NewReader(text)), size+len(text) }
	add("version=1.3&json_data=" + url.QueryEscape(head))
	for i := range bigFiles {
		n := f.n.Add(1)
		own := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%0*d", unlike, n))
		add(url.QueryEscape(`{"data":"` + own))
		add(f.text)
		add(url.QueryEscape(fmt.Sprintf(`","filename":"f-%d.bin","mimetype":"application/octet-stream"}%s`, n, map[bool]string{true: "]}", false: ","}[i == bigFiles-1])))
	}
	return io.MultiReader(parts...), int64(size)
}

// post sends one message.
func (f *filler) post(ctx context.Context, face string, ticket int) error {
	body, size := f.body(ticket)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, face, body)
	if err != nil {
		return err
	}
	req.ContentLength = size
	return acknowledged(req)
}

// sendAll sends n messages, so many at once, each sender on a ticket of its own.
func (f *filler) sendAll(ctx context.Context, face string, at, n int) error {
	var next atomic.Int64
	errs := make([]error, at)
	var wg sync.WaitGroup
	for i := range at {
		wg.Go(func() {
			for next.Add(1) <= int64(n) && errs[i] == nil {
				errs[i] = f.post(ctx, face, i+1)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
