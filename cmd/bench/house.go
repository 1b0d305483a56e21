package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"

	"passerelle"
	"passerelle/adapters"
	"passerelle/internal/trial"
)

// house is the gateway as a process of its own, so that its memory and its
// processor time are nobody else's, between two simulated tools in this one.
type house struct {
	dir           string // of its own: configuration, secrets and data
	stage         *trial.Stage
	itop, jira    *trial.Tool
	public, admin string // URLs, without a path
	face          string // where the requester's tool posts
	hook          string // below which the partner's tool posts
	cmd           *exec.Cmd
	stops         []func() error

	tickets  int                 // that the requester's tool holds
	rests    int                 // entries that wait or are parked, and stay so
	hold     sync.RWMutex        // locked, the partner's tool answers nobody
	way      atomic.Pointer[way] // to the partner's tool; nil: straight
	asked    atomic.Int64        // requests to the partner's tool
	answered atomic.Int64        // when a tool last answered, in nanoseconds since 1970
	written  atomic.Int64        // and when the partner's did so to more than a question
}

// inFlight is how many messages to the partner's tool are in flight at most.
const inFlight = 8

// openHouse starts the gateway on a contract with extra top-level keys of its
// configuration, and waits until it takes and delivers.
func openHouse(ctx context.Context, contract, dir string, extra map[string]any) (*house, error) {
	h := &house{}
	if err := h.furnish(ctx, contract, dir, extra); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

func (h *house) furnish(ctx context.Context, contract, dir string, extra map[string]any) (err error) {
	if h.dir, err = os.MkdirTemp(dir, "bench-"); err != nil {
		return err
	}
	h.stops = append(h.stops, func() error { return os.RemoveAll(h.dir) })
	if h.stage, err = trial.Load(contract); err != nil {
		return err
	}
	if h.itop, err = h.open(passerelle.Requester); err != nil {
		return err
	}
	if h.jira, err = h.open(passerelle.Partner); err != nil {
		return err
	}
	if err := h.configure(contract, extra); err != nil {
		return err
	}
	if err := h.start(); err != nil {
		return err
	}
	name := "/" + filepath.Base(filepath.Dir(contract))
	h.face, h.hook = h.public+name+"/requester/"+adapters.RESTPath, h.public+name+"/partner"
	return h.ready(ctx)
}

// open serves one side's tool.
func (h *house) open(side passerelle.Side) (*trial.Tool, error) {
	t, err := h.stage.Open(side)
	if err != nil {
		return nil, err
	}
	h.stops = append(h.stops, func() error { t.Close(); return nil })
	var stop func() error
	if t.URL, stop, err = trial.Serve("127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { h.answered.Store(time.Now().UnixNano()) }()
		if side == passerelle.Requester {
			t.ServeHTTP(w, r)
			return
		}
		h.hold.RLock()
		defer h.hold.RUnlock()
		h.asked.Add(1)
		if r.Method != http.MethodGet {
			defer func() { h.written.Store(time.Now().UnixNano()) }()
		}
		if way := h.way.Load(); way != nil {
			(*way)(t, w, r)
			return
		}
		t.ServeHTTP(w, r)
	})); err == nil {
		h.stops = append(h.stops, stop)
	}
	return t, err
}

// configure writes the gateway's configuration and its secrets.
func (h *house) configure(contract string, extra map[string]any) error {
	contract, err := filepath.Abs(contract)
	if err != nil {
		return err
	}
	secret := func(name, value string) (adapters.SecretRef, error) {
		file := filepath.Join(h.dir, name)
		return adapters.SecretRef{File: file}, os.WriteFile(file, []byte(value+"\n"), 0o600)
	}
	requester, err := h.stage.Connect(passerelle.Requester, h.itop.URL, token, secret)
	if err != nil {
		return err
	}
	partner, err := h.stage.Connect(passerelle.Partner, h.jira.URL, token, secret)
	if err != nil {
		return err
	}
	partner.Workers = inFlight
	name := filepath.Join(filepath.Base(filepath.Dir(contract)), filepath.Base(contract))
	c := map[string]any{"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "data": filepath.Join(h.dir, "data"), "contracts": filepath.Dir(filepath.Dir(contract)), "log": "error", "sweep": map[string]string{"every": "0s"},
		"links": []map[string]any{{"contract": name, "requester": requester, "partner": partner}}}
	for key, v := range extra {
		c[key] = v
	}
	b, err := yaml.MarshalWithOptions(c, yaml.OmitZero())
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(h.dir, "gateway.yaml"), b, 0o600)
}

