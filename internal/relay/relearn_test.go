package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// askedSweeper is a partner's tool that notes what it is asked, and says that one
// ticket changed.
type askedSweeper struct {
	passerelle.Sweeper
	asked   []passerelle.Since
	changed string
}

func (a *askedSweeper) Changed(_ context.Context, since passerelle.Since) (*passerelle.Changes, error) {
	a.asked = append(a.asked, since)
	ch := &passerelle.Changes{Next: since.Cursor}
	for _, ref := range since.Known {
		if ref.Key == a.changed {
			ch.Keys = append(ch.Keys, ref.Key)
		}
	}
	return ch, nil
}

// TestRelearnAsksInBatches: after a restore the partner's tool is asked about every
// pair, the closed ones too, a batch at a time, and about the others once.
func TestRelearnAsksInBatches(t *testing.T) {
	ctx, store := t.Context(), outbox.NewMem()
	defer store.Close()
	d := outbox.Dest{Contract: ctr, Side: passerelle.Partner}
	for n := range 450 {
		l := &passerelle.Link{Contract: ctr, State: passerelle.States()[n%len(passerelle.States())], Requester: passerelle.Ref{Key: fmt.Sprint(n)}}
		if n%9 > 0 { // else there is no ticket at the partner's yet
			l.Partner = passerelle.Ref{Key: fmt.Sprint(1000 + n)}
		}
		if err := store.Append(ctx, &outbox.Change{Link: l}); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Keep(ctx, sweepKey(d), `{"cursor":"c"}`); err != nil {
		t.Fatal(err)
	}
	closed, err := store.Find(ctx, ctr, passerelle.Partner, "1004") // the fifth state
	if err != nil || closed.State != passerelle.Closed {
		t.Fatal(closed, err)
	}
	r := New(Config{Store: store, Sweep: Sweep{Batch: 150}})
	tool := &askedSweeper{changed: "1004"}
	ids, err := r.changedSince(ctx, d, tool)
	if err != nil || len(ids) != 1 || ids[0] != ctr+"/"+closed.ID {
		t.Errorf("changed: %v, %v", ids, err)
	}
	keys, others := map[string]bool{}, 0
	for _, since := range tool.asked {
		if len(since.Known) > 150 || since.Cursor != "c" {
			t.Errorf("asked about %d tickets since %q", len(since.Known), since.Cursor)
		}
		for _, ref := range since.Known {
			keys[ref.Key] = true
		}
		if since.Others {
			others++
		}
	}
	if len(keys) != 400 || len(tool.asked) != 3 || others != 1 {
		t.Errorf("asked %d times about %d tickets, %d times about others", len(tool.asked), len(keys), others)
	}
}
