package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"passerelle/adapters"
	"passerelle/internal/intake"
	logins "passerelle/internal/login"
	"passerelle/internal/relay"
	"passerelle/mapping"
	"passerelle/outbox"
)

// config is gateway.yaml. Each field's comment ends with its default;
// gateway.example.yaml shows them all.
type config struct {
	Listen string `yaml:"listen"` // address of the faces that the tools talk to; default 127.0.0.1:8080
	Admin  string `yaml:"admin"`  // address of the operators' API, metrics and health, for this machine only; default 127.0.0.1:8081
	// AdminToken is the hash of the token that the operators' API asks for, as
	// gateway token prints it; required where admin is not on the loopback;
	// default none: whoever reaches the address is an operator.
	AdminToken adapters.SecretRef `yaml:"admin_token"`
	// Proxies are the addresses and networks of our own proxies in front of
	// listen, whose X-Forwarded-For tells where a login comes from; default none:
	// it is not believed.
	Proxies   []string `yaml:"proxies"`
	Data      string   `yaml:"data"`      // folder of the database and the attachments; default data
	Contracts string   `yaml:"contracts"` // folder of the contracts; default contracts
	Log       string   `yaml:"log"`       // debug, info, warn or error; default info
	TLS       struct {
		Cert     string `yaml:"cert"`      // file of the certificate chain for listen; default none: plain HTTP
		Key      string `yaml:"key"`       // file of its key; default none
		ClientCA string `yaml:"client_ca"` // file of the authorities by which each caller of listen must show a certificate; default none: no certificate is asked for
	} `yaml:"tls"`
	Limits struct {
		Large       int `yaml:"large"`       // messages beyond 256 KB that are decoded at a time; default half of the cores, 1 at least
		Connections int `yaml:"connections"` // to listen at once, half of them from one address at most; default 1000
	} `yaml:"limits"`
	Outbox struct {
		Kind string `yaml:"kind"` // bolt (a file in data), nats (several gateways on NATS JetStream) or memory (lost at the end: for trials); default bolt
		// Of nats only:
		URLs        []string      `yaml:"urls"`        // of its servers; required
		Credentials string        `yaml:"credentials"` // file of the account's credentials; default none
		CA          string        `yaml:"ca"`          // file of the authority that signs the servers' certificates, PEM; default the system's
		Cert        string        `yaml:"cert"`        // file of the certificate that we show them, PEM; default none
		Key         string        `yaml:"key"`         // file of its key; default none
		Stream      string        `yaml:"stream"`      // name of the stream; default passerelle
		Domain      string        `yaml:"domain"`      // of JetStream; default none
		Replicas    int           `yaml:"replicas"`    // servers that keep each change: 1, 3 or 5; default 3
		Name        string        `yaml:"name"`        // of this gateway, for people; default the machine's
		Lease       time.Duration `yaml:"lease"`       // how long it works for a contract after it last said so; default 10s
		Grace       time.Duration `yaml:"grace"`       // how long its successor waits beyond that: as long as a request to a tool may take; default 1m
		Patience    time.Duration `yaml:"patience"`    // how long a sender waits for servers that do not answer; default 5s
	} `yaml:"outbox"`
	Retry struct {
		First time.Duration `yaml:"first"` // before the second try of a message; default 2s
		Max   time.Duration `yaml:"max"`   // between two tries at most; default 10m
		Age   time.Duration `yaml:"age"`   // after its first charged try, a message that keeps failing is parked; default 24h
	} `yaml:"retry"`
	Sweep struct {
		Every time.Duration `yaml:"every"` // between two sweeps of a tool, which ask what it did not tell; default 5m, 0s is never
		Whole time.Duration `yaml:"whole"` // between two readings of every open ticket, changed or not; default 24h, 0s is never
		Batch int           `yaml:"batch"` // tickets named in one request; default 200
		Pause time.Duration `yaml:"pause"` // between two requests of a sweep, and between two readings of a whole one; default 200ms
		Quiet string        `yaml:"quiet"` // hours in which no sweep begins, as 22:00-05:30, in this machine's time; default none
	} `yaml:"sweep"`
	Retention struct {
		Texts string `yaml:"texts"` // after a ticket is closed, rejected or out of the interface, what people wrote on it is purged from the store, and the trace is left; default 90d, never is never
	} `yaml:"retention"`
	Links []linkConfig `yaml:"links"` // the contracts that are carried out; required
}

// linkConfig is one contract in force: its folder and its two tools.
type linkConfig struct {
	Contract  string            `yaml:"contract"`  // folder below contracts, such as NAME/v1; required
	Requester adapters.Settings `yaml:"requester"` // the requester's tool; required
	Partner   adapters.Settings `yaml:"partner"`   // the partner's tool; required
}

