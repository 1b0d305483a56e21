package outbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	// restoreName is the database until all is well. While it is there the folder
	// is no store.
	restoreName  = "outbox.restoring"
	restoreAgain = "empty the folder, and restore again"
)

// RestoredKey is where a store that was restored keeps its Restored, in JSON.
const RestoredKey = "restored"

// RestoreOptions are what Restore is told. Zero fields take the defaults.
type RestoreOptions struct {
	// Skip is how many own numbers may have been given since the backup. They are
	// not given again, except to a link that asks for its own back (Change.Link).
	// Default 10000. A thousand times as many entry ids are skipped.
	Skip     uint64
	Progress func(done int64) // bytes read so far
	Now      time.Time        // default: now
}

const (
	defaultSkip = 10000
	mostSkip    = 1 << 40
	// entriesPerLink is how many entry ids are skipped with each own number.
	entriesPerLink = 1000
)

// Restored tells what was restored.
type Restored struct {
	Backup    time.Time `json:"backup"`    // when it was made; what came later is forgotten
	At        time.Time `json:"at"`        // when it was restored
	Links     uint64    `json:"links"`     // the last own number that the backup knows
	Entries   uint64    `json:"entries"`   // the last entry id that the backup knows
	Pairs     int       `json:"pairs"`     // how many links there are
	Events    int       `json:"events"`    // how many entries there are
	Skip      uint64    `json:"skip"`      // own numbers skipped: the next is Links + Skip + 1
	Unsettled int       `json:"unsettled"` // entries that were not final: they are Restored
	Files     int       `json:"files"`
	Missing   []string  `json:"missing,omitempty"` // files that were lost before the backup
}

// Restore unpacks a backup into a folder that is empty or not there yet, and
// leaves a store that OpenBolt opens. Every byte is checked first. It refuses a
// backup that is damaged or incomplete, and then leaves the folder as it was;
// where it is interrupted itself, nothing opens what it leaves.
//
// What was not final when the backup was made may have been sent since: each such
// entry is Restored, and will be asked about before it is tried.
func Restore(r io.Reader, dir string, o RestoreOptions) (*Restored, error) {
	restored, err := restore(r, dir, o)
	if err != nil {
		return nil, fmt.Errorf("outbox: restore: %w", err)
	}
	return restored, nil
}

