package conversation

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"passerelle"
	"passerelle/internal/cluster"
	"passerelle/internal/trial"
	"passerelle/internal/wiring"
	"passerelle/mapping"
	"passerelle/outbox"
)

var kills = flag.Int("kills", 24, "how often the whole gateway is killed")

// The environment of a child: the gateway alone, on a data folder.
const (
	childData   = "PASSERELLE_CRASH_DATA"
	childListen = "PASSERELLE_CRASH_LISTEN"
	childAdmin  = "PASSERELLE_CRASH_ADMIN"
	childITop   = "PASSERELLE_CRASH_ITOP"
	childJira   = "PASSERELLE_CRASH_JIRA"
	crashFolder = "../../contracts/orleans-tours-gar/v1"
)

func TestMain(m *testing.M) {
	cluster.RunNode()
	if dir := os.Getenv(childData); dir != "" {
		if err := gatewayAlone(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// gatewayAlone is the whole gateway on a data folder, until it is killed.
func gatewayAlone(dir string) error {
	contract, err := mapping.Load(os.DirFS(crashFolder))
	if err != nil {
		return err
	}
	stage, err := trial.Load(crashFolder)
	if err != nil {
		return err
	}
	link := wiring.Link{Contract: contract}
	var errs [3]error
	link.Requester, errs[0] = stage.Connect(passerelle.Requester, os.Getenv(childITop), token, trial.InMemory)
	link.Partner, errs[1] = stage.Connect(passerelle.Partner, os.Getenv(childJira), token, trial.InMemory)
	store, err := outbox.OpenBolt(dir)
	errs[2] = err
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	log, err := os.OpenFile(dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	g, err := wiring.Build([]wiring.Link{link}, store, wiring.Options{Backoff: outbox.Backoff{First: 10 * time.Millisecond, Max: 50 * time.Millisecond, Age: time.Hour}, Again: 20 * time.Millisecond, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", os.Getenv(childListen))
	if err != nil {
		return err
	}
	a, err := net.Listen("tcp", os.Getenv(childAdmin))
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(l, g.Public) }() // both end with the process
	go func() { _ = http.Serve(a, g.Admin) }()
	return g.Relay.Run(context.Background())
}

// points are the moments at which the gateway is killed: a file is in the spool,
// a message has just been acknowledged, a request to a tool has begun, has taken
// effect, has been answered; or any moment.
var points = []string{"spooled", "committed", "lent", "effect", "settled", "random"}

// TestKillTheWholeGateway kills the gateway with SIGKILL at each of these points,
// while senders write and repeat what was not acknowledged. Afterwards all that
// was acknowledged is in the other tool: once, and in order. `make crash` does it
// a thousand times.
func TestKillTheWholeGateway(t *testing.T) {
	c := &crash{t: t, data: filepath.Join(t.TempDir(), "data"), rnd: rand.New(rand.NewPCG(4, uint64(*kills)))}
	c.rig = &rig{ctx: t.Context(), store: outbox.NewMem(), cancel: func() {}, tools: map[passerelle.Side]*trial.Tool{}, ears: map[passerelle.Side]*ear{}}
	defer func() {
		c.end()
		if err := c.close(); err != nil {
			t.Error(err)
		}
	}()
	c.setUp()
	c.listen, c.admin = c.free(), c.free()
	c.point("http://" + c.listen)
	c.start()
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for range 3 {
		senders.Go(func() { c.send(stop) })
	}
	for i := range *kills {
		c.kill(points[i%len(points)])
		c.start()
	}
	close(stop)
	senders.Wait()
	c.finish()
	t.Logf("%d kills, %d tickets, %d messages acknowledged, %d comments written in Jira", *kills, len(c.tickets), c.acked.Load(), c.written.Load())
}

type crash struct {
	*rig
	t          *testing.T
	data       string
	listen     string
	admin      string   // address of the child's Admin
	wrapper    []string // commands that start the child, if any
	rnd        *rand.Rand
	child      *exec.Cmd
	acts       *acts
	mu         sync.Mutex
	tickets    []*crashed
	armed      atomic.Pointer[string] // the point at which to kill
	killed     chan struct{}
	strike     func() // what is done at the point
	acked      atomic.Int64
	denied     atomic.Int64           // answered 503: to be sent again
	unanswered atomic.Int64           // not answered, or 5xx: to be sent again
	why        atomic.Pointer[string] // the last such answer
	written    atomic.Int64
}

// crashed is one ticket of the test, and what was sent of it.
type crashed struct {
	key    string
	issue  atomic.Pointer[string] // once the partner's number is known
	logs   int                    // acknowledged, from 1 on
	files  int
	spoken int // comments written in Jira, from 1 on
	pieces int // files attached there
}

func (c *crash) setUp() {
	var err error
	if c.contract, err = mapping.Load(os.DirFS(crashFolder)); err != nil {
		c.t.Fatal(err)
	}
	if c.stage, err = trial.Load(crashFolder); err != nil {
		c.t.Fatal(err)
	}
	for _, side := range trial.Sides {
		if err := c.open(side); err != nil {
			c.t.Fatal(err)
		}
		c.ears[side].watch = c.reach
	}
	if c.acts, err = readActs(crashFolder); err != nil {
		c.t.Fatal(err)
	}
	c.strike = func() {
		_ = c.child.Process.Kill() // it may be gone by itself
		_ = c.child.Wait()         // it was killed
	}
}

// point has Jira tell a gateway that stands there.
func (c *crash) point(url string) {
	c.public = url
	if err := c.tools[passerelle.Partner].Point(c.face(passerelle.Partner), token); err != nil {
		c.t.Fatal(err)
	}
}

// free is an address that nobody listens on just now.
func (c *crash) free() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// entries is how many entries each side writes on a ticket.
const entries = 12

// send has one ticket after the other written on by both sides, until stop.
func (c *crash) send(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		ticket, err := c.ticket()
		if err != nil {
			c.t.Error(err)
			return
		}
		var both sync.WaitGroup
		both.Go(func() { c.writeThere(ticket) })
		both.Go(func() { c.writeHere(ticket) })
		both.Wait()
	}
}

// ticket makes one in the requester's tool.
func (c *crash) ticket() (*crashed, error) {
	ans, err := c.tools[passerelle.Requester].Console(c.ctx, c.acts.text["ticket"])
	t := &crashed{key: ans.Get("objects.@values.0.key").String()}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tickets = append(c.tickets, t)
	return t, err
}

// start runs the gateway on the data folder, and waits until it answers.
func (c *crash) start() {
	command := append(slices.Clone(c.wrapper), os.Args[0])
	c.child = exec.Command(command[0], command[1:]...)
	c.child.Env = append(os.Environ(), childData+"="+c.data, childListen+"="+c.listen, childAdmin+"="+c.admin, childITop+"="+c.tools[passerelle.Requester].URL, childJira+"="+c.tools[passerelle.Partner].URL)
	c.child.Stderr = os.Stderr
	if err := c.child.Start(); err != nil {
		c.t.Fatal(err)
	}
	for range 2000 {
		if conn, err := net.Dial("tcp", c.listen); err == nil {
			conn.Close()
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	c.t.Fatal("the gateway does not start again")
}

// kill waits until the gateway is at the point, and kills it there.
func (c *crash) kill(point string) {
	c.killed = make(chan struct{})
	c.armed.Store(&point)
	switch point {
	case "random":
		time.Sleep(time.Duration(c.rnd.IntN(40)) * time.Millisecond)
		c.reach(point)
	case "spooled":
		c.awaitFile()
		c.reach(point)
	}
	select {
	case <-c.killed:
	case <-time.After(60 * time.Second):
		c.t.Fatalf("the gateway never came to the point « %s »", point)
	}
}

// reach kills the gateway if this is the point to do it.
func (c *crash) reach(point string) {
	armed := c.armed.Load()
	if armed == nil || *armed != point || !c.armed.CompareAndSwap(armed, nil) {
		return
	}
	c.strike()
	close(c.killed)
}

// awaitFile waits until a file that was not there before lies in the spool.
func (c *crash) awaitFile() {
	files := func() []string {
		all, _ := filepath.Glob(filepath.Join(c.data, "*", "*")) // the pattern is a good one
		more, _ := filepath.Glob(filepath.Join(c.data, "*", "*", "*"))
		return append(all, more...)
	}
	before := map[string]bool{}
	for _, name := range files() {
		before[name] = true
	}
	fresh := func(name string) bool { return !before[name] }
	for end := time.Now().Add(20 * time.Second); !slices.ContainsFunc(files(), fresh); {
		if time.Now().After(end) {
			c.t.Fatal("no file came into the spool")
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// writeThere posts to the requester's face, and repeats each message until it is
// acknowledged.
func (c *crash) writeThere(ticket *crashed) {
	create, _ := c.acts.find(passerelle.Requester, "says", "create", passerelle.New)
	c.repeat(strings.NewReplacer("$TICKET", ticket.key, "$WORDS", "création").Replace(create))
	head := fmt.Sprintf(`"comment":"c","class":"UserRequest","fields":{"customer_id":"%s","last_update_by":"customer"`, ticket.key)
	for i := 1; i <= entries; i++ {
		c.repeat(fmt.Sprintf(`{"operation":"core/update",%s,"public_log":"<p>là-bas %s-%d fin</p>"}}`, head, ticket.key, i))
		ticket.logs = i
		if i%3 == 0 {
			name := fmt.Sprintf("fichier-%s-%d-fin", ticket.key, i)
			c.repeat(fmt.Sprintf(`{"operation":"syn/addattachment",%s},"attachments":[{"data":"%s","filename":"%s.txt","mimetype":"text/plain"}]}`, head, base64.StdEncoding.EncodeToString([]byte(name)), name))
			ticket.files++
		}
	}
}

// repeat posts a message until it is acknowledged, as a careful sender does.
func (c *crash) repeat(message string) {
	for !c.t.Failed() {
		told, err := c.post(passerelle.Requester, message)
		if err == nil && strings.Contains(told, `"code":0`) {
			c.acked.Add(1)
			c.reach("committed")
			return
		}
		if err == nil {
			c.t.Errorf("%s: %s", message, told)
			return
		}
		c.unanswered.Add(1)
		why := err.Error()
		c.why.Store(&why)
		if strings.Contains(why, "503") {
			c.denied.Add(1)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// writeHere comments in Jira as its agent: a webhook that meets no gateway is
// lost, the next one tells of the ticket again.
func (c *crash) writeHere(ticket *crashed) {
	for ticket.spoken < entries && !c.t.Failed() {
		time.Sleep(5 * time.Millisecond)
		if ticket.issue.Load() == nil {
			c.refer(ticket)
			continue
		}
		if err := c.comment(ticket, fmt.Sprintf("ici %s-%d fin", ticket.key, ticket.spoken+1)); err != nil {
			c.t.Error(err)
			return
		}
		ticket.spoken++
		c.written.Add(1)
		if ticket.spoken%4 == 0 {
			if err := c.attach(ticket); err != nil {
				c.t.Error(err)
				return
			}
		}
	}
}

// attach has Jira's agent attach a file.
func (c *crash) attach(ticket *crashed) error {
	name := fmt.Sprintf("piece-%s-%d-fin", ticket.key, ticket.pieces+1)
	_, err := c.tools[passerelle.Partner].Upload(c.ctx, "/rest/api/2/issue/"+*ticket.issue.Load()+"/attachments", name+".txt", name)
	ticket.pieces++
	return err
}

func (c *crash) comment(ticket *crashed, text string) error {
	_, err := c.tools[passerelle.Partner].Request(c.ctx, http.MethodPost, "/rest/api/2/issue/"+*ticket.issue.Load()+"/comment", `{"body":"`+text+`"}`)
	return err
}

// refer learns the partner's number from the requester's ticket.
func (c *crash) refer(ticket *crashed) {
	ans, err := c.tools[passerelle.Requester].Read(c.ctx, `{"operation":"core/get","class":"UserRequest","key":"`+ticket.key+`","output_fields":"provider_ref"}`)
	if ref := ans.Get("objects.@values.0.fields.provider_ref").String(); err == nil && ref != "" {
		ticket.issue.Store(&ref)
	}
}

// finish has one more comment on each issue tell of all that was missed, waits
// until nothing moves any more, and reads both tools.
func (c *crash) finish() {
	for _, ticket := range c.tickets {
		if ticket.issue.Load() == nil { // the test failed before it was made
			c.t.Fatalf("the requester's ticket %s never got its partner's number", ticket.key)
		}
		ticket.spoken++
		if err := c.comment(ticket, fmt.Sprintf("ici %s-%d fin", ticket.key, ticket.spoken)); err != nil {
			c.t.Fatal(err)
		}
	}
	var wrong []string
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if wrong = c.wrong(); len(wrong) == 0 {
			break
		}
	}
	time.Sleep(300 * time.Millisecond) // what would come twice comes now
	for _, w := range append(wrong, c.wrong()...) {
		c.t.Error(w)
	}
	if c.t.Failed() {
		c.explain()
	}
}

// explain shows what the gateway says of what did not arrive.
func (c *crash) explain() {
	if res, err := http.Get("http://" + c.admin + "/api/outbox"); err == nil {
		b, _ := io.ReadAll(res.Body) // what was read is shown
		res.Body.Close()
		c.t.Logf("the outbox: %s", b)
	}
	log, _ := os.ReadFile(c.data + ".log")
	lines := strings.Split(string(log), "\n")
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.Contains(l, "level=INFO") })
	c.t.Logf("the end of its log:\n%s", strings.Join(lines[max(0, len(lines)-40):], "\n"))
}

// end ends the gateway.
func (c *crash) end() {
	if c.child != nil {
		_ = c.child.Process.Kill()
		_ = c.child.Wait()
	}
}

// wrong lists what is not in the other tool once and in order.
func (c *crash) wrong() []string {
	var out []string
	issues := map[string]int{}
	for _, w := range c.tools[passerelle.Partner].Jira.Writes() {
		if w.Kind == "issue" {
			issues[w.Issue]++
		}
	}
	if len(issues) != len(c.tickets) {
		out = append(out, fmt.Sprintf("%d issues for %d tickets", len(issues), len(c.tickets)))
	}
	for _, ticket := range c.tickets {
		comments, err := c.tools[passerelle.Partner].Request(c.ctx, http.MethodGet, "/rest/api/2/issue/"+*ticket.issue.Load()+"/comment?maxResults=100000", "")
		if err != nil {
			c.t.Fatal(err)
		}
		out = append(out, ordered("là-bas "+ticket.key, comments.Get("comments.#.body").String(), ticket.logs)...)
		files, err := c.tools[passerelle.Partner].Request(c.ctx, http.MethodGet, "/rest/api/2/issue/"+*ticket.issue.Load()+"?fields=attachment", "")
		if err != nil {
			c.t.Fatal(err)
		}
		for i := 3; i/3 <= ticket.files; i += 3 {
			if n := strings.Count(files.Raw, fmt.Sprintf(`"fichier-%s-%d-fin.txt"`, ticket.key, i)); n != 1 {
				out = append(out, fmt.Sprintf("file %d of ticket %s is there %d times", i, ticket.key, n))
			}
		}
		log, err := c.tools[passerelle.Requester].Read(c.ctx, `{"operation":"core/get","class":"UserRequest","key":"`+ticket.key+`","output_fields":"public_log"}`)
		if err != nil {
			c.t.Fatal(err)
		}
		pieces, err := c.tools[passerelle.Requester].Read(c.ctx, `{"operation":"core/get","class":"Attachment","key":"SELECT Attachment WHERE item_class='UserRequest' AND item_id=`+ticket.key+`","output_fields":"contents"}`)
		if err != nil {
			c.t.Fatal(err)
		}
		for i := 1; i <= ticket.pieces; i++ {
			if n := strings.Count(pieces.Raw, fmt.Sprintf(`"piece-%s-%d-fin.txt"`, ticket.key, i)); n != 1 {
				out = append(out, fmt.Sprintf("file %d of the issue of ticket %s is there %d times", i, ticket.key, n))
			}
		}
		out = append(out, ordered("ici "+ticket.key, log.Get("objects.@values.0.fields.public_log.entries.#.message").String(), ticket.spoken)...)
	}
	return out
}

// ordered tells what is not as it should be in a text that holds "WORDS-1 fin",
// "WORDS-2 fin" … up to n.
func ordered(words, text string, n int) []string {
	var out []string
	at := -1
	for i := 1; i <= n; i++ {
		entry := fmt.Sprintf("%s-%d fin", words, i)
		switch k := strings.Count(text, entry); {
		case k != 1:
			out = append(out, fmt.Sprintf("« %s » is there %d times", entry, k))
		case strings.Index(text, entry) < at:
			out = append(out, fmt.Sprintf("« %s » came before an earlier one", entry))
		default:
			at = strings.Index(text, entry)
		}
	}
	return out
}
