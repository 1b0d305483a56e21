package relay

import (
	"fmt"
	"html"
	"slices"
	"strings"

	"passerelle"
	"passerelle/internal/richtext"
	"passerelle/mapping"
	"passerelle/outbox"
)

// shorten has a text that is too long for the tool that must hear it travel in
// full as a file, with a short note in its place: nothing is truncated. The
// files follow the event. A private text travels in parts, because a file could
// be read by all (R16).
func (j *judgement) shorten(e *passerelle.Event, step *mapping.Step) ([]*outbox.Entry, error) {
	var out []*outbox.Entry
	for _, side := range []passerelle.Side{passerelle.Requester, passerelle.Partner} {
		m, measures := j.r.Tools[outbox.Dest{Contract: j.c.Name, Side: side}].Out.(passerelle.Measurer)
		if !measures || !slices.ContainsFunc(step.Sends, func(s mapping.Send) bool { return s.To == side }) {
			continue
		}
		for _, name := range j.c.RichFields(e, step.Sends) {
			limit, ok := m.Fits(e.Fields[name])
			if ok {
				continue
			}
			if name == "private_log" {
				out = append(out, j.inParts(e, name, limit, side, step)...)
				continue
			}
			more, err := j.attachText(e, name, m)
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
func (j *judgement) attachText(e *passerelle.Event, field string, tool passerelle.Measurer) ([]*outbox.Entry, error) {
	whole := *e
	whole.Kind, whole.Signal = passerelle.Attach, ""
	sends := j.c.FileSends(j.link, &whole)
	if len(sends) == 0 {
		return nil, nil
	}
	text := e.Fields[field]
	doc := `<!DOCTYPE html><html lang="fr"><meta charset="utf-8"><title>` + html.EscapeString(j.c.Label(field)) + "</title>\n" + richtext.Clean(text) + "\n</html>\n"
	f, err := j.r.Store.Files().Put(j.ctx, strings.NewReader(doc))
	if err != nil {
		return nil, err
	}
	j.files = append(j.files, f)
	f.Name, f.MIME = j.c.Label(field)+" "+f.Sum[:8]+".html", "text/html" // by content: judged twice, it is the same
	e.Fields[field] = j.beginning(text, f.Name, tool)
	whole.Names, whole.Fields, whole.Files = nil, map[string]string{}, []passerelle.File{f}
	return j.fileEntries(&whole, sends, "R24"), nil
}

// beginning is what stands in the place of a text that is attached as a file: as
// many of its first words as the tool takes beside the note, and the note.
func (j *judgement) beginning(text, file string, tool passerelle.Measurer) string {
	limit, _ := tool.Fits("")
	note := paragraphs(
		fmt.Sprintf("Passerelle : texte trop long pour cet outil (limite : %d caractères) ; il est joint en entier : « %s ».", limit, file),
		fmt.Sprintf("Gateway: too long for this tool (limit: %d characters); the whole text is attached: « %s ».", limit, file))
	for most := mapping.BeginningLength; most > 0; most /= 2 {
		short := j.c.Beginning(text, most) + note
		if _, ok := tool.Fits(short); ok {
			return short
		}
	}
	return note
}

// fileEntries are the entries of an event that carries files.
func (j *judgement) fileEntries(e *passerelle.Event, sends []mapping.Send, rule string) []*outbox.Entry {
	var out []*outbox.Entry
	for _, s := range sends {
		out = append(out, &outbox.Entry{Schema: outbox.EntrySchema, Contract: j.c.Name, Terms: j.c.Version, To: s.To, Template: s.Template, Event: e,
			State: j.link.State, Turn: j.link.Turn, Rule: rule, Status: outbox.Waiting})
	}
	return out
}
