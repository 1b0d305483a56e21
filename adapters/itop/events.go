package itop

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/internal/richtext"
)

// events turns a message into what it says, one event a fact.
func (t *ITop) events(op string, q *request) ([]*passerelle.Event, error) {
	fields, err := flatFields(q.json.Get("fields"))
	if err != nil {
		return nil, err
	}
	base := &passerelle.Event{Contract: t.cfg.Contract, From: t.cfg.Side, At: time.Now(), Author: fields["last_update_by"], Fields: fields}
	t.claim(base, q, fields)
	switch {
	case op == "core/create" && q.json.Get("class").String() == "Attachment":
		return t.attachmentObject(base, q)
	case op == "core/create":
		return t.create(base, q)
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
func (t *ITop) claim(e *passerelle.Event, q *request, fields map[string]string) {
	add := func(side passerelle.Side, key string) {
		if key != "" && key != "0" {
			e.Claims = append(e.Claims, passerelle.Claim{Side: side, Key: key})
		}
	}
	add(passerelle.Broker, plainKey(q.json.Get("key")))
	if t.cfg.Side == passerelle.Requester {
		e.Key = fields["customer_id"]
		add(passerelle.Requester, fields["customer_id"])
		add(passerelle.Requester, fields["customer_ref"])
		add(passerelle.Partner, fields["provider_id"])
		return
	}
	add(passerelle.Broker, fields["customer_id"])
	add(passerelle.Partner, fields["provider_id"])
	e.Key = fields["provider_id"]
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
	return append(out, e), nil
}

// journals are the entries that a message carries, the private one first, as
// iTop pushes them.
func journals(e *passerelle.Event) []*passerelle.Event {
	var out []*passerelle.Event
	for _, log := range []struct {
		field string
		kind  passerelle.Kind
	}{{"private_log", passerelle.PrivateLog}, {"public_log", passerelle.PublicLog}} {
		text := e.Fields[log.field]
		if richtext.Identity(text) == "" && len(richtext.Images(text)) == 0 {
			continue // iTop adds nothing for an empty text
		}
		one := copyOf(e)
		one.Kind = log.kind
		one.Fields = map[string]string{log.field: text}
		one.Names = []string{logName(nameKey(e), log.field, text, 1)}
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
	return []*passerelle.Event{e}, nil
}

// attachmentObject is stock iTop's way: core/create of an Attachment.
func (t *ITop) attachmentObject(e *passerelle.Event, q *request) ([]*passerelle.Event, error) {
	item := plainKey(q.json.Get("fields.item_id"))
	if item == "" || item == "0" {
		return nil, failf(codeInternal, "Missing parameter 'item_id'")
	}
	e.Claims = append(e.Claims, passerelle.Claim{Side: passerelle.Broker, Key: item})
	return t.attachments(e, q, "fields.contents")
}

// attachments is one event for each file, so that each is carried and
// remembered on its own.
func (t *ITop) attachments(e *passerelle.Event, q *request, path string) ([]*passerelle.Event, error) {
	list := q.json.Get(path)
	if !list.Exists() {
		return nil, failf(codeInternal, "Missing parameter 'attachments'")
	}
	items := []gjson.Result{list}
	if list.IsArray() {
		items = list.Array()
	} else if path == "attachments" {
		items = nil
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
	name := cleanName(item.Get("filename").String())
	if name == "" {
		return passerelle.File{}, failf(codeBadJSON, "attachments[%d]: missing filename", i)
	}
	n, err := strconv.Atoi(strings.TrimPrefix(item.Get("data").String(), token))
	if err != nil || n < 0 || n >= len(q.files) || q.bad[n] != nil {
		return passerelle.File{}, failf(codeBadJSON, "attachments[%d]: data must be base64 and filename not empty (« %s »)", i, name)
	}
	f := q.files[n]
	f.Name, f.MIME = name, item.Get("mimetype").String()
	return f, nil
}

// cleanName keeps the last element of a path, without control characters: a
// name is for people, never for a file system.
func cleanName(s string) string {
	s = s[strings.LastIndexAny(s, `/\`)+1:]
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
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
	sum := sha256.Sum256([]byte(identity(html)))
	return ticket + "/" + log + "/" + hex.EncodeToString(sum[:]) + "#" + strconv.Itoa(k)
}

// identity is what of an entry's HTML tells it from others.
func identity(html string) string {
	if text := richtext.Identity(html); text != "" {
		return text
	}
	return html
}

// fileAlias is the weaker identity of a pushed file, whose id only a later
// reading tells.
func fileAlias(ticket string, f passerelle.File) string {
	return ticket + "/file/" + f.Sum + "/" + f.Name
}

// flatFields reads a message's fields as texts.
func flatFields(v gjson.Result) (map[string]string, error) {
	fields := map[string]string{}
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

var oqlName = regexp.MustCompile(`(?i)\bname\s*=\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')`)

// flat reads a field's value in any form that iTop takes: text, number, an
// external key as {"name": …} or as OQL with a name, a journal entry as
// add_item.
func flat(name string, v gjson.Result) (string, error) {
	switch {
	case v.IsObject():
		for _, path := range []string{"name", "friendlyname", "add_item.message", "value"} {
			if x := v.Get(path); x.Exists() {
				return x.String(), nil
			}
		}
		if v.Get("items").Exists() {
			return "", failf(codeInternal, "%s: 'items' replaces the whole journal; send the new entry as a text or add_item", name)
		}
		return "", failf(codeInternal, "%s: name it by {\"name\": …}, its id or a text", name)
	case v.IsArray():
		return "", failf(codeInternal, "%s: a list is not understood here", name)
	case strings.HasPrefix(v.String(), "SELECT ") && strings.HasSuffix(name, "_id"):
		m := oqlName.FindStringSubmatch(v.String())
		if m == nil {
			return "", failf(codeInternal, "%s: only a query with name = \"…\" is understood, not %s", name, v.String())
		}
		return unquote(m[1]), nil
	}
	return v.String(), nil
}

func unquote(s string) string {
	s = s[1 : len(s)-1]
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\'`, `'`).Replace(s)
}

// plainKey reads a message's key: an id, a ref, or {"ref": …} or {"id": …}.
func plainKey(v gjson.Result) string {
	if v.IsObject() {
		if id := v.Get("id"); id.Exists() {
			return id.String()
		}
		return v.Get("ref").String()
	}
	return v.String()
}
