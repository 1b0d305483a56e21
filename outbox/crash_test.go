package outbox

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"passerelle"
)

var killsFlag = flag.Int("kills", 20, "how often the crash test kills its child")

// childDir names the folder of a store; set, the test binary is a child that
// works on it, and writes a line for each answer that it got.
const (
	childDir  = "OUTBOX_CHILD_DIR"
	childRole = "OUTBOX_CHILD_ROLE"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		work(dir, os.Getenv(childRole))
		return
	}
	os.Exit(m.Run())
}

// child prepares this binary to work on a store, under a tracer if given.
func child(dir, role string, tracer ...string) *exec.Cmd {
	args := append(tracer, os.Args[0])
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), childDir+"="+dir, childRole+"="+role)
	cmd.Stderr = os.Stderr
	return cmd
}

// say writes one line in one write.
func say(format string, args ...any) { fmt.Fprintf(os.Stdout, format+"\n", args...) }

// teller takes what a sender or a worker says, as say does.
type teller func(format string, args ...any)

// work is the child: it never ends by itself, unless its role says so.
func work(dir, role string) {
	switch role {
	case "restore":
		restoreWork(dir)
		return
	case "shared":
		sharedWork()
		return
	}
	s, err := OpenBolt(dir)
	if err != nil {
		say("open %v", err)
		return
	}
	switch role {
	case "crash":
		crashWork(s)
	case "one by one":
		oneByOne(s)
	case "reader":
		readAhead(s)
	}
	if err := s.Close(); err != nil {
		say("close %v", err)
	}
}

// crashWork has four senders, and two workers on each side.
func crashWork(s Store) {
	var wg sync.WaitGroup
	run := fmt.Sprint(time.Now().UnixNano())
	for i := range 4 {
		wg.Go(func() { send(s, fmt.Sprint(run, "-", i), say) })
	}
	for range 2 {
		wg.Go(func() { deliver(s, toPartner, say) })
		wg.Go(func() { deliver(s, toRequester, say) })
	}
	wg.Wait()
}

// send makes links, and adds to them.
func send(s Store, who string, say teller) {
	ctx := context.Background()
	var l *passerelle.Link
	for i := 0; ; i++ {
		token := fmt.Sprint(who, "-", i)
		if i%5 == 0 {
			l = aLink(token)
		}
		var files []passerelle.File
		if i%3 == 0 {
			f, err := s.Files().Put(ctx, strings.NewReader(token))
			if err != nil {
				say("error %v", err)
				return
			}
			files = append(files, f)
		}
		e := anEntry(passerelle.Partner, token, files...)
		e.Event.Kind = passerelle.Create
		say("begin %s", token)
		if err := s.Append(ctx, &Change{Link: l, Entries: []*Entry{e}, Names: []Name{aName(token)}}); err != nil {
			say("error %v", err)
			return
		}
		say("appended %s %d %s %d", token, e.ID, l.ID, l.Version)
		l = l.Clone()
		s.Files().Release(files...)
	}
}

// deliver lends and settles; of four partner's entries one is tried again.
func deliver(s Store, d Dest, say teller) {
	ctx := context.Background()
	for {
		e, err := s.Next(ctx, d)
		if err != nil {
			say("error %v", err)
			return
		}
		say("lent %d %d", e.ID, e.Lend)
		o := Outcome{To: Done}
		if d == toPartner && e.ID%4 == e.Lend%4 {
			o = Outcome{To: Waiting, Probe: true}
		} else if d == toPartner {
			o.Follow = []*Entry{anEntry(passerelle.Requester, fmt.Sprint("follows ", e.ID))}
			o.Names = []Name{aName(fmt.Sprint("written ", e.ID))}
		}
		if err := s.Settle(ctx, e, o); err != nil {
			say("error %v", err)
			return
		}
		say("settled %d %d %s", e.ID, e.Lend, o.To)
	}
}

// ledger is what the children said before they died.
type ledger struct {
	testing.TB
	begun    map[string]bool
	appended map[string]*Entry // with ID, Link; Turn holds the link's version
	lent     map[uint64]uint64
	settled  map[uint64]Status
}

func newLedger(t testing.TB) *ledger {
	return &ledger{TB: t, begun: map[string]bool{}, appended: map[string]*Entry{}, lent: map[uint64]uint64{}, settled: map[uint64]Status{}}
}

