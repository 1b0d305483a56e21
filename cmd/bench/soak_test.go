package main

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"passerelle/adapters"
)

var soakFor = flag.Duration("soak", 8*time.Second, "how long good and hostile traffic is mixed")

const (
	soakTickets  = 8
	soakContract = "../../contracts/orleans-tours-gar/v1"
	slowCallers  = 40
)

// soak is good and hostile traffic against a gateway that is a process of its own.
type soak struct {
	*bench
	*house
	t     *testing.T
	ctx   context.Context
	end   time.Time
	logs  [soakTickets + 1]int // acknowledged on each ticket, from 1 on
	files atomic.Int64         // acknowledged, of big messages
	later atomic.Int64         // answers that said to come again
	done  map[string]*atomic.Int64
}

// TestSoak mixes good senders with all that strangers, and accounts gone bad, can
// send. The gateway's memory and goroutines stay flat, all good traffic is
// acknowledged, and arrives once and in order. `make soak` does it for minutes.
func TestSoak(t *testing.T) {
	b := &bench{contract: soakContract, size: 2048}
	if err := built("../gateway"); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.say, err = readMessages(b.contract); err != nil {
		t.Fatal(err)
	}
	h, err := openHouse(t.Context(), b.contract, t.TempDir(), map[string]any{"limits": map[string]int{"connections": 200}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	}()
	s := &soak{bench: b, house: h, t: t, ctx: t.Context(), done: map[string]*atomic.Int64{}}
	s.prepare()
	before := s.goroutines()
	s.end = time.Now().Add(*soakFor)
	var all sync.WaitGroup
	for n := 1; n <= soakTickets; n++ {
		all.Go(func() { s.good(n) })
	}
	all.Go(s.large)
	for name, attack := range s.attacks() {
		count := &atomic.Int64{}
		s.done[name] = count
		all.Go(func() {
			for time.Now().Before(s.end) {
				attack()
				count.Add(1)
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	for i := range slowCallers {
		all.Go(func() { s.drip(i%2 == 0) })
	}
	samples := s.watch()
	all.Wait()
	s.judge(samples, before)
}

// built reads what the gateway is built of, so that go test knows that this test
// depends on it.
func built(folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	for _, name := range files {
		_, bad := os.ReadFile(name)
		err = errors.Join(err, bad)
	}
	return err
}

// prepare opens the tickets at both sides.
func (s *soak) prepare() {
	for n := 1; n <= soakTickets+1; n++ {
		if _, err := s.itop.Console(s.ctx, s.say.ticket); err != nil {
			s.t.Fatal(err)
		}
		s.send(s.fill(s.say.create, n, ""))
	}
	if err := s.idle(s.ctx, time.Minute); err != nil {
		s.t.Fatal(err)
	}
}

// good writes on one ticket, one entry after the other.
func (s *soak) good(n int) {
	for i := 1; time.Now().Before(s.end) && !s.t.Failed(); i++ {
		s.send(s.fill(s.say.log, n, fmt.Sprintf("id-%d-%d ", n, i)))
		s.logs[n] = i
		time.Sleep(50 * time.Millisecond)
	}
}

// send posts a good message until it is acknowledged, as a careful sender does.
func (s *soak) send(message string) { s.insist(func() error { return s.post(s.ctx, s.face, message) }) }

func (s *soak) insist(post func() error) {
	for !s.t.Failed() {
		err := post()
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), "503") {
			s.t.Errorf("a good message: %v", err)
			return
		}
		if s.later.Add(1); !s.end.IsZero() && time.Now().After(s.end.Add(time.Minute)) {
			s.t.Errorf("a good message is still refused: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// large sends big messages with attachments and long texts, on the last ticket.
func (s *soak) large() {
	f, long := newFiller(bigFile), *s.bench
	long.size = 300_000
	for i := 0; time.Now().Before(s.end) && !s.t.Failed(); i++ {
		s.insist(func() error { return f.post(s.ctx, s.face, soakTickets+1) })
		s.files.Add(bigFiles)
		s.send(long.fill(long.say.log, soakTickets+1, fmt.Sprintf("text %d ", i)))
		time.Sleep(500 * time.Millisecond)
	}
}

// attacks are what hostile callers send, once each.
func (s *soak) attacks() map[string]func() {
	const head = `{"operation":"syn/addattachment","comment":"c","class":"UserRequest","fields":{"customer_id":"1"},"attachments":[`
	file := func(data string) string { return head + `{"filename":"a.bin","data":"` + data + `"}]}` }
	huge := file(strings.Repeat("QUJD", 10<<20))
	text := func(n int) string {
		return `{"operation":"core/update","comment":"c","class":"UserRequest","fields":{"customer_id":"999999","public_log":"` + strings.Repeat("<b>x</b> ", n/9) + `"}}`
	}
	form := func(message, tail string) string { return "version=1.3&json_data=" + url.QueryEscape(message) + tail }
	const asForm, asJSON = "application/x-www-form-urlencoded", "application/json"
	webhook := s.public + "/orleans-tours-gar/partner/" + adapters.WebhookPath
	guess := func() string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte("gateway:wrong-"+time.Now().String()))
	}
	return map[string]func(){
		"a huge body, a stranger":    func() { s.hit(s.face, asJSON, huge) },
		"a huge body, an account":    func() { s.hit(s.face, asJSON, huge, "Auth-Token", token) },
		"a huge form, password last": func() { s.hit(s.face, asForm, form(huge[:12<<20], "&auth_user=a&auth_pwd=wrong")) },
		"deep nesting":               func() { s.hit(s.face, asJSON, strings.Repeat("[", 1<<20), "Auth-Token", token) },
		"a million attachments": func() {
			s.hit(s.face, asJSON, head+strings.Repeat(`{"data":"","filename":"a"},`, 300_000)+`{}]}`, "Auth-Token", token)
		},
		"a million brackets": func() { s.hit(s.face, asJSON, `{"a":[`+strings.Repeat("[],", 1<<20)+`[]]}`) },
		"base64 that lies":   func() { s.hit(s.face, asJSON, file(strings.Repeat("QUJD", 100_000)+"!"), "Auth-Token", token) },
		"wrong passwords":    func() { s.hit(s.face, asJSON, `{"operation":"list_operations"}`, "Authorization", guess()) },
		"a flood of headers": func() { s.hit(s.face, asJSON, "{}", "X-Flood", strings.Repeat("a", 1<<20)) },
		"half a body":        func() { s.half() },
		"a forged webhook": func() {
			s.hit(webhook, asJSON, `{"a":"`+strings.Repeat("x", 4<<20)+`"}`, "X-Hub-Signature", "sha256="+strings.Repeat("0", 64))
		},
		"a long text, a stranger":      func() { s.hit(s.face, asJSON, text(2<<20)) },
		"a long text, of no ticket":    func() { s.hit(s.face, asJSON, text(2<<20), "Auth-Token", token) },
		"no HTTP at all":               func() { s.raw(strings.Repeat("\x16\x03\x01", 1000)) },
		"a connection, and not a word": func() { s.raw("") },
		"a request that is cut short":  func() { s.raw("POST / HTTP/1.1\r\nHost: x\r\nContent-Le") },
		"a length that lies": func() {
			s.raw("POST /orleans-tours-gar/requester/webservices/rest.php HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{")
		},
		"names without end, in a form": func() { s.hit(s.face, asForm, strings.Repeat("n=1&", 1<<20)) },
		"headers of parts without end": func() { s.hit(s.face, "multipart/form-data; boundary=b", "--b\r\nA: "+strings.Repeat("h", 4<<20)) },
		"a number of a million digits": func() { s.hit(s.face, asJSON, `{"operation":`+strings.Repeat("1", 1<<20)+`}`, "Auth-Token", token) },
		"a known ticket's huge journal": func() {
			s.hit(s.face, asJSON, `{"operation":"core/update","comment":"c","class":"UserRequest","fields":{"customer_id":"1","public_log":"`+strings.Repeat("x", 11<<20)+`"}}`, "Auth-Token", token)
		},
	}
}

// hit posts something that must not be taken.
func (s *soak) hit(to, kind, body string, header ...string) {
	req, err := http.NewRequestWithContext(s.ctx, http.MethodPost, to, strings.NewReader(body))
	if err != nil {
		s.t.Error(err)
		return
	}
	req.Header.Set("Content-Type", kind)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		return // it hung up on us, as it may
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err == nil && strings.Contains(string(b), `"code":0`) {
		s.t.Errorf("%.80s was taken: %s", body, b)
	}
}

// half sends half of a body, closes that direction, and listens.
func (s *soak) half() {
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.public, "http://"))
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuth-Token: %s\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{\"operation\":\"%s", strings.TrimPrefix(s.face, s.public), token, strings.Repeat("x", 400_000))
	_ = conn.(*net.TCPConn).CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.Copy(io.Discard, conn)
}

// raw sends what may be no request, and hangs up after a moment.
func (s *soak) raw(text string) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.public, "http://"))
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, text)
	_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	_, _ = io.Copy(io.Discard, conn)
}

