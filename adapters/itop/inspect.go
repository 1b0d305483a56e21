package itop

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"passerelle"
)

var _ passerelle.Inspector = (*ITop)(nil)

// inspection asks an iTop for what one contract needs, and keeps what it finds.
// It uses list_operations and core/get only.
type inspection struct {
	t     *ITop
	n     *passerelle.Needs
	found passerelle.Findings
	wants map[string]map[string][]string // class, attribute, the files that need it
}

// Inspect asks iTop whether it has what a contract needs. REST does not list
// classes, attributes, states or stimuli; but an unknown class or attribute, and
// a key to an object that does not exist, are refused when they are read
// (code 100), whatever the language of the message.
func (t *ITop) Inspect(ctx context.Context, n *passerelle.Needs) []passerelle.Finding {
	in := &inspection{t: t, n: n, wants: map[string]map[string][]string{}}
	if t.cfg.BaseURL == "" {
		in.found.Add(passerelle.Unsaid, "iTop", "no base_url is configured: nothing is sent there, and nothing can be asked", "gateway.yaml", "give base_url and an account")
		return in.found
	}
	for _, step := range []func(context.Context) error{in.operations, in.attributes, in.filters, in.teams, in.values, in.statuses, in.sweep} {
		if err := step(ctx); err != nil {
			in.found.Stopped("iTop", err)
			return in.found
		}
	}
	in.unknowable()
	return in.found
}

// ask makes a request; an answer of iTop's own, refusal or not, is no error.
func (in *inspection) ask(ctx context.Context, params map[string]any) (gjson.Result, int, error) {
	body, _ := json.Marshal(params) // plain data always encodes
	ans, err := in.t.call(ctx, call{body: body})
	if code := ans.Get("code"); err == nil || code.Exists() && params["operation"] == "core/get" {
		return ans, int(code.Int()), nil
	}
	return ans, 0, err
}

// read is core/get of one object at most.
func (in *inspection) read(ctx context.Context, class string, key any, fields string) (found, code int, err error) {
	ans, code, err := in.ask(ctx, map[string]any{"operation": "core/get", "class": class, "key": key, "output_fields": fields, "limit": "1", "page": "1"})
	return len(objects(ans)), code, err
}

// operations logs in, and looks for the operations that the contract uses.
func (in *inspection) operations(ctx context.Context) error {
	ans, _, err := in.ask(ctx, map[string]any{"operation": "list_operations"})
	if err != nil {
		return err
	}
	in.found.Met("iTop", "the account may use the REST services")
	for _, m := range in.n.Messages {
		offered := slices.ContainsFunc(ans.Get("operations").Array(), func(o gjson.Result) bool { return o.Get("verb").String() == m.Op })
		if offered {
			in.found.Met("operations", m.Op)
		} else {
			in.found.Add(passerelle.Missing, "operations", m.Op+" is not offered", m.File, "iTop's administrator: install the extension that adds it (the contract's annex describes it)")
		}
	}
	return nil
}

// ownReads are the attributes that this adapter reads of every ticket.
var ownReads = []string{"ref", "status", "last_update", "description", "public_log", "private_log"}

func (in *inspection) want(class, attribute, file string) {
	if in.wants[class] == nil {
		in.wants[class] = map[string][]string{}
	}
	if !slices.Contains(in.wants[class][attribute], file) {
		in.wants[class][attribute] = append(in.wants[class][attribute], file)
	}
}

func (in *inspection) classOf(m passerelle.MessageNeed) string {
	if m.Class != "" {
		return m.Class
	}
	return in.t.cfg.Class
}

// attributes looks for everything that is set or read.
func (in *inspection) attributes(ctx context.Context) error {
	for _, a := range ownReads {
		in.want(in.t.cfg.Class, a, "the gateway itself")
	}
	for _, a := range []string{"item_class", "item_id", "user_id"} {
		in.want("Attachment", a, "the gateway itself")
	}
	for _, a := range []string{"item_class", "item_id", "contents"} {
		in.want("InlineImage", a, "the gateway itself, for images in texts")
	}
	if mark := in.t.cfg.MarkField; mark != "" {
		in.want(in.t.cfg.Class, mark, "mark_field of gateway.yaml")
	}
	for _, m := range in.n.Messages {
		for _, f := range m.Fields {
			in.want(in.classOf(m), f.Code, m.File)
		}
		if m.Files {
			in.want("Attachment", "contents", m.File)
		}
	}
	for _, r := range in.n.Reads {
		for _, f := range r.Fields {
			in.want(r.Class, f, r.File)
		}
	}
	for _, class := range slices.Sorted(maps.Keys(in.wants)) {
		if err := in.class(ctx, class, in.wants[class]); err != nil {
			return err
		}
	}
	return nil
}

