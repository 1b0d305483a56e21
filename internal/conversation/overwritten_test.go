package conversation

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"passerelle"
	"passerelle/adapters/itop/itopsim"
	"passerelle/internal/fault"
	"passerelle/outbox"
)

// TestOverwrittenEntryIsWrittenAgain has a person's entry take the place of one of
// ours, with and without the webhook that tells of it: ours is there again in the
// end, once, and the person's travels.
func TestOverwrittenEntryIsWrittenAgain(t *testing.T) {
	for name, mute := range map[string]bool{"heard": false, "unheard": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, ticket, issue := overwriting(t, false)
			l.remark(issue, "question de Jira")
			l.until("the question", func() bool { return l.wrote(requester, "question de Jira") == 1 })
			l.rest()
			l.mute.Store(mute)
			l.tools[requester].ITop.Overwrite(itopsim.Race{Log: "public_log", By: "agent"})
			l.update(ticket, `"public_log": "<p>précision de SUMiT</p>"`)
			l.until("the question once more", func() bool { return l.wrote(requester, "question de Jira") == 2 })
			l.rest()
			for _, text := range []string{"question de Jira", "précision de SUMiT"} {
				if n := l.standsIn(ticket, "public_log", text); n != 1 {
					t.Errorf("« %s » stands %d times in SUMiT's journal, want once", text, n)
				}
			}
			if n := l.wrote(partner, "/comment\n", "précision de SUMiT"); n != 1 {
				t.Errorf("the person's entry was written %d times in Jira, want once", n)
			}
			if n := l.wrote(requester, "question de Jira"); n != 2 {
				t.Errorf("ours was written %d times in SUMiT, want twice", n)
			}
			if got := l.overwritten(); got != `passerelle_overwritten_total{contract="orleans-tours-gar",side="requester",whose="ours"} 1` {
				t.Errorf("the metrics say %q", got)
			}
		})
	}
}

// TestEntryLostTwiceIsThereOnce loses the entry that was written again, too.
func TestEntryLostTwiceIsThereOnce(t *testing.T) {
	t.Parallel()
	l, ticket, issue := overwriting(t, false)
	l.remark(issue, "question de Jira")
	l.until("the question", func() bool { return l.wrote(requester, "question de Jira") == 1 })
	l.rest()
	for i := range 2 {
		l.tools[requester].ITop.Overwrite(itopsim.Race{Log: "public_log", By: "agent"})
		l.update(ticket, fmt.Sprintf(`"public_log": "<p>précision %d</p>"`, i))
		l.until("the question once more", func() bool { return l.wrote(requester, "question de Jira") == i+2 })
		l.rest()
	}
	if n := l.standsIn(ticket, "public_log", "question de Jira"); n != 1 {
		t.Errorf("the question stands %d times in SUMiT's journal, want once", n)
	}
}

// TestLostEntryWaitsOnce has the lane to SUMiT stopped by a parked message while an
// entry of ours is lost: however often the ticket is read meanwhile, it is written
// again once.
func TestLostEntryWaitsOnce(t *testing.T) {
	t.Parallel()
	l, ticket, issue := overwriting(t, false)
	l.remark(issue, "question de Jira")
	l.until("the question", func() bool { return l.wrote(requester, "question de Jira") == 1 })
	l.rest()
	gate := l.tools[requester].ITop.Faults()
	l.must(gate.Add(fault.Rule{Match: "core/update", Kind: fault.Status, Code: http.StatusOK, Body: `{"code": 100, "message": "Error: locked"}`}))
	l.remark(issue, "seconde question")
	var parked *outbox.Entry
	l.until("a parked message", func() bool {
		for e, err := range l.store.Entries(l.ctx, outbox.Query{Status: []outbox.Status{outbox.Parked}}) {
			l.must(err)
			parked = e
		}
		return parked != nil
	})
	l.tools[requester].ITop.Overwrite(itopsim.Race{Log: "public_log", By: "agent"})
	l.update(ticket, `"public_log": "<p>précision de SUMiT</p>"`)
	l.rest()
	l.rest()
	gate.Clear()
	_, err := l.store.Retry(l.ctx, parked.ID, outbox.Decision{By: "test", Why: "the lock is gone"})
	l.must(err)
	l.until("both questions", func() bool {
		return l.standsIn(ticket, "public_log", "question de Jira") > 0 && l.standsIn(ticket, "public_log", "seconde question") > 0
	})
	l.rest()
	for _, text := range []string{"question de Jira", "seconde question", "précision de SUMiT"} {
		if n := l.standsIn(ticket, "public_log", text); n != 1 {
			t.Errorf("« %s » stands %d times in SUMiT's journal, want once:\n%s", text, n, l.stories())
		}
	}
}

