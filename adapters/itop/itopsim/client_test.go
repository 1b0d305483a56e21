package itopsim

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
)

// desk calls a Sim as one account, by one of its three doors.
type desk struct {
	t               *testing.T
	sim             *Sim
	path            string
	login, password string
}

// reply is an answer of the REST service.
type reply struct {
	Code    int
	Message string
	Objects map[string]struct {
		Class, Key, Message string
		Fields              map[string]any
	}
}

// field gives one field of the only object of the reply.
func (r reply) field(name string) any {
	for _, o := range r.Objects {
		return o.Fields[name]
	}
	return nil
}

func (d desk) post(params string) *httptest.ResponseRecorder {
	d.t.Helper()
	form := url.Values{"version": {"1.3"}, "auth_user": {d.login}, "auth_pwd": {d.password}, "json_data": {params}}
	r := httptest.NewRequest(http.MethodPost, d.path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	d.sim.ServeHTTP(w, r)
	return w
}

// call sends one operation and decodes the answer.
func (d desk) call(params string) reply {
	d.t.Helper()
	var out reply
	if body := d.post(params).Body; json.Unmarshal(body.Bytes(), &out) != nil {
		d.t.Fatalf("%s: not an answer: %s", params, body)
	}
	return out
}

// must is call, and refuses any code but 0.
func (d desk) must(params string) reply {
	d.t.Helper()
	out := d.call(params)
	if out.Code != 0 {
		d.t.Fatalf("%s: code %d: %s", params, out.Code, out.Message)
	}
	return out
}

const demoPath = "../../../contracts/orleans-tours-gar/v1/demo/itop.json"

// demo starts the demonstration's iTop and gives its three doors.
func demo(t *testing.T) (sim *Sim, gateway, agent, portal desk) {
	t.Helper()
	sim = open(t, demoPath)
	gateway = desk{t, sim, "/webservices/rest.php", "gateway", "demo-itop-gateway"}
	agent = desk{t, sim, "/console/rest.php", "agent", "demo-itop-agent"}
	portal = desk{t, sim, "/portal/rest.php", "demandeur", "demo-itop-demandeur"}
	return sim, gateway, agent, portal
}

func open(t *testing.T, path string) *Sim {
	t.Helper()
	sim, err := New(fixture(t, path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	return sim
}

func fixture(t *testing.T, path string) *Fixture {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const newTicket = `{"operation":"core/create","comment":"demo","class":"UserRequest","output_fields":"id,ref,status,team_name","fields":{
	"title":"Accès impossible","description":"<p>Bonjour</p>","org_id":10,"caller_id":101,"beneficiary_id":101,"establishment_id":301,"customer_app_id":4,
	"servicesubcategory_id":502,"urgency_id":{"name":"Haute"},"impact_id":2,"public_log":"<p>premier message</p>"}}`
