package conversation

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"passerelle"
	"passerelle/internal/trial"
	"passerelle/outbox"
)

var rounds = flag.Int("faults", 1, "how often each trouble of the disk is played")

// A trouble of the disk: how it begins, and what /readyz says meanwhile.
type trouble struct {
	name  string
	begin func(d *disk) (end func())
	says  string
	shuts bool // the store is closed until a restart
	some  bool // files only: what has none is stored
}

// troubles are all that is played. strace has the system calls fail; a limit of
// the process, renaming and rights need no help.
var troubles = []trouble{
	{name: "the pages cannot be synced", begin: inject("fdatasync:error=EIO"), says: `closed to reading and writing.*input/output error.*then restart`, shuts: true},
	{name: "the head page cannot be synced", begin: inject("fdatasync:error=EIO:when=2+2"), says: `closed to reading and writing.*then restart`, shuts: true},
	{name: "the disk is full", begin: inject("pwrite64:error=ENOSPC"), says: `nothing written.*no space left on device.*make room`},
	{name: "full at each third write", begin: inject("pwrite64:error=ENOSPC:when=3+3"), says: `nothing written.*make room`},
	{name: "a write fails", begin: inject("pwrite64:error=EIO"), says: `closed to reading and writing.*input/output error`, shuts: true},
	{name: "no file may be longer", begin: limit, says: `nothing written.*file too large.*make room`},
	{name: "files cannot be named", begin: inject("renameat,renameat2:error=EIO"), says: `put file.*input/output error`, some: true},
	{name: "files cannot be synced", begin: inject("fsync:error=EIO"), says: `put file.*input/output error|closed to reading`, some: true},
	{name: "the folder may not be written", begin: forbid, says: `put file.*permission denied`, some: true},
	{name: "the folder is gone", begin: rename, says: `is not where it was.*put the folder back`},
}

// TestDiskTrouble has the disk of the whole gateway fail in each of these ways,
// while senders write and repeat what was not acknowledged. Nothing is
// acknowledged that was not stored, /readyz tells while it lasts; afterwards, and
// after a restart, all that was acknowledged is in the other tool once and in
// order. `make faults` does it many times.
func TestDiskTrouble(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace: apt install strace (make faults does)")
	}
	d := &disk{crash: &crash{t: t, data: filepath.Join(t.TempDir(), "data"), wrapper: mortal(), rnd: rand.New(rand.NewPCG(5, uint64(*rounds)))}}
	d.rig = &rig{ctx: t.Context(), store: outbox.NewMem(), cancel: func() {}, tools: map[passerelle.Side]*trial.Tool{}, ears: map[passerelle.Side]*ear{}}
	defer func() {
		d.end()
		if err := d.close(); err != nil {
			t.Error(err)
		}
	}()
	d.setUp()
	d.listen, d.admin = d.free(), d.free()
	d.point("http://" + d.listen)
	d.start()
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for range 2 {
		senders.Go(func() { d.send(stop) })
	}
	senders.Go(func() { d.talk(stop) })
	for i := 0; i < *rounds*len(troubles) && !t.Failed(); i++ {
		round, n := i/len(troubles), i%len(troubles)
		d.suffer(troubles[n], (round+n)%2 == 1)
	}
	close(stop)
	d.restart()
	senders.Wait()
	if !t.Failed() {
		d.finish()
	}
	t.Logf("%d troubles, %d answers 503, %d tickets, %d messages acknowledged, %d comments written in Jira", *rounds*len(troubles), d.denied.Load(), len(d.tickets), d.acked.Load(), d.written.Load())
}

type disk struct{ *crash }

// talk writes on one ticket after the other from one side only, until stop: it
// never waits for what must come back, so that somebody always writes.
func (d *disk) talk(stop chan struct{}) {
	var mine []*crashed
	for {
		select {
		case <-stop:
			for _, ticket := range mine {
				for ticket.issue.Load() == nil && !d.t.Failed() {
					time.Sleep(5 * time.Millisecond)
					d.refer(ticket)
				}
			}
			return
		case <-time.After(200 * time.Millisecond):
		}
		ticket, err := d.ticket()
		if err != nil {
			d.t.Error(err)
			return
		}
		mine = append(mine, ticket)
		d.writeThere(ticket)
	}
}

// mortal is what takes from root the right to write where nobody may.
func mortal() []string {
	if os.Getuid() != 0 {
		return nil
	}
	return []string{"setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"}
}

