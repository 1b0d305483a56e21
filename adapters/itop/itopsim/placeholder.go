package itopsim

import (
	"cmp"
	"html"
	"regexp"
	"slices"
	"strings"
)

// template fills the placeholders of one action, as MetaModel::ApplyParams
// does: it collects the placeholders that the template itself contains, then
// replaces one after the other, so that text put in by the first can contain
// the second (recording 77).
type template struct {
	sim     *Sim
	this    *record
	trigger *Trigger
	account *Account
	french  bool
}

var placeholder = regexp.MustCompile(`(?:\$|%24)(this|trigger|action|current_contact|current_user)-(?:>|&gt;)([^$%]+?)(?:\$|%24)`)

// apply fills one text.
func (t *template) apply(text string) string {
	source := text
	matches := placeholder.FindAllStringSubmatch(text, -1)
	for _, subject := range []string{"this", "trigger", "action", "", "current_contact", "current_user"} {
		if subject == "" {
			text = t.constants(source, text)
			continue
		}
		for _, m := range matches {
			if m[1] != subject {
				continue
			}
			if value, ok := t.value(subject, m[2]); ok {
				text = strings.ReplaceAll(text, m[0], value)
			}
		}
	}
	return text
}

// constants replaces those that the template itself contains.
func (t *template) constants(source, text string) string {
	for _, p := range [][2]string{{"APP_URL", t.sim.AppURL}, {"MODULES_URL", t.sim.AppURL + "env-production/"}, {"current_contact_id", itoa(t.account.ContactID)}} {
		for _, form := range []string{"$" + p[0] + "$", "%24" + p[0] + "%24"} {
			if strings.Contains(source, form) {
				text = strings.ReplaceAll(text, form, p[1])
			}
		}
	}
	return text
}

// value is what a placeholder stands for; not ok = it stays as it is.
func (t *template) value(subject, what string) (string, bool) {
	what = strings.ReplaceAll(what, "-&gt;", "->")
	switch subject {
	case "trigger":
		v, ok := map[string]string{"description": t.trigger.Name, "finalclass": t.trigger.finalClass(), "target_class": t.trigger.Class}[what]
		return v, ok
	case "action":
		return cmp.Or(t.trigger.Action.Name, t.trigger.Name), what == "name"
	case "current_user":
		return t.of(t.sim.store.find("User", t.account.ID), what)
	case "current_contact":
		return t.of(t.sim.store.find("Person", t.account.ContactID), what)
	}
	return t.of(t.this, what)
}

var verb = regexp.MustCompile(`^([a-z_]+)\(([^)]*)\)$`)

func (t *template) of(o *record, what string) (string, bool) {
	if o == nil {
		return t.undefined(), true
	}
	if m := verb.FindStringSubmatch(what); m != nil {
		return t.call(o, m[1], m[2])
	}
	if path, rest, ok := strings.Cut(what, "->"); ok {
		return t.path(o, path, rest)
	}
	if what == "id" {
		return itoa(o.id), true
	}
	a := o.class.attr(what)
	if a == nil {
		return "", false
	}
	if a.kind == kList {
		return "", true
	}
	return t.sim.store.value(o, a), true
}

// path follows a key; a key to nothing gives iTop's word for it.
func (t *template) path(o *record, name, rest string) (string, bool) {
	a := o.class.attr(name)
	if a == nil || t.sim.store.targetOf(o.class, a) == "" {
		return "", false
	}
	target := t.sim.store.find(t.sim.store.targetOf(o.class, a), atoi(t.sim.store.value(o, a)))
	return t.of(target, rest)
}

func (t *template) undefined() string {
	if t.french {
		return "non défini"
	}
	return "undefined"
}

func (t *template) call(o *record, verb, arg string) (string, bool) {
	switch verb {
	case "name":
		return o.friendly(), true
	case "url":
		return t.url(o, arg == "portal"), true
	case "hyperlink":
		return t.hyperlink(o, t.url(o, arg == "portal")), true
	}
	a := o.class.attr(arg)
	if a == nil {
		return "", false
	}
	switch verb {
	case "head", "head_html":
		return head(o, a, verb == "head_html")
	case "raw":
		return t.sim.store.value(o, a), true
	case "label":
		return t.label(o, a), true
	case "text":
		return t.text(o, a), true
	case "html":
		return t.html(o, a), true
	}
	return "", false
}

// head is the newest entry of a log.
func head(o *record, a *attr, asHTML bool) (string, bool) {
	if a.kind != kLog {
		return "", false
	}
	entries := o.log(a.name)
	if len(entries) == 0 {
		return "", true
	}
	e := entries[len(entries)-1]
	if asHTML {
		return e.html, true
	}
	return e.text, true
}

