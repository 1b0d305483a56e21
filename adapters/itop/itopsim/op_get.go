package itopsim

import (
	"errors"
	"fmt"
)

// get is core/get.
func (w *write) get(params object) (*answer, error) {
	class, err := w.classParam(params)
	if err != nil {
		return nil, err
	}
	key, err := mandatory(params, "key")
	if err != nil {
		return nil, err
	}
	show, err := w.outputParam(class, params)
	if err != nil {
		return nil, err
	}
	found, target, err := w.several(class, key)
	if err != nil {
		return nil, err
	}
	if err := w.allow(read, target); err != nil {
		return nil, err
	}
	limit, page, err := paging(params)
	if err != nil {
		return nil, err
	}
	a := &answer{message: fmt.Sprintf("Found: %d", len(found))}
	for _, r := range slicePage(found, limit, page) {
		a.objects = append(a.objects, w.sim.store.entryOf(r, show, 0, ""))
	}
	return a, nil
}

// several finds all objects that a key names, and the class it looked in.
func (w *write) several(class string, key any) ([]*record, string, error) {
	if id, ok := number(key); ok {
		if r := w.sim.store.find(class, id); r != nil {
			return []*record{r}, class, nil
		}
		return nil, class, nil
	}
	if criteria, ok := key.(object); ok {
		found, _, err := w.byCriteria(class, criteria)
		return found, class, err
	}
	source, ok := key.(string)
	if !ok {
		return nil, class, internal("Wrong format for key")
	}
	if source == "" {
		return nil, class, &failure{crash: true}
	}
	return w.byQuery(source)
}

func (w *write) byQuery(source string) ([]*record, string, error) {
	q, err := parseOQL(source)
	var found []*record
	if err == nil {
		found, err = w.newSearch().run(q)
	}
	var oql *oqlError
	if errors.As(err, &oql) {
		return nil, "", internal("Query failed to execute: query = %s, exception_class = %s, exception_message = %s", source, oql.class, oql.message)
	}
	if err != nil {
		return nil, "", err
	}
	target := q.from.class
	for _, j := range q.joins {
		if j.alias == q.want {
			target = j.class
		}
	}
	return found, target, nil
}

// paging reads limit and page; what is not a number counts as 0, and a limit
// of 0 or less is none.
func paging(params object) (limit, page int, err error) {
	limit, _ = number(params.get("limit"))
	page = 1
	if v := params.get("page"); v != nil {
		page, _ = number(v)
	}
	if page < 1 {
		return 0, 0, refused(codeBadPage, "The request page number is not valid. It must be an integer greater than 0")
	}
	return limit, page, nil
}

func slicePage(found []*record, limit, page int) []*record {
	if limit <= 0 {
		return found
	}
	from := min((page-1)*limit, len(found))
	return found[from:min(from+limit, len(found))]
}

// getRelated knows no relation: it finds the objects it starts from.
func (w *write) getRelated(params object) (*answer, error) {
	class, err := w.classParam(params)
	if err != nil {
		return nil, err
	}
	key, err := mandatory(params, "key")
	if err != nil {
		return nil, err
	}
	if _, err = mandatory(params, "relation"); err != nil {
		return nil, err
	}
	if d := params.get("direction"); d != nil && d != "up" && d != "down" {
		return nil, &failure{code: codeInternal, more: object{{"relations", list{}}},
			message: fmt.Sprintf("Invalid value: '%s' for the parameter 'direction'. Valid values are 'up' and 'down'", scalar(d))}
	}
	found, _, err := w.several(class, key)
	if err != nil {
		return nil, err
	}
	if err := w.allow(read, class); err != nil {
		return nil, err
	}
	a := &answer{message: "Nothing found", more: object{{"relations", list{}}}}
	for _, r := range found {
		a.objects = append(a.objects, w.sim.store.entryOf(r, nil, 0, ""))
	}
	if len(found) > 0 {
		a.message = fmt.Sprintf("Scope: %d; Related objects: %s= %d", len(found), class, len(found))
	}
	return a, nil
}