func restore(r io.Reader, dir string, o RestoreOptions) (*Restored, error) {
	o.Skip = cmp.Or(o.Skip, defaultSkip)
	if o.Skip > mostSkip {
		return nil, fmt.Errorf("%d numbers to skip (at most %d)", o.Skip, uint64(mostSkip))
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	site, err := claim(dir)
	if err != nil {
		return nil, err
	}
	restored, err := site.fill(r, o)
	if err != nil {
		return nil, errors.Join(err, site.abandon())
	}
	return restored, site.finish()
}

// site is a folder where a store is being restored.
type site struct {
	dir   string
	made  bool   // by us
	path  string // of the database until the end
	files *folder
}

// claim takes an empty folder. From then on, and after a power cut, it is neither
// empty nor a store.
func claim(dir string) (*site, error) {
	s := &site{dir: dir, path: filepath.Join(dir, restoreName)}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		s.made = true
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := refuseFull(dir); err != nil {
		return nil, err
	}
	mark, err := os.OpenFile(s.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(mark.Close(), syncDir(dir), syncDir(filepath.Dir(filepath.Clean(dir)))); err != nil {
		return nil, errors.Join(err, s.abandon())
	}
	return s, nil
}

func refuseFull(dir string) error {
	there, err := os.ReadDir(dir)
	if err != nil || len(there) == 0 {
		return err
	}
	if slices.ContainsFunc(there, func(e fs.DirEntry) bool { return e.Name() == restoreName }) {
		return fmt.Errorf("%s holds a restore that was interrupted, or still goes on (%s)", dir, restoreAgain)
	}
	if inUse(filepath.Join(dir, dbName)) {
		return fmt.Errorf("%s is in use: a gateway runs on it (stop that, then move the folder away and keep it until the restored one runs; or name another)", dir)
	}
	return fmt.Errorf("%s is not empty: it holds %s (name an empty folder, or one that is not there yet; or move this one away, and keep it until the restored one runs)", dir, there[0].Name())
}

// inUse tells whether a process has a database open.
func inUse(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close() // this gives back the lock
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// abandon takes back what was unpacked, and last the mark that makes it no store.
func (s *site) abandon() error {
	err := errors.Join(os.RemoveAll(filepath.Join(s.dir, fileDir)), os.Remove(s.path))
	if err == nil && s.made {
		err = os.Remove(s.dir)
	}
	return err
}

// finish makes the folder a store.
func (s *site) finish() error {
	if err := os.Rename(s.path, filepath.Join(s.dir, dbName)); err != nil {
		return err
	}
	return syncDir(s.dir)
}

func (s *site) fill(r io.Reader, o RestoreOptions) (*Restored, error) {
	var err error
	if s.files, err = newFolder(filepath.Join(s.dir, fileDir)); err != nil {
		return nil, err
	}
	p := newParcel(&counted{r: r, tell: o.Progress}, s)
	if err := p.unpack(); err != nil {
		return nil, err
	}
	return s.mend(p, o)
}

// counted tells how much was read.
type counted struct {
	r    io.Reader
	n    int64
	tell func(int64)
}

// Read implements io.Reader.
func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	if c.tell != nil && n > 0 {
		c.tell(c.n)
	}
	return n, err
}

// stage implements keeper.
func (s *site) stage(ctx context.Context, r io.Reader) (staged, error) { return s.files.stage(ctx, r) }

// database implements keeper.
func (s *site) database(r io.Reader) error {
	f, err := os.OpenFile(s.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// mend opens the unpacked database, checks all of it, and makes it one that has
// been away: in one commit, and before it has its name.
func (s *site) mend(p *parcel, o RestoreOptions) (*Restored, error) {
	kv, err := openFile(s.path)
	if err != nil {
		return nil, err
	}
	restored := &Restored{
		Backup: p.head.Made, At: o.Now.UTC().Round(0), Skip: o.Skip,
		Links: p.head.Links, Entries: p.head.Entries, Pairs: p.head.Pairs, Events: p.head.Events,
		Files: p.head.Files, Missing: p.head.Missing,
	}
	err = kv.view(p.check)
	if err == nil {
		err = kv.update(func(w writer) error { return (&tx{writer: w, now: restored.At}).comeBack(restored) }, func() {})
	}
	return restored, errors.Join(err, kv.close())
}

// comeBack marks what was not final, skips the numbers that may have been given
// since, and notes that it was done.
func (t *tx) comeBack(restored *Restored) error {
	for _, id := range unsettled(t) {
		if err := t.comeBackTo(id); err != nil {
			return err
		}
		restored.Unsettled++
	}
	t.skip(ownCounter, restored.Skip)
	t.skip(entryCounter, restored.Skip*entriesPerLink)
	raw, err := json.Marshal(restored)
	if err != nil {
		return err
	}
	t.put(keptBucket, []byte(RestoredKey), raw)
	return nil
}

func (t *tx) comeBackTo(id uint64) error {
	r, err := readRecord(t, id)
	if err != nil {
		return err
	}
	old := r.Status
	if r.Status == Lent {
		r.Status = Waiting
	}
	r.Probe, r.Restored = true, true
	t.saveRecord(r, old)
	return nil
}

// skip lets a counter go on as if it had given n numbers more.
func (t *tx) skip(counter string, n uint64) {
	t.put(metaBucket, []byte(counter), numberKey(lastGiven(t, counter)+n))
}

// unsettled lists the entries that are not final.
func unsettled(r reader) []uint64 {
	var ids []uint64
	for k := range r.scan(queueBucket, nil, nil) {
		ids = append(ids, number(k[1:]))
	}
	return ids
}
