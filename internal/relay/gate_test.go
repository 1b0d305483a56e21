package relay

import (
	"testing"
	"testing/synctest"
	"time"

	"passerelle"
)

// TestGateSlip: a destination that took a message a moment ago may fail once; what
// fails again, or asks to be left alone, or refuses us, is in trouble.
func TestGateSlip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(Trouble{First: time.Second, Slip: 10 * time.Second})
		is := func(closed bool, when string) {
			t.Helper()
			if _, now := g.closed(); now != closed {
				t.Errorf("%s: closed is %v", when, now)
			}
		}
		g.down(passerelle.Down, 0)
		is(true, "it has never taken a message")
		for range 3 {
			g.up()
			g.down(passerelle.Down, 0)
			is(false, "it failed once")
		}
		g.down(passerelle.Down, 0)
		is(true, "it failed again")
		g.up()
		g.down(passerelle.Down, time.Minute)
		is(true, "it asks for a minute")
		g.up()
		g.down(passerelle.Denied, 0)
		is(true, "it refuses our account")
		g.up()
		time.Sleep(10 * time.Second)
		g.down(passerelle.Down, 0)
		is(true, "it has taken nothing for a while")
	})
}
