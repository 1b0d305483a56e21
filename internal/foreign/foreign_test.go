package foreign

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestShallow: nesting counts outside strings only, up to MaxDepth.
func TestShallow(t *testing.T) {
	for text, want := range map[string]bool{
		"":                                     true,
		`{"a":[1,{"b":"[[[{{{"}]}`:             true,
		`"\"` + strings.Repeat("[", 200) + `"`: true,
		strings.Repeat("[", MaxDepth):          true,
		strings.Repeat("[", MaxDepth+1):        false,
		strings.Repeat("[]", 1000):             true,
		strings.Repeat(`{"a":`, 1e6):           false,
	} {
		if got := Shallow([]byte(text)); got != want {
			t.Errorf("%.40q: %v", text, got)
		}
	}
}

// TestFew: values are counted, about.
func TestFew(t *testing.T) {
	for n, want := range map[int]bool{0: true, MaxValues: true, MaxValues + 1: false} {
		if got := Few([]byte("[1" + strings.Repeat(",1", n) + "]")); got != want {
			t.Errorf("%d: %v", n, got)
		}
	}
}

// TestRetryAfter: seconds or a date, nothing below zero nor above a day.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              0,
		"7":                             7 * time.Second,
		" 1.5 ":                         1500 * time.Millisecond,
		"-3":                            0,
		"1e300":                         24 * time.Hour,
		"NaN":                           0,
		"soon":                          0,
		"Sat, 21 Nov 2026 12:01:00 GMT": time.Minute,
		"Sat, 21 Nov 2026 11:00:00 GMT": 0,
		"Sat, 21 Nov 2036 11:00:00 GMT": 24 * time.Hour,
	} {
		if got := RetryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