// suffer plays one trouble: it comes, is told of, and goes; or the gateway is
// killed in its midst.
func (d *disk) suffer(tr trouble, killed bool) {
	d.await("ready", "^ready")
	d.grows(tr.name+": before", &d.acked)
	over := tr.begin(d)
	d.grows(tr.name+": refused", &d.denied)
	d.await(tr.name, tr.says)
	if !tr.some {
		d.nothing(tr.name)
	}
	if d.t.Failed() {
		over()
		return
	}
	if told := *d.why.Load(); !strings.Contains(told, `"code":100`) || !strings.Contains(told, "503") {
		d.t.Errorf("%s: a sender is answered %s", tr.name, told)
	}
	if killed {
		d.end()
	}
	over()
	switch {
	case killed:
		d.start()
	case tr.shuts:
		d.await(tr.name+": afterwards", tr.says)
		d.nothing(tr.name + ": afterwards")
		d.restart()
	case d.says("closed to reading"): // the database itself was synced just then
		d.restart()
	}
	d.await(tr.name+": over", "^ready")
	d.grows(tr.name+": after", &d.acked)
}

func (d *disk) restart() {
	d.end()
	d.start()
}

// says tells whether /readyz says something now.
func (d *disk) says(what string) bool { return regexp.MustCompile(what).MatchString(d.ready()) }

func (d *disk) ready() string {
	res, err := http.Get("http://" + d.admin + "/readyz")
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body) // what was read is shown
	if (res.StatusCode == http.StatusOK) != (string(b) == "ready\n") {
		d.t.Errorf("/readyz answers %s with %q", res.Status, b)
	}
	return string(b)
}

func (d *disk) await(when, what string) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && !d.t.Failed(); time.Sleep(5 * time.Millisecond) {
		if d.says(what) {
			return
		}
	}
	d.t.Errorf("%s: /readyz says %q, not %q", when, d.ready(), what)
}

// grows waits until something is counted.
func (d *disk) grows(what string, n interface{ Load() int64 }) {
	from := n.Load()
	for end := time.Now().Add(20 * time.Second); n.Load() < from+3; time.Sleep(time.Millisecond) {
		if time.Now().After(end) || d.t.Failed() {
			d.t.Errorf("%s: nobody was", what)
			return
		}
	}
}

// nothing is acknowledged for a while.
func (d *disk) nothing(when string) {
	time.Sleep(100 * time.Millisecond) // a commit that had begun
	from := d.acked.Load()
	time.Sleep(50 * time.Millisecond)
	if n := d.acked.Load() - from; n > 0 {
		d.t.Errorf("%s: %d messages were acknowledged", when, n)
	}
}

// inject has system calls of the gateway fail. strace counts them by thread.
func inject(fault string) func(*disk) func() {
	return func(d *disk) func() {
		var said bytes.Buffer
		calls, _, _ := strings.Cut(fault, ":")
		s := exec.Command("strace", "-f", "-o", os.DevNull, "-e", "trace="+calls, "-e", "inject="+fault, "-p", fmt.Sprint(d.child.Process.Pid))
		s.Stderr = &said
		if err := s.Start(); err != nil {
			d.t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- s.Wait() }() // ends below
		for !d.traced() {
			select {
			case <-ended:
				d.t.Skipf("strace does not work here: %s", said.String())
			case <-time.After(5 * time.Millisecond):
			}
		}
		return func() {
			_ = s.Process.Signal(syscall.SIGINT) // it lets go of the child, or is gone with it
			<-ended
		}
	}
}

// traced tells whether each thread of the gateway is.
func (d *disk) traced() bool {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", d.child.Process.Pid))
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err == nil && strings.Contains(string(b), "TracerPid:\t0\n") {
			return false
		}
	}
	return true
}

// limit lets no file grow beyond the head pages of the database.
func limit(d *disk) func() {
	set := func(to string) {
		if out, err := exec.Command("prlimit", "--pid", fmt.Sprint(d.child.Process.Pid), "--fsize="+to+":").CombinedOutput(); err != nil && d.child.ProcessState == nil {
			d.t.Errorf("prlimit: %v: %s", err, out)
		}
	}
	set("8192")
	return func() { set("unlimited") }
}

// forbid takes away the right to write.
func forbid(d *disk) func() {
	change := func(mode os.FileMode) {
		err := filepath.WalkDir(d.data, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				err = os.Chmod(path, mode)
			}
			return err
		})
		if err != nil && !os.IsNotExist(err) { // a file that went meanwhile
			d.t.Error(err)
		}
	}
	change(0o500)
	return func() { change(0o700) }
}

// rename takes the data folder away, and puts it back.
func rename(d *disk) func() {
	move := func(from, to string) {
		if err := os.Rename(from, to); err != nil {
			d.t.Error(err)
		}
	}
	move(d.data, d.data+".gone")
	return func() { move(d.data+".gone", d.data) }
}
