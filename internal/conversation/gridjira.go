package conversation

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"passerelle"
	"passerelle/adapters/jira/jirasim"
)

// freeJira gives the rig a Jira whose workflow knows every way: what the
// contract does not allow must be refused by the gateway, however the partner's
// administrators draw their workflow. A way that was missing is the transition
// 90, 91 … of the status that it leads to, in the fixture's order. There is a
// second project, AUTRE, to move issues to. With quiet it has no webhook.
func (r *rig) freeJira(dir string, quiet bool) error {
	return r.otherJira(dir, quiet, func(fixture *jirasim.Fixture) {
		for i := range fixture.Workflows {
			fixture.Workflows[i].Transitions = append(fixture.Workflows[i].Transitions, missing(fixture.Statuses, fixture.Workflows[i].Transitions)...)
		}
		fixture.Projects = append(fixture.Projects, jirasim.Project{Key: "AUTRE", ID: "19999", Name: "Autre", Workflow: fixture.Projects[0].Workflow, NextNumber: 1})
	})
}

// otherJira gives the rig a Jira whose fixture is changed.
func (r *rig) otherJira(dir string, quiet bool, change func(*jirasim.Fixture)) error {
	f, err := os.Open(filepath.Join(dir, "demo", r.stage.Partner.Data))
	if err != nil {
		return err
	}
	defer f.Close()
	fixture, err := jirasim.Load(f)
	if err != nil {
		return err
	}
	change(fixture)
	sim, err := jirasim.New(fixture)
	if err != nil {
		return err
	}
	t := r.tools[passerelle.Partner]
	t.Jira.Close()
	t.Jira = sim
	if quiet {
		return nil
	}
	return t.Point(r.face(passerelle.Partner), token)
}

// missing are the transitions between two statuses that have none.
func missing(statuses []jirasim.Status, have []jirasim.Transition) []jirasim.Transition {
	var out []jirasim.Transition
	for i, to := range statuses {
		t := jirasim.Transition{ID: strconv.Itoa(90 + i), Name: "Vers " + to.Name, To: to.Name}
		for _, from := range statuses {
			known := func(t jirasim.Transition) bool { return t.To == to.Name && slices.Contains(t.From, from.Name) }
			if from.Name != to.Name && !slices.ContainsFunc(have, known) {
				t.From = append(t.From, from.Name)
			}
		}
		if len(t.From) > 0 {
			out = append(out, t)
		}
	}
	return out
}
