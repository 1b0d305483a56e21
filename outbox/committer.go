package outbox

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// batchMost bounds how many operations share a commit, so that the first does
// not wait for long.
const batchMost = 512

// op is one operation on its way to the disk.
type op struct {
	now   time.Time
	apply func(*tx) error // may run again, when its batch failed for another's sake
	err   error
	news  news
	done  chan struct{}
}

// committer is the one goroutine that writes: it takes whatever waits, without
// a timer, and answers all of it after one commit.
type committer struct {
	kv    backend
	me    string      // see tx
	learn func([]*op) // told of each commit, before those who asked for it
	after func([]*op) // told after them

	mu    sync.Mutex
	queue []*op
	busy  time.Time // when the batch that is being committed was asked for; zero if none is
	shut  bool
	wake  chan struct{}
	gone  chan struct{}
}

func newCommitter(kv backend, me string, learn, after func([]*op)) *committer {
	c := &committer{kv: kv, me: me, learn: learn, after: after, wake: make(chan struct{}, 1), gone: make(chan struct{})}
	go c.run()
	return c
}

// do commits one operation, and returns its error or that of the commit.
func (c *committer) do(apply func(*tx) error) error {
	o := &op{now: time.Now().UTC().Round(0), apply: apply, done: make(chan struct{})}
	c.mu.Lock()
	if c.shut {
		c.mu.Unlock()
		return ErrClosed
	}
	c.queue = append(c.queue, o)
	c.mu.Unlock()
	c.poke()
	<-o.done
	return o.err
}

func (c *committer) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// close commits what was asked for, and waits for the goroutine.
func (c *committer) close() {
	c.mu.Lock()
	c.shut = true
	c.mu.Unlock()
	c.poke()
	<-c.gone
}

func (c *committer) run() {
	defer close(c.gone)
	for {
		c.gather()
		batch, shut := c.take()
		if len(batch) > 0 {
			c.commit(batch)
			continue
		}
		if shut {
			return
		}
		<-c.wake
	}
}

// gather gives way as long as more comes in, so that those just answered, who
// are ready to run, share the next commit instead of every other one: it makes
// batches a third larger, and costs a lone caller nothing.
func (c *committer) gather() {
	for had := -1; c.waiting() > had && had < batchMost; {
		had = c.waiting()
		runtime.Gosched()
	}
}

func (c *committer) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue)
}

func (c *committer) take() (batch []*op, shut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(len(c.queue), batchMost)
	batch, c.queue = c.queue[:n:n], c.queue[n:]
	if c.busy = (time.Time{}); n > 0 {
		c.busy = batch[0].now
	}
	return batch, c.shut
}

// since tells since when the oldest operation waits, zero if none does.
func (c *committer) since() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy.IsZero() && len(c.queue) > 0 {
		return c.queue[0].now
	}
	return c.busy
}

// commit writes a batch. If one operation spoils it, each is tried alone; if
// the disk does, all of them have failed.
func (c *committer) commit(batch []*op) {
	err := c.try(batch)
	var spoiled *spoilError
	if errors.As(err, &spoiled) && len(batch) > 1 {
		for i := range batch {
			c.commit(batch[i : i+1])
		}
		return
	}
	for _, o := range batch {
		if err != nil { // even where it had one: it may have judged by what is not there
			o.err = err
		}
		close(o.done)
	}
	if err == nil {
		c.after(batch)
	}
}

// spoilError means that an operation failed in the midst of its writing.
type spoilError struct{ err error }

func (e *spoilError) Error() string { return e.err.Error() }
func (e *spoilError) Unwrap() error { return e.err }

// errNothing takes back a transaction that wrote nothing, to spare a sync.
var errNothing = errors.New("nothing to commit")

func (c *committer) try(batch []*op) error {
	err := c.kv.update(func(w writer) error {
		for _, o := range batch {
			if err := o.run(w, c.me); err != nil {
				return &spoilError{err}
			}
		}
		if w.writes() == 0 {
			return errNothing
		}
		return nil
	}, func() { c.learn(batch) })
	if errors.Is(err, errNothing) {
		return nil
	}
	return err
}

// run applies one operation. An error that it returns before it wrote anything
// is its own affair; any other spoils the transaction, and so does a panic,
// which is what damaged pages end in.
func (o *op) run(w writer, me string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("damaged tables, or a mistake of ours: %v", p)
		}
	}()
	before := w.writes()
	t := &tx{writer: w, now: o.now, me: me}
	o.err, o.news = nil, news{}
	o.err = o.apply(t)
	o.news = t.news
	if o.err != nil {
		o.news = news{}
	}
	if err := w.err(); err != nil {
		return err
	}
	if o.err != nil && w.writes() != before {
		return o.err
	}
	return nil
}
