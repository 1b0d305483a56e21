package itop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"unicode/utf8"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"passerelle"
)

// attach sends one file, learns its id, and compares what arrived with what was
// sent.
func (t *ITop) attach(ctx context.Context, m *passerelle.Message, body []byte, files passerelle.Spool) (*passerelle.Receipt, error) {
	if len(m.Files) != 1 {
		return nil, passerelle.Errorf(passerelle.Stuck, "itop", "a message carries one file, not %d", len(m.Files))
	}
	body, f := fit(body, m.Files[0])
	if !isAttachment(body) {
		return t.addAttachment(ctx, m.Key, body, f, files)
	}
	return t.createAttachment(ctx, m.Key, body, f, files)
}

// createAttachment is stock iTop's way, whose answer names the new Attachment.
// iTop takes one for a ticket that does not exist, so the ticket is asked for.
func (t *ITop) createAttachment(ctx context.Context, key string, body []byte, f passerelle.File, files passerelle.Spool) (*passerelle.Receipt, error) {
	if _, err := t.ticket(ctx, key, "id"); err != nil {
		return nil, err
	}
	body, _ = sjson.SetBytes(body, "output_fields", "id") // a "*" would bring the file back; a plain name always sets
	ans, err := t.upload(ctx, body, f, files)
	if err != nil {
		return nil, err
	}
	id := created(ans).Key
	if id == "" {
		return nil, unsure(true, "the answer names no attachment")
	}
	have, err := t.readBack(ctx, id)
	if err != nil {
		return nil, err
	}
	if !sameContent(have, f) {
		return nil, t.takeBack(ctx, id, f, have)
	}
	return &passerelle.Receipt{Names: []string{attachmentName(key, id)}}, nil
}

// isAttachment tells a message that creates an Attachment, stock iTop's way.
func isAttachment(body []byte) bool {
	return gjson.GetBytes(body, "operation").String() == "core/create" && gjson.GetBytes(body, "class").String() == "Attachment"
}

// addAttachment is syn/addattachment, whose answer names the ticket only: the
// id is found by comparing what the ticket had before and has after.
func (t *ITop) addAttachment(ctx context.Context, key string, body []byte, f passerelle.File, files passerelle.Spool) (*passerelle.Receipt, error) {
	before, err := t.attachmentIDs(ctx, key)
	if err != nil {
		return nil, err
	}
	if _, err := t.upload(ctx, body, f, files); err != nil {
		return nil, err
	}
	after, err := t.attachmentIDs(ctx, key)
	if err != nil {
		return nil, unsure(true, "sent, but not read back: %w", err)
	}
	fresh := without(after, before)
	if len(fresh) == 0 {
		return nil, unsure(true, "« %s » was sent but is not there", f.Name)
	}
	id, err := t.arrived(ctx, fresh, f)
	if err != nil {
		return nil, err
	}
	return &passerelle.Receipt{Names: []string{attachmentName(key, id)}}, nil
}

// arrived finds our file among the new ones. Where it is not, the ticket holds
// a damaged one; which of them it is nobody can tell for certain, so none is
// taken away.
func (t *ITop) arrived(ctx context.Context, fresh []string, f passerelle.File) (string, error) {
	var last passerelle.File
	alike := ""
	for _, id := range fresh {
		have, err := t.readBack(ctx, id)
		if err != nil {
			return "", err
		}
		switch {
		case sameContent(have, f) && sameName(have.Name, f.Name):
			return id, nil
		case sameContent(have, f):
			alike = id
		}
		last = have
	}
	if alike != "" {
		return alike, nil
	}
	return "", damaged(fresh[len(fresh)-1], f, last, nil)
}

// upload sends a file; its bytes pass through.
func (t *ITop) upload(ctx context.Context, body []byte, f passerelle.File, files passerelle.Spool) (gjson.Result, error) {
	content, err := files.Open(f.Sum)
	if errors.Is(err, passerelle.ErrNotFound) {
		return gjson.Result{}, &passerelle.Error{Op: "itop", Class: passerelle.Stuck, Err: fmt.Errorf("« %s »: %w", f.Name, err), Hint: "drop the entry; the file must be attached again"}
	}
	if err != nil { // the disk's trouble: it may pass
		return gjson.Result{}, &passerelle.Error{Op: "itop", Class: passerelle.Temporary, Err: fmt.Errorf("« %s »: %w", f.Name, err)}
	}
	defer content.Close()
	return t.call(ctx, call{body: body, write: true, file: &upload{content, f.Size}})
}

