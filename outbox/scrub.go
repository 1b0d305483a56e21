package outbox

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// scrubKey is where it is kept that something was purged and may still lie in
// unused pages of the file: it survives a restart.
const scrubKey = "scrub"

// scrubber is a backend's transaction whose file keeps the bytes of what was
// deleted. A backend without it has nothing to scrub.
type scrubber interface {
	// scrub writes zeros over unused pages from one on, so many at most. It returns
	// the next page, 0 when it has seen them all; ErrReading if it may not now.
	scrub(from, most int) (next int, err error)
}

const (
	// scrubMost is how many pages one step writes at most: 16 MB of 4 KB pages.
	scrubMost = 4096
	// scrubLook is how many pages one step looks at, at most: commits wait meanwhile,
	// and of a large file the pages must be read from the disk.
	scrubLook = 1 << 13
	// scrubTries is how often a step is tried while others read, with scrubWait
	// between two tries.
	scrubTries = 200
	scrubWait  = 20 * time.Millisecond
)

// Scrub implements Purger.
func (s *engine) Scrub(ctx context.Context) error {
	due, err := s.Kept(ctx, scrubKey)
	if err != nil || due == "" {
		return err
	}
	if s.shared == nil {
		err = s.scrubOwn(ctx)
	} else {
		err = s.scrubShared(ctx)
	}
	if err != nil {
		return err
	}
	return s.do(ctx, "scrub", func(t *tx) error {
		if string(t.get(keptBucket, []byte(scrubKey))) == due { // else something was purged meanwhile
			t.del(keptBucket, []byte(scrubKey))
		}
		return nil
	})
}

// scrubOwn is Scrub where the store is ours alone.
func (s *engine) scrubOwn(ctx context.Context) (err error) {
	for next, more := 0, true; more; more = next != 0 {
		if next, err = s.scrubStep(ctx, next); err != nil {
			return err
		}
	}
	return nil
}

// scrubStep scrubs some pages between two commits.
func (s *engine) scrubStep(ctx context.Context, from int) (next int, err error) {
	for try := 0; ; try++ {
		err = s.do(ctx, "scrub", func(t *tx) (err error) {
			next = 0
			if w, ok := t.writer.(scrubber); ok {
				next, err = w.scrub(from, scrubMost)
			}
			return err
		})
		if !errors.Is(err, ErrReading) || try == scrubTries {
			return next, err
		}
		time.Sleep(scrubWait)
	}
}

// scrub implements scrubber. bbolt writes a changed page elsewhere and leaves the
// old one as it was until it needs the room. A page that is unused in the
// transaction that writes is unused on disk and in memory, but for readers of an
// earlier moment: so there must be none. Who begins to read from here on sees the
// present moment, which uses none of these pages; nor would a restart.
func (t *boltTx) scrub(from, most int) (int, error) {
	if !t.store.reading.TryLock() {
		return 0, ErrReading
	}
	t.store.reading.Unlock()
	file, err := os.OpenFile(t.store.path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	next, err := t.scrubFile(file, max(from, 2), most)
	return next, errors.Join(err, file.Close())
}

func (t *boltTx) scrubFile(file *os.File, from, most int) (int, error) {
	if is, err := file.Stat(); err != nil || !os.SameFile(is, t.store.file) {
		return 0, cmp.Or(err, t.store.here())
	}
	zeros := make([]byte, t.store.pageSize)
	was := bytes.Clone(zeros)
	id, free, wrote := from, 0, 0
	for ; wrote < most && id < from+scrubLook; id++ {
		p, err := t.tx.Page(id)
		if err != nil {
			return 0, err
		}
		if p == nil { // the end
			id = 0
			break
		}
		if p.Type != "free" {
			id += p.OverflowCount
			continue
		}
		free++
		at := int64(id) * int64(len(zeros))
		if _, err := file.ReadAt(was, at); err == nil && bytes.Equal(was, zeros) {
			continue // since an earlier purge: reading costs less than writing
		}
		if _, err := file.WriteAt(zeros, at); err != nil {
			return 0, fmt.Errorf("%s: page %d: %w", t.store.path, id, err)
		}
		wrote++
	}
	if free == 0 {
		return id, nil
	}
	return id, syscall.Fdatasync(int(file.Fd()))
}