// TestOverwrittenEntryOfAPersonIsNamed has one of our entries take the place of a
// person's, which only its author can write again: where our account may read
// iTop's history, the ticket's story names author, journal and time, once. Where
// it does not, nothing is claimed.
func TestOverwrittenEntryOfAPersonIsNamed(t *testing.T) {
	for name, history := range map[string]bool{"history": true, "no history": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, ticket, issue := overwriting(t, history)
			l.mute.Store(true)
			l.tools[requester].ITop.Overwrite(itopsim.Race{Log: "public_log", By: "gateway"})
			l.update(ticket, `"public_log": "<p>perdue à jamais</p>"`)
			at := l.does(requester, `{"operation": "core/get", "class": "UserRequest", "key": `+ticket+`, "output_fields": "public_log"}`).Get("objects.@values.0.fields.public_log.entries.@reverse.0.date").String()
			l.remark(issue, "question de Jira")
			l.until("the question", func() bool { return l.standsIn(ticket, "public_log", "question de Jira") == 1 })
			l.rest()
			l.rest()
			if n := l.standsIn(ticket, "public_log", "perdue à jamais"); n != 0 {
				t.Fatalf("the person's entry stands %d times in the journal: it was not lost", n)
			}
			var told []*outbox.Entry
			for e, err := range l.store.Entries(l.ctx, outbox.Query{Link: l.link(ticket).ID}) {
				l.must(err)
				if strings.Contains(e.Note, "overwritten") {
					told = append(told, e)
				}
			}
			want, metric := 0, ""
			if history {
				want, metric = 1, `passerelle_overwritten_total{contract="orleans-tours-gar",side="requester",whose="person"} 1`
			}
			if len(told) != want {
				t.Fatalf("the story tells of %d lost entries, want %d:\n%s", len(told), want, l.stories())
			}
			if got := l.overwritten(); got != metric {
				t.Errorf("the metrics say %q, want %q", got, metric)
			}
			for _, e := range told {
				for _, word := range []string{"Agent DRANÉ", "public_log", at} {
					if at == "" || !strings.Contains(e.Note, word) {
						t.Errorf("the story says %q, and nothing of %q", e.Note, word)
					}
				}
			}
		})
	}
}

// overwriting is an escalated ticket with an entry of each side, at rest.
func overwriting(t *testing.T, history bool) (l *lookout, ticket, issue string) {
	l = newLookout(t, orleans, func(l *lookout) {
		l.stage.Requester.Settings = map[string]any{"history": history}
	})
	ticket = l.ticket()
	l.hands(ticket)
	l.must(l.settle())
	l.update(ticket, `"public_log": "<p>une entrée qui reste</p>"`)
	l.rest()
	l.forget()
	return l, ticket, l.link(ticket).Partner.Key
}

// standsIn counts a text in a journal of SUMiT's.
func (l *lookout) standsIn(ticket, log, text string) int {
	l.t.Helper()
	ans, err := l.tools[passerelle.Requester].Read(l.ctx, `{"operation": "core/get", "class": "UserRequest", "key": `+ticket+`, "output_fields": "`+log+`"}`)
	l.must(err)
	n := 0
	for _, e := range ans.Get("objects.@values.0.fields." + log + ".entries.#.message").Array() {
		n += strings.Count(e.String(), text)
	}
	return n
}

// overwritten are the lines of the metric of lost entries.
func (l *lookout) overwritten() string {
	w := httptest.NewRecorder()
	l.admin.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var lines []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "passerelle_overwritten_total{") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}
