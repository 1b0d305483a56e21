package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// meter says how far a long piece of work is. Of one that takes less than a
// second it says nothing.
type meter struct {
	w     io.Writer
	live  bool // a terminal: one line that changes
	ended chan struct{}
	wait  sync.WaitGroup

	mu          sync.Mutex
	work        string
	start       time.Time // of this work
	done, total int64
}

// startMeter begins to tell of work. Whoever starts it ends it.
func startMeter(w io.Writer, work string) *meter {
	m := &meter{w: w, live: isTerminal(w), ended: make(chan struct{})}
	m.begin(work)
	m.wait.Go(m.run)
	return m
}

// begin says what is done from now on.
func (m *meter) begin(work string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.work, m.start, m.done, m.total = work, time.Now(), 0, 0
}

// tell takes in how many bytes are done, of how many; 0 if nobody knows.
func (m *meter) tell(done, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done, m.total = done, total
}

func (m *meter) run() {
	pause := 10 * time.Second
	if m.live {
		pause = time.Second / 4
	}
	for next := time.Second; ; next = pause {
		select {
		case <-m.ended:
			return
		case <-time.After(next):
			m.print(m.line())
		}
	}
}

func (m *meter) end() {
	close(m.ended)
	m.wait.Wait()
	m.print("")
}

// print says a line; on a terminal in place of the last.
func (m *meter) print(line string) {
	if m.live {
		fmt.Fprint(m.w, "\r\033[K", line)
	} else if line != "" {
		fmt.Fprintln(m.w, line)
	}
}

func (m *meter) line() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	took := time.Since(m.start)
	if m.done == 0 {
		return fmt.Sprintf("%s: %s", m.work, took.Round(time.Second))
	}
	line := m.work + ": " + size(m.done)
	if m.total > 0 {
		line += fmt.Sprintf(" of %s, %d %%", size(m.total), min(100, m.done*100/m.total))
	}
	return line + ", " + size(int64(float64(m.done)/max(took.Seconds(), 0.001))) + "/s"
}

// size is a number of bytes for people.
func size(n int64) string {
	if n < 1000 {
		return plural(int(n), "byte", "bytes")
	}
	v, units := float64(n), "kMGTPE"
	for v /= 1000; v >= 999.95; v /= 1000 {
		units = units[1:]
	}
	return strings.Replace(fmt.Sprintf("%.1f %cB", v, units[0]), ".0 ", " ", 1)
}

// moment is a time of this machine's clock, with its offset.
func moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 -07:00") }

// patient reads until its context ends.
type patient struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.r.Read(b)
}
