package richtext

import (
	"flag"
	"math/rand"
	"strings"
	"testing"
	"time"
)

var (
	rounds = flag.Int("rounds", 400, "random texts to try")
	chance = flag.Int64("chance", 1, "seed of the random texts; 0: the time")
)

// htmlParts and wikiParts are what random texts are made of: what a byte-wise
// fuzzer seldom puts together.
var htmlParts = strings.Fields(`<p> </p> <br> <b> </b> <i> </i> <u> </u> <s> </s> <code> </code> <pre> </pre>
	<ul> <ol> <li> </li> </ul> </ol> <table> <tr> <td> <th> </td> </tr> </table> <td colspan=2> <td~rowspan=2>
	<blockquote> </blockquote> <h1> </h1> <h5> <hr> <a~href="https://x.fr/"> <a~href="https://x.fr/b"> </a>
	<img~alt=i> <div> </div> <sup> </sup> <q> <script>x</script> <!--c--> &nbsp; &amp; &lt;`)

var wikiParts = strings.Fields(`* ** # ## *# - -- --- ---- _ + ^ ~ ?? ? ! !a.png! | || {*} {_} {-} {{ }} { } [ ]
	[a|https://x.fr/] [a|b] [https://x.fr/b] https://x.fr/ https://x.fr/a_b* mailto:a@b.fr \ \\ \* \{ \| & &amp; &#42; h1. bq.
	{code} {noformat} {quote} {panel:title=t} {panel} {color:red} {color} (x) (!) :) . , ; $ é a b c 1 2 mot`)

// randomText joins parts; some of them are blanks and line ends.
func randomText(r *rand.Rand, parts ...[]string) string {
	var out strings.Builder
	for range 1 + r.Intn(24) {
		switch r.Intn(5) {
		case 0:
			out.WriteString(" ")
		case 1:
			if r.Intn(2) == 0 {
				out.WriteString("\n")
			}
		}
		from := parts[r.Intn(len(parts))]
		out.WriteString(strings.ReplaceAll(from[r.Intn(len(from))], "<td~", "<td "))
	}
	return strings.NewReplacer("<a~", "<a ", "<img~", "<img ").Replace(out.String())
}

// TestRandomTextsHoldTheProperties tries texts that nobody wrote.
func TestRandomTextsHoldTheProperties(t *testing.T) {
	if *chance == 0 {
		*chance = time.Now().UnixNano()
	}
	t.Logf("go test -run RandomTexts -chance %d -rounds %d", *chance, *rounds)
	r := rand.New(rand.NewSource(*chance))
	for i := 0; i < *rounds && !t.Failed(); i++ {
		checkHTML(t, randomText(r, htmlParts, wikiParts))
		checkHTML(t, Escape(randomText(r, wikiParts)))
		checkWiki(t, randomText(r, wikiParts))
		text := randomText(r, wikiParts)
		if got, want := Identity(HTML(Wiki(Escape(text)))), Identity(Escape(text)); got != want {
			t.Errorf("%q\n goes as %q\n and comes back as %q", text, Wiki(Escape(text)), got)
		}
	}
}
