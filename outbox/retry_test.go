package outbox

import (
	"math"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	b := Backoff{First: time.Second, Max: 10 * time.Second, Age: time.Hour}
	for _, c := range []struct {
		attempt int
		high    time.Duration
	}{{-1, 1}, {0, 1}, {1, 1}, {2, 2}, {3, 4}, {4, 8}, {5, 10}, {1000, 10}} {
		high := c.high * time.Second
		var sum time.Duration
		for range 1000 {
			d := b.Delay(c.attempt)
			if d < time.Second/2 || d > high {
				t.Fatalf("attempt %d: %v is not within 500ms and %v", c.attempt, d, high)
			}
			sum += d
		}
		mean, want := sum/1000, (time.Second/2+high)/2
		if mean < want*8/10 || mean > want*12/10 {
			t.Errorf("attempt %d: on average %v, should be about %v", c.attempt, mean, want)
		}
	}
	for _, b := range []Backoff{{}, {First: math.MaxInt64}, {Max: 1}, {First: 1, Max: math.MaxInt64}} {
		for n := range 100 {
			if b.Delay(n) <= 0 {
				t.Fatalf("%+v: attempt %d waits %v", b, n, b.Delay(n))
			}
		}
	}
	now := time.Now()
	if b.TooOld(now, now.Add(time.Hour-1)) || !b.TooOld(now, now.Add(time.Hour)) || (Backoff{}).TooOld(time.Time{}, now) {
		t.Error("the age is wrong")
	}
}
