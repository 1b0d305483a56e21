package itopsim

import (
	"reflect"
	"slices"
	"strconv"
	"time"
)

// Contexts in which a change can happen; triggers may be limited to some.
const (
	ContextREST    = "REST/JSON"
	ContextConsole = "GUI:Console"
	ContextPortal  = "GUI:Portal"
)

// Write is one effect: what happened to one object.
type Write struct {
	Time      time.Time `json:"time"`
	Login     string    `json:"login"`
	Context   string    `json:"context"`   // see the constants
	Operation string    `json:"operation"` // as the client named it
	Class     string    `json:"class"`
	Key       int       `json:"key"`
	Effect    string    `json:"effect"` // create, update or delete
	Changed   []Change  `json:"changed"`
}

// Change is one attribute's change. Of a log, New is the newest entry's HTML;
// of a file, its name.
type Change struct {
	Attcode string `json:"attcode"`
	Old     string `json:"old"`
	New     string `json:"new"`
}

// write is one request that may change things. It runs under the Sim's lock.
type write struct {
	sim       *Sim
	account   *Account
	context   string
	operation string
	comment   string
	now       string
	forced    bool            // go round SUMiT's locks
	stimulus  string          // the stimulus being applied
	given     map[string]bool // attributes that the client sent
	change    *record         // the CMDBChange of this request
	posts     []*post         // webhooks to send once the lock is released
}

func (w *write) french() bool { return w.account.Language == "FR FR" }

// person tells whether somebody acts in the console or the portal.
func (w *write) person() bool { return w.context != ContextREST }

func same(a, b any) bool { return reflect.DeepEqual(a, b) }

func contains(l []string, s string) bool { return slices.Contains(l, s) }

func itoa(n int) string { return strconv.Itoa(n) }

// insert checks a new object, stores it and fires what it triggers.
func (w *write) insert(o *record) error {
	w.prepareNew(o)
	w.derive(nil, o)
	if err := checked(w.issues(nil, o), o.class.name, -1); err != nil {
		return err
	}
	w.sim.store.add(o)
	w.historyCreate(o)
	list := changes(&record{class: o.class, vals: map[string]any{}}, o)
	w.note(o, "create", list)
	w.keepImages(o, list)
	w.fire(o, "create", nil)
	return nil
}

// prepareNew fills defaults. A ticket takes its number before it is checked,
// so a refused creation leaves a gap.
func (w *write) prepareNew(o *record) {
	for _, a := range o.class.attrs {
		if _, given := o.vals[a.name]; !given && a.def != "" {
			o.set(a.name, a.def)
		}
	}
	switch o.class.name {
	case "UserRequest":
		w.sim.store.refs++
		setEmpty(o, "ref", "R-"+pad6(w.sim.store.refs))
		setEmpty(o, "start_date", w.now)
		o.set("last_update", w.now)
	case "Attachment":
		setEmpty(o, "creation_date", w.now)
		setEmpty(o, "expire", w.now)
		o.set("user_id", w.account.ID)
		o.set("contact_id", w.account.ContactID)
	case "UserLocal", "UserToken":
		setEmpty(o, "status", "enabled")
	}
}

func setEmpty(o *record, name, value string) {
	if o.text(name) == "" {
		o.set(name, value)
	}
}

func pad6(n int) string {
	s := itoa(n)
	for len(s) < 6 {
		s = "0" + s
	}
	return s
}

// commit writes what differs between before and draft to the stored object,
// and fires what that triggers. Nothing changed = nothing written.
func (w *write) commit(o, before, draft *record) error {
	if err := w.lock(before, draft); err != nil {
		return err
	}
	if len(changes(before, draft)) == 0 && before.text("last_update") == draft.text("last_update") {
		return nil
	}
	w.derive(before, draft)
	if err := checked(w.issues(before, draft), o.class.name, o.id); err != nil {
		return err
	}
	list := changes(before, draft)
	for _, a := range o.class.attrs {
		if !same(before.vals[a.name], draft.vals[a.name]) {
			o.set(a.name, draft.vals[a.name])
		}
	}
	w.historyUpdate(o, before, draft)
	w.note(o, "update", list)
	w.keepImages(o, list)
	w.fireUpdate(o, before, list)
	return nil
}

// derive computes what follows from what the client set.
func (w *write) derive(before, draft *record) {
	if draft.class.name != "UserRequest" {
		return
	}
	if w.sim.model.sumit {
		w.sumitDerive(before, draft)
	}
	w.requestType(before, draft)
	draft.set("priority", priority(draft.text("impact"), draft.text("urgency")))
	state := draft.text("status")
	if before != nil && before.text("status") != state {
		w.enter(draft, state)
	}
	draft.set("last_update", w.now)
}

// requestType comes from the service subcategory unless the client sets it.
func (w *write) requestType(before, draft *record) {
	if w.given["request_type"] || before != nil && before.key("servicesubcategory_id") == draft.key("servicesubcategory_id") {
		return
	}
	sub := w.sim.store.find("ServiceSubcategory", draft.key("servicesubcategory_id"))
	if sub != nil && sub.text("request_type") != "" {
		draft.set("request_type", sub.text("request_type"))
	}
}

// drop deletes an object.
func (w *write) drop(o *record) {
	w.fire(o, "delete", nil)
	w.sim.store.remove(o)
	w.historyDelete(o)
	w.note(o, "delete", nil)
}

// changes lists the attributes that differ.
func changes(before, after *record) []Change {
	var out []Change
	for _, a := range after.class.attrs {
		if a.name == "last_update" || same(before.vals[a.name], after.vals[a.name]) {
			continue
		}
		if before.text(a.name) == "" && after.text(a.name) == "" && !isLogOrBlob(a) {
			continue
		}
		out = append(out, Change{a.name, changeText(before, a), changeText(after, a)})
	}
	return out
}

func isLogOrBlob(a *attr) bool { return a.kind == kLog || a.kind == kBlob }

func changeText(r *record, a *attr) string {
	switch v := r.vals[a.name].(type) {
	case []entry:
		if len(v) > 0 {
			return v[len(v)-1].html
		}
		return ""
	case *blob:
		if v != nil {
			return v.name
		}
		return ""
	}
	return r.text(a.name)
}

func (w *write) note(o *record, effect string, list []Change) {
	w.sim.writes = append(w.sim.writes, Write{Time: time.Now(), Login: w.account.Login, Context: w.context,
		Operation: w.operation, Class: o.class.name, Key: o.id, Effect: effect, Changed: list})
}