// drip sends a large body a few bytes at a time, with a token or without, as long
// as it is let.
func (s *soak) drip(known bool) {
	for time.Now().Before(s.end) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.public, "http://"))
		if err != nil {
			continue
		}
		who := ""
		if known {
			who = "Auth-Token: " + token + "\r\n"
		}
		_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Type: application/json\r\nContent-Length: 9000000\r\n\r\n", strings.TrimPrefix(s.face, s.public), who)
		_, err = io.WriteString(conn, `{"attachments":[{"data":"`+strings.Repeat("QUJD", 100_000)) // a large one already
		for err == nil && time.Now().Before(s.end) {
			time.Sleep(100 * time.Millisecond)
			_, err = io.WriteString(conn, "QUJD")
		}
		conn.Close()
	}
}

// sample is the gateway at one moment.
type sample struct{ memory, goroutines float64 }

// watch takes samples until the end.
func (s *soak) watch() (all []sample) {
	for time.Now().Before(s.end) {
		time.Sleep(100 * time.Millisecond)
		all = append(all, sample{s.memory(), s.goroutines()})
	}
	return all
}

// memory is what the gateway holds, in bytes, without the pages of its data file,
// which the kernel takes back when it wants (RssAnon).
func (s *soak) memory() float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatalf("the gateway is gone: %v", err)
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	f := strings.Fields(rest)
	kb, err := strconv.ParseFloat(f[0], 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return kb * 1024
}

