package outbox

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// longestNote bounds what is read of backup.json, in bytes: it lists what is
// missing.
const longestNote = 64 << 20

// Verify reads a backup and writes nothing. It returns what the backup holds when
// it is whole: it has its end, and every byte is as it was made. Backup has read
// through the database before it sealed it, so that such a backup restores.
// progress, if not nil, is told how many of the bytes that the report counts are
// read.
func Verify(r io.Reader, progress func(done, total int64)) (*BackupReport, error) {
	p := newParcel(r, scale{})
	p.progress = progress
	if err := p.unpack(); err != nil {
		return nil, fmt.Errorf("outbox: verify: %w", err)
	}
	return &p.head.BackupReport, nil
}

// keeper takes the parts of a backup.
type keeper interface {
	stage(ctx context.Context, r io.Reader) (staged, error) // an attachment
	database(r io.Reader) error
}

// scale is a keeper that keeps nothing.
type scale struct{}

func (scale) stage(_ context.Context, r io.Reader) (staged, error) {
	hash := sha256.New()
	n, err := io.Copy(hash, r)
	return weighed{hex.EncodeToString(hash.Sum(nil)), n}, err
}

func (scale) database(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

type weighed struct {
	is string
	n  int64
}

func (w weighed) sum() string { return w.is }
func (w weighed) size() int64 { return w.n }
func (w weighed) keep() error { return nil }
func (w weighed) drop()       {}

func (w weighed) object() string { return "" }

// parcel is a backup that is being read. What it holds is compared with what it
// says of itself.
type parcel struct {
	in       *unpacker
	into     keeper
	have     map[string]bool // attachments, by sum
	head     backupHead
	done     int64
	progress func(done, total int64)
}

func newParcel(r io.Reader, into keeper) *parcel {
	return &parcel{in: &unpacker{tar: tar.NewReader(r)}, into: into, have: map[string]bool{}}
}

// Read implements io.Reader, for an attachment or the database.
func (p *parcel) Read(b []byte) (int, error) {
	n, err := p.in.Read(b)
	p.done += int64(n)
	if p.progress != nil {
		p.progress(p.done, p.head.Bytes)
	}
	return n, err
}

// unpack reads the stream to its end.
func (p *parcel) unpack() error {
	raw, err := p.unpackHead()
	if err != nil {
		return err
	}
	if err := p.unpackFiles(); err != nil {
		return err
	}
	sum, err := p.unpackDB()
	if err != nil {
		return err
	}
	end, err := p.in.readEnd()
	if err != nil {
		return err
	}
	if end.Head != sumOf(raw) {
		return damaged(headName)
	}
	if end.DB != sum {
		return damaged(dbName)
	}
	if len(p.have) != p.head.Files {
		return fmt.Errorf("the backup holds %d files and says %d: it is damaged (use another)", len(p.have), p.head.Files)
	}
	return nil
}

func damaged(part string) error {
	return fmt.Errorf("the backup's %s is damaged (use another backup)", part)
}

func (p *parcel) unpackHead() (raw []byte, err error) {
	if raw, err = p.in.note(headName, &p.head); err != nil {
		return nil, err
	}
	if p.head.Format != backupFormat {
		return nil, fmt.Errorf("a backup of format %d, this program knows %d (use the program that made it, or a newer one)", p.head.Format, backupFormat)
	}
	if p.head.Schema > schema {
		return nil, fmt.Errorf("a backup of schema %d, this program knows %d (use the program that made it, or a newer one)", p.head.Schema, schema)
	}
	return raw, nil
}

// unpackFiles reads on until the database comes.
func (p *parcel) unpackFiles() error {
	for {
		name, err := p.in.next(dbName)
		if err != nil || name == dbName {
			return err
		}
		if err := p.unpackFile(name); err != nil {
			return err
		}
	}
}

func (p *parcel) unpackFile(name string) error {
	sum, ok := strings.CutPrefix(name, fileDir+"/")
	if !ok || !isSum(sum) || p.have[sum] {
		return unexpected(name, "files/<sum>, each once, or "+dbName)
	}
	st, err := p.into.stage(context.Background(), p)
	if err != nil {
		return p.in.explain(name, err)
	}
	if st.sum() != sum {
		return damaged(name)
	}
	p.have[sum] = true
	return st.keep()
}

func (p *parcel) unpackDB() (sum string, err error) {
	hash := sha256.New()
	if err := p.into.database(io.TeeReader(p, hash)); err != nil {
		return "", p.in.explain(dbName, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// check compares the database with itself and with the rest of the backup.
func (p *parcel) check(r reader) error {
	links, entries, err := checkTables(r.(*boltTx))
	if err != nil {
		return err
	}
	if lastGiven(r, ownCounter) != p.head.Links || lastGiven(r, entryCounter) != p.head.Entries || links != p.head.Pairs || entries != p.head.Events {
		return damaged(headName)
	}
	refs, err := referred(r)
	if err != nil {
		return err
	}
	for sum := range refs {
		if !p.have[sum] && !slices.Contains(p.head.Missing, sum) {
			return fmt.Errorf("the backup lacks file %s: it is damaged (use another backup)", sum)
		}
	}
	return nil
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
