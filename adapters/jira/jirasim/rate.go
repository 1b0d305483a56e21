package jirasim

import (
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"
)

// limiter is a token bucket for each account.
type limiter struct {
	mu        sync.Mutex
	perSecond float64
	burst     int
	buckets   map[string]*bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func (l *limiter) set(perSecond float64, burst int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.perSecond, l.burst, l.buckets = perSecond, max(burst, 1), map[string]*bucket{}
}

// take spends one token of user, or refuses. It tells the state in head, as
// Data Center does.
func (l *limiter) take(user string, now time.Time, head http.Header) *answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.perSecond <= 0 {
		return nil
	}
	b := l.buckets[user]
	if b == nil {
		b = &bucket{left: float64(l.burst), at: now}
		l.buckets[user] = b
	}
	b.left = min(float64(l.burst), b.left+now.Sub(b.at).Seconds()*l.perSecond)
	b.at = now
	head.Set("X-RateLimit-Limit", fmt.Sprint(l.burst))
	head.Set("X-RateLimit-FillRate", fmt.Sprint(l.perSecond))
	head.Set("X-RateLimit-Interval-Seconds", "1")
	head.Set("X-RateLimit-Remaining", fmt.Sprint(int(max(b.left-1, 0))))
	if b.left >= 1 {
		b.left--
		return nil
	}
	wait := max(1, int(math.Ceil((1-b.left)/l.perSecond)))
	return ref(page(http.StatusTooManyRequests, "Rate limit exceeded.").with("Retry-After", fmt.Sprint(wait)))
}
