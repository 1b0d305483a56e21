package cluster

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"sync/atomic"
	"time"
)

// balancer sends each request to the next gateway; one that cannot be reached at
// all is passed over, as HTTP balancers do. What a gateway had begun to take is not
// repeated: that is the sender's affair.
type balancer struct {
	url    string
	server *http.Server
	to     []*Gateway
	next   atomic.Uint32
	way    *http.Transport
}

func newBalancer(to []*Gateway) (*balancer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &balancer{url: "http://" + l.Addr().String(), to: to, way: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: time.Second}).DialContext}}
	b.server = &http.Server{Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = "http", "gateway"
	}, Transport: b, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}}, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = b.server.Serve(l) }() // ends with close
	return b, nil
}

func (b *balancer) close() { _ = b.server.Close() }

// RoundTrip implements http.RoundTripper.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	first := int(b.next.Add(1))
	for i := range b.to {
		one := r.Clone(r.Context())
		one.URL.Host = b.to[(first+i)%len(b.to)].Listen
		one.Body = io.NopCloser(bytes.NewReader(body))
		var res *http.Response
		res, err = b.way.RoundTrip(one)
		var dial *net.OpError
		if err == nil || !errors.As(err, &dial) || dial.Op != "dial" {
			return res, err
		}
	}
	return nil, err
}