// start runs the gateway and learns its addresses from its first line.
func (h *house) start() error {
	program, err := gatewayProgram()
	if err != nil {
		return err
	}
	h.cmd = exec.Command(program, "serve", "--config", filepath.Join(h.dir, "gateway.yaml"))
	h.cmd.Env = append(os.Environ(), profileEnv+"="+profile)
	h.cmd.Stderr = os.Stderr
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := h.cmd.Start(); err != nil {
		return err
	}
	h.stops = append(h.stops, func() error {
		err := profiled(h.cmd.Process)
		_ = h.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		return errors.Join(err, h.cmd.Wait())
	})
	late := time.AfterFunc(time.Minute, func() { _ = h.cmd.Process.Kill() }) // it may have ended
	line, err := bufio.NewReader(out).ReadString('\n')
	late.Stop()
	var public, admin string
	if _, bad := fmt.Sscanf(line, "listening on %s admin on %s", &public, &admin); bad != nil {
		return fmt.Errorf("the gateway does not start: %q, %w", line, errors.Join(err, bad))
	}
	h.public, h.admin = "http://"+strings.TrimSuffix(public, ","), "http://"+admin
	return nil
}

// ready waits until the gateway takes and delivers.
func (h *house) ready(ctx context.Context) error {
	said := ""
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		status, body, err := h.get(ctx, "/readyz")
		if err != nil || status == http.StatusOK {
			return err
		}
		said = body
	}
	return fmt.Errorf("the gateway is not ready: %s", said)
}

// close stops all of it and removes its folder.
func (h *house) close() error {
	client.CloseIdleConnections() // the gateway waits a while for one that has asked nothing yet
	var errs []error
	for i := len(h.stops) - 1; i >= 0; i-- {
		errs = append(errs, h.stops[i]())
	}
	h.stops = nil
	return errors.Join(errs...)
}

// usage is what a process took so far.
type usage struct {
	peak int64         // bytes of memory that it ever held at once (VmHWM)
	cpu  time.Duration // user and system, to 10 ms
}

// usageOf reads a process's usage (Linux).
func usageOf(pid int) (u usage, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(rest, &u.peak); err != nil {
		return u, fmt.Errorf("VmHWM: %w", err)
	}
	u.peak <<= 10
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:])) // from the third on
	for _, at := range []int{11, 12} {
		ticks, err := strconv.ParseInt(f[at], 10, 64)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(ticks) * 10 * time.Millisecond
	}
	return u, nil
}

// metrics reads the gateway's metrics, by name and labels as they are written.
func (h *house) metrics(ctx context.Context) (map[string]float64, error) {
	_, text, err := h.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if ok {
			name += "}"
		} else {
			name, value, _ = strings.Cut(name, " ")
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			all[name] = v
		}
	}
	return all, nil
}

// get asks the gateway's own address.
func (h *house) get(ctx context.Context, path string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.admin+path, nil)
	if err != nil {
		return 0, "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// quiet is how long no tool must have answered before the gateway is asked what is
// left: asking is work for it.
const quiet = 100 * time.Millisecond

// hush waits until no tool has answered for a while, and returns when one last did.
func (h *house) hush() int64 {
	for {
		last := h.answered.Load()
		left := quiet - time.Since(time.Unix(0, last))
		if left <= 0 {
			return last
		}
		time.Sleep(left)
	}
}

// idle waits until nothing is left to be told but what rests, with anything else that
// is parked as an error. It asks less often while more is left.
func (h *house) idle(ctx context.Context, within time.Duration) error {
	left := 0.0
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(min(max(20*time.Millisecond, time.Duration(left)*time.Millisecond/2), time.Second/2)) {
		h.hush()
		all, err := h.metrics(ctx)
		if err != nil {
			return err
		}
		left = -float64(h.rests)
		for name, v := range all {
			if name != "passerelle_looks_waiting" && !strings.HasPrefix(name, "passerelle_outbox_entries{") {
				continue
			}
			if left += v; v > 0 && h.rests == 0 && strings.Contains(name, `"parked"`) {
				return fmt.Errorf("%v entries are parked: %s", v, name)
			}
		}
		if left == 0 {
			return nil
		}
	}
	return fmt.Errorf("%v entries are left after %v", left, within)
}
