package jirasim

import (
	"fmt"
	"strings"
	"unicode"
)

// jql is a query, read but not yet weighed against any issue.
type jql struct {
	where *clause // nil: everything
	order []sorting
}

type sorting struct {
	field string
	desc  bool
}

// clause is one comparison, or AND, OR, NOT of others.
type clause struct {
	op     string // and, or, not, or one of the comparison operators
	parts  []*clause
	field  string
	values []operand
}

// operand is a literal, or a function such as currentUser().
type operand struct {
	text     string
	function bool
}

type token struct {
	text   string
	quoted bool
}

// is says whether the token is the unquoted word, in any case.
func (t token) is(word string) bool { return !t.quoted && strings.EqualFold(t.text, word) }

// tokens cuts a query into words, quoted texts and signs.
func tokens(text string) ([]token, error) {
	var list []token
	rs := []rune(text)
	for i := 0; i < len(rs); {
		switch r := rs[i]; {
		case unicode.IsSpace(r):
			i++
		case r == '"' || r == '\'':
			word, next, err := quoted(rs, i)
			if err != nil {
				return nil, err
			}
			list, i = append(list, token{word, true}), next
		case strings.ContainsRune("(),", r):
			list, i = append(list, token{string(r), false}), i+1
		case strings.ContainsRune("=!<>~&|", r):
			next := i
			for next < len(rs) && strings.ContainsRune("=!<>~&|", rs[next]) {
				next++
			}
			list, i = append(list, token{string(rs[i:next]), false}), next
		default:
			next := i
			for next < len(rs) && !unicode.IsSpace(rs[next]) && !strings.ContainsRune(`(),=!<>~&|"'`, rs[next]) {
				next++
			}
			list, i = append(list, token{string(rs[i:next]), false}), next
		}
	}
	return list, nil
}

// quoted reads a text in quotes that begins at i, with its escapes.
func quoted(rs []rune, i int) (string, int, error) {
	var b strings.Builder
	for k := i + 1; k < len(rs); k++ {
		switch {
		case rs[k] == rs[i]:
			return b.String(), k + 1, nil
		case rs[k] == '\\' && k+1 < len(rs):
			k++
			b.WriteRune(unescaped(rs[k]))
		default:
			b.WriteRune(rs[k])
		}
	}
	return "", 0, fmt.Errorf("Error in the JQL Query: The quoted string '%s' has not been completed. (line 1, character %d)", string(rs[i+1:]), i+1)
}

