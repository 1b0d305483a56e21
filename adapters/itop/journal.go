package itop

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"passerelle"
)

// journal writes an entry and finds it again by a separate reading.
func (t *ITop) journal(ctx context.Context, m *passerelle.Message, body []byte, log string) (*passerelle.Receipt, error) {
	before, err := t.entries(ctx, m.Key, log)
	if err != nil {
		return nil, err
	}
	r, err := t.say(ctx, m, body, log)
	if err != nil {
		return nil, err
	}
	after, err := t.entries(ctx, m.Key, log)
	if err != nil { // written, but not yet seen
		return nil, unsure(true, "written, but not read back: %w", err)
	}
	sent := wordsOf(gjson.GetBytes(body, "fields."+log))
	fresh := newOf(before, after)
	e := t.written(fresh, sent)
	if e.name == "" {
		return nil, t.missing(fresh, log)
	}
	t.learn(e, sent)
	r.Names = []string{e.name}
	return r, nil
}

// say makes the write. Where the change of state that the words came with has
// happened already, the words still go.
func (t *ITop) say(ctx context.Context, m *passerelle.Message, body []byte, log string) (*passerelle.Receipt, error) {
	_, refused := t.call(ctx, call{body: body, write: true})
	if refused == nil {
		return &passerelle.Receipt{}, nil
	}
	if gjson.GetBytes(body, "operation").String() != "core/apply_stimulus" {
		return nil, refused
	}
	r, err := t.already(ctx, m, body, refused)
	if err != nil {
		return nil, err
	}
	_, err = t.call(ctx, call{body: wordsOnly(body, log), write: true})
	return r, err
}

// wordsOnly makes of a change of state the update that writes its journal entry.
func wordsOnly(body []byte, log string) []byte {
	fields := []byte(`{}`)
	for _, name := range []string{log, "last_update_by"} {
		if v := gjson.GetBytes(body, "fields."+name); v.Exists() {
			fields, _ = sjson.SetRawBytes(fields, name, []byte(v.Raw)) // a plain name always sets
		}
	}
	body, _ = sjson.SetBytes(body, "operation", "core/update")
	body, _ = sjson.DeleteBytes(body, "stimulus")
	body, _ = sjson.SetRawBytes(body, "fields", fields)
	return body
}

// wordsOf is the text of a journal entry in a message: a text, or add_item.
func wordsOf(v gjson.Result) string {
	if v.IsObject() {
		text, _ := flatObject("", v) // what is no entry has no words
		return text
	}
	return v.String()
}

// entry is one journal entry as it is stored.
type entry struct {
	name, text   string // its identity, and the text that it is made of
	html         string // as stored
	author, date string // a friendly name; the iTop's local time, without offset
	user         string // the account's id; 0: an author who has none
}

// entries reads a journal, oldest first, each entry with its name.
func (t *ITop) entries(ctx context.Context, key, log string) ([]entry, error) {
	f, err := t.ticket(ctx, key, log)
	if err != nil {
		return nil, err
	}
	return entriesOf(key, log, f.Get(log)), nil
}

func entriesOf(key, log string, v gjson.Result) []entry {
	var out []entry
	count := map[string]int{}
	for _, x := range v.Get("entries").Array() {
		e := entry{html: x.Get("message_html").String(), author: x.Get("user_login").String(), date: x.Get("date").String(), user: x.Get("user_id").String()}
		e.text = identity(e.html)
		count[e.text]++
		e.name = wordsName(key, log, e.text, count[e.text])
		out = append(out, e)
	}
	return out
}

// newOf are the entries that were not there before.
func newOf(before, after []entry) []entry {
	old := map[string]bool{}
	for _, e := range before {
		old[e.name] = true
	}
	return slices.DeleteFunc(slices.Clone(after), func(e entry) bool { return old[e.name] })
}