// readConfig reads a configuration file; its errors name file and line.
func readConfig(file string) (*config, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c, err := parseConfig(b)
	if err != nil {
		return nil, fmt.Errorf("%s%w", file, err)
	}
	return c, nil
}

func parseConfig(b []byte) (*config, error) {
	c := &config{Listen: "127.0.0.1:8080", Admin: "127.0.0.1:8081", Data: "data", Contracts: "contracts", Log: "info"}
	c.Outbox.Kind = "bolt"
	c.Limits.Large, c.Limits.Connections = intake.DefaultLarge(), 1000
	c.Retry.First, c.Retry.Max, c.Retry.Age = 2*time.Second, 10*time.Minute, 24*time.Hour
	c.Sweep.Every, c.Sweep.Whole, c.Sweep.Batch, c.Sweep.Pause = 5*time.Minute, 24*time.Hour, 200, 200*time.Millisecond
	c.Retention.Texts = "90d"
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(c); err != nil {
		at := ": "
		line, text := mapping.YAMLError(err)
		if line > 0 {
			at = fmt.Sprintf(":%d: ", line)
		}
		return nil, fmt.Errorf("%s%s (gateway.example.yaml shows every key)", at, text)
	}
	return c, c.check()
}

func (c *config) check() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	errs = append(errs, c.checkOutbox()...)
	if len(c.Links) == 0 {
		add(": links is empty (name at least one contract)")
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		add(": tls: cert and key go together")
	}
	if c.AdminToken == (adapters.SecretRef{}) && !isLoopback(c.Admin) {
		add(": admin: %s can be reached from other machines, and asks nobody who they are (set admin_token to the hash that `gateway token` prints, or listen on 127.0.0.1:8081)", c.Admin)
	}
	if _, err := logins.ParseProxies(c.Proxies); err != nil {
		add(": %v", err)
	}
	if c.TLS.ClientCA != "" && c.TLS.Cert == "" {
		add(": tls: client_ca needs cert and key")
	}
	if c.Retry.First <= 0 || c.Retry.Max < c.Retry.First || c.Retry.Age <= 0 {
		add(": retry: first, max and age are durations above zero, max not below first")
	}
	if c.Limits.Large < 1 || c.Limits.Connections < 10 {
		add(": limits: large is 1 or more, connections 10 or more")
	}
	if _, err := c.level(); err != nil {
		add(": log: %v", err)
	}
	if w := c.Sweep; w.Every < 0 || w.Whole < 0 || w.Pause < 0 || w.Batch < 1 || w.Batch > 1000 {
		add(": sweep: every, whole and pause are durations, not below zero; batch is 1 to 1000")
	}
	if _, err := c.kept(); err != nil {
		add(": retention: texts is %q (90d, 36h or never; an hour at least)", c.Retention.Texts)
	}
	if _, _, err := c.quiet(); err != nil {
		add(": sweep: quiet is %q (two times of the day, as 22:00-05:30)", c.Sweep.Quiet)
	}
	return errors.Join(errs...)
}

// checkOutbox checks what belongs together below outbox.
func (c *config) checkOutbox() (errs []error) {
	o := c.Outbox
	switch o.Kind {
	case "bolt", "memory":
		set := len(o.URLs) > 0 || o.Replicas != 0 || o.Lease != 0 || o.Grace != 0 || o.Patience != 0
		for _, v := range []string{o.Credentials, o.CA, o.Cert, o.Key, o.Stream, o.Domain, o.Name} {
			set = set || v != ""
		}
		if set {
			errs = append(errs, fmt.Errorf(": outbox: %s takes no other key (the others belong to kind: nats)", o.Kind))
		}
	case "nats":
		if len(o.URLs) == 0 {
			errs = append(errs, errors.New(": outbox.urls is empty (such as [nats://nats-1:4222, nats://nats-2:4222, nats://nats-3:4222])"))
		}
		for i, u := range o.URLs {
			if at, err := url.Parse(u); err != nil || at.User != nil {
				errs = append(errs, fmt.Errorf(": outbox.urls[%d] is no address, or holds a name or a password (nats://HOST:4222, and credentials)", i))
			}
		}
		if (o.Cert == "") != (o.Key == "") {
			errs = append(errs, errors.New(": outbox: cert and key go together"))
		}
		if !slices.Contains([]int{0, 1, 3, 5}, o.Replicas) {
			errs = append(errs, fmt.Errorf(": outbox.replicas is %d (1, 3 or 5)", o.Replicas))
		}
		if strings.ContainsAny(o.Stream, " .*>/\\\t") {
			errs = append(errs, fmt.Errorf(": outbox.stream is %q (letters, digits, - and _)", o.Stream))
		}
		if o.Lease < 0 || o.Grace < 0 || o.Patience < 0 || o.Lease > 0 && o.Lease < time.Second {
			errs = append(errs, errors.New(": outbox: lease is 1s or more, grace and patience are not below zero"))
		}
	default:
		errs = append(errs, fmt.Errorf(": outbox.kind is %q (bolt, nats or memory)", o.Kind))
	}
	return errs
}

