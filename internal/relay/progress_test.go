package relay

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"passerelle"
)

// Liveness means progress: a worker that hangs in its tool, and entries that
// nobody takes, are seen.
func TestStuckIsSeen(t *testing.T) {
	var slow atomic.Pointer[chan bool]
	run(t, func(s *stage) {
		want := func(word string) {
			t.Helper()
			got := strings.Join(s.Stuck(t.Context()), "; ")
			if word == "" && got != "" || !strings.Contains(got, word) {
				t.Errorf("stuck: %q, want %q", got, word)
			}
		}
		s.must(createEvent())
		time.Sleep(time.Hour)
		want("")
		gate := make(chan bool)
		slow.Store(&gate)
		for i := range 9 { // one more than there are workers
			e := createEvent()
			e.Key = string(rune('A' + i))
			e.Claims, e.Fields["customer_id"], e.Fields["customer_ref"] = nil, e.Key, "R-"+e.Key
			s.must(e)
		}
		time.Sleep(10 * time.Minute)
		want("no worker takes it")
		time.Sleep(time.Hour)
		want("has been under way")
		close(gate)
		time.Sleep(time.Minute)
		want("")
	}, with(passerelle.Partner, func(s *stage, t *Tool) { t.Out = hanging{s.partner, &slow} }))
}

// hanging is a tool that answers nothing while its gate is there and closed.
type hanging struct {
	*tool
	gate *atomic.Pointer[chan bool]
}

func (h hanging) Deliver(ctx context.Context, m *passerelle.Message, files passerelle.Spool) (*passerelle.Receipt, error) {
	if gate := h.gate.Load(); gate != nil {
		<-*gate
	}
	return h.tool.Deliver(ctx, m, files)
}

// A destination in trouble is no stuck worker.
func TestOutageIsNotStuck(t *testing.T) {
	run(t, func(s *stage) {
		s.partner.stops()
		s.must(createEvent())
		for range 100 {
			time.Sleep(7 * time.Minute)
			if got := s.Stuck(t.Context()); len(got) > 0 {
				t.Fatalf("stuck: %q", got)
			}
		}
	})
}
