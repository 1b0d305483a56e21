package richtext

import (
	"path"
	"strings"
)

// emoticons are Jira's pictures by file name, and what one types for them.
var emoticons = map[string]string{
	"smile": ":)", "sad": ":(", "tongue": ":P", "biggrin": ":D", "wink": ";)",
	"thumbs_up": "(y)", "thumbs_down": "(n)", "information": "(i)", "check": "(/)",
	"error": "(x)", "warning": "(!)", "add": "(+)", "forbidden": "(-)", "help_16": "(?)",
	"lightbulb_on": "(on)", "lightbulb": "(off)", "star_yellow": "(*)", "star_red": "(*r)",
	"star_green": "(*g)", "star_blue": "(*b)", "flag": "(flag)", "flag_grey": "(flagoff)",
}

// icon returns the text of an image that is Jira's own: an emoticon's
// characters, nothing for the arrow beside a link.
func icon(a attributes) (string, bool) {
	switch {
	case a.has("emoticon"), a.has("emoji"):
		file := path.Base(a["src"])
		if s, ok := emoticons[strings.TrimSuffix(file, path.Ext(file))]; ok {
			return s, true
		}
		return strings.TrimSpace(a["alt"]), true
	case a.has("rendericon"), a.has("icon"):
		return "", true
	}
	return "", false
}

// startDiv notes an open div; Jira's panel is one, and is a quote to us.
func (r *htmlReader) startDiv(name string, attrs attributes) {
	if !r.rendered || name != "div" {
		return
	}
	panel := attrs.has("panel") && !attrs.has("code") && !attrs.has("preformatted")
	if panel {
		r.open(&block{kind: quote})
	}
	r.divs = append(r.divs, panel)
}

func (r *htmlReader) endDiv(name string) {
	n := len(r.divs)
	if name != "div" || n == 0 {
		return
	}
	if r.divs[n-1] {
		r.close(quote)
	}
	r.divs = r.divs[:n-1]
}