// isLoopback tells whether an address to listen on is this machine's alone.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return true // listening says what is wrong
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

func (c *config) level() (slog.Level, error) {
	var l slog.Level
	err := l.UnmarshalText([]byte(c.Log))
	return l, err
}

// quiet are the minutes of the day between which no sweep begins.
func (c *config) quiet() (from, to int, err error) {
	if c.Sweep.Quiet == "" {
		return 0, 0, nil
	}
	a, b, _ := strings.Cut(c.Sweep.Quiet, "-")
	for i, text := range []string{a, b} {
		t, err := time.Parse("15:04", strings.TrimSpace(text))
		if err != nil {
			return 0, 0, err
		}
		*[]*int{&from, &to}[i] = t.Hour()*60 + t.Minute()
	}
	return from, to, nil
}

// kept is how long what people wrote is kept, 0 for good.
func (c *config) kept() (time.Duration, error) {
	text := c.Retention.Texts
	if text == "never" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		d = time.Duration(min(n, 36500)) * 24 * time.Hour
	}
	if err == nil && d < time.Hour {
		err = errors.New("less than an hour")
	}
	return d, err
}

func (c *config) retention() relay.Retention {
	d, _ := c.kept() // checked when it was read
	return relay.Retention{Texts: d}
}

func (c *config) sweep() relay.Sweep {
	from, to, _ := c.quiet() // checked when it was read
	return relay.Sweep{Every: c.Sweep.Every, Whole: c.Sweep.Whole, Batch: c.Sweep.Batch, Pause: c.Sweep.Pause, QuietFrom: from, QuietTo: to}
}

func (c *config) backoff() outbox.Backoff {
	return outbox.Backoff{First: c.Retry.First, Max: c.Retry.Max, Age: c.Retry.Age}
}

// openStore opens the outbox that the configuration asks for. An empty folder
// is how the gateway begins, and what a disk that is not mounted looks like: the
// log says so.
func (c *config) openStore(ctx context.Context, log *slog.Logger) (outbox.Store, error) {
	switch c.Outbox.Kind {
	case "memory":
		return outbox.NewMem(), nil
	case "nats":
		return c.openNATS(ctx, log)
	}
	dir := filepath.Clean(c.Data)
	if files, err := os.ReadDir(dir); len(files) == 0 && (err == nil || errors.Is(err, fs.ErrNotExist)) {
		log.Warn("the data folder is new: no earlier ticket is known (if there were any, stop, and mount or restore it)", "data", dir)
	}
	return outbox.OpenBolt(dir)
}

// natsOptions are what the configuration says of a shared store.
func (c *config) natsOptions() outbox.NATSOptions {
	o := c.Outbox
	return outbox.NATSOptions{URLs: o.URLs, Credentials: o.Credentials, CA: o.CA, Cert: o.Cert, Key: o.Key, Stream: o.Stream, Domain: o.Domain, Replicas: o.Replicas,
		Name: o.Name, Lease: o.Lease, Grace: o.Grace, Patience: o.Patience, Dir: filepath.Clean(c.Data)}
}

// openWithin is how long a gateway waits at its start for the servers of a shared
// store, and for its own replica to hold all that they keep.
const openWithin = 5 * time.Minute

func (c *config) openNATS(ctx context.Context, log *slog.Logger) (outbox.Store, error) {
	ctx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	start := time.Now()
	o := c.natsOptions()
	o.Log = log
	s, err := outbox.OpenNATS(ctx, o)
	if err == nil {
		log.Info("the shared store is open, and this gateway's replica up to date", "urls", c.Outbox.URLs, "replica", c.Data, "took", time.Since(start))
	}
	return s, err
}

// loadContract loads one contract folder below contracts.
func (c *config) loadContract(name string) (*mapping.Contract, error) {
	dir := filepath.Join(c.Contracts, name)
	ct, err := mapping.Load(os.DirFS(dir))
	if err != nil {
		return nil, fmt.Errorf("contract %s does not load (gateway check %s tells the same):\n%w", dir, dir, err)
	}
	return ct, nil
}
