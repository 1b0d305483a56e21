package conversation

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/internal/relay"
	"passerelle/internal/trial"
	"passerelle/mapping"
	"passerelle/outbox"
)

// insa is a contract between two iTops.
const insa = "../../contracts/insa-groupe/v1"

// lookout is a gateway that sweeps its tools, with an ear that notes what it asks
// them. Their webhooks can all be lost.
type lookout struct {
	*rig
	t     *testing.T
	mute  atomic.Bool // webhooks are lost
	asked map[passerelle.Side]*asked
	acts  *acts // of the grid, where the contract has one
	log   int   // how much of the log was read
	slow  int   // how many times longer than usual things may take
	ended map[passerelle.Side]int
}

// newLookout sets up a contract whose tools are swept. prepare, if not nil, may
// change the tools before the gateway starts.
func newLookout(t *testing.T, dir string, prepare func(*lookout)) *lookout {
	t.Helper()
	l := &lookout{t: t, asked: map[passerelle.Side]*asked{}, ended: map[passerelle.Side]int{}}
	l.rig = &rig{ctx: t.Context(), store: outbox.NewMem(), cancel: func() {}, tools: map[passerelle.Side]*trial.Tool{}, ears: map[passerelle.Side]*ear{},
		deaf: l.mute.Load, sweep: relay.Sweep{Every: 5 * time.Millisecond, Batch: 50, Pause: time.Millisecond}}
	t.Cleanup(func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("what the gateway warned of:\n%s", l.warnings())
		}
	})
	var err error
	l.contract, err = mapping.Load(os.DirFS(dir))
	l.must(err)
	l.stage, err = trial.Load(dir)
	l.must(err)
	if l.stage.Partner.Kind == trial.Jira {
		l.stage.Partner.Settings["project"] = "GSN1" // to be swept before it has an issue of ours
	}
	if _, err := os.Stat(dir + "/testdata/grid"); err == nil {
		l.acts, err = readActs(dir)
		l.must(err)
	}
	for _, side := range trial.Sides {
		l.must(l.open(side))
		a := &asked{next: l.tools[side], what: askOfJira}
		if l.tools[side].ITop != nil {
			a.what = askOfITop
		}
		l.asked[side], l.ears[side].next = a, a
	}
	if prepare != nil {
		prepare(l)
	}
	l.must(l.start())
	return l
}

func (l *lookout) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// again ends the gateway and starts another on the same store.
func (l *lookout) again() {
	l.t.Helper()
	l.must(l.halt())
	l.must(l.start())
}

// does has an agent act in a tool.
func (l *lookout) does(side passerelle.Side, text string) gjson.Result {
	l.t.Helper()
	ans, err := l.tools[side].Say(l.ctx, l.full(text))
	l.must(err)
	return ans
}

// ticket makes one in the requester's tool, handed to nobody.
func (l *lookout) ticket() string {
	l.t.Helper()
	text := `{"operation": "core/create", "class": "UserRequest", "comment": "saisie", "output_fields": "id", "fields": {
  "title": "Compte pour un nouvel auteur", "description": "<p>Bonjour</p>", "org_id": 21, "caller_id": 101, "service_id": 401, "servicesubcategory_id": 501, "urgency": 2, "impact": 1}}`
	if l.acts != nil {
		text = l.acts.text["ticket"]
	}
	return l.does(passerelle.Requester, text).Get("objects.@values.0.key").String()
}

// hands gives a ticket to the partner's team.
func (l *lookout) hands(ticket string) {
	l.t.Helper()
	team := "Support GAR"
	if l.acts == nil {
		team = "Support groupe INSA"
	}
	l.stimulus(ticket, "ev_assign", `"team_id": {"name": "`+team+`"}`)
}

// stimulus applies one to a ticket of the requester's; "force" goes round the
// lock of what is at the partner's.
func (l *lookout) stimulus(ticket, name, fields string) {
	l.t.Helper()
	l.does(passerelle.Requester, `{"operation": "core/apply_stimulus", "class": "UserRequest", "comment": "agent", "key": `+ticket+`, "force": true, "stimulus": "`+name+`", "fields": {`+fields+`}}`)
}

// update changes fields of a ticket of the requester's.
func (l *lookout) update(ticket, fields string) {
	l.t.Helper()
	l.does(passerelle.Requester, `{"operation": "core/update", "class": "UserRequest", "comment": "agent", "key": `+ticket+`, "force": true, "fields": {`+fields+`}}`)
}

