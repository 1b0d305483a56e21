package conversation

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"passerelle"
)

// TestR29WhatTravelsAtEscalation plays each choice of the switch at_escalation:
// what the ticket held before arrives in its order, or never, also when the
// ticket is read again later.
func TestR29WhatTravelsAtEscalation(t *testing.T) {
	const update = `{"operation":"core/update","class":"UserRequest","comment":"c","key":%s,"fields":{"%s":"<p>%s</p>"}}`
	for _, c := range []struct {
		public, private, files string
		want                   []string
	}{
		{"newest", "none", "all", []string{"seconde entrée", "écran.txt"}},
		{"all", "newest", "all", []string{"seconde note", "première entrée", "seconde entrée", "écran.txt"}},
		{"all", "none", "none", []string{"première entrée", "seconde entrée"}},
		{"newest", "newest", "none", []string{"seconde entrée", "seconde note"}},
		{"none", "none", "none", nil},
		{"none", "newest", "all", []string{"seconde note", "écran.txt"}},
	} {
		t.Run(strings.Join([]string{c.public, c.private, c.files}, " "), func(t *testing.T) {
			t.Parallel()
			r, err := newRig(t.Context(), orleans, overlay{"contract.yaml": fmt.Appendf(nil, "at_escalation: {public_log: %s, private_log: %s, attachments: %s}\n", c.public, c.private, c.files)})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := r.close(); err != nil {
					t.Error(err)
				}
			}()
			acts, err := readActs(orleans)
			if err != nil {
				t.Fatal(err)
			}
			tool := r.tools[passerelle.Requester]
			ans, err := tool.Console(r.ctx, acts.text["ticket"])
			if err != nil {
				t.Fatal(err)
			}
			ticket := ans.Get("objects.@values.0.key").String()
			for _, do := range []string{
				fmt.Sprintf(update, ticket, "private_log", "première note"), fmt.Sprintf(update, ticket, "private_log", "seconde note"),
				fmt.Sprintf(update, ticket, "public_log", "première entrée"), fmt.Sprintf(update, ticket, "public_log", "seconde entrée"),
				`{"operation":"core/create","class":"Attachment","comment":"pj","fields":{"item_class":"UserRequest","item_id":` + ticket + `,"contents":{"data":"Ym9uam91cg==","filename":"écran.txt","mimetype":"text/plain"}}}`,
				`{"operation":"core/apply_stimulus","class":"UserRequest","comment":"c","key":` + ticket + `,"stimulus":"ev_assign","fields":{"team_id":{"name":"Support GAR"}}}`,
			} {
				if _, err := tool.Console(r.ctx, do); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // read again, it is the same
				if err := r.settle(); err != nil {
					t.Fatal(err)
				}
				if err := r.relay.Look(r.ctx, r.contract.Name, passerelle.Requester, ticket); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.settle(); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range r.ears[passerelle.Partner].writes() {
				for _, text := range []string{"première note", "seconde note", "première entrée", "seconde entrée", "écran.txt"} {
					if strings.Contains(w, text) && (strings.Contains(w, "/comment\n") || strings.Contains(w, "/attachments")) {
						got = append(got, text)
					}
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("arrived %q, want %q", got, c.want)
			}
		})
	}
}
