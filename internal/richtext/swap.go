package richtext

import (
	"encoding/base64"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// SwapImages returns text with words in place of its inline images (see
// Images): words is asked for each, in order, and leaves one as it is by "".
// What else the text holds is not touched.
func SwapImages(text string, words func(Image) string) string {
	var out strings.Builder
	z := html.NewTokenizer(strings.NewReader(text))
	done, at := 0, 0 // of text: written, and read
	for {
		t := z.Next()
		if t == html.ErrorToken {
			return out.String() + text[done:]
		}
		from := at
		at += len(z.Raw())
		if t != html.StartTagToken && t != html.SelfClosingTagToken {
			continue
		}
		name, attrs := tagAndAttributes(z)
		if name == "noscript" {
			z.NextIsNotRawText()
		}
		var found imageSink
		found.start(name, attrs)
		for _, i := range found {
			if w := words(i); w != "" {
				out.WriteString(text[done:from] + escaper.Replace(w))
				done = at
			}
		}
	}
}

// Data is what an image that the text carries itself consists of; false where
// it is none, or cannot be read.
func (i Image) Data() (mime string, data []byte, ok bool) {
	scheme, rest, _ := strings.Cut(i.Src, ":")
	head, body, found := strings.Cut(rest, ",")
	mime, params, _ := strings.Cut(strings.ToLower(strings.TrimSpace(head)), ";")
	if !strings.EqualFold(scheme, "data") || !found || !strings.HasPrefix(mime, "image/") {
		return "", nil, false
	}
	body, err := url.PathUnescape(body)
	if err != nil {
		return "", nil, false
	}
	data = []byte(body)
	if strings.HasSuffix(strings.TrimSpace(params), "base64") {
		body = strings.TrimRight(strings.Join(strings.Fields(body), ""), "=")
		if data, err = base64.RawStdEncoding.DecodeString(body); err != nil {
			return "", nil, false
		}
	}
	if len(data) == 0 {
		return "", nil, false
	}
	return mime, data, true
}

// ImageExt is how the name of an image's file ends, "" where that is not known.
func ImageExt(mime string) string {
	switch mime {
	case "image/jpeg":
		return ".jpg"
	case "image/svg+xml":
		return ".svg"
	case "image/png", "image/gif", "image/webp", "image/bmp", "image/tiff", "image/avif":
		return "." + strings.TrimPrefix(mime, "image/")
	}
	return ""
}
