package jirasim

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// matcher weighs one issue, in the state the index knows.
type matcher func(*issue) bool

// asker is who searches, and when.
type asker struct {
	user *User
	now  time.Time
}

// zoneOf is the time zone that a query's dates are in: the account's own.
func (s *Sim) zoneOf(a asker) *time.Location {
	if a.user != nil {
		if zone, err := time.LoadLocation(a.user.Timezone); err == nil {
			return zone
		}
	}
	return s.zone
}

// compile checks a clause (fields, values, operators) and makes its matcher.
func (s *Sim) compile(c *clause, a asker) (matcher, error) {
	switch {
	case c == nil:
		return func(*issue) bool { return true }, nil
	case c.op == "and" || c.op == "or" || c.op == "not":
		return s.compileParts(c, a)
	}
	switch strings.ToLower(c.field) {
	case "updated", "updateddate", "created", "createddate", "duedate", "due", "resolved", "resolutiondate":
		return s.compileTime(c, a)
	case "key", "issuekey", "issue", "id":
		return s.compileKey(c)
	case "text":
		return s.compileText(c, s.allTexts)
	}
	return s.compileValue(c, a)
}

func (s *Sim) compileParts(c *clause, a asker) (matcher, error) {
	var all []matcher
	for _, p := range c.parts {
		one, err := s.compile(p, a)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	if c.op == "not" {
		return func(is *issue) bool { return !all[0](is) }, nil
	}
	return func(is *issue) bool {
		for _, one := range all {
			if one(is) == (c.op == "or") {
				return c.op == "or"
			}
		}
		return c.op == "and"
	}, nil
}

func notSupported(c *clause) error {
	return fmt.Errorf("The operator '%s' is not supported by the '%s' field.", c.op, c.field)
}

// compileTime compares a moment; a value is a date, a date and time to the
// minute (both in the account's time zone), epoch milliseconds, or a distance
// from now such as -5m.
func (s *Sim) compileTime(c *clause, a asker) (matcher, error) {
	zone := s.zoneOf(a)
	moment := s.timeOf(c.field, zone)
	if len(c.values) == 0 {
		return func(is *issue) bool { return moment(is).IsZero() == (c.op == "=") }, nil
	}
	at, err := s.moment(c.values[0], c.field, a.now, zone)
	if err != nil {
		return nil, err
	}
	signs := map[string]func(int) bool{
		"=": func(n int) bool { return n == 0 }, "!=": func(n int) bool { return n != 0 },
		"<": func(n int) bool { return n < 0 }, "<=": func(n int) bool { return n <= 0 },
		">": func(n int) bool { return n > 0 }, ">=": func(n int) bool { return n >= 0 },
	}
	fits, known := signs[c.op]
	if !known {
		return nil, notSupported(c)
	}
	return func(is *issue) bool { return !moment(is).IsZero() && fits(moment(is).Compare(at)) }, nil
}

func (s *Sim) timeOf(field string, zone *time.Location) func(*issue) time.Time {
	return func(is *issue) time.Time {
		switch strings.ToLower(field) {
		case "updated", "updateddate":
			return is.updated
		case "created", "createddate":
			return is.created
		case "resolved", "resolutiondate":
			return is.resolved
		}
		text, _ := is.values["duedate"].(string)
		day, _ := time.ParseInLocation(time.DateOnly, text, zone)
		return day
	}
}

func (s *Sim) moment(o operand, field string, now time.Time, zone *time.Location) (time.Time, error) {
	if o.function && strings.EqualFold(o.text, "now") {
		return now, nil
	}
	for _, layout := range []string{"2006-01-02 15:04", "2006/01/02 15:04", "2006-01-02", "2006/01/02"} {
		if t, err := time.ParseInLocation(layout, o.text, zone); err == nil && !o.function {
			return lastOf(t), nil
		}
	}
	if ms, err := strconv.ParseInt(o.text, 10, 64); err == nil && len(o.text) > 6 {
		return time.UnixMilli(ms), nil
	}
	if d, fine := distance(o.text); fine && !o.function {
		return now.Add(d), nil
	}
	return time.Time{}, fmt.Errorf("Date value '%s' for field '%s' is invalid. Valid formats include: 'yyyy/MM/dd HH:mm', 'yyyy-MM-dd HH:mm', 'yyyy/MM/dd', 'yyyy-MM-dd', or a period format e.g. '-5d', '4w 2d'.", o.text, field)
}

// lastOf is the second of the two moments that t may be in the night when the
// clock goes back: which one Jira takes is not written anywhere, and this is the
// one that a search for what is newer suffers from.
func lastOf(t time.Time) time.Time {
	if later := t.Add(time.Hour); later.Hour() == t.Hour() && later.Day() == t.Day() {
		return later
	}
	return t
}

// distance reads -5m, 2h, "-1d 2h": minutes, hours, days, weeks.
func distance(text string) (time.Duration, bool) {
	sign := time.Duration(1)
	if rest, minus := strings.CutPrefix(strings.TrimSpace(text), "-"); minus {
		sign, text = -1, rest
	}
	units := map[byte]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	var sum time.Duration
	words := strings.Fields(text)
	for _, w := range words {
		n, err := strconv.Atoi(w[:len(w)-1])
		unit, known := units[w[len(w)-1]]
		if err != nil || !known {
			return 0, false
		}
		sum += time.Duration(n) * unit
	}
	return sign * sum, len(words) > 0
}

// compileKey compares keys: equal or listed, or by their number.
func (s *Sim) compileKey(c *clause) (matcher, error) {
	var wanted []*issue
	for _, v := range c.values {
		is := s.find(v.text)
		if is == nil {
			return nil, fmt.Errorf("An issue with key '%s' does not exist for field '%s'.", v.text, c.field)
		}
		wanted = append(wanted, is)
	}
	listed := func(is *issue) bool {
		return slices.ContainsFunc(wanted, func(w *issue) bool { return w.id == is.id })
	}
	switch c.op {
	case "=", "in":
		return listed, nil
	case "!=", "not in":
		return func(is *issue) bool { return !listed(is) }, nil
	}
	if len(wanted) == 0 || strings.HasSuffix(c.op, "~") {
		return nil, notSupported(c)
	}
	w := wanted[0]
	return func(is *issue) bool {
		n := is.number - w.number
		return is.project.Key == w.project.Key && (n < 0 && c.op[0] == '<' || n > 0 && c.op[0] == '>' || n == 0 && len(c.op) == 2)
	}, nil
}

// compileValue compares a field that has a name, an option, labels, a text.
func (s *Sim) compileValue(c *clause, a asker) (matcher, error) {
	read, isText, err := s.reader(c)
	if err != nil {
		return nil, err
	}
	if c.op == "~" || c.op == "!~" {
		if !isText {
			return nil, notSupported(c)
		}
		return s.compileText(c, read)
	}
	if isText && len(c.values) > 0 || strings.ContainsAny(c.op, "<>") {
		return nil, notSupported(c)
	}
	wanted, err := s.literals(c, a)
	if err != nil {
		return nil, err
	}
	positive := c.op == "=" || c.op == "in"
	return func(is *issue) bool {
		have := read(is)
		if len(wanted) == 0 {
			return (len(have) == 0) == positive
		}
		hit := slices.ContainsFunc(have, func(h string) bool { return slices.Contains(wanted, strings.ToLower(h)) })
		return hit == positive && (positive || len(have) > 0) // != does not find empty fields
	}, nil
}

// literals are the values to look for, checked to exist where Jira does.
func (s *Sim) literals(c *clause, a asker) ([]string, error) {
	var list []string
	for _, v := range c.values {
		switch {
		case v.function && strings.EqualFold(v.text, "currentUser") && a.user != nil:
			list = append(list, strings.ToLower(a.user.Name))
		case v.function:
			return nil, fmt.Errorf("Unable to find JQL function '%s()'.", v.text)
		case !s.exists(strings.ToLower(c.field), v.text):
			return nil, fmt.Errorf("The value '%s' does not exist for the field '%s'.", v.text, c.field)
		default:
			list = append(list, strings.ToLower(v.text))
		}
	}
	return list, nil
}

func (s *Sim) exists(field, value string) bool {
	named := func(list []Named) bool {
		return slices.ContainsFunc(list, func(n Named) bool { return n.ID == value || strings.EqualFold(n.Name, value) })
	}
	switch field {
	case "project":
		return slices.ContainsFunc(s.fx.Projects, func(p Project) bool {
			return p.ID == value || strings.EqualFold(p.Key, value) || strings.EqualFold(p.Name, value)
		})
	case "status":
		return slices.ContainsFunc(s.fx.Statuses, func(st Status) bool { return st.ID == value || strings.EqualFold(st.Name, value) })
	case "priority":
		return named(s.fx.Priorities)
	case "issuetype", "type":
		return named(s.fx.IssueTypes)
	}
	return true
}

// reader finds what to compare of an issue, and whether it is a text, which
// only ~ can search.
func (s *Sim) reader(c *clause) (func(*issue) []string, bool, error) {
	switch strings.ToLower(c.field) {
	case "project":
		return func(is *issue) []string { return []string{is.project.Key, is.project.ID, is.project.Name} }, false, nil
	case "status":
		return func(is *issue) []string { return []string{is.status.ID, is.status.Name} }, false, nil
	case "statuscategory":
		return func(is *issue) []string { return []string{is.status.Category} }, false, nil
	case "issuetype", "type":
		return func(is *issue) []string { return []string{is.typ.ID, is.typ.Name} }, false, nil
	case "comment":
		return func(is *issue) []string { return is.commentTexts() }, true, nil
	}
	field := map[string]string{"component": "components"}[strings.ToLower(c.field)]
	d := s.fieldNamed(or(field, c.field))
	if d == nil {
		return nil, false, fmt.Errorf("Field '%s' does not exist or you do not have permission to view it.", c.field)
	}
	isText := d.kind == kindText || d.kind == kindString || d.kind == kindSummary
	return func(is *issue) []string { return words(is.values[d.ID]) }, isText, nil
}

// words is a value as JQL compares it: ids and names.
func words(v any) []string {
	switch v := v.(type) {
	case []Named:
		var list []string
		for _, n := range v {
			list = append(list, n.ID, n.Name)
		}
		return list
	case []string:
		return v
	case *User:
		return []string{v.Name, v.Key, v.DisplayName}
	}
	id, text := historyText(v)
	var list []string
	for _, p := range []*string{id, text} {
		if p != nil {
			list = append(list, *p)
		}
	}
	return list
}

func (is *issue) commentTexts() []string {
	var list []string
	for _, c := range is.comments {
		list = append(list, c.body)
	}
	return list
}

func (s *Sim) allTexts(is *issue) []string {
	list := is.commentTexts()
	for _, d := range s.fields {
		if text, isText := is.values[d.ID].(string); isText {
			list = append(list, text)
		}
	}
	return list
}

// compileText searches words: all of them, whole, in any order and case; a
// word may end in *; "\"in quotes\"" they must follow each other.
func (s *Sim) compileText(c *clause, read func(*issue) []string) (matcher, error) {
	if len(c.values) == 0 || c.op != "~" && c.op != "!~" {
		return nil, notSupported(c)
	}
	query := c.values[0].text
	phrase := len(query) > 1 && strings.HasPrefix(query, `"`) && strings.HasSuffix(query, `"`)
	wanted := cut(query, "*")
	return func(is *issue) bool {
		hit := slices.ContainsFunc(read(is), func(text string) bool { return contains(cut(text, ""), wanted, phrase) })
		return hit == (c.op == "~")
	}, nil
}

func cut(text, keep string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(keep, r)
	})
}