// read takes in a child's lines, and calls after when it has heard so many; an
// unfinished one was not heard.
func (g *ledger) read(r io.Reader, lines int, after func()) {
	in := bufio.NewReader(r)
	for ; ; lines-- {
		if lines == 0 {
			after()
		}
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		g.line(strings.TrimSuffix(line, "\n"))
	}
}

func (g *ledger) line(line string) {
	var token, status string
	e := &Entry{}
	var id, lend uint64
	switch verb, rest, _ := strings.Cut(line, " "); verb {
	case "begin":
		g.begun[rest] = true
	case "appended":
		g.scan(rest, "%s %d %s %d", &token, &e.ID, &e.Link, &e.Turn)
		g.appended[token] = e
	case "lent":
		g.scan(rest, "%d %d", &id, &lend)
		g.lent[id] = max(lend, g.lent[id])
		delete(g.settled, id)
	case "settled":
		g.scan(rest, "%d %d %s", &id, &lend, &status)
		if g.lent[id] == lend {
			g.settled[id] = Status(status)
		}
	default:
		g.Errorf("the child says %q", line)
	}
}

func (g *ledger) scan(rest, format string, into ...any) {
	if _, err := fmt.Sscanf(rest, format, into...); err != nil {
		g.Fatalf("the child's line %q: %v", rest, err)
	}
}

// killsPerStore bounds how large a store grows: after each kill all of it is
// checked.
const killsPerStore = 50

// TestCrash kills a child at random moments, again and again in one folder, and
// compares what is there with what the child was told. Every so often it begins
// in a new folder, whose making is killed too.
func TestCrash(t *testing.T) {
	rng := chance(t)
	stores, begun, appended, lent, settled := 0, 0, 0, 0, 0
	for left := *killsFlag; left > 0 && !t.Failed(); left -= killsPerStore {
		g := newLedger(t)
		g.crash(rng, t.TempDir(), min(left, killsPerStore))
		stores++
		begun += len(g.begun)
		appended += len(g.appended)
		lent += len(g.lent)
		settled += len(g.settled)
	}
	if *killsFlag >= 20 && (appended < *killsFlag || settled < *killsFlag) {
		t.Errorf("too little happened: %d appended, %d settled", appended, settled)
	}
	t.Logf("%d kills, %d stores: %d appends begun, %d acknowledged, %d entries lent, %d settled", *killsFlag, stores, begun, appended, lent, settled)
}

// crash kills children one after the other in one folder.
func (g *ledger) crash(rng *rand.Rand, dir string, kills int) {
	g.Helper()
	for i := range kills {
		cmd := child(dir, "crash")
		out, err := cmd.StdoutPipe()
		must(g, err)
		must(g, cmd.Start())
		lines, within := rng.IntN(150), 5000
		if i == 0 {
			lines, within = 0, 30000 // while the store is made
		}
		g.read(out, lines, func() {
			time.Sleep(time.Duration(rng.IntN(within)) * time.Microsecond) // anywhere in what comes next
			must(g, cmd.Process.Kill())
		})
		_ = cmd.Wait() // it says that it was killed
		g.check(dir)
		if g.Failed() {
			return
		}
	}
}

// check opens what a dead child left.
func (g *ledger) check(dir string) {
	g.Helper()
	s := openBolt(g, dir)
	defer s.Close()
	ctx := context.Background()
	links := map[string]*passerelle.Link{}
	for l, err := range s.Links(ctx) {
		must(g, err)
		links[l.ID] = l
	}
	present := map[string]*Entry{}
	lanes := map[string][]*Entry{}
	var last uint64
	for e, err := range s.Entries(ctx, Query{}) {
		must(g, err)
		if e.ID != last+1 {
			g.Errorf("entry %d comes after %d", e.ID, last)
		}
		last = e.ID
		present[e.Event.Fields["text"]] = e
		lanes[fmt.Sprint(e.To, e.Link)] = append(lanes[fmt.Sprint(e.To, e.Link)], e)
		g.checkEntry(s, e, links[e.Link])
	}
	for token := range g.begun {
		g.checkToken(s, token, present[token], links)
	}
	for _, lane := range lanes {
		g.checkLane(lane)
	}
	g.checkDelivered(s, present)
}

