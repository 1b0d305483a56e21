package outbox

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"passerelle"
)

// spool is the passerelle.Spool of a store. A file lives while it is pinned, by
// Put, or referred to, by an entry that is not final.
type spool struct {
	shelf    shelf
	doubtful func() bool // the references on disk may be others than we know

	mu   sync.Mutex
	pins map[string]pin
	refs map[string]fileRefs // as committed
	last error               // why the last file could not be kept; nil if it was
	shut bool                // nothing is removed any more: the folder may be another's by now
}

// pin is a file that somebody needs who may not have stored an entry with it.
type pin struct {
	n      int
	object string
}

// shelf is where the bytes lie: each under its sum, or where that is not enough
// under a name of the shelf's own, its object.
type shelf interface {
	// stage takes bytes in, durable but not yet under their name.
	stage(ctx context.Context, r io.Reader) (staged, error)
	open(sum, object string) (io.ReadCloser, error)
	remove(sum string) error
	// sweep forgets what is staged, and lists the sums.
	sweep() ([]string, error)
}

// staged is a file on its way to the shelf.
type staged interface {
	sum() string
	size() int64
	keep() error // under its name, durably; the same bytes may lie there already
	object() string
	drop()
}

func newSpool(s shelf, doubtful func() bool) *spool {
	return &spool{shelf: s, doubtful: doubtful, pins: map[string]pin{}, refs: map[string]fileRefs{}}
}

// Put implements passerelle.Spool. Name and MIME are the caller's to fill.
func (s *spool) Put(ctx context.Context, r io.Reader) (passerelle.File, error) {
	from := &source{r: r}
	st, err := s.shelf.stage(ctx, from)
	if err != nil {
		err = fmt.Errorf("outbox: put file: %w", err)
		if from.err == nil && ctx.Err() == nil { // the disk's, not the sender's
			s.ended(err)
		}
		return passerelle.File{}, err
	}
	f := passerelle.File{Sum: st.sum(), Size: st.size()}
	s.pin(f.Sum, st.object()) // before it is there, so that nobody removes it
	if err := st.keep(); err != nil {
		st.drop()
		s.Release(f)
		err = fmt.Errorf("outbox: put file: %w", err)
		s.ended(err)
		return passerelle.File{}, err
	}
	s.ended(nil)
	return f, nil
}

// source notes that the bytes could not be read.
type source struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// ended notes how the disk took the last file.
func (s *spool) ended(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = err
}

// ready tells why files cannot be kept. Where the last one could not, it tries
// with one of a megabyte, and forgets it.
func (s *spool) ready(ctx context.Context) error {
	s.mu.Lock()
	last := s.last
	s.mu.Unlock()
	if last == nil {
		return nil
	}
	f, err := s.Put(ctx, strings.NewReader(strings.Repeat("is there room? ", 1<<16)))
	if err == nil {
		s.Release(f)
	}
	return err
}

// pin notes that somebody needs a file; the object is the youngest's.
func (s *spool) pin(sum, object string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pins[sum] = pin{s.pins[sum].n + 1, object}
}

// object is what the shelf calls a file that is pinned, empty for its sum.
func (s *spool) object(sum string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pins[sum].object
}

// Release implements passerelle.Spool. A file that was never Put is ignored.
func (s *spool) Release(files ...passerelle.File) {
	for _, f := range files {
		s.unpin(f.Sum)
	}
}

func (s *spool) unpin(sum string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pins[sum]
	if p.n == 0 {
		return
	}
	if p.n--; p.n > 0 {
		s.pins[sum] = p
		return
	}
	delete(s.pins, sum)
	s.dropUnused(sum)
}

// Open implements passerelle.Spool.
func (s *spool) Open(sum string) (io.ReadCloser, error) {
	r, err := s.shelf.open(sum, s.lies(sum))
	if err != nil {
		return nil, fmt.Errorf("outbox: open file %.64s: %w", sum, err)
	}
	return r, nil
}

// lies tells under what object a file lies, empty for its sum.
func (s *spool) lies(sum string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cmp.Or(s.refs[sum].Object, s.pins[sum].object)
}

// has tells whether a file is kept now.
func (s *spool) has(sum string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pins[sum].n > 0 || s.refs[sum].Refs > 0
}

// refer takes in committed references.
func (s *spool) refer(refs map[string]fileRefs) {
	if len(refs) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for sum, f := range refs {
		s.refs[sum] = f
		if f.Refs == 0 {
			delete(s.refs, sum)
		}
	}
}

// forget removes a file if nothing keeps it.
func (s *spool) forget(sum string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropUnused(sum)
}

// dropUnused is called under the lock, so that no Put can pin the file in
// between. A file that will not go is tried again at the next start; so is one
// whose entry may be on disk after all, when its commit failed.
func (s *spool) dropUnused(sum string) {
	if s.pins[sum].n == 0 && s.refs[sum].Refs == 0 && !s.shut && !s.doubtful() {
		_ = s.shelf.remove(sum)
	}
}

// still keeps every file where it is until move is called, once or more.
func (s *spool) still() (move func()) {
	s.mu.Lock()
	return sync.OnceFunc(s.mu.Unlock)
}

// close ends the removing of files.
func (s *spool) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = true
}

// sweep starts from the references on disk, and removes the files without one.
func (s *spool) sweep(refs map[string]fileRefs) error {
	s.refer(refs)
	sums, err := s.shelf.sweep()
	if err != nil {
		return err
	}
	for _, sum := range sums {
		s.forget(sum)
	}
	return nil
}

// referred reads the references on disk.
func referred(r reader) (map[string]fileRefs, error) {
	refs := map[string]fileRefs{}
	for k, v := range r.scan(fileBucket, nil, nil) {
		f, err := decode[fileRefs](fileBucket, k, v)
		if err != nil {
			return nil, err
		}
		refs[string(k)] = *f
	}
	return refs, nil
}

// errGone explains a file that is not there.
var errGone = fmt.Errorf("%w (bytes are kept until every message that carries them is final)", passerelle.ErrNotFound)
