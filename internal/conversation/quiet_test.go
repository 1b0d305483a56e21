package conversation

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"passerelle/internal/trial"
	"passerelle/outbox"
)

// TestQuietHours: no sweep begins in them, also over midnight; outside, sweeps go
// on.
func TestQuietHours(t *testing.T) {
	now := time.Now()
	minute := now.Hour()*60 + now.Minute()
	at := func(d int) int { return (minute + d + 24*60) % (24 * 60) }
	for name, c := range map[string]struct {
		from, to int
		quiet    bool
	}{
		"in the midst of them": {at(-30), at(30), true},
		"all day but an hour":  {at(90), at(30), true},
		"before them":          {at(30), at(90), false},
		"after them":           {at(-90), at(-30), false},
		"none":                 {0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLookout(t, orleans, func(l *lookout) { l.sweep.QuietFrom, l.sweep.QuietTo = c.from, c.to })
			if !c.quiet {
				l.swept(2)
				return
			}
			time.Sleep(20 * l.sweep.Every)
			for _, side := range trial.Sides {
				if list := l.asked[side].take(); len(list) > 0 {
					t.Errorf("the %s's tool was asked %d times, first for %s", side, len(list), list[0].what)
				}
			}
		})
	}
}

// TestRefusedAccountIsNotSwept: a tool that answers 401 is asked once, and no more
// until somebody says that it is well.
func TestRefusedAccountIsNotSwept(t *testing.T) {
	for _, side := range trial.Sides {
		t.Run(string(side), func(t *testing.T) {
			t.Parallel()
			l := newLookout(t, orleans, nil)
			l.hands(l.ticket())
			l.rest()
			l.asked[side].take()
			refused := 0
			l.asked[side].spoils(func(what string) int {
				if !ofSweep(what) {
					return 0
				}
				refused++
				return http.StatusUnauthorized
			})
			l.until("a refusal", func() bool { return strings.Contains(l.logged.String(), "class=denied") })
			time.Sleep(40 * l.sweep.Every)
			l.asked[side].spoils(nil)
			if refused != 1 {
				t.Errorf("sweeps were refused %d times, want once", refused)
			}
			time.Sleep(40 * l.sweep.Every)
			if list := slices.DeleteFunc(l.asked[side].take(), func(a ask) bool { return !ofSweep(a.what) }); len(list) > 1 {
				t.Errorf("after the refusal sweeps asked %d times more: %v", len(list)-1, list[1:])
			}
			l.relay.Nudge(outbox.Dest{Contract: l.contract.Name, Side: side})
			l.swept(1)
		})
	}
}

// ofSweep tells whether only a sweep asks so.
func ofSweep(what string) bool {
	sort, _, _ := strings.Cut(what, " ")
	return slices.Contains([]string{"batch", "files", "others", "search"}, sort)
}

// TestToolThatIsDownIsNotSwept: while a delivery has found nobody there, sweeps
// wait for the next test of the water.
func TestToolThatIsDownIsNotSwept(t *testing.T) {
	t.Parallel()
	l := newLookout(t, orleans, nil)
	ticket := l.ticket()
	l.hands(ticket)
	l.rest()
	l.ears[requester].leave(true) // its writes find nobody, its readings do
	l.remark(l.link(ticket).Partner.Key, "question de Jira")
	l.until("a failed delivery", func() bool { return strings.Contains(l.logged.String(), "delivery waiting") })
	time.Sleep(5 * l.sweep.Every) // the sweep under way
	l.asked[requester].take()
	time.Sleep(20 * l.sweep.Every) // the first pause is half a second at least
	asked := slices.DeleteFunc(l.asked[requester].take(), func(a ask) bool { return !ofSweep(a.what) })
	if n := len(asked); n > 3 { // one may be under way
		t.Errorf("a tool that is down was asked %d times by sweeps", n)
	}
	l.must(l.is(requester, false))
	l.until("the question", func() bool { return l.wrote(requester, "question de Jira") == 1 })
	l.swept(1)
	l.rest()
	if n := l.wrote(requester, "question de Jira"); n != 1 {
		t.Errorf("the question was written %d times", n)
	}
}
