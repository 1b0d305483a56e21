package contracts_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// switches are other values that the keys of contract.yaml may have. Left
// alone are title and the names of the tools, which only people read, and
// tell_after: no conversation lasts hours (the relay's own tests do).
var switches = map[string][]any{
	"name":                         {"autre"},
	"version":                      {"v99"},
	"between.requester.name":       {"Autre"},
	"between.requester.dates":      {"offset"},
	"between.partner.name":         {"Autre"},
	"between.partner.dates":        {"local"},
	"timezone":                     {"UTC"},
	"limit_bytes":                  {5 << 20, 20 << 20},
	"own_ref":                      {"FRS-%d"},
	"keys":                         {[]any{"provider_id"}, []any{"customer_ref"}},
	"uai":                          {"title"},
	"caller":                       {"beneficiary_id"},
	"private_log_to_requester":     {true},
	"sign":                         {"role", "name"},
	"notify.by":                    {"none", "comment", "label", "mention"},
	"notify.who":                   {[]any{"autre"}},
	"notify.on":                    {[]any{"create", "public-log"}},
	"at_escalation.public_log":     {"all", "none"},
	"at_escalation.private_log":    {"newest"},
	"at_escalation.attachments":    {"none"},
	"notes.requester":              {"update-public-log"},
	"notes.partner":                {"update-public-log"},
	"catalogue.target":             {"note"},
	"catalogue.default":            {"Médiacentre"},
	"catalogue.columns.0":          nil,
	"catalogue.columns.1":          nil,
	"catalogue.columns.2":          nil,
	"catalogue.columns.3":          nil,
	"catalogue.columns.4":          nil,
	"catalogue.columns.2.field":    {"service_id"},
	"catalogue.columns.0.optional": {true},
	"catalogue.columns.1.optional": {true},
	"catalogue.columns.2.optional": {true},
	"catalogue.columns.3.optional": {false},
	"catalogue.columns.4.optional": {false},
}

// switchMutants are contract.yaml without one key, or with another value.
func switchMutants(t *testing.T, dir string) []*mutant {
	const file = "contract.yaml"
	var out []*mutant
	add := func(key, what string, v any) {
		var tree any
		if err := yaml.Unmarshal(read(t, dir, file), &tree); err != nil {
			t.Fatal(err)
		}
		b, err := yaml.Marshal(with(tree, strings.Split(key, "."), v))
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(key, ".")
		out = append(out, &mutant{file: file, what: key + what, text: b, words: []string{first}})
	}
	for _, key := range slices.Sorted(maps.Keys(switches)) {
		add(key, " deleted", nil)
		for _, v := range switches[key] {
			add(key, fmt.Sprintf("=%v", v), v)
		}
	}
	return out
}

// with is a tree of keys in which the one at path has the value v; nil deletes
// it.
func with(tree any, path []string, v any) any {
	if len(path) == 0 {
		return v
	}
	if list, ok := tree.([]any); ok {
		i, err := strconv.Atoi(path[0])
		if err != nil || i >= len(list) {
			return list
		}
		if item := with(list[i], path[1:], v); item != nil {
			return slices.Concat(list[:i], []any{item}, list[i+1:])
		}
		return slices.Concat(list[:i], list[i+1:])
	}
	keys, ok := tree.(map[string]any)
	if !ok {
		keys = map[string]any{}
	}
	if keys[path[0]] = with(keys[path[0]], path[1:], v); keys[path[0]] == nil {
		delete(keys, path[0])
	}
	return keys
}

// templateMutants are a message without one member, or one item of a list.
func templateMutants(t *testing.T, dir, file string) []*mutant {
	b := read(t, dir, file)
	var out []*mutant
	for _, c := range cuts(t, b) {
		less, rest := bytes.TrimRight(b[:c.from], " \n"), bytes.TrimLeft(b[c.to:], " \n")
		if bytes.HasSuffix(less, []byte(",")) {
			less = less[:len(less)-1]
		} else {
			rest = bytes.TrimPrefix(rest, []byte(","))
		}
		text := slices.Concat(less, rest)
		if !json.Valid(text) {
			t.Fatalf("%s without %s is not JSON: %s", file, c.path, text)
		}
		m := &mutant{file: file, what: c.path + " deleted", line: 1 + bytes.Count(b[:c.from], []byte("\n")), was: string(b[c.from:c.to]), text: text}
		m.words = []string{c.path[strings.LastIndex(c.path, ".")+1:]}
		out = append(out, m)
	}
	return out
}

// cut is where a member or an item of a message stands.
type cut struct {
	path     string
	from, to int64
}

// cuts finds them all.
func cuts(t *testing.T, b []byte) []cut {
	dec := json.NewDecoder(bytes.NewReader(b))
	var out []cut
	next := func() json.Token {
		tok, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	var walk func(path string)
	walk = func(path string) {
		open, ok := next().(json.Delim)
		for i := 0; ok && dec.More(); i++ {
			from := dec.InputOffset()
			from += int64(len(b[from:]) - len(bytes.TrimLeft(b[from:], ", \n\t")))
			name := strconv.Itoa(i)
			if open == '{' {
				name = next().(string)
			}
			at := strings.TrimPrefix(path+"."+name, ".")
			walk(at)
			out = append(out, cut{at, from, dec.InputOffset()})
		}
		if ok {
			next()
		}
	}
	walk("")
	return out
}
