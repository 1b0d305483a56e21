package outbox

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"passerelle"
)

// aBackup is the backup of a small store that has something in every table, and
// entries in every status.
func aBackup(t testing.TB) []byte {
	t.Helper()
	s := openBolt(t, t.TempDir())
	defer s.Close()
	ctx := context.Background()
	for i := range 5 {
		addFile(t, s, fmt.Sprint(i), fmt.Sprint("file ", i%2))
	}
	for _, to := range []Status{Done, Parked, Waiting} {
		e, err := s.Next(ctx, toPartner)
		must(t, err)
		must(t, s.Settle(ctx, e, Outcome{To: to, Before: time.Now().Add(time.Hour), Names: []Name{{deal, passerelle.Partner, string(to)}}}))
	}
	_, err := s.Next(ctx, toPartner) // stays lent
	must(t, err)
	must(t, s.Look(ctx, Look{Contract: deal, Side: passerelle.Partner, Key: "7"}))
	must(t, s.Keep(ctx, "cursor", "here"))
	backup, _ := backupOf(t, s)
	return backup
}

// TestRestore: what was final is as it was; what was not will be asked about; no
// number is given again.
func TestRestore(t *testing.T) {
	start := time.Now()
	dir, what := restored(t, aBackup(t))
	if what.Links != 5 || what.Entries != 5 || what.Pairs != 5 || what.Events != 5 || what.Unsettled != 4 || what.Skip != 10000 || what.Files != 2 ||
		what.Backup.Before(start.Round(0)) || what.At.Before(what.Backup) {
		t.Errorf("%+v", what)
	}
	s := openBolt(t, dir)
	defer s.Close()
	ctx := context.Background()
	raw, err := s.Kept(ctx, RestoredKey)
	must(t, err)
	kept := &Restored{}
	must(t, json.Unmarshal([]byte(raw), kept))
	if a, b := fmt.Sprint(*kept), fmt.Sprint(*what); a != b {
		t.Errorf("kept is %s, told was %s", a, b)
	}
	if cursor, err := s.Kept(ctx, "cursor"); cursor != "here" || err != nil {
		t.Errorf("the cursor is %q: %v", cursor, err)
	}
	for id, want := range []Status{1: Done, 2: Parked, 3: Waiting, 4: Waiting, 5: Waiting} {
		if e, err := s.Entry(ctx, uint64(id)); id > 0 && (err != nil || e.Status != want || e.Restored == want.Final() || e.Probe == want.Final()) {
			t.Errorf("entry %d: %+v %v", id, e, err)
		}
	}
	next := aLink("new")
	more := anEntry(passerelle.Partner, "new")
	must(t, s.Append(ctx, &Change{Link: next, Entries: []*Entry{more}}))
	if next.ID != "10006" || more.ID != 10000006 {
		t.Errorf("the next link is %s, the next entry %d", next.ID, more.ID)
	}
	old := aLink("forgotten")
	old.ID, old.Own.Key = "6", "6"
	must(t, s.Append(ctx, &Change{Link: old}))
	once, report := backupOf(t, s) // of what was restored
	if _, again := restored(t, once); again.Links != 10006 || again.Entries != 10000006 || again.Pairs != 7 || again.Events != 6 || again.Files != report.Files {
		t.Errorf("once more: %+v", again)
	}
}

func TestRestoreOptions(t *testing.T) {
	backup := aBackup(t)
	var told []int64
	now := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	dir := t.TempDir() // there, and empty
	what, err := Restore(bytes.NewReader(backup), dir, RestoreOptions{Skip: 3, Now: now, Progress: func(n int64) { told = append(told, n) }})
	must(t, err)
	if what.Skip != 3 || !what.At.Equal(now) || !slices.IsSorted(told) || told[len(told)-1] != int64(len(backup)) {
		t.Errorf("%+v; told %v of %d", what, told, len(backup))
	}
	s := openBolt(t, dir)
	defer s.Close()
	l := aLink("new")
	must(t, s.Append(context.Background(), &Change{Link: l}))
	if l.ID != "9" {
		t.Errorf("the next link is %s", l.ID)
	}
	if _, err := Restore(bytes.NewReader(backup), filepath.Join(dir, "b"), RestoreOptions{Skip: 1 << 50}); err == nil {
		t.Error("all numbers were skipped")
	}
}

