package conversation

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/adapters/jira/jirasim"
	"passerelle/internal/fault"
)

const orleans = "../../contracts/orleans-tours-gar/v1"

// TestR16PrivateStaysPrivate plants a word of its own in every place that is
// private, on both sides, by every way in, in every state. None of them may come
// out where the public, or the other side's public, can read it, nor in an
// answer, the log, a metric or the operators' API. With the switch on, the
// partner's come into the private journal and nowhere else.
func TestR16PrivateStaysPrivate(t *testing.T) {
	for _, on := range []bool{false, true} {
		t.Run(fmt.Sprintf("private_log_to_requester %v", on), func(t *testing.T) {
			t.Parallel()
			p := &privacy{t: t, on: on}
			p.open()
			p.live()
			p.returned()
			p.check()
		})
	}
}

// privacy is one play with its canaries.
type privacy struct {
	*rig
	t       *testing.T
	acts    *acts
	on      bool
	planted []canary
	answers strings.Builder // of the faces
	ticket  string          // being played
}

// canary is a word that stands in one private place only.
type canary struct {
	word, place string
	from        passerelle.Side
}

func (p *privacy) fatal(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *privacy) open() {
	var err error
	p.acts, err = readActs(orleans)
	p.fatal(err)
	with := overlay{"contract.yaml": fmt.Appendf(nil, "private_log_to_requester: %v\n", p.on)}
	p.rig, err = newRig(p.t.Context(), orleans, with)
	p.fatal(err)
	p.t.Cleanup(func() {
		if err := p.close(); err != nil {
			p.t.Error(err)
		}
	})
	p.fatal(p.otherJira(orleans, false, func(f *jirasim.Fixture) {
		f.Fields = append(f.Fields, jirasim.Field{ID: "customfield_19999", Name: "Analyse interne", Type: "text"})
	}))
}

// live plants in every state of a ticket that is solved, opened again, rejected,
// taken back and closed.
func (p *privacy) live() {
	p.newTicket()
	p.note("before the escalation")
	p.attach("bilan.txt")
	p.console("core/apply_stimulus", `"stimulus":"ev_assign","fields":{"team_id":{"name":"Support GAR"},"private_log":"<p>`+p.word("with the escalation", passerelle.Requester)+`</p>"}`)
	p.plant("open")
	p.fatal(p.is(passerelle.Requester, true)) // what crosses is private too (R34)
	p.comment("a question that crosses", internal)
	p.move("21")
	p.note("before the question is shown")
	p.fatal(p.is(passerelle.Requester, false))
	p.plant("pending")
	p.console("core/update", `"fields":{"public_log":"<p>La 145.</p>"}`)
	p.move("41", `"resolution":{"name":"Résolu"},"customfield_12041":"Fait"`)
	p.plant("resolved")
	p.console("core/apply_stimulus", `"stimulus":"ev_reopen","fields":{"reopen_reason":"<p>encore</p>","private_log":"<p>`+p.word("with a reopening", passerelle.Requester)+`</p>"}`)
	p.move("51", `"customfield_12040":"Hors périmètre"`)
	p.plant("rejected")
	p.console("core/apply_stimulus", `"stimulus":"ev_reopen","fields":{"reopen_reason":"<p>Rejet du ticket non valide</p>"}`)
	p.move("41", `"resolution":{"name":"Résolu"}`)
	p.console("core/apply_stimulus", `"stimulus":"ev_close","fields":{"user_comment":"merci","private_log":"<p>`+p.word("with the closing", passerelle.Requester)+`</p>"}`)
	p.plant("closed")
}

