package jira

import (
	"context"
	"net/http"
	"strings"
	"unicode/utf16"

	"passerelle"
	"passerelle/internal/richtext"
)

// notify makes accounts watchers of the issue and gives it labels (R25). Neither
// takes effect twice.
func (j *Jira) notify(ctx context.Context, m *passerelle.Message) (*passerelle.Receipt, error) {
	for _, who := range m.Watchers {
		_, err := j.do(ctx, call{op: "jira: add watcher « " + who + " »", ticket: ticket(m), method: http.MethodPost, path: issuePath(m.Key, "watchers"), body: who, writes: true})
		if err != nil {
			return nil, err
		}
	}
	if len(m.Labels) > 0 {
		var add []map[string]string
		for _, l := range m.Labels {
			add = append(add, map[string]string{"add": l})
		}
		_, err := j.do(ctx, call{op: "jira: add labels", ticket: ticket(m), method: http.MethodPut, path: issuePath(m.Key),
			body: map[string]any{"update": map[string]any{"labels": add}}, writes: true})
		if err != nil {
			return nil, err
		}
	}
	return &passerelle.Receipt{Note: "told " + strings.Join(append(m.Watchers, m.Labels...), ", ")}, nil
}

// calling puts the accounts that a comment calls before its text.
func (j *Jira) calling(m *passerelle.Message, text string) string {
	var b strings.Builder
	for _, who := range m.Mentions {
		if j.cfg.Cloud {
			who = "accountid:" + who
		}
		b.WriteString("[~" + who + "] ")
	}
	return b.String() + text
}

// reserve is room for what the adapter itself may put before a text.
const reserve = 500

// Fits tells whether an HTML text, as wiki markup, is within what Jira takes in
// one text (jira.text.field.character.limit).
func (j *Jira) Fits(text string) (limit int, ok bool) {
	limit = j.cfg.TextLimit
	if 2*len(text)+reserve <= limit { // escaping doubles a text at most
		return limit, true
	}
	if len(text) > markup*limit { // converting it would cost much memory
		return limit, false
	}
	n := reserve
	for _, r := range richtext.Wiki(text) {
		n += utf16.RuneLen(r)
	}
	return limit, n <= limit
}

// markup is how many times its limit a text may have in HTML: one with more tags
// than that around its words counts as too long.
const markup = 32
