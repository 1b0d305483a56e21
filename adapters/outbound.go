package adapters

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"syscall"
	"time"

	"passerelle"
)

// TLS is what a connection to a tool needs beside the authorities that the
// system trusts. It speaks TLS 1.2 or newer.
type TLS struct {
	CA         string `yaml:"ca"`          // PEM file of certificate authorities to trust for it, beside the system's own; default none
	ClientCert string `yaml:"client_cert"` // PEM file of the certificate that we show it; with client_key or not at all; default none
	ClientKey  string `yaml:"client_key"`  // PEM file of that certificate's key; default none
}

// config reads the files. The certificate is for the tool alone.
func (t TLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: %s holds no certificate (PEM)", t.CA)
		}
		c.RootCAs = pool
	}
	if (t.ClientCert == "") != (t.ClientKey == "") {
		return nil, fmt.Errorf("client_cert and client_key go together (give both or none)")
	}
	if t.ClientCert != "" {
		pair, err := tls.LoadX509KeyPair(t.ClientCert, t.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("client_cert: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// transport is the way to the tool at an address.
func (t TLS) transport(address string) (*http.Transport, error) {
	c, err := t.config()
	if err != nil {
		return nil, err
	}
	return way(c, nearby(address)), nil
}

// fenced sends no request for work that another gateway may have taken over.
type fenced struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (f *fenced) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := passerelle.Held(r.Context()); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper must
		}
		return nil, fmt.Errorf("not sent: %w", err)
	}
	return f.next.RoundTrip(r)
}

// elsewhere is the way to another host than the tool's own, where a Jira may
// keep its files: without our certificate, and to the public internet only, so
// that a redirect opens nothing in our own network.
func (t TLS) elsewhere() (http.RoundTripper, error) {
	t.ClientCert, t.ClientKey = "", ""
	c, err := t.config()
	if err != nil {
		return nil, err
	}
	return &away{direct: way(c, public), proxied: way(c, nearby(""))}, nil
}

// maxHeader bounds what is held of an answer's headers, in bytes.
const maxHeader = 256 << 10

// way is net/http's usual transport, but for what it connects to: every address
// is checked when it is dialled, after its name was resolved, so that no name
// can be bent in between.
func way(c *tls.Config, check func(netip.Addr) error) *http.Transport {
	own := http.DefaultTransport.(*http.Transport).Clone()
	own.TLSClientConfig = c
	own.MaxResponseHeaderBytes = maxHeader
	own.MaxIdleConnsPerHost = 8 // as many as there are workers
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%s is no address to connect to", address)
		}
		return check(at.Addr())
	}}
	own.DialContext = dialer.DialContext
	return own
}

// nearby lets pass what a self-hosted tool may live at, also the loopback and
// private networks, but not where a machine is told its own secrets: unless the
// configured address is that very number.
func nearby(configured string) func(netip.Addr) error {
	var named netip.Addr
	if u, err := url.Parse(configured); err == nil {
		named, _ = netip.ParseAddr(u.Hostname()) // a name is none
	}
	return func(a netip.Addr) error {
		if bare(a) == bare(named) || !ownSecrets(a) {
			return nil
		}
		return fmt.Errorf("%s is link-local or a cloud's metadata service: nothing is sent there (if the tool really lives there, give this number in its address)", a)
	}
}

// public lets pass what the whole internet can reach.
func public(a netip.Addr) error {
	if b := bare(a); ownSecrets(a) || !b.IsGlobalUnicast() || b.IsPrivate() || sharedSpace.Contains(b) {
		return fmt.Errorf("%s is in a private network: a redirect to another host is followed to the public internet only", a)
	}
	return nil
}

// bare is an address in one spelling: without zone, and the IPv4 address that
// an IPv6 one stands for.
func bare(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if nat64.Contains(a) {
		b := a.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return a
}

var (
	nat64       = netip.MustParsePrefix("64:ff9b::/96")
	sharedSpace = netip.MustParsePrefix("100.64.0.0/10")
	// metadata are the services that tell a machine of a cloud its credentials,
	// beside those at link-local addresses.
	metadata = []netip.Prefix{
		netip.MustParsePrefix("fd00:ec2::/32"),      // Amazon
		netip.MustParsePrefix("fd20:ce::254/128"),   // Google
		netip.MustParsePrefix("100.100.100.200/32"), // Alibaba
		netip.MustParsePrefix("192.0.0.192/32"),     // Oracle
		netip.MustParsePrefix("168.63.129.16/32"),   // Azure
	}
)

func ownSecrets(a netip.Addr) bool {
	a = bare(a)
	for _, p := range metadata {
		if p.Contains(a) {
			return true
		}
	}
	return a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast()
}

// away goes through a proxy where the environment names one: then only the
// proxy knows what a name stands for, and only a number can be judged here.
type away struct{ direct, proxied *http.Transport }

// RoundTrip implements http.RoundTripper.
func (w *away) RoundTrip(r *http.Request) (*http.Response, error) {
	if proxy, err := http.ProxyFromEnvironment(r); err != nil || proxy == nil {
		return w.direct.RoundTrip(r)
	}
	if a, err := netip.ParseAddr(r.URL.Hostname()); err == nil {
		if err := public(a); err != nil {
			return nil, err
		}
	}
	return w.proxied.RoundTrip(r)
}