// returned plants in a ticket that comes by messages alone, leaves the interface
// and comes back with another text.
func (p *privacy) returned() {
	p.newTicket()
	create := func(name string) string {
		return strings.Replace(p.acts.text["requester says "+name], `"last_update_by"`, `"private_log": "<p>`+p.word("in a "+name, passerelle.Requester)+`</p>", "last_update_by"`, 1)
	}
	p.silently("core/apply_stimulus", `"stimulus":"ev_assign","fields":{"team_id":{"name":"Support GAR"}}`)
	p.says(passerelle.Requester, create("create refused"))
	p.says(passerelle.Requester, create("create"))
	p.says(passerelle.Requester, create("create changed")) // refused: it is at the partner's
	p.says(passerelle.Partner, p.acts.text["partner says reject"])
	p.silently("core/update", `"fields":{"team_id":{"name":"DSI"}}`)
	p.says(passerelle.Requester, p.acts.text["requester says leave"])
	p.plant("left")
	p.silently("core/update", `"fields":{"team_id":{"name":"Support GAR"}}`)
	p.says(passerelle.Requester, create("create changed")) // back, with another text (R30)
	p.plant("open again")
	p.long()
}

// long writes a private text that is longer than Jira takes: it travels in
// parts, never as a file.
func (p *privacy) long() {
	words := p.word("at the beginning of a long text", passerelle.Requester) + strings.Repeat(" mot", 10_000) + " " + p.word("at the end of a long text", passerelle.Requester)
	p.console("core/update", `"fields":{"private_log":"<p>`+words+`</p>"}`)
}

// plant puts a canary in every private place there is, on both sides.
func (p *privacy) plant(state string) {
	p.requester(state)
	p.partner(state)
	p.agent(state)
	p.look()
}

func (p *privacy) requester(state string) {
	from := passerelle.Requester
	p.note("in " + state)
	p.silently("core/update", `"fields":{"private_log":"<p>`+p.word("found by reading in "+state, from)+`</p>"}`)
	p.look()
	update := func(operation, more string) string {
		return `{"operation":"` + operation + `","class":"UserRequest","comment":"c",` + more + `"fields":{"customer_id":"$TICKET","last_update_by":"customer","private_log":"<p>` +
			p.word(operation+" "+more+"pushed in "+state, from) + `</p>"}}`
	}
	p.says(from, update("core/update", ""))
	p.says(from, update("core/apply_stimulus", `"stimulus":"ev_cex_pending",`)) // refused, whatever it carries
	p.says(from, update("core/apply_stimulus", `"stimulus":"ev_nothing",`))
	p.says(from, update("syn/addattachment", `"attachments":[{"data":"Ym9uam91cg==","filename":"a.txt","mimetype":"text/plain"}],`))
}

// internal and its like are what makes a comment private in Jira.
const (
	internal = `"properties":[{"key":"sd.public.comment","value":{"internal":true}}]`
	role     = `"visibility":{"type":"role","value":"Service Desk Team"}`
	group    = `"visibility":{"type":"group","value":"jira-servicedesk-users"}`
)

// odd are values of the property that do not plainly say « public ».
var odd = []string{`{"internal":"false"}`, `{"internal":null}`, `{"internal":0}`, `{"public":true}`, `{}`, `null`, `"public"`, `[false]`}

func (p *privacy) partner(state string) {
	from := passerelle.Partner
	id := p.comment("internal comment in "+state, internal)
	p.does(fmt.Sprintf("PUT /rest/api/2/issue/$ISSUE/comment/%s\n\n{\"body\":\"%s\",%s}", id, p.word("edited internal comment in "+state, from), internal))
	p.comment("for a role in "+state, role)
	p.comment("for a group in "+state, group)
	for i, value := range odd {
		if i > 1 && state != "open" {
			break // each of them once
		}
		p.comment("property "+value+" in "+state, `"properties":[{"key":"sd.public.comment","value":`+value+`}]`)
	}
	p.unreadable("property hidden by 403 in "+state, http.StatusForbidden)
	p.unreadable("property hidden by 404 in "+state, http.StatusNotFound)
	file := p.word("name of a file in "+state, from) + ".txt"
	p.does(fmt.Sprintf("POST /rest/api/2/issue/$ISSUE/comment\n\n{\"body\":\"%s [^%s]\",%s}", p.word("comment of a file in "+state, from), file, internal))
	p.does("POST /rest/api/2/issue/$ISSUE/attachments\n\nfile: " + file + "\n" + p.word("content of a file in "+state, from))
	p.does(fmt.Sprintf(`PUT /rest/api/2/issue/$ISSUE`+"\n\n"+`{"fields":{"customfield_19999":"%s","environment":"%s","labels":["%s"]}}`,
		p.word("another field in "+state, from), p.word("environment in "+state, from), p.word("label in "+state, from)))
}

