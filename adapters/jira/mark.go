package jira

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"

	"github.com/tidwall/gjson"

	"passerelle"
)

// markKey is the property under which an issue or a comment of ours carries its
// mark, and the type of our history metadata.
const markKey = "passerelle"

// mark is what we leave on a write.
type mark struct {
	ID  string `json:"id"`            // of the message
	Own string `json:"own,omitempty"` // of an issue: the broker's own id
	Sum string `json:"sum,omitempty"` // of a comment: digest of its text, to tell it from a person's edit
}

func readMark(v gjson.Result) mark {
	return mark{ID: v.Get("id").String(), Own: v.Get("own").String(), Sum: v.Get("sum").String()}
}

// digest is the same for texts that differ in blanks only, which Jira may
// change.
func digest(text string) string {
	sum := sha256.Sum256([]byte(strings.Join(strings.Fields(text), " ")))
	return hex.EncodeToString(sum[:16])
}

// property is a named JSON value on an issue or a comment.
type property struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

// historyMark is what a transition of ours leaves in the history, where Jira
// keeps it.
type historyMark struct {
	Type  string            `json:"type"`
	Extra map[string]string `json:"extraData"`
}

// byUs is the mark of a file or a change of status. Jira cannot mark a file, and
// may not keep our mark of a change: then the account tells that some message
// of ours made it, in the form of the ids that messages of this ticket have
// (contract/own id/…).
func (j *Jira) byUs(of *passerelle.Snapshot, mark string, ours bool) string {
	if mark == "" && ours {
		return j.cfg.Contract + "/" + of.Own + "/account:" + j.cfg.User
	}
	return mark
}

// ledger remembers which attachments are known to be the effect of which
// message: Jira cannot mark them. What it forgets, at a restart or beyond its
// size, only matters if the same file was sent twice and the second answer was
// lost.
type ledger struct {
	mu    sync.Mutex
	by    map[string]string // attachment id to message id
	order []string
}

const ledgerSize = 4096

func (l *ledger) note(attachment, message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = map[string]string{}
	}
	if _, known := l.by[attachment]; !known {
		l.order = append(l.order, attachment)
	}
	l.by[attachment] = message
	if len(l.order) > ledgerSize {
		delete(l.by, l.order[0])
		l.order = l.order[1:]
	}
}

// of tells whose effect the attachment is; empty if that is not known.
func (l *ledger) of(attachment string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.by[attachment]
}
