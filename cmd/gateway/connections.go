package main

import (
	"container/list"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// connections bounds how many callers of the faces are connected at once. Where
// no more fit, who has said nothing since his last answer makes room first; else
// a new one waits, unheard, until another leaves. One address has half of them at
// most, so that nobody shuts all others out; our own proxies may have all.
type connections struct {
	net.Listener
	most    int
	proxies []netip.Prefix

	mu     sync.Mutex
	room   sync.Cond // signalled when one leaves or falls idle, and at the end
	n      int
	by     map[netip.Addr]int
	idle   *list.List // of net.Conn, the longest idle first
	places map[net.Conn]*list.Element
	turned int // away: more than one address may have
	shut   bool
}

// newConnections bounds the connections of a listener that is set before the
// first Accept.
func newConnections(most int, proxies []netip.Prefix) *connections {
	c := &connections{most: most, proxies: proxies, by: map[netip.Addr]int{}, idle: list.New(), places: map[net.Conn]*list.Element{}}
	c.room.L = &c.mu
	return c
}

// Accept implements net.Listener.
func (c *connections) Accept() (net.Conn, error) {
	for {
		if !c.wait() {
			return nil, net.ErrClosed
		}
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if one := c.take(conn); one != nil {
			return one, nil
		}
		_ = conn.Close() // it is turned away
	}
}

// wait returns once there is room, or false when the listener is closed.
func (c *connections) wait() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.n >= c.most && !c.shut {
		if oldest := c.idle.Front(); oldest != nil {
			conn := oldest.Value.(net.Conn)
			c.forget(conn)
			go func() { _ = conn.Close() }() // ends at once; it gives its place back
		}
		c.room.Wait()
	}
	return !c.shut
}

// take counts a connection, unless its address has too many.
func (c *connections) take(conn net.Conn) net.Conn {
	from := c.source(conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	if from.IsValid() && c.by[from] >= max(1, c.most/2) {
		c.turned++
		return nil
	}
	c.n++
	c.by[from]++
	return &counted{Conn: conn, left: sync.OnceFunc(func() { c.leave(from) })}
}

// source is the address that a connection counts for; not valid: none, it is a
// proxy's, which many callers share.
func (c *connections) source(conn net.Conn) netip.Addr {
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	addr := at.Addr().Unmap()
	for _, p := range c.proxies {
		if p.Contains(addr) {
			return netip.Addr{}
		}
	}
	if addr.Is6() { // a network of one's own is one address, as login has it
		net64, _ := addr.Prefix(64) // 64 bits are there
		return net64.Addr()
	}
	return addr
}

func (c *connections) leave(from netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	if c.by[from]--; c.by[from] == 0 {
		delete(c.by, from)
	}
	c.room.Signal()
}

// forget takes a connection off the list of idle ones.
func (c *connections) forget(conn net.Conn) {
	if e := c.places[conn]; e != nil {
		c.idle.Remove(e)
		delete(c.places, conn)
	}
}

// watch is an http.Server's ConnState: it tells who is idle.
func (c *connections) watch(conn net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(conn)
	if s == http.StateIdle {
		c.places[conn] = c.idle.PushBack(conn)
		c.room.Signal()
	}
}

// open tells how many are connected, and how many were turned away so far.
func (c *connections) open() (now, turned int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n, c.turned
}

// Close implements net.Listener.
func (c *connections) Close() error {
	c.mu.Lock()
	c.shut = true
	c.room.Broadcast()
	c.mu.Unlock()
	return c.Listener.Close()
}

// counted is a connection that gives its place back, once.
type counted struct {
	net.Conn
	left func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	defer c.left()
	return c.Conn.Close()
}
