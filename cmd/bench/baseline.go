package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"passerelle/internal/trial"
)

// noopEnv is set in a process that shall be the baseline.
const noopEnv = "PASSERELLE_BENCH_NOOP"

// noop is the baseline, a process of its own as the gateway is: a bare server that
// reads the same form, parses the JSON and answers.
type noop struct {
	url  string
	pid  int
	stop func() error
}

func startNoop(ctx context.Context) (*noop, error) {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), noopEnv+"=1")
	cmd.Stderr = os.Stderr
	in, errA := cmd.StdinPipe()
	out, errB := cmd.StdoutPipe()
	if err := errors.Join(errA, errB); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	n := &noop{pid: cmd.Process.Pid, stop: func() error { return errors.Join(in.Close(), cmd.Wait()) }}
	if _, err := fmt.Fscan(out, &n.url); err != nil {
		return nil, errors.Join(err, n.stop())
	}
	return n, nil
}

// runNoop serves the baseline, says where, and ends with its standard input.
func runNoop() error {
	u, stop, err := trial.Serve("127.0.0.1:0", http.HandlerFunc(noopHandler))
	if err != nil {
		return err
	}
	fmt.Println(u)
	_, _ = io.Copy(io.Discard, os.Stdin) // ends when our parent lets go
	return stop()
}

func noopHandler(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<20) // else a form ends at 10 MB
	var v any
	if err := json.Unmarshal([]byte(r.FormValue("json_data")), &v); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"objects":{},"code":0,"message":null}`) // the sender left
}

// measureNoop posts the messages of one ticket after the other to the baseline,
// for a while, and returns its processor time a message too.
func (b *bench) measureNoop(ctx context.Context, n *noop, senders int) (l *load, cpu time.Duration, err error) {
	if err := b.warm(ctx, n.url, senders); err != nil {
		return nil, 0, err
	}
	before, errA := usageOf(n.pid)
	l, errB := b.send(ctx, n.url, senders, during(b.still), func(s *sender, ticket int) error {
		for i := range b.logs + 2 {
			if err := s.post(b.said(ticket, i)); err != nil {
				return err
			}
		}
		return nil
	})
	after, errC := usageOf(n.pid)
	if err := errors.Join(errA, errB, errC); err != nil {
		return nil, 0, err
	}
	return l, (after.cpu - before.cpu) / time.Duration(len(l.posts)), nil
}

// rawSync is what an append of 4 KB and its fdatasync take, the median of many: a
// stall of the machine meanwhile must not make what is compared with it look better.
func (b *bench) rawSync() (time.Duration, error) {
	f, err := os.CreateTemp(b.dir, "bench-sync-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block, took := make([]byte, 4096), make([]time.Duration, b.syncs)
	for i := range took {
		start := time.Now()
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// rawBolt is the least that a store on bbolt does: one goroutine commits values of
// 2 KB, all that wait at a time, each under the next key.
type rawBolt struct {
	db    *bbolt.DB
	puts  chan chan error
	ended chan struct{}
}

var rawBucket = []byte("values")

func openRawBolt(dir string) (*rawBolt, error) {
	db, err := bbolt.Open(filepath.Join(dir, "raw"), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	if err := db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket(rawBucket); return err }); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	r := &rawBolt{db: db, puts: make(chan chan error, 1024), ended: make(chan struct{})}
	go r.commit()
	return r, nil
}

func (r *rawBolt) commit() {
	defer close(r.ended)
	for first := range r.puts {
		batch := []chan error{first}
		for had := 0; len(r.puts) > had; { // as the gateway's store, it gives way while more comes
			had = len(r.puts)
			runtime.Gosched()
		}
		for range len(r.puts) {
			batch = append(batch, <-r.puts)
		}
		err := r.db.Update(func(tx *bbolt.Tx) error { return fillBucket(tx.Bucket(rawBucket), len(batch)) })
		for _, done := range batch {
			done <- err
		}
	}
}

func fillBucket(b *bbolt.Bucket, n int) error {
	for range n {
		id, err := b.NextSequence()
		if err != nil {
			return err
		}
		if err := b.Put(binary.BigEndian.AppendUint64(nil, id), make([]byte, storeValue)); err != nil {
			return err
		}
	}
	return nil
}

// put returns when a value is on disk.
func (r *rawBolt) put(int, int) error {
	done := make(chan error, 1)
	r.puts <- done
	return <-done
}

func (r *rawBolt) close() error {
	close(r.puts)
	<-r.ended
	return r.db.Close()
}

// puts is how many of them so many writers make a second, each waiting for its own.
func puts(writers int, d time.Duration, put func(writer, i int) error) (float64, error) {
	counts, errs := make([]int, writers), make([]error, writers)
	start := time.Now()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for time.Since(start) < d && errs[w] == nil {
				errs[w] = put(w, counts[w])
				counts[w]++
			}
		})
	}
	wg.Wait()
	all := 0
	for _, n := range counts {
		all += n
	}
	return float64(all) / time.Since(start).Seconds(), errors.Join(errs...)
}
