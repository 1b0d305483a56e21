package outbox

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"passerelle"
)

// traced runs a child under strace, with faults injected, and returns what it
// said and what it asked of the system. strace counts calls by thread: when a
// fault strikes is not the same each time.
func traced(t *testing.T, dir, role string, inject ...string) (said, calls []string) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("needs strace: apt install strace")
	}
	log := filepath.Join(t.TempDir(), "trace")
	args := []string{strace, "-f", "-y", "-s", "40", "-o", log, "-e", "trace=write,pwrite64,fdatasync,fsync,renameat,rename,linkat"}
	for _, fault := range inject {
		args = append(args, "-e", "inject="+fault)
	}
	out, err := child(dir, role, args...).Output()
	if err != nil {
		if strings.Contains(string(out), "t59") {
			t.Fatal(err)
		}
		t.Skipf("strace does not work here: %v", err)
	}
	raw, err := os.ReadFile(log)
	must(t, err)
	return lines(string(out)), joinCalls(lines(string(raw)))
}

func lines(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }

// joinCalls makes one line, at the place of its end, of a call that strace
// shows in two because others came between.
func joinCalls(raw []string) []string {
	resumed := regexp.MustCompile(`^<\.\.\. \w+ resumed>`)
	begun := map[string]string{}
	var calls []string
	for _, l := range raw {
		pid, call, _ := strings.Cut(l, " ")
		call = strings.TrimLeft(call, " ")
		if head, ok := strings.CutSuffix(call, " <unfinished ...>"); ok {
			begun[pid] = head
			continue
		}
		calls = append(calls, resumed.ReplaceAllString(call, begun[pid]))
		if resumed.MatchString(call) {
			calls[len(calls)-1] = begun[pid] + resumed.ReplaceAllString(call, "")
		}
	}
	return calls
}

// TestSyncBeforeAnswer reads in the child's system calls that whatever it was
// told had been synced: the database for each append and each loan, the file
// and its folder for each file.
func TestSyncBeforeAnswer(t *testing.T) {
	_, calls := traced(t, t.TempDir(), "one by one")
	database := regexp.MustCompile(`^(pwrite64|fdatasync)\(\d+<.*/outbox\.db>.*= (-?\d+)`)
	var dirty bool          // pages written since the last sync
	var written, syncs int  // of the database, since the last answer
	var staged, named []int // indexes of the syncs of a file, and of a folder
	answers := map[string]int{}
	for i, call := range calls {
		if m := database.FindStringSubmatch(call); m != nil && m[1] == "pwrite64" {
			dirty, written = true, written+1
		} else if m != nil && m[2] == "0" {
			dirty, syncs = false, syncs+1
		}
		if strings.HasPrefix(call, "fsync(") && strings.Contains(call, "/files/"+stagePrefix) {
			staged = append(staged, i)
		}
		if regexp.MustCompile(`^fsync\(\d+<.*/files/..>\) += 0`).MatchString(call) {
			named = append(named, i)
		}
		verb := answer(call)
		switch verb {
		case "appended", "lent":
			if written == 0 || syncs < 2 || dirty {
				t.Fatalf("%q after %d writes and %d syncs, unsynced writes: %t", call, written, syncs, dirty)
			}
			written, syncs = 0, 0
		case "spooled":
			rename := slices.IndexFunc(calls, func(c string) bool { return strings.HasPrefix(c, "rename") && strings.Contains(c, sumIn(call)) })
			if rename < 0 || len(staged) == 0 || len(named) == 0 || staged[len(staged)-1] > rename || named[len(named)-1] < rename {
				t.Fatalf("%q: file synced at %v, renamed at %d, folder synced at %v", call, staged, rename, named)
			}
			staged, named = nil, nil
		}
		answers[verb]++
	}
	if answers["appended"] != 60 || answers["lent"] != 60 || answers["spooled"] != 60 {
		t.Errorf("the trace shows %v", answers)
	}
}

