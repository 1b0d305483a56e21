package outbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	dbName   = "outbox.db"
	dbStage  = "outbox.new-"
	fileDir  = "files"
	lockWait = time.Second // for a predecessor that is still closing
)

// OpenBolt opens the store in a folder, and makes both if there is none. It
// refuses a folder that another process has open, a file that is damaged as far
// as that shows at opening (a damaged value shows when it is read), and one
// written by a newer program.
func OpenBolt(dir string) (Store, error) {
	path := filepath.Join(dir, dbName)
	kv, shelf, err := openFolder(dir, path)
	if err != nil {
		return nil, fmt.Errorf("outbox: open: %w", err)
	}
	s, err := open(kv, shelf)
	if err != nil {
		return nil, fmt.Errorf("outbox: open: %w", err)
	}
	return s, nil
}

func openFolder(dir, path string) (*bolt, *folder, error) {
	if err := create(dir, path); err != nil {
		return nil, nil, err
	}
	kv, err := openFile(path)
	if err != nil {
		return nil, nil, err
	}
	// From here on the folder is ours.
	if err := removeStages(dir); err != nil {
		return nil, nil, errors.Join(err, kv.close())
	}
	shelf, err := newFolder(filepath.Join(dir, fileDir))
	if err != nil {
		return nil, nil, errors.Join(err, kv.close())
	}
	return kv, shelf, nil
}

// create makes an empty store where there is none. It appears whole or not at
// all, so that an empty file always means a loss; and if two processes do it at
// once, one of the two files is the one.
func create(dir, path string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, restoreName)); err == nil {
		return fmt.Errorf("%s holds a backup that is being restored, or whose restore was interrupted (%s)", dir, restoreAgain)
	}
	if _, err := os.Stat(filepath.Join(dir, fileDir)); err == nil { // it is made after the database
		return fmt.Errorf("%s is missing, though %s is there (%s; to begin anew, name an empty folder)", path, filepath.Join(dir, fileDir), restoreHint)
	}
	stage, err := os.CreateTemp(dir, dbStage)
	if err != nil {
		return err
	}
	defer os.Remove(stage.Name())
	if err := errors.Join(stage.Close(), initialize(stage.Name())); err != nil {
		return err
	}
	if err := os.Link(stage.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return errors.Join(syncDir(dir), syncDir(filepath.Dir(filepath.Clean(dir))))
}

func initialize(path string) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockWait})
	if err != nil {
		return err
	}
	b := newBolt(db, path)
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets() {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		t := &boltTx{tx: tx, store: b}
		t.put(metaBucket, []byte(schemaKey), numberKey(schema))
		return t.err()
	})
	return errors.Join(err, db.Close())
}

func removeStages(dir string) error {
	stale, err := filepath.Glob(filepath.Join(dir, dbStage+"*"))
	for _, s := range stale {
		err = errors.Join(err, os.Remove(s))
	}
	return err
}

// openFile opens a database that must be there, and checks it.
func openFile(path string) (*bolt, error) {
	var file *os.File
	var kv *bolt
	err := shielded(path, func() error {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:      lockWait,
			FreelistType: bbolt.FreelistMapType,
			OpenFile: func(name string, flag int, mode os.FileMode) (_ *os.File, err error) {
				file, err = os.OpenFile(name, flag&^os.O_CREATE, mode)
				if err != nil {
					return nil, err
				}
				return file, refuseEmpty(file)
			},
		})
		if err != nil {
			return explain(path, err)
		}
		kv = newBolt(db, path)
		if err := kv.confirm(file); err != nil {
			return fmt.Errorf("%s: cannot be written and synced: %w (check the disk)", path, err)
		}
		if err := kv.check(file); err != nil {
			return err
		}
		return kv.addLater()
	})
	if err == nil {
		return kv, nil
	}
	if kv != nil {
		err = errors.Join(err, kv.close())
	} else if file != nil {
		_ = file.Close() // bbolt does not, when it panics; this gives back its lock
	}
	return nil, err
}

// confirm writes the head pages once more, as they are read, and syncs them. A
// process whose last sync failed may have left a head page that is in the
// system's memory and not on disk, and nothing says so any more. Were we to
// build on it, the next commit would reuse pages that the head on disk needs.
func (b *bolt) confirm(file *os.File) (err error) {
	if b.file, err = file.Stat(); err != nil {
		return err
	}
	heads := make([]byte, 2*b.pageSize)
	if _, err := file.ReadAt(heads, 0); err != nil {
		return err
	}
	if _, err := file.WriteAt(heads, 0); err != nil {
		return err
	}
	return syscall.Fdatasync(int(file.Fd()))
}

var errTruncated = errors.New("the file is cut short")

// refuseEmpty keeps bbolt from making a new database of an empty file.
func refuseEmpty(f *os.File) error {
	info, err := f.Stat()
	if err == nil && info.Size() == 0 {
		err = errTruncated
	}
	return err
}

func explain(path string, err error) error {
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("%s: another process has it open (stop that first)", path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: permission denied (the user of the gateway must own the file)", path)
	}
	return fmt.Errorf("%s is no database of ours, or damaged: %w (%s)", path, err, restoreHint)
}

// check compares the length of the file with what its head page says, and the
// schema with ours.
func (b *bolt) check(file *os.File) error {
	return b.view(func(r reader) error {
		t := r.(*boltTx)
		b.settled(t.tx.ID(), nil) // what a file holds when it is opened, it holds
		info, err := file.Stat()
		if err != nil {
			return err
		}
		if info.Size() < t.tx.Size() {
			return fmt.Errorf("%s is damaged: %w: %d of %d bytes (%s)", b.path, errTruncated, info.Size(), t.tx.Size(), restoreHint)
		}
		for _, name := range buckets() {
			if !slices.Contains(later, name) {
				t.bucket(name)
			}
		}
		v := number(t.get(metaBucket, []byte(schemaKey)))
		if v != schema && t.err() == nil {
			return fmt.Errorf("%s: schema %d, this program knows %d (use the program that wrote it, or a newer one)", b.path, v, schema)
		}
		return t.err()
	})
}

// later are the tables that databases had not at first. They came without a new
// schema, as a program that does not know them loses nothing by it.
var later = []bucket{keptBucket, leadBucket, restBucket, openBucket}

// addLater makes those that the database has not yet.
func (b *bolt) addLater() error {
	missing := false
	err := b.view(func(r reader) error {
		for _, name := range later {
			missing = missing || r.(*boltTx).tx.Bucket([]byte(name)) == nil
		}
		return nil
	})
	if err != nil || !missing {
		return err
	}
	return b.update(func(w writer) error {
		for _, name := range later {
			if err := w.(*boltTx).ensure(name); err != nil {
				return err
			}
		}
		return nil
	}, func() {})
}
