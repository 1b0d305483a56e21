package itopsim

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// pushed is how the recorded table names a webhook.
func pushed(s Sent) string {
	var body struct{ Operation, Comment string }
	_ = json.Unmarshal([]byte(s.Payload), &body)
	if body.Comment == "" {
		return s.Payload[:90]
	}
	return body.Operation + " " + body.Comment
}

func sceneNamed(t *testing.T, name string) scene {
	t.Helper()
	all := scenes(t)
	i := slices.IndexFunc(all, func(sc scene) bool { return sc.name == name })
	if i < 0 {
		t.Fatalf("no scene %s", name)
	}
	return all[i]
}

func readTable(t *testing.T, name string, rows any) {
	t.Helper()
	data, err := os.ReadFile("testdata/recordings/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	table := struct{ Rows any }{rows}
	if err := json.Unmarshal(data, &table); err != nil {
		t.Fatal(err)
	}
}

func (p *player) ticket(id int) *record { return p.sim.store.find("UserRequest", id) }

// TestPushTable: each action of the table posts what it posted from a real
// SUMiT-like iTop, and leaves the ticket where it left it.
func TestPushTable(t *testing.T) {
	var rows []struct {
		Action, Team string
		Posts        []string
		StatusAfter  string `json:"status_after"`
	}
	readTable(t, "160-sumit-push-99-table", &rows)
	p := newPlayer(t, sceneNamed(t, "push"))
	row := -1 // the first step makes the ticket
	for _, step := range sceneNamed(t, "push").steps {
		if strings.HasPrefix(step, "posts") {
			continue
		}
		before := len(p.sim.Sent())
		p.step(step)
		p.heard = nil
		if !strings.HasPrefix(step, "do ") {
			continue
		}
		if row++; row == 0 {
			continue
		}
		want := rows[row-1]
		got := []string{}
		for _, s := range p.sim.Sent()[before:] {
			got = append(got, pushed(s))
		}
		if !slices.Equal(got, want.Posts) {
			t.Errorf("%s posts %q, want %q", want.Action, got, want.Posts)
		}
		ticket := p.ticket(1505)
		team := p.sim.store.named(ticket, "team_name")
		if ticket.text("status") != want.StatusAfter || team != want.Team {
			t.Errorf("%s leaves %s in %s, want %s in %s", want.Action, ticket.text("status"), team, want.StatusAfter, want.Team)
		}
	}
	if row != len(rows) {
		t.Errorf("%d actions played, the table has %d", row, len(rows))
	}
}

// TestMessagesTable: after each message of the contract the ticket stands
// where it stood in the recorded one.
func TestMessagesTable(t *testing.T) {
	var rows []struct {
		Step  string
		After map[string]string
	}
	readTable(t, "150-sumit-99-table", &rows)
	p := newPlayer(t, sceneNamed(t, "sumit"))
	next := 0
	for _, step := range p.flat(sceneNamed(t, "sumit").steps) {
		p.step(step)
		if next == len(rows) || step != "send 150-sumit-"+rows[next].Step {
			continue
		}
		for name, want := range rows[next].After {
			if got := p.sim.store.named(p.ticket(1504), name); got != want {
				t.Errorf("after %s: %s = %s, want %s", rows[next].Step, name, got, want)
			}
		}
		next++
	}
	if next != len(rows) {
		t.Errorf("%d of %d rows compared; next would be %s", next, len(rows), rows[next].Step)
	}
}

// flat puts each sent recording on a step of its own.
func (p *player) flat(steps []string) []string {
	var out []string
	for _, step := range steps {
		words := strings.Fields(step)
		if words[0] != "send" {
			out = append(out, step)
			continue
		}
		for _, name := range words[1:] {
			out = append(out, "send "+name)
		}
	}
	return out
}
