package cluster

import (
	"fmt"
	"io"
	"net"
	"sync"
)

// road carries a gateway's connections to one NATS server, until it is cut.
type road struct {
	l     net.Listener
	to    int
	mu    sync.Mutex
	off   bool
	conns map[net.Conn]bool
}

func newRoad(port int) (*road, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &road{l: l, to: port, conns: map[net.Conn]bool{}}
	go r.serve() // ends with close
	return r, nil
}

func (r *road) address() string { return r.l.Addr().String() }

func (r *road) serve() {
	for {
		in, err := r.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.to))
		if err != nil || !r.keep(in, out) {
			in.Close()
			if out != nil {
				out.Close()
			}
			continue
		}
		go r.carry(in, out)
		go r.carry(out, in)
	}
}

func (r *road) keep(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		r.conns[c] = true
	}
	return !r.off
}

// carry copies until one end is gone, and closes both.
func (r *road) carry(from, to net.Conn) {
	_, _ = io.Copy(to, from) // cut, most likely
	from.Close()
	to.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, from)
}

// cut breaks what is connected, and takes nothing more until it is mended.
func (r *road) cut(yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.off = yes
	for c := range r.conns {
		if yes {
			c.Close()
		}
	}
}

func (r *road) close() {
	r.l.Close()
	r.cut(true)
}