const noClass = "it does not exist"

// class asks for an object that cannot exist: iTop looks at the names first.
func (in *inspection) class(ctx context.Context, class string, wants map[string][]string) error {
	names := slices.Sorted(maps.Keys(wants))
	nothing := "SELECT " + class + " WHERE id = 0"
	_, code, err := in.read(ctx, class, nothing, "id")
	switch {
	case err != nil:
		return err
	case code == codeUnauthorised:
		in.found.Add(passerelle.Missing, "class "+class, "the account may not read it", wants[names[0]][0], "iTop's administrator: give the account's profile the right to read it")
		return nil
	case code != codeOK:
		in.found.Add(passerelle.Missing, "class "+class, noClass, wants[names[0]][0], "correct class in the contract and in gateway.yaml, or install what adds it")
		return nil
	}
	_, code, err = in.read(ctx, class, nothing, strings.Join(names, ","))
	for _, a := range names { // one by one if need be, to say which
		if err == nil && code != codeOK {
			var one int
			if _, one, err = in.read(ctx, class, nothing, a); err == nil && one != codeOK {
				in.found.Add(passerelle.Missing, "class "+class, "no attribute "+a, strings.Join(wants[a], ", "), "iTop's administrator: add it to the data model; or correct the code in the contract")
				continue
			}
		}
		in.found.Met("class "+class, a)
	}
	return err
}

// filters runs the queries that the administrator is told to put in triggers.
func (in *inspection) filters(ctx context.Context) error {
	for _, r := range in.n.Reads {
		if r.Filter == "" {
			continue
		}
		_, code, err := in.read(ctx, r.Class, r.Filter, "id")
		switch {
		case err != nil:
			return err
		case code == codeOK:
			in.found.Met("filters of the triggers", r.Filter)
		case code == codeUnauthorised: // told by class
		default:
			in.found.Add(passerelle.Missing, "filters of the triggers", "iTop refuses « "+r.Filter+" »", "from-"+string(in.n.Side)+"/triggers.csv", "iTop's administrator: name the attributes as this iTop does, here and in the trigger")
		}
	}
	return nil
}

// teams looks for those by whose names tickets are the partner's.
func (in *inspection) teams(ctx context.Context) error {
	for _, name := range in.n.Teams {
		found, code, err := in.read(ctx, "Team", "SELECT Team WHERE name = "+oqlString(name), "id")
		switch {
		case err != nil:
			return err
		case code != codeOK:
			in.found.Add(passerelle.Unsaid, "teams", "the account may not read teams", "", "look for « "+name+" » in iTop")
		case found == 0:
			in.found.Add(passerelle.Missing, "teams", "no team « "+name+" »", "from-"+string(in.n.Side)+"/triggers.csv", "iTop's administrator: create it; or correct the name there and in the triggers")
		default:
			in.found.Met("teams", "« "+name+" »")
		}
	}
	return nil
}

