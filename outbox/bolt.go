package outbox

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"iter"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// sealSize is the length of the checksum before each value, in bytes. bbolt
// itself checks its two head pages only.
const sealSize = 4

// bolt is a backend in one bbolt file.
type bolt struct {
	db       *bbolt.DB
	path     string
	pageSize int // bytes; bbolt reads it in the mapped file, which a commit may move meanwhile
	polys    *crc32.Table

	file    os.FileInfo  // as it was opened
	reading sync.RWMutex // held by each view: scrub waits until there is none

	mu     sync.Mutex
	moved  *sync.Cond // synced or broken changed
	synced int        // the last transaction known to be on disk
	broken error      // set by a commit of unknown outcome
	full   error      // why the last commit wrote nothing; nil if it did
}

func newBolt(db *bbolt.DB, path string) *bolt {
	b := &bolt{db: db, path: path, pageSize: db.Info().PageSize, polys: crc32.MakeTable(crc32.Castagnoli)}
	b.moved = sync.NewCond(&b.mu)
	return b
}

func (b *bolt) close() error { return b.db.Close() }

func (b *bolt) copied() *bolt { return b }
func (b *bolt) hurry()        {}

// view waits, where it saw a commit that is still being synced, for the end of
// that: bbolt shows a head page that a power cut could take back, and what we
// answer from it is an acknowledgement too. For the same reason it reads nothing
// from a file that is not where it was.
func (b *bolt) view(fn func(reader) error) error {
	saw := 0
	err := b.shielded(func() error {
		b.reading.RLock()
		defer b.reading.RUnlock()
		return b.db.View(func(tx *bbolt.Tx) error {
			saw = tx.ID()
			return fn(&boltTx{tx: tx, store: b})
		})
	})
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return cmp.Or(b.await(saw), b.here(), err)
}

// await returns when a transaction is on disk, or an error when nobody knows.
func (b *bolt) await(tx int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.synced < tx && b.broken == nil {
		b.moved.Wait()
	}
	return b.broken
}

// settled records how a commit ended.
func (b *bolt) settled(tx int, broken error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.synced, b.broken, b.full = max(b.synced, tx), broken, nil
	b.moved.Broadcast()
}

// ready tells why nothing can be stored, as far as is known without trying.
func (b *bolt) ready() error {
	if err := cmp.Or(b.await(0), b.here()); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.full
}

func (b *bolt) doubtful() bool { return b.await(0) != nil }

// here tells whether the file that is open is the one that a restart would
// open: one that was moved or removed takes writes as ever, and they are lost.
func (b *bolt) here() error {
	now, err := os.Stat(b.path)
	if err == nil && os.SameFile(b.file, now) {
		return nil
	}
	if err == nil {
		err = errors.New("another file lies there")
	}
	return fmt.Errorf("%s is not where it was: nothing is accepted or sent: %w (put the folder back, and it goes on; do not restart before)", b.path, err)
}

// update commits what fn writes. bbolt syncs the pages, then the head page that
// makes them count, and returns only then.
func (b *bolt) update(fn func(writer) error, committed func()) error {
	if err := cmp.Or(b.await(0), b.here()); err != nil {
		return err
	}
	var ours error
	var id int
	committing := false
	err := b.shielded(func() error {
		return b.db.Update(func(tx *bbolt.Tx) error {
			t := &boltTx{tx: tx, store: b}
			id = tx.ID()
			if ours = fn(t); ours == nil {
				ours = t.err()
			}
			committing = ours == nil
			return ours
		})
	})
	switch {
	case err == nil:
		b.settled(id, nil)
		committed()
	case committing:
		err = b.failed(err)
	}
	return err
}

// failed tells what a failed commit means. A full disk was told by write(2) and
// nothing happened. After any other error nobody knows what the disk holds: a
// second sync may succeed without having written what the first one lost.
func (b *bolt) failed(err error) error {
	if isFull(err) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.full = fmt.Errorf("%s: nothing written: %w (make room)", b.path, err)
		return b.full
	}
	err = fmt.Errorf("%s: closed to reading and writing after: %w (check the disk, then restart: what was acknowledged is safe)", b.path, err)
	b.settled(0, err)
	return err
}

// isFull knows a full disk when a page is written, and when the file is made
// longer before that: of the latter bbolt leaves the words only.
func isFull(err error) bool {
	var p *fs.PathError
	write := errors.As(err, &p) && p.Op == "write"
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		longer := strings.HasPrefix(err.Error(), "file resize error") && strings.HasSuffix(err.Error(), full.Error())
		if longer || write && errors.Is(err, full) {
			return true
		}
	}
	return false
}

