package itopsim

import (
	"encoding/base64"
	"strings"
)

// addAttachment is syn/addattachment: all files or none, and the fields with them.
func (w *write) addAttachment(params object) (*answer, error) {
	if err := w.tracking(params); err != nil {
		return nil, err
	}
	v, err := mandatory(params, "attachments")
	if err != nil {
		return nil, err
	}
	o, show, err := w.target(params)
	if err != nil {
		return nil, err
	}
	if err := w.allow(modify, o.class.name); err != nil {
		return nil, err
	}
	files, err := filesOf(v)
	if err != nil {
		return nil, err
	}
	if err := w.assignBeside(o, params); err != nil {
		return nil, err
	}
	for _, f := range files {
		if err := w.attach(o, f); err != nil {
			return nil, err
		}
	}
	return &answer{objects: object{w.sim.store.entryOf(o, show, 0, "updated")}}, nil
}

func filesOf(v any) ([]*blob, error) {
	items, ok := v.(list)
	if !ok || len(items) == 0 {
		return nil, thrown(codeNoJSON, "attachments: expected a list of at least one {data, filename, mimetype}")
	}
	var files []*blob
	for i, item := range items {
		o, _ := item.(object)
		for _, name := range []string{"data", "filename"} {
			if o.get(name) == nil {
				return nil, thrown(codeBadJSON, "attachments[%d]: missing %s", i, name)
			}
		}
		data := strings.NewReplacer("\r", "", "\n", "", " ", "", "\t", "").Replace(scalar(o.get("data")))
		if _, err := base64.StdEncoding.DecodeString(data); err != nil || scalar(o.get("filename")) == "" {
			return nil, thrown(codeBadJSON, "attachments[%d]: data must be base64 and filename not empty", i)
		}
		files = append(files, blobOf(o))
	}
	return files, nil
}

// assignBeside writes the fields that may come with the files.
func (w *write) assignBeside(o *record, params object) error {
	fields, _ := params.get("fields").(object)
	before, draft := o.clone(), o.clone()
	if err := w.assign(draft, fields); err != nil {
		return err
	}
	return w.commit(o, before, draft)
}

func (w *write) attach(o *record, f *blob) error {
	file := &record{class: w.sim.model.classes["Attachment"], vals: map[string]any{
		"item_class": o.class.name, "item_id": itoa(o.id), "item_org_id": itoa(o.key("org_id")), "contents": f}}
	if w.person() {
		return w.dropFile(file)
	}
	return w.insert(file)
}
