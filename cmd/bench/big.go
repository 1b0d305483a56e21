package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"passerelle/internal/trial"
)

const (
	bigFiles    = 4         // of a big message
	bigFile     = 1_920_000 // bytes of one: the JSON of all four has nearly 10 MiB
	bigMessages = 16        // a run
	bigTickets  = 64        // that small senders write on
)

// runBig measures big messages, each with four attachments, against a gateway
// that is a process of its own.
func (b *bench) runBig(ctx context.Context) (err error) {
	if b.say, err = readMessages(b.contract); err != nil {
		return err
	}
	files := newFiller()
	fmt.Printf("big messages: %d of %.1f MB as a form (%d attachments of %.2f MB), to a gateway that is a process of its own\n", bigMessages, float64(files.size())/1e6, bigFiles, bigFile/1e6)
	for _, at := range []int{1, 4, 8} {
		if err := b.bigAt(ctx, files, at); err != nil {
			return fmt.Errorf("%d at once: %w", at, err)
		}
	}
	if err := b.bigCPU(ctx, files); err != nil {
		return fmt.Errorf("processor time: %w", err)
	}
	if err := b.longTexts(ctx); err != nil {
		return fmt.Errorf("long texts: %w", err)
	}
	return b.bigBeside(ctx, files)
}

