package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"passerelle/adapters"
	logins "passerelle/internal/login"
	"passerelle/internal/wiring"
	"passerelle/outbox"
)

func serveCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{Use: "serve", Short: "Run the gateway", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := readConfig(file)
		if err != nil {
			return err
		}
		return serve(cmd.Context(), c, cmd.ErrOrStderr(), func(public, admin string) {
			fmt.Fprintf(cmd.OutOrStdout(), "listening on %s, admin on %s\n", public, admin)
		})
	}}
	cmd.Flags().StringVar(&file, "config", "gateway.yaml", "the configuration file")
	return cmd
}

// serve runs the gateway until ctx ends, then stops gracefully: it takes
// nothing more, finishes what is in flight, and closes the store. ready is told
// the addresses once both listen.
func serve(ctx context.Context, c *config, logs io.Writer, ready func(public, admin string)) (err error) {
	level, err := c.level()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: level}))
	store, err := c.openStore(ctx, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	spareCollector()
	limitMemory(log)
	proxies, err := logins.ParseProxies(c.Proxies)
	if err != nil {
		return err
	}
	conns := newConnections(c.Limits.Connections, proxies)
	g, err := build(c, store, log, conns)
	if err != nil {
		return err
	}
	public, err := listen(c.Listen, c, conns)
	if err != nil {
		return err
	}
	defer public.Close()
	private, err := net.Listen("tcp", c.Admin)
	if err != nil {
		return err
	}
	defer private.Close()
	ready(public.Addr().String(), private.Addr().String())
	return run(ctx, g, store, public, private, conns, log)
}

// listen opens the address of the faces.
func listen(addr string, c *config, conns *connections) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	conns.Listener = l
	if l = conns; c.TLS.Cert == "" {
		return l, nil
	}
	secure, err := c.secure()
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("tls: %w", err)
	}
	return tls.NewListener(l, secure), nil
}

// secure reads the files of tls: TLS 1.2 or later, and a certificate of each
// caller where client_ca says who signs them.
func (c *config) secure() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
	if err != nil || c.TLS.ClientCA == "" {
		return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, err
	}
	pem, err := os.ReadFile(c.TLS.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("client_ca: %w", err)
	}
	callers := x509.NewCertPool()
	if !callers.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("client_ca: %s holds no certificate (PEM)", c.TLS.ClientCA)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: callers}, nil
}

// build loads the contracts and wires the gateway that c describes.
func build(c *config, store outbox.Store, log *slog.Logger, conns *connections) (*wiring.Gateway, error) {
	var links []wiring.Link
	for _, l := range c.Links {
		ct, err := c.loadContract(l.Contract)
		if err != nil {
			return nil, err
		}
		links = append(links, wiring.Link{Contract: ct, Requester: l.Requester, Partner: l.Partner})
	}
	token, err := c.AdminToken.Read()
	if err != nil {
		return nil, fmt.Errorf("admin_token: %w", err)
	}
	if token == "" && c.AdminToken != (adapters.SecretRef{}) {
		return nil, errors.New("admin_token: it is empty (write the hash there that `gateway token` prints)")
	}
	return wiring.Build(links, store, wiring.Options{Backoff: c.backoff(), Sweep: c.sweep(), Retention: c.retention(), Calm: calm, Log: log, AdminToken: token, Proxies: conns.proxies,
		Large: c.Limits.Large, Connections: conns.open})
}

const (
	// drain is how long a graceful stop waits for requests in flight.
	drain = 30 * time.Second
	// patience is how long it waits for operators: a backup may go on for hours.
	patience = 2 * time.Second
	// calm is long enough for several messages on one ticket, and too short for
	// anyone who waits for an answer to notice.
	calm = time.Second
)

// publicServer gives strangers little: a head of 64 KB within 10 s, a body within
// 5 min however slowly it comes, and an answer that is read soon after.
func publicServer(faces http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{Handler: faces, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 5 * time.Minute, WriteTimeout: 6 * time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
}

// run serves until ctx ends.
func run(ctx context.Context, g *wiring.Gateway, store outbox.Store, public, private net.Listener, conns *connections, log *slog.Logger) error {
	asked, hangUp := context.WithCancel(context.Background())
	defer hangUp()
	servers := []*http.Server{
		publicServer(g.Public, log),
		{Handler: g.Admin, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, BaseContext: func(net.Listener) context.Context { return asked }},
	}
	servers[0].ConnState = conns.watch
	failed := make(chan error, len(servers))
	for i, l := range []net.Listener{public, private} {
		go func() { failed <- servers[i].Serve(l) }() // ends with Shutdown below
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	work := make(chan error, 1)
	go func() { work <- g.Relay.Run(ctx) }() // ends with ctx
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	// Stop taking first; what was taken is stored before its answer. Then let
	// the workers finish what is lent to them.
	log.Info("stopping")
	end, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	defer time.AfterFunc(patience, hangUp).Stop()
	for _, s := range servers {
		err = errors.Join(err, s.Shutdown(end))
	}
	stop()
	err = errors.Join(err, ended(work, store, log))
	log.Info("stopped")
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// ended waits for the workers. Where the store takes nothing they cannot end what
// they have begun: then closing it ends them, and what they did is asked about by
// whoever goes on.
func ended(work <-chan error, store outbox.Store, log *slog.Logger) error {
	for {
		select {
		case err := <-work:
			return err
		case <-time.After(drain):
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := store.Ready(ctx)
		cancel()
		if err != nil {
			log.Error("stopped though not everything could be noted: it is asked about by whoever goes on", "error", err)
			return nil
		}
	}
}
