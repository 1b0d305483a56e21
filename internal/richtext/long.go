package richtext

import "strings"

// longest is how many bytes of HTML are read into a document. A text beyond keeps
// its words, lines and the addresses of its links only: its document would take a
// hundred times its size.
const longest = 1 << 20

// lines gives the lines of an HTML text: its words as say writes them, with stop
// at the edge of each block and at each break.
func lines(html string, say func(string) string, stop string) string {
	s := &lineSink{say: say, stop: stop, begun: true}
	s.out.Grow(len(html))
	eachToken(plain(html), s)
	return s.out.String()
}

type lineSink struct {
	out   strings.Builder
	say   func(string) string
	stop  string
	begun bool   // nothing stands on this line yet
	href  string // of the open link
}

func (s *lineSink) chars(text string) {
	if s.begun {
		text = strings.TrimLeft(text, " \t\n")
	}
	if text != "" {
		s.begun = false
		s.out.WriteString(s.say(text))
	}
}

func (s *lineSink) start(name string, a attributes) {
	switch {
	case name == "a":
		s.href = a["href"]
	case name == "br":
		s.begun = false // an empty line is one too
		s.edge()
	case blockTags[name]:
		s.edge()
	}
}

func (s *lineSink) end(name string) {
	if name == "a" && s.href != "" {
		s.chars(" (" + s.href + ")")
		s.href = ""
	}
	if blockTags[name] && name != "br" {
		s.edge()
	}
}

func (s *lineSink) edge() {
	if !s.begun {
		s.out.WriteString(s.stop)
	}
	s.begun = true
}
