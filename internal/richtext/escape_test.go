package richtext

import "testing"

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		"  \n \n":                   "",
		"Bonjour":                   "<p>Bonjour</p>",
		"un\ndeux\n\ntrois\n":       "<p>un<br>deux</p><p>trois</p>",
		"un\r\ndeux\r\n\r\n\rtrois": "<p>un<br>deux</p><p>trois</p>",
		"si x<y et y>z & <ok>":      "<p>si x&lt;y et y&gt;z &amp; &lt;ok&gt;</p>",
		"&lt;b&gt;":                 "<p>&amp;lt;b&amp;gt;</p>",
		`"l'élève" \ {x}`:           `<p>"l'élève" \ {x}</p>`,
		"a\x00b\x08c":               "<p>abc</p>",
		"<script>alert(1)</script>": "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>",
	} {
		if got := Escape(in); got != want {
			t.Errorf("Escape(%q)\n got %q\nwant %q", in, got, want)
		}
	}
}

// TestEscapedTextKeepsItsName: what we send escaped has, in iTop, the name that
// the plain words have.
func TestEscapedTextKeepsItsName(t *testing.T) {
	for s, want := range map[string]string{
		"si x<y et y>z alors <ok>": "si x<y et y>z alors <ok>",
		"a &amp; b":                "a &amp; b",
		"un\n\ndeux":               "un deux",
		"10\u00a0000 €":            "10 000 €",
	} {
		if got := Identity(Escape(s)); got != want {
			t.Errorf("Identity(Escape(%q)) = %q, want %q", s, got, want)
		}
	}
}

// TestUserTextIsNoMarkup: text that looks like markup of the other side comes
// back as the same text.
func TestUserTextIsNoMarkup(t *testing.T) {
	for _, s := range []string{
		"*gras*", "_x_", "-x-", "+x+", "^x^", "~x~", "??x??", "{code}x{code}", "{noformat}", "{quote}a{quote}",
		"{{x}}", "[a]", "[~u]", "[^f]", "|a|b|", "||a||", "* a", "# a", "- a", "h1. a", "bq. a", "----",
		"!a.png!", `\\`, `\*`, `C:\a\`, "&amp;", "&#42;", "{color:red}x{color}", "{*}x{*}", "a -- b", "(x)", "{panel}x{panel}",
	} {
		if got, want := HTML(Wiki(Escape(s))), Escape(s); got != want {
			t.Errorf("%q goes as %q and comes back as %q", s, Wiki(Escape(s)), got)
		}
	}
}
