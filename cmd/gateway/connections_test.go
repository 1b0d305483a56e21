package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// far is a connection from elsewhere.
type far struct {
	net.Conn
	from string
}

func (f far) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(f.from)) }

// house serves faces that answer at once, behind a bound of so many connections.
func house(t *testing.T, most int, proxies ...netip.Prefix) (*connections, func(from string) net.Conn) {
	t.Helper()
	l := make(pipes, 100)
	conns := newConnections(most, proxies)
	conns.Listener = l
	srv := publicServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "here") }), slog.New(slog.DiscardHandler))
	srv.ConnState = conns.watch
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(conns) }() // ends with the list of pipes
	t.Cleanup(func() { close(l); srv.Close(); <-done })
	return conns, func(from string) net.Conn {
		here, there := net.Pipe()
		t.Cleanup(func() { here.Close() })
		l <- far{there, from + ":1000"}
		return here
	}
}

// asks makes a request on a connection, and tells whether it was answered.
func asks(c net.Conn) bool {
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return false
	}
	b := make([]byte, 4096)
	n, err := c.Read(b)
	return err == nil && strings.HasPrefix(string(b[:n]), "HTTP/1.1 200")
}

// TestIdleCallersMakeRoom: as many are connected as are allowed, and who says
// nothing since his last answer goes before a new one must wait.
func TestIdleCallersMakeRoom(t *testing.T) {
	conns, dial := house(t, 10)
	for i := range 30 {
		if !asks(dial(fmt.Sprintf("192.0.2.%d", i))) {
			t.Fatalf("caller %d is not answered", i)
		}
		if now, _ := conns.open(); now > 10 {
			t.Fatalf("%d are connected", now)
		}
	}
}

// TestWhoComesWhenAllAreBusyWaits: a new caller is heard as soon as one leaves.
func TestWhoComesWhenAllAreBusyWaits(t *testing.T) {
	conns, dial := house(t, 10)
	var busy []net.Conn
	for i := range 10 {
		c := dial(fmt.Sprintf("192.0.2.%d", i))
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n") // a head that does not end
		busy = append(busy, c)
	}
	next := dial("192.0.2.99")
	heard := make(chan bool, 1)
	go func() { heard <- asks(next) }()
	select {
	case <-heard:
		t.Fatal("an eleventh caller is answered")
	case <-time.After(50 * time.Millisecond):
	}
	busy[3].Close()
	if !<-heard {
		t.Error("the place that was left is given to nobody")
	}
	if now, _ := conns.open(); now != 10 {
		t.Errorf("%d are connected", now)
	}
}

// TestOneAddressHasHalf: whoever holds connections from one address, or one
// network of IPv6, leaves room for others; a proxy of ours does not count.
func TestOneAddressHasHalf(t *testing.T) {
	for name, c := range map[string]struct {
		from []string
		all  bool
	}{"one": {[]string{"192.0.2.1"}, false}, "a /64": {[]string{"[2001:db8::1]", "[2001:db8::2]"}, false}, "our proxy": {[]string{"10.0.0.1"}, true}} {
		conns, dial := house(t, 10, netip.MustParsePrefix("10.0.0.1/32"))
		for i := range 9 {
			conn := dial(c.from[i%len(c.from)])
			go func() { _, _ = io.WriteString(conn, "GET / HTTP/1.1\r\n") }() // ends with the connection
		}
		want := map[bool][2]int{false: {5, 4}, true: {9, 0}}[c.all]
		now, turned := conns.open()
		for end := time.Now().Add(2 * time.Second); [2]int{now, turned} != want && time.Now().Before(end); time.Sleep(time.Millisecond) {
			now, turned = conns.open()
		}
		if [2]int{now, turned} != want {
			t.Errorf("%s: %d are connected, %d turned away, want %v", name, now, turned, want)
		}
		if !asks(dial("198.51.100.7")) {
			t.Errorf("%s: another caller is not answered", name)
		}
	}
}

// TestMemoryOfTheGroup: the lowest limit of the groups above a process counts.
func TestMemoryOfTheGroup(t *testing.T) {
	root := t.TempDir()
	self := filepath.Join(root, "self")
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("self", "0::/system.slice/passerelle.service\n")
	write("system.slice/memory.max", "max\n")
	write("system.slice/passerelle.service/memory.max", "max\n")
	if n, ok := groupMemory(self, root); ok {
		t.Errorf("%d where there is none", n)
	}
	write("system.slice/passerelle.service/memory.max", "2000\n")
	write("system.slice/memory.max", "1000\n")
	if n, _ := groupMemory(self, root); n != 1000 {
		t.Errorf("%d, want 1000", n)
	}
	if _, ok := groupMemory(filepath.Join(root, "none"), root); ok {
		t.Error("a limit where there is no group")
	}
}
