package itopsim

import (
	"fmt"
	"strconv"
	"strings"
)

// query is a parsed OQL SELECT.
type query struct {
	source string
	want   string // alias of the objects it gives
	from   source
	joins  []join
	where  node // nil = all
}

type source struct {
	class, alias string
	at           int
}

type join struct {
	source
	left, right fieldRef
}

// node is an expression: fieldRef, literal, param, call, binary or inList.
type node any

type fieldRef struct {
	alias, name string
	at          int
}
type literal struct {
	text   string
	number bool
}
type param struct{ name string }
type call struct {
	name string
	args []node
	unit string // of INTERVAL
}
type binary struct {
	op          string
	left, right node
}
type inList struct {
	not   bool
	left  node
	items []node
	keys  map[string]bool // the items, where all of them are ids
	sub   *query
}

type parser struct {
	source string
	tokens []token
	i      int
}

// parseOQL reads one query.
func parseOQL(source string) (*query, error) {
	tokens, err := lexOQL(source)
	if err != nil {
		return nil, err
	}
	p := &parser{source: source, tokens: tokens}
	if p.peek().name == "NAME" || p.peek().name == "NUMVAL" || p.peek().name == "STRVAL" {
		return nil, p.notAQuery()
	}
	q, err := p.query()
	if err != nil {
		return nil, err
	}
	if p.peek().name != "EOF" {
		return nil, p.unexpected()
	}
	return q, nil
}

// notAQuery is what iTop says to an expression where a query was due.
func (p *parser) notAQuery() error {
	if _, err := p.or(); err != nil {
		return err
	}
	if p.peek().name != "EOF" {
		return p.unexpected()
	}
	return &oqlError{"OQLException", fmt.Sprintf("Expecting an OQL query - found 'FieldOqlExpression' at 0 in '%s'", p.source)}
}

func (p *parser) peek() token { return p.tokens[p.i] }

func (p *parser) next() token {
	t := p.tokens[p.i]
	if t.name != "EOF" {
		p.i++
	}
	return t
}

func (p *parser) accept(name string) bool {
	if p.peek().name != name {
		return false
	}
	p.i++
	return true
}

func (p *parser) expect(name string) (token, error) {
	if p.peek().name != name {
		return token{}, p.unexpected()
	}
	return p.next(), nil
}

func (p *parser) unexpected() error {
	t := p.peek()
	return &oqlError{"OQLParserSyntaxErrorException", fmt.Sprintf("Unexpected token %s - found '%s' at %d in '%s'", t.name, t.text, t.at, p.source)}
}

func (p *parser) query() (*query, error) {
	if _, err := p.expect("SELECT"); err != nil {
		return nil, err
	}
	q := &query{source: p.source}
	first, err := p.expect("NAME")
	if err != nil {
		return nil, err
	}
	if p.accept("FROM") {
		q.want = first.text
		q.from, err = p.class()
	} else {
		p.i--
		q.from, err = p.class()
		q.want = q.from.alias
	}
	if err != nil {
		return nil, err
	}
	for p.accept("JOIN") {
		j, err := p.join()
		if err != nil {
			return nil, err
		}
		q.joins = append(q.joins, j)
	}
	if p.accept("WHERE") {
		q.where, err = p.or()
	}
	return q, err
}

func (p *parser) class() (source, error) {
	t, err := p.expect("NAME")
	if err != nil {
		return source{}, err
	}
	s := source{class: t.text, alias: t.text, at: t.at}
	if p.accept("AS_ALIAS") {
		alias, err := p.expect("NAME")
		if err != nil {
			return source{}, err
		}
		s.alias = alias.text
	}
	return s, nil
}

func (p *parser) join() (join, error) {
	s, err := p.class()
	if err != nil {
		return join{}, err
	}
	j := join{source: s}
	if _, err = p.expect("ON"); err != nil {
		return j, err
	}
	if j.left, err = p.field(); err != nil {
		return j, err
	}
	if _, err = p.expect("EQ"); err != nil {
		return j, err
	}
	j.right, err = p.field()
	return j, err
}

