package itopsim

import (
	"fmt"
)

// operation is one verb of the REST service.
type operation struct {
	verb, description, extension string
	run                          func(*write, object) (*answer, error)
}

func (s *Sim) operations() []operation {
	ops := []operation{
		{"core/create", "Create an object", "CoreServices", (*write).create},
		{"core/update", "Update an object", "CoreServices", (*write).update},
		{"core/apply_stimulus", "Apply a stimulus to change the state of an object", "CoreServices", (*write).applyStimulus},
		{"core/get", "Search for objects", "CoreServices", (*write).get},
		{"core/delete", "Delete objects", "CoreServices", (*write).delete},
		{"core/get_related", "Get related objects through the specified relation", "CoreServices", (*write).getRelated},
		{"core/check_credentials", "Check user credentials", "CoreServices", (*write).checkCredentials},
	}
	if s.model.sumit {
		ops = append(ops, operation{"syn/addattachment", "Add attachments to an object", "SynServices", (*write).addAttachment})
	}
	return ops
}

// run executes one call. Webhooks that it triggers are sent after the lock is
// released, so that whoever hears them can ask this iTop at once.
func (s *Sim) run(req *request) (object, error) {
	verb, err := mandatory(req.params, "operation")
	if err != nil {
		return nil, err
	}
	if verb == "list_operations" {
		return s.listOperations(req.version), nil
	}
	for _, op := range s.operations() {
		if op.verb == verb {
			w := &write{sim: s, account: req.account, context: req.context, operation: op.verb, given: map[string]bool{}}
			a, err := w.guarded(op, req.params)
			s.send(w.posts)
			if err != nil {
				return nil, err
			}
			return a.body(), nil
		}
	}
	return nil, thrown(codeUnknownVerb, "Unknown verb '%s' in version '%s'", scalar(verb), req.version)
}

func (w *write) guarded(op operation, params object) (*answer, error) {
	w.sim.mu.Lock()
	defer w.sim.mu.Unlock()
	w.now = w.sim.now()
	w.forced = params.get("force") == true && w.person()
	return op.run(w, params)
}

func (s *Sim) listOperations(version string) object {
	l := list{}
	for _, op := range s.operations() {
		l = append(l, object{{"verb", op.verb}, {"description", op.description}, {"extension", op.extension}})
	}
	return object{{"code", codeOK}, {"message", fmt.Sprintf("Operations: %d", len(l))}, {"version", version}, {"operations", l}}
}

// mandatory reads a parameter that must be there, null included.
func mandatory(params object, name string) (any, error) {
	for _, p := range params {
		if p.key == name {
			return p.value, nil
		}
	}
	return nil, internal("Missing parameter '%s'", name)
}

// tracking reads the comment that iTop wants with every write.
func (w *write) tracking(params object) error {
	comment, err := mandatory(params, "comment")
	w.comment = scalar(comment)
	return err
}

func (w *write) classParam(params object) (string, error) {
	v, err := mandatory(params, "class")
	if err != nil {
		return "", err
	}
	class := scalar(v)
	if w.sim.model.classes[class] == nil {
		return "", internal("class: '%s' is not a valid class'", class)
	}
	return class, nil
}

func (w *write) fieldsParam(params object) (object, error) {
	v, err := mandatory(params, "fields")
	if err != nil {
		return nil, err
	}
	fields, ok := v.(object)
	if l, isList := v.(list); isList && len(l) == 0 {
		ok = true
	}
	if !ok {
		return nil, internal("fields: expected an object of attribute codes and values")
	}
	return fields, nil
}

func (w *write) outputParam(class string, params object) (shown, error) {
	v := params.get("output_fields")
	if v == nil {
		v = "*"
	}
	return w.sim.store.shownFields(class, v)
}

// target reads class, key and output_fields, and finds the one object.
func (w *write) target(params object) (*record, shown, error) {
	class, err := w.classParam(params)
	if err != nil {
		return nil, nil, err
	}
	key, err := mandatory(params, "key")
	if err != nil {
		return nil, nil, err
	}
	show, err := w.outputParam(class, params)
	if err != nil {
		return nil, nil, err
	}
	o, err := w.one(class, key)
	return o, show, err
}

func (w *write) checkCredentials(params object) (*answer, error) {
	user, err := mandatory(params, "user")
	if err != nil {
		return nil, err
	}
	password, err := mandatory(params, "password")
	if err != nil {
		return nil, err
	}
	ok := w.sim.byPassword(scalar(user), scalar(password)) != nil
	return &answer{bare: true, more: object{{"authorized", ok}}}, nil
}
