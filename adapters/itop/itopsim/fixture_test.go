package itopsim

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func visit(sim *Sim, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	sim.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w
}

// TestFixtureMistakes: each mistake is reported, and says what would work.
func TestFixtureMistakes(t *testing.T) {
	for source, want := range map[string]string{
		`{"model":"stock","nope":1}`:                                                                            "unknown field",
		`{"model":"stock"} {}`:                                                                                  "more than one",
		`{"model":"other"}`:                                                                                     "one of sumit, stock",
		`{"model":"stock","timezone":"Europe/Nowhere"}`:                                                         "for instance Europe/Paris",
		`{"model":"stock","accounts":[{"login":""}]}`:                                                           "without login",
		`{"model":"stock","accounts":[{"login":"a"},{"login":"a"}]}`:                                            "two accounts",
		`{"model":"stock","objects":[{"class":"Nope"}]}`:                                                        "no class",
		`{"model":"stock","objects":[{"class":"Domain"}]}`:                                                      "no class",
		`{"model":"stock","objects":[{"class":"Ticket"}]}`:                                                      "no class",
		`{"model":"stock","objects":[{"class":"Team","id":1,"fields":{"name":"x","org_id":9}}]}`:                "Invalid object Organization::9",
		`{"model":"stock","objects":[{"class":"Team","id":1,"fields":{"name":"x"}}]}`:                           "Null not allowed",
		`{"model":"stock","objects":[{"class":"Organization","id":1,"fields":{"name":"x","nope":1}}]}`:          "no attribute",
		`{"model":"stock","objects":[{"class":"Organization","id":1,"fields":{"name":"x","status":"y"}}]}`:      "Value not allowed",
		`{"model":"stock","objects":[{"class":"Organization","id":1},{"class":"Organization","id":1}]}`:         "there twice",
		`{"model":"stock","triggers":[{"name":"t","on":"update","class":"UserRequest","action":{}}]}`:           "no url",
		`{"model":"stock","triggers":[{"name":"t","on":"update","class":"Nope","action":{"url":"http://x/"}}]}`: "unknown class",
	} {
		f, err := Load(strings.NewReader(source))
		if err == nil {
			_, err = New(f)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want …%q…", source, err, want)
		}
	}
}

// TestFixtureOrder: keys may point at later objects, by number or by name.
func TestFixtureOrder(t *testing.T) {
	f, err := Load(strings.NewReader(`{"model":"stock","accounts":[{"login":"a","password":"p","profiles":["Administrator","REST Services User"]}],"objects":[
		{"class":"Team","id":7,"fields":{"name":"T","org_id":"O"}},{"class":"UserRequest","id":41,"fields":{"ref":"R-000050","title":"t","description":"d","org_id":3,"team_id":"T",
		"public_log":[{"date":"2026-01-02 03:04:05","user_id":0,"user_login":"X","message":"<p>m</p>"}]}},{"class":"Organization","id":3,"fields":{"name":"O"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	sim, err := New(f)
	if err != nil {
		t.Fatal(err)
	}
	admin := desk{t, sim, "/webservices/rest.php", "a", "p"}
	r := admin.must(`{"operation":"core/get","class":"UserRequest","key":41,"output_fields":"team_name,org_name,public_log"}`)
	log := r.field("public_log").(map[string]any)["entries"].([]any)
	if r.field("team_name") != "T" || r.field("org_name") != "O" || len(log) != 1 {
		t.Errorf("ticket %+v", r.Objects)
	}
	r = admin.must(`{"operation":"core/get","class":"UserRequest","key":41,"output_fields":"priority,start_date,last_update"}`)
	if r.field("priority") != "4" || r.field("start_date") == "" || r.field("last_update") == "" {
		t.Errorf("the fixture's ticket is not complete: %+v", r.Objects)
	}
	r = admin.must(`{"operation":"core/create","comment":"c","class":"UserRequest","output_fields":"id,ref","fields":{"title":"t","description":"d","org_id":3}}`)
	if r.field("id") != "42" || r.field("ref") != "R-000051" {
		t.Errorf("the next ticket is %v, %v, want 42, R-000051", r.field("id"), r.field("ref"))
	}
}
