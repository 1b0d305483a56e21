package relay

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"passerelle"
	"passerelle/outbox"
)

// narrow is a tool that takes texts of at most limit characters, and keeps the
// files that it is sent, by name.
type narrow struct {
	*tool
	limit int
	files map[string]string
}

func (n *narrow) Fits(html string) (int, bool) {
	return n.limit, utf8.RuneCountInString(html) <= n.limit
}

func (n *narrow) Deliver(ctx context.Context, m *passerelle.Message, files passerelle.Spool) (*passerelle.Receipt, error) {
	for _, f := range m.Files {
		r, err := files.Open(f.Sum)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			return nil, err
		}
		n.mu.Lock()
		n.files[f.Name] = string(b)
		n.mu.Unlock()
	}
	return n.tool.Deliver(ctx, m, files)
}

// narrowPartner limits the partner's texts.
func narrowPartner(limit int) func(*stage) {
	return with(passerelle.Partner, func(s *stage, t *Tool) { t.Out = &narrow{s.partner, limit, map[string]string{}} })
}

// attached are the files that the partner was sent, by name.
func (s *stage) attached() map[string]string {
	n := s.Tools[outbox.Dest{Contract: "orleans-tours-gar", Side: passerelle.Partner}].Out.(*narrow)
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.files)
}

// lorem is an HTML text of exactly n characters, and its words, all different.
func lorem(n int) (html string, words []string) {
	n -= len("<p></p>")
	for len(strings.Join(words, " ")) < n-20 {
		words = append(words, fmt.Sprintf("mot%d", len(words)))
	}
	words = append(words, strings.Repeat("z", n-len(strings.Join(words, " "))-1))
	return "<p>" + strings.Join(words, " ") + "</p>", words
}

// TestR24LongTextsAreAttachedWhole: a text of the limit travels as it is; of one
// character more, a beginning travels, and all of it in a file. Nothing is lost.
func TestR24LongTextsAreAttachedWhole(t *testing.T) {
	const limit = 2000
	for over := range 2 {
		run(t, func(s *stage) {
			text, words := lorem(limit + over)
			create := createEvent()
			create.Fields["description"], create.Fields["caller_id"] = text, "1" // no name: none is put before the text
			s.must(create)
			s.must(event(passerelle.PublicLog, "log#1", "public_log", text))
			time.Sleep(time.Minute)
			files := s.attached()
			if len(files) != 2*over || over == 0 && strings.Count(s.partner.bodies(), words[len(words)-1]+"</p>") < 2 {
				t.Errorf("%d over: %d files, and the partner hears %s", over, len(files), s.partner.bodies())
			}
			for name, doc := range files {
				if !strings.Contains(s.partner.bodies(), "« "+name+" »") {
					t.Errorf("no text names %q", name)
				}
				isWhole(t, doc, words)
			}
		}, narrowPartner(limit))
	}
}

// isWhole checks that a document is well-formed and holds every word once.
func isWhole(t *testing.T, doc string, words []string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(doc))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var text strings.Builder
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v in %.200s", err, doc)
		}
		if c, is := token.(xml.CharData); is {
			text.WriteString(" " + string(c))
		}
	}
	have := map[string]int{}
	for _, w := range strings.Fields(text.String()) {
		have[w]++
	}
	for _, w := range words {
		if have[w] != 1 {
			t.Errorf("%q stands %d times in the file", w, have[w])
		}
	}
	if !strings.HasPrefix(doc, "<!DOCTYPE html>") || !strings.Contains(doc, "<title>") {
		t.Errorf("no document: %.100s", doc)
	}
}

// TestR24ANoteFitsItself: where a tool takes little, little of the text stands
// beside the note, so that the note itself is not too long.
func TestR24ANoteFitsItself(t *testing.T) {
	for _, limit := range []int{350, 500, 800, 1300} {
		run(t, func(s *stage) {
			s.must(createEvent())
			text, words := lorem(5000)
			l := s.must(event(passerelle.PublicLog, "log#1", "public_log", text))
			time.Sleep(time.Minute)
			for e, err := range s.Store.Entries(t.Context(), outbox.Query{Link: l.ID}) {
				if n := utf8.RuneCountInString(e.Event.Fields["public_log"]); err != nil || n > limit {
					t.Errorf("limit %d: %d characters, %v", limit, n, err)
				}
			}
			for _, doc := range s.attached() {
				isWhole(t, doc, words)
			}
		}, narrowPartner(limit))
	}
}

// TestR24NoScriptInAFile: what is attached is as clean as what is shown.
func TestR24NoScriptInAFile(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		text, words := lorem(3000)
		s.must(event(passerelle.PublicLog, "log#1", "public_log", `<script>alert(1)</script><a href="javascript:x" onclick="y">`+text+`<img src="https://t.example/o.gif?u=1" width="1"><div>ouvert`))
		time.Sleep(time.Minute)
		for _, doc := range s.attached() {
			isWhole(t, doc, words)
			for _, bad := range []string{"script", "onclick", "t.example"} {
				if strings.Contains(doc, bad) {
					t.Errorf("the file holds %q", bad)
				}
			}
		}
	}, narrowPartner(1000))
}
