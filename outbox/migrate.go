package outbox

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"passerelle"

	"github.com/nats-io/nats.go/jetstream"
	berrors "go.etcd.io/bbolt/errors"
)

// Migrated tells what was taken from one kind of store to another, and read back
// there.
type Migrated struct {
	Pairs   int   // links
	Events  int   // entries, each with its event
	Rows    int   // of all tables
	Files   int   // attachments that entries wait for
	Bytes   int64 // of the attachments
	Missing []string
}

// movedName is what the database of a folder is called once another store has it:
// nothing opens it by mistake.
const movedName = dbName + ".migrated"

// ToNATS takes the store of a folder, whose gateway is stopped, to the servers of a
// shared store, which must be empty there. Each row and each attachment is read
// back and compared before the folder's database is renamed to outbox.db.migrated;
// after an error the folder is as it was, and the streams that were begun must be
// removed by hand.
func ToNATS(ctx context.Context, dir string, o NATSOptions) (*Migrated, error) {
	m, err := toNATS(ctx, dir, o.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("outbox: migrate: %w", err)
	}
	return m, nil
}

func toNATS(ctx context.Context, dir string, o NATSOptions) (*Migrated, error) {
	path := filepath.Join(dir, dbName)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("%w (name the data folder of a stopped gateway)", err)
	}
	from, shelf, err := openFolder(dir, path)
	if err != nil {
		return nil, err
	}
	defer from.close()
	stage, err := os.MkdirTemp(dir, dbStage)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(stage)
	o.Dir = stage
	b, files, err := beginEmpty(ctx, &o)
	if err != nil {
		return nil, err
	}
	defer b.nc.Close()
	defer b.cancel()
	m := &Migrated{}
	copied := filepath.Join(stage, "copy.db")
	if err := copyTables(ctx, from, copied); err != nil {
		return nil, err
	}
	if err := m.sendFiles(ctx, copied, shelf, files); err != nil {
		return nil, err
	}
	if err := sendCopy(ctx, files.copies, copied); err != nil {
		return nil, err
	}
	if err := m.readBack(ctx, o, from); err != nil {
		return nil, err
	}
	return m, errors.Join(os.Rename(path, filepath.Join(dir, movedName)), syncDir(dir))
}