// values looks for the codes that the contract fixes.
func (in *inspection) values(ctx context.Context) error {
	for _, m := range in.n.Messages {
		for _, f := range m.Fields {
			for _, v := range f.Values {
				if err := in.value(ctx, in.classOf(m), m.File, f, v); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// enumCode is what an enumeration may hold, rather than a sentence.
var enumCode = regexp.MustCompile(`^[a-z0-9_]+$`)

// value asks for a ticket that has the value. Where it names another object,
// iTop looks for that object first, and refuses if there is none; what an
// enumeration may hold it tells by nothing but a ticket that has it.
func (in *inspection) value(ctx context.Context, class, file string, f passerelle.FieldNeed, v string) error {
	const subject = "codes"
	what := f.Code + " = « " + v + " »"
	var key any = "SELECT " + class + " WHERE " + f.Code + " = " + oqlString(v)
	switch {
	case f.Names && f.Member != "":
		key = map[string]any{f.Code: map[string]string{f.Member: v}}
	case f.Names:
		key = map[string]string{f.Code: v}
	case !enumCode.MatchString(v):
		return nil
	}
	found, answer, err := in.read(ctx, class, key, "id")
	switch {
	case err != nil:
		return err
	case answer == codeOK && (f.Names || found > 0):
		in.found.Met(subject, what)
	case f.Names && answer == codeInternal && !in.lacks(class, f.Code):
		in.found.Add(passerelle.Missing, subject, what+": iTop has no such object", file, "iTop's administrator: create it; or correct its id in values.csv: ids differ from one iTop to the next")
	case answer == codeOK:
		in.found.Add(passerelle.Unsaid, subject, what+": no ticket has it yet", file, "REST does not list what an enumeration may hold: look at the data model")
	}
	return nil
}

// lacks tells whether an attribute, or the class, was found missing.
func (in *inspection) lacks(class, attribute string) bool {
	return slices.ContainsFunc(in.found, func(f passerelle.Finding) bool {
		return f.Verdict == passerelle.Missing && f.Subject == "class "+class && (f.What == "no attribute "+attribute || f.What == noClass)
	})
}

// statuses looks for tickets that stand in them, or did.
func (in *inspection) statuses(ctx context.Context) error {
	const subject = "statuses"
	class := in.t.cfg.Class
	for _, s := range in.n.Statuses {
		seen := ""
		for _, w := range s.Words {
			for _, of := range []struct{ class, query string }{
				{class, "SELECT " + class + " WHERE status = " + oqlString(w)},
				{"CMDBChangeOpSetAttributeScalar", "SELECT CMDBChangeOpSetAttributeScalar WHERE objclass = " + oqlString(class) + " AND attcode = 'status' AND newvalue = " + oqlString(w)},
			} {
				found, _, err := in.read(ctx, of.class, of.query, "id")
				if err != nil {
					return err
				}
				if found > 0 {
					seen = w
				}
			}
		}
		if seen != "" {
			in.found.Met(subject, fmt.Sprintf("« %s » (%s)", seen, s.State))
			continue
		}
		in.found.Add(passerelle.Unsaid, subject, fmt.Sprintf("%s (%s)", alternatives(s.Words), s.State), "values.csv", "REST lists no states, and no ticket was ever seen there: compare values.csv with the codes of iTop's life cycle")
	}
	return nil
}

// sweep looks whether what finds the untold can be asked.
func (in *inspection) sweep(ctx context.Context) error {
	class, scope := in.t.cfg.Class, in.t.cfg.Scope
	if scope != "" {
		_, code, err := in.read(ctx, class, "SELECT "+class+" WHERE id IN ("+scope+")", "id,last_update")
		switch {
		case err != nil:
			return err
		case code == codeOK:
			in.found.Met("scope", scope)
		case code != codeUnauthorised: // told by class
			in.found.Add(passerelle.Missing, "scope", "iTop refuses « "+scope+" »", "the sweep's scope", "name classes and attributes as this iTop does, in gateway.yaml or in the trigger that it is taken from")
		}
	}
	if in.t.cfg.History {
		_, code, err := in.read(ctx, historyClass, "SELECT "+historyClass+" WHERE id = 0", historyFields)
		switch {
		case err != nil:
			return err
		case code == codeOK:
			in.found.Met("history", "readable")
		default:
			in.found.Add(passerelle.Missing, "history", "not readable, though history: true", "history of gateway.yaml", historyHint)
		}
	}
	return nil
}

func alternatives(words []string) string { return "« " + strings.Join(words, " » or « ") + " »" }

// unknowable says what no reading tells.
func (in *inspection) unknowable() {
	for _, m := range in.n.Messages {
		for _, move := range m.Moves {
			if m.Stimulus != "" {
				in.found.Add(passerelle.Unsaid, "stimuli", m.Stimulus+" from "+alternatives(move.From), m.File, "REST lists no stimuli, and tells one that is unknown from one that the state does not allow only by applying it: try each once by hand on a test ticket")
			}
		}
	}
	in.found.Add(passerelle.Unsaid, "iTop", "whether the account may write tickets and files", "", "REST tells it only by refusing: look at the account's profiles")
}