func TestRestoreRefusesAFolder(t *testing.T) {
	backup := aBackup(t)
	used := t.TempDir()
	must(t, openBolt(t, used).Close())
	other := t.TempDir()
	must(t, os.WriteFile(filepath.Join(other, "lost+found"), nil, 0o600))
	file := filepath.Join(other, "lost+found")
	running := t.TempDir()
	defer openBolt(t, running).Close()
	for dir, says := range map[string]string{used: "is not empty: it holds files", other: "is not empty: it holds lost+found", file: "not a directory", running: "is in use: a gateway runs on it"} {
		before := tree(t, dir)
		_, err := Restore(bytes.NewReader(backup), dir, RestoreOptions{})
		if err == nil || !strings.HasPrefix(err.Error(), "outbox: restore: ") || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", says, err)
		}
		if after := tree(t, dir); !slices.Equal(before, after) {
			t.Errorf("%s held %q, now %q", dir, before, after)
		}
	}
}

// tree lists what is in a folder, nil if it is not there.
func tree(t testing.TB, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			names = append(names, path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return names
}

// TestRestoreModes: what lies on disk is for the gateway's user alone.
func TestRestoreModes(t *testing.T) {
	dir, _ := restored(t, aBackup(t))
	folders := 0
	for _, path := range tree(t, dir) {
		info, err := os.Stat(path)
		must(t, err)
		want := os.FileMode(0o600)
		if info.IsDir() {
			want, folders = 0o700, folders+1
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, should be %o", path, got, want)
		}
	}
	if names := tree(t, dir); len(names)-folders != 3 { // the database, two files
		t.Errorf("the folder holds %q", names)
	}
}

// asRestored restores a backup that may be altered, and says all that the store
// then says; nothing if it is refused.
func asRestored(t *testing.T, backup []byte) ([]string, error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	now := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	what, err := Restore(bytes.NewReader(backup), dir, RestoreOptions{Now: now})
	if _, verified := Verify(bytes.NewReader(backup), nil); (verified == nil) != (err == nil) && !sealedByUs(backup) {
		t.Errorf("restored: %v, verified: %v", err, verified)
	}
	if err != nil {
		if left := tree(t, dir); len(left) > 0 {
			t.Errorf("refused, and left %q: %v", left, err)
		}
		return nil, err
	}
	s := openBolt(t, dir)
	defer s.Close()
	all, err := readAll(s)
	must(t, err)
	kept, err := s.Kept(context.Background(), RestoredKey)
	must(t, err)
	all = append(all, kept, fmt.Sprint(*what))
	for _, path := range filesIn(t, dir) {
		raw, err := os.ReadFile(path)
		must(t, err)
		all = append(all, filepath.Base(path)+sumOf(raw))
	}
	return all, nil
}

// sealedByUs tells whether a backup was altered and then given an end as if it
// were whole: that shows only when the database is read.
func sealedByUs(backup []byte) bool { return bytes.HasSuffix(backup, []byte(sealMark)) }

const sealMark = "sealed by a test" // behind the tar's own end, where nobody reads

// TestRestoreAltered changes bytes of a backup: it is refused, or no worse.
func TestRestoreAltered(t *testing.T) {
	rng := chance(t)
	backup := aBackup(t)
	want, err := asRestored(t, backup)
	must(t, err)
	refused := 0
	for _, at := range offsets(t, rng, backup) {
		altered := bytes.Clone(backup)
		altered[at] ^= byte(1 << rng.IntN(8))
		got, err := asRestored(t, altered)
		if err == nil && !slices.Equal(got, want) {
			t.Errorf("byte %d altered: restored\n%q, not\n%q", at, got, want)
		}
		if err != nil {
			refused++
		}
	}
	if refused < 2**flipsFlag/3 {
		t.Errorf("%d refused", refused)
	}
}

// offsets are random ones: some in each part's header and in its content, some
// anywhere.
func offsets(t *testing.T, rng *rand.Rand, backup []byte) []int {
	const block = 512
	var at []int
	start := 0
	for _, p := range parts(t, backup) {
		for range *flipsFlag / 12 {
			at = append(at, start+rng.IntN(block), start+block+rng.IntN(len(p.body)), rng.IntN(len(backup)))
		}
		start += block + (len(p.body)+block-1)/block*block
	}
	return at
}

// TestRestoreCut: a backup without its end is refused, and says why.
func TestRestoreCut(t *testing.T) {
	rng := chance(t)
	backup := aBackup(t)
	whole := bytes.LastIndex(backup, []byte(endName)) + 512 + 1 // has begun its last part
	for i := range *flipsFlag / 2 {
		n := rng.IntN(whole)
		switch {
		case i == 0:
			n = 0
		case i%2 == 0:
			n = n / 512 * 512 // at the edge of a block
		}
		_, err := asRestored(t, backup[:n])
		if err == nil || !strings.Contains(err.Error(), "the backup is incomplete") {
			t.Errorf("%d of %d bytes: %v", n, len(backup), err)
		}
	}
	if _, err := asRestored(t, backup[:len(backup)-1]); err == nil {
		t.Error("without its last byte it is taken")
	}
}

// TestVerify: it tells what Backup told, and how far it is; one that cannot be
// read is said to be so.
func TestVerify(t *testing.T) {
	s := openBolt(t, t.TempDir())
	defer s.Close()
	addFile(t, s, "1", strings.Repeat("x", 100000))
	backup, want := backupOf(t, s)
	var told []int64
	total := int64(0)
	got, err := Verify(bytes.NewReader(backup), func(done, of int64) { told, total = append(told, done), of })
	must(t, err)
	if fmt.Sprint(*got) != fmt.Sprint(*want) || got.Pairs != 1 || got.Events != 1 {
		t.Errorf("made: %+v; verified: %+v", want, got)
	}
	if total != want.Bytes || told[len(told)-1] != total || !slices.IsSorted(told) {
		t.Errorf("told %v of %d", told, total)
	}
	if _, err := Verify(iotest.ErrReader(errBroken), nil); !errors.Is(err, errBroken) || !strings.HasPrefix(err.Error(), "outbox: verify: ") {
		t.Error(err)
	}
}

// part is one part of a tar stream.
type part struct {
	tar.Header
	body string
}

func parts(t *testing.T, backup []byte) (all []part) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(backup))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		must(t, err)
		body, err := io.ReadAll(r)
		must(t, err)
		all = append(all, part{*h, string(body)})
	}
}

