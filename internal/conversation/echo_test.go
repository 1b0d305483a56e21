package conversation

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"passerelle"
	"passerelle/outbox"
)

// echo is one ticket between two tools that push all that happens, ours
// included.
type echo struct {
	*rig
	t      *testing.T
	ticket string
	replay struct{ itop, jira int } // how many of the tools' pushes were said again
}

func newEcho(t *testing.T) *echo {
	t.Parallel()
	e := &echo{t: t}
	var err error
	e.rig, err = newRig(t.Context(), orleans, nil)
	e.must(err)
	t.Cleanup(func() {
		if err := e.close(); err != nil {
			t.Error(err)
		}
	})
	acts, err := readActs(orleans)
	e.must(err)
	ans, err := e.tools[passerelle.Requester].Console(e.ctx, acts.text["ticket"])
	e.must(err)
	e.ticket = ans.Get("objects.@values.0.key").String()
	e.stimulus("ev_assign", `"team_id":{"name":"Support GAR"}`)
	return e
}

func (e *echo) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

// does has an agent act in a tool, without waiting for what follows.
func (e *echo) does(side passerelle.Side, text string) error {
	_, err := e.tools[side].Say(e.ctx, e.full(text))
	return err
}

func (e *echo) acts(side passerelle.Side, text string) {
	e.t.Helper()
	e.must(e.does(side, text))
	e.must(e.settle())
}

func (e *echo) stimulus(s, fields string) {
	e.t.Helper()
	e.acts(passerelle.Requester, fmt.Sprintf(`{"operation":"core/apply_stimulus","class":"UserRequest","comment":"c","key":%s,"stimulus":"%s","fields":{%s}}`, e.ticket, s, fields))
}

func (e *echo) entry(text string) string {
	return fmt.Sprintf(`{"operation":"core/update","class":"UserRequest","comment":"c","key":%s,"fields":{"public_log":"<p>%s</p>"}}`, e.ticket, text)
}

func comment(text string) string {
	return fmt.Sprintf("POST /rest/api/2/issue/$ISSUE/comment\n\n{\"body\":\"%s\"}", text)
}

func (e *echo) move(id, fields string) {
	e.t.Helper()
	e.acts(passerelle.Partner, fmt.Sprintf("POST /rest/api/2/issue/$ISSUE/transitions\n\n{\"transition\":{\"id\":\"%s\"},\"fields\":{%s}}", id, fields))
}

// writes are what the gateway wrote since it was last asked, in both tools.
func (e *echo) writes() []string {
	return append(e.ears[passerelle.Requester].writes(), e.ears[passerelle.Partner].writes()...)
}

// silent fails if anything at all was written.
func (e *echo) silent(after string) {
	e.t.Helper()
	e.must(e.settle())
	if list := e.writes(); len(list) > 0 {
		e.t.Errorf("%s: the gateway wrote %d times:\n%s", after, len(list), strings.Join(list, "\n"))
	}
}

// look has both tickets read again.
func (e *echo) look() {
	for l, err := range e.store.Links(e.ctx) {
		e.must(err)
		e.must(e.relay.Look(e.ctx, l.Contract, passerelle.Requester, l.Requester.Key))
		e.must(e.relay.Look(e.ctx, l.Contract, passerelle.Partner, l.Partner.Key))
	}
	e.must(e.settle())
}

// again says everything once more that the tools pushed since it was last asked,
// twice, and reads both tickets twice: nothing may follow. Journals and files
// pushed at any time before are repeated too.
func (e *echo) again(after string) {
	e.t.Helper()
	pushed := e.tools[passerelle.Requester].ITop.Sent()
	for i, p := range pushed {
		if i < e.replay.itop && !strings.Contains(p.Trigger, "-log") && !strings.Contains(p.Trigger, "attachment") {
			continue // a change of state said again in another state is another fact
		}
		for range 2 {
			_, err := e.post(passerelle.Requester, p.Payload)
			e.must(err)
		}
	}
	e.replay.itop = len(pushed)
	hooks := e.tools[passerelle.Partner].Jira.Sent()
	for _, h := range hooks {
		req, err := http.NewRequestWithContext(e.ctx, http.MethodPost, h.URL, strings.NewReader(h.Body))
		e.must(err)
		req.Header = h.Header.Clone()
		res, err := http.DefaultClient.Do(req)
		e.must(err)
		e.must(res.Body.Close())
		if res.StatusCode != http.StatusOK {
			e.t.Fatalf("a webhook said again: %s", res.Status)
		}
	}
	e.replay.jira = len(hooks)
	e.silent(after + ", pushed again")
	for range 2 {
		e.look()
	}
	e.silent(after + ", read again")
}