// readBack measures what arrived; its bytes pass through.
func (t *ITop) readBack(ctx context.Context, id string) (passerelle.File, error) {
	have, err := t.document(ctx, "Attachment", id, digest, func(passerelle.File) {})
	if errors.Is(err, errNoFile) {
		// Asked again, a probe would find nothing, and send it once more.
		return have, &passerelle.Error{Op: "itop", Class: passerelle.Stuck, Err: fmt.Errorf("sent as attachment %s, but iTop does not show its content", id),
			Hint: "look at the ticket: drop this entry if the file is there, retry it if not"}
	}
	if err != nil {
		return have, unsure(true, "sent as attachment %s, but not read back: %w", id, err)
	}
	return have, nil
}

// takeBack deletes a damaged attachment that is certainly ours, so that it can
// be sent again.
func (t *ITop) takeBack(ctx context.Context, id string, f, have passerelle.File) error {
	body, _ := json.Marshal(map[string]any{"operation": "core/delete", "comment": "Passerelle", "class": "Attachment", "key": id, "simulate": false}) // plain values always marshal
	_, err := t.call(ctx, call{body: body, write: true})
	if err != nil {
		return damaged(id, f, have, err)
	}
	return &passerelle.Error{Op: "itop", Class: passerelle.Temporary, Err: fmt.Errorf("%w; it was taken back", difference(id, f, have))}
}

// damaged asks a person to look at a file that arrived as another.
func damaged(id string, f, have passerelle.File, kept error) error {
	e := &passerelle.Error{Op: "itop", Class: passerelle.Stuck, Err: difference(id, f, have),
		Hint: "delete attachment " + id + " (« " + have.Name + " ») there, then retry this entry"}
	if kept != nil {
		e.Err = fmt.Errorf("%w, and it could not be taken back: %w", e.Err, kept)
	}
	return e
}

// difference says what was sent and what arrived.
func difference(id string, f, have passerelle.File) error {
	return fmt.Errorf("« %s » was damaged on its way: %d bytes (SHA-256 %.12s…) were sent, attachment %s has %d (%.12s…)", f.Name, f.Size, f.Sum, id, have.Size, have.Sum)
}

func sameContent(a, b passerelle.File) bool { return a.Size == b.Size && a.Sum == b.Sum }

// sameName compares what is left of a name in every tool.
func sameName(a, b string) bool { return a == b || sameLetters(a, b) }

// maxName is how many characters iTop keeps of a file's name: VARCHAR(255).
const maxName = 255

// fit makes the file's name in a message one that iTop keeps as it is, and
// returns the file by that name.
func fit(body []byte, f passerelle.File) ([]byte, passerelle.File) {
	at := "attachments.0.filename"
	if isAttachment(body) {
		at = "fields.contents.filename"
	}
	given := gjson.GetBytes(body, at)
	if f.Name = cleanName(f.Name); given.Exists() {
		f.Name = cleanName(given.String())
	}
	if f.Name = shortName(f.Name); f.Name == "" {
		f.Name = "attachment"
	}
	if given.Exists() && given.String() != f.Name {
		name, _ := json.Marshal(f.Name) // spells ">" in escapes, so that no name is a DataToken
		body, _ = sjson.SetRawBytes(body, at, name)
	}
	return body, f
}

// shortName cuts a name that is too long in its middle, so that it keeps its
// extension.
func shortName(name string) string {
	r := []rune(name)
	if len(r) <= maxName {
		return name
	}
	ext := path.Ext(name)
	if utf8.RuneCountInString(ext) > 20 { // a sentence with a full stop in it
		ext = ""
	}
	return string(r[:maxName-1-utf8.RuneCountInString(ext)]) + "…" + ext
}

// probeFile finds attachments that are our file.
func (t *ITop) probeFile(ctx context.Context, m *passerelle.Message, body []byte) (*passerelle.Receipt, error) {
	_, f := fit(body, m.Files[0])
	ids, err := t.attachmentIDs(ctx, m.Key)
	if err != nil {
		return nil, err
	}
	if ids, err = t.sameFile(ctx, f, ids); err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, passerelle.ErrAbsent
	}
	r := &passerelle.Receipt{Note: "found in effect"}
	for _, id := range ids {
		r.Either = append(r.Either, attachmentName(m.Key, id))
	}
	return r, nil
}

func without(list, old []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(x string) bool { return slices.Contains(old, x) })
}

func attachmentName(key, id string) string { return key + "/attachment/" + id }
