package outbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NATSOptions say where the shared store of several gateways is. Zero fields take
// the defaults.
type NATSOptions struct {
	URLs        []string // of servers, nats:// or tls://; one that answers is enough to begin
	Credentials string   // the file of the account's credentials, if the servers want one
	CA          string   // PEM file of the authority that signs the servers' certificates
	Cert, Key   string   // PEM files of our own certificate
	Stream      string   // default passerelle; two stores on the same servers need two names
	Domain      string   // of JetStream, if the servers have one
	Replicas    int      // servers that keep each change: 1, 3 or 5; default 3
	Dir         string   // of this gateway's replica: a folder of its own
	Name        string   // of this gateway, for people; default: the host's name
	// Lease is how long a gateway may work for a contract after it last said that it
	// does; default 10 s. Grace is how long its successor waits beyond that: the
	// longest time that a request of it may still be under way. Default 60 s.
	Lease, Grace time.Duration
	// Patience is how long a change waits for servers that do not answer before its
	// caller is told that its outcome is unknown; default 5 s.
	Patience time.Duration
	Log      *slog.Logger // of what goes wrong in the background; default none
}

func (o NATSOptions) withDefaults() NATSOptions {
	if o.Stream == "" {
		o.Stream = "passerelle"
	}
	if o.Replicas == 0 {
		o.Replicas = 3
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Name == "" {
		o.Name, _ = os.Hostname() // unknown: it has none
	}
	for d, byDefault := range map[*time.Duration]time.Duration{&o.Lease: 10 * time.Second, &o.Grace: time.Minute, &o.Patience: 5 * time.Second} {
		if *d == 0 {
			*d = byDefault
		}
	}
	return o
}

func (o *NATSOptions) logSubject() string  { return o.Stream + ".log" }
func (o *NATSOptions) partSubject() string { return o.Stream + ".part" }
func (o *NATSOptions) servers() string     { return strings.Join(o.URLs, ", ") }
func (o *NATSOptions) path() string        { return filepath.Join(o.Dir, "replica.db") }
func (o *NATSOptions) markPath() string    { return filepath.Join(o.Dir, "replica.open") }

// OpenNATS opens the store that several gateways share, on the JetStream of NATS
// servers, and makes it if there is none. It returns once this gateway's replica
// holds everything that was acknowledged so far, or with an error when ctx ends.
//
// Beyond what every Store promises: what is acknowledged was accepted by a
// majority of the servers of its stream (whether each of them had synced it to its
// disk is a setting of theirs, sync_interval); entries are lent only to the gateway
// that leads their contract (Lead). A reading sees everything that was acknowledged
// before it, by any gateway; but for the moments in which the servers' network falls
// apart, when one that led until then may still answer. Nothing can be committed on
// such a reading: a commit is decided on the log.
func OpenNATS(ctx context.Context, o NATSOptions) (Store, error) {
	o = o.withDefaults()
	b, shelf, err := openReplicated(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("outbox: open: %w", err)
	}
	giveUp := context.AfterFunc(ctx, b.hurry) // it may have to commit
	s, err := open(b, shelf)
	if !giveUp() && err == nil {
		err = errors.Join(ctx.Err(), s.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("outbox: open: %w", err)
	}
	s.share(b, shelf)
	return s, nil
}

// openReplicated connects, and brings the replica up to the log's end.
func openReplicated(ctx context.Context, o NATSOptions) (*replicated, *objects, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, nil, err
	}
	nc, err := connect(ctx, &o)
	if err != nil {
		return nil, nil, err
	}
	b := newReplicated(o, nc)
	shelf, err := b.begin(ctx)
	if err != nil {
		b.cancel()
		b.gone.Wait()
		nc.Close()
		if b.replica != nil {
			err = errors.Join(err, b.replica.close())
		}
		return nil, nil, err
	}
	return b, shelf, nil
}

// complain says in the log, at once and then now and again, why the store is not open
// yet.
func (o *NATSOptions) complain(told *time.Time, err error) {
	if time.Since(*told) > 10*time.Second {
		*told = time.Now()
		o.Log.Warn("the shared store is not open yet, and is tried again", "urls", o.URLs, "stream", o.Stream, "error", err)
	}
}

func newReplicated(o NATSOptions, nc *nats.Conn) *replicated {
	b := &replicated{o: o, nc: nc, unscrubbed: true, me: rand.Text(), moved: make(chan struct{}), pleas: map[string]plea{}}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.line, b.cut = context.WithCancel(b.ctx)
	nc.SetDisconnectErrHandler(b.disconnected)
	return b
}

func connect(ctx context.Context, o *NATSOptions) (*nats.Conn, error) {
	if len(o.URLs) == 0 {
		return nil, errors.New("no NATS server is named (nats://host:4222)")
	}
	for i, u := range o.URLs {
		if at, err := url.Parse(u); err == nil && at.User != nil {
			return nil, fmt.Errorf("the address %d of the servers holds a name or a password (use credentials)", i+1)
		}
	}
	opts := []nats.Option{nats.Name("passerelle " + o.Name), nats.MaxReconnects(-1), nats.ReconnectWait(tryPause), nats.ReconnectBufSize(-1),
		nats.Timeout(2 * time.Second), nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2),
		nats.FlusherTimeout(tryFor)} // a writer on a dead line holds up all others
	if o.Credentials != "" {
		opts = append(opts, nats.UserCredentials(o.Credentials))
	}
	if o.CA != "" {
		opts = append(opts, nats.RootCAs(o.CA))
	}
	if o.Cert != "" {
		opts = append(opts, nats.ClientCert(o.Cert, o.Key))
	}
	var told time.Time
	for { // servers that begin with us may take longer
		nc, err := nats.Connect(strings.Join(o.URLs, ","), opts...)
		if err == nil {
			return nc, nil
		}
		o.complain(&told, err)
		never := errors.Is(err, nats.ErrAuthorization) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
		if never || !sleep(ctx, tryPause) {
			return nil, fmt.Errorf("%s: %w (are the servers up, and is this gateway let in?)", o.servers(), err)
		}
	}
}

