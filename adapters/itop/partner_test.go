package itop

import (
	"encoding/json"
	"slices"
	"testing"

	"passerelle"
	"passerelle/adapters/itop/itopsim"
)

// pushes sets the triggers of the partner's iTop, as its administrator would.
func (s *subcontractor) pushes(f *face) {
	trigger := func(name, on, class, state, attcode, payload string) itopsim.Trigger {
		tr := itopsim.Trigger{Name: name, On: on, Class: class, State: state, Context: []string{"GUI:Console"},
			Action: itopsim.Action{URL: f.url, Headers: []string{"Content-type: application/json", "Auth-Token: " + faceToken}, Payload: payload}}
		if attcode != "" {
			tr.Attcodes = []string{attcode}
		}
		return tr
	}
	ref := `"provider_id":"$this->id$","provider_ref":"$this->ref$"`
	s.sim.SetTriggers([]itopsim.Trigger{
		trigger("public", "update", "UserRequest", "", "public_log", `{"operation":"core/update","class":"UserRequest","comment":"c","fields":{`+ref+`,"public_log":"$this->head_html(public_log)$"}}`),
		trigger("private", "update", "UserRequest", "", "private_log", `{"operation":"core/update","class":"UserRequest","comment":"c","fields":{`+ref+`,"private_log":"$this->head_html(private_log)$"}}`),
		trigger("pending", "enter", "UserRequest", "pending", "", `{"operation":"core/apply_stimulus","class":"UserRequest","comment":"c","stimulus":"ev_cex_pending","fields":{`+ref+`}}`),
		trigger("file", "update", "Attachment", "", "item_id", `{"hint":true,"operation":"syn/addattachment","provider_id":"$this->item_id$"}`),
	})
}

// R28: the partner's iTop names its ticket by its own id and number alone, and
// what it pushes is called as what is read.
func TestR28ThePartnersITopPushes(t *testing.T) {
	s := newSubcontractor(t)
	made := deliver(t, s.itop, createMessage(t, "Panne"), s.desk)
	key := made.Ref.Key
	f := newFace(t, partner, func(c *Config) { c.BaseURL = s.url })
	s.pushes(f)
	agent := func(op, rest string) {
		s.console(`{"operation":"` + op + `","comment":"c","class":"UserRequest","key":` + key + `,` + rest + `}`)
	}
	claims := []passerelle.Claim{{Side: passerelle.Partner, Key: "1"}, {Side: passerelle.Partner, Key: "R-000001"}}
	agent("core/update", `"fields":{"public_log":"<p>a &amp; b</p>"}`)
	agent("core/update", `"fields":{"private_log":"<p>c</p>"}`)
	agent("core/apply_stimulus", `"stimulus":"ev_assign","fields":{"team_id":1}`)
	agent("core/apply_stimulus", `"stimulus":"ev_pending","fields":{"pending_reason":"p"}`)
	var names []string
	var signal string
	for _, e := range f.desk.events() {
		if e.Key != "1" || !slices.Equal(e.Claims, claims) || e.Unread || e.Ticket() != "R-000001" {
			t.Errorf("%s: %+v", e.Kind, e)
		}
		signal += e.Signal
		if e.Kind == passerelle.Reference && !slices.Equal(e.Names, made.Names) {
			t.Errorf("the number %v would be news, beside %v", e.Names, made.Names)
		}
		if e.Kind == passerelle.PublicLog || e.Kind == passerelle.PrivateLog {
			names = append(names, e.Names...)
		}
	}
	if read := s.facts(key, passerelle.PublicLog, passerelle.PrivateLog); len(read) != 2 || !slices.Equal(slices.Sorted(slices.Values(read)), slices.Sorted(slices.Values(names))) {
		t.Errorf("pushed %v, read %v", names, read)
	}
	if signal != "ev_cex_pending" {
		t.Errorf("signal %q", signal)
	}
	s.console(`{"operation":"core/create","comment":"c","class":"Attachment","fields":{"item_class":"UserRequest","item_id":"` + key + `","contents":{"data":"aGVsbG8=","filename":"a"}}}`)
	if !slices.Equal(f.desk.looked, []string{"c/partner/1"}) {
		t.Errorf("hints %v, %+v", f.desk.looked, s.sim.Sent())
	}
}

// A key alone says which ticket it is; it takes no number away (R5).
func TestR5AKeyWithoutANumberIsNoReference(t *testing.T) {
	f := newFace(t, partner)
	for fields, want := range map[string]passerelle.Kind{
		`"provider_id":"17"`: passerelle.Change, `"provider_id":"17","provider_ref":""`: passerelle.Change, `"provider_ref":"R-000017"`: passerelle.Change,
		`"provider_id":"17","provider_ref":"R-000017"`: passerelle.Reference, `"provider_id":17,"provider_ref":"R-000017"`: passerelle.Reference,
	} {
		if e := f.one(`{"operation":"core/update","comment":"c","class":"UserRequest","key":"2","fields":{` + fields + `}}`); e.Kind != want {
			t.Errorf("%s is a %s, want %s", fields, e.Kind, want)
		}
	}
}

// A hint names the sender's own ticket: the requester's by customer_id, the
// partner's by provider_id.
func TestAHintNamesTheSendersTicket(t *testing.T) {
	for _, c := range []struct {
		side       passerelle.Side
		mine, hers string
	}{{passerelle.Requester, "customer_id", "provider_id"}, {passerelle.Partner, "provider_id", "customer_id"}} {
		f := newFace(t, func(cfg *Config) { cfg.Side = c.side })
		hint := func(where, name string, key any) string {
			b, _ := json.Marshal(map[string]any{name: key})
			if where == "fields" {
				b, _ = json.Marshal(map[string]json.RawMessage{"fields": b})
			}
			return `{"hint":true,"operation":"core/update",` + string(b[1:])
		}
		for _, where := range []string{"", "fields"} {
			for _, key := range []any{"17", 17} {
				if h := f.hook(hint(where, c.mine, key)); h.Code != 0 {
					t.Errorf("%s: %s", c.side, h.raw)
				}
			}
			f.fails(hint(where, c.hers, "17"), 100, c.mine)
			f.fails(hint(where, c.mine, "0"), 100, c.mine)
		}
		want := "c/" + string(c.side) + "/17"
		if !slices.Equal(f.desk.looked, []string{want, want, want, want}) {
			t.Errorf("%s: %v", c.side, f.desk.looked)
		}
	}
}
