package mapping

import (
	"strings"
	"testing"
)

// TestRemarks: what an author should look at stops nothing.
func TestRemarks(t *testing.T) {
	const heading = "domain,family_group,service_family,service,service_subcategory,component\n"
	for _, tt := range []struct{ says, file, text, want string }{
		{"the contract as signed", "", "", `
catalogue.csv:2: a ticket without service is refused for 2 of the 2 entries that are left, since several components fit: lines 2, 19 (make it mandatory on the requester's form, or give catalogue.default)
catalogue.csv:4: a ticket without service_subcategory is refused for 8 of the 14 entries that are left, since several components fit: lines 4, 8, 13, 17, 21, 25 … (make it mandatory on the requester's form, or give catalogue.default)`},
		{"N to N is no remark", "catalogue.csv", heading + "A,B,C,D,E,z\nA,B,C,D,E,a\n", ""},
		{"nor is one component for all", "catalogue.csv", heading + "A,B,C,D,E,z\nA,B,C,F,G,z\n", ""},
		{"a template that nobody sends", "to-partner/hello.json", `{"operation": "core/update"}`, "to-partner/hello.json: is sent by no row of lifecycle.csv (send it in lifecycle.csv, or delete the file)"},
		{"a word that is always refused", "signals.csv", signalsWith(t, "partner,ev_reopen,,reopen,R22,\n"), `signals.csv:16: no row of lifecycle.csv takes "reopen" from the partner: « ev_reopen » is always refused, and its sender is told so each time (add its rows to lifecycle.csv, or delete it)`},
	} {
		fsys := folder(t)
		if tt.file != "" {
			fsys = with(t, tt.file, tt.text)
		}
		got := load(t, fsys).Remarks().Error()
		if tt.file != "" && tt.file != "catalogue.csv" {
			got = ownLine(got, tt.file)
		}
		if got != strings.TrimPrefix(tt.want, "\n") {
			t.Errorf("%s:\n%s\nwant\n%s", tt.says, got, tt.want)
		}
	}
}

// TestRemarksDefault: with a default component nothing is refused.
func TestRemarksDefault(t *testing.T) {
	c := load(t, folder(t))
	c.Catalogue.Default = map[string]string{"component": "Divers"}
	if got := c.Remarks(); len(got) > 0 {
		t.Errorf("remarks: %v", got)
	}
}

func signalsWith(t *testing.T, row string) string {
	return string(folder(t)["signals.csv"].Data) + row
}

// ownLine is the remark about one file.
func ownLine(text, file string) string {
	for _, l := range strings.Split(text, "\n") {
		if strings.HasPrefix(l, file) {
			return l
		}
	}
	return ""
}
