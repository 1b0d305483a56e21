package jira

import (
	"context"
	"net/http"

	"passerelle"
)

// The annex's operations.
const (
	opCreate = "core/create"
	opUpdate = "core/update"
	opMove   = "core/apply_stimulus"
	opAttach = "syn/addattachment"
)

// Deliver makes one write. What takes no effect twice comes first, so that a
// delivery that failed half-way may be made again; what Probe can find comes
// last.
func (j *Jira) Deliver(ctx context.Context, m *passerelle.Message, files passerelle.Spool) (*passerelle.Receipt, error) {
	w, err := j.wish(m, "jira: deliver")
	if err != nil {
		return nil, err
	}
	switch m.Op {
	case opCreate:
		return j.create(ctx, m, w)
	case opUpdate:
		return j.update(ctx, m, w)
	case opMove:
		return j.move(ctx, m, w)
	case passerelle.OpNotify:
		return j.notify(ctx, m)
	}
	return j.attach(ctx, m, w, files)
}

// Probe asks Jira whether an earlier Deliver of m took effect.
func (j *Jira) Probe(ctx context.Context, m *passerelle.Message, files passerelle.Spool) (*passerelle.Receipt, error) {
	w, err := j.wish(m, "jira: probe")
	if err != nil {
		return nil, err
	}
	switch m.Op {
	case opCreate:
		return j.probeCreate(ctx, m, w)
	case opUpdate:
		return j.probeUpdate(ctx, m, w)
	case opMove:
		return j.probeMove(ctx, m, w)
	case passerelle.OpNotify:
		return nil, passerelle.ErrAbsent // it may be said again: nothing comes of it twice
	}
	return j.probeAttach(ctx, m, files)
}

// wish reads and checks a message.
func (j *Jira) wish(m *passerelle.Message, op string) (*wish, error) {
	c := call{op: op, ticket: ticket(m)}
	switch m.Op {
	case opCreate:
	case opUpdate, opMove, opAttach, passerelle.OpNotify:
		if m.Key == "" {
			return nil, c.fail(passerelle.Stuck, "deliver the create first", "%s names no issue", m.Op)
		}
	default:
		return nil, c.fail(passerelle.Stuck, "one of "+opCreate+", "+opUpdate+", "+opMove+", "+opAttach, "unknown operation %q", m.Op)
	}
	w, err := prepare(m)
	if err != nil {
		return nil, c.fail(passerelle.Stuck, "mend the contract's template", "%w", err)
	}
	w.comment = j.calling(m, w.comment)
	return w, nil
}

// ticket is what an error calls the issue.
func ticket(m *passerelle.Message) string {
	return passerelle.Ref{Key: m.Key, Number: m.Number}.String()
}

// edit sets fields of an issue. Setting what already stands does nothing, so it
// may be repeated.
func (j *Jira) edit(ctx context.Context, m *passerelle.Message, fields map[string]any) error {
	if len(fields) == 0 {
		return nil
	}
	_, err := j.do(ctx, call{
		op: "jira: edit issue", ticket: ticket(m), method: http.MethodPut, path: issuePath(m.Key),
		body: map[string]any{"fields": fields}, writes: true,
	})
	return err
}