func contains(have, wanted []string, phrase bool) bool {
	fits := func(h, w string) bool {
		start, open := strings.CutSuffix(w, "*")
		return h == w || open && strings.HasPrefix(h, start)
	}
	if phrase {
		for i := 0; i+len(wanted) <= len(have); i++ {
			if slices.EqualFunc(have[i:i+len(wanted)], wanted, fits) {
				return true
			}
		}
		return false
	}
	for _, w := range wanted {
		if !slices.ContainsFunc(have, func(h string) bool { return fits(h, w) }) {
			return false
		}
	}
	return len(wanted) > 0
}

// arrange sorts by the query's ORDER BY; the newest first where it says
// nothing.
func (s *Sim) arrange(list []*issue, order []sorting) error {
	for _, o := range order {
		if comparison(o.field) == nil {
			return fmt.Errorf("jirasim: ORDER BY %s is not imitated (only updated, created, key, priority, status)", o.field)
		}
	}
	order = append(order, sorting{"id", true})
	slices.SortStableFunc(list, func(a, b *issue) int {
		for _, o := range order {
			n := comparison(o.field)(a, b)
			if o.desc {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return 0
	})
	return nil
}

func comparison(field string) func(a, b *issue) int {
	switch strings.ToLower(field) {
	case "updated", "updateddate":
		return func(a, b *issue) int { return a.updated.Compare(b.updated) }
	case "created", "createddate":
		return func(a, b *issue) int { return a.created.Compare(b.created) }
	case "key", "issuekey":
		return func(a, b *issue) int {
			return cmp.Or(cmp.Compare(a.project.Key, b.project.Key), cmp.Compare(a.number, b.number))
		}
	case "id":
		return func(a, b *issue) int { return cmp.Compare(numberOf(a.id), numberOf(b.id)) }
	case "status":
		return func(a, b *issue) int { return cmp.Compare(numberOf(a.status.ID), numberOf(b.status.ID)) }
	case "priority":
		return func(a, b *issue) int { return cmp.Compare(priorityOf(a), priorityOf(b)) }
	}
	return nil
}

func priorityOf(is *issue) int {
	p, _ := is.values["priority"].(Named)
	return numberOf(p.ID)
}
