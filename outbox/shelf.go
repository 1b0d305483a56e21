package outbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

const stagePrefix = "new-"

// folder is a shelf on disk: <dir>/ab/abcd…, by sum.
type folder struct {
	dir  string
	is   os.FileInfo // as it was at the start
	mu   sync.Mutex
	made map[string]bool // subfolders known to be there, durably
}

func newFolder(dir string) (*folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	is, err := os.Stat(dir)
	if err == nil {
		err = try(dir)
	}
	if err != nil {
		return nil, err
	}
	return &folder{dir: dir, is: is, made: map[string]bool{}}, syncDir(filepath.Dir(dir))
}

// try makes a file in a folder, so that one where nobody may write is told of at
// the start.
func try(dir string) error {
	file, err := os.CreateTemp(dir, stagePrefix)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s: permission denied (the user of the gateway must own the folder)", dir)
	}
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}

func (f *folder) path(sum string) string { return filepath.Join(f.dir, sum[:2], sum) }

// isSum guards the path: a sum may come from outside.
func isSum(sum string) bool {
	raw, err := hex.DecodeString(sum)
	return err == nil && len(raw) == sha256.Size && sum == strings.ToLower(sum)
}

func (f *folder) stage(ctx context.Context, r io.Reader) (staged, error) {
	file, err := os.CreateTemp(f.dir, stagePrefix)
	if err != nil {
		return nil, err
	}
	st := &stagedFile{to: f, temp: file.Name(), hash: sha256.New()}
	st.n, err = io.Copy(io.MultiWriter(file, st.hash), &patient{ctx, r})
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		st.drop()
		return nil, err
	}
	return st, nil
}

// patient reads until its context ends.
type patient struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.r.Read(b)
}

type stagedFile struct {
	to   *folder
	temp string
	hash hash.Hash
	n    int64
}

func (s *stagedFile) sum() string { return hex.EncodeToString(s.hash.Sum(nil)) }
func (s *stagedFile) size() int64 { return s.n }
func (s *stagedFile) drop()       { _ = os.Remove(s.temp) }

func (s *stagedFile) object() string { return "" } // by its sum

// keep renames even over the same content: who put that there may not have
// synced its folder yet.
func (s *stagedFile) keep() error {
	path := s.to.path(s.sum())
	if err := s.to.subfolder(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Rename(s.temp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func (f *folder) subfolder(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.made[dir] {
		return nil
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := syncDir(f.dir); err != nil {
		return err
	}
	f.made[dir] = true
	return nil
}

func (f *folder) open(sum, _ string) (io.ReadCloser, error) {
	if !isSum(sum) {
		return nil, errGone
	}
	r, err := os.Open(f.path(sum))
	if !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	// A file of a folder that is away just now is not gone.
	if now, err := os.Stat(f.dir); err != nil || !os.SameFile(f.is, now) {
		return nil, fmt.Errorf("%s is not where it was (put the folder back)", f.dir)
	}
	if r, err = os.Open(f.path(sum)); errors.Is(err, fs.ErrNotExist) { // it was back by then
		return nil, errGone
	}
	return r, err
}

func (f *folder) remove(sum string) error {
	if !isSum(sum) {
		return nil
	}
	return os.Remove(f.path(sum))
}

func (f *folder) sweep() ([]string, error) {
	var sums []string
	err := filepath.WalkDir(f.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.IsDir():
			return err
		case strings.HasPrefix(d.Name(), stagePrefix):
			return os.Remove(path)
		case isSum(d.Name()):
			sums = append(sums, d.Name())
		}
		return nil
	})
	return sums, err
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// cupboard is a shelf in memory.
type cupboard struct {
	mu    sync.Mutex
	files map[string][]byte
}

func newCupboard() *cupboard { return &cupboard{files: map[string][]byte{}} }

func (c *cupboard) stage(ctx context.Context, r io.Reader) (staged, error) {
	b, err := io.ReadAll(&patient{ctx, r})
	return &stagedBytes{c, b}, err
}

type stagedBytes struct {
	to    *cupboard
	bytes []byte
}

func (s *stagedBytes) sum() string {
	sum := sha256.Sum256(s.bytes)
	return hex.EncodeToString(sum[:])
}
func (s *stagedBytes) size() int64 { return int64(len(s.bytes)) }
func (s *stagedBytes) drop()       {}

func (s *stagedBytes) object() string { return "" }

func (s *stagedBytes) keep() error {
	s.to.mu.Lock()
	defer s.to.mu.Unlock()
	s.to.files[s.sum()] = s.bytes
	return nil
}

func (c *cupboard) open(sum, _ string) (io.ReadCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.files[sum]
	if !ok {
		return nil, errGone
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (c *cupboard) remove(sum string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.files, sum)
	return nil
}

func (c *cupboard) sweep() ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var sums []string
	for sum := range c.files {
		sums = append(sums, sum)
	}
	return sums, nil
}
