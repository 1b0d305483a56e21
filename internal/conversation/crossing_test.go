package conversation

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"passerelle"
	"passerelle/internal/relay"
	"passerelle/internal/richtext"
	"passerelle/mapping"
	"passerelle/outbox"
)

var (
	seeds = flag.Int("seeds", 6, "how many random crossings are played")
	lost  = flag.Int("lost", 60, "how many answers are lost at least, in all")
)

// TestR34RandomCrossings has both sides' agents act at the same time, each by
// what its own tool shows, while either tool is away now and then. Whatever
// crosses, both tickets end coherent, and what was written arrived once or was
// refused in sight. `make crossing` plays many more.
func TestR34RandomCrossings(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			play := &crossing{t: t, rnd: rand.New(rand.NewPCG(uint64(seed), 34))}
			play.run("../../contracts/orleans-tours-gar/v1")
		})
	}
}

// TestExactlyOneEffect has the tools take effect and lose the answer, at random
// and over all operations: every issue, comment, entry and file is there exactly
// once, and nobody had to look. `make faults` loses many more.
func TestExactlyOneEffect(t *testing.T) {
	var all atomic.Int64
	for seed := 0; all.Load() < int64(*lost); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			play := &crossing{t: t, rnd: rand.New(rand.NewPCG(uint64(seed), 1)), files: true, lost: &all}
			play.run("../../contracts/orleans-tours-gar/v1")
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d answers were lost", all.Load())
}

type crossing struct {
	*rig
	t       *testing.T
	rnd     *rand.Rand
	files   bool          // files are attached too
	lost    *atomic.Int64 // counts lost answers; nil: none is, and the tools go away instead
	unheard *unheard      // loses webhooks; nil: none is
	tickets []string      // the requester's keys
	said    []saying
	did     []string // for a failure: what was done
	// complaints are what is not as it should be.
	complaints []string
	acts       *acts
	forgotten  string // what was refused in sight and a restored store does not know
}

// saying is a text that somebody wrote, and who must read it.
type saying struct {
	text   string
	from   passerelle.Side
	ticket string
}

func (c *crossing) run(dir string) {
	var options []func(*rig)
	if c.unheard != nil {
		options = append(options, func(r *rig) { r.deaf, r.sweep, r.readFirst = c.unheard.deaf, sweepOften, c.unheard.strict })
	}
	if c.lost != nil { // many answers are 503
		options = append(options, func(r *rig) { r.trouble = relay.Trouble{First: 10 * time.Millisecond, Slip: time.Minute} })
	}
	c.setUp(dir, options...)
	defer c.tearDown()
	if c.lost != nil {
		c.loseAnswers()
	}
	c.escalate(4)
	if err := c.settle(); err != nil {
		c.t.Fatal(err)
	}
	if c.unheard != nil {
		time.Sleep(3 * time.Second) // of a note of the escalation's own second only the push tells whether it travels
	}
	for i := range 60 {
		if c.unheard != nil {
			c.unheard.percent.Store([]int64{5, 100, 5}[i/20])
		}
		c.step()
	}
	if c.unheard != nil {
		c.unheard.percent.Store(0)
	}
	for _, side := range []passerelle.Side{passerelle.Requester, passerelle.Partner} {
		if err := c.is(side, false); err != nil {
			c.t.Fatal(err)
		}
	}
	c.judge()
}

