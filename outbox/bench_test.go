package outbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"passerelle"
)

// BenchmarkAppend accepts events of 2 KB on existing links, from 1, 16 and 64
// at once. "ratio" is appends per fdatasync of a 4 KB append in the same
// folder, measured before and after.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			dir := b.TempDir()
			s := openBolt(b, dir)
			defer s.Close()
			links := benchLinks(b, s, writers)
			benchRatio(b, dir, s, writers, func(w, i int) {
				must(b, s.Append(context.Background(), benchChange(links[w], w, i)))
			})
		})
	}
}

// BenchmarkCreate accepts events of 2 KB that each make a new link.
func BenchmarkCreate(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			dir := b.TempDir()
			s := openBolt(b, dir)
			defer s.Close()
			benchRatio(b, dir, s, writers, func(w, i int) {
				must(b, s.Append(context.Background(), benchChange(aLink(fmt.Sprint(w, "-", i)), w, i)))
			})
		})
	}
}

// BenchmarkDeliver accepts, lends and settles, with as many workers as senders.
func BenchmarkDeliver(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			dir := b.TempDir()
			s := openBolt(b, dir)
			defer s.Close()
			links := benchLinks(b, s, writers)
			benchRatio(b, dir, s, writers, func(w, i int) {
				must(b, s.Append(context.Background(), benchChange(links[w], w, i)))
				e, err := s.Next(context.Background(), toPartner)
				must(b, err)
				must(b, s.Settle(context.Background(), e, Outcome{To: Done}))
			})
		})
	}
}

// BenchmarkOpen opens a store with 100,000 waiting entries.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s := openBolt(b, dir)
	for i := range 1000 {
		var es []*Entry
		for range 100 {
			es = append(es, anEntry(passerelle.Partner, "x"))
		}
		must(b, s.Append(context.Background(), &Change{Link: aLink(fmt.Sprint(i)), Entries: es}))
	}
	must(b, s.Close())
	for b.Loop() {
		must(b, openBolt(b, dir).Close())
	}
}

func must(b testing.TB, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func benchLinks(b *testing.B, s Store, n int) []*passerelle.Link {
	var links []*passerelle.Link
	for i := range n {
		l := aLink(fmt.Sprint(i))
		must(b, s.Append(context.Background(), &Change{Link: l}))
		links = append(links, l)
	}
	return links
}

func benchChange(l *passerelle.Link, w, i int) *Change {
	return &Change{
		Link:    l,
		Entries: []*Entry{anEntry(passerelle.Partner, strings.Repeat("x", 2000))},
		Names:   []Name{aName(fmt.Sprintf("%08x/%d/%d", uint32(w*7919+i)*2654435761, w, i))},
	}
}

// benchRatio runs do b.N times over the writers, and reports the ratio.
func benchRatio(b *testing.B, dir string, s Store, writers int, do func(w, i int)) {
	sync1, before := fdatasyncTime(b, dir), commits(b, s)
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				do(w, int(i))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	each := b.Elapsed() / time.Duration(b.N)
	raw := (sync1 + fdatasyncTime(b, dir)) / 2
	b.ReportMetric(float64(raw)/float64(each), "ratio")
	b.ReportMetric(float64(b.N)/float64(commits(b, s)-before), "ops/commit")
	b.ReportMetric(float64(raw.Nanoseconds()), "ns/fdatasync")
}

// commits is how many commits a store has made.
func commits(b *testing.B, s Store) (n int) {
	must(b, s.(*engine).kv.view(func(r reader) error {
		n = r.(*boltTx).tx.ID()
		return nil
	}))
	return n
}

// fdatasyncTime is what an append of 4 KB and its fdatasync take.
func fdatasyncTime(b *testing.B, dir string) time.Duration {
	f, err := os.Create(filepath.Join(dir, "raw"))
	must(b, err)
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 4096)
	const n = 500
	start := time.Now()
	for range n {
		if _, err := f.Write(block); err != nil {
			b.Fatal(err)
		}
		must(b, syscall.Fdatasync(int(f.Fd())))
	}
	return time.Since(start) / n
}
