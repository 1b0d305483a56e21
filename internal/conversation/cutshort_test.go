package conversation

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
)

// TestSweepThatFailsGoesOnWhereItWas has SUMiT answer 500 at the second of three
// batches, for as long as it is said to: the sweeps go on after the first, which
// is not asked again, also those of a gateway that has just begun on the same
// store. Nothing is lost.
func TestSweepThatFailsGoesOnWhereItWas(t *testing.T) {
	for name, restart := range map[string]bool{"the same gateway": false, "another gateway": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, tickets := three(t)
			before := l.kept(requester)
			l.forget()
			second := "batch " + strings.Join(tickets[2:4], ",")
			l.asked[requester].spoils(func(what string) int {
				if what == second {
					return http.StatusInternalServerError
				}
				return 0
			})
			l.until("a failure", func() bool { return strings.Contains(l.logged.String(), "goes on where it was") })
			for i, ticket := range tickets {
				l.update(ticket, fmt.Sprintf(`"public_log": "<p>précision %d fin</p>"`, i))
			}
			if restart {
				l.again()
			}
			l.asked[requester].take()
			tried := len(strings.Split(l.logged.String(), "goes on where it was"))
			l.until("more failures", func() bool { return len(strings.Split(l.logged.String(), "goes on where it was")) >= tried+5 })
			list := l.asked[requester].take()
			for _, a := range list {
				if ofSweep(a.what) && a.what != second {
					t.Errorf("while the second batch fails, the sweeps ask %q", a.what)
				}
			}
			if n := count(list, "batch"); n < 4 {
				t.Errorf("it was asked %d times", n)
			}
			if now := l.kept(requester); now.Get("cursor").String() != before.Get("cursor").String() || now.Get("after").String() != l.link(tickets[1]).ID {
				t.Errorf("the store keeps %s, and kept %s when the last sweep had come to its end", now, before)
			}
			l.asked[requester].spoils(nil)
			l.all(tickets)
			l.asked[requester].take()
			l.swept(1)
			for i := 0; i < 6; i += 2 {
				if batch := "batch " + strings.Join(tickets[i:i+2], ","); !slices.ContainsFunc(l.asked[requester].seen(), func(a ask) bool { return a.what == batch }) {
					t.Errorf("after the failure, no sweep asks for %s", batch)
				}
			}
			if now := l.kept(requester); now.Get("cursor").String() < before.Get("cursor").String() {
				t.Errorf("the cursor went back: %s, and was %s", now, before)
			}
		})
	}
}

// TestSweepOfJiraThatFailsLosesNothing has Jira's search fail for a while, over a
// restart of the gateway.
func TestSweepOfJiraThatFailsLosesNothing(t *testing.T) {
	t.Parallel()
	l, tickets := three(t)
	before := l.kept(partner)
	l.asked[partner].spoils(func(what string) int {
		if what == "search" {
			return http.StatusInternalServerError
		}
		return 0
	})
	failures := func() int { return len(strings.Split(l.logged.String(), "goes on where it was")) }
	l.until("failures", func() bool { return failures() > 3 })
	l.read()
	for i, ticket := range tickets {
		l.remark(l.link(ticket).Partner.Key, fmt.Sprintf("question %d fin", i))
	}
	tried := failures()
	l.until("more failures", func() bool { return failures() > tried+3 })
	l.again()
	tried = failures()
	l.until("failures of the next gateway", func() bool { return failures() > tried+3 })
	if now := l.kept(partner); now.Raw != before.Raw {
		t.Errorf("the store keeps %s, and kept %s before it failed", now, before)
	}
	if n := l.wrote(requester, "question"); n != 0 {
		t.Fatalf("%d questions came over though Jira answered nothing", n)
	}
	l.asked[partner].spoils(nil)
	l.until("all questions", func() bool { return l.wrote(requester, "question") >= len(tickets) })
	l.rest()
	for i := range tickets {
		if n := l.wrote(requester, fmt.Sprintf("question %d fin", i)); n != 1 {
			t.Errorf("question %d was written %d times in SUMiT, want once", i, n)
		}
	}
}

// TestSweepCutShortForHours begins on a store whose last sweep ended between two
// batches, three hours ago. What changed since in the batch that had been asked is
// found too, though later changes are found before it.
func TestSweepCutShortForHours(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	f := &resting{n: 6}
	f.lookout = newLookout(t, orleans, func(l *lookout) {
		l.sweep.Batch, l.sweep.Pause = 2, 0
		l.mute.Store(true)
		f.lookout = l
		f.at = func(i int) time.Time {
			switch i {
			case 0: // just after the sweep ended
				return now.Add(-2 * time.Hour)
			case 5:
				return now
			}
			return now.Add(-4 * time.Hour)
		}
		f.says = map[int]string{0: "précision d'il y a deux heures", 5: "précision de maintenant"}
		f.fill()
		at := func(d time.Duration) string { return f.local(now.Add(d)) }
		l.must(l.store.Keep(l.ctx, "sweep/"+l.contract.Name+"/requester", fmt.Sprintf(`{"cursor":"%s","next":"%s","after":"2"}`, at(-4*time.Hour), at(-3*time.Hour))))
	})
	f.until("the entry of now", func() bool { return f.wrote(partner, "/comment\n", "précision de maintenant") == 1 })
	f.rest()
	if n := f.wrote(partner, "/comment\n", "précision d'il y a deux heures"); n != 1 {
		t.Errorf("what was written while the sweep was cut short came over %d times, want once; the store keeps %s", n, f.kept(requester))
	}
}

// three is a gateway that asks for six pairs in three batches, and hears nothing.
func three(t *testing.T) (l *lookout, tickets []string) {
	l = newLookout(t, orleans, func(l *lookout) { l.sweep.Batch, l.sweep.Pause = 2, 0 })
	for range 6 {
		ticket := l.ticket()
		l.hands(ticket)
		l.must(l.settle())
		tickets = append(tickets, ticket)
	}
	l.rest()
	l.forget()
	l.mute.Store(true)
	return l, tickets
}

// all waits until the entry of each ticket came over, and checks that it did so
// once.
func (l *lookout) all(tickets []string) {
	l.t.Helper()
	l.until("all entries", func() bool { return l.wrote(partner, "/comment\n", "précision") >= len(tickets) })
	l.rest()
	for i := range tickets {
		if n := l.wrote(partner, "/comment\n", fmt.Sprintf("précision %d fin", i)); n != 1 {
			l.t.Errorf("entry %d was written %d times in Jira, want once", i, n)
		}
	}
}

// kept is what the store keeps of the sweeps of a tool.
func (l *lookout) kept(side passerelle.Side) gjson.Result {
	l.t.Helper()
	text, err := l.store.Kept(l.ctx, "sweep/"+l.contract.Name+"/"+string(side))
	l.must(err)
	return gjson.Parse(text)
}

// seen returns what was asked, and leaves it.
func (a *asked) seen() []ask {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.list)
}
