package scenario

import (
	"context"
	"fmt"
	"strings"
	"time"

	"passerelle"
)

// Play acts the scenario out and tells it to n. Its error says what is not as
// the contract says; a play that has gone wrong ends at that step.
func (s *Scenario) Play(ctx context.Context, t *Tools, n *Narrator) error {
	t.vars = map[string]string{}
	n.title(s.Title)
	for i, step := range s.Steps {
		n.step(i+1, step.Say)
		if err := s.act(ctx, t, step); err != nil {
			n.broken(err)
			return fmt.Errorf("step %d, « %s »: %w", i+1, step.Say.FR, err)
		}
		if t.Amid != nil {
			if err := t.Amid(i + 1); err != nil {
				return err
			}
		}
		for _, sight := range step.Sees {
			ok, got := t.await(ctx, sight)
			n.sight(s.Cast, sight, t.wanted(sight), got, ok)
			if !ok {
				return fmt.Errorf("step %d: %s %s is « %s », not « %s »", i+1, sight.Side, sight.Path, got, t.wanted(sight))
			}
		}
	}
	if failed := s.table(ctx, t, n); len(failed) > 0 {
		return fmt.Errorf("not as the contract says:\n  %s", strings.Join(failed, "\n  "))
	}
	return nil
}

func (s *Scenario) act(ctx context.Context, t *Tools, step Step) error {
	for side, deed := range map[passerelle.Side]map[string]any{passerelle.Requester: step.Requester, passerelle.Partner: step.Partner} {
		if deed == nil {
			continue
		}
		ans, err := t.act(ctx, side, deed)
		if err != nil {
			return err
		}
		for name, path := range step.Keep {
			t.vars[name] = ans.Get(path).String()
		}
	}
	return nil
}

// await looks until the sight is there, or patience ends.
func (t *Tools) await(ctx context.Context, s Sight) (ok bool, got string) {
	for end := time.Now().Add(t.Patience); ; {
		ok, got = t.once(ctx, s)
		if ok || time.Now().After(end) || ctx.Err() != nil {
			return ok, got
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (t *Tools) once(ctx context.Context, s Sight) (bool, string) {
	ans, err := t.look(ctx, s)
	if err != nil {
		return false, err.Error()
	}
	got := ans.Get(t.expand(s.Path)).String()
	if s.Path == "" {
		got = ans.String()
	}
	ok := s.Has != "" && strings.Contains(got, t.expand(s.Has))
	if s.Is != nil {
		ok = got == t.expand(*s.Is)
	}
	if ok {
		for name, path := range s.Keep {
			t.vars[name] = ans.Get(path).String()
		}
	}
	return ok, got
}

func (t *Tools) wanted(s Sight) string {
	if s.Is != nil {
		return t.expand(*s.Is)
	}
	return "…" + t.expand(s.Has) + "…"
}

// table shows both tickets' final states, read from the tools' own APIs.
func (s *Scenario) table(ctx context.Context, t *Tools, n *Narrator) []string {
	var failed []string
	rows := [][3]string{{"", s.Cast.Requester, s.Cast.Partner}}
	for _, f := range s.Final {
		row := [3]string{f.Label.FR + " / " + f.Label.EN}
		for i, sight := range []Sight{f.Requester, f.Partner} {
			if sight.Path == "" {
				row[i+1] = "–"
				continue
			}
			sight.Side = []passerelle.Side{passerelle.Requester, passerelle.Partner}[i]
			ok, got := t.await(ctx, sight)
			row[i+1] = got
			if !ok {
				row[i+1] += "  ≠  " + t.wanted(sight)
				failed = append(failed, fmt.Sprintf("final table: %s: %s is « %s », not « %s »", f.Label.EN, sight.Side, got, t.wanted(sight)))
			}
		}
		rows = append(rows, row)
	}
	n.table(rows, len(failed) == 0)
	return failed
}