// TestR17NoWriteOfOursComesBack makes the gateway write everything that it can
// write, in tools that push it back at once; then all of it is pushed again and
// read again. Each act leads to its own writes and to no other.
func TestR17NoWriteOfOursComesBack(t *testing.T) {
	e := newEcho(t)
	file := fmt.Sprintf(`{"operation":"core/create","class":"Attachment","comment":"pj","fields":{"item_class":"UserRequest","item_id":%s,"contents":{"data":"Ym9uam91cg==","filename":"écran.txt","mimetype":"text/plain"}}}`, e.ticket)
	step := func(what string, requester, partner int) {
		t.Helper()
		heard := map[passerelle.Side][]string{passerelle.Requester: e.ears[passerelle.Requester].writes(), passerelle.Partner: e.ears[passerelle.Partner].writes()}
		if len(heard[passerelle.Requester]) != requester || len(heard[passerelle.Partner]) != partner {
			t.Errorf("%s: %d writes in SUMiT, want %d; %d in Jira, want %d:\n%s", what, len(heard[passerelle.Requester]), requester, len(heard[passerelle.Partner]), partner,
				strings.Join(slices.Concat(heard[passerelle.Requester], heard[passerelle.Partner]), "\n"))
		}
		e.again(what)
	}
	step("create, watcher and number", 1, 2)
	e.acts(passerelle.Requester, e.entry("une précision"))
	step("public entry", 0, 2)
	e.acts(passerelle.Requester, strings.Replace(e.entry("entre agents"), "public_log", "private_log", 1))
	step("private entry", 0, 2)
	e.acts(passerelle.Requester, file)
	step("file of the requester", 0, 2)
	e.acts(passerelle.Partner, comment("Quelle version ?"))
	step("public comment", 1, 0)
	e.acts(passerelle.Partner, "POST /rest/api/2/issue/$ISSUE/attachments\n\nfile: mode d'emploi.txt\nvidez le cache")
	step("file of the partner", 1, 0)
	e.move("21", `"duedate":"2026-12-01"`)
	step("pending", 1, 0)
	e.move("31", "")
	step("end of pending by the partner", 1, 0)
	e.move("21", "")
	step("pending again", 1, 0)
	e.acts(passerelle.Requester, e.entry("La 145."))
	step("answer and end of pending", 0, 4)
	e.move("41", `"resolution":{"name":"Résolu"},"customfield_12041":"Fait"`)
	step("resolution", 1, 0)
	e.stimulus("ev_reopen", `"reopen_reason":"<p>encore</p>"`)
	step("reopening", 0, 2)
	e.move("51", `"customfield_12040":"Hors périmètre"`)
	step("rejection", 2, 0)
	e.acts(passerelle.Partner, comment("trop tard"))
	step("a refusal's note in Jira", 0, 2)
	e.stimulus("ev_reopen", `"reopen_reason":"<p>Rejet du ticket non valide</p>"`)
	step("rejection refused", 0, 2)
	_, err := e.post(passerelle.Requester, `{"operation":"core/update","class":"UserRequest","comment":"c","fields":{"customer_id":"`+e.ticket+`","title":"Autre"}}`)
	e.must(err)
	e.must(e.settle())
	step("a refusal's note in SUMiT", 1, 0)
	e.move("41", `"resolution":{"name":"Résolu"}`)
	step("resolution again", 1, 0)
	e.stimulus("ev_close", `"user_comment":"merci"`)
	step("closing", 0, 2)
	if e.replay.itop < 10 || e.replay.jira < 20 {
		t.Errorf("only %d pushes and %d webhooks were said again", e.replay.itop, e.replay.jira)
	}
}

// hear waits until the gateway writes a text in a tool: the very moment after
// ours.
func (e *echo) hear(side passerelle.Side, text string) {
	e.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if e.wrote(side, text) > 0 {
			return
		}
	}
	e.t.Fatalf("« %s » was never written in the %s's tool", text, side)
}

