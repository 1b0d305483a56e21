package relay

import (
	"bytes"
	"path"
	"strings"
	"unicode"

	"passerelle"
	"passerelle/internal/richtext"
	"passerelle/mapping"
	"passerelle/outbox"
)

// pictures puts a visible reference in the place of each inline image of the
// event's texts, and has what the texts carry in themselves follow as files. An
// image that the sender's tool stores apart is found by reading the ticket
// again. One that cannot travel is said to be missing where it stood.
func (j *judgement) pictures(e *passerelle.Event, step *mapping.Step) ([]*outbox.Entry, error) {
	if len(step.Sends) == 0 {
		return nil, nil
	}
	files := *e
	files.Kind, files.Signal, files.Alias, files.Names, files.Fields = passerelle.Attach, "", "", nil, map[string]string{}
	files.Private = e.Fields["private_log"] != "" && e.Fields["public_log"] == "" // R16: a file could be read by all
	a := &album{j: j, from: e, sends: j.c.FileSends(j.link, &files), known: map[string]string{}}
	for _, name := range j.c.RichFields(e, step.Sends) {
		e.Fields[name] = richtext.SwapImages(e.Fields[name], a.words)
	}
	if a.err != nil {
		return nil, a.err
	}
	if a.apart && !e.Read {
		j.lookAgain(e)
	}
	if len(a.files) == 0 {
		return nil, nil
	}
	files.Files = a.files
	return j.fileEntries(&files, a.sends, "R23"), nil
}

// album is the images of one event's texts.
type album struct {
	j     *judgement
	from  *passerelle.Event
	sends []mapping.Send // where files of the event go; none: nowhere
	files []passerelle.File
	known map[string]string // by content: one file, and one name, for the same image twice
	apart bool              // some lie in the sender's tool
	err   error
}

// words is what stands in the text for an image.
func (a *album) words(i richtext.Image) string {
	mime, data, own := i.Data()
	switch {
	case len(a.sends) > 0 && i.ID != "" && a.readable():
		a.apart = true
		return "[" + i.Called() + "]"
	case len(a.sends) > 0 && own && a.err == nil:
		return "[image: " + a.keep(i, mime, data) + "]"
	}
	return "[" + i.Called() + ", non transmise / not transmitted]"
}

// readable tells whether the sender's tool can be asked for its images.
func (a *album) readable() bool {
	return a.j.r.Tools[outbox.Dest{Contract: a.j.c.Name, Side: a.from.From}].Watch != nil && (a.from.Key != "" || a.j.link.Ref(a.from.From).Key != "")
}

// keep makes a file of an image and returns its name.
func (a *album) keep(i richtext.Image, mime string, data []byte) string {
	f, err := a.j.r.Store.Files().Put(a.j.ctx, bytes.NewReader(data))
	if err != nil {
		a.err = err
		return ""
	}
	a.j.files = append(a.j.files, f)
	if name := a.known[f.Sum]; name != "" {
		return name
	}
	f.Name, f.MIME = pictureName(i, f.Sum, mime), mime
	a.known[f.Sum], a.files = f.Name, append(a.files, f)
	return f.Name
}

// maxPictureName bounds what of an image's own name goes into its file's, in
// characters.
const maxPictureName = 60

// pictureName names an image that a text carries: by its content, so that two
// are told apart, and by what the text calls it.
func pictureName(i richtext.Image, sum, mime string) string {
	own := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" -_.'", r) {
			return r
		}
		return '_'
	}, strings.TrimSuffix(i.Name, path.Ext(i.Name)))
	if r := []rune(own); len(r) > maxPictureName {
		own = string(r[:maxPictureName])
	}
	if own = strings.Trim(own, " ._"); own != "" {
		own = "-" + own
	}
	return richtext.ImageWord(sum[:8]) + own + richtext.ImageExt(mime)
}
