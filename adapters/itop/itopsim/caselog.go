package itopsim

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// assignLog adds to a case log, or replaces it where the client sends items.
func (w *write) assignLog(draft *record, a *attr, v any) error {
	entries := slices.Clone(draft.log(a.name))
	switch v := v.(type) {
	case string:
		if v != "" {
			entries = append(entries, w.entry(v, false))
		}
		draft.set(a.name, entries)
		return nil
	case object:
		if item, ok := v.get("add_item").(object); ok {
			e, err := w.item(item)
			draft.set(a.name, append(entries, e))
			return inAttr(a, err)
		}
		if items, ok := v.get("items").(list); ok {
			return w.replaceLog(draft, a, items)
		}
	}
	return internal("%s: Missing 'items' elements", a.name)
}

func (w *write) replaceLog(draft *record, a *attr, items list) error {
	var entries []entry
	for _, item := range items {
		o, _ := item.(object)
		e, err := w.item(o)
		if err != nil {
			return inAttr(a, err)
		}
		entries = append(entries, e)
	}
	draft.set(a.name, entries)
	return nil
}

// entry is a new entry by the account that writes.
func (w *write) entry(message string, plain bool) entry {
	e := entry{date: w.now, login: w.account.Name, userID: strconv.Itoa(w.account.ID)}
	if plain {
		e.text, e.html = message, textToHTML(message)
		return e
	}
	if e.html = cleanHTML(message); e.html == "" {
		e.html = emptyDocument
	}
	e.text = htmlToText(e.html)
	return e
}

// item reads one entry given as an object. Only user_id 0, given by an
// administrator, keeps another author's name.
func (w *write) item(o object) (entry, error) {
	message, ok := o.get("message").(string)
	if !ok {
		return entry{}, internal("Missing mandatory entry: 'message'")
	}
	e := w.entry(message, o.get("format") == "text")
	if date, ok := o.get("date").(string); ok {
		e.date = w.sim.local(date)
	}
	if o.get("user_id") == nil {
		return e, nil
	}
	if !w.account.has(ProfileAdmin) {
		return e, thrown(codeUnauthorized, "Only administrators can set the user id")
	}
	id, _ := number(o.get("user_id"))
	if id == 0 {
		e.userID, e.login = 0, scalar(o.get("user_login"))
		return e, nil
	}
	author := w.sim.accountByID(id)
	if author == nil {
		return e, internal("user_id: Invalid object User::%d", id)
	}
	e.userID, e.login = strconv.Itoa(id), author.Name
	return e, nil
}

// local turns a date with an offset into PHP's local time.
func (s *Sim) local(date string) string {
	if t, err := time.Parse(time.RFC3339, date); err == nil {
		return t.In(s.zone).Format(stamp)
	}
	return date
}

// logText is a whole log as $this->public_log$ gives it: oldest first.
func logText(entries []entry) string {
	var b strings.Builder
	for _, e := range entries {
		b.WriteString("\n========== " + e.date + " : " + e.login + " (" + entryUser(e) + ") ============\n\n" + e.text)
	}
	return b.String()
}

func entryUser(e entry) string {
	if s, ok := e.userID.(string); ok {
		return s
	}
	return "0"
}

// logTable is a whole log as $this->html(public_log)$ gives it: newest first.
func logTable(entries []entry) string {
	if len(entries) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(`<table style="width:100%;table-layout:fixed"><tr><td>`)
	for i := len(entries) - 1; i >= 0; i-- {
		e := entries[i]
		b.WriteString(`<div class="caselog_header" style=""><span class="caselog_header_date">` + e.date +
			`</span> - <span class="caselog_header_user">` + e.login + `</span>:</div><div class="caselog_entry_html" style="">` + e.html + `</div>`)
	}
	b.WriteString(`</td></tr></table>`)
	return b.String()
}
