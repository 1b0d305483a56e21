package conversation

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"passerelle"
	"passerelle/adapters"
	"passerelle/adapters/jira/jirasim"
	"passerelle/internal/fault"
	"passerelle/internal/login"
	"passerelle/internal/wiring"
	"passerelle/outbox"
)

// What the tools and their people prove themselves by, and what others try. Each
// has characters that every encoding writes in another way.
const (
	faceWord   = `canari-face-é<&"+1>`
	agentWord  = `canari-agent-é<&"+2>`
	hookWord   = `canari-hook-é<&"+3>`
	wrongWord  = `canari-faux-é<&"+4>`
	forgedWord = `canari-forge-é<&"+5>`
)

// TestNothingIsLeftBehind plays a full life on disk, with a word of its own in
// every secret and every private place, and looks at every byte that is left: the
// database with its unused pages, the folder of files, a backup, the log, the
// metrics, every answer of the operators' API and of the faces. No secret stands
// anywhere. A private text that the contract does not carry stands nowhere; one
// that it carries stands in the store alone, and there not for ever: see
// TestPurgedTicketsComeAlive.
func TestNothingIsLeftBehind(t *testing.T) {
	p := &leftBehind{privacy: privacy{t: t}, data: filepath.Join(t.TempDir(), "data")}
	p.begin()
	p.live()
	p.returned()
	p.strangers()
	p.unnamed()
	p.parked()
	p.look()
	p.check()
	p.everywhere()
	p.fatal(p.restart(func() (outbox.Store, error) { return outbox.OpenBolt(p.data) }))
	p.look()
	p.everywhere()
}

type leftBehind struct {
	privacy
	data    string
	last    string          // what a face answered last
	waiting map[string]bool // words that wait in the store, to be carried
}

func (p *leftBehind) begin() {
	var err error
	p.acts, err = readActs(orleans)
	p.fatal(err)
	p.rig, err = newRig(p.t.Context(), orleans, nil, func(r *rig) {
		r.store, err = outbox.OpenBolt(p.data)
		p.fatal(err)
		r.change = func(l *wiring.Link) {
			secret := func(s string) adapters.SecretRef { return adapters.SecretRef{Value: passerelle.Secret(s)} }
			hashed := func(s string) adapters.SecretRef {
				hash, err := login.HashPassword(passerelle.Secret(s))
				p.fatal(err)
				return adapters.SecretRef{Value: hash}
			}
			l.Requester.ITop.Accounts = append(l.Requester.ITop.Accounts, adapters.Account{User: "sumit", Password: hashed(faceWord)})
			l.Partner.Agent.Accounts = append(l.Partner.Agent.Accounts, adapters.Account{User: "agent", Password: hashed(agentWord)})
			l.Partner.Jira.Webhook.Secrets = append(l.Partner.Jira.Webhook.Secrets, secret(hookWord))
		}
	})
	p.fatal(err)
	p.t.Cleanup(func() {
		if err := p.close(); err != nil {
			p.t.Error(err)
		}
	})
	p.fatal(p.otherJira(orleans, false, func(f *jirasim.Fixture) {
		f.Fields = append(f.Fields, jirasim.Field{ID: "customfield_19999", Name: "Analyse interne", Type: "text"})
	}))
	p.waiting = map[string]bool{}
}

// strangers come with right and wrong passwords, in every place there is for one,
// and with forged webhooks.
func (p *leftBehind) strangers() {
	update := func(side passerelle.Side, user, password string) string {
		b, err := json.Marshal(map[string]any{"auth_url": "https://elsewhere.example", "auth_user": user, "auth_pwd": password, "operation": "core/update", "class": "UserRequest",
			"comment": "c", "key": p.filled("$OWN"), "fields": map[string]string{"last_update_by": "provider", "private_log": "<p>" + p.word("with a password in the message", side) + "</p>"}})
		p.fatal(err)
		return string(b)
	}
	for _, try := range []struct {
		side           passerelle.Side
		user, password string
	}{{passerelle.Requester, "sumit", faceWord}, {passerelle.Partner, "agent", agentWord}, {passerelle.Requester, "sumit", wrongWord}, {passerelle.Partner, wrongWord, wrongWord}} {
		face := p.face(try.side) + "/" + adapters.RESTPath
		p.posted(face, "application/json", update(try.side, try.user, try.password), nil)
		form := url.Values{"auth_user": {try.user}, "auth_pwd": {try.password}, "version": {"1.3"}, "json_data": {update(try.side, try.user, try.password)}}
		p.posted(face, "application/x-www-form-urlencoded", form.Encode(), nil)
		p.posted(face+"?auth_pwd="+url.QueryEscape(try.password), "application/json", update(try.side, try.user, try.password), func(r *http.Request) { r.SetBasicAuth(try.user, try.password) })
		if p.posted(face, "application/json", update(try.side, try.user, try.password), nil); strings.Contains(p.last, `"code":0`) != (try.password != wrongWord) {
			p.t.Errorf("%s of the %s: %s", try.user, try.side, p.last)
		}
		p.posted(face, "application/json", "{not json "+update(try.side, try.user, try.password), func(r *http.Request) { r.Header.Set("Auth-Token", try.password) })
	}
	hook := p.face(passerelle.Partner) + "/" + adapters.WebhookPath
	body := `{"webhookEvent":"comment_created","comment":{"body":"` + p.word("in a forged webhook", passerelle.Partner) + `"},"issue":{"id":"` + forgedWord[:12] + `"}}`
	p.posted(hook+"?token="+url.QueryEscape(forgedWord), "application/json", body, nil)
	p.posted(hook, "application/json", body, func(r *http.Request) { r.Header.Set("X-Hub-Signature", "sha256="+forgedWord) })
	p.fatal(p.settle())
}