// checkEntry holds for every entry, acknowledged or not.
func (g *ledger) checkEntry(s Store, e *Entry, l *passerelle.Link) {
	if l == nil {
		g.Errorf("entry %d has no link", e.ID)
		return
	}
	found, err := s.Find(context.Background(), deal, passerelle.Requester, l.Requester.Key)
	if err != nil || found.ID != l.ID {
		g.Errorf("link %s is not found by its key: %v", l.ID, err)
	}
	if e.Status == Lent || e.Status == Waiting && e.Lend > 0 && !e.Probe {
		g.Errorf("entry %d is %s after a crash in loan %d, probe %t", e.ID, e.Status, e.Lend, e.Probe)
	}
	for _, f := range e.Event.Files {
		r, err := s.Files().Open(f.Sum)
		if (err == nil) == e.Status.Final() {
			g.Errorf("entry %d is %s and its file: %v", e.ID, e.Status, err)
		}
		if err == nil {
			b, err := io.ReadAll(r)
			if string(b) != e.Event.Fields["text"] || r.Close() != nil {
				g.Errorf("entry %d: its file is %q: %v", e.ID, b, err)
			}
		}
	}
}

// checkToken: acknowledged is present, anything else is whole or absent.
func (g *ledger) checkToken(s Store, token string, e *Entry, links map[string]*passerelle.Link) {
	acked := g.appended[token]
	if acked != nil && (e == nil || e.ID != acked.ID || e.Link != acked.Link || links[e.Link].Version < acked.Turn) {
		g.Errorf("acknowledged %s as %+v, present is %+v", token, acked, e)
	}
	seen, err := s.Seen(context.Background(), aName(token))
	must(g, err)
	if seen[token] != (e != nil) {
		g.Errorf("%s: its name is seen: %t, its entry is %+v", token, seen[token], e)
	}
}

// checkLane: no entry was lent before all earlier ones were final.
func (g *ledger) checkLane(lane []*Entry) {
	open := false
	for _, e := range lane {
		if open && e.Lend > 0 {
			g.Errorf("entry %d of link %s was lent too early", e.ID, e.Link)
		}
		open = open || !e.Status.Final()
	}
}

// checkDelivered: what was lent and settled is so, with what follows from it.
func (g *ledger) checkDelivered(s Store, present map[string]*Entry) {
	for _, e := range present {
		if e.Lend < g.lent[e.ID] {
			g.Errorf("entry %d: loan %d was acknowledged, %d is on disk", e.ID, g.lent[e.ID], e.Lend)
		}
		if g.settled[e.ID] == Done && e.Status != Done {
			g.Errorf("entry %d was done and is %s", e.ID, e.Status)
		}
		if e.To != passerelle.Partner {
			continue
		}
		written := fmt.Sprint("written ", e.ID)
		seen, err := s.Seen(context.Background(), aName(written))
		must(g, err)
		follows := present[fmt.Sprint("follows ", e.ID)] != nil
		if done := e.Status == Done; follows != done || seen[written] != done {
			g.Errorf("entry %d is %s; what follows: %t; its name seen: %t", e.ID, e.Status, follows, seen[written])
		}
	}
}

// oneByOne is the child of the tracer tests: it goes on after errors.
func oneByOne(s Store) {
	ctx := context.Background()
	for i := range 60 {
		token := fmt.Sprint("t", i)
		f, err := s.Files().Put(ctx, strings.NewReader(token))
		if err == nil {
			say("spooled %s", f.Sum)
			e := anEntry(passerelle.Partner, token, f)
			say("begin %s", token)
			err = s.Append(ctx, &Change{Link: aLink(token), Entries: []*Entry{e}, Names: []Name{aName(token)}})
			s.Files().Release(f)
		}
		if err != nil {
			say("failed %s %v", token, err)
			continue
		}
		say("appended %s", token)
		if _, err := s.Next(ctx, toPartner); err == nil {
			say("lent %s", token)
		}
	}
}

// readAhead asks for a name, all the time, that is being written.
func readAhead(s Store) {
	ctx := context.Background()
	for i := range 20 {
		token := fmt.Sprint("t", i)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Append(ctx, &Change{Link: aLink(token), Names: []Name{aName(token)}}); err != nil {
				say("failed %s %v", token, err)
			}
		})
		for known := false; !known; {
			seen, err := s.Seen(ctx, aName(token))
			if err != nil {
				say("failed %s %v", token, err)
				break
			}
			known = seen[token]
		}
		say("seen %s", token)
		wg.Wait()
	}
}
