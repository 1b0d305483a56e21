package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"passerelle/outbox"
)

func backupCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "backup FILE", Short: "Make a backup of the running gateway", Args: cobra.ExactArgs(1),
		Long: `Backup asks the running gateway for all that it holds and writes it to FILE, for
"gateway restore". The gateway goes on meanwhile.

It is written to FILE.partial, synced and read back; only when it is whole it
takes FILE's name. What was FILE before is replaced by a whole backup or not at
all. FILE holds the texts and the attachments of tickets: it is made for its
owner alone (0600), keep it so.`}
	addr := adminFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b := &backup{path: args[0], url: *addr + "/api/backup", out: cmd.OutOrStdout()}
		if err := b.make(cmd.Context(), cmd.ErrOrStderr()); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
		return nil
	}
	return cmd
}

// backup is one on its way from the gateway to a file.
type backup struct {
	path, url string
	out       io.Writer
	meter     *meter
	file      *os.File // FILE.partial
	report    *outbox.BackupReport
	bytes     int64 // of the file
}

func (b *backup) make(ctx context.Context, progress io.Writer) error {
	start := time.Now()
	b.meter = startMeter(progress, "the gateway copies its database")
	old, err := b.take(ctx)
	b.meter.end()
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "%s: whole, %s; %s in %.1f s%s\n", b.path, describe(b.report), size(b.bytes), time.Since(start).Seconds(), old)
	printMissing(b.out, b.report.Missing)
	return nil
}

// take makes the file; old says that it replaced another.
func (b *backup) take(ctx context.Context) (old string, err error) {
	if there, err := os.Lstat(b.path); err == nil {
		if !there.Mode().IsRegular() {
			return "", fmt.Errorf("%s is no ordinary file (name a new one, or an older backup to replace)", b.path)
		}
		old = " (the file of " + moment(there.ModTime()) + " is replaced)"
	}
	if b.file, err = openPartial(b.path + ".partial"); err != nil {
		return "", err
	}
	defer b.file.Close()
	if err := b.fill(ctx); err != nil {
		return "", errors.Join(fmt.Errorf("none was made, %s is as it was: %w", b.path, err), os.Remove(b.file.Name()))
	}
	if err := os.Rename(b.file.Name(), b.path); err != nil {
		return "", err
	}
	return old, syncFolder(filepath.Dir(b.path))
}

// openPartial takes a file that nobody else is writing: what a killed backup left
// is written over.
func openPartial(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	busy := errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK)
	ours, err := f.Stat()
	now, gone := os.Stat(path)
	if busy || gone != nil || !os.SameFile(ours, now) { // the other one may have ended just now
		return nil, errors.Join(fmt.Errorf("%s: another backup is being written there (wait for its end)", path), f.Close())
	}
	if err = errors.Join(err, f.Chmod(0o600), f.Truncate(0)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// fill writes what the gateway sends, and reads it back.
func (b *backup) fill(ctx context.Context) error {
	res, err := ask(ctx, http.MethodGet, b.url, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b.meter.begin("copying")
	if _, err := outbox.Verify(io.TeeReader(res.Body, b.file), b.meter.tell); err != nil {
		return fmt.Errorf("%w; the gateway's log may say more", err)
	}
	if err := b.file.Sync(); err != nil {
		return err
	}
	if b.bytes, err = b.file.Seek(0, io.SeekCurrent); err != nil {
		return err
	}
	if _, err := b.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	b.meter.begin("reading it back")
	b.report, err = outbox.Verify(&patient{ctx, b.file}, b.meter.tell)
	return err
}

// syncFolder makes the names in a folder durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// describe says what a backup holds.
func describe(r *outbox.BackupReport) string {
	return fmt.Sprintf("as of %s: %s, %s, %s", moment(r.Made), plural(r.Pairs, "pair", "pairs"), plural(r.Events, "entry", "entries"), plural(r.Files, "attachment", "attachments"))
}

// printMissing names the attachments that were lost before the backup.
func printMissing(out io.Writer, sums []string) {
	if len(sums) > 0 {
		fmt.Fprintf(out, "missing: %s not in it: the gateway's disk had lost what entries wait for, or not kept it as it was. The messages will park: have the files attached again. files/%s\n",
			plural(len(sums), "attachment is", "attachments are"), strings.Join(sums, ", files/"))
	}
}

// backupSize is the size of a backup's file, 0 if it is a pipe.
func backupSize(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if info.IsDir() {
		return 0, &fs.PathError{Op: "read", Path: f.Name(), Err: syscall.EISDIR}
	}
	if !info.Mode().IsRegular() {
		return 0, nil
	}
	return info.Size(), nil
}