// begin finds or makes the stream, the buckets and the replica, and follows the log.
func (b *replicated) begin(ctx context.Context) (*objects, error) {
	shelf, err := b.connectTo(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.openReplica(ctx, shelf.copies); err != nil {
		return nil, err
	}
	b.gone.Go(b.follow)
	for { // a long log takes longer than one asking
		err := b.fresh()
		if err == nil {
			return shelf, nil
		}
		if _, broken := b.at(); broken != nil || ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
	}
}

// connectTo finds or makes the stream and the buckets.
func (b *replicated) connectTo(ctx context.Context) (*objects, error) {
	var err error
	if b.js, err = b.jetStream(); err != nil {
		return nil, err
	}
	if err := b.openStream(ctx); err != nil {
		return nil, err
	}
	files, err := b.bucket(ctx, "files", "attachments of events that are not final")
	if err != nil {
		return nil, err
	}
	copies, err := b.bucket(ctx, "copies", "copies of a replica, where the log begins anew")
	if err != nil {
		return nil, err
	}
	return &objects{ctx: b.ctx, line: b.connection, files: files, copies: copies}, nil
}

func (b *replicated) jetStream() (jetstream.JetStream, error) {
	if b.o.Domain != "" {
		return jetstream.NewWithDomain(b.nc, b.o.Domain)
	}
	return jetstream.New(b.nc)
}

// storeKey is where the stream keeps the name of the store that it holds: made
// once, so that a replica knows its own log.
const storeKey = "passerelle.store"

// openStream finds the log or makes it. It has no limits: what is not needed any
// more, we remove.
func (b *replicated) openStream(ctx context.Context) error {
	cfg := jetstream.StreamConfig{Name: b.o.Stream, Description: "the outbox of Passerelle: nobody else may publish here", Subjects: []string{b.o.logSubject(), b.o.partSubject()},
		Storage: jetstream.FileStorage, Replicas: b.o.Replicas, Discard: jetstream.DiscardNew, DenyDelete: true, Duplicates: 2 * time.Minute,
		Metadata: map[string]string{storeKey: rand.Text()}}
	err := b.found(ctx, func(ctx context.Context) (err error) {
		b.stream, err = b.findStream(ctx, cfg)
		return err
	})
	if err != nil {
		return fmt.Errorf("the stream %s: %w", b.o.Stream, err)
	}
	return nil
}

// found tries until the servers have what they are asked for, or refuse it for good.
// A cluster that just began has no leader yet, and not all of its servers.
func (b *replicated) found(ctx context.Context, ask func(context.Context) error) error {
	var told time.Time
	for {
		try, cancel := context.WithTimeout(ctx, tryFor)
		err := ask(try)
		cancel()
		if err == nil || isFinal(err) {
			return err
		}
		b.o.complain(&told, err)
		if !sleep(ctx, tryPause) {
			return err
		}
	}
}

// Error codes of JetStream's that the client has no name for.
const (
	errCodeNoCluster jetstream.ErrorCode = 10074 // more than one replica on a server that is in no cluster
	errCodeNoPeers   jetstream.ErrorCode = 10005 // fewer servers than replicas, as far as the leader knows yet
)

// passing are refusals that end by themselves: of a name that another gateway takes
// at this moment, and of replicas for which too few servers have come up.
var passing = []jetstream.ErrorCode{jetstream.JSErrCodeStreamNotFound, jetstream.JSErrCodeStreamNameInUse, errCodeNoPeers}

// errForeign is a stream of somebody else's.
var errForeign = errors.New("there is a stream of that name which is no outbox of ours (name another)")

// isFinal tells an error of JetStream's that asking again does not change.
func isFinal(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return errors.Is(err, errForeign)
	}
	return api.ErrorCode == errCodeNoCluster || api.Code < 500 && !slices.Contains(passing, api.ErrorCode)
}

