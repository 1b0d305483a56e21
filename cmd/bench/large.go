package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"passerelle/mapping"
	"passerelle/outbox"
)

const growthTitle = "A store that has grown, beside an empty one; 16 senders"

// runLarge builds a store with so many linked tickets at rest and 100,000 waiting
// entries, and measures a gateway on it beside one on an empty store.
func (b *bench) runLarge(ctx context.Context, out, progress io.Writer, pairs int) (err error) {
	start := time.Now()
	if b.say, err = readMessages(b.contract); err != nil {
		return err
	}
	c, err := mapping.Load(os.DirFS(b.contract))
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(b.dir, "bench-large-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	disk, err := b.rawSync()
	if err != nil {
		return err
	}
	l := &large{b: b, c: c, t: &table{}, progress: progress, pairs: pairs, data: filepath.Join(dir, "data"), dir: dir}
	if err := l.build(ctx, 0, pairs/10, true); err != nil {
		return fmt.Errorf("building a tenth: %w", err)
	}
	if err := l.tenth(ctx); err != nil {
		return fmt.Errorf("a tenth: %w", err)
	}
	if err := l.build(ctx, pairs/10, pairs, false); err != nil {
		return fmt.Errorf("building: %w", err)
	}
	if err := l.measure(ctx); err != nil {
		return err
	}
	if err := l.compact(ctx); err != nil {
		return err
	}
	fmt.Fprintln(out, b.header(disk, time.Since(start)))
	return l.t.write(out)
}

// large is one run.
type large struct {
	b         *bench
	c         *mapping.Contract
	t         *table
	progress  io.Writer
	pairs     int
	dir, data string
	took      time.Duration // by the building
	small     memory        // with a tenth of the tickets at rest
}

// build fills the store with the tickets from one to before another, and at first
// with what waits.
func (l *large) build(ctx context.Context, from, to int, waiting bool) error {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	start := time.Now()
	w, err := newBuilder(l.b, l.c, l.data)
	if err != nil {
		return err
	}
	if waiting {
		err = w.wait(ctx)
	}
	if err == nil {
		err = w.rest(ctx, from, to)
	}
	if err == nil {
		l.took += time.Since(start)
		err = l.tellBuilt(ctx, w, to)
	}
	start = time.Now()
	if err = errors.Join(err, w.store.Scrub(ctx)); err == nil { // as the gateway does
		fmt.Fprintf(l.progress, "scrubbed in %v\n", time.Since(start).Round(time.Millisecond))
	}
	return errors.Join(err, w.store.Close())
}

func (l *large) tellBuilt(ctx context.Context, w *builder, pairs int) error {
	st, err := w.store.Stats(ctx)
	if err != nil {
		return err
	}
	n, took, err := w.open(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(l.progress, "built: %d tickets at rest (%d with texts), %d waiting and %d parked entries: %.0f MB, %.0f MB of it unused, %v; a sweep lists its %d open pairs in %v\n",
		pairs, pairs/largeBodies, largeWaiting, largeParked, float64(st.Size)/1e6, float64(st.Unused)/1e6, l.took.Round(time.Second), n, took.Round(time.Millisecond))
	return nil
}

// tenth notes the memory of a gateway on the store as it is.
func (l *large) tenth(ctx context.Context) error {
	h, err := openHouse(ctx, l.b.contract, l.dir, map[string]any{"data": l.data})
	if err != nil {
		return err
	}
	took, err := l.restart(ctx, h)
	if err == nil {
		l.small, err = settled(h)
	}
	if err == nil {
		fmt.Fprintf(l.progress, "with a tenth of the tickets: ready after %v, %s\n", took.Round(time.Millisecond), l.small)
	}
	return errors.Join(err, h.close())
}

// restart stops a gateway and starts it on a database that is not in memory. It
// returns after how long it was ready.
func (l *large) restart(ctx context.Context, h *house) (time.Duration, error) {
	stop := h.stops[len(h.stops)-1] // the gateway's own
	h.stops = h.stops[:len(h.stops)-1]
	if err := stop(); err != nil {
		return 0, err
	}
	if err := evict(database(l.data)); err != nil {
		return 0, err
	}
	was, start := h.public, time.Now()
	if err := h.start(); err != nil {
		return 0, err
	}
	h.face, h.hook = h.public+strings.TrimPrefix(h.face, was), h.public+strings.TrimPrefix(h.hook, was)
	for end := start.Add(2 * time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if status, _, err := h.get(ctx, "/readyz"); err == nil && status == http.StatusOK {
			return time.Since(start), nil
		}
	}
	return 0, errors.New("not ready after two minutes")
}

// evict has the system forget what it holds of a file in memory (Linux).
func evict(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	const dontNeed = 4
	if _, _, no := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, dontNeed, 0, 0); no != 0 {
		return fmt.Errorf("fadvise %s: %w", path, no)
	}
	return nil
}

// memory is what a process holds, in bytes.
type memory struct {
	own  int64 // RssAnon: its own, which nothing can take from it
	file int64 // RssFile: of files that it maps, which the system takes back when it needs the room
}

func (m memory) String() string {
	return fmt.Sprintf("%.0f MB of its own, %.0f MB of mapped files", float64(m.own)/1e6, float64(m.file)/1e6)
}

// settled is the memory of a gateway that has been idle for some seconds.
func settled(h *house) (m memory, err error) {
	time.Sleep(5 * time.Second)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.cmd.Process.Pid))
	if err != nil {
		return m, err
	}
	for name, to := range map[string]*int64{"RssAnon:": &m.own, "RssFile:": &m.file} {
		_, rest, _ := strings.Cut(string(status), name)
		if _, err := fmt.Sscan(rest, to); err != nil {
			return m, fmt.Errorf("%s %w", name, err)
		}
		*to <<= 10
	}
	return m, nil
}

