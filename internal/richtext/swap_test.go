package richtext

import (
	"strings"
	"testing"
)

// Only the images go; every other byte of the text stays.
func TestSwapImages(t *testing.T) {
	for in, want := range map[string]string{
		`<p>a <img src="data:image/png;base64,AA==" alt="x"> b</p>`:            `<p>a {x} b</p>`,
		`<IMG SRC='DATA:image/gif,x' title="a&lt;b">`:                          `{a&lt;b}`,
		`<img data-img-id="2" src="http://i.example/x"/>é &amp; <b>fin`:        `{2}é &amp; <b>fin`,
		`<img src="https://i.example/logo.png">`:                               `<img src="https://i.example/logo.png">`,
		`<script>"<img src=data:x>"</script><!-- <img src="cid:1"> -->`:        `<script>"<img src=data:x>"</script><!-- <img src="cid:1"> -->`,
		`<noscript><img src="cid:1" alt="n"></noscript>`:                       `<noscript>{n}</noscript>`,
		`<img src="cid:1" alt="1"><img src="cid:2" alt="2">x<img src="cid:3" `: `{1}{2}x<img src="cid:3" `,
		"a\r\nb\x00 <img alt=keep src=cid:k>":                                  "a\r\nb\x00 <img alt=keep src=cid:k>",
	} {
		got := SwapImages(in, func(i Image) string {
			if i.Name == "keep" {
				return ""
			}
			return "{" + i.Name + "}"
		})
		if got != want {
			t.Errorf("%s\n is   %s\n want %s", in, got, want)
		}
	}
}

func TestImageData(t *testing.T) {
	for src, want := range map[string]string{
		"data:image/png;base64,aGVsbG8=":               "image/png hello",
		"data:image/png;charset=x;base64,aGVs%0A bG8":  "image/png hello",
		"DATA:Image/PNG;BASE64,aGVsbG8":                "image/png hello",
		"data:image/svg+xml,%3Csvg/%3E":                "image/svg+xml <svg/>",
		"data:image/png;base64,":                       "",
		"data:image/png;base64,a":                      "",
		"data:image/png;base64":                        "",
		"data:text/html;base64,aGVsbG8=":               "",
		"data:image/png,%zz":                           "",
		"cid:image/png,x":                              "",
		"http://itop.example/pages/ajax.document.php?": "",
	} {
		mime, data, ok := Image{Src: src}.Data()
		if got := strings.TrimSpace(mime + " " + string(data)); got != want || ok != (want != "") {
			t.Errorf("%s is %q, %v, want %q", src, got, ok, want)
		}
	}
}
