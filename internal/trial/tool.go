package trial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/adapters"
	"passerelle/adapters/itop/itopsim"
	"passerelle/adapters/jira/jirasim"
	"passerelle/mapping"
)

// Tool is one simulated tool. Exactly one of ITop, Jira and Taker is set.
type Tool struct {
	*Role
	ITop  *itopsim.Sim
	Jira  *jirasim.Sim
	Taker *Taker
	URL   string // where its agent finds it: set by whoever serves it
	dir   string // of the contract
}

// Open makes one side's tool. It is an http.Handler, to be served; it pushes
// nothing before Point.
func (s *Stage) Open(side passerelle.Side) (*Tool, error) {
	t := &Tool{Role: s.Role(side), dir: s.dir}
	if t.Kind == Agent {
		t.Taker = &Taker{}
		return t, nil
	}
	f, err := os.Open(filepath.Join(s.dir, "demo", t.Data))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if t.Kind == ITop {
		t.ITop, err = openITop(f)
	} else {
		t.Jira, err = openJira(f)
	}
	return t, err
}

func openITop(r io.Reader) (*itopsim.Sim, error) {
	fixture, err := itopsim.Load(r)
	if err != nil {
		return nil, err
	}
	return itopsim.New(fixture)
}

func openJira(r io.Reader) (*jirasim.Sim, error) {
	fixture, err := jirasim.Load(r)
	if err != nil {
		return nil, err
	}
	return jirasim.New(fixture)
}

// ServeHTTP is the tool's own service.
func (t *Tool) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case t.ITop != nil:
		t.ITop.ServeHTTP(w, r)
	case t.Jira != nil:
		t.Jira.ServeHTTP(w, r)
	default:
		t.Taker.ServeHTTP(w, r)
	}
}

// Close waits for what the tool is still pushing, and ends it.
func (t *Tool) Close() {
	switch {
	case t.ITop != nil:
		t.ITop.Close()
	case t.Jira != nil:
		t.Jira.Close()
	}
}

// Point has the tool push what happens to the gateway's faces below base (its
// address, /contract/side), proving itself by token: as the contract tells its
// administrator to set it up.
func (t *Tool) Point(base, token string) error {
	if t.Taker != nil {
		return nil // who acts there says so
	}
	if t.Jira != nil {
		t.Jira.SetWebhooks([]jirasim.Webhook{{Name: "passerelle", URL: base + "/" + adapters.WebhookPath, Secret: token,
			Events: []string{"jira:issue_created", "jira:issue_updated", "comment_created", "comment_updated", "attachment_created"}}})
		return nil
	}
	triggers, err := t.triggers(base+"/"+adapters.RESTPath, token)
	if err == nil {
		t.ITop.SetTriggers(triggers)
	}
	return err
}

// Hush has the tool push nothing any more.
func (t *Tool) Hush() {
	switch {
	case t.ITop != nil:
		t.ITop.SetTriggers(nil)
	case t.Jira != nil:
		t.Jira.SetWebhooks(nil)
	}
}

// triggers reads what the contract tells an iTop administrator to set up:
// triggers.csv and the payloads beside it.
func (t *Tool) triggers(face, token string) ([]itopsim.Trigger, error) {
	dir := filepath.Join(t.dir, t.Triggers)
	rows, err := mapping.ReadTable(os.DirFS(dir), "triggers.csv", "name", "on", "class", "state", "attcodes", "filter", "context", "payload")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Triggers, err)
	}
	var out []itopsim.Trigger
	for _, r := range rows {
		payload, err := os.ReadFile(filepath.Join(dir, r["payload"]+".json"))
		if err != nil {
			return nil, err
		}
		one := itopsim.Trigger{Name: r["name"], On: r["on"], Class: r["class"], State: r["state"], Filter: r["filter"], Context: strings.Split(r["context"], "|"),
			Action: itopsim.Action{URL: face, Headers: []string{"Content-type: application/json", "Auth-Token: " + token}, Payload: string(payload)}}
		if a := r["attcodes"]; a != "" {
			one.Attcodes = strings.Split(a, "|")
		}
		out = append(out, one)
	}
	return out, nil
}

