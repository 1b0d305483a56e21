package wiring

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"passerelle/adapters"
	"passerelle/internal/login"
	"passerelle/mapping"
	"passerelle/outbox"
)

// heard is what a partner's own agent was posted, message by message.
type heard struct {
	mu   sync.Mutex
	list []map[string]any
}

func (h *heard) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var m map[string]any
	b, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(b, &m) // what is no JSON is heard as nothing
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, m)
}

// wait returns the n-th message, once it has come.
func (h *heard) wait(t *testing.T, n int) map[string]any {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		h.mu.Lock()
		if len(h.list) >= n {
			defer h.mu.Unlock()
			return h.list[n-1]
		}
		h.mu.Unlock()
	}
	t.Fatalf("message %d never came", n)
	return nil
}

// TestR26PartnerAgent: a partner that keeps its own agent receives the annex's
// messages as they are, with credentials from secrets; its number comes back on
// its own (R5), and what was said meanwhile waits for it (R28).
func TestR26PartnerAgent(t *testing.T) {
	partner, requester := &heard{}, &heard{}
	agentServer, requesterServer := httptest.NewServer(partner), httptest.NewServer(requester)
	defer agentServer.Close()
	defer requesterServer.Close()
	c, err := mapping.Load(os.DirFS("../../contracts/orleans-tours-gar/v1"))
	if err != nil {
		t.Fatal(err)
	}
	accounts := []adapters.Account{{Token: adapters.SecretRef{Value: login.HashToken("face")}}}
	link := Link{Contract: c,
		Requester: adapters.Settings{Agent: &adapters.Agent{Accounts: accounts, URL: requesterServer.URL}},
		Partner:   adapters.Settings{Agent: &adapters.Agent{Accounts: accounts, URL: agentServer.URL + "/listener", AuthURL: "https://support.example", User: "frs", Password: adapters.SecretRef{Value: "out"}}}}
	store := outbox.NewMem()
	defer store.Close()
	g, err := Build([]Link{link}, store, Options{Backoff: outbox.Backoff{First: 10 * time.Millisecond, Max: 20 * time.Millisecond, Age: time.Hour}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- g.Relay.Run(ctx) }()
	defer func() { cancel(); <-done }()

	post(t, g, "requester", create)
	post(t, g, "requester", `{"operation":"core/update","class":"UserRequest","comment":"c","fields":{"customer_id":"7","public_log":"<p>une précision</p>"}}`)
	m := partner.wait(t, 1)
	if m["operation"] != "core/create" || m["auth_url"] != "https://support.example" || m["auth_user"] != "frs" || m["auth_pwd"] != "out" {
		t.Errorf("the agent heard %v", m)
	}
	post(t, g, "partner", `{"operation":"core/update","comment":"Mise à jour id intermédiaire","class":"UserRequest","key":"1","output_fields":"id, ref","fields":{"provider_ref":"GSN1-12","provider_id":"10012","last_update_by":"na"}}`)
	if f := requester.wait(t, 1)["fields"].(map[string]any); f["provider_ref"] != "GSN1-12" || f["provider_id"] != "10012" || f["last_update_by"] != "na" {
		t.Errorf("the requester heard %v", f)
	}
	if m := partner.wait(t, 2); m["key"] != "10012" || m["body"] != "<p>une précision</p>" {
		t.Errorf("the agent heard %v", m)
	}
}

// post sends a webhook to a face and wants it accepted.
func post(t *testing.T, g *Gateway, side, body string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/orleans-tours-gar/"+side+"/"+adapters.RESTPath, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Auth-Token", "face")
	w := httptest.NewRecorder()
	g.Public.ServeHTTP(w, r)
	if !strings.Contains(w.Body.String(), `"code":0`) {
		t.Fatalf("%s answers %s", side, w.Body)
	}
}

const create = `{"operation":"core/create","class":"UserRequest","comment":"c","fields":{"customer_id":"7","customer_ref":"R-000007","customer_app_id":"SUMiT","last_update_by":"customer","org_id":"Académie","caller_id":"Un agent","beneficiary_id":"Un agent","establishment_id":"0750655E","title":"T","description":"<p>D</p>","domain_id":"Usage pédagogique du numérique","familygroup_id":"Support GAR","servicefamily_id":"Incident","service_id":"Médiacentre","servicesubcategory_id":"Médiacentre","urgency_id":"Basse","impact_id":"Une personne"}}`
