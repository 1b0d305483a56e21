package itop

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/internal/richtext"
)

// events turns a message into what it says, one event a fact.
func (t *ITop) events(op string, q *request) ([]*passerelle.Event, error) {
	class := q.json.Get("class").String()
	file := op == "core/create" && class == "Attachment"
	if class != t.cfg.Class && !file {
		return nil, t.noClass(class)
	}
	fields, err := flatFields(q.json.Get("fields"))
	if err != nil {
		return nil, err
	}
	base := &passerelle.Event{Contract: t.cfg.Contract, From: t.cfg.Side, At: time.Now(), Author: fields["last_update_by"], Fields: fields, Unread: t.cfg.BaseURL == ""}
	if err := t.claim(base, q.json.Get("key"), fields); err != nil {
		return nil, err
	}
	switch {
	case file:
		return t.attachmentObject(base, q)
	case op == "core/create":
		return t.create(base, q)
	case len(base.Claims) == 0:
		return nil, failf(codeInternal, "Missing parameter 'key'")
	case op == "core/update":
		return t.update(base)
	case op == "core/apply_stimulus":
		return t.stimulus(base, q)
	default:
		return t.attachments(base, q, "attachments")
	}
}

// claim notes every reference by which the message names the ticket. For the
// requester, customer_* is its own ticket; a partner's agent knows the broker's
// ticket by that name (R26).
func (t *ITop) claim(e *passerelle.Event, key gjson.Result, fields map[string]string) error {
	add := func(side passerelle.Side, key string) {
		if key != "" && key != "0" {
			e.Claims = append(e.Claims, passerelle.Claim{Side: side, Key: key})
		}
	}
	own, err := plainKey(key)
	if err != nil {
		return err
	}
	for _, name := range []string{"customer_id", "customer_ref", "provider_id", "provider_ref"} {
		if err := shortKey(name, fields[name]); err != nil {
			return err
		}
	}
	add(passerelle.Broker, own)
	if t.cfg.Side == passerelle.Requester {
		e.Key = fields["customer_id"]
		add(passerelle.Requester, fields["customer_id"])
		add(passerelle.Requester, fields["customer_ref"])
		add(passerelle.Partner, fields["provider_id"])
		return nil
	}
	add(passerelle.Broker, fields["customer_id"])
	add(passerelle.Partner, fields["provider_id"])
	add(passerelle.Partner, fields["provider_ref"])
	e.Key = fields["provider_id"]
	return nil
}

// create is the ticket itself, and what was given with it: journal entries and
// files follow it as facts of their own (R29).
func (t *ITop) create(e *passerelle.Event, q *request) ([]*passerelle.Event, error) {
	e.Kind = passerelle.Create
	out := append([]*passerelle.Event{e}, journals(e)...)
	delete(e.Fields, "private_log")
	if !q.json.Get("attachments").Exists() {
		return out, nil
	}
	files, err := t.attachments(e, q, "attachments")
	return append(out, files...), err
}

// update is a journal entry, or both at once, or a change of other fields.
func (t *ITop) update(e *passerelle.Event) ([]*passerelle.Event, error) {
	out := journals(e)
	delete(e.Fields, "public_log")
	delete(e.Fields, "private_log")
	e.Kind = passerelle.Change
	if id, ref := e.Fields["provider_id"], e.Fields["provider_ref"]; t.cfg.Side == passerelle.Partner && id != "" && ref != "" {
		// R5: the partner's number comes back on its own.
		e.Kind, e.Names = passerelle.Reference, []string{referenceName(nameKey(e), id, ref)}
	}
	return append(out, e), nil
}

// referenceName is the identity of the fact that a ticket has this key and
// number at the partner's.
func referenceName(ticket, id, ref string) string { return ticket + "/reference/" + id + "/" + ref }

// journals are the entries that a message carries, the private one first, as
// iTop pushes them.
func journals(e *passerelle.Event) []*passerelle.Event {
	var out []*passerelle.Event
	for _, log := range []struct {
		field string
		kind  passerelle.Kind
	}{{"private_log", passerelle.PrivateLog}, {"public_log", passerelle.PublicLog}} {
		text := e.Fields[log.field]
		words := richtext.Identity(text)
		if words == "" && len(richtext.Images(text)) == 0 {
			continue // iTop adds nothing for an empty text
		}
		one := copyOf(e)
		one.Kind = log.kind
		one.Fields = map[string]string{log.field: text}
		if who := e.Fields["author"]; who != "" {
			one.Fields["author"] = who
		}
		one.Names = []string{wordsName(nameKey(e), log.field, cmp.Or(words, text), 1)}
		out = append(out, one)
	}
	return out
}

// nameKey is the ticket's key in the names of its facts: the sender's own, or
// the broker's where a partner's agent gives no other.
func nameKey(e *passerelle.Event) string {
	if e.Key == "" && len(e.Claims) > 0 {
		return e.Claims[0].Key
	}
	return e.Key
}