func (s *soak) goroutines() float64 {
	all, err := s.metrics(s.ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	return all["go_goroutines"]
}

// Bounds of the soak: what the gateway may hold at any moment, in bytes, and what
// its second half may have more than its first.
const (
	soakPeak = 500e6
	moreMB   = 48e6
)

// judge compares the second half of the samples with the first, waits until all
// is delivered, and reads the partner's tool.
func (s *soak) judge(all []sample, before float64) {
	memory, threads := halves(all, func(x sample) float64 { return x.memory }), halves(all, func(x sample) float64 { return x.goroutines })
	peak, err := usageOf(s.cmd.Process.Pid)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("memory %.0f then %.0f MB (%.0f MB at most), goroutines %.0f then %.0f (%.0f before)", memory[0]/1e6, memory[1]/1e6, float64(peak.peak)/1e6, threads[0], threads[1], before)
	if memory[1] > memory[0]*1.3+moreMB || peak.peak > soakPeak {
		s.t.Errorf("memory is not flat: %.0f MB in the first half, %.0f in the second, %d at most", memory[0]/1e6, memory[1]/1e6, peak.peak)
	}
	if threads[1] > threads[0]*1.3+30 {
		s.t.Errorf("goroutines are not flat: %.0f in the first half, %.0f in the second", threads[0], threads[1])
	}
	for name, n := range s.done {
		if s.t.Logf("%4d × %s", n.Load(), name); n.Load() == 0 {
			s.t.Errorf("%s never came to its end", name)
		}
	}
	// More comes in than simulators on the same cores take: what waits grows with the time.
	if err := s.idle(s.ctx, 2*time.Minute+2*(*soakFor)); err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("%v journal entries, %d files; %d answers said to come again", s.logs[1:], s.files.Load(), s.later.Load())
	if err := errors.Join(s.arrived(int(s.files.Load()), bigFile), journals(s.jira.Jira.Writes(), s.logs[1:])); err != nil {
		s.t.Error(err)
	}
	client.CloseIdleConnections()
	now := s.goroutines()
	for end := time.Now().Add(20 * time.Second); now > before+20 && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		now = s.goroutines()
	}
	if now > before+20 {
		s.t.Errorf("%.0f goroutines are left, %.0f were there before", now, before)
	}
}

// halves are the medians of the first and the second half.
func halves(all []sample, of func(sample) float64) (out [2]float64) {
	for i, half := range [][]sample{all[:len(all)/2], all[len(all)/2:]} {
		var v []float64
		for _, x := range half {
			v = append(v, of(x))
		}
		slices.Sort(v)
		out[i] = v[len(v)/2]
	}
	return out
}
