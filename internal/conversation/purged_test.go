package conversation

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"passerelle"
	"passerelle/outbox"
)

// TestPurgedTicketsComeAlive plays four tickets on disk: closed, rejected, taken
// back, and one that was refused when it was escalated; and purges them. No byte
// of what people wrote is left in the data folder. Then each of them comes alive
// again, in the ways there are: a late entry, a reading, a comparison of all, a
// reopening, another escalation, and a backup that is restored. Nothing is written
// twice, and nothing is taken for news that was carried before.
func TestPurgedTicketsComeAlive(t *testing.T) {
	p := &purges{leftBehind: leftBehind{privacy: privacy{t: t}, data: filepath.Join(t.TempDir(), "data")}}
	p.begin()
	p.lives()
	p.purgeAll()
	p.gone()
	before := p.written()
	p.look()
	p.compared()
	if n := p.written() - before; n != 0 {
		t.Errorf("reading purged tickets made %d writes:\n%s", n, strings.Join(p.ears[passerelle.Requester].writes(), "\n"))
	}
	p.alive()
	p.comeBack()
}

type purges struct {
	leftBehind
	closed, rejected, left, refused *passerelle.Link
}

func (p *purges) written() int {
	return p.ears[passerelle.Requester].heardSoFar() + p.ears[passerelle.Partner].heardSoFar()
}

func (p *purges) now(ticket string) *passerelle.Link {
	p.t.Helper()
	l, err := p.store.Find(p.ctx, p.contract.Name, passerelle.Requester, ticket)
	p.fatal(err)
	return l
}

// talk has both sides write, and attach files.
func (p *purges) talk() {
	p.console("core/update", `"fields":{"public_log":"<p>`+p.word("a question", passerelle.Requester)+`</p>"}`)
	p.attach(p.word("a file's name", passerelle.Requester) + ".txt")
	p.look()
	p.note("between agents")
	p.public("an answer")
	p.does("POST /rest/api/2/issue/$ISSUE/attachments\n\nfile: " + p.word("another file's name", passerelle.Partner) + ".txt\n" + p.word("its content", passerelle.Partner))
}

func (p *purges) public(place string) {
	p.does(fmt.Sprintf("POST /rest/api/2/issue/$ISSUE/comment\n\n{\"body\":\"%s\"}", p.word(place, passerelle.Partner)))
}

func (p *purges) escalated() {
	p.newTicket()
	p.console("core/apply_stimulus", `"stimulus":"ev_assign","fields":{"team_id":{"name":"Support GAR"}}`)
	p.talk()
}

func (p *purges) lives() {
	p.escalated()
	if code, said := p.purge(p.now(p.ticket).Partner.Number, ""); code != http.StatusConflict || !strings.Contains(said, "is open") || !strings.Contains(said, "--force") {
		p.t.Errorf("an open ticket: %d %s", code, said)
	}
	p.move("41", `"resolution":{"name":"Résolu"},"customfield_12041":"`+p.word("a solution", passerelle.Partner)+`"`)
	p.console("core/apply_stimulus", `"stimulus":"ev_close","fields":{"user_comment":"`+p.word("a last word", passerelle.Requester)+`"}`)
	p.public("after the closing")
	p.closed = p.now(p.ticket)
	p.escalated()
	p.move("51", `"customfield_12040":"`+p.word("a reason to reject", passerelle.Partner)+`"`)
	p.rejected = p.now(p.ticket)
	p.escalated()
	p.move("51", `"customfield_12040":"`+p.word("another reason", passerelle.Partner)+`"`)
	p.console("core/update", `"fields":{"team_id":203}`)
	p.left = p.now(p.ticket)
	p.newTicket()
	p.silently("core/apply_stimulus", `"stimulus":"ev_assign","fields":{"team_id":{"name":"Support GAR"}}`)
	p.says(passerelle.Requester, strings.Replace(p.acts.text["requester says create refused"], `"last_update_by"`, `"public_log": "<p>`+p.word("in a refused create", passerelle.Requester)+`</p>", "last_update_by"`, 1))
	p.refused = p.now(p.ticket)
	for state, l := range map[passerelle.State]*passerelle.Link{passerelle.Closed: p.closed, passerelle.Rejected: p.rejected, passerelle.Left: p.left, passerelle.New: p.refused} {
		if l.State != state {
			p.t.Fatalf("%s is %s, not %s", l.Names(), l.State, state)
		}
	}
}

func (p *purges) purge(ref, how string) (code int, said string) {
	w := httptest.NewRecorder()
	p.admin.ServeHTTP(w, httptest.NewRequest("POST", "http://127.0.0.1/api/purge/"+ref+how, strings.NewReader(`{"by":"dpo","why":"demande 17"}`)))
	return w.Code, w.Body.String()
}

