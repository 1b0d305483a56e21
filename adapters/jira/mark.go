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
	Of  string `json:"of,omitempty"`  // what the message tells: the same after a restore, when its ID is another
	Own string `json:"own,omitempty"` // of an issue: the broker's own id
	Sum string `json:"sum,omitempty"` // of a comment: digest of its text, to tell it from a person's edit
}

func readMark(v gjson.Result) mark {
	return mark{ID: v.Get("id").String(), Of: v.Get("of").String(), Own: v.Get("own").String(), Sum: v.Get("sum").String()}
}

// tells says whether the mark was left for the message, or for the same fact by
// a message of before a restore.
func (k mark) tells(m *passerelle.Message) bool {
	return k.ID == m.ID || k.Of != "" && k.Of == m.Of
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
	Type  string `json:"type"`
	Extra mark   `json:"extraData"`
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

// ledger remembers the last so many of what this process learned, by id.
type ledger struct {
	size  int
	mu    sync.Mutex
	by    map[string]string
	order []string
}

func (l *ledger) note(id, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = map[string]string{}
	}
	if _, known := l.by[id]; !known {
		l.order = append(l.order, id)
	}
	l.by[id] = what
	if len(l.order) > l.size {
		delete(l.by, l.order[0])
		l.order = l.order[1:]
	}
}

// of tells what is known of an id; empty for nothing.
func (l *ledger) of(id string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.by[id]
}