func packed(t *testing.T, all []part) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, p := range all {
		p.Size = int64(len(p.body))
		must(t, w.WriteHeader(&p.Header))
		_, err := io.WriteString(w, p.body)
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

// TestRestoreOnlyWhatBackupMakes: every other tar is refused.
func TestRestoreOnlyWhatBackupMakes(t *testing.T) {
	backup := aBackup(t)
	all := parts(t, backup)
	if len(all) != 5 || all[0].Name != headName || all[3].Name != dbName || all[4].Name != endName {
		t.Fatalf("%d parts", len(all))
	}
	named := func(name string) part { return part{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600}, "x"} }
	link := part{tar.Header{Name: "files/" + sumOf(nil), Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, ""}
	with := func(i int, p part) []part { return slices.Insert(slices.Clone(all), i, p) }
	without := func(i int) []part { return slices.Delete(slices.Clone(all), i, i+1) }
	body := func(i int, body string) []part {
		other := slices.Clone(all)
		other[i].body = body
		return other
	}
	for what, c := range map[string]struct {
		backup []byte
		says   string
	}{
		"nothing":                            {nil, "incomplete"},
		"text":                               {bytes.Repeat([]byte("no tar\n"), 1000), "no backup of ours"},
		"empty tar":                          {packed(t, nil), "incomplete"},
		"no head":                            {packed(t, without(0)), "no backup of ours"},
		"no file":                            {packed(t, without(2)), "holds 1 files and says 2"},
		"no database":                        {packed(t, without(3)), "no backup of ours"},
		"no end":                             {packed(t, without(4)), "incomplete"},
		"a file twice":                       {packed(t, with(3, all[2])), "no backup of ours"},
		"one more":                           {packed(t, with(3, named("files/"+sumOf([]byte("x"))))), "holds 3 files and says 2"},
		"another's name":                     {packed(t, with(3, named("files/"+sumOf([]byte("y"))))), "is damaged"},
		"a path":                             {packed(t, with(3, named("files/../../x"))), "no backup of ours"},
		"an absolute":                        {packed(t, with(3, named("/tmp/x"))), "no backup of ours"},
		"a link":                             {packed(t, with(3, link)), "no backup of ours"},
		"after the end":                      {packed(t, with(5, named("x"))), "no backup of ours"},
		"other file":                         {packed(t, body(1, "file 7")), "is damaged"},
		"other database":                     {packed(t, body(3, all[3].body+"x")), "outbox.db is damaged"},
		"other head":                         {packed(t, body(0, strings.Replace(all[0].body, `"made":"20`, `"made":"19`, 1))), "backup.json is damaged"},
		"no JSON":                            {packed(t, body(0, "{")), "backup.json is damaged"},
		"newer":                              {packed(t, body(0, `{"format":2}`)), "a newer one"},
		"sealed by us, the database is none": {packed(t, sealed(t, all, "x", nil)), "no database of ours"},
		"sealed by us, rows are damaged":     {packed(t, sealed(t, all, strings.ReplaceAll(all[3].body, `"text":"3"`, `"text":"7"`), nil)), "is damaged"},
		"of a newer schema":                  {packed(t, sealed(t, all, all[3].body, func(h *backupHead) { h.Schema++ })), "of schema 2, this program knows 1 (use the program that made it, or a newer one)"},
		"sealed by us, fewer pairs":          {packed(t, sealed(t, all, all[3].body, func(h *backupHead) { h.Pairs++ })), "backup.json is damaged"},
		"sealed by us, more entries":         {packed(t, sealed(t, all, all[3].body, func(h *backupHead) { h.Events-- })), "backup.json is damaged"},
		"sealed by us, the counters differ":  {packed(t, sealed(t, all, all[3].body, func(h *backupHead) { h.Links-- })), "backup.json is damaged"},
		"sealed by us, a file is forgotten":  {packed(t, sealed(t, without(2), all[3].body, func(h *backupHead) { h.Files-- })), "lacks file"},
	} {
		if strings.HasPrefix(what, "sealed by us") {
			if _, err := Verify(bytes.NewReader(c.backup), nil); err != nil {
				t.Errorf("%s: not well sealed: %v", what, err)
			}
			c.backup = append(c.backup, sealMark...)
		}
		_, err := asRestored(t, c.backup)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// sealed replaces the database and changes the head, and ends the backup as if
// both were right.
func sealed(t *testing.T, all []part, db string, change func(*backupHead)) []part {
	t.Helper()
	all = slices.Clone(all)
	n := len(all)
	if change != nil {
		h := &backupHead{}
		must(t, json.Unmarshal([]byte(all[0].body), h))
		change(h)
		raw, err := json.Marshal(h)
		must(t, err)
		all[0].body = string(raw)
	}
	all[n-2].body = db
	raw, err := json.Marshal(backupEnd{DB: sumOf([]byte(db)), Head: sumOf([]byte(all[0].body))})
	must(t, err)
	all[n-1].body = string(raw)
	return all
}

// TestRestoreInterrupted: what a power cut leaves is no store, and is not
// restored into.
func TestRestoreInterrupted(t *testing.T) {
	backup := aBackup(t)
	dir := filepath.Join(t.TempDir(), "data")
	left := 0
	r := &spied{r: bytes.NewReader(backup), spy: func() {
		cut := filepath.Join(t.TempDir(), "cut")
		must(t, os.CopyFS(cut, os.DirFS(dir)))
		before := tree(t, cut)
		_, open := OpenBolt(cut)
		_, again := Restore(bytes.NewReader(backup), cut, RestoreOptions{})
		for what, err := range map[string]error{"open": open, "restore": again} {
			if err == nil || !strings.Contains(err.Error(), restoreAgain) || !strings.Contains(err.Error(), "interrupted") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if after := tree(t, cut); !slices.Equal(before, after) {
			t.Errorf("%q became %q", before, after)
		}
		left++
	}}
	_, err := Restore(r, dir, RestoreOptions{})
	must(t, err)
	if left < 4 {
		t.Errorf("looked %d times", left)
	}
	must(t, openBolt(t, dir).Close())
}

// spied calls spy before each reading.
type spied struct {
	r   io.Reader
	spy func()
}

// Read implements io.Reader.
func (s *spied) Read(b []byte) (int, error) {
	s.spy()
	return s.r.Read(b[:min(len(b), 16384)])
}

// restoreWork is the child of the next test: the backup lies beside the folder.
func restoreWork(dir string) {
	f, err := os.Open(dir + ".tar")
	if err == nil {
		_, err = Restore(f, dir, RestoreOptions{})
	}
	say("restored %v", err)
}

// TestRestoreIsSynced reads in the child's system calls that everything is on
// disk before the database has its name, and that name before the answer.
func TestRestoreIsSynced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	must(t, os.WriteFile(dir+".tar", aBackup(t), 0o600))
	said, calls := traced(t, dir, "restore")
	if said[0] != "restored <nil>" {
		t.Fatalf("the child says %q", said)
	}
	at := func(call string) int {
		return slices.IndexFunc(calls, regexp.MustCompile(call).MatchString)
	}
	named, answered := at(`^rename.*/outbox\.restoring".*/outbox\.db"`), at(`^write\(1<`)
	folder := regexp.MustCompile(`^fsync\(\d+<` + regexp.QuoteMeta(dir) + `>\) += 0`).MatchString
	if named < 0 || !slices.ContainsFunc(calls[named:answered], folder) || !slices.ContainsFunc(calls[:named], folder) {
		t.Errorf("named at %d, answered at %d, folder synced: %q", named, answered, calls)
	}
	dirty, files := map[string]bool{}, 0
	touched := regexp.MustCompile(`^(\w+)\(.*?<?"?(` + regexp.QuoteMeta(dir) + `/[^>"]*)`)
	for _, call := range calls[:named] {
		m := touched.FindStringSubmatch(call)
		if m == nil {
			continue
		}
		switch m[1] {
		case "write", "pwrite64":
			dirty[m[2]] = true
		case "fsync", "fdatasync":
			delete(dirty, m[2])
		case "rename", "renameat":
			files++
			dirty[filepath.Join(dir, fileDir, sumNamed(call)[:2])] = true
		}
	}
	if len(dirty) > 0 || files != 2 {
		t.Errorf("not synced before the end: %v; %d files", dirty, files)
	}
}

// sumNamed is the sum that a file is renamed to.
func sumNamed(call string) string {
	names := regexp.MustCompile(`[0-9a-f]{64}`).FindAllString(call, -1)
	return names[len(names)-1]
}