func unescaped(r rune) rune {
	switch r {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return r
}

// jqlDepth bounds nesting, so that no query can exhaust the stack.
const jqlDepth = 100

type jqlReader struct {
	list  []token
	at    int
	depth int
}

func (p *jqlReader) peek() token {
	if p.at < len(p.list) {
		return p.list[p.at]
	}
	return token{}
}

func (p *jqlReader) next() token {
	t := p.peek()
	p.at++
	return t
}

// take steps over the word if it comes next.
func (p *jqlReader) take(words ...string) bool {
	for _, w := range words {
		if p.at < len(p.list) && p.peek().is(w) {
			p.at++
			return true
		}
	}
	return false
}

func (p *jqlReader) wrong(want string) error {
	if p.at >= len(p.list) {
		return fmt.Errorf("Error in the JQL Query: Expecting %s before the end of the query.", want)
	}
	return fmt.Errorf("Error in the JQL Query: Expecting %s but got '%s'. (line 1)", want, p.peek().text)
}

func parseJQL(text string) (*jql, error) {
	list, err := tokens(text)
	if err != nil {
		return nil, err
	}
	p, q := &jqlReader{list: list}, &jql{}
	if len(list) > 0 && !p.peek().is("order") {
		if q.where, err = p.either(); err != nil {
			return nil, err
		}
	}
	if p.take("order") {
		if q.order, err = p.sortings(); err != nil {
			return nil, err
		}
	}
	if p.at < len(p.list) {
		return nil, p.wrong("operator AND, OR or ORDER BY")
	}
	return q, nil
}

func (p *jqlReader) sortings() ([]sorting, error) {
	if !p.take("by") {
		return nil, p.wrong("'by'")
	}
	var list []sorting
	for {
		if p.at >= len(p.list) {
			return nil, p.wrong("a field name")
		}
		s := sorting{field: p.next().text}
		if p.take("desc") {
			s.desc = true
		} else {
			p.take("asc")
		}
		list = append(list, s)
		if !p.take(",") {
			return list, nil
		}
	}
}

func (p *jqlReader) either() (*clause, error) { return p.chain("or", p.both, "or", "||", "|") }
func (p *jqlReader) both() (*clause, error)   { return p.chain("and", p.term, "and", "&&", "&") }

func (p *jqlReader) chain(op string, part func() (*clause, error), words ...string) (*clause, error) {
	first, err := part()
	if err != nil {
		return nil, err
	}
	all := []*clause{first}
	for p.take(words...) {
		next, err := part()
		if err != nil {
			return nil, err
		}
		all = append(all, next)
	}
	if len(all) == 1 {
		return first, nil
	}
	return &clause{op: op, parts: all}, nil
}

func (p *jqlReader) term() (*clause, error) {
	if p.depth++; p.depth > jqlDepth {
		return nil, fmt.Errorf("Error in the JQL Query: nested too deeply.")
	}
	defer func() { p.depth-- }()
	if p.take("not", "!") {
		inner, err := p.term()
		return &clause{op: "not", parts: []*clause{inner}}, err
	}
	if p.take("(") {
		inner, err := p.either()
		if err == nil && !p.take(")") {
			err = p.wrong("')'")
		}
		return inner, err
	}
	return p.comparison()
}

func (p *jqlReader) comparison() (*clause, error) {
	if p.at >= len(p.list) {
		return nil, p.wrong("a field name")
	}
	c := &clause{field: p.next().text}
	switch {
	case p.take("in"):
		c.op = "in"
	case p.take("not"):
		if !p.take("in") {
			return nil, p.wrong("'IN'")
		}
		c.op = "not in"
	case p.take("is"):
		return c, p.emptiness(c)
	case p.peek().quoted:
		return nil, p.wrong("an operator")
	default:
		c.op = p.next().text
		switch c.op {
		case "=", "!=", "~", "!~", "<", "<=", ">", ">=":
		default:
			p.at--
			return nil, p.wrong("an operator such as '=', '!=', '<', '>', '<=', '>=', '~', '!~', 'IN', 'NOT IN', 'IS' and 'IS NOT'")
		}
	}
	return c, p.operands(c)
}

func (p *jqlReader) emptiness(c *clause) error {
	c.op = "="
	if p.take("not") {
		c.op = "!="
	}
	if !p.take("empty", "null") {
		return p.wrong("EMPTY or NULL")
	}
	return nil
}

// operands reads one value, or a list for IN. EMPTY is no value at all.
func (p *jqlReader) operands(c *clause) error {
	if !strings.HasSuffix(c.op, "in") {
		if p.take("empty", "null") {
			return nil
		}
		return p.operand(c)
	}
	if !p.take("(") {
		return p.wrong("'('")
	}
	for {
		if err := p.operand(c); err != nil {
			return err
		}
		if p.take(")") {
			return nil
		}
		if !p.take(",") {
			return p.wrong("')' or ','")
		}
	}
}

func (p *jqlReader) operand(c *clause) error {
	t := p.peek()
	if p.at >= len(p.list) || !t.quoted && strings.ContainsAny(t.text, "(),=!<>~&|") {
		return p.wrong("either a value, list or function")
	}
	p.at++
	o := operand{text: t.text}
	if !t.quoted && p.take("(") {
		if !p.take(")") {
			return p.wrong("')'")
		}
		o.function = true
	}
	c.values = append(c.values, o)
	return nil
}
