package richtext

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// journal is a recording of 68 texts written to an iTop journal in four ways:
// what iTop stored, and the text that must name it.
type journal struct {
	Texts []struct {
		Name  string
		Forms map[string]journalForm
	}
}

type journalForm struct {
	HTML     *string `json:"message_html"`
	Identity *string `json:"identity_text"`
	OfSent   *bool   `json:"identity_of_what_was_sent_is_the_same"`
}

func readJournal(t *testing.T) journal {
	data, err := os.ReadFile("testdata/journal-fidelity.json")
	if err != nil {
		t.Fatal(err)
	}
	var j journal
	if err := json.Unmarshal(data, &j); err != nil {
		t.Fatal(err)
	}
	return j
}

// longText restores a text that the recording cuts: its beginning, "...", and
// the length and checksum of the whole.
func longText(t *testing.T, cut string) string {
	if !strings.Contains(cut, " chars, sha256 ") {
		return cut
	}
	const sentence = "Ceci est un long texte d’essai. "
	body := strings.Repeat(sentence, 2000)
	for _, whole := range []string{body, strings.TrimSpace(body), "<p>" + body + "</p>",
		escaper.Replace("<p>" + body + "</p>"), "<p>" + strings.TrimSpace(body) + "</p>"} {
		sum := sha256.Sum256([]byte(whole))
		if strings.Contains(cut, hex.EncodeToString(sum[:])) {
			return whole
		}
	}
	t.Fatalf("cannot restore %q", cut)
	return ""
}

func TestIdentityOfRecordedEntries(t *testing.T) {
	forms := 0
	for _, text := range readJournal(t).Texts {
		for way, form := range text.Forms {
			if form.HTML == nil || form.Identity == nil {
				continue
			}
			forms++
			t.Run(text.Name+"/"+way, func(t *testing.T) {
				in, want := longText(t, *form.HTML), longText(t, *form.Identity)
				if got := Identity(in); got != want {
					t.Errorf("Identity(%.200q)\n got %.200q\nwant %.200q", in, got, want)
				}
			})
		}
	}
	if forms < 136 {
		t.Errorf("%d recorded forms, want 136: two of each text", forms)
	}
}

// TestOneTextOneIdentity: NFC and NFD, no-break spaces and the ways of writing
// a line break do not make another name.
func TestOneTextOneIdentity(t *testing.T) {
	for _, same := range [][]string{
		{"<p>Établissement</p>", "E\u0301tablissement", "<div>&Eacute;tablissement</div>\n"},
		{"<p>Merci</p>", "Merci", "Merci<br>", "\u200b<p>\u00a0Merci\ufeff</p>"},
		{"ligne 1<br/>ligne 2", "<p>ligne 1\r\nligne 2</p>", "<ul><li>ligne 1</li><li>ligne 2</li></ul>"},
		{"10\u00a0000\u202f€", "10 000 €", "<p>10&nbsp;000&#8239;€</p>"},
		{`<img data-img-id="2" src="http://a/x?s=1">`, `<p><img src="https://b/y" data-img-id="2"></p>`},
		{"", "   ", "<p>&nbsp;</p>", "<!DOCTYPE html>\n<?xml encoding=\"UTF-8\"?>\n", `<img src="x">`},
	} {
		for _, s := range same {
			if got, want := Identity(s), Identity(same[0]); got != want {
				t.Errorf("Identity(%q) = %q, but of %q it is %q", s, got, same[0], want)
			}
		}
	}
}

func TestAnotherTextAnotherIdentity(t *testing.T) {
	seen := map[string]string{}
	for _, s := range []string{"Merci", "merci", "Merci.", "Merci Merci", `<img data-img-id="2">`,
		`<img data-img-id="3">`, "mot collé", "motcollé", "&lt;b&gt;", "&amp;lt;b&amp;gt;", ""} {
		id := Identity(s)
		if other, ok := seen[id]; ok {
			t.Errorf("%q and %q are both named %q", s, other, id)
		}
		seen[id] = s
	}
}
