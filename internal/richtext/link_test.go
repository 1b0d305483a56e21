package richtext

import (
	"strings"
	"testing"
)

func TestCleanURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://x.fr/a?b=c&d#e":        "https://x.fr/a?b=c&d#e",
		" HTTP://x.fr/ ":                "http://x.fr/",
		"mailto:a@b.fr":                 "mailto:a@b.fr",
		"ftp://x.fr/f":                  "ftp://x.fr/f",
		"https://x.fr/é":                "https://x.fr/%C3%A9",
		"https://x.fr/a b":              "https://x.fr/ab",
		`https://x.fr/"'<>[]{}|\^!`:     "https://x.fr/%22%27%3C%3E%5B%5D%7B%7D%7C%5C%5E%21",
		"https://x.fr:8080/a%20b":       "https://x.fr:8080/a%20b",
		"javascript:alert(1)":           "",
		"java\nscript:alert(1)":         "",
		"data:text/html,x":              "",
		"javascript://x.fr/%0aalert(1)": "",
		"vbscript:x":                    "",
		"file:///etc/passwd":            "",
		"//x.fr/":                       "",
		"/pages/UI.php":                 "",
		"#x":                            "",
		"":                              "",
		"https://":                      "",
		"http://[::1]/":                 "",
		"http://0!":                     "",
		"mailto:":                       "",
		"https://x.fr/%zz":              "",
		"http://x.fr\x01/":              "http://x.fr/",
	} {
		if got := cleanURL(in); got != want {
			t.Errorf("cleanURL(%q) = %q, want %q", in, got, want)
		} else if again := cleanURL(got); again != got {
			t.Errorf("cleanURL(%q) = %q, not itself", got, again)
		}
	}
}

// TestAddressInText: what ends a sentence is no part of an address.
func TestAddressInText(t *testing.T) {
	for in, want := range map[string]string{
		"https://x.fr/a.":        "https://x.fr/a",
		"https://x.fr/a), b":     "https://x.fr/a",
		"https://x.fr/a_(b) c":   "https://x.fr/a_(b",
		"https://x.fr/a?b=c&d=e": "https://x.fr/a?b=c&d=e",
		"https://x.fr/é":         "https://x.fr/",
		"https:// x":             "",
		"http":                   "",
		"mailto:a@b.fr;":         "mailto:a@b.fr",
		"javascript:alert(1)":    "",
		"https://x.fr/" + strings.Repeat("a", maxURL): "",
	} {
		if got := urlAt(in); got != want {
			t.Errorf("urlAt(%.60q) = %q, want %q", in, got, want)
		}
	}
}
