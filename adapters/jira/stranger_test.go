package jira_test

import (
	"errors"
	"testing"

	"passerelle"
	"passerelle/internal/fault"
)

// TestNumberWithoutMarkIsNotOurs: an issue that carries our number in the field,
// but no mark of ours, was made by somebody else. A lost create is not tied to
// it, nor made again behind a person's back; a reading does not take it for ours.
func TestNumberWithoutMarkIsNotOurs(t *testing.T) {
	b := newBench(t)
	other := b.agent("POST", "/rest/api/2/issue", map[string]any{"fields": map[string]any{
		"project": map[string]any{"key": "GSN1"}, "issuetype": map[string]any{"name": "[Sumit] Demande de support"},
		"summary": "made by another broker", "description": "x", "customfield_12005": ownID,
		"components": []any{map[string]any{"name": "Affectation"}}, "priority": map[string]any{"name": "Mineur"}, "reporter": map[string]any{"name": "Origine Orléans-Tours"}}})
	b.fault(fault.Rule{Match: "POST /rest/api/2/issue", Kind: fault.DropBefore, Times: 1})
	b.refuses(b.creation(), passerelle.Unsure)
	if r, err := b.probe(b.creation()); !errors.Is(err, passerelle.ErrUnknown) {
		t.Errorf("the probe says %+v, %v; want that nobody knows", r, err)
	}
	if own := b.read(other["id"].(string)).Own; own != "" {
		t.Errorf("the other's issue is taken for our ticket %s", own)
	}
}

// TestR16FormsOfAFileInAComment: each way in which an internal comment shows a
// file keeps it inside; a longer name is another file.
func TestR16FormsOfAFileInAComment(t *testing.T) {
	for form, private := range map[string]bool{
		"[^interne.log]": true, "[le journal|^interne.log]": true, "[^interne.log|title]": true, "!interne.log!": true, "!interne.log|thumbnail!": true,
		"voir interne.log": false, "[^interne.log.txt]": false, "!mon interne.log!": false,
	} {
		b := newBench(t)
		key := b.issue()
		b.attaches(key, "interne.log", "x")
		b.says(key, "voir "+form, true)
		for _, e := range b.read(key).Events {
			if e.Kind == passerelle.Attach && e.Private != private {
				t.Errorf("%s: private is %v", form, e.Private)
			}
		}
	}
}