func (t *ITop) stimulus(e *passerelle.Event, q *request) ([]*passerelle.Event, error) {
	e.Signal = q.json.Get("stimulus").String()
	if e.Signal == "" {
		return nil, failf(codeInternal, "Missing parameter 'stimulus'")
	}
	if err := shortKey("stimulus", e.Signal); err != nil {
		return nil, err
	}
	return []*passerelle.Event{e}, nil
}

// attachmentObject is stock iTop's way: core/create of an Attachment.
func (t *ITop) attachmentObject(e *passerelle.Event, q *request) ([]*passerelle.Event, error) {
	if class := e.Fields["item_class"]; class != t.cfg.Class {
		return nil, failf(codeInternal, "item_class: '%s' has no attachments here (use %s)", class, t.cfg.Class)
	}
	item, err := plainKey(q.json.Get("fields.item_id"))
	if err != nil {
		return nil, err
	}
	if item == "" || item == "0" {
		return nil, failf(codeInternal, "Missing parameter 'item_id'")
	}
	e.Claims = append(e.Claims, passerelle.Claim{Side: passerelle.Broker, Key: item})
	return t.attachments(e, q, "fields.contents")
}

// attachments is one event for each file at path, so that each is carried and
// remembered on its own.
func (t *ITop) attachments(e *passerelle.Event, q *request, path string) ([]*passerelle.Event, error) {
	list := q.json.Get(path)
	var items []gjson.Result
	switch {
	case path == "fields.contents" && list.IsObject():
		items = []gjson.Result{list}
	case path == "fields.contents":
		return nil, failf(codeInternal, "contents: expected {data, filename, mimetype}")
	case list.IsArray():
		list.ForEach(func(_, x gjson.Result) bool { items = append(items, x); return len(items) <= maxFiles })
	}
	if len(items) > maxFiles {
		return nil, failf(codeInternal, "attachments: more than %d (send them in several messages)", maxFiles)
	}
	if len(items) == 0 {
		return nil, failf(codeNoJSON, "attachments: expected a list of at least one {data, filename, mimetype}")
	}
	var out []*passerelle.Event
	for i, item := range items {
		f, err := q.file(i, item)
		if err != nil {
			return nil, err
		}
		one := copyOf(e)
		one.Kind, one.Signal = passerelle.Attach, ""
		one.Fields = map[string]string{}
		one.Files = []passerelle.File{f}
		one.Alias = fileAlias(nameKey(e), f)
		out = append(out, one)
	}
	return out, nil
}

// file is one attachment of the message, whose bytes are in the spool.
func (q *request) file(i int, item gjson.Result) (passerelle.File, error) {
	name, data := shortName(cleanName(item.Get("filename").String())), item.Get("data")
	switch {
	case !data.Exists():
		return passerelle.File{}, failf(codeBadJSON, "attachments[%d]: missing data", i)
	case name == "":
		return passerelle.File{}, failf(codeBadJSON, "attachments[%d]: missing filename", i)
	}
	number, ok := strings.CutPrefix(data.String(), token)
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 0 || n >= len(q.files) || q.files[n].err != nil {
		return passerelle.File{}, failf(codeBadJSON, "attachments[%d]: data must be base64 and filename not empty (« %s »)", i, name)
	}
	f := q.files[n].file
	f.Name, f.MIME = name, item.Get("mimetype").String()
	if shortKey("", f.MIME) != nil {
		f.MIME = "" // a guess is as good
	}
	return f, nil
}

