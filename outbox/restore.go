package outbox

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// restoreName is the database until all is well. While it is there the folder
	// is no store.
	restoreName  = "outbox.restoring"
	restoreAgain = "empty the folder, and restore again"
	// longestNote bounds what is read of backup.json, in bytes: it lists what is
	// missing.
	longestNote = 64 << 20
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
	have  map[string]bool // attachments unpacked, by sum
	head  backupHead
}

// claim takes an empty folder. From then on, and after a power cut, it is neither
// empty nor a store.
func claim(dir string) (*site, error) {
	s := &site{dir: dir, path: filepath.Join(dir, restoreName), have: map[string]bool{}}
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
	return fmt.Errorf("%s is not empty: it holds %s (name an empty folder, or one that is not there yet)", dir, there[0].Name())
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
	if err := s.unpack(&unpacker{tar: tar.NewReader(&counted{r: r, tell: o.Progress})}); err != nil {
		return nil, err
	}
	return s.mend(o)
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

// unpack reads the stream to its end, and checks all that it says of itself.
func (s *site) unpack(u *unpacker) error {
	raw, err := s.unpackHead(u)
	if err != nil {
		return err
	}
	if err := s.unpackFiles(u); err != nil {
		return err
	}
	sum, err := s.unpackDB(u)
	if err != nil {
		return err
	}
	end, err := u.readEnd()
	if err != nil {
		return err
	}
	if end.Head != sumOf(raw) {
		return damaged(headName)
	}
	if end.DB != sum {
		return damaged(dbName)
	}
	if len(s.have) != s.head.Files {
		return fmt.Errorf("the backup holds %d files and says %d: it is damaged (use another)", len(s.have), s.head.Files)
	}
	return nil
}

func damaged(part string) error {
	return fmt.Errorf("the backup's %s is damaged (use another backup)", part)
}

func (s *site) unpackHead(u *unpacker) (raw []byte, err error) {
	if raw, err = u.note(headName, &s.head); err != nil {
		return nil, err
	}
	if s.head.Format != backupFormat {
		return nil, fmt.Errorf("a backup of format %d, this program knows %d (use the program that made it, or a newer one)", s.head.Format, backupFormat)
	}
	return raw, nil
}

// unpackFiles reads on until the database comes.
func (s *site) unpackFiles(u *unpacker) error {
	for {
		name, err := u.next(dbName)
		if err != nil || name == dbName {
			return err
		}
		if err := s.unpackFile(u, name); err != nil {
			return err
		}
	}
}

func (s *site) unpackFile(u *unpacker, name string) error {
	sum, ok := strings.CutPrefix(name, fileDir+"/")
	if !ok || !isSum(sum) || s.have[sum] {
		return unexpected(name, "files/<sum>, each once, or "+dbName)
	}
	st, err := s.files.stage(context.Background(), u)
	if err != nil {
		return u.explain(name, err)
	}
	if st.sum() != sum {
		return damaged(name)
	}
	s.have[sum] = true
	return st.keep()
}

func (s *site) unpackDB(u *unpacker) (sum string, err error) {
	f, err := os.OpenFile(s.path, os.O_WRONLY, 0)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, hash), u)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", u.explain(dbName, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// unpacker reads the parts of a tar stream.
type unpacker struct{ tar *tar.Reader }

// Read implements io.Reader, for one part.
func (u *unpacker) Read(b []byte) (int, error) { return u.tar.Read(b) }

// next begins the next part; wanted is what must still come.
func (u *unpacker) next(wanted string) (name string, err error) {
	h, err := u.tar.Next()
	if err != nil {
		return "", u.explain(wanted, err)
	}
	if h.Typeflag != tar.TypeReg {
		return "", unexpected(h.Name, wanted)
	}
	return h.Name, nil
}

func unexpected(name, wanted string) error {
	return fmt.Errorf("the backup holds %.80q where %s should be: it is no backup of ours, or damaged (use another backup)", name, wanted)
}

// explain says what an error means at a part of the stream.
func (u *unpacker) explain(part string, err error) error {
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the backup is incomplete: it ends before the end of %s (copy it again, or use another backup)", part)
	case errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong):
		return fmt.Errorf("before %s comes what is no tar: it is no backup of ours, or damaged (give the tar itself, not packed; or use another backup)", part)
	}
	return fmt.Errorf("%s: %w", part, err)
}

// note reads a small part in JSON.
func (u *unpacker) note(name string, into any) (raw []byte, err error) {
	switch is, err := u.next(name); {
	case err != nil:
		return nil, err
	case is != name:
		return nil, unexpected(is, name)
	}
	raw, err = io.ReadAll(io.LimitReader(u, longestNote))
	if err != nil {
		return nil, u.explain(name, err)
	}
	if json.Unmarshal(raw, into) != nil {
		return nil, damaged(name)
	}
	return raw, nil
}

// readEnd reads end.json, and that nothing comes after it.
func (u *unpacker) readEnd() (*backupEnd, error) {
	end := &backupEnd{}
	if _, err := u.note(endName, end); err != nil {
		return nil, err
	}
	h, err := u.tar.Next()
	if err == nil {
		return nil, unexpected(h.Name, "the end")
	}
	if err != io.EOF {
		return nil, u.explain("the end", err)
	}
	return end, nil
}

// mend opens the unpacked database, checks all of it, and makes it one that has
// been away: in one commit, and before it has its name.
func (s *site) mend(o RestoreOptions) (*Restored, error) {
	kv, err := openFile(s.path)
	if err != nil {
		return nil, err
	}
	restored := &Restored{
		Backup: s.head.Made, At: o.Now.UTC().Round(0), Skip: o.Skip,
		Links: s.head.Links, Entries: s.head.Entries, Files: s.head.Files, Missing: s.head.Missing,
	}
	err = kv.view(s.check)
	if err == nil {
		err = kv.update(func(w writer) error { return (&tx{writer: w, now: restored.At}).comeBack(restored) })
	}
	return restored, errors.Join(err, kv.close())
}

// check compares the database with itself and with the rest of the backup.
func (s *site) check(r reader) error {
	if err := checkTables(r.(*boltTx)); err != nil {
		return err
	}
	if lastGiven(r, ownCounter) != s.head.Links || lastGiven(r, entryCounter) != s.head.Entries {
		return damaged(headName)
	}
	refs, err := referred(r)
	if err != nil {
		return err
	}
	for sum := range refs {
		if !s.have[sum] && !slices.Contains(s.head.Missing, sum) {
			return fmt.Errorf("the backup lacks file %s: it is damaged (use another backup)", sum)
		}
	}
	return nil
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