// Say does what a line of a script says, as the tool's agent: an operation of
// iTop's REST at the console; or a request to Jira, "METHOD /path", then the
// JSON body, or "file: name" and a text.
func (t *Tool) Say(ctx context.Context, text string) (gjson.Result, error) {
	switch {
	case t.ITop != nil:
		return t.Console(ctx, text)
	case t.Taker != nil:
		return gjson.Result{}, errors.New("an agent only says things")
	}
	head, body, _ := strings.Cut(text, "\n")
	method, path, ok := strings.Cut(strings.TrimSpace(head), " ")
	if !ok {
		return gjson.Result{}, fmt.Errorf("the first line is « METHOD /path », not %q", head)
	}
	body = strings.TrimSpace(body)
	if rest, is := strings.CutPrefix(body, "file: "); is {
		name, content, _ := strings.Cut(rest, "\n")
		return t.Upload(ctx, path, name, strings.TrimSuffix(content, "\n"))
	}
	return t.Request(ctx, method, path, body)
}

// Console does an operation as the agent at iTop's console. An answer whose
// code is not 0 is an error.
func (t *Tool) Console(ctx context.Context, op string) (gjson.Result, error) {
	return t.rest(ctx, "/console/rest.php", t.Agent, op)
}

// Read does an operation as the technical account, at iTop's REST.
func (t *Tool) Read(ctx context.Context, op string) (gjson.Result, error) {
	return t.rest(ctx, "/webservices/rest.php", t.Gateway, op)
}

func (t *Tool) rest(ctx context.Context, path string, a Account, op string) (gjson.Result, error) {
	form := url.Values{"version": {"1.3"}, "auth_user": {a.User}, "auth_pwd": {a.Password}, "json_data": {op}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		return gjson.Result{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	ans, err := ask(req)
	if err == nil && ans.Get("code").Int() != 0 {
		err = fmt.Errorf("iTop: %s: code %d: %s", path, ans.Get("code").Int(), ans.Get("message"))
	}
	return ans, err
}

// Request makes a request to Jira as its agent.
func (t *Tool) Request(ctx context.Context, method, path, body string) (gjson.Result, error) {
	return t.jira(ctx, method, path, "application/json", body)
}

// Upload attaches a file to an issue of Jira, as its agent.
func (t *Tool) Upload(ctx context.Context, path, name, content string) (gjson.Result, error) {
	var b bytes.Buffer
	mw := multipart.NewWriter(&b)
	w, err := mw.CreateFormFile("file", name)
	if err == nil {
		_, err = io.WriteString(w, content)
	}
	if err := errors.Join(err, mw.Close()); err != nil {
		return gjson.Result{}, err
	}
	return t.jira(ctx, http.MethodPost, path, mw.FormDataContentType(), b.String())
}

func (t *Tool) jira(ctx context.Context, method, path, kind, body string) (gjson.Result, error) {
	req, err := http.NewRequestWithContext(ctx, method, t.URL+path, strings.NewReader(body))
	if err != nil {
		return gjson.Result{}, err
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("X-Atlassian-Token", "no-check")
	req.SetBasicAuth(t.Agent.User, t.Agent.Password)
	return ask(req)
}

// errNotFound says that the tool has no such thing.
var errNotFound = errors.New("not found")

func ask(req *http.Request) (gjson.Result, error) {
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return gjson.Result{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", req.Method, req.URL.Path, res.Status, bytes.TrimSpace(b))
		if res.StatusCode == http.StatusNotFound {
			err = fmt.Errorf("%w: %w", errNotFound, err)
		}
	}
	return gjson.ParseBytes(b), err
}

// Status is what a ticket's people see of its state: iTop's status and team,
// Jira's status.
func (t *Tool) Status(ctx context.Context, ref passerelle.Ref) (string, error) {
	if t.Taker != nil {
		return "(unknown)", nil
	}
	if t.Jira != nil {
		ans, err := t.Request(ctx, http.MethodGet, "/rest/api/2/issue/"+ref.Key+"?fields=status", "")
		if errors.Is(err, errNotFound) {
			return "deleted", nil
		}
		return ans.Get("fields.status.name").String(), err
	}
	ans, err := t.Read(ctx, `{"operation":"core/get","class":"UserRequest","key":"`+ref.Key+`","output_fields":"status,team_name"}`)
	f := ans.Get("objects.@values.0.fields")
	return f.Get("status").String() + " (" + f.Get("team_name").String() + ")", err
}
