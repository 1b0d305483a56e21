package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"passerelle"
	"passerelle/adapters"
	"passerelle/internal/admin"
	"passerelle/internal/relay"
	"passerelle/mapping"
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
	store, err := c.openStore()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	g, err := build(c, store, log)
	if err != nil {
		return err
	}
	public, err := listen(c.Listen, c)
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
	return g.run(ctx, public, private)
}

func listen(addr string, c *config) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil || c.TLS.Cert == "" {
		return l, err
	}
	cert, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("tls: %w", err)
	}
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}), nil
}

// gateway is the rooms, wired together.
type gateway struct {
	log    *slog.Logger
	relay  *relay.Relay
	public http.Handler
	admin  http.Handler
}

// build wires the rooms: contracts, tools, relay, faces and the operators' API.
func build(c *config, store outbox.Store, log *slog.Logger) (*gateway, error) {
	contracts := map[string]*mapping.Contract{}
	tools := map[outbox.Dest]relay.Tool{}
	faces := map[string]passerelle.Inbound{}
	var names []string
	for _, l := range c.Links {
		ct, err := c.loadContract(l.Contract)
		if err != nil {
			return nil, err
		}
		if contracts[ct.Name] != nil {
			return nil, fmt.Errorf("links: contract %s stands twice", ct.Name)
		}
		contracts[ct.Name] = ct
		names = append(names, ct.Name)
		for side, settings := range map[passerelle.Side]adapters.Settings{passerelle.Requester: l.Requester, passerelle.Partner: l.Partner} {
			a, err := adapters.Open(&settings, ct.Name, side, ct.LimitBytes)
			if err != nil {
				return nil, err
			}
			tools[outbox.Dest{Contract: ct.Name, Side: side}] = relay.Tool{Out: a.Out, Watch: a.Watch, Workers: settings.Workers}
			for path, face := range a.Faces {
				faces["/"+ct.Name+"/"+string(side)+"/"+path] = face
			}
		}
	}
	r := relay.New(relay.Config{Store: store, Contracts: contracts, Tools: tools, Backoff: c.backoff(), Log: log})
	g := &gateway{log: log, relay: r, public: publicHandler(faces, r)}
	var err error
	g.admin, err = adminHandler(r, store, names)
	return g, err
}

// publicHandler gives each face its path; anything else is 404.
func publicHandler(faces map[string]passerelle.Inbound, d passerelle.Desk) http.Handler {
	mux := http.NewServeMux()
	for path, face := range faces {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { face.Serve(w, r, d) })
	}
	return mux
}

func adminHandler(r *relay.Relay, store outbox.Store, contracts []string) (http.Handler, error) {
	reg := prometheus.NewRegistry()
	if err := errors.Join(r.Register(reg), reg.Register(collectors.NewGoCollector()),
		reg.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", admin.Handler(store, contracts, r.Terms, r.Nudge))
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, req *http.Request) {
		if _, err := store.Stats(req.Context()); err != nil {
			http.Error(w, "the outbox does not answer: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	return mux, nil
}

// drain is how long a graceful stop waits for requests in flight.
const drain = 30 * time.Second

// run serves until ctx ends.
func (g *gateway) run(ctx context.Context, public, private net.Listener) error {
	servers := []*http.Server{
		{Handler: g.public, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 5 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(g.log.Handler(), slog.LevelDebug)},
		{Handler: g.admin, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10},
	}
	failed := make(chan error, len(servers))
	for i, l := range []net.Listener{public, private} {
		go func() { failed <- servers[i].Serve(l) }() // ends with Shutdown below
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	work := make(chan error, 1)
	go func() { work <- g.relay.Run(ctx) }() // ends with ctx
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	// Stop taking first; what was taken is stored before its answer. Then let
	// the workers finish what is lent to them.
	g.log.Info("stopping")
	end, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	for _, s := range servers {
		err = errors.Join(err, s.Shutdown(end))
	}
	stop()
	err = errors.Join(err, <-work)
	g.log.Info("stopped")
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