// measure prints all lines.
func (l *large) measure(ctx context.Context) (err error) {
	full, err := openHouse(ctx, l.b.contract, l.dir, map[string]any{"data": l.data})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, full.close()) }()
	took, err := l.restart(ctx, full)
	if err != nil {
		return err
	}
	l.t.add(growthTitle, "start-up to ready, the file not in memory, s", atMost(10), took.Seconds())
	m, err := settled(full)
	if err != nil {
		return err
	}
	l.t.add(growthTitle, "its own memory / that with a tenth at rest", atMost(1.15), float64(m.own)/float64(l.small.own)) // what differs is the collector's
	l.t.add(growthTitle, "its own memory, MB", nil, float64(m.own)/1e6)
	l.t.add(growthTitle, "mapped parts of the file in memory, MB", nil, float64(m.file)/1e6)
	if err := l.rates(ctx, full); err != nil {
		return err
	}
	if m, err = settled(full); err == nil {
		l.t.add(growthTitle, "its own memory after the load, MB", nil, float64(m.own)/1e6)
		err = l.questions(ctx, full)
	}
	return err
}

// rates compares what this gateway accepts and delivers with one on an empty store,
// in turn; the first round is for warming up.
func (l *large) rates(ctx context.Context, full *house) (err error) {
	empty, err := openHouse(ctx, l.b.contract, l.dir, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, empty.close()) }()
	full.rests = largeWaiting + largeParked
	houses := []*house{empty, full}
	for round := range l.b.rounds + 1 {
		got := map[*house]*figures{}
		for i := range houses {
			h := houses[(i+round)%2]
			if got[h], err = l.b.measure(ctx, h, point{senders: 16, tickets: largeTickets}); err != nil {
				return err
			}
		}
		if round == 0 {
			continue
		}
		l.t.add(growthTitle, "accepted / empty", atLeast(0.8), got[full].rate()/got[empty].rate())
		l.t.add(growthTitle, "delivered / empty", atLeast(0.8), got[full].delivered()/got[empty].delivered())
		l.t.add(growthTitle, "processor time an event / empty", nil, float64(got[full].cpu)/float64(got[empty].cpu))
	}
	return nil
}

// questions asks what operators ask.
func (l *large) questions(ctx context.Context, h *house) error {
	if err := l.ask(ctx, h, "one ticket's story", func() string {
		return "/api/tickets/" + largeNumber(largeFirst+rand.IntN(l.pairs))
	}); err != nil {
		return err
	}
	return l.ask(ctx, h, "100 parked entries", func() string {
		return "/api/outbox?status=" + string(outbox.Parked)
	})
}

// ask asks a hundred times.
func (l *large) ask(ctx context.Context, h *house, what string, path func() string) error {
	var took []time.Duration
	for range 100 {
		start := time.Now()
		if status, said, err := h.get(ctx, path()); err != nil || status != http.StatusOK {
			return fmt.Errorf("%s: %d %.200s %w", what, status, said, err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	l.t.add(growthTitle, what+", ms, the worst of a hundred", atMost(50), took[len(took)-1].Seconds()*1000)
	l.t.add(growthTitle, what+", ms, the median", nil, took[len(took)/2].Seconds()*1000)
	return nil
}

// compact tells how much smaller the file becomes without its unused pages.
func (l *large) compact(ctx context.Context) error {
	start := time.Now()
	done, err := outbox.Compact(ctx, l.data)
	if err == nil {
		fmt.Fprintf(l.progress, "compacted: %.0f MB to %.0f MB, %d rows compared, in %v\n", float64(done.Before)/1e6, float64(done.After)/1e6, done.Rows, time.Since(start).Round(time.Second))
	}
	return err
}
