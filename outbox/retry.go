package outbox

import (
	"math/rand/v2"
	"time"
)

// Backoff says how long to wait between the tries of one message.
type Backoff struct {
	First time.Duration // the longest wait after the first try; zero: a second
	Max   time.Duration // the longest wait of all; zero: five minutes
	Age   time.Duration // a temporary failure parks a message older than this; zero: never
}

// Delay is the wait after the given number of failed tries, 1 and more. Its
// upper bound doubles with each try until Max; the wait lies anywhere below it,
// so that what failed together does not come back together, but never below
// half of First.
func (b Backoff) Delay(attempt int) time.Duration {
	first, most := b.bounds()
	high := first
	for i := 1; i < attempt && high < most; i++ {
		high += min(high, most-high)
	}
	low := (first + 1) / 2
	return low + rand.N(high-low+1)
}

// TooOld tells whether a message that waits since the given time has reached
// Age.
func (b Backoff) TooOld(since, now time.Time) bool {
	return b.Age > 0 && now.Sub(since) >= b.Age
}

func (b Backoff) bounds() (first, most time.Duration) {
	first, most = b.First, b.Max
	if first <= 0 {
		first = time.Second
	}
	if most <= 0 {
		most = 5 * time.Minute
	}
	return min(first, most), most
}
