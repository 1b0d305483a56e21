package relay

import (
	"strings"
	"testing"
	"time"

	"passerelle"
)

const (
	apart = `<img src="http://itop.example/x" data-img-id="2" data-img-secret="s3cr3t">`
	point = `<img src="data:image/png;base64,aGVsbG8=" alt="le point">`
)

// pasted is an image that a text of the ticket shows, as its tool reads it.
func pasted(id string, in ...string) *passerelle.Event {
	e := event(passerelle.Attach, "7/inline/"+id)
	e.Source, e.In = "image-"+id+".png", in
	return e
}

// TestR23APushedImageIsLookedFor: a text that shows an image has the ticket read
// again, and the image follows it; its address and secret stay here.
func TestR23APushedImageIsLookedFor(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		time.Sleep(time.Minute)
		s.requester.lately(func() {
			s.requester.snap = &passerelle.Snapshot{Events: []*passerelle.Event{event(passerelle.PublicLog, "log#1", "public_log", apart), pasted("2", "log#1")}}
		})
		s.must(event(passerelle.PublicLog, "log#1", "public_log", "<p>voir "+apart+"</p>"))
		time.Sleep(time.Minute)
		if files := s.attached(); len(files) != 1 || files["image-2.png"] == "" {
			t.Errorf("files %v", files)
		}
		if body := s.partner.bodies(); !strings.Contains(body, "voir [image-2]") || strings.Contains(body, "s3cr3t") {
			t.Errorf("the partner hears %s", body)
		}
	}, narrowPartner(1<<20))
}

// TestR23AnImageInTheTextIsAFile: one that the text carries itself follows as a
// file, once, under the name that stands in the text; R16: none of a private one.
func TestR23AnImageInTheTextIsAFile(t *testing.T) {
	run(t, func(s *stage) {
		s.must(createEvent())
		s.must(event(passerelle.PublicLog, "log#1", "public_log", point+`<img src="data:image/png;base64,aGVsbG8="><img src="cid:1" alt="courriel"><img src="data:text/html,x" alt="page">`))
		s.must(event(passerelle.PrivateLog, "log#2", "private_log", `<img src="data:image/png;base64,c2VjcmV0" alt="caché">`+apart))
		time.Sleep(time.Minute)
		files := s.attached()
		if len(files) != 1 || files["image-2cf24dba-le point.png"] != "hello" {
			t.Errorf("files %v", files)
		}
		const named = "[image: image-2cf24dba-le point.png]"
		for _, want := range []string{named + named + "[image: courriel, non transmise / not transmitted][image: page, non transmise / not transmitted]",
			"[image: caché, non transmise / not transmitted][image-2, non transmise / not transmitted]"} {
			if !strings.Contains(s.partner.bodies(), want) {
				t.Errorf("no %s in %s", want, s.partner.bodies())
			}
		}
	}, narrowPartner(1<<20))
}

// TestR29AnImageGoesWhereItsTextGoes: at the escalation, by what shows it; what
// stays behind is known as seen.
func TestR29AnImageGoesWhereItsTextGoes(t *testing.T) {
	dated := func(name, date string) *passerelle.Event {
		return event(passerelle.PublicLog, name, "public_log", "<p>"+name+"</p>", "date", date)
	}
	for _, public := range []string{"newest", "none"} {
		run(t, func(s *stage) {
			s.requester.snap = &passerelle.Snapshot{Fields: map[string]string{"last_update": "2026-01-02"}, Events: []*passerelle.Event{
				dated("log#1", "2026-01-01"), dated("log#2", "2026-01-02"),
				pasted("1", "7/description"), pasted("2", "log#1"), pasted("3", "log#1", "log#2"), event(passerelle.Attach, "7/attachment/1")}}
			create := createEvent()
			create.Fields["last_update"] = "2026-01-02"
			l := s.must(create, dated("log#2", ""))
			time.Sleep(time.Minute)
			files := s.attached()
			_, one := files["image-1.png"]
			_, two := files["image-2.png"]
			_, three := files["image-3.png"]
			if !one || two || three != (public == "newest") {
				t.Errorf("public_log %s: files %v", public, files)
			}
			if err := s.Look(t.Context(), l.Contract, passerelle.Requester, "7"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if again := s.attached(); len(again) != len(files) {
				t.Errorf("public_log %s: read again, the files are %v", public, again)
			}
		}, narrowPartner(1<<20), func(s *stage) { s.Contracts["orleans-tours-gar"].AtEscalation.PublicLog = public })
	}
}
