package itop

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/internal/richtext"
)

// inlineSource begins the Source of an image that was pasted into a text: iTop
// stores it as an InlineImage, apart from the attachments.
const inlineSource = "inline/"

// inlineImages are the images that the ticket's texts show, each once, in the
// order in which they are read. One that only the private journal shows is
// private. Whether they are the ticket's own, Fetch finds out.
func (t *ITop) inlineImages(key, description string, entries []*passerelle.Event) []*passerelle.Event {
	var out []*passerelle.Event
	show := func(html, by string, private bool) {
		for _, i := range richtext.Images(html) {
			if !richtext.IsImageID(i.ID) {
				continue
			}
			at := slices.IndexFunc(out, func(e *passerelle.Event) bool { return e.Source == inlineSource+i.ID })
			if at < 0 {
				e := t.event(key, passerelle.Attach, key+"/"+inlineSource+i.ID, inlineSource+i.ID)
				e.Private = true
				out, at = append(out, e), len(out)
			}
			out[at].In, out[at].Private = append(out[at].In, by), out[at].Private && private
		}
	}
	show(description, key+"/description", false)
	for _, e := range entries {
		for _, log := range logs {
			show(e.Fields[log], e.Names[0], e.Kind == passerelle.PrivateLog)
		}
	}
	for _, e := range out {
		if e.Private {
			e.Names[0] += "/private" // shown in public later, it is another fact
		}
	}
	return out
}

// imageWaits is how long it is waited, again and again, for an image that has
// no ticket yet: iTop saves the text, tells of it, and only then ties the images
// of the form to the ticket.
func imageWaits() []time.Duration {
	return []time.Duration{300 * time.Millisecond, time.Second, 3 * time.Second}
}

// fetchInline brings an image's bytes into the spool, under a name by which the
// text's own reference to it is recognised: image-2-plan.png for [image-2].
func (t *ITop) fetchInline(ctx context.Context, e *passerelle.Event, id string, files passerelle.Spool) error {
	if err := t.ownImage(ctx, e.Key, id); err != nil {
		return err
	}
	f, err := t.fetch(ctx, "InlineImage", id, files)
	if err != nil {
		return err
	}
	f.Name = inlineName(id, f)
	e.Files = []passerelle.File{f}
	return nil
}

// ownImage checks that an image is the ticket's: what a text says of an image's
// number proves nothing.
func (t *ITop) ownImage(ctx context.Context, key, id string) error {
	for try := 0; ; try++ {
		ans, err := t.call(ctx, call{body: query("InlineImage", "SELECT InlineImage WHERE id = "+id, "item_class,item_id")})
		if code := ans.Get("code"); err != nil && code.Exists() {
			// iTop's own refusal is one of this class, not of the account.
			return lostImage(id, fmt.Errorf("iTop does not give it: %s", t.quote(ans.Get("message").String(), maxMessage)),
				"have iTop's administrator give the gateway's account the right to read InlineImage", "le compte de la passerelle n'a pas le droit de la lire")
		}
		if err != nil {
			return err
		}
		class, item := ownerOf(ans)
		switch {
		case class == t.cfg.Class && item == key:
			return nil
		case item == "":
			return lostImage(id, errNoFile, "paste it again", "elle n'existe plus")
		case item != "0":
			return lostImage(id, fmt.Errorf("it belongs to %s %s", class, item), "paste it from its source", "elle appartient à un autre objet")
		case try == len(t.waits):
			return lostImage(id, fmt.Errorf("it belongs to no ticket"), "paste it again", "elle n'a pas été enregistrée avec le ticket")
		}
		select {
		case <-time.After(t.waits[try]):
		case <-ctx.Done():
			return passerelle.Errorf(passerelle.Temporary, "itop", "%w", ctx.Err())
		}
	}
}

// ownerOf is what an image belongs to; "0" is nothing yet, "" no image.
func ownerOf(ans gjson.Result) (class, item string) {
	found := objects(ans)
	if len(found) == 0 {
		return "", ""
	}
	if item = found[0].Get("fields.item_id").String(); item == "" {
		item = "0"
	}
	return found[0].Get("fields.item_class").String(), item
}

func lostImage(id string, why error, hint, local string) error {
	return &passerelle.Error{Op: "itop", Class: passerelle.Stuck, Err: fmt.Errorf("%s: %w", richtext.ImageWord(id), why), Hint: hint,
		Local: "l'image « " + richtext.ImageWord(id) + " » ne peut pas être transmise : " + local + " ; collez-la de nouveau ou joignez-la"}
}

// inlineName is an image's file name. iTop calls what is pasted "image.png",
// which says nothing.
func inlineName(id string, f passerelle.File) string {
	name, word := cleanName(f.Name), richtext.ImageWord(id)
	ext := path.Ext(name)
	if base := strings.TrimSuffix(name, ext); base != "" && !strings.EqualFold(base, "image") {
		word += "-" + base
	}
	if ext == "" {
		ext = richtext.ImageExt(f.MIME)
	}
	return shortName(word + ext)
}
