package itopsim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// create is core/create.
func (w *write) create(params object) (*answer, error) {
	if err := w.tracking(params); err != nil {
		return nil, err
	}
	class, err := w.classParam(params)
	if err != nil {
		return nil, err
	}
	fields, err := w.fieldsParam(params)
	if err != nil {
		return nil, err
	}
	show, err := w.outputParam(class, params)
	if err != nil {
		return nil, err
	}
	if err := w.allow(create, class); err != nil {
		return nil, err
	}
	if err := w.canCreate(class); err != nil {
		return nil, err
	}
	o := &record{class: w.sim.model.classes[class], vals: map[string]any{}}
	if err := w.assign(o, fields); err != nil {
		return nil, err
	}
	if class == "InlineImage" && w.person() {
		err = w.paste(o)
	} else if class == "Attachment" && w.person() {
		err = w.dropFile(o)
	} else {
		err = w.insert(o)
	}
	if err != nil {
		return nil, err
	}
	return &answer{objects: object{w.sim.store.entryOf(o, show, 0, "created")}}, nil
}

// canCreate refuses what a real iTop would create but the simulator would not
// give its meaning to.
func (w *write) canCreate(class string) error {
	c := w.sim.model.classes[class]
	switch {
	case c.abstract:
		return &failure{crash: true}
	case w.sim.model.isA(class, "CMDBChangeOp"), w.sim.model.isA(class, "CMDBChange"), w.sim.model.isA(class, "User"):
		return internal("class: the simulator creates no %s (put it into the fixture)", class)
	}
	return nil
}

// dropFile is what the console and the portal do with a file: it is stored
// when it is dropped on the form, and attached when the form is submitted.
func (w *write) dropFile(o *record) error {
	item := o.text("item_id")
	if item == "" || item == "0" {
		setEmpty(o, "temp_id", fmt.Sprintf("%s-%06d", w.account.Login, w.sim.store.next["Attachment"]+1))
	}
	tomorrow, _ := time.ParseInLocation(stamp, w.now, w.sim.zone)
	o.set("expire", tomorrow.Add(24*time.Hour).Format(stamp))
	o.set("item_id", "0")
	if o.text("temp_id") == "" {
		o.set("temp_id", fmt.Sprintf("%s-%06d", w.account.Login, w.sim.store.next["Attachment"]+1))
	}
	if err := w.insert(o); err != nil {
		return err
	}
	if item == "" || item == "0" {
		return nil
	}
	before, draft := o.clone(), o.clone()
	draft.set("item_id", item)
	draft.set("temp_id", "")
	return w.commit(o, before, draft)
}

// update is core/update.
func (w *write) update(params object) (*answer, error) {
	if err := w.tracking(params); err != nil {
		return nil, err
	}
	fields, err := w.fieldsParam(params)
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
	if o.class.name != "Attachment" {
		if err := w.portalOnly(fields); err != nil {
			return nil, err
		}
	}
	before, draft := w.versions(o, fields)
	if err := w.assign(draft, fields); err != nil {
		return nil, err
	}
	if o.class.name == "Attachment" && w.given["item_id"] && draft.text("item_id") != "0" {
		draft.set("temp_id", "")
	}
	w.window(before, draft)
	if err := w.commit(o, before, draft); err != nil {
		return nil, err
	}
	return &answer{objects: object{w.sim.store.entryOf(o, show, 0, "updated")}}, nil
}

// versions are the object as its writer read it, twice: before the last entry of
// a journal was written, where the simulator is told so.
func (w *write) versions(o *record, fields object) (before, draft *record) {
	before, draft = o.clone(), o.clone()
	s := w.sim
	for _, p := range fields {
		log := o.log(p.key)
		i := slices.IndexFunc(s.races, func(r Race) bool {
			return r.Log == p.key && (r.Key == 0 || r.Key == o.id) && (r.By == "" || r.By == w.account.Login)
		})
		if i < 0 || len(log) == 0 {
			continue
		}
		s.races = slices.Delete(s.races, i, i+1)
		before.set(p.key, log[:len(log)-1])
		draft.set(p.key, log[:len(log)-1])
	}
	return before, draft
}

// window leaves others the time to write between our reading a log and our
// writing it back, where the simulator is told to lose entries.
func (w *write) window(before, draft *record) {
	if !w.sim.LoseConcurrentLogWrites {
		return
	}
	for _, c := range changes(before, draft) {
		if a := draft.class.attr(c.Attcode); a.kind == kLog {
			w.sim.mu.Unlock()
			time.Sleep(w.sim.LogWindow)
			w.sim.mu.Lock()
			return
		}
	}
}

// applyStimulus is core/apply_stimulus.
func (w *write) applyStimulus(params object) (*answer, error) {
	if err := w.tracking(params); err != nil {
		return nil, err
	}
	fields, err := w.fieldsParam(params)
	if err != nil {
		return nil, err
	}
	stimulus, err := mandatory(params, "stimulus")
	if err != nil {
		return nil, err
	}
	w.stimulus = scalar(stimulus)
	o, show, err := w.target(params)
	if err != nil {
		return nil, err
	}
	if err := w.allow(modify, o.class.name); err != nil {
		return nil, err
	}
	if err := w.portalOnly(fields); err != nil {
		return nil, err
	}
	before, draft := w.versions(o, fields)
	if err := w.assign(draft, fields); err != nil {
		return nil, err
	}
	if err := w.transit(draft); err != nil {
		return nil, err
	}
	w.window(before, draft)
	if err := w.commit(o, before, draft); err != nil {
		return nil, err
	}
	return &answer{objects: object{w.sim.store.entryOf(o, show, 0, "updated")}}, nil
}

func (w *write) transit(draft *record) error {
	state := draft.text("status")
	t, ok := w.sim.model.states[state][w.stimulus]
	if !ok || draft.class.state == "" {
		return refused(codeInternal, "Invalid stimulus: '%s' on the object %s in state '%s'", w.stimulus, draft.friendly(), state)
	}
	var missing []string
	for _, name := range t.must {
		if draft.text(name) == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return refused(codeInternal, "Missing mandatory attribute(s) for applying the stimulus: %s.", strings.Join(missing, ", "))
	}
	draft.set("status", t.to)
	return nil
}

// delete is core/delete.
func (w *write) delete(params object) (*answer, error) {
	if err := w.tracking(params); err != nil {
		return nil, err
	}
	class, err := w.classParam(params)
	if err != nil {
		return nil, err
	}
	key, err := mandatory(params, "key")
	if err != nil {
		return nil, err
	}
	found, target, err := w.several(class, key)
	if err != nil {
		return nil, err
	}
	if err := w.allow(remove, target); err != nil {
		return nil, err
	}
	if target != "UserRequest" && target != "Attachment" {
		return nil, internal("the simulator deletes objects of class UserRequest and Attachment only, not %s", target)
	}
	return w.deleteAll(found, params.get("simulate") == true), nil
}

func (w *write) deleteAll(found []*record, simulate bool) *answer {
	a := &answer{message: fmt.Sprintf("Deleted: %d", len(found))}
	if simulate {
		a.message = "SIMULATING: " + a.message.(string)
	}
	for _, o := range found {
		a.objects = append(a.objects, w.sim.store.entryOf(o, nil, 0, ""))
		if !simulate {
			w.drop(o)
		}
	}
	return a
}
