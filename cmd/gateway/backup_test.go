package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"passerelle"
	"passerelle/outbox"
)

// aBackup is a small one.
func aBackup(t *testing.T) []byte {
	t.Helper()
	s, err := outbox.OpenBolt(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l := &passerelle.Link{Contract: "c", Requester: passerelle.Ref{Key: "1"}}
	if err := s.Append(context.Background(), &outbox.Change{Link: l}); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := s.Backup(context.Background(), &b, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestBackupIsWholeOrNotThere: whatever the gateway sends, FILE is a whole backup
// or what it was.
func TestBackupIsWholeOrNotThere(t *testing.T) {
	whole := aBackup(t)
	half := whole[:len(whole)/2]
	send := func(b []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }
	}
	ctx, cancel := context.WithCancel(context.Background())
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		ctx    context.Context
		says   string // empty: it is whole
	}{
		"whole":            {send(whole), context.Background(), ""},
		"half, and an end": {send(half), context.Background(), "the backup is incomplete"},
		"half, and broken off": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(half)
			panic(http.ErrAbortHandler)
		}, context.Background(), "the backup is incomplete"},
		"damaged":   {send(bytes.Replace(whole, []byte(`"pairs":1`), []byte(`"pairs":2`), 1)), context.Background(), "backup.json is damaged"},
		"no backup": {send(bytes.Repeat([]byte("<p>hello</p>"), 1000)), context.Background(), "no backup of ours"},
		"an error": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"error":"another is being made"}`)
		}, context.Background(), "another is being made"},
		"stopped": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(half)
			w.(http.Flusher).Flush()
			cancel()
			<-r.Context().Done()
		}, ctx, "context canceled"},
		"no gateway": {nil, context.Background(), "is the gateway running?"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(c.answer)
			defer s.Close()
			if c.answer == nil {
				s.Close()
			}
			for _, before := range []string{"", "what was there"} {
				b := &backup{path: filepath.Join(t.TempDir(), "b.tar"), url: s.URL, out: &strings.Builder{}}
				if before != "" {
					must(t, os.WriteFile(b.path, []byte(before), 0o644))
				}
				err := b.make(c.ctx, io.Discard)
				if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), b.path+" is as it was")) {
					t.Errorf("%v", err)
				}
				want := before
				if c.says == "" {
					want = string(whole)
				}
				if got, _ := os.ReadFile(b.path); string(got) != want {
					t.Errorf("the file has %d bytes", len(got))
				}
				if left, _ := filepath.Glob(b.path + ".*"); len(left) > 0 {
					t.Errorf("%q is left", left)
				}
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestTwoBackupsToOneFile: the second leaves the first alone.
func TestTwoBackupsToOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b.tar.partial")
	first, err := openPartial(path)
	must(t, err)
	_, err = first.WriteString("half")
	must(t, err)
	if _, err := openPartial(path); err == nil || !strings.Contains(err.Error(), "another backup is being written there") {
		t.Errorf("the second: %v", err)
	}
	if b, err := os.ReadFile(path); string(b) != "half" {
		t.Errorf("the first has %q %v", b, err)
	}
	must(t, first.Close())
	again, err := openPartial(path)
	must(t, err)
	if info, err := again.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("what a dead one left is kept: %v %v", info, err)
	}
	must(t, again.Close())
}

// TestMeter: nothing in the first second, then a line every ten.
func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var short, long strings.Builder
		m := startMeter(&short, "copying")
		time.Sleep(999 * time.Millisecond)
		m.end()
		m = startMeter(&long, "getting ready")
		time.Sleep(5 * time.Second)
		m.begin("copying")
		time.Sleep(5 * time.Second)
		m.tell(25e6, 100e6)
		time.Sleep(5 * time.Second)
		m.tell(99.96e6, 0)
		time.Sleep(10 * time.Second)
		m.end()
		want := "getting ready: 1s\ncopying: 25 MB of 100 MB, 25 %, 4.2 MB/s\ncopying: 100 MB, 6.2 MB/s\n"
		if short.String() != "" || long.String() != want {
			t.Errorf("it says %q and %q", short.String(), long.String())
		}
	})
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 1: "1 byte", 999: "999 bytes", 1000: "1 kB", 1234: "1.2 kB", 999_949: "999.9 kB", 999_950: "1 MB", 5e9: "5 GB", 1 << 62: "4.6 EB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, should be %s", n, got, want)
		}
	}
}