// written finds the entry that we wrote among the new ones. A text that iTop
// altered is ours only where nothing else is new.
func (t *ITop) written(fresh []entry, sent string) entry {
	if e := ours(fresh, sent); e.name != "" {
		return e
	}
	if len(fresh) == 1 && nearLetters(fresh[0].text, identity(sent)) && !t.byOthers(fresh) {
		return fresh[0]
	}
	return entry{}
}

// ours finds among new entries the one that has our words. An entry of somebody
// else's that came meanwhile is never taken for it: it would not be carried.
func ours(fresh []entry, sent string) entry {
	for _, alike := range []func(a, b string) bool{equal, sameLetters} {
		for _, e := range fresh {
			if alike(e.text, identity(sent)) {
				return e
			}
		}
	}
	return entry{}
}

// learn remembers our account's id at the iTop from an entry that is certainly
// ours.
func (t *ITop) learn(e entry, sent string) {
	if e.user != "" && e.user != "0" && equal(e.text, identity(sent)) && len(letters(sent)) >= minLetters {
		t.self.Store(e.user)
	}
}

// byOthers tells whether all the entries are certainly other accounts'.
func (t *ITop) byOthers(list []entry) bool {
	self, known := t.self.Load().(string)
	return !slices.ContainsFunc(list, func(e entry) bool { return !known || e.user == "" || e.user == self })
}

// missing says what it means that an entry was written and is not there: where
// nothing new can be ours it was lost, and is written again after a probe; else
// iTop may have changed it, and only a person can tell.
func (t *ITop) missing(fresh []entry, log string) error {
	if t.byOthers(fresh) {
		return unsure(true, "the %s entry was written but is not there: another write at the same moment took its place", log)
	}
	return &passerelle.Error{Op: "itop", Class: passerelle.Stuck,
		Err:  fmt.Errorf("the %s entry was written, but none of the new entries there has its words (the last is of %s)", log, fresh[len(fresh)-1].date),
		Hint: "look at the ticket's " + log + ": drop this entry if its text is there, even altered; retry it if not"}
}

// probeJournal finds what looks like ours. Entries that iTop may have altered
// count where no other fits and they are not certainly somebody else's.
func (t *ITop) probeJournal(ctx context.Context, m *passerelle.Message, body []byte, log string) (*passerelle.Receipt, error) {
	entries, err := t.entries(ctx, m.Key, log)
	if err != nil {
		return nil, err
	}
	text := identity(wordsOf(gjson.GetBytes(body, "fields."+log)))
	either := namesOf(entries, func(e entry) bool { return equal(e.text, text) || sameLetters(e.text, text) })
	if len(either) == 0 {
		either = namesOf(entries, func(e entry) bool { return nearLetters(e.text, text) && !t.byOthers([]entry{e}) })
	}
	if len(either) == 0 {
		return nil, passerelle.ErrAbsent
	}
	return &passerelle.Receipt{Note: "found in effect", Either: either}, nil
}

func namesOf(list []entry, keep func(entry) bool) []string {
	var out []string
	for _, e := range list {
		if keep(e) {
			out = append(out, e.name)
		}
	}
	return out
}

func equal(a, b string) bool { return a == b }

// sameLetters compares what no cleaning of HTML changes.
func sameLetters(a, b string) bool {
	l := letters(a)
	return l != "" && l == letters(b)
}

func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, s)
}

// minLetters is how many letters a text needs to be told from others by them.
const minLetters = 10

// nearLetters tells whether two texts of some length differ only by what one of
// them lacks, a fifth of it at most.
func nearLetters(a, b string) bool {
	short, long := []rune(letters(a)), []rune(letters(b))
	if len(short) > len(long) {
		short, long = long, short
	}
	return len(short) >= minLetters && 5*len(short) >= 4*len(long) && subsequence(short, long)
}

// subsequence tells whether long has the runes of short in their order.
func subsequence(short, long []rune) bool {
	for _, r := range long {
		if len(short) > 0 && r == short[0] {
			short = short[1:]
		}
	}
	return len(short) == 0
}