// agent has the partner's own agent say private things.
func (p *privacy) agent(state string) {
	say := func(operation, more string) {
		p.says(passerelle.Partner, `{"operation":"`+operation+`","class":"UserRequest","comment":"c","key":"$OWN",`+more+`"fields":{"last_update_by":"provider","private_log":"<p>`+
			p.word("agent's "+operation+" "+more+"in "+state, passerelle.Partner)+`</p>"}}`)
	}
	say("core/update", "")
	say("core/apply_stimulus", `"stimulus":"ev_close",`) // refused, whatever it carries
	say("core/create", "")
}

// unreadable is a comment without the property, whose properties Jira does not
// show to us: it may be internal.
func (p *privacy) unreadable(place string, code int) {
	p.tools[passerelle.Partner].Hush()
	id := p.comment(place, `"properties":[]`)
	p.fatal(p.tools[passerelle.Partner].Jira.Faults().Add(fault.Rule{Match: "/comment/" + id + "/properties", Kind: fault.Status, Code: code, Body: `{"errorMessages":["no"]}`}))
	p.fatal(p.tools[passerelle.Partner].Point(p.face(passerelle.Partner), token))
}

func (p *privacy) comment(place, how string) (id string) {
	return p.does(fmt.Sprintf("POST /rest/api/2/issue/$ISSUE/comment\n\n{\"body\":\"%s\",%s}", p.word(place, passerelle.Partner), how)).Get("id").String()
}

func (p *privacy) newTicket() {
	ans, err := p.tools[passerelle.Requester].Console(p.ctx, p.acts.text["ticket"])
	p.fatal(err)
	p.ticket = ans.Get("objects.@values.0.key").String()
}

// word is a new canary.
func (p *privacy) word(place string, from passerelle.Side) string {
	w := fmt.Sprintf("canari%04dfin", len(p.planted))
	p.planted = append(p.planted, canary{w, place + " of ticket " + p.ticket, from})
	return w
}

// filled puts the references of the ticket at hand into a text.
func (p *privacy) filled(s string) string {
	refs := []string{"$TICKET", p.ticket}
	for l, err := range p.store.Links(p.ctx) {
		p.fatal(err)
		if l.Requester.Key == p.ticket {
			refs = append(refs, "$OWN", l.Own.Key, "$ISSUE", l.Partner.Key)
		}
	}
	return strings.NewReplacer(refs...).Replace(s)
}

// says posts to a face; whatever it answers is looked at in the end.
func (p *privacy) says(side passerelle.Side, text string) {
	p.t.Helper()
	answer, err := p.post(side, p.filled(text))
	p.fatal(err)
	p.answers.WriteString(answer + "\n")
	p.fatal(p.settle())
}

func (p *privacy) does(text string) gjson.Result {
	p.t.Helper()
	ans, err := p.tools[passerelle.Partner].Say(p.ctx, p.filled(text))
	p.fatal(err)
	p.fatal(p.settle())
	return ans
}

func (p *privacy) move(id string, fields ...string) {
	p.t.Helper()
	p.does(`POST /rest/api/2/issue/$ISSUE/transitions` + "\n\n" + `{"transition":{"id":"` + id + `"},"fields":{` + strings.Join(fields, ",") + `}}`)
}

