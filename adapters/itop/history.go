package itop

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
)

// What iTop notes of each write to a journal.
const (
	historyClass  = "CMDBChangeOpSetAttributeCaseLog"
	historyFields = "date,userinfo,user_id,attcode,lastentry"
)

// raceWindow is how far apart the ends of two writes at most are that began from
// the same journal. An index that comes back later is no loss: somebody wrote
// the whole journal anew ("items").
const raceWindow = 2 * time.Minute

// logged is one write to a journal. The entries of the ticket's creation have
// none.
type logged struct {
	id   string
	at   int // its entry's place in the journal
	date string
	user string // the account's id
	who  string // the name of who wrote; by REST, the request's comment
}

// overwritten finds in iTop's history the entries that another one took the
// place of: of two operations at one place, the earlier was lost.
func (t *ITop) overwritten(ctx context.Context, key string, ticket gjson.Result) ([]passerelle.Overwritten, error) {
	if !t.cfg.History {
		return nil, nil
	}
	ans, err := t.call(ctx, call{body: query(historyClass, "SELECT "+historyClass+" WHERE objclass = "+oqlString(t.cfg.Class)+" AND objkey = "+key, historyFields)})
	if err != nil && ans.Get("code").Int() == codeUnauthorised {
		// The ticket was read a moment ago: the account is fine, but for this.
		return nil, &passerelle.Error{Op: "itop", Class: passerelle.Stuck, Ticket: key, Err: errNoHistory, Hint: historyHint}
	}
	if err != nil {
		return nil, err
	}
	ops := map[string][]logged{} // by journal
	for _, o := range objects(ans) {
		one, err := t.logged(o)
		if err != nil {
			return nil, err
		}
		log := o.Get("fields.attcode").String()
		ops[log] = append(ops[log], one)
	}
	names := authors(key, ticket)
	var out []passerelle.Overwritten
	for _, log := range logs {
		for _, o := range lostOf(ops[log]) {
			lost := passerelle.Overwritten{Name: key + "/lost/" + o.id, Log: log, Author: o.who, Account: o.user, At: o.date}
			if name := names[o.user]; name != "" {
				lost.Author = name
			}
			out = append(out, lost)
		}
	}
	return out, nil
}

func (t *ITop) logged(o gjson.Result) (logged, error) {
	f := o.Get("fields")
	at, err := strconv.Atoi(f.Get("lastentry").String())
	one := logged{id: o.Get("key").String(), at: at, date: f.Get("date").String(), user: account(f.Get("user_id").String()), who: f.Get("userinfo").String()}
	if err != nil || at < 0 || numeric(one.id) != nil {
		return one, unsure(false, "the answer is not iTop's: operation %q on a journal", t.quote(one.id, 80))
	}
	return one, nil
}

// authors are the accounts that have entries in a ticket's journals, as the
// journals call them.
func authors(key string, ticket gjson.Result) map[string]string {
	names := map[string]string{}
	for _, log := range logs {
		for _, e := range entriesOf(key, log, ticket.Get(log)) {
			if account(e.user) != "" {
				names[e.user] = e.author
			}
		}
	}
	return names
}

var errNoHistory = fmt.Errorf("the account may not read the history (%s), though history: true", historyClass)

const historyHint = "iTop's administrator: give the account a profile that may read CMDBChange and CMDBChangeOp; or set history: false"

// lostOf are the operations on one journal whose entries were overwritten, the
// earliest first. A write that began before others had ended takes the place of
// all that came since.
func lostOf(ops []logged) []logged {
	slices.SortFunc(ops, func(a, b logged) int { return byNumber(a.id, b.id) })
	var standing, lost []logged
	for _, o := range ops {
		for n := len(standing); n > 0 && standing[n-1].at >= o.at; n-- {
			if last := standing[n-1]; near(last.date, o.date) {
				lost = append(lost, last)
			}
			standing = standing[:n-1]
		}
		standing = append(standing, o)
	}
	slices.SortFunc(lost, func(a, b logged) int { return byNumber(a.id, b.id) })
	return lost
}

// near tells whether two writes, one after the other, may have overlapped. A
// clock that went back between them, and dates that cannot be read, deny nothing.
func near(a, b string) bool {
	from, known := civil(a)
	to, also := civil(b)
	return !known || !also || to.Sub(from) <= raceWindow
}
