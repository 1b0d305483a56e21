package admin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"passerelle/outbox"
)

// vault is a store whose backup is what a test makes of it.
type vault struct {
	outbox.Store
	backup func(ctx context.Context, w io.Writer) error
}

// Backup implements outbox.Store.
func (v *vault) Backup(ctx context.Context, w io.Writer, _ func(done, total int64)) (*outbox.BackupReport, error) {
	return &outbox.BackupReport{Pairs: 7}, v.backup(ctx, w)
}

// serveBackup serves backups, and collects their log.
func serveBackup(t *testing.T, backup func(ctx context.Context, w io.Writer) error) (url string, log *strings.Builder, s *httptest.Server) {
	log = &strings.Builder{}
	s = httptest.NewServer(Backup(&vault{backup: backup}, slog.New(slog.NewTextHandler(log, nil))))
	t.Cleanup(s.Close)
	return s.URL, log, s
}

func fetch(t *testing.T, url string) (*http.Response, string, error) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}

func TestBackupIsStreamed(t *testing.T) {
	first := make(chan bool)
	url, log, s := serveBackup(t, func(_ context.Context, w io.Writer) error {
		_, err := w.Write(bytes.Repeat([]byte("x"), 1<<16))
		<-first // nobody gets here where the whole is buffered
		_, again := w.Write([]byte("end"))
		return errors.Join(err, again)
	})
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadFull(res.Body, make([]byte, 1<<15)); err != nil {
		t.Fatal(err)
	}
	first <- true
	rest, err := io.ReadAll(res.Body)
	if err != nil || len(rest) != 1<<15+3 || res.Header.Get("Content-Type") != "application/x-tar" {
		t.Errorf("%d bytes more: %v, %v", len(rest), err, res.Header)
	}
	s.Close()
	if !strings.Contains(log.String(), "backup made") || !strings.Contains(log.String(), "pairs=7") {
		t.Errorf("the log says %q", log)
	}
}

// TestBackupFailsEarly: before the first byte an error is one of the API.
func TestBackupFailsEarly(t *testing.T) {
	url, log, s := serveBackup(t, func(context.Context, io.Writer) error { return errors.New("make room") })
	res, body, err := fetch(t, url)
	if err != nil || res.StatusCode != http.StatusInternalServerError || body != `{"error":"make room"}`+"\n" {
		t.Errorf("%s %q %v", res.Status, body, err)
	}
	s.Close()
	if !strings.Contains(log.String(), "make room") {
		t.Errorf("the log says %q", log)
	}
}

// TestBackupFailsLate: after the first byte the connection breaks off.
func TestBackupFailsLate(t *testing.T) {
	url, log, s := serveBackup(t, func(_ context.Context, w io.Writer) error {
		_, err := w.Write(make([]byte, 1<<16))
		return errors.Join(err, errors.New("the disk is gone"))
	})
	if res, body, err := fetch(t, url); err == nil {
		t.Errorf("%s, %d bytes, and no error", res.Status, len(body))
	}
	s.Close()
	if !strings.Contains(log.String(), "the disk is gone") {
		t.Errorf("the log says %q", log)
	}
}

func TestOneBackupAtATime(t *testing.T) {
	begun, end := make(chan bool), make(chan bool)
	url, _, _ := serveBackup(t, func(_ context.Context, w io.Writer) error {
		begun <- true
		<-end
		return nil
	})
	var wg sync.WaitGroup
	wg.Go(func() { fetch(t, url) })
	<-begun
	if res, body, _ := fetch(t, url); res.StatusCode != http.StatusConflict || !strings.Contains(body, "another backup is being made") {
		t.Errorf("%s %q", res.Status, body)
	}
	end <- true
	wg.Wait()
	wg.Go(func() { fetch(t, url) })
	<-begun // the next one is taken
	end <- true
	wg.Wait()
}

// TestBackupEndsWithItsContext: one who takes nothing does not hold up the end of
// the gateway.
func TestBackupEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	s := httptest.NewUnstartedServer(Backup(&vault{backup: func(_ context.Context, w io.Writer) error {
		var err error
		for block := make([]byte, 1<<20); err == nil; _, err = w.Write(block) {
		}
		ended <- err
		return err
	}}, nil))
	s.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	s.Start()
	defer s.Close()
	res, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	select {
	case err := <-ended:
		t.Fatalf("it ended early: %v", err)
	case <-time.After(100 * time.Millisecond): // by now it waits for us
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
	}
}
