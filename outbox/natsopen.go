package outbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
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
	s, err := open(b, shelf)
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
	var err error
	var told time.Time
	for { // a cluster that just began has no leader yet
		if b.stream, err = b.findStream(ctx, cfg); err == nil {
			return nil
		}
		b.o.complain(&told, err)
		if !sleep(ctx, tryPause) || isFinal(err) {
			return fmt.Errorf("the stream %s: %w", b.o.Stream, err)
		}
	}
}

// errCodeNoCluster means more than one replica on a server that is in no cluster; the
// client has no name for it.
const errCodeNoCluster jetstream.ErrorCode = 10074

// errForeign is a stream of somebody else's.
var errForeign = errors.New("there is a stream of that name which is no outbox of ours (name another)")

// isFinal tells an error of JetStream's that asking again does not change. That the
// name is in use means that another gateway makes the stream at this moment.
func isFinal(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == errCodeNoCluster {
		return true
	}
	return errors.Is(err, errForeign) ||
		errors.As(err, &api) && api.Code < 500 && api.ErrorCode != jetstream.JSErrCodeStreamNotFound && api.ErrorCode != jetstream.JSErrCodeStreamNameInUse
}

func (b *replicated) findStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
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
func (b *replicated) bucket(ctx context.Context, name, what string) (jetstream.ObjectStore, error) {
	cfg := jetstream.ObjectStoreConfig{Bucket: b.o.Stream + "-" + name, Description: what, Storage: jetstream.FileStorage, Replicas: b.o.Replicas}
	for {
		try, cancel := context.WithTimeout(ctx, tryFor)
		os, err := b.js.ObjectStore(try, cfg.Bucket)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			os, err = b.js.CreateObjectStore(try, cfg)
		}
		cancel()
		if err == nil {
			return os, nil
		}
		if !sleep(ctx, tryPause) || isFinal(err) && !errors.Is(err, jetstream.ErrBucketExists) {
			return nil, fmt.Errorf("the bucket %s: %w", cfg.Bucket, err)
		}
	}
}

// openReplica opens the replica that is there, if it can be relied upon and the
// log goes on where it ends; else one from the newest copy.
func (b *replicated) openReplica(ctx context.Context, copies jetstream.ObjectStore) error {
	if err := b.o.trust(); err != nil {
		return err
	}
	path := b.o.path()
	if _, err := os.Stat(path); err == nil {
		if err := b.useReplica(path); err != nil {
			return err
		}
		ok, err := b.continues(ctx)
		if ok || err != nil {
			return err
		}
		if err := b.replica.close(); err != nil {
			return err
		}
		b.replica = nil
	}
	if err := b.newReplica(ctx, copies); err != nil {
		return err
	}
	ok, err := b.continues(ctx)
	if err == nil && !ok {
		err = fmt.Errorf("the log begins after what the newest copy of a replica holds (batch %d): neither is whole (docs/operations.md: when the servers lost something)", b.position)
	}
	return err
}

func (b *replicated) useReplica(path string) error {
	kv, err := openFile(path)
	if err != nil {
		return err
	}
	kv.db.NoSync = true // the log has it
	b.replica = kv
	// Now the folder is ours: a predecessor may have taken his mark away meanwhile.
	if err := errors.Join(b.o.mark(), removeStages(b.o.Dir)); err != nil {
		return err
	}
	return kv.update(func(w writer) error {
		switch is := string(w.get(metaBucket, []byte(storeKey))); is {
		case "":
			w.put(metaBucket, []byte(storeKey), []byte(b.store))
		case b.store:
		default:
			return fmt.Errorf("%s is the replica of another stream than %s: that one was made anew, or this folder is another gateway's (look which is right; move the folder away to begin on this stream)", b.o.path(), b.o.Stream)
		}
		b.position = number(w.get(metaBucket, []byte(positionKey)))
		b.seen = b.position
		return nil
	}, func() {})
}

// continues tells whether the log goes on right where the replica ends. A replica
// that is ahead of the log is an error: the servers lost what they acknowledged.
func (b *replicated) continues(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*tryFor)
	defer cancel()
	for {
		last, err := b.stream.GetLastMsgForSubject(ctx, b.o.logSubject())
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return b.position == 0, b.o.ahead(b.position, 0)
		case err == nil && last.Sequence <= b.position:
			return last.Sequence == b.position, b.o.ahead(b.position, last.Sequence)
		case err == nil:
			info, err := b.stream.Info(ctx)
			if err != nil {
				return false, err
			}
			// The last batch that a copy holds is never removed: what comes after it is there.
			return info.State.FirstSeq <= max(b.position, 1), nil
		case !sleep(ctx, tryPause):
			return false, err
		}
	}
}

// ahead refuses a log that ends before what a replica holds.
func (o *NATSOptions) ahead(position, last uint64) error {
	if last >= position {
		return nil
	}
	return fmt.Errorf("the stream %s ends at batch %d, and this replica holds batch %d: the servers lost changes that they had acknowledged (docs/operations.md: when the servers lost something)", o.Stream, last, position)
}

// newReplica puts the newest copy, or an empty replica, where ours shall be.
func (b *replicated) newReplica(ctx context.Context, copies jetstream.ObjectStore) error {
	path := b.o.path()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	there, err := hasCopy(ctx, copies)
	if err != nil {
		return err
	}
	stage := path + ".new"
	if there {
		err = fetchCopy(ctx, copies, stage)
	} else {
		err = errors.Join(os.RemoveAll(stage), initialize(stage))
	}
	if err != nil {
		return err
	}
	if err := os.Rename(stage, path); err != nil {
		return err
	}
	return b.useReplica(path)
}

// fetchCopy reads the newest copy; one that is replaced meanwhile is read anew.
func fetchCopy(ctx context.Context, copies jetstream.ObjectStore, path string) error {
	for {
		err := fetchOnce(ctx, copies, path)
		if err == nil {
			return nil
		}
		if !sleep(ctx, tryPause) {
			return fmt.Errorf("the copy of a replica: %w", err)
		}
	}
}

func fetchOnce(ctx context.Context, copies jetstream.ObjectStore, path string) error {
	from, err := copies.Get(ctx, copyName)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from) // ends with an error unless its digest is right
	return errors.Join(err, to.Close())
}

// trust removes a replica that the machine went down with: it was never synced.
// One that only its process left is whole.
func (o *NATSOptions) trust() error {
	now := bootID()
	mark, err := os.ReadFile(o.markPath())
	if err == nil && (string(mark) != now || now == "") {
		err = os.Remove(o.path())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return o.mark()
}

// mark says that the replica is open, and by which run of the machine.
func (o *NATSOptions) mark() error {
	return os.WriteFile(o.markPath(), []byte(bootID()), 0o600)
}

// unmark says that the replica was closed and synced.
func (o *NATSOptions) unmark() error { return os.Remove(o.markPath()) }

// bootID names this run of the machine; empty where nothing tells.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // Linux only
	return strings.TrimSpace(string(id))
}