// beginEmpty makes the stream and the buckets of a shared store, and refuses those
// that hold something.
func beginEmpty(ctx context.Context, o *NATSOptions) (*replicated, *objects, error) {
	nc, err := connect(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	b := newReplicated(*o, nc)
	files, err := b.connectTo(ctx)
	if err == nil {
		err = b.refuseUsed(ctx, files)
	}
	if err != nil {
		b.cancel()
		nc.Close()
		return nil, nil, err
	}
	return b, files, nil
}

func (b *replicated) refuseUsed(ctx context.Context, o *objects) error {
	last, err := b.stream.GetLastMsgForSubject(ctx, b.o.logSubject())
	if err == nil {
		return fmt.Errorf("the stream %s holds a store already: its log ends at batch %d (name another stream, or remove that one and its buckets)", b.o.Stream, last.Sequence)
	}
	if !errors.Is(err, jetstream.ErrMsgNotFound) {
		return err
	}
	there, err := hasCopy(ctx, o.copies)
	if there {
		err = fmt.Errorf("the stream %s holds a store already: there is a copy of its replica (name another stream, or remove that one and its buckets)", b.o.Stream)
	}
	return err
}

// copyTables writes a database as it is, once every value of it was checked.
func copyTables(ctx context.Context, from *bolt, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = from.view(func(r reader) error {
		if _, _, err := checkTables(r.(*boltTx)); err != nil {
			return err
		}
		_, err := r.(*boltTx).tx.WriteTo(&patientWriter{ctx, f})
		return err
	})
	return errors.Join(err, f.Close())
}

// sendFiles takes the attachments along, and writes into the copy where each lies.
func (m *Migrated) sendFiles(ctx context.Context, path string, from shelf, to *objects) error {
	kv, err := openFile(path)
	if err != nil {
		return err
	}
	err = kv.update(func(w writer) error {
		if err := forgetLog(w.(*boltTx)); err != nil { // where the folder's database is a replica that was saved
			return err
		}
		refs, err := referred(w)
		if err != nil {
			return err
		}
		for sum, f := range refs {
			if f.Object, err = m.sendFile(ctx, sum, from, to); err != nil {
				return err
			}
			save(w, fileBucket, []byte(sum), f)
		}
		return nil
	}, func() {})
	return errors.Join(err, kv.close())
}

// sendFile takes one along; one that is lost stays lost.
func (m *Migrated) sendFile(ctx context.Context, sum string, from shelf, to shelf) (object string, err error) {
	in, err := from.open(sum, "")
	if errors.Is(err, passerelle.ErrNotFound) {
		m.Missing = append(m.Missing, sum)
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer in.Close()
	st, err := to.stage(ctx, in)
	if err != nil {
		return "", err
	}
	if st.sum() != sum {
		return "", fmt.Errorf("file %s is damaged: its bytes are those of %s (%s)", sum, st.sum(), restoreHint)
	}
	if err := st.keep(); err != nil {
		return "", err
	}
	m.Files++
	m.Bytes += st.size()
	return st.object(), nil
}

// readBack opens the shared store as a new gateway would, and compares all of it.
func (m *Migrated) readBack(ctx context.Context, o NATSOptions, with *bolt) error {
	o.Dir = filepath.Join(o.Dir, "back")
	b, shelf, err := openReplicated(ctx, o)
	if err != nil {
		return fmt.Errorf("reading back: %w", err)
	}
	err = m.compare(ctx, with, b.replica, shelf)
	return errors.Join(err, b.close())
}

// compare compares the tables of two stores row by row, and reads the attachments
// of the second.
func (m *Migrated) compare(ctx context.Context, a, b *bolt, shelf shelf) error {
	return a.view(func(ra reader) error {
		return b.view(func(rb reader) error {
			for _, table := range buckets() {
				if table == leadBucket {
					continue
				}
				n, err := sameTable(ra, rb, table)
				if err != nil {
					return err
				}
				m.count(table, n)
			}
			refs, err := referred(rb)
			if err != nil {
				return err
			}
			for sum, f := range refs {
				if slices.Contains(m.Missing, sum) {
					continue
				}
				if err := sameFile(ctx, shelf, sum, f.Object); err != nil {
					return err
				}
			}
			return cmp.Or(ra.err(), rb.err())
		})
	})
}

func (m *Migrated) count(table bucket, rows int) {
	m.Rows += rows
	switch table {
	case linkBucket:
		m.Pairs = rows
	case entryBucket:
		m.Events = rows
	}
}

// sameTable compares a table in both directions, and counts its rows.
func sameTable(a, b reader, table bucket) (rows int, err error) {
	for k, v := range a.scan(table, nil, nil) {
		if ownRow(table, k) {
			continue
		}
		if !bytes.Equal(comparable(table, k, v), comparable(table, k, b.get(table, k))) {
			return 0, fmt.Errorf("reading back: the row %q of the table %s is another there (try again; report it if it stays)", k, table)
		}
		rows++
	}
	there := 0
	for k := range b.scan(table, nil, nil) {
		if !ownRow(table, k) {
			there++
		}
	}
	if there != rows {
		return 0, fmt.Errorf("reading back: the table %s has %d rows there, and %d here (try again; report it if it stays)", table, there, rows)
	}
	return rows, cmp.Or(a.err(), b.err())
}

// ownRow tells the rows that say of a replica what it is, not what it holds.
func ownRow(table bucket, key []byte) bool {
	return table == metaBucket && (string(key) == positionKey || string(key) == storeKey)
}

// comparable is a value without what differs between shelves.
func comparable(table bucket, key, value []byte) []byte {
	if table != fileBucket {
		return value
	}
	f, err := decode[fileRefs](table, key, value)
	if err != nil {
		return nil
	}
	return fmt.Append(nil, f.Refs, f.Size)
}

func sameFile(ctx context.Context, shelf shelf, sum, object string) error {
	r, err := shelf.open(sum, object)
	if err != nil {
		return fmt.Errorf("reading back: file %s: %w", sum, err)
	}
	defer r.Close()
	n, err := scale{}.stage(ctx, r)
	if err == nil && n.sum() != sum {
		err = errDamaged
	}
	if err != nil {
		return fmt.Errorf("reading back: file %s: %w", sum, err)
	}
	return nil
}

// FromNATS takes a shared store, whose gateways are all stopped, into a folder that
// is empty or not there yet, and reads all of it back. The streams stay as they are;
// remove them before a gateway is started on them by mistake.
func FromNATS(ctx context.Context, o NATSOptions, dir string) (*Migrated, error) {
	m, err := fromNATS(ctx, o.withDefaults(), dir)
	if err != nil {
		return nil, fmt.Errorf("outbox: migrate: %w", err)
	}
	return m, nil
}

func fromNATS(ctx context.Context, o NATSOptions, dir string) (m *Migrated, err error) {
	site, err := claim(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, site.abandon())
		}
	}()
	if site.files, err = newFolder(filepath.Join(dir, fileDir)); err != nil {
		return nil, err
	}
	stage, err := os.MkdirTemp("", "passerelle-migrate-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(stage)
	o.Dir = stage
	b, shelf, err := openReplicated(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.alone(ctx); err != nil {
		return nil, err
	}
	m = &Migrated{}
	kv, err := m.takeTables(ctx, b, shelf, site)
	if err != nil {
		return nil, err
	}
	err = m.compare(ctx, b.replica, kv, site.files)
	if err = errors.Join(err, kv.close()); err != nil {
		return nil, err
	}
	return m, site.finish()
}

// alone refuses while another gateway is connected to the stream.
func (b *replicated) alone(ctx context.Context) error {
	info, err := b.stream.Info(ctx)
	if err == nil && info.State.Consumers > 1 {
		err = fmt.Errorf("%d other gateways read the stream %s (stop them all; one that was killed is forgotten after %v)", info.State.Consumers-1, b.o.Stream, forgetAfter)
	}
	return err
}

// takeTables writes the tables and the attachments into the site.
func (m *Migrated) takeTables(ctx context.Context, b *replicated, from *objects, site *site) (*bolt, error) {
	if err := os.Remove(site.path); err != nil { // the mark: the copy takes its place
		return nil, err
	}
	if err := copyTables(ctx, b.replica, site.path); err != nil {
		return nil, err
	}
	kv, err := openFile(site.path)
	if err != nil {
		return nil, err
	}
	err = kv.update(func(w writer) error {
		if err := forgetLog(w.(*boltTx)); err != nil {
			return err
		}
		refs, err := referred(w)
		if err != nil {
			return err
		}
		for sum, f := range refs {
			if err := m.takeFile(ctx, sum, f.Object, from, site.files); err != nil {
				return err
			}
			f.Object = ""
			save(w, fileBucket, []byte(sum), f)
		}
		return nil
	}, func() {})
	if err != nil {
		return nil, errors.Join(err, kv.close())
	}
	return kv, nil
}

func (m *Migrated) takeFile(ctx context.Context, sum, object string, from, to shelf) error {
	_, err := m.sendFile(ctx, sum, &named{from, object}, to)
	return err
}

// named is a shelf of which one file is wanted, by its object.
type named struct {
	shelf
	object string
}

func (n *named) open(sum, _ string) (io.ReadCloser, error) { return n.shelf.open(sum, n.object) }

// forgetLog takes out of tables what belongs to a log, and to those who shared it.
func forgetLog(t *boltTx) error {
	for _, k := range []string{positionKey, storeKey} {
		t.del(metaBucket, []byte(k))
	}
	return t.empty(leadBucket)
}

// empty removes all rows of a table.
func (t *boltTx) empty(name bucket) error {
	if err := t.tx.DeleteBucket([]byte(name)); err != nil && !errors.Is(err, berrors.ErrBucketNotFound) {
		return err
	}
	return t.ensure(name)
}

// forgetAfter is how long the servers remember a gateway that reads the log and was
// killed.
const forgetAfter = 15 * time.Second
