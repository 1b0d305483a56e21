package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// The ports that FreePort gives: below those that systems hand out by themselves, to
// connections and to listeners that ask for any. One of those could be taken in the
// moment before the process that shall listen there begins.
const (
	firstPort = 20_000
	ports     = 12_000
)

var given struct {
	sync.Mutex
	ports map[int]bool
}

// FreePort returns a port of the loopback that nobody listens on, and that it has not
// returned before.
func FreePort() (int, error) {
	given.Lock()
	defer given.Unlock()
	if given.ports == nil {
		given.ports = map[int]bool{}
	}
	var last error
	for range 1000 {
		port := firstPort + rand.IntN(ports)
		if given.ports[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			last = err
			continue
		}
		given.ports[port] = true
		return port, l.Close()
	}
	return 0, errors.Join(errors.New("no free port"), last)
}