// attach adds a file to a ticket of the requester's.
func (l *lookout) attach(ticket, name string) {
	l.t.Helper()
	l.does(passerelle.Requester, `{"operation": "core/create", "class": "Attachment", "comment": "pj", "fields": {"item_class": "UserRequest", "item_id": `+ticket+`, "contents": {"data": "Ym9uam91cg==", "filename": "`+name+`", "mimetype": "text/plain"}}}`)
}

// move makes a transition of the issue.
func (l *lookout) move(issue, id, fields string) {
	l.t.Helper()
	l.does(passerelle.Partner, fmt.Sprintf("POST /rest/api/2/issue/%s/transitions\n\n{\"transition\":{\"id\":\"%s\"},\"fields\":{%s}}", issue, id, fields))
}

// remark writes a public comment on an issue.
func (l *lookout) remark(issue, text string) {
	l.t.Helper()
	l.does(passerelle.Partner, fmt.Sprintf("POST /rest/api/2/issue/%s/comment\n\n{\"body\":\"%s\"}", issue, text))
}

// link is the pair of a requester's ticket.
func (l *lookout) link(ticket string) *passerelle.Link {
	l.t.Helper()
	link, err := l.store.Find(l.ctx, l.contract.Name, passerelle.Requester, ticket)
	l.must(err)
	return link
}

var reSwept = regexp.MustCompile(`msg=swept contract=\S+ side=(\w+)`)

// sweepsEnded counts the sweeps of a tool that came to their end.
func (l *lookout) sweepsEnded(side passerelle.Side) int {
	l.logged.mu.Lock()
	defer l.logged.mu.Unlock()
	b := l.logged.b.Bytes()[l.log:]
	end := bytes.LastIndexByte(b, '\n') + 1
	for _, m := range reSwept.FindAllSubmatch(b[:end], -1) {
		l.ended[passerelle.Side(m[1])]++
	}
	l.log += end
	return l.ended[side]
}

// until waits for something that sweeps bring about.
func (l *lookout) until(what string, is func() bool) {
	l.t.Helper()
	for end := time.Now().Add(patience * time.Duration(max(1, l.slow))); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("%s: not yet; on its way: %s\nthe stories:\n%s", what, l.underway(), l.stories())
		}
	}
}

// swept waits until each tool was swept as often, from the beginning.
func (l *lookout) swept(n int) {
	l.t.Helper()
	for _, side := range trial.Sides {
		want := l.sweepsEnded(side) + n + 1 // the one under way may have asked already
		l.until("sweeps of the "+string(side), func() bool { return l.sweepsEnded(side) >= want })
	}
}

// rest waits until sweeps find nothing more to carry.
func (l *lookout) rest() {
	l.t.Helper()
	entries := func() (n int) {
		for _, err := range l.store.Entries(l.ctx, outbox.Query{}) {
			l.must(err)
			n++
		}
		return n
	}
	for before := entries(); ; {
		l.swept(2) // what is found is told by the second one
		l.read()
		l.must(l.settle())
		n := entries()
		if n == before {
			return
		}
		before = n
	}
}

// read waits until what sweeps found was read. Sweeps stand still meanwhile: they
// have the latest ticket read each time.
func (l *lookout) read() {
	l.t.Helper()
	for _, side := range trial.Sides {
		l.asked[side].still.Lock()
		defer l.asked[side].still.Unlock()
	}
	l.until("what is to be read", func() bool {
		s, err := l.store.Stats(l.ctx)
		l.must(err)
		return s.Looks == 0
	})
}

// warnings are the lines of the gateway's log that are no routine.
func (l *lookout) warnings() string {
	lines := slices.DeleteFunc(strings.Split(l.logged.String(), "\n"), func(l string) bool {
		return strings.Contains(l, "level=INFO") || strings.Contains(l, "level=DEBUG")
	})
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}

// stories are what became of all tickets' events.
func (l *lookout) stories() string {
	var b strings.Builder
	for e, err := range l.store.Entries(l.ctx, outbox.Query{}) {
		l.must(err)
		fmt.Fprintf(&b, "%d ticket %s: %s %s to %s by %s: %s at turn %d, %s %s %s\n", e.ID, e.Link, e.Event.From, e.Event.Kind, e.To, e.Template, e.Status, e.Turn, e.Rule, e.Note, e.Error)
	}
	return b.String()
}

// wrote counts the gateway's writes to a tool so far that hold all the words.
func (l *lookout) wrote(side passerelle.Side, words ...string) int {
	e := l.ears[side]
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, w := range e.list {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(w, word) }) {
			n++
		}
	}
	return n
}

