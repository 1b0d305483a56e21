package itopsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// newSearch prepares queries in the name of an account.
func (w *write) newSearch() *search {
	return &search{store: w.sim.store, now: w.sim.databaseNow(), contact: w.account.ContactID, subs: map[*query]map[string]bool{}}
}

// number reads a JSON number or a numeric string.
func number(v any) (int, bool) {
	switch v := v.(type) {
	case json.Number:
		n, err := strconv.Atoi(v.String())
		return n, err == nil
	case string:
		n, err := strconv.Atoi(strings.TrimSpace(v))
		return n, err == nil
	}
	return 0, false
}

// one finds the single object that a key names: a number, a numeric string, an
// object of criteria, or OQL.
func (w *write) one(class string, key any) (*record, error) {
	if id, ok := number(key); ok {
		if r := w.sim.store.find(class, id); r != nil {
			return r, nil
		}
		return nil, internal("Invalid object %s::%d", class, id)
	}
	found, how, err := w.named(class, key)
	if err != nil {
		return nil, err
	}
	switch len(found) {
	case 0:
		return nil, internal("No item found %s", how)
	case 1:
		return found[0], nil
	}
	return nil, internal("Several items found (%d) %s", len(found), how)
}

// named finds objects by criteria or OQL and says how it looked.
func (w *write) named(class string, key any) ([]*record, string, error) {
	switch key := key.(type) {
	case object:
		found, how, err := w.byCriteria(class, key)
		return found, "with criteria: " + how, err
	case string:
		if key == "" {
			return nil, "", &failure{crash: true}
		}
		q, err := parseOQL(key)
		if err != nil {
			return nil, "", internal("%s", err)
		}
		found, err := w.newSearch().run(q)
		return found, "for query: " + key, asThrown(err)
	}
	return nil, "", internal("Wrong format for key")
}

func asThrown(err error) error {
	var oql *oqlError
	if errors.As(err, &oql) {
		return internal("%s", oql.message)
	}
	return err
}

// byCriteria finds the objects that have all the given values.
func (w *write) byCriteria(class string, criteria object) ([]*record, string, error) {
	want := map[string]string{}
	var how []string
	for _, p := range criteria {
		value, err := w.criterion(class, p)
		if err != nil {
			return nil, "", err
		}
		want[p.key] = value
		how = append(how, fmt.Sprintf("%s: %s (%s)", p.key, scalar(p.value), value))
	}
	var found []*record
	for _, r := range w.sim.store.all(class) {
		match := true
		for name, value := range want {
			match = match && compare("EQ", w.sim.store.named(r, name), value)
		}
		if match {
			found = append(found, r)
		}
	}
	return found, strings.Join(how, ", "), nil
}

func (w *write) criterion(class string, p pair) (string, error) {
	if p.key == "id" {
		return scalar(p.value), nil
	}
	a := w.sim.model.classes[class].attr(p.key)
	if a == nil {
		return "", internal("%s: Unknown attribute", p.key)
	}
	if a.kind == kKey {
		id, err := w.keyTo(a, p.value)
		return strconv.Itoa(id), err
	}
	return scalar(p.value), nil
}

// keyTo is the id that an external key's value names; 0 = none.
func (w *write) keyTo(a *attr, v any) (int, error) {
	if id, ok := number(v); ok && id == 0 {
		return 0, nil
	}
	if w.sim.model.classes[a.target] == nil {
		return 0, internal("%s: the simulator has no class %s (set 0)", a.name, a.target)
	}
	r, err := w.one(a.target, v)
	if err != nil {
		return 0, inAttr(a, err)
	}
	return r.id, nil
}

// inAttr puts an attribute's code before the message of a thrown error.
func inAttr(a *attr, err error) error {
	var f *failure
	if errors.As(err, &f) && f.thrown {
		return &failure{code: f.code, message: a.name + ": " + f.message, thrown: true}
	}
	return err
}

// scalar is a JSON scalar as PHP would make it a string.
func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		if v {
			return "1"
		}
	}
	return ""
}

// databaseNow is what NOW() gives in OQL: the recorded database ran in UTC
// while PHP ran in Europe/Paris, so a window that starts from NOW() is an hour
// or two too wide.
func (s *Sim) databaseNow() time.Time { return time.Now().UTC() }
