package outbox

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"
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
			b.note(b.shorten(term, o, longestLog))
			if time.Since(tidied) > tidyEvery {
				tidied = time.Now()
				b.note(s.tidyFiles(term, o))
			}
		}
		resign()
	}
}

// note tells why the upkeep failed; the next one may do better.
func (b *replicated) note(err error) {
	if err != nil && b.ctx.Err() == nil {
		b.o.Log.Warn("outbox: the log is not shortened, or files are not tidied up, and it is tried again", "stream", b.o.Stream, "error", err)
	}
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
	if is, err := os.Stat(b.o.path()); err != nil || info.State.Bytes < uint64(is.Size()) {
		return err
	}
	return b.beginAnew(ctx, o)
}

// beginAnew puts a copy of our replica in the place of the log before it.
func (b *replicated) beginAnew(ctx context.Context, o *objects) error {
	position, path, err := b.copyReplica(ctx)
	if path != "" {
		defer os.Remove(path)
	}
	if err == nil {
		err = sendCopy(ctx, o.copies, path)
	}
	if err != nil {
		return err
	}
	return b.stream.Purge(ctx, jetstream.WithPurgeSequence(position))
}

// copyReplica writes the replica, as it is at one moment, into a file beside it.
func (b *replicated) copyReplica(ctx context.Context) (position uint64, path string, err error) {
	f, err := os.CreateTemp(b.o.Dir, dbStage)
	if err != nil {
		return 0, "", err
	}
	err = b.replica.view(func(r reader) error {
		position = number(r.get(metaBucket, []byte(positionKey)))
		_, err := r.(*boltTx).tx.WriteTo(&patientWriter{ctx, f})
		return errors.Join(r.err(), err)
	})
	return position, f.Name(), errors.Join(err, f.Close())
}

// copyName is what the newest copy is called. Another one takes its place at one
// moment; who was reading the old one then begins again.
const copyName = "replica"

func sendCopy(ctx context.Context, copies jetstream.ObjectStore, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = copies.Put(ctx, jetstream.ObjectMeta{Name: copyName}, f)
	return err
}

// hasCopy tells whether there is one. Servers that begin with us may need a while.
func hasCopy(ctx context.Context, copies jetstream.ObjectStore) (bool, error) {
	for {
		_, err := copies.GetInfo(ctx, copyName)
		if errors.Is(err, jetstream.ErrObjectNotFound) {
			return false, nil
		}
		if err == nil || isFinal(err) || !sleep(ctx, tryPause) {
			return err == nil, err
		}
	}
}
