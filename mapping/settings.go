package mapping

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"passerelle"
)

const contractFile = "contract.yaml"

func readContract(fsys fs.FS, p *Problems) *Contract {
	c := &Contract{Timezone: "Europe/Paris", LimitBytes: 10 << 20, OwnRef: "FRS-%06d", Sign: "none", Notify: Notify{By: "none"}, TellAfter: 4 * time.Hour,
		AtEscalation: AtEscalation{PublicLog: "newest", PrivateLog: "none", Attachments: "all"},
		Notes:        Notes{Requester: "update-private-log", Partner: "update-private-log"}, Zone: time.UTC}
	c.Between.Requester.Dates, c.Between.Partner.Dates = "local", "offset"
	b, err := fs.ReadFile(fsys, contractFile)
	if err != nil {
		p.add(contractFile, 0, "a contract folder begins with it; docs/contracts.md describes it", "cannot be read: %v", err)
		return c
	}
	if !isUTF8(b, contractFile, p) {
		return c
	}
	if len(b) > maxContract || nesting(b) > maxNesting {
		p.add(contractFile, 0, "docs/contracts.md lists every key", "is larger or nested deeper than any contract")
		return c
	}
	source, err := parser.ParseBytes(b, 0)
	if err != nil {
		line, text := YAMLError(err)
		p.add(contractFile, line, "check the indentation, colons and quotes near this line", "is not YAML: %s", text)
		return c
	}
	if len(source.Docs) != 1 || !isBlock(source.Docs[0].Body) {
		p.add(contractFile, 0, "one block of keys, no line ---", "holds no contract, or several")
		return c
	}
	c.source = source
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(c); err != nil {
		line, text := YAMLError(err)
		p.add(contractFile, line, "docs/contracts.md lists every key", "%s", text)
	}
	c.checkNames(p)
	c.checkScalars(p)
	return c
}

// The YAML reader's time grows with the square of a file's depth.
const (
	maxContract = 64 << 10 // bytes
	maxNesting  = 20       // of brackets
)

func nesting(b []byte) (deepest int) {
	depth := 0
	for _, c := range b {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		}
		deepest = max(deepest, depth)
	}
	return deepest
}

func isBlock(n ast.Node) bool {
	_, ok := n.(ast.MapNode)
	return ok
}

// line is where contract.yaml gives a key ("at_escalation.public_log"), 0 if it
// does not.
func (c *Contract) line(key string) int {
	path, err := yaml.PathString("$." + key)
	if err != nil || c.source == nil {
		return 0
	}
	node, err := path.FilterFile(c.source)
	if err != nil || node == nil || node.GetToken() == nil {
		return 0
	}
	return node.GetToken().Position.Line
}

// plainName fits in a URL, a metric and a file name.
var plainName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)

func (c *Contract) checkNames(p *Problems) {
	for _, k := range []struct{ key, value, example string }{{"name", c.Name, "town-editor"}, {"version", c.Version, "v1"}} {
		switch {
		case k.value == "":
			p.add(contractFile, c.line(k.key), "such as "+k.example, "%s is missing", k.key)
		case !plainName.MatchString(k.value):
			p.add(contractFile, c.line(k.key), "small letters, digits and - . _ only, such as "+k.example, "%s is %q", k.key, k.value)
		}
	}
}

var oneNumber = regexp.MustCompile(`^[^%]*%(0[1-9])?d[^%]*$`)

func (c *Contract) checkScalars(p *Problems) {
	// An empty zone would be UTC, and "Local" the machine's own.
	zone, err := time.LoadLocation(c.Timezone)
	if err != nil || c.Timezone == "" || c.Timezone == "Local" {
		p.add(contractFile, c.line("timezone"), "such as Europe/Paris", "timezone %q is unknown", c.Timezone)
	} else {
		c.Zone = zone
	}
	if c.LimitBytes <= 0 {
		p.add(contractFile, c.line("limit_bytes"), "a number of bytes such as 10485760", "limit_bytes is %d", c.LimitBytes)
	}
	if !oneNumber.MatchString(c.OwnRef) {
		p.add(contractFile, c.line("own_ref"), "one %d or %0Nd, such as FRS-%06d", "own_ref %q is no format for one number", c.OwnRef)
	}
	oneOf := func(key, v string, ok ...string) {
		if !slices.Contains(ok, v) {
			p.add(contractFile, c.line(key), "one of "+strings.Join(ok, ", "), "%s is %q", key, v)
		}
	}
	oneOf("sign", c.Sign, "none", "role", "name")
	if c.TellAfter != 0 && c.TellAfter < time.Minute {
		p.add(contractFile, c.line("tell_after"), "a duration such as 4h, or 0s for never", "tell_after is %v", c.TellAfter)
	}
	oneOf("between.requester.dates", c.Between.Requester.Dates, "local", "offset")
	oneOf("between.partner.dates", c.Between.Partner.Dates, "local", "offset")
	oneOf("at_escalation.public_log", c.AtEscalation.PublicLog, "newest", "all", "none")
	oneOf("at_escalation.private_log", c.AtEscalation.PrivateLog, "newest", "none")
	oneOf("at_escalation.attachments", c.AtEscalation.Attachments, "all", "none")
	for i, k := range c.Keys {
		oneOf(fmt.Sprintf("keys[%d]", i), k, "provider_id", "customer_ref")
	}
}

func (c *Contract) checkNotes(p *Problems) {
	for _, side := range []passerelle.Side{passerelle.Requester, passerelle.Partner} {
		t, at := c.noteTemplate(side), c.line("notes."+string(side))
		switch {
		case t != nil && t.root == nil || c.lacksTemplates(side): // reported where it stands
		case t == nil:
			p.add(contractFile, at, "name a template of to-"+string(side), "notes.%s is no template", side)
		case !t.fields["private_log"]: // R16: what is said between agents stays there
			p.add(contractFile, at, "take update-private-log", "notes.%s must be a template of the private journal", side)
		}
	}
}

func (c *Contract) checkNamedFields(p *Problems) {
	for _, k := range []struct{ key, field string }{{"uai", c.UAI}, {"caller", c.Caller}} {
		if k.field != "" && c.fields[k.field] == nil {
			p.add(contractFile, c.line(k.key), "name a field of fields.csv", "%s: field %q is unknown", k.key, k.field)
		}
	}
	if c.Caller != "" && c.fields["description"] == nil {
		p.add(contractFile, c.line("caller"), "add description to fields.csv, or leave caller out", "caller: there is no field \"description\" to hold the name")
	}
}

var yamlLine = regexp.MustCompile(`^\[(\d+):\d+\] `)

// YAMLError splits an error of the YAML reader into the line it is about (0 if
// unknown) and its first sentence, without the excerpt that follows.
func YAMLError(err error) (line int, text string) {
	text, _, _ = strings.Cut(err.Error(), "\n")
	var ye yaml.Error
	if errors.As(err, &ye) {
		text = ye.GetMessage()
		var te *yaml.TypeError
		if errors.As(err, &te) && te.DstType != nil && te.Token != nil {
			text = fmt.Sprintf("%q is not %s", te.Token.Value, plainType(te.DstType))
		}
		if tok := ye.GetToken(); tok != nil && tok.Position != nil {
			line = tok.Position.Line
		}
	}
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	return line, text
}

// plainType is what people call a Go type.
func plainType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "a block of keys"
	}
	return "a text"
}
