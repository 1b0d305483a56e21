package outbox

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// objects is a shelf in an object store of NATS. Each file that comes in has a
// name of its own, whatever its bytes are, so that no gateway removes what another
// is about to refer to; tidying up is done later, by one of them (sweepObjects).
type objects struct {
	ctx    context.Context        // ends with the store
	line   func() context.Context // of the connection, see replicated
	files  jetstream.ObjectStore
	copies jetstream.ObjectStore

	unused map[string]bool // that the last tidying found without a reference
}

// putFor is how long one file may take to reach the servers, or to come from them.
const putFor = 2 * time.Minute

func (o *objects) stage(ctx context.Context, r io.Reader) (staged, error) {
	ctx, cancel := o.onLine(ctx)
	defer cancel()
	st := &stagedObject{to: o, name: rand.Text(), hash: sha256.New()}
	info, err := o.files.Put(ctx, jetstream.ObjectMeta{Name: st.name}, io.TeeReader(&patient{ctx, r}, st.hash))
	if err != nil {
		return nil, cmp.Or(context.Cause(ctx), err)
	}
	st.n = int64(info.Size) // bytes that were read: below 2^63
	return st, nil
}

// onLine ends with the time for a file, and with the connection: the client would
// wait for answers that were lost with that until then. It shows no deadline, with
// one the client gives no piece of the file a time of its own.
func (o *objects) onLine(ctx context.Context) (context.Context, context.CancelFunc) {
	on, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stops := []func() bool{
		context.AfterFunc(ctx, func() { cancel(ctx.Err()) }),
		context.AfterFunc(o.line(), func() { cancel(errors.New("the connection to the servers broke")) }),
		time.AfterFunc(putFor, func() { cancel(context.DeadlineExceeded) }).Stop,
	}
	return on, func() {
		for _, stop := range stops {
			stop()
		}
		cancel(nil)
	}
}

type stagedObject struct {
	to   *objects
	name string
	hash hash.Hash
	n    int64
}

func (s *stagedObject) sum() string    { return hex.EncodeToString(s.hash.Sum(nil)) }
func (s *stagedObject) size() int64    { return s.n }
func (s *stagedObject) keep() error    { return nil } // it is there since it was staged
func (s *stagedObject) object() string { return s.name }
func (s *stagedObject) drop()          {} // tidied up later

func (o *objects) open(_, object string) (io.ReadCloser, error) {
	if object == "" {
		return nil, errGone
	}
	for wait := tryPause / 10; ; wait *= 2 {
		ctx, cancel := o.onLine(o.ctx)
		r, err := o.files.Get(ctx, object)
		if err == nil {
			return &fetched{r, cancel}, nil
		}
		cancel()
		if !errors.Is(err, jetstream.ErrObjectNotFound) {
			return nil, err
		}
		if wait > tryFor/4 || !sleep(o.ctx, wait) { // any server may answer, also one that has not heard of it yet
			return nil, errGone
		}
	}
}

// fetched is a file on its way from the servers.
type fetched struct {
	io.ReadCloser
	end context.CancelFunc
}

// Close implements io.Closer.
func (f *fetched) Close() error {
	defer f.end()
	return f.ReadCloser.Close()
}

func (o *objects) remove(string) error      { return nil } // tidied up later
func (o *objects) sweep() ([]string, error) { return nil, nil }

// tidy removes the objects that had no reference this time and the time before:
// between the two lies longer than any message takes from its file to its entry.
func (o *objects) tidy(ctx context.Context, referred map[string]fileRefs) (removed int, err error) {
	used := map[string]bool{}
	for _, f := range referred {
		used[f.Object] = true
	}
	ctx, cancel := context.WithTimeout(ctx, putFor)
	defer cancel()
	all, err := o.files.List(ctx)
	if errors.Is(err, jetstream.ErrNoObjectsFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	unused := map[string]bool{}
	for _, f := range all {
		switch {
		case used[f.Name]:
		case o.unused[f.Name]:
			if err := o.files.Delete(ctx, f.Name); err != nil {
				return removed, err
			}
			removed++
		default:
			unused[f.Name] = true
		}
	}
	o.unused = unused
	return removed, nil
}
