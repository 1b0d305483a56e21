package itopsim

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestJournalFidelity compares what becomes of each text of the fidelity table
// with what a real iTop stored.
func TestJournalFidelity(t *testing.T) {
	data, err := os.ReadFile("testdata/journal-fidelity.json")
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		Texts []struct {
			Name, Original string
			Forms          map[string]struct {
				Message     *string
				MessageHTML *string `json:"message_html"`
			}
		}
	}
	if err := json.Unmarshal(data, &table); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, text := range table.Texts {
		for form, want := range text.Forms {
			if want.Message == nil || strings.Contains(text.Original, " chars, sha256 ") {
				continue
			}
			html, message := cleanHTML(text.Original), ""
			if form == "add_item-text" {
				html, message = textToHTML(text.Original), text.Original
			} else {
				if html == "" {
					html = emptyDocument
				}
				message = htmlToText(html)
			}
			compared++
			if html != *want.MessageHTML {
				t.Errorf("%s, %s: message_html\n got %q\nwant %q", text.Name, form, html, *want.MessageHTML)
			}
			if message != *want.Message {
				t.Errorf("%s, %s: message\n got %q\nwant %q", text.Name, form, message, *want.Message)
			}
		}
	}
	if compared < 130 {
		t.Errorf("only %d texts compared", compared)
	}
}
