package richtext

import (
	"net/url"
	"path"
	"strconv"
	"strings"
)

// An Image is a picture inside a text, that iTop stores apart or the text
// carries itself.
type Image struct {
	ID   string // data-img-id, iTop's number of it; "" for an embedded one
	Name string // as a person would call it: alt, title or the file's name
	Src  string // where it is, or the data itself ("data:…", "cid:…")
}

// Images returns the inline images of html in order. An image of another site
// is not among them: nobody should fetch it on the word of a text.
func Images(html string) []Image {
	var found imageSink
	eachToken(plain(html), &found)
	return found
}

type imageSink []Image

func (*imageSink) end(string)   {}
func (*imageSink) chars(string) {}

func (s *imageSink) start(name string, a attributes) {
	src := strings.TrimSpace(a["src"])
	if name == "img" && (a["data-img-id"] != "" || embedded(src)) {
		*s = append(*s, Image{ID: a["data-img-id"], Name: imageName(a), Src: src})
	}
}

// embedded tells whether src is in the message itself.
func embedded(src string) bool {
	scheme, _, _ := strings.Cut(src, ":")
	return strings.EqualFold(scheme, "data") || strings.EqualFold(scheme, "cid")
}

// imageText is what stands in the text for an image, which the other side gets
// as an attachment if at all. Tracking dots are left out.
func (r *htmlReader) imageText(a attributes) string {
	if r.rendered {
		if s, ok := icon(a); ok {
			return s
		}
	}
	if isDot(a) {
		return ""
	}
	i := Image{ID: a["data-img-id"], Name: imageName(a)}
	if r.rendered && strings.HasPrefix(i.Name, "thumb_") && fileName(r.link) != "" {
		i.Name = fileName(r.link)
	}
	return "[" + i.Called() + "]"
}

// Called is what people read of an image in a text: "image: name", "image", or
// "image-2: name" and "image-2" where iTop stores it by that number.
func (i Image) Called() string {
	word, name := "image", i.Name
	if IsImageID(i.ID) {
		word = ImageWord(i.ID)
	}
	if name == "" || word != "image" && name == i.ID {
		return word
	}
	return word + ": " + name
}

// ImageWord is what an image that iTop stores apart is called wherever people
// read of it: in the text that shows it, and at the beginning of its file's name.
func ImageWord(id string) string { return "image-" + id }

// IsImageID tells whether a text's data-img-id can be one of iTop's numbers.
func IsImageID(id string) bool {
	return id != "" && len(id) < 20 && strings.Trim(id, "0123456789") == ""
}

// isDot tells an image that is there to be fetched, not to be seen.
func isDot(a attributes) bool {
	if a["data-img-id"] != "" || embedded(a["src"]) || strings.TrimSpace(a["alt"]) != "" {
		return false
	}
	return tiny(a["width"]) || tiny(a["height"]) || a["src"] == ""
}

func tiny(s string) bool {
	n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(s), "px"))
	return err == nil && n <= 1
}

// imageName finds a name: alt, title, the file's name, or iTop's number.
func imageName(a attributes) string {
	for _, s := range []string{a["alt"], a["title"]} {
		if !isBlank(s) {
			return strings.Join(strings.Fields(s), " ")
		}
	}
	if a["data-img-id"] != "" {
		return a["data-img-id"]
	}
	return fileName(a["src"])
}

// fileName is the last part of a path, without the number that Jira puts
// before it; "" for data and for a script's address.
func fileName(src string) string {
	u, err := url.Parse(strings.TrimSpace(src))
	if err != nil || u.Scheme == "data" || u.Scheme == "cid" || u.Path == "" {
		return ""
	}
	name := path.Base(u.Path)
	if !strings.Contains(name, ".") || strings.HasSuffix(name, ".php") {
		return ""
	}
	if id, rest, ok := strings.Cut(name, "_"); ok && rest != "" && strings.Trim(id, "0123456789") == "" {
		return rest
	}
	return name
}