// field reads name or alias.name. The name of a function may be that of an
// attribute: CMDBChange has a date.
func (p *parser) field() (fieldRef, error) {
	t := p.peek()
	if t.name != "NAME" && !strings.HasPrefix(t.name, "F_") {
		return fieldRef{}, p.unexpected()
	}
	p.i++
	if !p.accept("DOT") {
		return fieldRef{name: t.text, at: t.at}, nil
	}
	name := p.next()
	if name.text == "" {
		return fieldRef{}, p.unexpected()
	}
	return fieldRef{alias: t.text, name: name.text, at: name.at}, nil
}

func (p *parser) or() (node, error)  { return p.chain("LOG_OR", p.and) }
func (p *parser) and() (node, error) { return p.chain("LOG_AND", p.comparison) }

func (p *parser) chain(op string, operand func() (node, error)) (node, error) {
	left, err := operand()
	for err == nil && p.accept(op) {
		var right node
		right, err = operand()
		left = binary{op, left, right}
	}
	return left, err
}

func (p *parser) comparison() (node, error) {
	left, err := p.primary()
	if err != nil {
		return nil, err
	}
	not := p.accept("NOT")
	switch t := p.peek(); t.name {
	case "IN":
		p.i++
		return p.in(left, not)
	case "LIKE":
		p.i++
		right, err := p.primary()
		if not {
			return binary{"NOT LIKE", left, right}, err
		}
		return binary{"LIKE", left, right}, err
	case "EQ", "NOT_EQ", "LT", "LE", "GT", "GE":
		if !not {
			p.i++
			right, err := p.primary()
			return binary{t.name, left, right}, err
		}
	}
	if not {
		return nil, p.unexpected()
	}
	return left, nil
}

func (p *parser) in(left node, not bool) (node, error) {
	if _, err := p.expect("PAR_OPEN"); err != nil {
		return nil, err
	}
	n := inList{not: not, left: left}
	var err error
	if p.peek().name == "SELECT" {
		n.sub, err = p.query()
	} else {
		n.items, err = p.items()
		n.keys = keysOf(n.items)
	}
	if err != nil {
		return nil, err
	}
	_, err = p.expect("PAR_CLOSE")
	return n, err
}

func (p *parser) items() ([]node, error) {
	var out []node
	for {
		item, err := p.or()
		if err != nil {
			return nil, err
		}
		out = append(out, item)
		if !p.accept("COMA") {
			return out, nil
		}
	}
}

func (p *parser) primary() (node, error) {
	switch t := p.peek(); t.name {
	case "PAR_OPEN":
		p.i++
		n, err := p.or()
		if err != nil {
			return nil, err
		}
		_, err = p.expect("PAR_CLOSE")
		return n, err
	case "STRVAL":
		p.i++
		return literal{t.text, false}, nil
	case "NUMVAL":
		p.i++
		return literal{t.text, true}, nil
	case "MATH_MINUS":
		p.i++
		num, err := p.expect("NUMVAL")
		return literal{"-" + num.text, true}, err
	case "COLON":
		p.i++
		name, err := p.expect("NAME")
		return param{name.text}, err
	}
	if p.isCall() {
		return p.call()
	}
	return p.field()
}

func (p *parser) isCall() bool {
	return strings.HasPrefix(p.peek().name, "F_") && p.tokens[p.i+1].name == "PAR_OPEN"
}

func (p *parser) call() (node, error) {
	c := call{name: p.next().name}
	p.i++
	for !p.accept("PAR_CLOSE") {
		if len(c.args) > 0 {
			if _, err := p.expect("COMA"); err != nil {
				return nil, err
			}
		}
		interval := p.accept("INTERVAL")
		arg, err := p.or()
		if err != nil {
			return nil, err
		}
		c.args = append(c.args, arg)
		if interval {
			unit := p.peek()
			if !intervalUnits[unit.name] {
				return nil, p.unexpected()
			}
			c.unit = p.next().name
		}
	}
	return c, nil
}

var intervalUnits = map[string]bool{"F_SECOND": true, "F_MINUTE": true, "F_HOUR": true, "F_DAY": true, "F_MONTH": true, "F_YEAR": true}

// keysOf are the items of a list of ids; nil for another list.
func keysOf(items []node) map[string]bool {
	keys := map[string]bool{}
	for _, item := range items {
		l, is := item.(literal)
		if n, err := strconv.Atoi(l.text); !is || err != nil || strconv.Itoa(n) != l.text {
			return nil
		}
		keys[l.text] = true
	}
	return keys
}
