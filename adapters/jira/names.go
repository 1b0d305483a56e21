package jira

import (
	"strings"
	"time"
)

// The names of what happens to an issue. I is the issue's numeric id, which
// survives a move to another project. The same fact has the same name at every
// reading, whatever webhook led to it.
//
//	I/comment/C/public       a comment that the requester may read
//	I/comment/C/internal     a comment between agents
//	I/comment/C/public@T     the same after an edit; T is Jira's "updated", in UTC
//	I/comment/C/internal@T
//	I/history/H              a change of status
//	I/attachment/A           a file
//
// So an internal comment that turns public is a new fact, and travels then; so
// is every edit. A reading tells of each comment once, as it stands: an edited
// comment has its @T name only, so that one that was written and edited between
// two readings does not travel twice.

func commentName(issue, comment string, public bool) string {
	if public {
		return issue + "/comment/" + comment + "/public"
	}
	return issue + "/comment/" + comment + "/internal"
}

func editName(name string, updated time.Time) string {
	return name + "@" + updated.UTC().Format("2006-01-02T15:04:05.000Z")
}

func historyName(issue, history string) string { return issue + "/history/" + history }

func fileName(issue, attachment string) string { return issue + "/attachment/" + attachment }

// dateTime is how Jira writes a moment: not quite RFC 3339.
const dateTime = "2006-01-02T15:04:05.000-0700"

// moment reads a date of Jira's; one that cannot be read is the zero time.
func moment(text string) time.Time {
	for _, layout := range []string{dateTime, time.RFC3339Nano} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// numeric tells an id from a key.
func numeric(s string) bool {
	return s != "" && len(s) <= 18 && strings.Trim(s, "0123456789") == ""
}

// isKey tells whether s looks like GSN-4711.
func isKey(s string) bool {
	project, number, found := strings.Cut(s, "-")
	if !found || !numeric(number) || project == "" || len(s) > 255 {
		return false
	}
	return strings.Trim(project, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == ""
}
