package intake

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"passerelle"
)

// work reads a body, and calls each between two Reads, as who decodes it would.
func work(in *Intake, r io.Reader, each func()) error {
	b := in.Body(context.Background(), r)
	defer b.Done()
	for p := make([]byte, 32<<10); ; {
		if _, err := b.Read(p); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if b.n > Free {
			each()
		}
	}
}

func large() io.Reader { return bytes.NewReader(make([]byte, 2*Free)) }

// TestLargeBodiesTakeTurns: at most so many are worked on at once, and all come
// to their end.
func TestLargeBodiesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := New(Config{Large: 2})
		var now, most atomic.Int64
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				err := work(in, large(), func() {
					most.Store(max(most.Load(), now.Add(1)))
					time.Sleep(time.Millisecond)
					now.Add(-1)
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if most.Load() != 2 {
			t.Errorf("%d were worked on at once, want 2", most.Load())
		}
		if f := in.Figures(); f != (Figures{}) {
			t.Errorf("something is left: %+v", f)
		}
	})
}

// TestSlowSendersHaveNoTurn: who sends nothing for a while keeps nobody waiting.
func TestSlowSendersHaveNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := New(Config{Large: 1})
		pr, pw := io.Pipe()
		slow := make(chan error, 1)
		go func() { slow <- work(in, pr, func() {}) }()
		_, _ = pw.Write(make([]byte, 2*Free))
		begin := time.Now()
		if err := work(in, large(), func() {}); err != nil || time.Since(begin) > 0 {
			t.Errorf("it waited for the slow one %v, %v", time.Since(begin), err)
		}
		pw.Close()
		if err := <-slow; err != nil {
			t.Error(err)
		}
	})
}

// TestNoRoomIsSaidInTime: who gets no turn is told when to come again; small
// bodies need none.
func TestNoRoomIsSaidInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := New(Config{Large: 1})
		release, held := make(chan struct{}), make(chan error, 1)
		go func() { held <- work(in, large(), func() { <-release }) }()
		synctest.Wait()
		if err := work(in, bytes.NewReader(make([]byte, Free)), func() {}); err != nil {
			t.Errorf("a small one: %v", err)
		}
		begin := time.Now()
		err := work(in, large(), func() {})
		var e *passerelle.Error
		if !errors.As(err, &e) || e.Class != passerelle.Down || e.After <= 0 || time.Since(begin) != 30*time.Second {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		if f := in.Figures(); f.Refused != 1 || f.Large != 1 || f.Waiting != 0 {
			t.Errorf("%+v", f)
		}
		close(release)
		if err := <-held; err != nil {
			t.Error(err)
		}
	})
}

// TestStrangersTakeNoPlaceOfKnownSenders: long texts have places, and those of
// senders who are not known are others.
func TestStrangersTakeNoPlaceOfKnownSenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := New(Config{})
		var leave []func()
		for range Texts {
			l, err := in.Place(t.Context(), false)
			if err != nil {
				t.Fatal(err)
			}
			leave = append(leave, l)
		}
		if _, err := in.Place(t.Context(), false); passerelle.ClassOf(err) != passerelle.Down {
			t.Errorf("one more stranger: %v", err)
		}
		l, err := in.Place(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		l()
		for _, l := range leave {
			l()
		}
		if f := in.Figures(); f.Texts != 0 || f.Refused != 1 {
			t.Errorf("%+v", f)
		}
	})
}