// posted posts to the gateway; whatever it answers is looked at in the end.
func (p *leftBehind) posted(to, kind, body string, change func(*http.Request)) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.ctx, http.MethodPost, to, strings.NewReader(body))
	p.fatal(err)
	if req.Header.Set("Content-Type", kind); change != nil {
		change(req)
	}
	res, err := http.DefaultClient.Do(req)
	p.fatal(err)
	defer res.Body.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(res.Body)
	p.fatal(err)
	p.last = b.String()
	fmt.Fprintln(&p.answers, res.Status, res.Header, p.last)
}

// unnamed are fields that the contract's table does not have, and persons behind
// the generic reporter, in a message that is carried.
func (p *leftBehind) unnamed() {
	from := passerelle.Requester
	p.newTicket()
	p.silently("core/apply_stimulus", `"stimulus":"ev_assign","fields":{"team_id":{"name":"Support GAR"}}`)
	more := fmt.Sprintf(`"caller_phone": "%s", "internal_note": "<p>%s</p>", "agent_id": "%s", "last_update_by"`, p.word("phone beside a create", from), p.word("unnamed field beside a create", from), p.word("agent beside a create", from))
	p.says(from, strings.Replace(p.acts.text["requester says create"], `"last_update_by"`, more, 1))
	p.says(from, `{"operation":"core/update","class":"UserRequest","comment":"c","fields":{"customer_id":"$TICKET","last_update_by":"customer","title":"`+p.word("title in a refused change", from)+
		`","description":"`+p.word("description in a refused change", from)+`","internal_note":"`+p.word("unnamed field of a change", from)+`"}}`)
	p.says(passerelle.Partner, `{"operation":"core/update","class":"UserRequest","comment":"c","key":"$OWN","fields":{"last_update_by":"provider","public_log":"<p>lu</p>","internal_note":"`+p.word("unnamed field of the agent", passerelle.Partner)+`"}}`)
}

// parked has Jira refuse private notes in words that quote them; one is retried,
// one dropped, one stays.
func (p *leftBehind) parked() {
	for i, verb := range []string{"retry", "drop", ""} {
		note := p.word(fmt.Sprintf("a note that is parked, %d", i), passerelle.Requester)
		p.fatal(p.tools[passerelle.Partner].Jira.Faults().Add(fault.Rule{Match: p.filled("POST /rest/api/2/issue/$ISSUE/comment"), Kind: fault.Status, Code: 400, Times: 1, Body: `{"errorMessages":["this will not do: ` + note + `"]}`}))
		p.says(passerelle.Requester, `{"operation":"core/update","class":"UserRequest","comment":"c","fields":{"customer_id":"$TICKET","last_update_by":"customer","private_log":"<p>`+note+`</p>"}}`)
		parked := p.storyOf(outbox.Parked)
		if len(parked) != 1 || !strings.Contains(parked[0].Error, "this will not do") {
			p.t.Fatalf("parked: %+v", parked)
		}
		p.waiting[note] = verb != "retry"
		p.answered("GET", fmt.Sprintf("/api/outbox/%d", parked[0].ID), "")
		if verb != "" {
			p.answered("POST", fmt.Sprintf("/api/outbox/%d/%s", parked[0].ID, verb), `{"by":"op","why":"tried"}`)
		}
		p.fatal(p.settle())
	}
}

