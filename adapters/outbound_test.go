package adapters

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"passerelle"
)

// TestWhereNothingIsSent: the addresses at which a machine is told its own
// secrets, in every spelling; a tool may live anywhere else.
func TestWhereNothingIsSent(t *testing.T) {
	for _, c := range []struct {
		configured, dialled string
		near, public        bool
	}{
		{"https://jira.example", "93.184.216.34", true, true},
		{"https://jira.example", "2606:2800:220:1::1", true, true},
		{"https://jira.example", "127.0.0.1", true, false},
		{"https://jira.example", "::1", true, false},
		{"https://jira.example", "10.0.0.8", true, false},
		{"https://jira.example", "172.16.1.1", true, false},
		{"https://jira.example", "192.168.1.1", true, false},
		{"https://jira.example", "100.64.0.1", true, false},
		{"https://jira.example", "fd12::1", true, false},
		{"https://jira.example", "::ffff:10.0.0.8", true, false},
		{"https://jira.example", "0.0.0.0", true, false},
		{"https://jira.example", "169.254.169.254", false, false},
		{"https://jira.example", "169.254.0.1", false, false},
		{"https://jira.example", "::ffff:169.254.169.254", false, false},
		{"https://jira.example", "64:ff9b::a9fe:a9fe", false, false},
		{"https://jira.example", "64:ff9b::a00:8", true, false},
		{"https://jira.example", "fe80::1", false, false},
		{"https://jira.example", "fe80::1%eth0", false, false},
		{"https://jira.example", "febf::1", false, false},
		{"https://jira.example", "fd00:ec2::254", false, false},
		{"https://jira.example", "fd20:ce::254", false, false},
		{"https://jira.example", "100.100.100.200", false, false},
		{"https://jira.example", "168.63.129.16", false, false},
		{"https://jira.example", "192.0.0.192", false, false},
		{"http://169.254.10.1:8080/itop", "169.254.10.1", true, false},
		{"http://169.254.10.1:8080/itop", "::ffff:169.254.10.1", true, false},
		{"http://169.254.10.1:8080/itop", "169.254.169.254", false, false},
		{"http://[fe80::1]/itop", "fe80::1%eth0", true, false},
		{"", "169.254.169.254", false, false},
	} {
		a := netip.MustParseAddr(c.dialled)
		if err := nearby(c.configured)(a); (err == nil) != c.near {
			t.Errorf("%q, dialled %s: %v", c.configured, a, err)
		}
		if err := public(a); (err == nil) != c.public {
			t.Errorf("another host, dialled %s: %v", a, err)
		}
	}
}

// open makes a tool of these settings.
func open(t *testing.T, s *Settings) *Adapter {
	t.Helper()
	a, err := Open(s, Terms{Contract: "c", Side: passerelle.Partner, LimitBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// tools are one of each kind at an address, all with the same TLS.
func tools(base string, s TLS) map[string]*Settings {
	return map[string]*Settings{
		"itop":  {ITop: &ITop{BaseURL: base, User: "u", Password: SecretRef{Value: canary}, TLS: s, Timeout: 5 * time.Second}},
		"jira":  {Jira: &Jira{BaseURL: base, Project: "P", Token: SecretRef{Value: canary}, TLS: s, Timeout: 5 * time.Second}},
		"agent": {Agent: &Agent{URL: base + "/", User: "u", Password: SecretRef{Value: canary}, TLS: s, Timeout: 5 * time.Second}},
	}
}

// say sends one message.
func say(t *testing.T, a *Adapter) error {
	_, err := a.Out.Deliver(t.Context(), &passerelle.Message{ID: "1", Op: "core/create", Body: json.RawMessage(`{"operation":"core/create","class":"UserRequest","fields":{}}`)}, nil)
	return err
}

// TestEveryToolRefusesTheMetadataService: a name that is bent to another address
// between two requests (DNS rebinding) leads nowhere, whichever tool asks.
func TestEveryToolRefusesTheMetadataService(t *testing.T) {
	stands := bendDNS(t)
	heard := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		heard++
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusTeapot)
	}))
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	for name, s := range tools("http://tool.example:"+port, TLS{}) {
		a := open(t, s)
		stands("127.0.0.1")
		heard = 0
		if err := say(t, a); err == nil || heard != 1 {
			t.Errorf("%s: heard %d times: %v", name, heard, err)
		}
		stands("169.254.169.254")
		err := say(t, a)
		if passerelle.ClassOf(err) != passerelle.Down || heard != 1 {
			t.Errorf("%s: heard %d times: %v", name, heard, err)
		}
		if !strings.Contains(err.Error(), "metadata service: nothing is sent there") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// bendDNS makes every name stand for the address that is given next.
func bendDNS(t *testing.T) (stands func(string)) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var at atomic.Value
	done := make(chan struct{})
	go func() { // ends when the connection is closed
		defer close(done)
		for b := make([]byte, 1500); ; {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &dnsmessage.AResource{A: at.Load().(netip.Addr).As4()}}}
			}
			out, _ := m.Pack()
			_, _ = conn.WriteTo(out, from)
		}
	}()
	usual := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() { net.DefaultResolver = usual; conn.Close(); <-done })
	return func(a string) { at.Store(netip.MustParseAddr(a)) }
}

