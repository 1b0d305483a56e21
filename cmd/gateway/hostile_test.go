package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener in memory: a synctest clock does not advance over sockets.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// caller connects to a server as serve makes it, whose faces read the body.
func caller(t *testing.T) net.Conn {
	t.Helper()
	srv := publicServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d bytes, %v", n, err)
	}), slog.New(slog.DiscardHandler))
	l := make(pipes, 1)
	here, there := net.Pipe()
	l <- there
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }() // ends with Close below
	t.Cleanup(func() { here.Close(); close(l); srv.Close(); <-done })
	return here
}

// TestSlowSendersAreCutOff: who sends a byte a second, in the head or in the
// body, or is silent, holds a connection for a bounded time.
func TestSlowSendersAreCutOff(t *testing.T) {
	for name, c := range map[string]struct {
		head   string
		drips  bool
		within time.Duration
	}{
		"in the head":          {"POST / HTTP/1.1\r\nHost: x\r\nX: ", true, 10 * time.Second},
		"in the body":          {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", true, 5 * time.Minute},
		"in a chunk":           {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n", true, 5 * time.Minute},
		"between two requests": {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", false, 2 * time.Minute},
		"nothing at all":       {"", false, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, begin := caller(t), time.Now()
				gone := make(chan time.Duration, 1)
				go func() { _, _ = io.Copy(io.Discard, conn); gone <- time.Since(begin) }() // ends with the connection
				_, _ = io.WriteString(conn, c.head)
				for c.drips && time.Since(begin) < time.Hour {
					time.Sleep(time.Second)
					if _, err := io.WriteString(conn, "a"); err != nil {
						break
					}
				}
				// The server waits a moment before it hangs up on what it did not read.
				if took := <-gone; took < c.within || took > c.within+5*time.Second {
					t.Errorf("the connection was held for %v, want %v", took, c.within)
				}
			})
		})
	}
}

// TestSlowReadersAreCutOff: who does not read its answer is left.
func TestSlowReadersAreCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := caller(t)
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		time.Sleep(6*time.Minute + time.Second)
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("the server still waits: %d bytes, %v", n, err)
		}
	})
}

// TestHeaderFlood: headers beyond 64 KB are refused before anything is done.
func TestHeaderFlood(t *testing.T) {
	for name, head := range map[string]string{"one long": "X: " + strings.Repeat("a", 1<<20) + "\r\n", "many": strings.Repeat("X: a\r\n", 200_000), "a long address": ""} {
		conn := caller(t)
		first := "POST / HTTP/1.1\r\n"
		if name == "a long address" {
			first = "POST /" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\n"
		}
		go func() { _, _ = io.WriteString(conn, first+"Host: x\r\n"+head+"\r\n") }() // ends with the connection
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: %v, %v", name, res, err)
		}
	}
}

// TestClientCA: with tls.client_ca only callers with a certificate of that
// authority are heard; TLS 1.1 is not spoken.
func TestClientCA(t *testing.T) {
	dir := t.TempDir()
	ours, cert := selfSigned(t, dir, "ours")
	_, strange := selfSigned(t, dir, "strange")
	c := &config{}
	c.TLS.Cert, c.TLS.Key, c.TLS.ClientCA = filepath.Join(dir, "ours.pem"), filepath.Join(dir, "ours.key"), filepath.Join(dir, "ours.pem")
	l, err := listen("127.0.0.1:0", c, newConnections(10, nil))
	if err != nil {
		t.Fatal(err)
	}
	srv := publicServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.TLS.PeerCertificates[0].Subject.CommonName)
	}), slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }() // ends with Close below
	defer func() { srv.Close(); <-done }()
	pool := x509.NewCertPool()
	pool.AddCert(ours)
	for name, c := range map[string]struct {
		pair []tls.Certificate
		most uint16
		ok   bool
	}{"ours": {[]tls.Certificate{cert}, 0, true}, "none": {nil, 0, false}, "strange": {[]tls.Certificate{strange}, 0, false}, "old": {[]tls.Certificate{cert}, tls.VersionTLS11, false}} {
		way := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: c.pair, MinVersion: tls.VersionTLS10, MaxVersion: c.most}}
		res, err := (&http.Client{Transport: way}).Get("https://" + l.Addr().String())
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			res.Body.Close()
		}
		way.CloseIdleConnections()
	}
	for want, file := range map[string]string{"client_ca: open ": "/no/such", "holds no certificate": filepath.Join(dir, "ours.key")} {
		c.TLS.ClientCA = file
		if _, err := listen("127.0.0.1:0", c, newConnections(10, nil)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := parseConfig([]byte("tls: {client_ca: a.pem}\nlinks: [{contract: a/v1}]")); err == nil || !strings.Contains(err.Error(), "client_ca needs cert and key") {
		t.Error(err)
	}
}

// selfSigned makes a certificate that is its own authority, in NAME.pem and NAME.key.
func selfSigned(t *testing.T, dir, name string) (*x509.Certificate, tls.Certificate) {
	t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := x509.MarshalPKCS8PrivateKey(key)
	cert, private := filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, private: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.LoadX509KeyPair(cert, private)
	if err != nil {
		t.Fatal(err)
	}
	parsed, _ := x509.ParseCertificate(der)
	return parsed, pair
}
