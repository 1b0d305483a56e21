package conversation

import (
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	const want = "Shows a thing.\n-- requester does --\na\nb\nc\n-- partner hears --\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\n-- end --\nopen\n"
	for _, tt := range []struct{ says, got, diff string }{
		{"the same", want, ""},
		{"another line", strings.Replace(want, "two", "deux", 1), `  line 8, in « partner hears »:
      -- partner hears --
      one
    - two
    + deux
      three
      four
`},
		{"two places far apart", strings.Replace(strings.Replace(want, "a\n", "A\n", 1), "open\n", "closed\n", 1), `  line 3, in « requester does »:
      Shows a thing.
      -- requester does --
    - a
    + A
      b
      c
  line 16, in « end »:
      eight
      -- end --
    - open
    + closed

`},
		{"two places close together", strings.Replace(strings.Replace(want, "two", "deux", 1), "four", "quatre", 1), `  line 8, in « partner hears »:
      -- partner hears --
      one
    - two
    + deux
      three
    - four
    + quatre
      five
      six
`},
		{"nothing came", "Shows a thing.\n", `  line 2, in « requester does »:
      Shows a thing.
    - -- requester does --
    - a
    - b
    - c
    - -- partner hears --
    - one
    - two
    - three
    - four
    - five
    - six
    - seven
    - eight
    - -- end --
    - open

`},
	} {
		if got := Diff([]byte(want), []byte(tt.got)); got != tt.diff {
			t.Errorf("%s:\n%s\nwant\n%s", tt.says, got, tt.diff)
		}
	}
}