func (p *privacy) console(operation, more string) {
	p.t.Helper()
	_, err := p.tools[passerelle.Requester].Console(p.ctx, `{"operation":"`+operation+`","class":"UserRequest","comment":"c","key":`+p.ticket+`,`+more+`}`)
	p.fatal(err)
	p.fatal(p.settle())
}

// silently acts in SUMiT while its webhooks are off.
func (p *privacy) silently(operation, more string) {
	p.t.Helper()
	p.tools[passerelle.Requester].Hush()
	p.console(operation, more)
	p.fatal(p.tools[passerelle.Requester].Point(p.face(passerelle.Requester), token))
}

// note writes in the ticket's private journal.
func (p *privacy) note(place string) {
	p.t.Helper()
	p.console("core/update", `"fields":{"private_log":"<p>`+p.word("private_log "+place, passerelle.Requester)+`</p>"}`)
}

func (p *privacy) attach(name string) {
	_, err := p.tools[passerelle.Requester].Console(p.ctx, `{"operation":"core/create","class":"Attachment","comment":"pj","fields":{"item_class":"UserRequest","item_id":`+p.ticket+
		`,"contents":{"data":"Ym9uam91cg==","filename":"`+name+`","mimetype":"text/plain"}}}`)
	p.fatal(err)
}

// look has both tickets read again.
func (p *privacy) look() {
	for l, err := range p.store.Links(p.ctx) {
		p.fatal(err)
		for _, side := range []passerelle.Side{passerelle.Requester, passerelle.Partner} {
			if key := l.Ref(side).Key; key != "" {
				p.fatal(p.relay.Look(p.ctx, l.Contract, side, key))
			}
		}
	}
	p.fatal(p.settle())
}

// check looks everywhere.
func (p *privacy) check() {
	p.look()
	if len(p.planted) < 150 {
		p.t.Errorf("only %d canaries were planted", len(p.planted))
	}
	p.absent(p.answers.String(), "an answer of a face", passerelle.Requester, passerelle.Partner)
	p.absent(p.logged.String(), "the gateway's log", passerelle.Requester, passerelle.Partner)
	p.absent(p.operators(), "the operators' API or a metric", passerelle.Requester, passerelle.Partner)
	sumit := p.sumit()
	p.absent(sumit.public, "SUMiT, outside private_log", passerelle.Requester, passerelle.Partner)
	if p.on {
		p.arrived(sumit.private, passerelle.Partner, "internal comment in open", "for a role in open", "property null in open", "hidden by 403 in resolved", "comment of a file in open")
		p.absent(sumit.files, "SUMiT's attachments", passerelle.Requester, passerelle.Partner)
	} else {
		p.absent(sumit.private+sumit.files, "SUMiT's private_log or attachments", passerelle.Partner)
	}
	jira := p.jira()
	p.absent(jira.public, "Jira, where the portal's user reads", passerelle.Requester)
	p.absent(jira.ours, "what the gateway wrote in Jira", passerelle.Partner)
	p.absent(jira.files, "Jira's attachments", passerelle.Requester)
	p.arrived(jira.private, passerelle.Requester, "private_log in open", "found by reading in pending", "core/update pushed in resolved", "with the escalation", "with a reopening", "in a create of", "of a long text")
}

// absent fails for each canary of those sides that stands in a text.
func (p *privacy) absent(text, where string, sides ...passerelle.Side) {
	p.t.Helper()
	for _, c := range p.planted {
		for _, side := range sides {
			if c.from == side && strings.Contains(text, c.word) {
				i := strings.Index(text, c.word)
				p.t.Errorf("%s of the %s stands in %s: …%s…", c.place, c.from, where, text[max(0, i-200):min(len(text), i+60)])
			}
		}
	}
}