// cleanName keeps the last element of a path, without control characters and
// those that turn the direction of a text: a name is for people, never for a
// file system.
func cleanName(s string) string {
	s = s[strings.LastIndexAny(s, `/\`)+1:]
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, s)
	if s = strings.TrimSpace(s); s == "." || s == ".." {
		return ""
	}
	return s
}

func copyOf(e *passerelle.Event) *passerelle.Event {
	c := *e
	c.Claims = slices.Clone(e.Claims)
	c.Names = nil
	c.Fields = maps.Clone(e.Fields)
	return &c
}

// logName is the identity of a journal entry, which has none of its own: the
// ticket, the log, the text, and how often that text stood there before.
func logName(ticket, log, html string, k int) string {
	return wordsName(ticket, log, identity(html), k)
}

func wordsName(ticket, log, identity string, k int) string {
	sum := sha256.Sum256([]byte(identity))
	return ticket + "/" + log + "/" + hex.EncodeToString(sum[:]) + "#" + strconv.Itoa(k)
}

// identity is what of an entry's HTML tells it from others.
func identity(html string) string {
	return cmp.Or(richtext.Identity(html), html)
}

// fileAlias is the weaker identity of a pushed file, whose id only a later
// reading tells. Names of facts are kept for good: of the file's own, which may
// name a person, a hash is.
func fileAlias(ticket string, f passerelle.File) string {
	sum := sha256.Sum256([]byte(f.Name))
	return ticket + "/file/" + f.Sum + "/" + hex.EncodeToString(sum[:])
}

// flatFields reads a message's fields as texts. Of a field that is there twice
// the last counts, as in iTop.
func flatFields(v gjson.Result) (map[string]string, error) {
	fields := map[string]string{}
	if v.Exists() && v.Type != gjson.Null && !v.IsObject() {
		return nil, failf(codeInternal, "fields: expected {\"attribute\": value, …}")
	}
	var err error
	v.ForEach(func(k, x gjson.Result) bool {
		if k.String() == "contents" {
			return true
		}
		var s string
		if s, err = flat(k.String(), x); err != nil {
			return false
		}
		fields[k.String()] = s
		return true
	})
	return fields, err
}

// flat reads a field's value in any form that iTop takes: text, number, an
// external key as {"name": …} or as OQL with a name, a journal entry as
// add_item.
func flat(name string, v gjson.Result) (string, error) {
	switch {
	case v.IsObject():
		return flatObject(name, v)
	case v.IsArray():
		return "", failf(codeInternal, "%s: a list is not understood here", name)
	case strings.HasSuffix(name, "_id") && isOQL(v.String()):
		return nameInOQL(name, v.String())
	}
	return v.String(), nil
}

func flatObject(name string, v gjson.Result) (string, error) {
	if item := v.Get("add_item"); item.IsObject() {
		text := item.Get("message").String()
		if item.Get("format").String() == "text" {
			text = richtext.Escape(text) // what looks like markup is text here
		}
		return text, nil
	}
	for _, path := range []string{"name", "friendlyname", "id", "value"} {
		if x := v.Get(path); x.Exists() && !x.IsObject() && !x.IsArray() {
			return x.String(), nil
		}
	}
	if v.Get("items").Exists() {
		return "", failf(codeInternal, "%s: 'items' replaces the whole journal; send the new entry as a text or add_item", name)
	}
	return "", failf(codeInternal, "%s: name it by {\"name\": …}, its id or a text", name)
}

func isOQL(s string) bool { return len(s) > 7 && strings.EqualFold(s[:7], "SELECT ") }

var (
	oqlSelected = regexp.MustCompile(`(?i)^SELECT\s+(\w+)(?:\s+AS\s+(\w+))?`)
	oqlName     = regexp.MustCompile(`(?i)(?:\b(\w+)\.)?\bname\s*=\s*(` + oqlText + `)`)
	oqlKey      = regexp.MustCompile(`(?i)^SELECT\s+\w+\s+WHERE\s+(?:id|ref)\s*=\s*(` + oqlText + `|\d+)\s*$`)
)

const oqlText = `"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'`

// nameInOQL finds the name of what a query selects; those of what it joins are
// of other things.
func nameInOQL(field, query string) (string, error) {
	selected := oqlSelected.FindStringSubmatch(query)
	var names []string
	for _, m := range oqlName.FindAllStringSubmatch(query, -1) {
		if m[1] == "" || selected != nil && (m[1] == selected[1] || m[1] == selected[2]) {
			names = append(names, unquote(m[2]))
		}
	}
	if len(names) != 1 {
		return "", failf(codeInternal, "%s: only a query with one name = \"…\" is understood, not %s", field, query)
	}
	return names[0], nil
}

// unquote reads an OQL literal; a number stays as it is.
func unquote(s string) string {
	if s[0] != '"' && s[0] != '\'' {
		return s
	}
	s = s[1 : len(s)-1]
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\'`, `'`).Replace(s)
}

// shortKey refuses a key that no tool can have given: it becomes part of names
// that are kept for years.
func shortKey(field, key string) error {
	if len(key) > maxKey || strings.ContainsFunc(key, unicode.IsControl) {
		return failf(codeInternal, "%s: more than %d bytes, or control characters in it", field, maxKey)
	}
	return nil
}

// plainKey reads a message's key: an id, a ref, {"ref": …} or {"id": …}, or a
// query for one of them.
func plainKey(v gjson.Result) (string, error) {
	key, err := keyIn(v)
	if err == nil {
		err = shortKey("key", key)
	}
	return key, err
}

// keyIn reads a key in any of its forms.
func keyIn(v gjson.Result) (string, error) {
	for _, name := range []string{"id", "ref"} {
		if x := v.Get(name); v.IsObject() && x.Exists() {
			return x.String(), nil
		}
	}
	if v.IsObject() || v.IsArray() {
		return "", failf(codeInternal, "key: name the ticket by its id, {\"id\": …} or {\"ref\": …}")
	}
	if !isOQL(v.String()) {
		return v.String(), nil
	}
	m := oqlKey.FindStringSubmatch(v.String())
	if m == nil {
		return "", failf(codeInternal, "key: only a query with id = … or ref = \"…\" is understood, not %s", v.String())
	}
	return unquote(m[1]), nil
}
