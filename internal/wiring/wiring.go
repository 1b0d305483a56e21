// Package wiring puts the rooms of the gateway together: contracts, tools,
// relay, faces and the operators' API. The program and the conversations use
// the same wiring.
package wiring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"passerelle"
	"passerelle/adapters"
	"passerelle/internal/admin"
	"passerelle/internal/intake"
	"passerelle/internal/login"
	"passerelle/internal/relay"
	"passerelle/mapping"
	"passerelle/outbox"
)

// Link is one contract in force, with its two tools.
type Link struct {
	Contract  *mapping.Contract
	Requester adapters.Settings
	Partner   adapters.Settings
}

// Gateway is the rooms, wired together. Relay.Run does the work; Public and
// Admin answer.
type Gateway struct {
	Relay  *relay.Relay
	Public http.Handler // the faces, /{contract}/{side}/…
	Admin  http.Handler // the operators' API, /metrics, /healthz, /readyz
}

// TermsOf is what one side's tool must know of a contract.
func TermsOf(c *mapping.Contract, side passerelle.Side) adapters.Terms {
	return adapters.Terms{Contract: c.Name, Side: side, LimitBytes: c.LimitBytes, Scope: c.Scope(side)}
}

// Options are how the gateway works, whatever its contracts are. The zero value
// sweeps nothing.
type Options struct {
	Backoff outbox.Backoff
	Trouble relay.Trouble // see relay.Config
	Sweep   relay.Sweep
	Again   time.Duration // see relay.Config
	Calm    time.Duration // see relay.Config
	Log     *slog.Logger

	AdminToken passerelle.Secret // hash of the token that the operators' API asks for; empty: none
	Proxies    []netip.Prefix    // whose X-Forwarded-For is believed
	// Retention is how long words of tickets that are over are kept; the zero value
	// keeps them for good.
	Retention relay.Retention

	Large       int                      // see intake.Config
	Connections func() (now, turned int) // of the faces, for the metrics; nil: none
}

// Build wires a gateway. It opens no connection and starts nothing.
func Build(links []Link, store outbox.Store, o Options) (*Gateway, error) {
	contracts := map[string]*mapping.Contract{}
	tools := map[outbox.Dest]relay.Tool{}
	faces := map[string]passerelle.Inbound{}
	guard, refusals := newGuard(o)
	bound := &bounds{intake.New(intake.Config{Large: o.Large}), o.Connections}
	var names []string
	for _, l := range links {
		name := l.Contract.Name
		if contracts[name] != nil {
			return nil, fmt.Errorf("contract %s stands twice among the links", name)
		}
		contracts[name] = l.Contract
		names = append(names, name)
		for side, settings := range map[passerelle.Side]*adapters.Settings{passerelle.Requester: &l.Requester, passerelle.Partner: &l.Partner} {
			terms := TermsOf(l.Contract, side)
			terms.Guard, terms.Intake = guard, bound.intake
			a, err := adapters.Open(settings, terms)
			if err != nil {
				return nil, err
			}
			tools[outbox.Dest{Contract: name, Side: side}] = relay.Tool{Out: a.Out, Watch: a.Watch, Workers: settings.Workers, ReadFirst: settings.ITop != nil && settings.ITop.ReadFirst}
			for path, face := range a.Faces {
				faces["/"+name+"/"+string(side)+"/"+path] = face
			}
		}
	}
	r := relay.New(relay.Config{Store: store, Contracts: contracts, Tools: tools, Backoff: o.Backoff, Trouble: o.Trouble, Sweep: o.Sweep, Again: o.Again, Calm: o.Calm, Log: o.Log, Retention: o.Retention})
	g := &Gateway{Relay: r, Public: publicHandler(faces, r)}
	door, err := adminDoor(guard, o.AdminToken)
	if err != nil {
		return nil, err
	}
	api := admin.Protect(apiHandler(r, store, names, o.Log), door, o.AdminToken != "")
	g.Admin, err = adminHandler(r, api, refusals, bound)
	return g, err
}

// newGuard makes the guard of all doors, and what counts its refusals.
func newGuard(o Options) (*login.Guard, *prometheus.CounterVec) {
	refusals := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "passerelle_logins_refused_total", Help: "Callers that were not let in."}, []string{"door", "why"})
	return login.NewGuard(login.Config{Proxies: o.Proxies, Log: o.Log, Count: func(door string, why login.Why) { refusals.WithLabelValues(door, string(why)).Inc() }}), refusals
}

// adminDoor is the operators', who have one token.
func adminDoor(g *login.Guard, token passerelle.Secret) (*login.Door, error) {
	if token == "" {
		return g.Door("admin", nil)
	}
	door, err := g.Door("admin", []login.Account{{Token: token}})
	if err != nil {
		return nil, fmt.Errorf("admin_token: %w", err)
	}
	return door, nil
}

// publicHandler gives each face its path; anything else is 404.
func publicHandler(faces map[string]passerelle.Inbound, d passerelle.Desk) http.Handler {
	mux := http.NewServeMux()
	for path, face := range faces {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { face.Serve(w, r, d) })
	}
	return mux
}

// adminHandler serves the operators' API, and what asks nobody who they are:
// the metrics and the health, which name no ticket.
func adminHandler(r *relay.Relay, api http.Handler, refusals, bound prometheus.Collector) (http.Handler, error) {
	reg := prometheus.NewRegistry()
	if err := errors.Join(r.Register(reg), reg.Register(refusals), reg.Register(bound), reg.Register(collectors.NewGoCollector()),
		reg.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", api)
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", health(r, "ok"))
	mux.HandleFunc("GET /readyz", ready(r, health(r, "ready")))
	return mux, nil
}

// apiHandler is the operators' API.
func apiHandler(r *relay.Relay, store outbox.Store, contracts []string, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/", admin.Handler(store, contracts, r.Terms, r.Decided))
	mux.Handle("GET /api/backup", admin.Backup(store, log))
	asks := admin.ToolsHandler(store, contracts, admin.Tools{
		Resync: func(ctx context.Context, contract, own string, apply bool) (any, error) {
			return r.Resync(ctx, contract, own, apply)
		},
		Escalate: func(ctx context.Context, contract, key string) (any, error) { return r.Escalate(ctx, contract, key) },
		Purge: func(ctx context.Context, contract, own string, d admin.Decision, force bool) (any, error) {
			return r.Purge(ctx, contract, own, outbox.PurgeOrder{Decision: outbox.Decision{By: d.By, Why: d.Why}, Force: force})
		},
		Restored: func(ctx context.Context) (any, bool) { return r.Relearning(ctx) },
	})
	for _, path := range []string{"/api/resync/", "/api/escalate/", "/api/purge/", "/api/restored"} {
		mux.Handle(path, asks)
	}
	return mux
}

// ready answers 503 while the gateway learns, after a restore, what happened
// since the backup: it makes progress, but takes nothing.
func ready(r *relay.Relay, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if rep, ok := r.Relearning(req.Context()); ok && rep.Done.IsZero() {
			http.Error(w, fmt.Sprintf("restored: %d of %d pairs are compared with both tools; nothing is accepted or sent before", rep.Read, rep.Pairs), http.StatusServiceUnavailable)
			return
		}
		next(w, req)
	}
}

// health answers 200 while the gateway makes progress, and else 503 with what
// does not move, a line each: a supervisor may restart it, for nothing is lost.
func health(r *relay.Relay, well string) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		stuck := r.Stuck(req.Context())
		if len(stuck) == 0 {
			fmt.Fprintln(w, well)
			return
		}
		http.Error(w, strings.Join(stuck, "\n"), http.StatusServiceUnavailable)
	}
}