// forgets all that was written and asked so far.
func (l *lookout) forget() {
	for _, side := range trial.Sides {
		l.ears[side].writes()
		l.asked[side].take()
	}
}

// written is all that the gateway wrote, for a failure.
func (l *lookout) written() string {
	var b strings.Builder
	for _, side := range trial.Sides {
		e := l.ears[side]
		e.mu.Lock()
		fmt.Fprintf(&b, "the %s heard:\n%s\n", side, strings.Join(e.list, "\n"))
		e.mu.Unlock()
	}
	return b.String()
}

// asked stands before a tool and notes what the gateway reads there.
type asked struct {
	next http.Handler
	what func(*http.Request, []byte) string // "" for what is none of the gateway's readings
	mu   sync.Mutex
	list []ask
	// spoil, if not nil, gives the HTTP status that a reading is answered with
	// instead; 0: none.
	spoil func(what string) int
	still sync.RWMutex // held while sweeps are to stand still
}

// ask is one reading: "batch 1,2,3", "read 1".
type ask struct {
	at   time.Time
	what string
}

// ServeHTTP notes the reading, and passes it on unless it is spoilt.
func (a *asked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	what := a.what(r, body)
	if ofSweep(what) {
		a.still.RLock()
		defer a.still.RUnlock()
	}
	if what != "" {
		a.mu.Lock()
		a.list = append(a.list, ask{time.Now(), what})
		code := 0
		if a.spoil != nil {
			code = a.spoil(what)
		}
		a.mu.Unlock()
		if code != 0 {
			http.Error(w, http.StatusText(code), code)
			return
		}
	}
	a.next.ServeHTTP(w, r)
}

// spoils sets how readings are spoilt from now on; nil: not at all.
func (a *asked) spoils(with func(what string) int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spoil = with
}

// take returns what was asked since it was last taken.
func (a *asked) take() []ask {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.list
	a.list = nil
	return list
}

// askOfITop names the gateway's queries.
func askOfITop(r *http.Request, body []byte) string {
	data := formValue(r.Header.Get("Content-Type"), body, "json_data")
	key := gjson.Get(data, "key").String()
	if r.URL.Path != "/webservices/rest.php" || gjson.Get(data, "operation").String() != "core/get" || !strings.HasPrefix(key, "SELECT ") {
		return ""
	}
	in := func(before string) (string, bool) {
		list, is := strings.CutPrefix(key, before)
		list, _, _ = strings.Cut(list, ")")
		return list, is
	}
	if list, is := in("SELECT UserRequest WHERE id IN ("); is && strings.HasPrefix(list, "SELECT") {
		return "others"
	} else if is {
		return "batch " + list
	}
	if list, is := in("SELECT Attachment WHERE item_class='UserRequest' AND item_id IN ("); is && strings.Contains(list, ",") {
		return "files " + list
	}
	if fields := gjson.Get(data, "output_fields").String(); strings.Contains(fields, "status,last_update,description") {
		return "read " + strings.TrimPrefix(key, "SELECT UserRequest WHERE id = ")
	}
	return "detail " + key
}

var reIssuePath = regexp.MustCompile(`^/rest/api/2/issue/(\d+)$`)

// askOfJira names the gateway's readings.
func askOfJira(r *http.Request, _ []byte) string {
	if _, _, agent := r.BasicAuth(); agent {
		return ""
	}
	switch m := reIssuePath.FindStringSubmatch(r.URL.Path); {
	case strings.HasSuffix(r.URL.Path, "/search"):
		return "search"
	case strings.HasSuffix(r.URL.Path, "/myself"):
		return "account"
	case r.Method != http.MethodGet:
		return ""
	case m != nil && strings.Contains(r.URL.RawQuery, "changelog"):
		return "read " + m[1]
	}
	return "detail " + r.URL.Path
}

// count tells how many of the readings are of one sort.
func count(list []ask, sort ...string) int {
	n := 0
	for _, a := range list {
		word, _, _ := strings.Cut(a.what, " ")
		if slices.Contains(sort, word) {
			n++
		}
	}
	return n
}

// ticketsRead counts the readings of each ticket.
func ticketsRead(list []ask) map[string]int {
	read := map[string]int{}
	for _, a := range list {
		if key, is := strings.CutPrefix(a.what, "read "); is {
			read[key]++
		}
	}
	return read
}

// keys lists those of a count, in the order of their numbers.
func keys(of map[string]int) []string {
	return slices.SortedFunc(maps.Keys(of), func(a, b string) int {
		x, _ := strconv.Atoi(a)
		y, _ := strconv.Atoi(b)
		return x - y
	})
}
