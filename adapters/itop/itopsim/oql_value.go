package itopsim

import (
	"strconv"
	"strings"
	"time"
)

const stamp = "2006-01-02 15:04:05"

// truth evaluates a condition; no condition is true.
func (s *search) truth(n node, r row) (bool, error) {
	switch n := n.(type) {
	case nil:
		return true, nil
	case binary:
		return s.binary(n, r)
	case inList:
		return s.in(n, r)
	}
	v, err := s.eval(n, r)
	return v != "" && v != "0", err
}

func (s *search) binary(n binary, r row) (bool, error) {
	switch n.op {
	case "LOG_AND", "LOG_OR":
		left, err := s.truth(n.left, r)
		if err != nil || left == (n.op == "LOG_OR") {
			return left, err
		}
		return s.truth(n.right, r)
	}
	left, err := s.eval(n.left, r)
	if err != nil {
		return false, err
	}
	right, err := s.eval(n.right, r)
	if err != nil {
		return false, err
	}
	if s.isDate(n.left, r) {
		if left == "" {
			return false, nil // NULL
		}
		right = dateLiteral(right)
	}
	return compare(n.op, left, right), nil
}

// compare follows MySQL: numbers as numbers, text without regard to case.
func compare(op, left, right string) bool {
	switch op {
	case "LIKE":
		return like(strings.ToLower(left), strings.ToLower(right))
	case "NOT LIKE":
		return !like(strings.ToLower(left), strings.ToLower(right))
	}
	c := strings.Compare(strings.ToLower(left), strings.ToLower(right))
	a, errA := strconv.ParseFloat(left, 64)
	b, errB := strconv.ParseFloat(right, 64)
	if errA == nil && errB == nil {
		c = 0
		if a < b {
			c = -1
		} else if a > b {
			c = 1
		}
	}
	switch op {
	case "EQ":
		return c == 0
	case "NOT_EQ":
		return c != 0
	case "LT":
		return c < 0
	case "LE":
		return c <= 0
	case "GT":
		return c > 0
	}
	return c >= 0
}

func like(s, pattern string) bool {
	if pattern == "" {
		return s == ""
	}
	switch pattern[0] {
	case '%':
		for i := 0; i <= len(s); i++ {
			if like(s[i:], pattern[1:]) {
				return true
			}
		}
		return false
	case '_':
		return s != "" && like(s[1:], pattern[1:])
	}
	return s != "" && s[0] == pattern[0] && like(s[1:], pattern[1:])
}

func (s *search) isDate(n node, r row) bool {
	f, ok := n.(fieldRef)
	if !ok {
		return false
	}
	o := s.objectOf(f, r)
	if o == nil {
		return false
	}
	a := o.class.attr(f.name)
	return a != nil && a.kind == kDate
}

// dateLiteral reads a literal as MySQL does: an offset or Z is ignored, a date
// alone is midnight, and what cannot be read is before everything.
func dateLiteral(text string) string {
	t := strings.Replace(text, "T", " ", 1)
	if len(t) >= len(stamp) {
		t = t[:len(stamp)]
	} else if len(t) == len("2006-01-02") {
		t += " 00:00:00"
	}
	if _, err := time.Parse(stamp, t); err != nil {
		return "0000-00-00 00:00:00"
	}
	return t
}

func (s *search) in(n inList, r row) (bool, error) {
	left, err := s.eval(n.left, r)
	if err != nil {
		return false, err
	}
	if n.sub != nil {
		ids, err := s.subquery(n.sub)
		return ids[left] != n.not, err
	}
	if f, is := n.left.(fieldRef); is && f.name == "id" && n.keys != nil {
		return n.keys[left] != n.not, nil
	}
	for _, item := range n.items {
		v, err := s.eval(item, r)
		if err != nil {
			return false, err
		}
		if compare("EQ", left, v) {
			return !n.not, nil
		}
	}
	return n.not, nil
}