// TestEveryToolTrustsItsOwnAuthority: a private authority, and a certificate of
// ours where the tool wants one; without them nothing is sent.
func TestEveryToolTrustsItsOwnAuthority(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	heard := 0
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard++
		if len(r.TLS.PeerCertificates) != 1 || r.TLS.PeerCertificates[0].Subject.CommonName != "gateway" || r.TLS.Version < tls.VersionTLS12 {
			t.Errorf("the certificate is not ours: %v", r.TLS.PeerCertificates)
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{ca.pair(t, "tool")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool}
	srv.StartTLS()
	defer srv.Close()
	full := TLS{CA: ca.file, ClientCert: filepath.Join(dir, "gateway.pem"), ClientKey: filepath.Join(dir, "gateway.key")}
	ca.pair(t, "gateway")
	for what, c := range map[string]struct {
		tls  TLS
		hits int
	}{"all": {full, 1}, "no authority": {TLS{ClientCert: full.ClientCert, ClientKey: full.ClientKey}, 0}, "no certificate": {TLS{CA: ca.file}, 0}} {
		for name, s := range tools(srv.URL, c.tls) {
			heard = 0
			err := say(t, open(t, s))
			if err == nil || heard != c.hits {
				t.Errorf("%s, %s: heard %d times, want %d: %v", name, what, heard, c.hits, err)
			}
			if c.hits == 0 && passerelle.ClassOf(err) != passerelle.Down && passerelle.ClassOf(err) != passerelle.Unsure {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("%s: a secret in %v", name, err)
			}
		}
	}
}

// TestNoOldTLS: a tool that speaks TLS 1.1 only hears nothing.
func TestNoOldTLS(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was heard") }))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{ca.pair(t, "tool")}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	srv.StartTLS()
	defer srv.Close()
	for name, s := range tools(srv.URL, TLS{CA: ca.file}) {
		if err := say(t, open(t, s)); passerelle.ClassOf(err) != passerelle.Down {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestARedirectOpensNoPrivateNetwork: where a Jira Cloud sends us for a file is
// reached over the internet only, and never sees our certificate.
func TestARedirectOpensNoPrivateNetwork(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	ca.pair(t, "gateway")
	inner := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the inner network was asked") }))
	inner.Config.ErrorLog = log.New(io.Discard, "", 0)
	inner.TLS = &tls.Config{Certificates: []tls.Certificate{ca.pair(t, "tool")}}
	inner.StartTLS()
	defer inner.Close()
	home := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, inner.URL+"/secret", http.StatusSeeOther)
	}))
	home.TLS = &tls.Config{Certificates: []tls.Certificate{ca.pair(t, "tool")}}
	home.StartTLS()
	defer home.Close()
	s := TLS{CA: ca.file, ClientCert: filepath.Join(dir, "gateway.pem"), ClientKey: filepath.Join(dir, "gateway.key")}
	a := open(t, &Settings{Jira: &Jira{BaseURL: home.URL, Cloud: true, User: "u", Token: SecretRef{Value: canary}, TLS: s}})
	e := &passerelle.Event{Kind: passerelle.Attach, Key: "1", Source: "/secure/attachment/1/x", Files: []passerelle.File{{Name: "x", Size: 4}}}
	if err := a.Watch.Fetch(t.Context(), e, nil); err == nil || !strings.Contains(err.Error(), "private network") || strings.Contains(err.Error(), canary) {
		t.Error(err)
	}
	far, err := s.elsewhere()
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []*http.Transport{far.(*away).direct, far.(*away).proxied} {
		if len(way.TLSClientConfig.Certificates) != 0 {
			t.Error("our certificate goes to another host")
		}
	}
}