// withHouse starts a gateway with tickets that are open at both sides.
func (b *bench) withHouse(ctx context.Context, tickets int, do func(*house) error) (err error) {
	h, err := openHouse(ctx, b.contract, b.dir, map[string]any{"limits": map[string]int{"large": b.large}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	for n := 1; n <= tickets; n++ {
		if _, err := h.itop.Console(ctx, b.say.ticket); err != nil {
			return err
		}
		if err := b.post(ctx, h.face, b.fill(b.say.create, n, "")); err != nil {
			return err
		}
	}
	if err := h.idle(ctx, time.Minute); err != nil {
		return err
	}
	return do(h)
}

// bigAt sends the messages, so many at once, until all have arrived.
func (b *bench) bigAt(ctx context.Context, files *filler, at int) error {
	return b.withHouse(ctx, at, func(h *house) error {
		before, err := usageOf(h.cmd.Process.Pid)
		if err != nil {
			return err
		}
		start := time.Now()
		if err := sendAll(ctx, files, h.face, at, bigMessages); err != nil {
			return err
		}
		taken := time.Since(start)
		if err := h.idle(ctx, 5*time.Minute); err != nil {
			return err
		}
		after, err := usageOf(h.cmd.Process.Pid)
		if err != nil {
			return err
		}
		fmt.Printf("%d at once: peak memory %4.0f MB (%.0f MB before), %.1f messages/s accepted, %.1f/s with delivery, %v of processor time a message\n", at,
			float64(after.peak)/1e6, float64(before.peak)/1e6, bigMessages/taken.Seconds(), bigMessages/time.Since(start).Seconds(), ((after.cpu - before.cpu) / bigMessages).Round(time.Millisecond))
		return h.arrived(bigMessages * bigFiles)
	})
}

// sendAll sends n big messages, so many at once, each sender on a ticket of its own.
func sendAll(ctx context.Context, files *filler, face string, at, n int) error {
	var next atomic.Int64
	errs := make([]error, at)
	var wg sync.WaitGroup
	for i := range at {
		wg.Go(func() {
			for next.Add(1) <= int64(n) && errs[i] == nil {
				errs[i] = files.post(ctx, face, i+1)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// arrived checks that the partner holds so many files, each once and whole.
func (h *house) arrived(want int) error {
	seen := map[string]bool{}
	for _, w := range h.jira.Jira.Writes() {
		if w.Kind != "attachment" || strings.Contains(w.Detail, "(text/html, ") { // a long text
			continue
		}
		m := attached.FindStringSubmatch(w.Detail)
		if m == nil || m[2] != fmt.Sprint(bigFile) || seen[m[1]] {
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

// bigCPU compares the gateway's processor time for taking a message with that of
// a server that only reads and parses it.
func (b *bench) bigCPU(ctx context.Context, files *filler) error {
	idle, err := noopCPU(ctx, files)
	if err != nil {
		return err
	}
	return b.withHouse(ctx, 1, func(h *house) error {
		h.hold.Lock()
		before, errA := usageOf(h.cmd.Process.Pid)
		err := sendAll(ctx, files, h.face, 1, bigMessages)
		taken, errB := usageOf(h.cmd.Process.Pid)
		h.hold.Unlock()
		if err := errors.Join(err, errA, errB, h.idle(ctx, 5*time.Minute)); err != nil {
			return err
		}
		all, err := usageOf(h.cmd.Process.Pid)
		if err != nil {
			return err
		}
		each := func(d time.Duration) time.Duration { return (d / bigMessages).Round(time.Millisecond) }
		fmt.Printf("processor time a message: no-op + parse %v; accepted %v (%.2f times that); accepted and delivered %v (%.2f)\n", each(idle),
			each(taken.cpu-before.cpu), float64(taken.cpu-before.cpu)/float64(idle), each(all.cpu-before.cpu), float64(all.cpu-before.cpu)/float64(idle))
		return nil
	})
}

// longTexts sends entries of a journal that are as long as a message may be: the
// dearest thing that a sender can say. They are accepted; the partner's tool holds
// its answers back until the memory is read.
func (b *bench) longTexts(ctx context.Context) error {
	for _, at := range []int{1, 8} {
		err := b.withHouse(ctx, at, func(h *house) error {
			before, err := usageOf(h.cmd.Process.Pid)
			if err != nil {
				return err
			}
			one := *b
			one.size = 10_200_000 / 28 * 27 // é is two bytes
			h.hold.Lock()
			errs := make([]error, at)
			var wg sync.WaitGroup
			start := time.Now()
			for i := range at {
				wg.Go(func() { errs[i] = one.post(ctx, h.face, one.fill(one.say.log, i+1, fmt.Sprintf("id-%d-1 ", i+1))) })
			}
			wg.Wait()
			took := time.Since(start)
			taken, err := usageOf(h.cmd.Process.Pid)
			h.hold.Unlock()
			if err := errors.Join(append(errs, err, h.idle(ctx, 5*time.Minute))...); err != nil {
				return err
			}
			all, err := usageOf(h.cmd.Process.Pid)
			fmt.Printf("%d texts of 10 MB at once: peak memory %.0f MB accepted, %.0f MB delivered too (%.0f MB before), %v\n", at, float64(taken.peak)/1e6, float64(all.peak)/1e6, float64(before.peak)/1e6, took.Round(time.Millisecond))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// noopEnv is set in a process that shall be the baseline for big messages.
const noopEnv = "PASSERELLE_BENCH_NOOP"

// runNoop serves the baseline, says where, and ends with its standard input.
func runNoop() error {
	u, stop, err := trial.Serve("127.0.0.1:0", http.HandlerFunc(noopHandler))
	if err != nil {
		return err
	}
	fmt.Println(u)
	_, _ = io.Copy(io.Discard, os.Stdin) // ends when our parent lets go
	return stop()
}

// noopCPU is the processor time that the baseline takes for all messages.
func noopCPU(ctx context.Context, files *filler) (took time.Duration, err error) {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), noopEnv+"=1")
	cmd.Stderr = os.Stderr
	in, errA := cmd.StdinPipe()
	out, errB := cmd.StdoutPipe()
	if err := errors.Join(errA, errB, cmd.Start()); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, in.Close(), cmd.Wait()) }()
	var at string
	if _, err := fmt.Fscan(out, &at); err != nil {
		return 0, err
	}
	before, err := usageOf(cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	if err := sendAll(ctx, files, at, 1, bigMessages); err != nil {
		return 0, err
	}
	after, err := usageOf(cmd.Process.Pid)
	fmt.Printf("no-op + parse, a process of its own: peak memory %.0f MB at 1 at once\n", float64(after.peak)/1e6)
	return after.cpu - before.cpu, err
}

// bigBeside measures small senders alone, and beside big ones.
func (b *bench) bigBeside(ctx context.Context, files *filler) error {
	var alone float64
	for _, big := range []int{0, 1, 8} {
		err := b.withHouse(ctx, bigTickets+big, func(h *house) error {
			rate, sent, err := b.beside(ctx, files, h, big)
			if big == 0 {
				alone = rate
			}
			if err == nil {
				fmt.Printf("%d small senders beside %d big ones: %.0f messages/s (%.2f of alone), %.1f big messages/s\n", bigTickets, big, rate, rate/alone, sent)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("small senders beside %d big ones: %w", big, err)
		}
	}
	return nil
}

// besideFor is how long small senders are measured.
const besideFor = 8 * time.Second

func (b *bench) beside(ctx context.Context, files *filler, h *house, big int) (small, large float64, err error) {
	var n, sent atomic.Int64
	end := time.Now().Add(besideFor)
	errs := make([]error, bigTickets+big)
	var wg sync.WaitGroup
	for i := range bigTickets + big {
		wg.Go(func() {
			for k := 1; time.Now().Before(end) && errs[i] == nil; k++ {
				if i < bigTickets {
					errs[i] = b.post(ctx, h.face, b.fill(b.say.log, i+1, fmt.Sprintf("id-%d-%d ", i+1, k)))
					n.Add(1)
				} else {
					errs[i] = files.post(ctx, h.face, i+1)
					sent.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return float64(n.Load()) / besideFor.Seconds(), float64(sent.Load()) / besideFor.Seconds(), errors.Join(errs...)
}

// filler makes big messages. Each is another, though all share their text: no
// two files are alike.
type filler struct {
	text string // of a file behind its first bytes: base64 as PHP writes it in JSON, escaped for a form
	n    atomic.Int64
}

// unlike is how many bytes of a file are its own.
const unlike = 9

func newFiller() *filler {
	b := make([]byte, bigFile-unlike)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	return &filler{text: url.QueryEscape(strings.ReplaceAll(base64.StdEncoding.EncodeToString(b), "/", `\/`))}
}

func (f *filler) size() int { return bigFiles * len(f.text) }

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

// post sends one message, and again as long as it is told to come later.
func (f *filler) post(ctx context.Context, face string, ticket int) error {
	body, size := f.body(ticket)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, face, body)
	if err != nil {
		return err
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Auth-Token", token)
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var said struct{ Code *int }
	if b, err := io.ReadAll(res.Body); err != nil || json.Unmarshal(b, &said) != nil || said.Code == nil || *said.Code != 0 {
		return fmt.Errorf("%s: %s %w", res.Status, b, err)
	}
	return nil
}