// TestReadOnlyWhatIsSynced: bbolt shows a commit to readers before its last sync
// is over; we must not.
func TestReadOnlyWhatIsSynced(t *testing.T) {
	_, calls := traced(t, t.TempDir(), "reader", "fdatasync:delay_enter=10000")
	database := regexp.MustCompile(`^(pwrite64|fdatasync)\(\d+<.*/outbox\.db>.*= (-?\d+)`)
	dirty, answers := false, 0
	for _, call := range calls {
		if m := database.FindStringSubmatch(call); m != nil {
			dirty = m[1] == "pwrite64"
		}
		if answer(call) == "seen" {
			answers++
			if dirty {
				t.Errorf("%q before the sync", call)
			}
		}
	}
	if answers != 20 {
		t.Errorf("%d answers", answers)
	}
}

// answer is the first word of what the child wrote to its standard output.
func answer(call string) string {
	m := regexp.MustCompile(`^write\(1<[^>]*>, "(\w+)`).FindStringSubmatch(call)
	if m == nil {
		return ""
	}
	return m[1]
}

// sumIn is the beginning of a sum that the child wrote.
func sumIn(call string) string {
	return regexp.MustCompile(`spooled (\w{8})`).FindStringSubmatch(call)[1]
}

// TestSyncFails: after a failed sync nothing is acknowledged any more, and what
// was is there.
func TestSyncFails(t *testing.T) {
	dir := t.TempDir()
	said, _ := traced(t, dir, "one by one", "fdatasync:error=EIO:when=12+")
	failed := slices.IndexFunc(said, begins("failed"))
	if failed < 0 {
		t.Fatalf("no sync failed: %q", said)
	}
	if i := slices.IndexFunc(said[failed:], begins("appended")); i >= 0 {
		t.Errorf("%q after %q", said[failed+i], said[failed])
	}
	if last := said[len(said)-1]; !strings.Contains(last, "closed to reading") || !strings.Contains(last, dir) {
		t.Errorf("the error does not say what to do: %q", last)
	}
	checkSaid(t, dir, said)
}

// TestDiskFull: while the disk is full appends fail, then they go on.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	said, _ := traced(t, dir, "one by one", "pwrite64:error=ENOSPC:when=40..45")
	failed := slices.IndexFunc(said, begins("failed"))
	if failed < 0 {
		t.Fatalf("no write failed: %q", said)
	}
	if !strings.Contains(said[failed], "make room") {
		t.Errorf("the error does not say what to do: %q", said[failed])
	}
	if slices.IndexFunc(said[failed:], begins("appended")) < 0 {
		t.Errorf("it does not go on: %q", said[failed:])
	}
	checkSaid(t, dir, said)
}

// TestFileNotSynced: a file that could not be synced is not spooled.
func TestFileNotSynced(t *testing.T) {
	dir := t.TempDir()
	said, _ := traced(t, dir, "one by one", "fsync:error=EIO:when=20+")
	if !slices.ContainsFunc(said, func(l string) bool { return begins("failed")(l) && strings.Contains(l, "put file") }) {
		t.Fatalf("no file failed: %q", said)
	}
	checkSaid(t, dir, said)
}

func begins(verb string) func(string) bool {
	return func(line string) bool { return strings.HasPrefix(line, verb) }
}

// checkSaid opens the store again: what was acknowledged is present; what was
// not, is present whole or absent.
func checkSaid(t *testing.T, dir string, said []string) {
	t.Helper()
	s := openBolt(t, dir)
	defer s.Close()
	for _, line := range said {
		verb, token, _ := strings.Cut(line, " ")
		token, _, _ = strings.Cut(token, " ")
		if verb != "appended" && verb != "failed" {
			continue
		}
		_, err := s.Find(context.Background(), deal, passerelle.Requester, token)
		seen, err2 := s.Seen(context.Background(), aName(token))
		must(t, err2)
		if err != nil && !errors.Is(err, passerelle.ErrNotFound) {
			t.Fatal(err)
		}
		if verb == "appended" && err != nil || seen[token] != (err == nil) {
			t.Errorf("%q: link %v, name seen %t", line, err, seen[token])
		}
	}
	must(t, s.Append(context.Background(), &Change{Link: aLink("after"), Entries: []*Entry{anEntry(passerelle.Partner, "after")}}))
}
