package itopsim

import (
	"regexp"
	"strings"
)

// emptyDocument is what iTop's sanitizer makes of blank HTML.
const emptyDocument = "<!DOCTYPE html PUBLIC \"-//W3C//DTD HTML 4.0 Transitional//EN\" \"http://www.w3.org/TR/REC-html40/loose.dtd\">\n<?xml encoding=\"UTF-8\"?>\n"

// allowed is iTop's white list: elements and their attributes. What is not in
// it goes, with its content.
var allowed = whiteList(`
	a href name style class target title data-role data-object-class data-object-id data-object-key
	p style class
	blockquote style class
	br
	span style class title
	div style class
	b class
	i class
	u class
	em class
	strong class
	img src style class alt title width height data-img-id data-img-secret
	ul style class
	ol reversed start style class type
	li style class value
	h1 style class
	h2 style class
	h3 style class
	h4 style class
	nav style class
	section style class
	code style class
	table style class width summary align border cellpadding cellspacing
	thead style class
	tbody style class
	tr style class align valign
	td style class colspan rowspan align valign width
	th style class colspan rowspan align valign width
	fieldset style class
	legend style class
	font face color style class size
	big
	small
	tt
	kbd
	samp
	var
	del
	s
	strike
	ins
	cite
	q
	hr style class
	pre style class
	center
	figure style class
	figcaption style class
	mark class
	sub class
	sup class
`)

var allowedStyles = set("background-color border border-color border-width border-style border-collapse color float font font-style font-size font-family font-weight " +
	"height line-height list-style-type margin margin-bottom margin-left margin-right margin-top max-width padding padding-bottom padding-left padding-right padding-top " +
	"text-align text-decoration vertical-align width white-space")

func whiteList(lines string) map[string]map[string]bool {
	m := map[string]map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		tag, attrs, _ := strings.Cut(strings.TrimSpace(line), " ")
		m[tag] = set(attrs)
	}
	return m
}

// hrefs is iTop's url_validation_pattern, mailto and tel: a link elsewhere
// loses its address.
var hrefs = regexp.MustCompile(`(?i)^(mailto:|tel:|#|\[|(https?|ftp)://([^/@]*@)?[a-z0-9.-]{3,}(:[0-9]{2,5})?([/?#].*)?$)`)

var imageSources = regexp.MustCompile(`(?i)^(data:image/|https?://)`)

// cleanHTML is what iTop stores of an HTML text.
func cleanHTML(src string) string {
	if src == "" {
		return ""
	}
	root := parseHTML(stripControls(src))
	var b strings.Builder
	for _, kid := range bodyOf(root) {
		writeClean(&b, kid)
	}
	if b.Len() == 0 && strings.TrimSpace(src) == "" {
		return emptyDocument
	}
	return b.String()
}

// stripControls removes what libxml2 does not let through.
func stripControls(src string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' {
			return -1
		}
		return r
	}, src)
}

// bodyOf gives the nodes of the body, whether or not the text has one.
func bodyOf(root *element) []*element {
	var out []*element
	for _, kid := range root.kids {
		switch kid.tag {
		case "html", "body":
			out = append(out, bodyOf(kid)...)
		case "head":
		default:
			out = append(out, kid)
		}
	}
	return out
}

func writeClean(b *strings.Builder, e *element) {
	if e.tag == "" {
		writeText(b, e.text)
		return
	}
	tag := e.tag
	if _, local, ok := strings.Cut(tag, ":"); ok {
		tag = local
	}
	attrs, ok := allowed[tag]
	if !ok {
		return
	}
	b.WriteByte('<')
	b.WriteString(tag)
	for _, a := range e.attrs {
		if value := cleanAttr(a.key, a.value.(string)); attrs[a.key] && value != "" {
			b.WriteString(" " + a.key + `="` + attrEscaper.Replace(value) + `"`)
		}
	}
	b.WriteByte('>')
	for _, kid := range e.kids {
		writeClean(b, kid)
	}
	if !void[tag] {
		b.WriteString("</" + tag + ">")
	}
}

var textEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
var attrEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

func writeText(b *strings.Builder, text string) { b.WriteString(textEscaper.Replace(text)) }

func cleanAttr(name, value string) string {
	switch name {
	case "href":
		if !hrefs.MatchString(value) {
			return ""
		}
	case "src":
		if !imageSources.MatchString(value) {
			return ""
		}
	case "style":
		return cleanStyle(value)
	}
	return value
}

func cleanStyle(value string) string {
	var keep []string
	for _, rule := range strings.Split(value, ";") {
		name, v, ok := strings.Cut(rule, ":")
		if ok && allowedStyles[strings.ToLower(strings.TrimSpace(name))] {
			keep = append(keep, strings.TrimSpace(name)+":"+strings.TrimSpace(v))
		}
	}
	return strings.Join(keep, ";")
}

// textToHTML is what iTop stores of an entry given as plain text.
func textToHTML(src string) string {
	src = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(src)
	var b strings.Builder
	for i, r := range src {
		switch {
		case r == '\n':
			b.WriteString("<br/>")
		case r == '&' && knownEntity.MatchString(src[i:]):
			b.WriteByte('&')
		case r < 0x20 && r != '\t' || r >= 0x7f && r < 0xa0:
			b.WriteRune('\uFFFD')
		default:
			b.WriteString(plainEscaper.Replace(string(r)))
		}
	}
	return b.String()
}

// knownEntity: an existing entity is not escaped again.
var knownEntity = regexp.MustCompile(`^&(#[0-9]+|#x[0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]*);`)

var plainEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;")
