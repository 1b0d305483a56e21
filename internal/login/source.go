package login

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// Source is where a request comes from: an IPv4 address, or the /64 of an IPv6
// one, since whoever has one of its addresses has them all. It is the peer,
// unless that is one of the proxies: then it is the last address of
// X-Forwarded-For that is none of them, for what stands before it anybody may
// have written.
func (g *Guard) Source(r *http.Request) netip.Prefix {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	at := peer.Addr().Unmap()
	said := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(said) - 1; i >= 0 && g.isProxy(at); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(said[i]))
		if err != nil {
			break
		}
		at = next.Unmap()
	}
	return whole(at)
}

func (g *Guard) isProxy(a netip.Addr) bool {
	for _, p := range g.cfg.Proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func whole(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits) // of an address that was parsed
	return p
}

// ParseProxies reads addresses and networks, as 10.0.0.1 or 10.0.0.0/24.
func ParseProxies(list []string) (out []netip.Prefix, err error) {
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if a, bad := netip.ParseAddr(s); bad == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("proxies: %q is neither an address nor a network (as 10.0.0.1 or 10.0.0.0/24)", s)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}
