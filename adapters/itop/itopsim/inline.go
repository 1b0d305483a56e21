package itopsim

import (
	"fmt"
	"regexp"
	"time"
)

// paste is what the console does with an image that is pasted into a text: it is
// stored at once, without its ticket, and gets the secret by which it is shown.
func (w *write) paste(o *record) error {
	n := w.sim.store.next["InlineImage"] + 1
	tomorrow, _ := time.ParseInLocation(stamp, w.now, w.sim.zone)
	setEmpty(o, "expire", tomorrow.Add(24*time.Hour).Format(stamp))
	setEmpty(o, "temp_id", fmt.Sprintf("%s-%06d", w.account.Login, n))
	setEmpty(o, "secret", fmt.Sprintf("%06x", 0xa1b2c3+n))
	o.set("item_id", "0")
	return w.insert(o)
}

var shownImage = regexp.MustCompile(`<img[^>]* data-img-id="([0-9]+)"`)

// keepImages ties the pasted images that a person's text shows to the ticket
// that was saved.
func (w *write) keepImages(o *record, list []Change) {
	if !w.person() {
		return
	}
	for _, c := range list {
		for _, m := range shownImage.FindAllStringSubmatch(c.New, -1) {
			image := w.sim.store.find("InlineImage", atoi(m[1]))
			if image != nil && image.text("item_id") == "0" && image.text("item_class") == o.class.name {
				image.set("item_id", itoa(o.id))
				image.set("temp_id", "")
			}
		}
	}
}
