package itop

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"passerelle"
)

// paste stores an image as the console does before its text is saved.
func (s *subcontractor) paste(filename, content string) {
	s.t.Helper()
	s.console(`{"operation":"core/create","comment":"c","class":"InlineImage","fields":{"item_class":"UserRequest","contents":{"data":"` + content + `","filename":` + quoteJSON(filename) + `,"mimetype":"image/png"}}}`)
}

// write puts a text that shows images into a field of the ticket.
func (s *subcontractor) write(key, field string, images ...string) {
	s.t.Helper()
	html := "<p>" + field
	for _, id := range images {
		html += `<img src="http://itop.example/x?id=` + id + `" data-img-id="` + id + `" data-img-secret="s">`
	}
	s.console(`{"operation":"core/update","comment":"c","class":"UserRequest","key":` + key + `,"fields":{"` + field + `":` + quoteJSON(html+"</p>") + `}}`)
}

// images are what a reading finds of images in texts.
func (s *subcontractor) images(key string) []*passerelle.Event {
	s.t.Helper()
	snap, err := s.itop.Read(s.t.Context(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	return slices.DeleteFunc(snap.Events, func(e *passerelle.Event) bool { return e.Kind != passerelle.Attach || e.In == nil })
}

// R23: the images that a ticket's texts show are read as files of the ticket,
// each once, with the texts that show it; what the private journal alone shows
// is private (R16). The file's name begins as the text's reference.
func TestR23ImagesInTextsAreFiles(t *testing.T) {
	s := newSubcontractor(t)
	key := s.ticket().Key
	for _, name := range []string{"plan d'été.png", "image.png", `C:\temp\x.png`, "IMAGE.PNG"} {
		s.paste(name, "aGVsbG8=")
	}
	s.write(key, "description", "1")
	s.write(key, "public_log", "2", "1", "2")
	s.write(key, "private_log", "3", "2", "4")
	var got []string
	for _, e := range s.images(key) {
		if err := s.itop.Fetch(t.Context(), e, s.desk); err != nil {
			t.Fatal(err)
		}
		in := []string{}
		for _, by := range e.In {
			in = append(in, strings.Split(by, "/")[1])
		}
		got = append(got, fmt.Sprint(e.Names[0], " ", e.Files[0].Name, " ", string(s.desk.content[e.Files[0].Sum]), " ", e.Private, " ", in, e.Alias))
	}
	want := []string{
		"1/inline/1 image-1-plan d'été.png hello false [description public_log]",
		"1/inline/3/private image-3-x.png hello true [private_log]",
		"1/inline/2 image-2.png hello false [private_log public_log public_log]",
		"1/inline/4/private image-4.PNG hello true [private_log]",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("is   %q\nwant %q", got, want)
	}
}

// A text may name any number: only the ticket's own images are given out.
func TestOnlyTheTicketsOwnImages(t *testing.T) {
	s := newSubcontractor(t)
	mine, other := s.ticket().Key, deliver(t, s.itop, createMessage(t, "autre"), s.desk).Ref.Key
	s.paste("secret.png", "aGVsbG8=")
	s.write(other, "public_log", "1")
	s.write(mine, "public_log", "1", "77", "1 OR 1=1", "-1")
	list := s.images(mine)
	if len(list) != 2 {
		t.Fatalf("%d images, want those that can be numbers", len(list))
	}
	for i, word := range []string{"belongs to UserRequest 2", "the file is gone"} {
		err := s.itop.Fetch(t.Context(), list[i], s.desk)
		if passerelle.ClassOf(err) != passerelle.Stuck || !strings.Contains(fmt.Sprint(err), word) || len(list[i].Files) > 0 {
			t.Errorf("%v does not say %q", err, word)
		}
	}
}

// iTop ties an image to its ticket a moment after it tells of the text.
func TestAnImageThatComesAMomentLater(t *testing.T) {
	for _, late := range []bool{false, true} {
		s := newSubcontractor(t)
		s.itop.waits = []time.Duration{time.Millisecond, time.Millisecond}
		key := s.ticket().Key
		s.paste("a.png", "aGVsbG8=")
		s.write(key, "public_log", "1")
		asked := 0
		s.tamper = func(request, answer string) string {
			if asked++; strings.Contains(request, "item_class%2Citem_id") && (late || asked < 3) {
				return strings.Replace(answer, `"item_id":"1"`, `"item_id":"0"`, 1)
			}
			return answer
		}
		list := s.images(key)
		err := s.itop.Fetch(t.Context(), list[0], s.desk)
		if late != (err != nil) || late && (passerelle.ClassOf(err) != passerelle.Stuck || !strings.Contains(err.Error(), "belongs to no ticket")) {
			t.Errorf("never: %v: %v", late, err)
		}
	}
}

// An account that may not read InlineImage reads the rest; the image is given
// up by itself, without a word about the account as a whole.
func TestAnAccountThatMayNotReadImages(t *testing.T) {
	s := newSubcontractor(t)
	key := s.ticket().Key
	s.paste("a.png", "aGVsbG8=")
	s.write(key, "public_log", "1")
	s.tamper = func(request, answer string) string {
		if strings.Contains(request, "InlineImage") {
			return `{"code":1,"message":"The current user does not have enough permissions for exporting data of class InlineImage"}`
		}
		return answer
	}
	if got := s.facts(key, passerelle.PublicLog); len(got) != 1 {
		t.Errorf("the reading finds %v", got)
	}
	err := s.itop.Fetch(t.Context(), s.images(key)[0], s.desk)
	if passerelle.ClassOf(err) != passerelle.Stuck || !strings.Contains(err.Error(), "the right to read InlineImage") {
		t.Errorf("%v", err)
	}
}
