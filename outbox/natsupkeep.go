package outbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.etcd.io/bbolt"
)

const (
	copyEvery = time.Minute // how often the length of the log is looked at
	tidyEvery = time.Hour   // how often files without a reference are looked for
	// longestLog is how many bytes the log may have before it begins anew with a copy
	// of a replica, if the replica itself is not larger.
	longestLog = 64 << 20
)

// upkeepOf is the contract that the work on the store itself is led under: no
// contract has that name.
const upkeepOf = ""

// upkeep keeps the log short and the files tidy, while this gateway is the one
// that does it.
func (s *engine) upkeep(ctx context.Context, b *replicated, o *objects) {
	for ctx.Err() == nil {
		term, resign, err := s.Lead(ctx, upkeepOf)
		if err != nil {
			return
		}
		tidied := time.Now()
		for ctx.Err() == nil && term.Err() == nil {
			wait, cancel := context.WithTimeout(ctx, copyEvery)
			end := context.AfterFunc(term, cancel)
			<-wait.Done()
			end()
			cancel()
			if ctx.Err() != nil || term.Err() != nil {
				break
			}
			s.note(b.shorten(term, o, longestLog))
			if time.Since(tidied) > tidyEvery {
				tidied = time.Now()
				s.note(s.tidyFiles(term, o))
			}
		}
		resign()
	}
}

// note keeps why the last upkeep failed, for Ready's sake no error: the next one
// may do better.
func (s *engine) note(err error) {
	s.shared.mu.Lock()
	defer s.shared.mu.Unlock()
	s.shared.upkeep = err
}

func (s *engine) tidyFiles(ctx context.Context, o *objects) error {
	var refs map[string]fileRefs
	err := s.view(ctx, "tidy", func(r reader) (err error) {
		refs, err = referred(r)
		return err
	})
	if err == nil {
		_, err = o.tidy(ctx, refs)
	}
	return err
}

// shorten begins the log anew with a copy of our replica, if it is longer than
// most bytes, and than the replica. The last batch that the copy holds stays: the
// next one is accepted behind it only.
func (b *replicated) shorten(ctx context.Context, o *objects, most uint64) error {
	info, err := b.stream.Info(ctx)
	if err != nil || info.State.Bytes < most {
		return err
	}
	position, size, path, err := b.copyReplica(ctx)
	if path != "" {
		defer os.Remove(path)
	}
	if err != nil || info.State.Bytes < size {
		return err
	}
	if err := sendCopy(ctx, o.copies, copyName(position), path); err != nil {
		return err
	}
	if err := b.stream.Purge(ctx, jetstream.WithPurgeSequence(position)); err != nil {
		return err
	}
	return dropCopies(ctx, o.copies)
}

// copyReplica writes the replica, as it is at one moment, into a file beside it.
func (b *replicated) copyReplica(ctx context.Context) (position, size uint64, path string, err error) {
	f, err := os.CreateTemp(b.o.Dir, "replica.copy-")
	if err != nil {
		return 0, 0, "", err
	}
	err = b.replica.db.View(func(tx *bbolt.Tx) error {
		t := &boltTx{tx: tx, store: b.replica}
		position = number(t.get(metaBucket, []byte(positionKey)))
		n, err := tx.WriteTo(&patientWriter{ctx, f})
		size = uint64(n)
		return errors.Join(t.err(), err)
	})
	return position, size, f.Name(), errors.Join(err, f.Close())
}

// copyName orders as positions do.
func copyName(position uint64) string { return fmt.Sprintf("replica-%020d", position) }

func sendCopy(ctx context.Context, copies jetstream.ObjectStore, name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = copies.Put(ctx, jetstream.ObjectMeta{Name: name}, f)
	return err
}

// copyNames lists the copies, the newest last.
func copyNames(ctx context.Context, copies jetstream.ObjectStore) ([]string, error) {
	all, err := copies.List(ctx)
	if errors.Is(err, jetstream.ErrNoObjectsFound) {
		return nil, nil
	}
	var names []string
	for _, f := range all {
		if strings.HasPrefix(f.Name, "replica-") {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return names, err
}

func newestCopy(ctx context.Context, copies jetstream.ObjectStore) (string, error) {
	names, err := copyNames(ctx, copies)
	if err != nil || len(names) == 0 {
		return "", err
	}
	return names[len(names)-1], nil
}

// dropCopies keeps the newest copy, and the one before it for a gateway that is
// just reading it.
func dropCopies(ctx context.Context, copies jetstream.ObjectStore) error {
	names, err := copyNames(ctx, copies)
	for len(names) > 2 && err == nil {
		err = copies.Delete(ctx, names[0])
		names = names[1:]
	}
	return err
}