// wrote counts the journal entries or comments with a text that were written.
func (e *echo) wrote(side passerelle.Side, text string) int {
	e.ears[side].mu.Lock()
	defer e.ears[side].mu.Unlock()
	n := 0
	for _, w := range e.ears[side].list {
		if side == passerelle.Requester && strings.Contains(w, `"public_log"`) || strings.Contains(w, "/comment\n") {
			n += strings.Count(w, text)
		}
	}
	return n
}

// TestR17APersonsEditRightAfterOurs writes the very words that the gateway just
// wrote there, in the same second: a person's own entry, which passes once.
func TestR17APersonsEditRightAfterOurs(t *testing.T) {
	e := newEcho(t)
	e.writes()
	for i := range 10 {
		text := fmt.Sprintf("mêmes mots %d fin", i)
		e.must(e.does(passerelle.Partner, comment(text)))
		e.hear(passerelle.Requester, text)
		e.must(e.does(passerelle.Requester, e.entry(text)))
		e.once(passerelle.Requester, passerelle.Partner, text)

		text = fmt.Sprintf("mots pareils %d fin", i)
		e.must(e.does(passerelle.Requester, e.entry(text)))
		e.hear(passerelle.Partner, text)
		e.must(e.does(passerelle.Partner, comment(text)))
		e.once(passerelle.Partner, passerelle.Requester, text)
	}
	e.again("twins")
}

// once checks that a text was written once in each tool: ours, and the person's
// on its way back, at once and after another reading.
func (e *echo) once(a, b passerelle.Side, text string) {
	e.t.Helper()
	e.must(e.settle())
	for range 2 {
		for _, side := range []passerelle.Side{a, b} {
			if n := e.wrote(side, text); n != 1 {
				e.t.Errorf("« %s » was written %d times in the %s's tool, want once", text, n, side)
			}
		}
		e.look()
	}
	e.writes()
}

// TestR17APersonsEditOfOurComment: our own comment, corrected by a person in
// Jira, is the person's.
func TestR17APersonsEditOfOurComment(t *testing.T) {
	e := newEcho(t)
	e.acts(passerelle.Requester, e.entry("une précison"))
	ans, err := e.tools[passerelle.Partner].Request(e.ctx, "GET", e.full("/rest/api/2/issue/$ISSUE/comment"), "")
	e.must(err)
	e.writes()
	e.acts(passerelle.Partner, "PUT /rest/api/2/issue/$ISSUE/comment/"+ans.Get("comments.0.id").String()+"\n\n{\"body\":\"une précision\"}")
	if n := e.wrote(passerelle.Requester, "une précision"); n != 1 {
		t.Errorf("the correction was written %d times in SUMiT, want once", n)
	}
	e.writes()
	e.again("edit")
}

// TestR17RapidEditsSettle has people write on both sides at once, as fast as
// they can: every text arrives once, nothing else is written.
func TestR17RapidEditsSettle(t *testing.T) {
	const each = 30
	e := newEcho(t)
	e.writes()
	var wg sync.WaitGroup
	failed := make(chan error, 2*each)
	people := func(side passerelle.Side, say func(i int) string) {
		for i := range each {
			if err := e.does(side, say(i)); err != nil {
				failed <- err
			}
		}
	}
	wg.Go(func() {
		people(passerelle.Requester, func(i int) string { return e.entry(fmt.Sprintf("demandeur %02d fin", i)) })
	})
	wg.Go(func() {
		people(passerelle.Partner, func(i int) string { return comment(fmt.Sprintf("partenaire %02d fin", i)) })
	})
	wg.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	e.must(e.settle())
	e.look()
	for i := range each {
		for side, text := range map[passerelle.Side]string{passerelle.Partner: fmt.Sprintf("demandeur %02d fin", i), passerelle.Requester: fmt.Sprintf("partenaire %02d fin", i)} {
			if n := e.wrote(side, text); n != 1 {
				t.Errorf("« %s » was written %d times in the %s's tool, want once", text, n, side)
			}
		}
	}
	if n := len(e.ears[passerelle.Requester].writes()); n != each {
		t.Errorf("%d writes in SUMiT for %d comments", n, each)
	}
	if n := len(e.ears[passerelle.Partner].writes()); n != 2*each { // the field and the comment
		t.Errorf("%d writes in Jira for %d entries, want two each", n, each)
	}
	e.again("rapid edits")
}

