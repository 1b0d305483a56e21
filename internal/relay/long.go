package relay

import (
	"fmt"
	"html"
	"slices"
	"strings"
	"time"

	"passerelle"
	"passerelle/mapping"
	"passerelle/outbox"
)

// shorten has a text that is too long for the tool that must hear it travel in
// full as a file, with a short note in its place: nothing is truncated. The
// files follow the event.
func (j *judgement) shorten(e *passerelle.Event, step *mapping.Step) ([]*outbox.Entry, error) {
	var out []*outbox.Entry
	for _, side := range []passerelle.Side{passerelle.Requester, passerelle.Partner} {
		m, measures := j.r.Tools[outbox.Dest{Contract: j.c.Name, Side: side}].Out.(passerelle.Measurer)
		if !measures || !slices.ContainsFunc(step.Sends, func(s mapping.Send) bool { return s.To == side }) {
			continue
		}
		for _, name := range j.c.RichFields(e) {
			limit, ok := m.Fits(e.Fields[name])
			if ok {
				continue
			}
			more, err := j.attachText(e, name, limit)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		}
	}
	return out, nil
}

// attachText makes a file of one text of the event, and the entries that carry
// it. Where the contract has no row for files the text stays as it is, for the
// tool to refuse in sight.
func (j *judgement) attachText(e *passerelle.Event, field string, limit int) ([]*outbox.Entry, error) {
	whole := *e
	whole.Kind, whole.Signal, whole.Private = passerelle.Attach, "", e.Kind == passerelle.PrivateLog
	sends := j.c.FileSends(j.link, &whole)
	if len(sends) == 0 {
		return nil, nil
	}
	text := e.Fields[field]
	doc := `<!DOCTYPE html><html lang="fr"><meta charset="utf-8"><title>` + html.EscapeString(j.c.Label(field)) + "</title>\n" + text + "\n</html>\n"
	f, err := j.r.Store.Files().Put(j.ctx, strings.NewReader(doc))
	if err != nil {
		return nil, err
	}
	j.files = append(j.files, f)
	f.Name, f.MIME = j.c.Label(field)+" "+time.Now().In(j.c.Zone).Format("2006-01-02 15h04m05")+".html", "text/html"
	e.Fields[field] = j.c.Beginning(text) + paragraphs(
		fmt.Sprintf("Passerelle : texte trop long pour cet outil (limite : %d caractères) ; il est joint en entier : « %s ».", limit, f.Name),
		fmt.Sprintf("Gateway: too long for this tool (limit: %d characters); the whole text is attached: « %s ».", limit, f.Name))
	whole.Names, whole.Fields, whole.Files = nil, map[string]string{}, []passerelle.File{f}
	var out []*outbox.Entry
	for _, s := range sends {
		out = append(out, &outbox.Entry{Schema: outbox.EntrySchema, Contract: j.c.Name, Terms: j.c.Version, To: s.To, Template: s.Template, Event: &whole,
			State: j.link.State, Turn: j.link.Turn, Rule: "R24", Status: outbox.Waiting})
	}
	return out, nil
}
