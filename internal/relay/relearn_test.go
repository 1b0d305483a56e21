package relay

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"passerelle"
	"passerelle/outbox"
)

// TestNothingBeforeTheToolsAreAsked: on a restored store a tool that is down
// holds everything up, in sight and without end; nothing is accepted or sent, and
// it is no stuck gateway that a restart would help. Once it is back, all goes on.
func TestNothingBeforeTheToolsAreAsked(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		sent := len(s.partner.messages())
		b, err := json.Marshal(outbox.Restored{Backup: time.Now().Add(-time.Hour), At: time.Now()})
		if err == nil {
			err = s.Store.Keep(t.Context(), outbox.RestoredKey, string(b))
		}
		if err != nil {
			t.Fatal(err)
		}
		there := make(chan struct{})
		again := New(Config{Store: s.Store, Contracts: s.Contracts, Tools: map[outbox.Dest]Tool{
			{Contract: ctr, Side: passerelle.Requester}: {Out: s.requester, Watch: &downWatcher{Watcher: s.requester, there: there}},
			{Contract: ctr, Side: passerelle.Partner}:   {Out: s.partner},
		}})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- again.Run(ctx) }() // ends with cancel
		time.Sleep(24 * time.Hour)
		log := event(passerelle.PublicLog, "7/public_log/x#1", "public_log", "<p>entretemps</p>")
		if _, err := again.Accept(t.Context(), log); passerelle.ClassOf(err) != passerelle.Temporary {
			t.Errorf("accepted while the tools are not asked: %v", err)
		}
		if stuck := again.Stuck(t.Context()); len(stuck) > 0 {
			t.Errorf("a restart would not help: %q", stuck)
		}
		if rep, ok := again.Relearning(t.Context()); !ok || !rep.Done.IsZero() || rep.Pairs != 1 {
			t.Errorf("it says %+v, %v", rep, ok)
		}
		if n := len(s.partner.messages()); n != sent {
			t.Errorf("%d messages were sent", n-sent)
		}
		close(there)
		time.Sleep(2 * time.Minute)
		if rep, _ := again.Relearning(t.Context()); rep.Done.IsZero() || rep.Read != 1 {
			t.Errorf("the tool is back, and it says %+v", rep)
		}
		if _, err := again.Accept(t.Context(), log); err != nil {
			t.Errorf("the tool is back: %v", err)
		}
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// downWatcher is a tool that is down until there is closed.
type downWatcher struct {
	passerelle.Watcher
	there chan struct{}
}

func (d *downWatcher) Read(ctx context.Context, key string) (*passerelle.Snapshot, error) {
	select {
	case <-d.there:
		return d.Watcher.Read(ctx, key)
	default:
		return nil, passerelle.Errorf(passerelle.Down, "read", "nobody is there")
	}
}