func (s *search) subquery(q *query) (map[string]bool, error) {
	if ids, ok := s.subs[q]; ok {
		return ids, nil
	}
	found, err := s.run(q)
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, o := range found {
		ids[strconv.Itoa(o.id)] = true
	}
	s.subs[q] = ids
	return ids, nil
}

func (s *search) objectOf(f fieldRef, r row) *record {
	if f.alias != "" {
		return r[f.alias]
	}
	if len(r) == 1 {
		for _, o := range r {
			return o
		}
	}
	for _, o := range r {
		if o.class.attr(f.name) != nil {
			return o
		}
	}
	return nil
}

func (s *search) fieldValue(r row, f fieldRef) string {
	o := s.objectOf(f, r)
	if o == nil {
		return ""
	}
	return s.store.named(o, f.name)
}

func (s *search) eval(n node, r row) (string, error) {
	switch n := n.(type) {
	case literal:
		return n.text, nil
	case fieldRef:
		return s.fieldValue(r, n), nil
	case param:
		if n.name == "current_contact_id" {
			return strconv.Itoa(s.contact), nil
		}
		return "", internal("Missing query argument: %s, the simulator knows current_contact_id only", n.name)
	case call:
		return s.call(n, r)
	case binary, inList:
		ok, err := s.truth(n, r)
		if ok {
			return "1", err
		}
		return "0", err
	}
	return "", internal("unexpected expression in OQL")
}

func (s *search) call(c call, r row) (string, error) {
	var args []string
	for _, a := range c.args {
		v, err := s.eval(a, r)
		if err != nil {
			return "", err
		}
		args = append(args, v)
	}
	switch {
	case c.name == "F_NOW":
		return s.now.Format(stamp), nil
	case c.name == "F_CURRENT_DATE":
		return s.now.Format("2006-01-02"), nil
	case c.name == "F_CONCAT":
		return strings.Join(args, ""), nil
	case c.name == "F_ISNULL" && len(args) == 1:
		return map[bool]string{true: "1", false: "0"}[args[0] == ""], nil
	case c.name == "F_DATE" && len(args) == 1:
		return dateLiteral(args[0])[:10], nil
	case c.name == "F_DATE_FORMAT" && len(args) == 2:
		return dateFormat(args[0], args[1]), nil
	case (c.name == "F_DATE_ADD" || c.name == "F_DATE_SUB") && len(args) == 2:
		return dateShift(args[0], args[1], c.unit, c.name == "F_DATE_SUB"), nil
	}
	return "", internal("OQL function %s with %d arguments is not simulated (use NOW, CURRENT_DATE, DATE, DATE_ADD, DATE_SUB, DATE_FORMAT, CONCAT, ISNULL)", c.name[2:], len(args))
}

func dateFormat(value, format string) string {
	t, err := time.Parse(stamp, dateLiteral(value))
	if err != nil || value == "" {
		return ""
	}
	return strings.NewReplacer("%Y", t.Format("2006"), "%m", t.Format("01"), "%d", t.Format("02"),
		"%H", t.Format("15"), "%i", t.Format("04"), "%s", t.Format("05")).Replace(format)
}

func dateShift(value, amount, unit string, back bool) string {
	t, err := time.Parse(stamp, dateLiteral(value))
	if err != nil {
		return ""
	}
	n, _ := strconv.Atoi(amount)
	if back {
		n = -n
	}
	switch unit {
	case "F_MONTH":
		t = t.AddDate(0, n, 0)
	case "F_YEAR":
		t = t.AddDate(n, 0, 0)
	default:
		seconds := map[string]time.Duration{"F_SECOND": time.Second, "F_MINUTE": time.Minute, "F_HOUR": time.Hour, "F_DAY": 24 * time.Hour}
		t = t.Add(time.Duration(n) * seconds[unit])
	}
	return t.Format(stamp)
}