// TestAuthURLIsNeverFollowed: whatever address a message names, only the
// configured one is asked, and the face asks nobody.
func TestAuthURLIsNeverFollowed(t *testing.T) {
	trap := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s was asked", r.URL) }))
	defer trap.Close()
	heard := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard++
		_, _ = io.WriteString(w, `{"code":0,"id":"1","key":"P-1","self":"`+trap.URL+`","objects":{"UserRequest::1":{"code":0,"key":"1","fields":{"id":"1","ref":"R-1"}}}}`)
	}))
	defer srv.Close()
	body := `{"auth_url":"` + trap.URL + `","auth_user":"x","auth_pwd":"y","operation":"core/create","comment":"c","class":"UserRequest","output_fields":"id","fields":{"summary":"s","title":"s"}}`
	for name, s := range tools(srv.URL, TLS{}) {
		heard = 0
		_, _ = open(t, s).Out.Deliver(t.Context(), &passerelle.Message{ID: "1", Op: "core/create", Body: json.RawMessage(body)}, nil) // what it becomes is told elsewhere
		if heard == 0 {
			t.Errorf("%s: base_url was not asked", name)
		}
	}
	face := open(t, &Settings{ITop: &ITop{BaseURL: srv.URL, Accounts: []Account{{User: "x", Password: SecretRef{Value: hashOfY}}}}}).Faces[RESTPath]
	heard = 0
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	face.Serve(httptest.NewRecorder(), r, taker{})
	if heard != 0 {
		t.Error("a message made the face ask somebody")
	}
}

// taker is a desk that takes everything.
type taker struct{ passerelle.Desk }

func (taker) Accept(context.Context, ...*passerelle.Event) (*passerelle.Link, error) {
	return &passerelle.Link{}, nil
}
func (taker) Release(...passerelle.File) {}

// TestTLSMistakes: each is told by the name of its key, when the gateway starts.
func TestTLSMistakes(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	ca.pair(t, "gateway")
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, s := range map[string]TLS{
		"ca: open /no/such":                      {CA: "/no/such"},
		"holds no certificate (PEM)":             {CA: empty},
		"client_cert and client_key go together": {ClientCert: ca.file},
		"client_cert: ":                          {ClientCert: ca.file, ClientKey: empty},
		"client_key go together":                 {ClientKey: ca.file},
	} {
		for name, settings := range tools("https://tool.example", s) {
			if _, err := Open(settings, Terms{Contract: "c", Side: passerelle.Partner, LimitBytes: 1 << 20}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", name, err, want)
			}
		}
	}
}

// authority signs certificates for 127.0.0.1.
type authority struct {
	dir, file string
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
	pool      *x509.CertPool
}

func newAuthority(t *testing.T, dir string) *authority {
	t.Helper()
	a := &authority{dir: dir, file: filepath.Join(dir, "ca.pem"), pool: x509.NewCertPool()}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	a.pool.AddCert(a.cert)
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

// pair makes a certificate, and writes it to NAME.pem and NAME.key.
func (a *authority) pair(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, private := filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	writePEM(t, cert, "CERTIFICATE", der)
	writePEM(t, private, "PRIVATE KEY", raw)
	pair, err := tls.LoadX509KeyPair(cert, private)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// hashOfY is that of the password "y", as cheap as one may be.
const hashOfY = "$2a$10$Qd4LbK7hYyJl0qfxv0KrvuJZaQOu1vHEIiobF7lOviS7a7po4AVJS"