func (t *template) label(o *record, a *attr) string {
	v := t.sim.store.value(o, a)
	switch a.kind {
	case kEnum:
		return a.valueLabel(v, t.french)
	case kBlob:
		return ""
	}
	return v
}

func (t *template) text(o *record, a *attr) string {
	if a.kind == kHTML {
		return htmlToText(o.text(a.name))
	}
	return t.label(o, a)
}

// html escapes; HTML fields come wrapped.
func (t *template) html(o *record, a *attr) string {
	switch a.kind {
	case kHTML:
		return `<div class="HTML ibo-is-html-content" >` + o.text(a.name) + `</div>`
	case kLog:
		return logTable(o.log(a.name))
	case kList:
		return "<ul><li></li></ul>"
	case kEnum:
		return t.badge(o, a)
	case kKey:
		return t.keyLink(o, a)
	case kBlob:
		return fileLine(o.vals[a.name])
	}
	return escapeHTML(t.sim.store.value(o, a))
}

func escapeHTML(s string) string {
	return strings.NewReplacer("&#34;", "&quot;", "&#39;", "&#039;").Replace(html.EscapeString(s))
}

func fileLine(v any) string {
	b, _ := v.(*blob)
	if b == nil {
		return ""
	}
	return escapeHTML(b.name) + " (" + itoa(len(b.data)) + `B / 0 <i class="fas fa-cloud-download-alt" data-tooltip-content="Downloaded 0 time(s)"></i>)<br/>`
}

// badge is the console's mark of an enumerated value; its id is random in iTop.
func (t *template) badge(o *record, a *attr) string {
	icon := map[string]string{"pending": "fas fa-hourglass-half", "resolved": "fas fa-check"}[t.sim.store.value(o, a)]
	if icon != "" {
		icon = `<span class="ibo-field-badge--decoration"><i class="` + icon + `"></i></span>`
	}
	value := t.sim.store.value(o, a)
	return `<div id="ibo-field-badge-` + pad6(o.id) + `"` + "\n            " + `class="ibo-field-badge ibo-content-block ibo-block ibo-dm-enum--` +
		o.class.name + `-` + a.name + `-` + value + ` ibo-field-badge "` + "\n                        " + `>` + icon +
		`<span class="ibo-field-badge--label">` + escapeHTML(t.label(o, a)) + `</span></div>`
}

func (t *template) keyLink(o *record, a *attr) string {
	target := t.sim.store.find(a.target, o.key(a.name))
	if target == nil {
		return t.undefined()
	}
	return `<span class="object-ref "  title="` + t.classLabel(target) + `::` + itoa(target.id) + `"><a class="object-ref-link" href="` +
		t.url(target, false) + `&">` + escapeHTML(target.friendly()) + `</a></span>`
}

func (t *template) classLabel(o *record) string {
	if o.class.en != "" {
		return o.class.en
	}
	return o.class.name
}

func (t *template) url(o *record, portal bool) string {
	if portal {
		return t.sim.AppURL + "pages/exec.php/object/edit/" + o.class.name + "/" + itoa(o.id) +
			"?exec_module=itop-portal-base&exec_page=index.php&exec_env=production&portal_id=itop-portal"
	}
	return t.sim.AppURL + "pages/UI.php?operation=details&class=" + o.class.name + "&id=" + itoa(o.id)
}

var tooltip = []string{`interaction-enabled="true"`, `is-async="true"`, `html-enabled="true"`, `sanitizer-skipped="false"`, `show-delay="800"`,
	`hide-delay="500"`, `max-width="600px"`, `theme="object-summary"`}

func (t *template) hyperlink(o *record, url string) string {
	var b strings.Builder
	b.WriteString(`<span class="object-ref " data-tooltip-content="` + t.sim.AppURL + `pages/UI.php?route=object.summary&obj_class=` +
		o.class.name + `&obj_key=` + itoa(o.id) + `" ` + "\n")
	for _, option := range tooltip {
		b.WriteString("data-tooltip-" + option + " \n")
	}
	b.WriteString(`data-tooltip-append-to="body" title="` + t.classLabel(o) + `::` + itoa(o.id) + `"><a class="object-ref-link" href="` + url + `">` +
		escapeHTML(o.friendly()) + `</a></span>`)
	return b.String()
}

// applyJSON fills every string of a decoded payload, names of members included.
func (t *template) applyJSON(v any) any {
	switch v := v.(type) {
	case string:
		return t.apply(v)
	case list:
		out := slices.Clone(v)
		for i := range out {
			out[i] = t.applyJSON(out[i])
		}
		return out
	case object:
		out := slices.Clone(v)
		for i := range out {
			out[i] = pair{t.apply(out[i].key), t.applyJSON(out[i].value)}
		}
		return out
	}
	return v
}
