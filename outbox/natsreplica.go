package outbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// openReplica opens the replica that is there, if it can be relied upon and the
// log goes on where it ends; else one from the newest copy.
func (b *replicated) openReplica(ctx context.Context, copies jetstream.ObjectStore) error {
	if err := b.o.trust(); err != nil {
		return err
	}
	path := b.o.path()
	if _, err := os.Stat(path); err == nil {
		if err := b.useReplica(path); err != nil {
			return err
		}
		ok, err := b.continues(ctx)
		if ok || err != nil {
			return err
		}
		if err := b.replica.close(); err != nil {
			return err
		}
		b.replica = nil
	}
	if err := b.newReplica(ctx, copies); err != nil {
		return err
	}
	ok, err := b.continues(ctx)
	if err == nil && !ok {
		err = fmt.Errorf("the log begins after what the newest copy of a replica holds (batch %d): neither is whole (docs/operations.md: when the servers lost something)", b.position)
	}
	return err
}

func (b *replicated) useReplica(path string) error {
	kv, err := openFile(path)
	if err != nil {
		return err
	}
	kv.db.NoSync = true // the log has it
	b.replica = kv
	// Now the folder is ours: a predecessor may have taken his mark away meanwhile.
	if err := errors.Join(b.o.mark(), removeStages(b.o.Dir)); err != nil {
		return err
	}
	return kv.update(func(w writer) error {
		switch is := string(w.get(metaBucket, []byte(storeKey))); is {
		case "":
			w.put(metaBucket, []byte(storeKey), []byte(b.store))
		case b.store:
		default:
			return fmt.Errorf("%s is the replica of another stream than %s: that one was made anew, or this folder is another gateway's (look which is right; move the folder away to begin on this stream)", b.o.path(), b.o.Stream)
		}
		b.position = number(w.get(metaBucket, []byte(positionKey)))
		b.seen = b.position
		return nil
	}, func() {})
}

// continues tells whether the log goes on right where the replica ends. A replica
// that is ahead of the log is an error: the servers lost what they acknowledged.
func (b *replicated) continues(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*tryFor)
	defer cancel()
	for {
		last, err := b.stream.GetLastMsgForSubject(ctx, b.o.logSubject())
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return b.position == 0, b.o.ahead(b.position, 0)
		case err == nil && last.Sequence <= b.position:
			return last.Sequence == b.position, b.o.ahead(b.position, last.Sequence)
		case err == nil:
			info, err := b.stream.Info(ctx)
			if err != nil {
				return false, err
			}
			// The last batch that a copy holds is never removed: what comes after it is there.
			return info.State.FirstSeq <= max(b.position, 1), nil
		case !sleep(ctx, tryPause):
			return false, err
		}
	}
}

// ahead refuses a log that ends before what a replica holds.
func (o *NATSOptions) ahead(position, last uint64) error {
	if last >= position {
		return nil
	}
	return fmt.Errorf("the stream %s ends at batch %d, and this replica holds batch %d: the servers lost changes that they had acknowledged (docs/operations.md: when the servers lost something)", o.Stream, last, position)
}

// newReplica puts the newest copy, or an empty replica, where ours shall be.
func (b *replicated) newReplica(ctx context.Context, copies jetstream.ObjectStore) error {
	path := b.o.path()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	there, err := hasCopy(ctx, copies)
	if err != nil {
		return err
	}
	stage := path + ".new"
	if there {
		err = fetchCopy(ctx, copies, stage)
	} else {
		err = errors.Join(os.RemoveAll(stage), initialize(stage))
	}
	if err != nil {
		return err
	}
	if err := os.Rename(stage, path); err != nil {
		return err
	}
	return b.useReplica(path)
}

// fetchCopy reads the newest copy; one that is replaced meanwhile is read anew.
func fetchCopy(ctx context.Context, copies jetstream.ObjectStore, path string) error {
	for {
		err := fetchOnce(ctx, copies, path)
		if err == nil {
			return nil
		}
		if !sleep(ctx, tryPause) {
			return fmt.Errorf("the copy of a replica: %w", err)
		}
	}
}

func fetchOnce(ctx context.Context, copies jetstream.ObjectStore, path string) error {
	from, err := copies.Get(ctx, copyName)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from) // ends with an error unless its digest is right
	return errors.Join(err, to.Close())
}

// trust removes a replica that the machine went down with: it was never synced.
// One that only its process left is whole.
func (o *NATSOptions) trust() error {
	now := bootID()
	mark, err := os.ReadFile(o.markPath())
	if err == nil && (string(mark) != now || now == "") {
		err = os.Remove(o.path())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return o.mark()
}

// mark says that the replica is open, and by which run of the machine.
func (o *NATSOptions) mark() error {
	return os.WriteFile(o.markPath(), []byte(bootID()), 0o600)
}

// unmark says that the replica was closed and synced.
func (o *NATSOptions) unmark() error { return os.Remove(o.markPath()) }

// bootID names this run of the machine; empty where nothing tells.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // Linux only
	return strings.TrimSpace(string(id))
}
