package outbox

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"passerelle"

	"go.etcd.io/bbolt"
)

// A backup is a tar stream: backup.json, the attachments as files/<sum>,
// outbox.db, end.json, in this order. The end seals the rest; a stream without it
// was cut short.
const (
	backupFormat = 1
	headName     = "backup.json"
	endName      = "end.json"
)

// BackupReport tells what a backup holds.
type BackupReport struct {
	Made    time.Time `json:"made"`    // a moment before the one that it shows
	Links   uint64    `json:"links"`   // the last own number that was given
	Entries uint64    `json:"entries"` // the last entry id that was given
	Pairs   int       `json:"pairs"`   // how many links there are
	Events  int       `json:"events"`  // how many entries there are, each with its event
	Files   int       `json:"files"`
	Bytes   int64     `json:"bytes"` // of the files and the database
	// Missing are the sums of attachments that entries wait for and the disk has
	// lost: they are not there, or not what they were.
	Missing []string `json:"missing,omitempty"`
}

// backupHead is backup.json.
type backupHead struct {
	Format int    `json:"format"`
	Schema uint64 `json:"schema"`
	BackupReport
}

// backupEnd is end.json: the SHA-256 of the database and of backup.json. Each
// attachment has its own as its name.
type backupEnd struct {
	DB   string `json:"sha256"`
	Head string `json:"head"`
}

// Backup implements Store.
func (s *engine) Backup(ctx context.Context, w io.Writer, progress func(done, total int64)) (*BackupReport, error) {
	report, err := s.backup(ctx, w, progress)
	return report, wrap("backup", err)
}

func (s *engine) backup(ctx context.Context, w io.Writer, progress func(done, total int64)) (*BackupReport, error) {
	kv := s.kv.copied()
	if kv == nil {
		return nil, errors.New("this store lies in memory (only one on disk can be backed up)")
	}
	snap := &snapshot{spool: s.files, kv: kv}
	defer snap.end()
	// What another gateway acknowledged, our copy may not have heard of yet.
	if err := s.view(ctx, "read", func(reader) error { return nil }); err != nil {
		return nil, err
	}
	if err := snap.take(ctx); err != nil {
		return nil, err
	}
	if err := snap.inspect(ctx); err != nil {
		return nil, err
	}
	if err := snap.write(newPacker(ctx, w, snap.head.Made, snap.head.Bytes, progress)); err != nil {
		return nil, err
	}
	return &snap.head.BackupReport, nil
}

// snapshot is the store as it was at one moment: a copy of the database, and the
// attachments that it refers to, pinned.
type snapshot struct {
	spool  *spool
	kv     *bolt
	db     *os.File // the copy; it has no name any more
	pinned []passerelle.File
	head   backupHead
	files  []passerelle.File // those of the pinned that can be copied
}

func (p *snapshot) end() {
	p.spool.Release(p.pinned...)
	if p.db != nil {
		_ = p.db.Close() // only read by now
	}
}

// take copies the database, pins the attachments, and looks whether the copy is
// good: of a damaged one we shall rather hear today.
func (p *snapshot) take(ctx context.Context) error {
	stage, err := os.CreateTemp(filepath.Dir(p.kv.path), dbStage)
	if err != nil {
		return err
	}
	p.db = stage
	defer os.Remove(stage.Name())
	if err := p.freeze(ctx); err != nil {
		return err
	}
	p.head.Pairs, p.head.Events, err = p.kv.checkCopy(stage.Name())
	return err
}

// freeze reads one moment of the database. Its transaction lasts as long as a
// copy on disk takes, whoever reads the backup: while it lasts bbolt can neither
// use old pages again nor map the file anew.
//
// No attachment goes between that moment and its pin: nothing is removed while the
// spool stands still, which is since before the transaction began, and what had
// been removed by then had no reference on disk any more.
func (p *snapshot) freeze(ctx context.Context) error {
	move := p.spool.still()
	defer move()
	p.head.Made = time.Now().UTC().Round(0)
	return p.kv.view(func(r reader) error {
		if err := cmp.Or(p.read(r), r.err()); err != nil {
			return err
		}
		move()
		t := r.(*boltTx).tx
		if err := room(p.kv.path, t.Size()); err != nil {
			return err
		}
		n, err := t.WriteTo(&patientWriter{ctx, p.db})
		p.head.Bytes = n
		return err
	})
}

// read notes what the database says, and pins the attachments. The spool stands
// still.
func (p *snapshot) read(r reader) error {
	p.head.Format, p.head.Schema = backupFormat, schema
	p.head.Links, p.head.Entries = lastGiven(r, ownCounter), lastGiven(r, entryCounter)
	refs, err := referred(r)
	if err != nil {
		return err
	}
	for _, sum := range slices.Sorted(maps.Keys(refs)) {
		p.spool.pins[sum] = pin{p.spool.pins[sum].n + 1, cmp.Or(p.spool.pins[sum].object, refs[sum].Object)}
		p.pinned = append(p.pinned, passerelle.File{Sum: sum})
	}
	return nil
}

// spareRoom is what a copy of the database must leave free on the disk, in bytes:
// changes go on, and must not find it full.
const spareRoom = 64 << 20

