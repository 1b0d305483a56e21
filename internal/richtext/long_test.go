package richtext

import (
	"runtime"
	"strings"
	"testing"
)

// TestLongTextsKeepTheirWords: beyond a megabyte words, lines and links stay, and
// no markup comes through.
func TestLongTextsKeepTheirWords(t *testing.T) {
	in := `<div class=x>Un &amp; <b>deux</b></div><p>a<br><br>b <a href="https://x.fr/?a=1&amp;b=2">là</a></p><script>alert(1)</script>&lt;i&gt;<!--c--><style>p{}</style>`
	long := in + strings.Repeat(" mot", longest/4)
	words := strings.TrimRight(strings.Repeat(" mot", longest/4), "")
	if got, want := Clean(long), `Un &amp; deux<br>a<br><br>b là (https://x.fr/?a=1&amp;b=2)<br>&lt;i&gt;`+words; got != want {
		t.Errorf("Clean: %.200q, want %.200q", got, want)
	}
	if got, want := Text(long), "Un & deux\na\n\nb là (https://x.fr/?a=1&b=2)\n<i>"+words; got != want {
		t.Errorf("Text: %.200q, want %.200q", got, want)
	}
}

// TestLongTextsCostLittleMemory: whatever a long text is made of, cleaning it
// takes a few times its size.
func TestLongTextsCostLittleMemory(t *testing.T) {
	const size = longest + 1<<16
	for name, pattern := range nasty {
		in := strings.Repeat(pattern, size/len(pattern))
		for of, f := range map[string]func(string) string{"Clean": Clean, "Text": Text, "Identity": Identity} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			f(in)
			runtime.ReadMemStats(&after)
			if got := (after.TotalAlloc - before.TotalAlloc) / size; got > 60 {
				t.Errorf("%s of %s takes %d times its size", of, name, got)
			}
		}
	}
}
