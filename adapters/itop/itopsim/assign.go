package itopsim

import (
	"encoding/base64"
	"strings"
	"time"
	"unicode/utf8"
)

// assign sets the attributes that a client sends on a draft.
func (w *write) assign(draft *record, fields object) error {
	for _, p := range fields {
		a := draft.class.attr(p.key)
		if a == nil {
			return internal("%s: Unknown attribute", p.key)
		}
		if err := w.assignOne(draft, a, p.value); err != nil {
			return err
		}
		w.given[a.name] = true
	}
	return nil
}

func (w *write) assignOne(draft *record, a *attr, v any) error {
	switch a.kind {
	case kKey:
		id, err := w.keyTo(a, v)
		draft.set(a.name, id)
		return err
	case kLog:
		return w.assignLog(draft, a, v)
	case kDate:
		return assignDate(draft, a, v)
	case kBlob:
		draft.set(a.name, blobOf(v))
		return nil
	case kHTML:
		draft.set(a.name, cleanHTML(scalar(v)))
		return nil
	case kField, kMeta, kWatch, kDeadline, kNull, kSecret:
		return internal("%s: the simulator does not set a computed attribute (set what it is computed from)", a.name)
	case kList:
		return internal("%s: the simulator keeps no link sets", a.name)
	}
	switch v.(type) {
	case object, list:
		return internal("%s: Unexpected value, expecting a scalar", a.name)
	}
	draft.set(a.name, scalar(v))
	return nil
}

func assignDate(draft *record, a *attr, v any) error {
	text := scalar(v)
	if text != "" {
		if _, err := time.Parse(stamp, text); err != nil {
			return internal(`%s: Wrong format for date attribute %s, expecting "Y-m-d H:i:s" and got "%s"`, a.name, a.name, text)
		}
	}
	draft.set(a.name, text)
	return nil
}

// blobOf reads {data, filename, mimetype}; anything else is nothing at all.
func blobOf(v any) *blob {
	o, ok := v.(object)
	if !ok {
		return nil
	}
	b := &blob{name: scalar(o.get("filename")), data: lenientBase64(scalar(o.get("data")))}
	if m, ok := o.get("mimetype").(string); ok {
		b.mimetype = m
	}
	return b
}

// lenientBase64 decodes as PHP does when not told to be strict: characters
// outside the alphabet are skipped, and bits left over are dropped.
func lenientBase64(s string) []byte {
	s = strings.Map(func(r rune) rune {
		if r < 128 && (letter(byte(r)) || r >= '0' && r <= '9' || r == '+' || r == '/') {
			return r
		}
		return -1
	}, s)
	if len(s)%4 == 1 {
		s = s[:len(s)-1]
	}
	data, _ := base64.RawStdEncoding.DecodeString(s)
	return data
}

// issues are what iTop's check of an object before writing it finds.
func (w *write) issues(before, draft *record) []string {
	var out []string
	for _, a := range draft.class.attrs {
		if before != nil && same(before.vals[a.name], draft.vals[a.name]) {
			continue
		}
		if why := w.issue(a, draft); why != "" {
			prefix := "Unexpected value for attribute"
			if w.french() {
				prefix = "Valeur de l'attribut incorrecte"
			}
			out = append(out, prefix+" '"+a.label(w.french())+"' ("+a.name+") : "+why)
		}
	}
	return out
}

func (w *write) issue(a *attr, draft *record) string {
	const null = "Null not allowed"
	switch a.kind {
	case kKey:
		if a.required && draft.key(a.name) == 0 {
			return null
		}
		return ""
	case kBlob:
		if b, given := draft.vals[a.name].(*blob); given && b == nil {
			return null
		}
		return ""
	case kLog, kList, kField, kMeta:
		return ""
	}
	value := draft.text(a.name)
	if value == "" {
		if a.required {
			return null
		}
		return ""
	}
	if a.kind == kEnum && !contains(a.values, value) {
		return "Value not allowed [" + value + "]"
	}
	if n := utf8.RuneCountInString(value); a.max > 0 && n > a.max {
		return "String too long (found " + itoa(n) + ", limited to " + itoa(a.max) + ")"
	}
	return ""
}

// checked turns issues into the error that iTop throws.
func checked(issues []string, class string, id int) error {
	if len(issues) == 0 {
		return nil
	}
	var numbered []string
	for i, s := range issues {
		numbered = append(numbered, itoa(i)+"=>"+s)
	}
	return internal("%s: issues = {%s}, class = %s, id = %d", strings.Join(issues, ", "), strings.Join(numbered, ", "), class, id)
}
