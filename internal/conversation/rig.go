package conversation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/adapters"
	"passerelle/adapters/itop/itopsim"
	"passerelle/adapters/jira/jirasim"
	"passerelle/internal/trial"
	"passerelle/internal/wiring"
	"passerelle/mapping"
	"passerelle/outbox"
)

// rig is a gateway between two simulated tools, with an ear at each.
type rig struct {
	ctx      context.Context
	contract *mapping.Contract
	store    outbox.Store
	sims     struct {
		itop *itopsim.Sim
		jira *jirasim.Sim
	}
	itop, jira *ear
	urls       struct{ itop, jira, public string }
	stops      []func() error
	ended      chan error
	cancel     context.CancelFunc
}

// The accounts of the simulated tools are those of the contract's demo data;
// the faces' token is of this play only.
const token = "conversation-token"

func newRig(ctx context.Context, dir string) (r *rig, err error) {
	r = &rig{ctx: ctx, store: outbox.NewMem(), ended: make(chan error, 1), cancel: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.contract, err = mapping.Load(os.DirFS(dir)); err != nil {
		return r, err
	}
	if r.sims.itop, err = trial.ITop(dir, "", ""); err != nil {
		return r, err
	}
	if r.sims.jira, err = trial.Jira(dir, "", ""); err != nil {
		return r, err
	}
	r.itop, r.jira = &ear{next: r.sims.itop, hear: hearITop}, &ear{next: r.sims.jira, hear: hearJira}
	if r.urls.itop, err = r.serve(r.itop); err != nil {
		return r, err
	}
	if r.urls.jira, err = r.serve(r.jira); err != nil {
		return r, err
	}
	return r, r.start(dir)
}

func (r *rig) serve(h http.Handler) (string, error) {
	u, stop, err := trial.Serve("127.0.0.1:0", h)
	if err == nil {
		r.stops = append(r.stops, stop)
	}
	return u, err
}

// start wires the gateway and points the tools' webhooks at it.
func (r *rig) start(dir string) error {
	secret := adapters.SecretRef{Value: token}
	account := []adapters.Account{{Token: secret}}
	link := wiring.Link{Contract: r.contract,
		Requester: adapters.Settings{ITop: &adapters.ITop{BaseURL: r.urls.itop, User: "gateway", Password: adapters.SecretRef{Value: "demo-itop-gateway"}, Accounts: account}},
		Partner: adapters.Settings{Agent: &adapters.Agent{Accounts: account}, Jira: &adapters.Jira{BaseURL: r.urls.jira, Token: adapters.SecretRef{Value: "demo-jira-gateway-token"},
			MarkField: "customfield_12005", SearchDelays: []time.Duration{0}, Webhook: adapters.Webhook{Secrets: []adapters.SecretRef{secret}}}}}
	g, err := wiring.Build([]wiring.Link{link}, r.store, outbox.Backoff{First: 10 * time.Millisecond, Max: 50 * time.Millisecond, Age: time.Minute}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if r.urls.public, err = r.serve(g.Public); err != nil {
		return err
	}
	face := r.urls.public + "/" + r.contract.Name
	triggers, err := trial.Triggers(dir, face+"/requester/"+adapters.RESTPath, token)
	if err != nil {
		return err
	}
	r.sims.itop.SetTriggers(triggers)
	r.sims.jira.SetWebhooks(trial.Webhooks(face+"/partner/"+adapters.WebhookPath, token))
	ctx, cancel := context.WithCancel(r.ctx)
	r.cancel = cancel
	go func() { r.ended <- g.Relay.Run(ctx) }() // ends with cancel, in close
	r.stops = append(r.stops, func() error { cancel(); return <-r.ended })
	return nil
}

func (r *rig) close() error {
	var errs []error
	for i := len(r.stops) - 1; i >= 0; i-- {
		errs = append(errs, r.stops[i]())
	}
	if r.sims.itop != nil {
		r.sims.itop.Close()
	}
	if r.sims.jira != nil {
		r.sims.jira.Close()
	}
	return errors.Join(append(errs, r.store.Close())...)
}

// act does what a section says and returns the answer.
func (r *rig) act(side passerelle.Side, verb, text string) (string, error) {
	text = r.full(text)
	switch {
	case verb == "says":
		return r.post(side, text)
	case side == passerelle.Requester:
		return r.console(text)
	default:
		return r.agent(text)
	}
}

// console does an operation as the agent at iTop's console.
func (r *rig) console(text string) (string, error) {
	form := url.Values{"version": {"1.3"}, "auth_user": {"agent"}, "auth_pwd": {"demo-itop-agent"}, "json_data": {text}}
	b, err := r.do(http.MethodPost, r.urls.itop+"/console/rest.php", "application/x-www-form-urlencoded", form.Encode(), nil)
	if err == nil && gjson.Get(b, "code").Int() != 0 {
		err = fmt.Errorf("iTop answers %s", b)
	}
	return b, err
}

// agent makes a request to Jira as its agent: "METHOD /path", then the body.
func (r *rig) agent(text string) (string, error) {
	head, body, _ := strings.Cut(text, "\n")
	method, path, ok := strings.Cut(strings.TrimSpace(head), " ")
	if !ok {
		return "", fmt.Errorf("the first line is « METHOD /path », not %q", head)
	}
	kind := "application/json"
	if rest, is := strings.CutPrefix(strings.TrimSpace(body), "file: "); is {
		name, content, _ := strings.Cut(rest, "\n")
		kind, body = multipartFile(name, strings.TrimSuffix(content, "\n"))
	}
	return r.do(method, r.urls.jira+path, kind, strings.TrimSpace(body), func(req *http.Request) {
		req.SetBasicAuth("agent-gar", "demo-jira-agent")
		req.Header.Set("X-Atlassian-Token", "no-check")
	})
}

// post sends JSON to the gateway's face, as a webhook does.
func (r *rig) post(side passerelle.Side, text string) (string, error) {
	return r.do(http.MethodPost, r.urls.public+"/"+r.contract.Name+"/"+string(side)+"/"+adapters.RESTPath, "application/json", text,
		func(req *http.Request) { req.Header.Set("Auth-Token", token) })
}

func (r *rig) do(method, url, kind, body string, more func(*http.Request)) (string, error) {
	req, err := http.NewRequestWithContext(r.ctx, method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", kind)
	if more != nil {
		more(req)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, req.URL.Path, res.Status, bytes.TrimSpace(b))
	}
	return string(b), err
}

// patience bounds how long a step may take to settle: it is never reached by a
// conversation that works.
const patience = 20 * time.Second

// settle waits until nothing is on its way any more: no webhook, no hint, no
// entry that is due. What is parked stays.
func (r *rig) settle() error {
	quiet := 0
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		r.sims.jira.Flush()
		busy, err := r.busy()
		if err != nil {
			return err
		}
		if quiet++; busy {
			quiet = 0
		}
		if quiet == 3 {
			return nil
		}
	}
	return fmt.Errorf("something is still on its way after %v", patience)
}

func (r *rig) busy() (bool, error) {
	s, err := r.store.Stats(r.ctx)
	if err != nil || s.Looks > 0 {
		return true, err
	}
	for e, err := range r.store.Entries(r.ctx, outbox.Query{Status: []outbox.Status{outbox.Waiting, outbox.Lent}}) {
		if err != nil {
			return true, err
		}
		if s.Blocked[outbox.Dest{Contract: e.Contract, Side: e.To}] == 0 {
			return true, nil
		}
	}
	return false, nil
}

// end tells how the pair and both tickets stand.
func (r *rig) end() (string, error) {
	var b strings.Builder
	for l, err := range r.store.Links(r.ctx) {
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s: %s\n", l.Own.Number, l.State)
		if l.Requester.Key != "" {
			status, err := r.requesterStatus(l.Requester.Key)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, "  requester %s: %s\n", l.Requester.Number, status)
		}
		if l.Partner.Number != "" {
			status, err := r.agent("GET /rest/api/2/issue/" + l.Partner.Number + "?fields=status")
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, "  partner %s: %s\n", l.Partner.Number, gjson.Get(status, "fields.status.name"))
		}
	}
	for e, err := range r.store.Entries(r.ctx, outbox.Query{Status: []outbox.Status{outbox.Parked}}) {
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "  parked: %s to the %s: %s\n", e.Template, e.To, e.Error)
	}
	return b.String(), nil
}

func (r *rig) requesterStatus(key string) (string, error) {
	b, err := r.console(`{"operation":"core/get","class":"UserRequest","key":"` + key + `","output_fields":"status,team_name"}`)
	f := gjson.Get(b, "objects.@values.0.fields")
	return f.Get("status").String() + " (" + f.Get("team_name").String() + ")", err
}