// shielded turns what bbolt does on a damaged file, a panic or a fault in the
// mapped memory, into an error.
func (b *bolt) shielded(fn func() error) error { return shielded(b.path, fn) }

func shielded(path string, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			if _, fault := p.(interface{ Addr() uintptr }); fault {
				p = "it is cut short, or its disk cannot be read"
			}
			err = fmt.Errorf("%s is damaged: %v (%s)", path, p, restoreHint)
		}
	}()
	return fn()
}

const restoreHint = "restore a backup into an empty folder: gateway restore; keep this folder until that runs"

// boltTx is a bbolt transaction with a checksum before each value.
type boltTx struct {
	tx    *bbolt.Tx
	store *bolt
	open  map[bucket]*bbolt.Bucket
	n     int
	wrong error // the first error; later reads and writes do nothing of use
}

func (t *boltTx) err() error  { return t.wrong }
func (t *boltTx) writes() int { return t.n }

func (t *boltTx) fail(err error) {
	if t.wrong == nil && err != nil {
		t.wrong = fmt.Errorf("%s: %w", t.store.path, err)
	}
}

func (t *boltTx) bucket(name bucket) *bbolt.Bucket {
	if b := t.open[name]; b != nil {
		return b
	}
	b := t.tx.Bucket([]byte(name))
	if b == nil {
		panic(fmt.Sprintf("table %s is missing", name))
	}
	switch name { // these grow at their end: fill their pages
	case entryBucket, eventBucket, linkBucket, keyBucket, nameBucket:
		b.FillPercent = 0.9
	}
	if t.open == nil {
		t.open = map[bucket]*bbolt.Bucket{}
	}
	t.open[name] = b
	return b
}

// ensure makes a table that is not there.
func (t *boltTx) ensure(name bucket) error {
	_, err := t.tx.CreateBucketIfNotExists([]byte(name))
	return err
}

func (t *boltTx) get(b bucket, key []byte) []byte {
	raw := t.bucket(b).Get(key)
	if raw == nil {
		return nil
	}
	return t.unseal(b, key, raw)
}

func (t *boltTx) put(b bucket, key, value []byte) {
	t.n++
	if b == eventBucket { // it is written again by a purge alone, and shorter: bbolt joins pages only where a key was deleted
		t.fail(t.bucket(b).Delete(key))
	}
	t.fail(t.bucket(b).Put(key, t.seal(key, value)))
}

func (t *boltTx) del(b bucket, key []byte) {
	t.n++
	t.fail(t.bucket(b).Delete(key))
}

func (t *boltTx) scan(b bucket, prefix, from []byte) iter.Seq2[[]byte, []byte] {
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	return func(yield func([]byte, []byte) bool) {
		c := t.bucket(b).Cursor()
		for k, raw := c.Seek(from); k != nil && bytes.HasPrefix(k, prefix); k, raw = c.Next() {
			v := t.unseal(b, k, raw)
			if v == nil || !yield(k, v) {
				return
			}
		}
	}
}

func (t *boltTx) seal(key, value []byte) []byte {
	sealed := make([]byte, sealSize, sealSize+len(value))
	sum := t.store.sum(key, value)
	sealed[0], sealed[1], sealed[2], sealed[3] = byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum)
	return append(sealed, value...)
}

// unseal returns the value, or nil and an error in the transaction.
func (t *boltTx) unseal(b bucket, key, raw []byte) []byte {
	if len(raw) >= sealSize {
		sum := uint32(raw[0])<<24 | uint32(raw[1])<<16 | uint32(raw[2])<<8 | uint32(raw[3])
		if sum == t.store.sum(key, raw[sealSize:]) {
			return raw[sealSize:]
		}
	}
	t.fail(fmt.Errorf("%s %.80q is damaged (%s)", b, key, restoreHint))
	return nil
}

func (b *bolt) sum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, b.polys), b.polys, value)
}

// size is the length of the file, in bytes; 0 where it is not there any more.
func (b *bolt) size() int64 {
	info, err := os.Stat(b.path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// unused is how many bytes of the file hold nothing, as of the last commit.
func (b *bolt) unused() int64 {
	s := b.db.Stats()
	return int64(s.FreePageN+s.PendingPageN) * int64(b.pageSize)
}