func room(path string, need int64) error {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(path, &disk); err != nil || disk.Blocks == 0 {
		return err // no blocks: a file system that does not tell
	}
	if free := int64(disk.Bavail) * disk.Bsize; free-spareRoom < need {
		return fmt.Errorf("%s: a copy beside it needs %d bytes, and %d more left free, where %d are free (make room)", path, need, spareRoom, free)
	}
	return nil
}

// patientWriter writes until its context ends.
type patientWriter struct {
	ctx context.Context
	w   io.Writer
}

// Write implements io.Writer.
func (p *patientWriter) Write(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.w.Write(b)
}

// checkCopy reads all of a copy of the database, and counts.
func (b *bolt) checkCopy(path string) (links, entries int, err error) {
	err = b.shielded(func() error {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockWait})
		if err != nil {
			return explain(b.path, err)
		}
		err = db.View(func(tx *bbolt.Tx) (err error) {
			links, entries, err = checkTables(&boltTx{tx: tx, store: b})
			return err
		})
		return errors.Join(err, db.Close())
	})
	return links, entries, err
}

// checkTables reads every value, and so each one's checksum. bbolt does not seal
// its pages: that rows are gone can show in the tables that go together.
func checkTables(t *boltTx) (links, entries int, err error) {
	rows := map[bucket]int{}
	for _, b := range buckets() {
		for range t.scan(b, nil, nil) {
			rows[b]++
		}
	}
	if rows[entryBucket] != rows[eventBucket] {
		t.fail(fmt.Errorf("%d entries have %d events: it is damaged (%s)", rows[entryBucket], rows[eventBucket], restoreHint))
	}
	return rows[linkBucket], rows[entryBucket], t.err()
}

// inspect reads each attachment once before the first byte is written, so that
// the head can tell which are lost, and the backup restores without them.
func (p *snapshot) inspect(ctx context.Context) error {
	for _, f := range p.pinned {
		size, err := p.measure(ctx, f.Sum)
		switch {
		case err == nil:
			p.files = append(p.files, passerelle.File{Sum: f.Sum, Size: size})
			p.head.Bytes += size
		case errors.Is(err, passerelle.ErrNotFound) || errors.Is(err, errDamaged):
			p.head.Missing = append(p.head.Missing, f.Sum)
		default:
			return err
		}
	}
	p.head.Files = len(p.files)
	return nil
}

var errDamaged = errors.New("it is not what it was")

// measure reads an attachment, and tells how long it is.
func (p *snapshot) measure(ctx context.Context, sum string) (int64, error) {
	from, err := p.spool.Open(sum)
	if err != nil {
		return 0, err
	}
	defer from.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, &patient{ctx, from})
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err != nil && !errors.Is(err, syscall.EIO) { // not the disk's: it may be there, and unreadable just now
		return 0, fmt.Errorf("file %s: %w", sum, err)
	}
	if err != nil || hex.EncodeToString(hash.Sum(nil)) != sum {
		return 0, errDamaged
	}
	return n, nil
}

// write makes the stream.
func (p *snapshot) write(k *packer) error {
	head, err := k.note(headName, p.head)
	if err != nil {
		return err
	}
	for _, f := range p.files {
		if err := p.writeFile(k, f); err != nil {
			return err
		}
	}
	size, err := p.db.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	sum, err := k.add(dbName, size, io.NewSectionReader(p.db, 0, size))
	if err != nil {
		return err
	}
	if _, err := k.note(endName, backupEnd{DB: sum, Head: head}); err != nil {
		return err
	}
	return k.tar.Close()
}

func (p *snapshot) writeFile(k *packer, f passerelle.File) error {
	from, err := p.spool.Open(f.Sum)
	if err != nil {
		return err
	}
	defer from.Close()
	sum, err := k.add(fileDir+"/"+f.Sum, f.Size, from)
	if err == nil && sum != f.Sum {
		err = fmt.Errorf("file %s changed while it was copied (make another backup)", f.Sum)
	}
	return err
}

// packer writes a tar stream.
type packer struct {
	ctx         context.Context
	tar         *tar.Writer
	made        time.Time
	done, total int64
	progress    func(done, total int64)
}

func newPacker(ctx context.Context, w io.Writer, made time.Time, total int64, progress func(done, total int64)) *packer {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	return &packer{ctx: ctx, tar: tar.NewWriter(w), made: made, total: total, progress: progress}
}

// add copies one part, and returns its SHA-256.
func (k *packer) add(name string, size int64, from io.Reader) (sum string, err error) {
	if err := k.header(name, size); err != nil {
		return "", err
	}
	hash := sha256.New()
	if _, err := io.Copy(io.MultiWriter(k.tar, hash, k), &patient{k.ctx, from}); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func (k *packer) header(name string, size int64) error {
	return k.tar.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o600, ModTime: k.made})
}

// Write counts what the tar stream has taken.
func (k *packer) Write(b []byte) (int, error) {
	k.done += int64(len(b))
	k.progress(k.done, k.total)
	return len(b), nil
}

// note writes a small part in JSON, and returns its SHA-256.
func (k *packer) note(name string, v any) (sum string, err error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	if err := k.header(name, int64(len(raw))); err != nil {
		return "", err
	}
	_, err = io.Copy(k.tar, bytes.NewReader(raw))
	return sumOf(raw), err
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