// recorded is one webhook of a real iTop 3.2.0 (recordings 76-hook-*): at a
// change of state it pushes the head of the journal, which is an old one.
type recorded struct {
	Recording   string `json:"recording"`
	Trigger     string `json:"trigger"`
	Status      string `json:"status"`
	HeadHTML    string `json:"head_html"`
	PrivateHead string `json:"private_head"`
}

// TestR17AnOldHeadPushedAgain replays them, with the journal that they belong
// to: the entries travel once, when they are written.
func TestR17AnOldHeadPushedAgain(t *testing.T) {
	b, err := os.ReadFile("testdata/old-heads.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []recorded
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	e := newEcho(t)
	e.writes()
	seen, old := map[string]bool{}, 0
	for _, r := range list {
		fields := map[string]any{"public_log": r.HeadHTML}
		if r.PrivateHead != "" {
			fields["private_log"] = "<p>" + r.PrivateHead + "</p>"
		}
		news := 0
		for name, text := range fields {
			if !seen[name+text.(string)] {
				seen[name+text.(string)] = true
				news++
				raw, err := json.Marshal(map[string]any{"operation": "core/update", "class": "UserRequest", "comment": "c", "key": e.ticket, "fields": map[string]any{name: text}})
				e.must(err)
				e.acts(passerelle.Requester, string(raw))
			}
		}
		if n := len(e.writes()); n != 2*news {
			t.Errorf("%s: %d writes for %d entries", r.Recording, n, news)
		}
		if news == 0 {
			old++
		}
		fields["customer_id"], fields["last_update_by"] = e.ticket, "customer"
		push, err := json.Marshal(map[string]any{"operation": "core/update", "class": "UserRequest", "comment": r.Trigger, "fields": fields})
		e.must(err)
		for range 2 {
			_, err := e.post(passerelle.Requester, string(push))
			e.must(err)
		}
		e.silent(r.Recording + ", an old head")
	}
	if old < 3 {
		t.Errorf("only %d of the recordings push an old head", old)
	}
	e.again("recordings")
}

// TestR17AStaleAuthorSilencesNobody: what SUMiT says of who made a change may be
// left from our own write. A person's entry passes, pushed or read.
func TestR17AStaleAuthorSilencesNobody(t *testing.T) {
	for _, by := range []string{"provider", "na", "inter", "customer", "", "n'importe quoi"} {
		t.Run("last_update_by "+by, func(t *testing.T) {
			e := newEcho(t)
			e.acts(passerelle.Partner, comment("de nous"))
			requester := e.tools[passerelle.Requester]
			requester.Hush()
			e.must(e.does(passerelle.Requester, e.entry("écrit par une personne")))
			_, err := requester.Read(e.ctx, fmt.Sprintf(`{"operation":"core/update","class":"UserRequest","comment":"c","key":%s,"fields":{"last_update_by":"provider"}}`, e.ticket))
			e.must(err)
			e.must(e.settle())
			e.writes()
			push := fmt.Sprintf(`{"operation":"core/update","class":"UserRequest","comment":"c","fields":{"customer_id":"%s","last_update_by":"%s","public_log":"<p>écrit par une personne</p>"}}`, e.ticket, by)
			if by == "" {
				e.look()
			} else if _, err := e.post(passerelle.Requester, push); err != nil {
				t.Fatal(err)
			}
			e.must(e.settle())
			if n := e.wrote(passerelle.Partner, "écrit par une personne"); n != 1 {
				t.Errorf("the entry was written %d times in Jira, want once", n)
			}
			e.writes()
			e.look()
			if _, err := e.post(passerelle.Requester, push); err != nil {
				t.Fatal(err)
			}
			e.silent("the entry, read and pushed again")
			for entry, err := range e.store.Entries(e.ctx, outbox.Query{Status: []outbox.Status{outbox.Refused, outbox.Parked}}) {
				e.must(err)
				t.Errorf("entry %d is %s: %s", entry.ID, entry.Status, entry.Error)
			}
		})
	}
}
