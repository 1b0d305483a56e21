package jira

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
)

// step is one change of status in an issue's history.
type step struct {
	id      string
	at      time.Time
	author  string
	account string
	ours    bool
	mark    mark // of the message that made it, where Jira keeps our mark
	from    string
	to      string
	toID    string
}

// steps finds the changes of status among all that an issue's history holds,
// oldest first. Data Center gives the history whole, Cloud the newest part.
func (j *Jira) steps(ctx context.Context, op, ticket string, issue gjson.Result) ([]step, error) {
	me, err := j.whoami(ctx)
	if err != nil {
		return nil, err
	}
	log := issue.Get("changelog")
	list := log.Get("histories").Array()
	if j.cfg.Cloud && log.Get("total").Int() > int64(len(list)) {
		if list, err = j.wholeHistory(ctx, op, ticket, issue.Get("id").String()); err != nil {
			return nil, err
		}
	}
	var steps []step
	for _, h := range list {
		if s, found := statusStep(h, issue.Get("names.status").String()); found {
			s.ours = me.is(h.Get("author"))
			steps = append(steps, s)
		}
	}
	sortBy(steps, func(s step) order { return order{at: s.at, id: number(s.id)} })
	return steps, nil
}

// wholeHistory pages through Cloud's changelog.
func (j *Jira) wholeHistory(ctx context.Context, op, ticket, id string) ([]gjson.Result, error) {
	var list []gjson.Result
	for p := (paging{}); ; {
		c := call{op: op, ticket: ticket, method: http.MethodGet, path: issuePath(id, "changelog"), query: url.Values{
			"startAt": {strconv.Itoa(len(list))}, "maxResults": {"100"},
		}}
		a, err := j.do(ctx, c)
		if err == nil {
			err = p.end(c, a, len(list))
		}
		if err != nil {
			return nil, err
		}
		page := a.json.Get("values").Array()
		list = append(list, page...)
		if len(page) == 0 || a.json.Get("isLast").Bool() || int64(len(list)) >= a.json.Get("total").Int() {
			return list, nil
		}
	}
}

// statusStep reads a history entry that changes the status. Only Cloud gives
// the field's id; its name may be translated.
func statusStep(h gjson.Result, translated string) (step, bool) {
	for _, i := range h.Get("items").Array() {
		name := i.Get("field").String()
		system := i.Get("fieldtype").String() != "custom"
		if i.Get("fieldId").String() != "status" && !(system && (name == "status" || name != "" && name == translated)) {
			continue
		}
		return step{
			id: h.Get("id").String(), at: moment(h.Get("created").String()), author: h.Get("author.displayName").String(), account: accountOf(h.Get("author")),
			mark: markOf(h.Get("historyMetadata")),
			from: i.Get("fromString").String(), to: i.Get("toString").String(), toID: i.Get("to").String(),
		}, true
	}
	return step{}, false
}

func markOf(metadata gjson.Result) mark {
	if metadata.Get("type").String() != markKey {
		return mark{}
	}
	return readMark(metadata.Get("extraData"))
}

// stepEvent tells of a change of status. It carries the issue's scalars as they
// are now: for any change but the newest they may have moved on since.
func (j *Jira) stepEvent(of *passerelle.Snapshot, s step) *passerelle.Event {
	e := j.event(of.Ref.Key, s.at, s.author, s.account)
	maps.Copy(e.Fields, of.Fields)
	e.Fields["author"] = s.author
	e.Fields["status"], e.Fields["status_id"], e.Fields["from_status"] = s.to, s.toID, s.from
	e.Names = []string{historyName(of.Ref.Key, s.id)}
	e.Signal = s.to
	e.Mark = j.byUs(of, s.mark.ID, s.ours)
	return e
}
