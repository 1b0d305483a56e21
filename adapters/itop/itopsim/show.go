package itopsim

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// show is an attribute as core/get gives it.
func (s *store) show(r *record, name string) any {
	if name == "id" {
		return strconv.Itoa(r.id)
	}
	a := r.class.attr(name)
	switch a.kind {
	case kLog:
		return showLog(r.log(name))
	case kList:
		return list{}
	case kWatch:
		return 0
	case kNull:
		return nil
	case kBlob:
		return showBlob(r.vals[name])
	}
	return s.value(r, a)
}

func showLog(entries []entry) object {
	l := list{}
	for _, e := range entries {
		l = append(l, object{{"date", e.date}, {"user_login", e.login}, {"user_id", e.userID}, {"message", e.text}, {"message_html", e.html}})
	}
	return object{{"entries", l}}
}

func showBlob(v any) any {
	b, ok := v.(*blob)
	if !ok {
		b = &blob{}
	}
	return object{{"data", base64.StdEncoding.EncodeToString(b.data)}, {"mimetype", b.mimetype}, {"filename", b.name}, {"downloads_count", 0}}
}

// shown says which attributes of which class an answer gives out.
type shown map[string][]string

// shownFields reads output_fields: "*", "*+" or a comma-separated list.
func (s *store) shownFields(class string, param any) (shown, error) {
	spec, ok := param.(string)
	if !ok {
		return nil, internal("output_fields: expected \"*\", \"*+\" or a comma-separated list of attributes")
	}
	switch spec {
	case "*":
		return shown{class: s.everything(class)}, nil
	case "*+":
		out := shown{}
		for _, name := range s.model.order {
			if s.model.isA(name, class) {
				out[name] = s.everything(name)
			}
		}
		return out, nil
	}
	return s.listedFields(class, spec)
}

func (s *store) listedFields(class, spec string) (shown, error) {
	var names []string
	for _, name := range strings.Split(spec, ",") {
		name = strings.TrimSpace(name)
		if name != "id" && s.model.classes[class].attr(name) == nil {
			return nil, internal("output_fields: invalid attribute code '%s'", name)
		}
		names = append(names, name)
	}
	return shown{class: names}, nil
}

func (s *store) everything(class string) []string {
	var names []string
	for _, a := range s.model.classes[class].attrs {
		if a.kind != kUnstored {
			names = append(names, a.name)
		}
	}
	return names
}

// fieldsOf picks the list for an object: that of its class or of the nearest
// ancestor; an object of another class altogether shows id and friendlyname.
func (s *store) fieldsOf(r *record, f shown) []string {
	for name := r.class.name; name != ""; name = s.model.classes[name].parent {
		if names, ok := f[name]; ok {
			return names
		}
	}
	return []string{"id", "friendlyname"}
}

// entryOf is one member of an answer's "objects".
func (s *store) entryOf(r *record, f shown, code int, message string) pair {
	fields := object{}
	for _, name := range s.fieldsOf(r, f) {
		fields = append(fields, pair{name, s.show(r, name)})
	}
	key := strconv.Itoa(r.id)
	return pair{r.class.name + "::" + key, object{{"code", code}, {"message", message}, {"class", r.class.name}, {"key", key}, {"fields", fields}}}
}
