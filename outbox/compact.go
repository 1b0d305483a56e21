package outbox

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"go.etcd.io/bbolt"
)

// Compacted tells what compacting made of a database file.
type Compacted struct {
	Rows          int   // of all tables, each compared
	Before, After int64 // bytes of the file
}

// compactStep is how many bytes of rows one transaction of the copy holds.
const compactStep = 16 << 20

// Compact writes the database of a folder, whose gateway is stopped, anew without
// its unused pages, and puts it in the old one's place once every row was read back
// and compared. Until then, whatever happens, the old one is as it was. It needs
// the room of the new file beside the old one.
//
// Purged words are scrubbed first, and the old file is overwritten before it goes:
// else the texts that a later purge takes out would still lie in the room that it
// left.
func Compact(ctx context.Context, dir string) (*Compacted, error) {
	done, err := compact(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("outbox: compact: %w", err)
	}
	return done, nil
}

func compact(ctx context.Context, dir string) (*Compacted, error) {
	path := filepath.Join(dir, dbName)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("%w (name the data folder of a stopped gateway)", err)
	}
	from, shelf, err := openFolder(dir, path)
	if err != nil {
		return nil, err
	}
	s, err := open(from, shelf)
	if err != nil {
		return nil, err
	}
	done := &Compacted{}
	old, err := done.replace(ctx, s, from)
	if err = errors.Join(err, s.Close()); old == nil {
		return nil, err
	}
	if bad := errors.Join(wipe(old, done.Before), old.Close()); bad != nil {
		err = errors.Join(err, fmt.Errorf("%s is compact, but the file of before could not be overwritten: %w", path, bad))
	}
	return done, err
}

// replace puts a compact copy in the place of a database. It returns the old file,
// which has no name any more.
func (c *Compacted) replace(ctx context.Context, s *engine, from *bolt) (old *os.File, err error) {
	if err := s.Scrub(ctx); err != nil {
		return nil, err
	}
	dir := filepath.Dir(from.path)
	stage, err := os.CreateTemp(dir, dbStage)
	if err != nil {
		return nil, err
	}
	defer os.Remove(stage.Name()) // by then it has another name, if all is well
	if err := errors.Join(stage.Close(), copyRows(ctx, from.db, stage.Name())); err != nil {
		return nil, err
	}
	if err := c.compare(ctx, from, stage.Name()); err != nil {
		return nil, err
	}
	if old, err = os.OpenFile(from.path, os.O_WRONLY, 0); err != nil {
		return nil, err
	}
	if err := errors.Join(os.Rename(stage.Name(), from.path), syncDir(dir)); err != nil {
		return nil, errors.Join(err, old.Close())
	}
	return old, nil
}

// copyRows writes the rows of all tables into a new database, and syncs it.
func copyRows(ctx context.Context, from *bbolt.DB, path string) error {
	to, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockWait, NoSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = to.Close() })() // it ends with its present step
	if err := bbolt.Compact(to, from, compactStep); err != nil {
		return errors.Join(ctx.Err(), err, to.Close())
	}
	return errors.Join(ctx.Err(), to.Sync(), to.Close())
}

// compare reads a copy, and compares each row.
func (c *Compacted) compare(ctx context.Context, from *bolt, path string) error {
	to, err := openFile(path)
	if err != nil {
		return err
	}
	c.Before, c.After, err = from.size(), to.size(), from.view(func(a reader) error {
		return to.view(func(b reader) error {
			for _, table := range buckets() {
				n, err := sameRows(a.(*boltTx), b.(*boltTx), table)
				if err = cmp.Or(ctx.Err(), err); err != nil {
					return err
				}
				c.Rows += n
			}
			return nil
		})
	})
	return errors.Join(err, to.close())
}

// sameRows compares two tables byte by byte, one beside the other, and each value
// with its checksum.
func sameRows(a, b *boltTx, table bucket) (rows int, err error) {
	in, out := a.bucket(table).Cursor(), b.bucket(table).Cursor()
	k, v := in.First()
	other, copied := out.First()
	for k != nil && bytes.Equal(k, other) && bytes.Equal(v, copied) && a.unseal(table, k, v) != nil {
		rows++
		k, v = in.Next()
		other, copied = out.Next()
	}
	if err := a.err(); err != nil {
		return 0, err
	}
	if k != nil || other != nil {
		return 0, fmt.Errorf("the copy of the table %s is another at the row %.80q (try again; report it if it stays)", table, cmp.Or(string(k), string(other)))
	}
	return rows, nil
}

// wipe overwrites a file with zeros.
func wipe(f *os.File, size int64) error {
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
	}
	return syscall.Fdatasync(int(f.Fd()))
}