// purgeAll purges each ticket by another of its names.
func (p *purges) purgeAll() {
	for _, ref := range []string{p.closed.Requester.Number, p.rejected.Partner.Number, p.left.Own.Number, p.refused.Requester.Key} {
		if code, said := p.purge(ref, ""); code != http.StatusOK || !strings.Contains(said, `"waiting":0`) || strings.Contains(said, "on_disk") {
			p.t.Fatalf("purge %s: %d %s", ref, code, said)
		}
		if code, said := p.purge(ref, ""); code != http.StatusOK || !strings.Contains(said, `"bytes":0`) {
			p.t.Errorf("purge %s again: %d %s", ref, code, said)
		}
	}
	story := p.answered("GET", "/api/tickets/"+p.closed.Own.Number, "")
	for _, want := range []string{`"verb":"purge"`, `"by":"dpo"`, `"why":"demande 17"`, `"purged":"20`, `"sha256":"`, `"rule":"R31"`} {
		if !strings.Contains(story, want) {
			p.t.Errorf("the story does not say %s: %s", want, story)
		}
	}
	if m := p.answered("GET", "/metrics", ""); !strings.Contains(m, `passerelle_purged_tickets_total{contract="orleans-tours-gar",why="request"} 8`) {
		p.t.Errorf("the metric is not there")
	}
}

// gone looks for every word that was written, in the data folder and a new backup.
func (p *purges) gone() {
	p.t.Helper()
	for where, text := range map[string]string{"a backup": p.answered("GET", "/api/backup", ""), "the data folder": p.folder()} {
		for _, c := range p.planted {
			for _, form := range forms(c.word) {
				if strings.Contains(text, form) {
					p.t.Errorf("%s of the %s is purged, and stands in %s", c.place, c.from, where)
				}
			}
		}
	}
}

// compared compares each pair with its tickets; nothing is missing.
func (p *purges) compared() {
	for _, l := range []*passerelle.Link{p.closed, p.rejected, p.left} {
		said := p.answered("POST", "/api/resync/"+l.Own.Number+"?apply=1", "")
		if strings.Contains(said, `"news"`) || strings.Contains(said, `"gone"`) {
			p.t.Errorf("%s: %s", l.Names(), said)
		}
	}
	p.fatal(p.settle())
}

// alive has people go on with tickets that are purged.
func (p *purges) alive() {
	entries := len(p.storyOf(outbox.Refused))
	p.ticket = p.closed.Requester.Key
	p.public("late, on a purged ticket")
	if n := len(p.storyOf(outbox.Refused)) - entries; n != 1 {
		p.t.Errorf("a late comment made %d refusals", n)
	}
	p.says(passerelle.Requester, p.filled(p.acts.text["requester says create"]))
	again := p.now(p.ticket)
	issue, err := p.tools[passerelle.Partner].Request(p.ctx, "GET", "/rest/api/2/issue/"+again.Partner.Key+"?fields=description", "")
	if p.fatal(err); again.ID == p.closed.ID || !strings.Contains(issue.Raw, "Fait suite au ticket fermé "+p.closed.Partner.Number) {
		p.t.Errorf("escalated again: %+v %s", again, issue.Raw)
	}
	for range 2 {
		if code, said := p.purge(again.Own.Number, "?force=1"); code != http.StatusOK || !strings.Contains(said, `"previous":"`+p.closed.Partner.Number) {
			p.t.Errorf("a pair that follows another: %d %s", code, said)
		}
	}
	p.ticket = p.rejected.Requester.Key
	p.console("core/apply_stimulus", `"stimulus":"ev_reopen","fields":{"reopen_reason":"<p>Rejet du ticket non valide</p>"}`)
	p.ticket = p.left.Requester.Key
	p.console("core/update", `"fields":{"team_id":202}`)
	p.says(passerelle.Requester, p.filled(p.acts.text["requester says create"]))
	for _, l := range []*passerelle.Link{p.rejected, p.left} {
		now := p.now(l.Requester.Key)
		if now.State != passerelle.Open || now.ID != l.ID {
			p.t.Errorf("%s is %s", now.Names(), now.State)
		}
		status, err := p.tools[passerelle.Partner].Status(p.ctx, now.Partner)
		if p.fatal(err); status != "En cours" {
			p.t.Errorf("%s stands in %s at the partner's", now.Names(), status)
		}
	}
	if parked := p.storyOf(outbox.Parked); len(parked) > 0 {
		p.t.Errorf("parked: %+v", parked[0])
	}
	p.once()
}

// once counts every word of the tickets in both tools.
func (p *purges) once() {
	p.t.Helper()
	jira, sumit := p.jira(), p.sumit()
	for _, c := range p.planted {
		there := jira.public + jira.private
		if c.from == passerelle.Partner {
			there = sumit.public + sumit.private
		}
		if n := strings.Count(there, c.word); strings.Contains(c.place, "between agents") && n != 1 || strings.Contains(c.place, "an answer") && n == 0 {
			p.t.Errorf("%s of the %s stands there %d times", c.place, c.from, n)
		}
	}
}

// comeBack restores a backup that was made after the purge.
func (p *purges) comeBack() {
	var backup bytes.Buffer
	_, err := p.store.Backup(p.ctx, &backup, nil)
	p.fatal(err)
	before := p.written()
	p.data = filepath.Join(p.t.TempDir(), "data")
	p.fatal(p.restart(func() (outbox.Store, error) {
		if _, err := outbox.Restore(&backup, p.data, outbox.RestoreOptions{Skip: 100}); err != nil {
			return nil, err
		}
		return outbox.OpenBolt(p.data)
	}))
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if rep, _ := p.relay.Relearning(p.ctx); !rep.Done.IsZero() {
			break
		}
	}
	p.look()
	p.compared()
	if n := p.written() - before; n != 0 {
		p.t.Errorf("after a restore the gateway wrote %d times", n)
	}
	p.once()
}
