package itopsim

import (
	"html"
	"strings"
)

// element is a node of a parsed HTML text: an element, or text when tag is "".
type element struct {
	tag   string
	attrs []pair
	kids  []*element
	text  string
}

func (e *element) attr(name string) string {
	for _, a := range e.attrs {
		if a.key == name {
			return a.value.(string)
		}
	}
	return ""
}

var void = set("area base br col embed hr img input link meta param source track wbr")

// closesP are the elements before which an open paragraph ends.
var closesP = set("p div ul ol dl table h1 h2 h3 h4 h5 h6 hr pre blockquote form center figure section nav fieldset address")

// autoClose says, by open element, which elements end it by beginning.
var autoClose = map[string]map[string]bool{
	"li": set("li"), "tr": set("tr thead tbody"), "td": set("td th tr"), "th": set("td th tr"),
	"thead": set("thead tbody"), "tbody": set("thead tbody"),
}

// inHead are the elements that do not start the body.
var inHead = set("html head title style script meta link base")

func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

// htmlParser builds a tree as libxml2's HTML parser does on the texts of
// journal-fidelity.json.
type htmlParser struct {
	src   string
	root  *element
	stack []*element
	body  bool // something that belongs to the body was seen
}

func parseHTML(src string) *element {
	p := &htmlParser{src: src, root: &element{tag: "#root"}}
	p.stack = []*element{p.root}
	for p.src != "" {
		p.step()
	}
	return p.root
}

func (p *htmlParser) top() *element { return p.stack[len(p.stack)-1] }

func (p *htmlParser) step() {
	if p.src[0] != '<' {
		n := strings.IndexByte(p.src, '<')
		if n < 0 {
			n = len(p.src)
		}
		p.addText(p.src[:n])
		p.src = p.src[n:]
		return
	}
	switch {
	case strings.HasPrefix(p.src, "<!--"):
		p.skip("-->")
	case len(p.src) > 9 && strings.EqualFold(p.src[:9], "<!doctype"), strings.HasPrefix(p.src, "<?"):
		p.skip(">")
	case strings.HasPrefix(p.src, "<!"):
		p.addText("!")
		p.src = p.src[2:]
	case len(p.src) > 2 && p.src[1] == '/' && letter(p.src[2]):
		p.end()
	case len(p.src) > 1 && letter(p.src[1]):
		p.start()
	default:
		p.addText("<")
		p.src = p.src[1:]
	}
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func (p *htmlParser) skip(to string) {
	_, rest, _ := strings.Cut(p.src, to)
	p.src = rest
}

// addText appends text; the very first text of a body opens a paragraph.
func (p *htmlParser) addText(raw string) {
	text := html.UnescapeString(raw)
	if !p.body && strings.TrimSpace(text) == "" && len(p.stack) == 1 {
		return
	}
	if !p.body && (len(p.stack) == 1 || inHead[p.top().tag]) {
		p.stack = p.stack[:1]
		if len(p.root.kids) == 0 || inHead[p.root.kids[len(p.root.kids)-1].tag] {
			p.push(&element{tag: "p"})
		}
	}
	if !p.body {
		p.body, text = true, strings.TrimLeft(text, " \t\r\n")
	}
	kids := p.top().kids
	if n := len(kids); n > 0 && kids[n-1].tag == "" {
		kids[n-1].text += text
		return
	}
	p.top().kids = append(kids, &element{text: text})
}

func (p *htmlParser) push(e *element) {
	p.top().kids = append(p.top().kids, e)
	p.stack = append(p.stack, e)
}

func (p *htmlParser) start() {
	e, selfClosed := p.tag()
	p.closeFor(e.tag)
	if !inHead[e.tag] {
		p.body = true
	}
	p.push(e)
	if void[e.tag] || selfClosed {
		p.stack = p.stack[:len(p.stack)-1]
		return
	}
	if e.tag == "script" || e.tag == "style" || e.tag == "title" {
		p.rawText(e.tag)
	}
}

// rawText drops the content of an element that holds no markup.
func (p *htmlParser) rawText(tag string) {
	n := strings.Index(strings.ToLower(p.src), "</"+tag)
	if n < 0 {
		n = len(p.src)
	}
	p.src = p.src[n:]
}

// closeFor ends what a start tag implicitly ends.
func (p *htmlParser) closeFor(tag string) {
	for len(p.stack) > 1 {
		open := p.top().tag
		switch {
		case open == "p" && closesP[tag]:
		case autoClose[open][tag]:
		default:
			return
		}
		p.stack = p.stack[:len(p.stack)-1]
	}
}

func (p *htmlParser) end() {
	n := strings.IndexByte(p.src, '>')
	if n < 0 {
		p.src = ""
		return
	}
	name := strings.ToLower(strings.TrimSpace(p.src[2:n]))
	p.src = p.src[n+1:]
	for i := len(p.stack) - 1; i > 0; i-- {
		if p.stack[i].tag == name {
			p.stack = p.stack[:i]
			return
		}
	}
}

// tag reads a start tag with its attributes.
func (p *htmlParser) tag() (e *element, selfClosed bool) {
	i := 1 + span(p.src[1:], func(c byte) bool { return wordByte(c) || c == ':' || c == '-' || c == '.' })
	e = &element{tag: strings.ToLower(p.src[1:i])}
	p.src = p.src[i:]
	for {
		p.src = strings.TrimLeft(p.src, " \t\r\n")
		switch {
		case p.src == "":
			return e, false
		case p.src[0] == '>':
			p.src = p.src[1:]
			return e, selfClosed
		case p.src[0] == '<':
			return e, false
		case p.src[0] == '/':
			selfClosed = strings.HasPrefix(p.src, "/>")
			p.src = p.src[1:]
		default:
			p.attribute(e)
		}
	}
}

func (p *htmlParser) attribute(e *element) {
	i := span(p.src, func(c byte) bool { return strings.IndexByte(" \t\r\n=/><", c) < 0 })
	if i == 0 {
		p.src = p.src[1:]
		return
	}
	name := strings.ToLower(p.src[:i])
	p.src = strings.TrimLeft(p.src[i:], " \t\r\n")
	value := name
	if strings.HasPrefix(p.src, "=") {
		p.src = strings.TrimLeft(p.src[1:], " \t\r\n")
		value = p.attributeValue()
	}
	e.attrs = append(e.attrs, pair{name, html.UnescapeString(value)})
}

func (p *htmlParser) attributeValue() string {
	if p.src != "" && (p.src[0] == '"' || p.src[0] == '\'') {
		quote := p.src[:1]
		value, rest, _ := strings.Cut(p.src[1:], quote)
		p.src = rest
		return value
	}
	i := span(p.src, func(c byte) bool { return strings.IndexByte(" \t\r\n><", c) < 0 })
	value := p.src[:i]
	p.src = p.src[i:]
	return value
}