func (c *crossing) setUp(dir string, options ...func(*rig)) {
	var err error
	if c.acts, err = readActs(dir); err != nil {
		c.t.Fatal(err)
	}
	if c.rig, err = newRig(c.t.Context(), dir, nil, options...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *crossing) tearDown() {
	if err := c.close(); err != nil {
		c.t.Error(err)
	}
	if c.t.Failed() {
		c.t.Logf("what was done:\n%s\nwhat the gateway warned of:\n%s", strings.Join(c.did, "\n"), c.warnings())
	}
}

// escalate makes tickets in the requester's tool, and hands them over.
func (c *crossing) escalate(n int) {
	for range n {
		ans, err := c.tools[passerelle.Requester].Console(c.ctx, c.acts.text["ticket"])
		if err != nil {
			c.t.Fatal(err)
		}
		c.tickets = append(c.tickets, ans.Get("objects.@values.0.key").String())
	}
	for _, ticket := range c.tickets[len(c.tickets)-n:] {
		c.requester(ticket, "new")
	}
}

// warnings are the lines of the gateway's log that are no routine.
func (c *crossing) warnings() string {
	lines := slices.DeleteFunc(strings.Split(c.logged.String(), "\n"), func(l string) bool {
		return strings.Contains(l, "level=INFO") || strings.Contains(l, "level=DEBUG")
	})
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}

// judge checks what is there in the end. What nobody told is found by sweeps,
// which take their time.
func (c *crossing) judge() {
	for end := time.Now().Add(patience); ; {
		c.complaints = nil
		c.coherent()
		c.heardOnce()
		if c.unheard == nil || c.unheard.strict {
			c.inOrder()
		}
		if len(c.complaints) == 0 || c.unheard == nil || time.Now().After(end) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, complaint := range c.complaints {
		c.t.Error(complaint)
	}
	if c.unheard != nil && !c.t.Failed() {
		c.quiet()
	}
}

// complain notes what is wrong.
func (c *crossing) complain(format string, args ...any) {
	c.complaints = append(c.complaints, fmt.Sprintf(format, args...))
}

// loseAnswers has a third of the writes lose their answers.
func (c *crossing) loseAnswers() {
	for side, e := range c.ears {
		rnd, mu := rand.New(rand.NewPCG(c.rnd.Uint64(), uint64(len(side)))), &sync.Mutex{}
		e.lose = func() (lost, proxy bool) {
			mu.Lock()
			defer mu.Unlock()
			if rnd.IntN(3) > 0 {
				return false, false
			}
			c.lost.Add(1)
			return true, rnd.IntN(2) == 0
		}
	}
}

// step is one act, or a tool that goes or comes.
func (c *crossing) step() {
	time.Sleep(time.Duration(c.rnd.IntN(4)) * time.Millisecond)
	side := []passerelle.Side{passerelle.Requester, passerelle.Partner}[c.rnd.IntN(2)]
	if c.lost == nil && c.unheard == nil && c.rnd.IntN(10) == 0 {
		away := !c.ears[side].isAway()
		c.ears[side].leave(away)
		c.did = append(c.did, fmt.Sprintf("%s away: %v", side, away))
		return
	}
	ticket := c.tickets[c.rnd.IntN(len(c.tickets))]
	l, err := c.store.Find(c.ctx, c.contract.Name, passerelle.Requester, ticket)
	if errors.Is(err, passerelle.ErrNotFound) || err == nil && l.Partner.Key == "" {
		return // nobody has heard of it yet
	}
	if err != nil {
		c.t.Fatal(err)
	}
	status, err := c.tools[side].Status(c.ctx, l.Ref(side))
	if err != nil {
		c.t.Fatal(err)
	}
	if side == passerelle.Requester {
		c.requester(ticket, status)
		return
	}
	c.partner(ticket, l.Partner.Number, status)
}

// one picks one of several.
func (c *crossing) one(of ...string) string { return of[c.rnd.IntN(len(of))] }

// words is a text that stands nowhere else.
func (c *crossing) words(from passerelle.Side, ticket string) string {
	text := fmt.Sprintf("mot%dmot", len(c.said))
	c.said = append(c.said, saying{text, from, ticket})
	return text
}

// requester does something that the ticket's status in SUMiT lets an agent do.
func (c *crossing) requester(ticket, status string) {
	stimulus := func(s, fields string) string {
		return fmt.Sprintf(`{"operation":"core/apply_stimulus","class":"UserRequest","comment":"c","key":%s,"stimulus":"%s","fields":{%s}}`, ticket, s, fields)
	}
	update := func(fields string) string {
		return fmt.Sprintf(`{"operation":"core/update","class":"UserRequest","comment":"c","key":%s,"fields":{%s}}`, ticket, fields)
	}
	log := func() string {
		if c.files && c.rnd.IntN(3) == 0 {
			name := c.words(passerelle.Requester, ticket)
			return fmt.Sprintf(`{"operation":"core/create","class":"Attachment","comment":"c","fields":{"item_class":"UserRequest","item_id":%s,"contents":{"data":"%s","filename":"%s.txt","mimetype":"text/plain"}}}`,
				ticket, base64.StdEncoding.EncodeToString([]byte(name)), name)
		}
		return update(fmt.Sprintf(`"%s":"<p>%s</p>"`, c.one("public_log", "private_log"), c.words(passerelle.Requester, ticket)))
	}
	do := ""
	switch {
	case status == "new":
		do = stimulus("ev_assign", `"team_id":{"name":"Support GAR"}`)
	case strings.HasPrefix(status, "cex"):
		do = log()
	case status == "resolved (Support GAR)":
		do = []func() string{log,
			func() string { return stimulus("ev_close", `"user_comment":"Merci"`) },
			func() string { return stimulus("ev_reopen", `"reopen_reason":"<p>encore</p>"`) }}[c.rnd.IntN(3)]()
	case status == "resolved (DRANE)":
		do = c.one(stimulus("ev_close", ""), stimulus("ev_reopen", `"reopen_reason":"<p>Rejet du ticket non valide</p>"`), update(`"team_id":203`))
	case strings.HasSuffix(status, "(DSI)"):
		do = update(`"team_id":202`)
	default:
		return // closed
	}
	_, err := c.tools[passerelle.Requester].Say(c.ctx, do)
	c.did = append(c.did, fmt.Sprintf("requester %s in %s: %s: %v", ticket, status, do, err))
}

// partner does something that the issue's status in Jira lets an agent do, and
// that the contract allows there.
func (c *crossing) partner(ticket, issue, status string) {
	move := func(id, fields string) string {
		return fmt.Sprintf("POST /rest/api/2/issue/%s/transitions\n\n{\"transition\":{\"id\":\"%s\"},\"fields\":{%s}}", issue, id, fields)
	}
	comment := func() string {
		if c.files && c.rnd.IntN(3) == 0 {
			name := c.words(passerelle.Partner, ticket)
			return fmt.Sprintf("POST /rest/api/2/issue/%s/attachments\n\nfile: %s.txt\n%s", issue, name, name)
		}
		return fmt.Sprintf("POST /rest/api/2/issue/%s/comment\n\n{\"body\":\"%s\"}", issue, c.words(passerelle.Partner, ticket))
	}
	reject := func() string { return move("51", `"customfield_12040":"non"`) }
	do := comment
	switch c.rnd.IntN(4) {
	case 1:
		switch status {
		case "Nouveau", "En cours":
			do = func() string { return move("21", "") }
		case "En attente":
			do = func() string { return move("31", "") }
		}
	case 2:
		switch status {
		case "Nouveau", "En cours":
			do = func() string { return move("41", `"resolution":{"name":"Résolu"}`) }
		}
	case 3:
		switch status {
		case "Nouveau", "En cours", "En attente":
			do = reject
		}
	}
	text := do()
	_, err := c.tools[passerelle.Partner].Say(c.ctx, text)
	c.did = append(c.did, fmt.Sprintf("partner %s %s in %s: %s: %v", ticket, issue, status, strings.ReplaceAll(text, "\n", " "), err))
}

// coherent checks that both tickets of each pair stand where the pair stands.
func (c *crossing) coherent() {
	for l, err := range c.store.Links(c.ctx) {
		if err != nil {
			c.t.Fatal(err)
		}
		if l.Partner.Key == "" {
			c.complain("%s has no partner's ticket yet", l.Names())
			continue
		}
		for _, side := range []passerelle.Side{passerelle.Requester, passerelle.Partner} {
			status, err := c.tools[side].Status(c.ctx, l.Ref(side))
			if err != nil {
				c.t.Fatal(err)
			}
			if !stands(c, l, side, status) {
				c.complain("%s is %s, but the %s shows %s; its story:\n%s", l.Names(), l.State, side, status, c.story(l.ID))
			}
		}
	}
	for e, err := range c.store.Entries(c.ctx, outbox.Query{Status: []outbox.Status{outbox.Parked, outbox.Waiting, outbox.Lent}}) {
		if err != nil {
			c.t.Fatal(err)
		}
		c.complain("entry %d of %s, %s to the %s, is %s: %s", e.ID, e.Link, e.Template, e.To, e.Status, e.Error)
	}
}

// story is what became of a ticket's events.
func (c *crossing) story(link string) string {
	var b strings.Builder
	for e, err := range c.store.Entries(c.ctx, outbox.Query{Link: link}) {
		if err != nil {
			c.t.Fatal(err)
		}
		fmt.Fprintf(&b, "%d %s %s to %s by %s: %s at turn %d, %s %s %s\n", e.ID, e.Event.From, e.Event.Kind, e.To, e.Template, e.Status, e.Turn, e.Rule, e.Note, e.Error)
	}
	return b.String()
}

// stands tells whether a status of a tool is the pair's. A rejected ticket is
// closed or taken away at the requester's alone (R35).
func stands(c *crossing, l *passerelle.Link, side passerelle.Side, status string) bool {
	word, _, _ := strings.Cut(status, " (")
	switch {
	case side == passerelle.Partner && (l.State == passerelle.Left || l.State == passerelle.Closed) && word == "Rejeté":
		return true
	case side == passerelle.Requester && l.State == passerelle.Rejected:
		return status == "resolved (DRANE)"
	case side == passerelle.Requester && l.State == passerelle.Left:
		return strings.HasSuffix(status, "(DSI)")
	}
	return slices.Contains(c.contract.StatusWords(side, l.State), word)
}

// heardOnce checks that every text and file arrived once at the other side, or
// was refused in sight: in the store, and for a file by the note that names it.
func (c *crossing) heardOnce() {
	refused := c.forgotten
	for e, err := range c.store.Entries(c.ctx, outbox.Query{}) {
		if err != nil {
			c.t.Fatal(err)
		}
		refused += c.refusedIn(e)
	}
	written := map[passerelle.Side]string{passerelle.Requester: c.everything(passerelle.Requester), passerelle.Partner: c.everything(passerelle.Partner)}
	for _, s := range c.said {
		if !strings.Contains(written[s.from], s.text) {
			continue // its own tool refused it
		}
		n, no := strings.Count(written[s.from.Other()], s.text), strings.Contains(refused, s.text)
		if n > 1 || n == 0 && !no { // what was refused may travel later, with a create that shows it
			c.complain("« %s » of the %s, ticket %s, stands %d times on the other side (refused: %v)", s.text, s.from, s.ticket, n, no)
		}
	}
}

// refusedIn is what an entry says was refused in sight. Its words are not kept: the
// name of the fact tells them, of an iTop's entry by its hash, of a Jira's comment by
// its id.
func (c *crossing) refusedIn(e *outbox.Entry) string {
	if e.Template == mapping.NoteTemplate {
		return e.Event.Fields["private_log"]
	}
	if e.Status != outbox.Refused {
		return ""
	}
	all := strings.Join(e.Event.Names, " ")
	if id := strings.Split(all, "/"); e.Event.From == passerelle.Partner && len(id) > 2 && id[1] == "comment" {
		ans, err := c.tools[passerelle.Partner].Request(c.ctx, "GET", "/rest/api/2/issue/"+id[0]+"/comment/"+id[2], "")
		if err != nil {
			c.t.Fatal(err)
		}
		return ans.Get("body").String()
	}
	refused := ""
	for _, s := range c.said {
		if sum := sha256.Sum256([]byte(richtext.Identity("<p>" + s.text + "</p>"))); s.from == e.Event.From && strings.Contains(all, hex.EncodeToString(sum[:])) {
			refused += s.text + " "
		}
	}
	return refused
}

// everything is what a tool's tickets hold in journals or comments.
func (c *crossing) everything(side passerelle.Side) string {
	var b strings.Builder
	for l, err := range c.store.Links(c.ctx) {
		if err != nil {
			c.t.Fatal(err)
		}
		if l.Ref(side).Key == "" {
			continue
		}
		if side == passerelle.Partner {
			ans, err := c.tools[side].Request(c.ctx, "GET", "/rest/api/2/issue/"+l.Partner.Key+"/comment", "")
			if err != nil {
				c.t.Fatal(err)
			}
			b.WriteString(ans.Raw)
			ans, err = c.tools[side].Request(c.ctx, "GET", "/rest/api/2/issue/"+l.Partner.Key+"?fields=attachment", "")
			if err != nil {
				c.t.Fatal(err)
			}
			b.WriteString(ans.Get("fields.attachment.#.filename").Raw)
			continue
		}
		files, err := c.tools[side].Read(c.ctx, `{"operation":"core/get","class":"Attachment","key":"SELECT Attachment WHERE item_class='UserRequest' AND item_id=`+l.Requester.Key+`","output_fields":"contents"}`)
		if err != nil {
			c.t.Fatal(err)
		}
		b.WriteString(files.Get("objects.@values.#.fields.contents.filename").Raw)
		ans, err := c.tools[side].Read(c.ctx, `{"operation":"core/get","class":"UserRequest","key":"`+l.Requester.Key+`","output_fields":"public_log,private_log"}`)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, log := range []string{"public_log", "private_log"} {
			for _, e := range ans.Get("objects.@values.0.fields." + log + ".entries.#.message").Array() {
				b.WriteString(e.String() + "\n")
			}
		}
	}
	return b.String()
}