// arrived fails unless the canaries of those places stand in a text, once each:
// else nothing at all was tested.
func (p *privacy) arrived(text string, from passerelle.Side, places ...string) {
	p.t.Helper()
	for _, place := range places {
		found := false
		for _, c := range p.planted {
			if c.from == from && strings.Contains(c.place, place) {
				found = true
				if n := strings.Count(text, c.word); n != 1 {
					p.t.Errorf("%s of the %s arrived %d times in the other side's private place", c.place, c.from, n)
				}
			}
		}
		if !found {
			p.t.Errorf("nothing was planted %q", place)
		}
	}
}

// operators is all that the operators' address tells.
func (p *privacy) operators() string {
	paths := []string{"/metrics", "/readyz", "/api/outbox?limit=100000&status=waiting&status=lent&status=parked&status=done&status=refused&status=dropped&status=superseded"}
	for l, err := range p.store.Links(p.ctx) {
		p.fatal(err)
		paths = append(paths, "/api/tickets/"+l.Own.Number)
	}
	all := ""
	for _, path := range paths {
		w := httptest.NewRecorder()
		p.admin.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://127.0.0.1"+path, nil))
		if w.Code != http.StatusOK {
			p.t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		all += w.Body.String()
	}
	return all
}

// shown is what a tool holds, by who can read it.
type shown struct{ public, private, files, ours string }

func (p *privacy) sumit() (s shown) {
	for _, class := range []string{"UserRequest", "Attachment"} {
		list := gjson.Parse(p.get(p.tools[passerelle.Requester].URL + "/sim/objects/" + class))
		if len(list.Array()) == 0 {
			p.t.Fatal("no " + class)
		}
		for _, object := range list.Array() {
			object.ForEach(func(name, v gjson.Result) bool {
				switch {
				case strings.HasPrefix(name.String(), "private_log"):
					for _, e := range v.Get("entries").Array() {
						s.private += e.Get("message").String() + "\n"
					}
				case name.String() == "contents":
					s.files += v.Get("filename").String() + p.decoded(v.Get("data").String()) + "\n"
				default:
					s.public += v.Raw + "\n"
				}
				return true
			})
		}
	}
	for _, sent := range p.tools[passerelle.Requester].ITop.Sent() {
		s.public += sent.Answer + "\n"
	}
	return s
}

func (p *privacy) jira() (s shown) {
	tool := p.tools[passerelle.Partner]
	for l, err := range p.store.Links(p.ctx) {
		if p.fatal(err); l.Partner.Key == "" {
			continue
		}
		issue, err := tool.Request(p.ctx, "GET", "/rest/api/2/issue/"+l.Partner.Key+"?fields=*all,-comment&expand=changelog,renderedFields&properties=*all", "")
		p.fatal(err)
		s.public += issue.Raw + "\n"
		for _, f := range issue.Get("fields.attachment").Array() {
			s.files += f.Get("filename").String() + " " + p.get(f.Get("content").String()) + "\n"
		}
		comments, err := tool.Request(p.ctx, "GET", "/rest/api/2/issue/"+l.Partner.Key+"/comment?expand=properties&maxResults=1000", "")
		p.fatal(err)
		for _, c := range comments.Get("comments").Array() {
			if c.Get("author.name").String() == "gateway" {
				s.ours += c.Raw + "\n"
			}
			if c.Get(`properties.#(key="sd.public.comment").value.internal`).Type == gjson.True {
				s.private += c.Get("body").String() + "\n"
				continue
			}
			s.public += c.Raw + "\n"
		}
	}
	return s
}

// get reads an address of a tool, as its agent.
func (p *privacy) get(url string) string {
	req, err := http.NewRequestWithContext(p.ctx, http.MethodGet, url, nil)
	p.fatal(err)
	req.SetBasicAuth(p.tools[passerelle.Partner].Agent.User, p.tools[passerelle.Partner].Agent.Password)
	res, err := http.DefaultClient.Do(req)
	p.fatal(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	p.fatal(err)
	if res.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: %s", url, res.Status)
	}
	return string(b)
}

func (p *privacy) decoded(data string) string {
	b, err := base64.StdEncoding.DecodeString(data)
	p.fatal(err)
	return string(b)
}