func (p *leftBehind) storyOf(status outbox.Status) (out []*outbox.Entry) {
	for e, err := range p.store.Entries(p.ctx, outbox.Query{Status: []outbox.Status{status}}) {
		p.fatal(err)
		out = append(out, e)
	}
	return out
}

// answered asks the operators' API; what it says is looked at in the end.
func (p *leftBehind) answered(method, path, body string) string {
	w := httptest.NewRecorder()
	p.admin.ServeHTTP(w, httptest.NewRequest(method, "http://127.0.0.1"+path, strings.NewReader(body)))
	if path != "/api/backup" {
		fmt.Fprintln(&p.answers, w.Code, w.Body)
	}
	return w.Body.String()
}

// everywhere looks at every byte.
func (p *leftBehind) everywhere() {
	p.t.Helper()
	for e, err := range p.store.Entries(p.ctx, outbox.Query{}) {
		p.fatal(err)
		p.answered("GET", fmt.Sprintf("/api/outbox/%d", e.ID), "")
	}
	for l, err := range p.store.Links(p.ctx) {
		p.fatal(err)
		p.answered("POST", "/api/resync/"+l.Own.Number, "")
		p.answered("POST", "/api/purge/"+l.Own.Number, `{"by":"op"}`)
	}
	p.answered("GET", "/api/tickets/nobody", "")
	p.answered("POST", "/api/end/nobody", `{"by":"op","why":"x"}`)
	told := p.answers.String() + p.logged.String() + p.operators()
	kept := map[string]string{"a backup": p.answered("GET", "/api/backup", ""), "the data folder": p.folder()}
	p.secrets(told, kept)
	p.texts(told, kept)
}

// folder is every byte of the data folder, and the names in it.
func (p *leftBehind) folder() string {
	var all bytes.Buffer
	p.fatal(filepath.WalkDir(p.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		fmt.Fprintf(&all, "%s %s\n", path, b)
		return err
	}))
	if all.Len() < 1<<15 {
		p.t.Fatalf("the data folder has %d bytes: it is another one", all.Len())
	}
	return all.String()
}

func (p *leftBehind) secrets(told string, kept map[string]string) {
	p.t.Helper()
	secrets := []string{token, faceWord, agentWord, hookWord, wrongWord, forgedWord, "demo-itop-gateway", "demo-jira-gateway-token"}
	for _, s := range secrets {
		for _, form := range append(forms(s), fmt.Sprintf("%x", sha256.Sum256([]byte(s)))) {
			if i := strings.Index(told, form); i >= 0 {
				p.t.Errorf("the secret %s is told: …%s…", s, told[max(0, i-200):i+len(form)])
			}
			for where, text := range kept {
				if strings.Contains(text, form) {
					p.t.Errorf("the secret %s stands in %s, as %s", s, where, form)
				}
			}
		}
	}
}

func (p *leftBehind) texts(told string, kept map[string]string) {
	p.t.Helper()
	arrived, inStore := p.jira().private, 0
	for _, c := range p.planted {
		carried := c.from == passerelle.Requester && strings.Contains(arrived, c.word) || p.waiting[c.word]
		for _, form := range forms(c.word) {
			if i := strings.Index(told, form); i >= 0 {
				p.t.Errorf("%s of the %s is told: …%s…", c.place, c.from, told[max(0, i-200):i+len(form)])
			}
			for where, text := range kept {
				switch found := strings.Contains(text, form); {
				case found && carried:
					inStore++
				case found:
					i := strings.Index(text, form)
					p.t.Errorf("%s of the %s is not carried, and stands in %s: …%q…", c.place, c.from, where, text[max(0, i-300):min(len(text), i+60)])
				}
			}
		}
	}
	if inStore == 0 {
		p.t.Error("nothing that is carried is found in the store: the places that are looked at are not the right ones")
	}
}

// forms are the ways in which a text may have been written. Its hash is none: that
// stays, as the name of the fact.
func forms(s string) []string {
	quoted, _ := json.Marshal(s) // a string always encodes
	var plain bytes.Buffer
	enc := json.NewEncoder(&plain)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s)
	out := []string{s, url.QueryEscape(s), url.PathEscape(s), html.EscapeString(s), strings.Trim(string(quoted), `"`), strings.Trim(strings.TrimSpace(plain.String()), `"`), fmt.Sprintf("%x", s)}
	for before := range 3 { // base64 of anything that has it inside
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			b := e.EncodeToString(append(make([]byte, before), s...))
			from := []int{0, 2, 3}[before]
			out = append(out, b[from:len(b)-len(b)%4])
		}
	}
	return out
}
