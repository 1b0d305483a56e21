package itopsim

// changeRecord is the CMDBChange that groups what one request does.
func (w *write) changeRecord() int {
	if w.change == nil {
		origin := "webservice-rest"
		info := w.comment
		if w.person() {
			origin, info = "interactive", w.account.Name
		}
		w.change = &record{class: w.sim.model.classes["CMDBChange"], vals: map[string]any{
			"date": w.now, "userinfo": info, "user_id": w.account.ID, "origin": origin}}
		w.sim.store.add(w.change)
	}
	return w.change.id
}

func (w *write) op(class, objclass string, key int, more ...pair) {
	vals := map[string]any{"change": w.changeRecord(), "objclass": objclass, "objkey": itoa(key)}
	for _, p := range more {
		vals[p.key] = p.value
	}
	w.sim.store.add(&record{class: w.sim.model.classes[class], vals: vals})
}

// tracked tells whether iTop keeps a history of a class. It keeps none of
// attachments, only of their coming and going in the console.
func tracked(o *record) bool { return o.class.name == "UserRequest" || o.class.name == "WorkOrder" }

func (w *write) historyCreate(o *record) {
	if tracked(o) {
		w.op("CMDBChangeOpCreate", o.class.name, o.id)
	}
}

func (w *write) historyDelete(o *record) {
	if tracked(o) {
		w.op("CMDBChangeOpDelete", o.class.name, o.id, pair{"fclass", o.class.name}, pair{"fname", o.friendly()})
	}
	if o.class.name == "Attachment" && w.person() {
		b, _ := o.vals["contents"].(*blob)
		w.op("CMDBChangeOpAttachmentRemoved", o.text("item_class"), atoi(o.text("item_id")), pair{"filename", blobName(b)})
	}
}

// historyUpdate notes one operation an attribute.
func (w *write) historyUpdate(o, before, draft *record) {
	if o.class.name == "Attachment" {
		w.historyAttach(o, before)
	}
	if !tracked(o) {
		return
	}
	for _, a := range o.class.attrs {
		if same(before.vals[a.name], draft.vals[a.name]) || a.name == "last_update" {
			continue
		}
		switch a.kind {
		case kLog:
			w.op("CMDBChangeOpSetAttributeCaseLog", o.class.name, o.id, pair{"attcode", a.name}, pair{"lastentry", itoa(len(draft.log(a.name)) - 1)})
		case kHTML:
			w.op("CMDBChangeOpSetAttributeHTML", o.class.name, o.id, pair{"attcode", a.name}, pair{"prevdata", before.text(a.name)})
		case kText:
			w.op("CMDBChangeOpSetAttributeLongText", o.class.name, o.id, pair{"attcode", a.name}, pair{"prevdata", before.text(a.name)})
		default:
			w.op("CMDBChangeOpSetAttributeScalar", o.class.name, o.id, pair{"attcode", a.name},
				pair{"oldvalue", before.text(a.name)}, pair{"newvalue", draft.text(a.name)})
		}
	}
}

func (w *write) historyAttach(o, before *record) {
	if !w.person() || before.text("item_id") != "0" || o.text("item_id") == "0" {
		return
	}
	b, _ := o.vals["contents"].(*blob)
	w.op("CMDBChangeOpAttachmentAdded", o.text("item_class"), atoi(o.text("item_id")), pair{"attachment_id", o.id}, pair{"filename", blobName(b)})
}

func blobName(b *blob) string {
	if b == nil {
		return ""
	}
	return b.name
}

func atoi(s string) int {
	n, _ := number(s)
	return n
}
