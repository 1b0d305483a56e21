package jira

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"passerelle"
)

const moveOp = "jira: transition"

// move brings an issue to one of the message's goals, by the transition that
// leads there now (R15). Fields that the transition's screen does not take are
// set by an edit, before the move or, if Jira refuses that, after it.
func (j *Jira) move(ctx context.Context, m *passerelle.Message, w *wish) (*passerelle.Receipt, error) {
	issue, err := j.issue(ctx, moveOp, m)
	if err != nil {
		return nil, err
	}
	if reached(m, issue) {
		return j.already(ctx, m, w, issue)
	}
	way, err := j.choose(ctx, m, w, issue)
	if err != nil {
		return nil, err
	}
	onScreen, rest := way.share(w.fields)
	refused := j.edit(ctx, m, rest)
	if refused != nil && statusOf(refused) != http.StatusBadRequest {
		return nil, refused
	}
	if err := j.transition(ctx, m, way, onScreen); err != nil {
		return nil, err
	}
	if refused != nil {
		if err := j.edit(ctx, m, rest); err != nil {
			return nil, late(m, way, err)
		}
	}
	return j.moved(ctx, m, way), nil
}

// late says that the move took place, but not all of what came with it.
func late(m *passerelle.Message, way *transition, err error) error {
	class := passerelle.ClassOf(err)
	hint := ""
	if class == passerelle.Stuck {
		hint = "put the fields on the screen of the transition or of editing; a retry will do without them"
	}
	out := passerelle.Errorf(class, moveOp, "%s is done, but not its fields: %w", way.title(), err)
	out.Ticket, out.Hint = ticket(m), hint
	return out
}

// reached tells whether the issue's status is one of the goals, by name or id.
func reached(m *passerelle.Message, issue gjson.Result) bool {
	return goal(m, issue.Get("fields.status")) >= 0
}

// goal is the place of a status among the message's goals, or -1.
func goal(m *passerelle.Message, status gjson.Result) int {
	return slices.IndexFunc(m.Goals, func(g string) bool {
		g = strings.TrimSpace(g)
		return g != "" && (g == status.Get("id").String() || strings.EqualFold(g, status.Get("name").String()))
	})
}

// already leaves the status alone, and sets of the fields what Jira lets us.
func (j *Jira) already(ctx context.Context, m *passerelle.Message, w *wish, issue gjson.Result) (*passerelle.Receipt, error) {
	left, err := j.editPossible(ctx, m, w.fields)
	if err != nil {
		return nil, err
	}
	note := "already « " + issue.Get("fields.status.name").String() + " »"
	if left != "" {
		note += "; not set: " + left
	}
	return &passerelle.Receipt{Note: note}, nil
}

// editPossible sets the fields, and does without those that Jira refuses by
// name; it tells which, and why.
func (j *Jira) editPossible(ctx context.Context, m *passerelle.Message, fields map[string]any) (left string, err error) {
	err = j.edit(ctx, m, fields)
	var no *refusal
	if err == nil || !errors.As(err, &no) || no.status != http.StatusBadRequest {
		return "", err
	}
	rest := maps.Clone(fields)
	for f := range no.fields {
		delete(rest, f)
	}
	if len(rest) == len(fields) { // refused as a whole: a closed issue, say
		return names(fields) + " (" + no.text + ")", nil
	}
	more, err := j.editPossible(ctx, m, rest)
	if more != "" {
		more = "; " + more
	}
	return no.text + more, err
}

// transition makes the move. Jira keeps our mark in the history, if it keeps
// such marks.
func (j *Jira) transition(ctx context.Context, m *passerelle.Message, way *transition, fields map[string]any) error {
	body := map[string]any{
		"transition":      map[string]string{"id": way.id},
		"historyMetadata": historyMark{markKey, mark{ID: m.ID, Of: m.Of}},
	}
	if len(fields) > 0 {
		body["fields"] = fields
	}
	c := call{op: moveOp, ticket: ticket(m), method: http.MethodPost, path: issuePath(m.Key, "transitions"), body: body, writes: true}
	_, err := j.do(ctx, c)
	if statusOf(err) == http.StatusBadRequest && strings.Contains(err.Error(), "historyMetadata") {
		delete(body, "historyMetadata")
		_, err = j.do(ctx, c)
	}
	if statusOf(err) == http.StatusBadRequest {
		return j.outrun(ctx, m, way, err)
	}
	return err
}

// outrun tells a refusal of the message from one that only says that the issue
// moved while we looked.
func (j *Jira) outrun(ctx context.Context, m *passerelle.Message, way *transition, refused error) error {
	now, err := j.transitions(ctx, m)
	if err != nil || slices.ContainsFunc(now, func(t *transition) bool { return t.id == way.id }) {
		return refused
	}
	return call{op: moveOp, ticket: ticket(m)}.fail(passerelle.Temporary, "", "the issue moved meanwhile: %w", refused)
}

// moved is the receipt of a move. The history entry is looked up for its name;
// failing that, the mark in it tells later that it is ours.
func (j *Jira) moved(ctx context.Context, m *passerelle.Message, way *transition) *passerelle.Receipt {
	r := &passerelle.Receipt{Note: "transition " + way.title()}
	issue, err := j.issue(ctx, moveOp, m)
	if err != nil {
		return r
	}
	if s := j.ourStep(ctx, m, issue); s != nil {
		r.Names = []string{historyName(issue.Get("id").String(), s.id)}
	}
	return r
}

// ourStep finds the history entry that the message made: by its mark, else the
// newest change of status if our account made it towards a goal.
func (j *Jira) ourStep(ctx context.Context, m *passerelle.Message, issue gjson.Result) *step {
	steps, err := j.steps(ctx, moveOp, ticket(m), issue)
	if err != nil {
		return nil
	}
	for i := range steps {
		if steps[i].mark.tells(m) {
			return &steps[i]
		}
	}
	if len(steps) == 0 {
		return nil
	}
	last := &steps[len(steps)-1]
	if last.mark.ID == "" && last.ours && reached(m, issue) {
		return last
	}
	return nil
}

// probeMove finds the history entry of the move. Without one, saying that it is
// absent is safe: a move to a status that already stands does nothing.
func (j *Jira) probeMove(ctx context.Context, m *passerelle.Message, w *wish) (*passerelle.Receipt, error) {
	issue, err := j.issue(ctx, moveOp, m)
	if err != nil {
		return nil, err
	}
	if _, err := j.whoami(ctx); err != nil {
		return nil, err
	}
	s := j.ourStep(ctx, m, issue)
	if s == nil || reached(m, issue) && !w.stands(issue) {
		return nil, passerelle.ErrAbsent
	}
	return &passerelle.Receipt{
		Names: []string{historyName(issue.Get("id").String(), s.id)},
		Note:  "transition to « " + s.to + " »",
	}, nil
}

func (j *Jira) transitions(ctx context.Context, m *passerelle.Message) ([]*transition, error) {
	a, err := j.do(ctx, call{
		op: moveOp, ticket: ticket(m), method: http.MethodGet, path: issuePath(m.Key, "transitions"),
		query: url.Values{"expand": {"transitions.fields"}},
	})
	if err != nil {
		return nil, err
	}
	var list []*transition
	for _, t := range a.json.Get("transitions").Array() {
		list = append(list, &transition{id: t.Get("id").String(), name: t.Get("name").String(), to: t.Get("to"), screen: t.Get("fields")})
	}
	return list, nil
}
