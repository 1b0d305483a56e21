package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a program that can be killed, stopped and begun again.
type Process struct {
	Name string
	log  string
	argv []string
	env  []string // beside our own

	mu   sync.Mutex
	cmd  *exec.Cmd
	gone chan struct{} // closed when it has ended
}

// Start begins it.
func (p *Process) Start() error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the terminal's Ctrl-C is ours to pass on
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	gone := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.gone = cmd, gone
	go func() { // ends with the process
		_ = cmd.Wait() // killed, most likely
		close(gone)
	}()
	return nil
}

// over tells whether it has ended.
func (p *Process) over() bool { return p.await(0) }

func (p *Process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(s) // it may have ended
	}
}

// Kill ends it at once, and waits until it is gone.
func (p *Process) Kill() {
	p.signal(syscall.SIGKILL)
	p.await(time.Minute)
}

// Freeze stops it where it is; Thaw lets it go on.
func (p *Process) Freeze() { p.signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (p *Process) Thaw() { p.signal(syscall.SIGCONT) }

// Stop asks it to end, and waits until it has.
func (p *Process) Stop(within time.Duration) error {
	p.signal(syscall.SIGTERM)
	if p.await(within) {
		return nil
	}
	said := p.tail()
	p.signal(syscall.SIGQUIT) // a Go program then says in its log where it stands
	p.await(5 * time.Second)
	return fmt.Errorf("%s does not end within %v; it stands where %s says, after:\n%s", p.Name, within, p.log, said)
}

// await waits until it has ended, and tells whether it has.
func (p *Process) await(within time.Duration) bool {
	p.mu.Lock()
	gone := p.gone
	p.mu.Unlock()
	if gone == nil {
		return true
	}
	select {
	case <-gone:
		return true
	case <-time.After(within):
		return false
	}
}

// tail is the end of its log.
func (p *Process) tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return errors.Join(errors.New("no log"), err).Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}