func (b *replicated) findStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	s, err := b.js.Stream(ctx, cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = b.js.CreateStream(ctx, cfg)
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another gateway began at the same time
		s, err = b.js.Stream(ctx, cfg.Name)
	}
	if err != nil {
		return nil, err
	}
	has := s.CachedInfo().Config
	cfg.Metadata = has.Metadata
	if has.Metadata[storeKey] == "" {
		return nil, errForeign
	}
	b.store = has.Metadata[storeKey]
	if has.Replicas != cfg.Replicas || isLimited(has) || has.Discard != cfg.Discard || !slices.Equal(has.Subjects, cfg.Subjects) {
		return b.js.UpdateStream(ctx, cfg)
	}
	return s, nil
}

// isLimited tells whether somebody set a limit, by which messages would be removed
// or refused.
func isLimited(c jetstream.StreamConfig) bool {
	return c.MaxAge != 0 || c.MaxMsgs > 0 || c.MaxBytes > 0 || c.MaxMsgsPerSubject > 0 || c.MaxMsgSize > 0
}

// bucket finds or makes an object store.
func (b *replicated) bucket(ctx context.Context, name, what string) (os jetstream.ObjectStore, err error) {
	cfg := jetstream.ObjectStoreConfig{Bucket: b.o.Stream + "-" + name, Description: what, Storage: jetstream.FileStorage, Replicas: b.o.Replicas}
	err = b.found(ctx, func(ctx context.Context) (err error) {
		os, err = b.js.ObjectStore(ctx, cfg.Bucket)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			os, err = b.js.CreateObjectStore(ctx, cfg)
		}
		if errors.Is(err, jetstream.ErrBucketExists) { // another gateway began at the same time
			os, err = b.js.ObjectStore(ctx, cfg.Bucket)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("the bucket %s: %w", cfg.Bucket, err)
	}
	return os, nil
}
