package jirasim_test

import (
	"strings"
	"testing"
)

func TestAttachSeveralFiles(t *testing.T) {
	b := small(t, nil)
	key := b.open("")
	got := b.upload(key, "a.txt", "hello", "é b.bin", "\x00\x01")
	b.equal([]any{got.code, len(got.list), got.at(0, "filename"), got.at(0, "size"), got.at(1, "filename")}, []any{200, 2, "a.txt", 5, "é b.bin"})
	for i, want := range []string{"hello", "\x00\x01"} {
		path := strings.TrimPrefix(got.at(i, "content").(string), "http://example.com")
		file := b.want(200, "GET", path, "")
		b.equal([]any{file.text, strings.HasPrefix(file.head.Get("Content-Disposition"), "attachment")}, []any{want, true})
	}
	b.equal(b.want(200, "GET", "/rest/api/2/attachment/10002", "").at("author", "name"), "robot")
	b.equal(len(b.field(key, "attachment").([]any)), 2)
	got = b.want(200, "GET", "/rest/api/2/issue/"+key+"?expand=changelog", "")
	b.equal(got.at("changelog", "histories", 0, "items", 1), map[string]any{"field": "Attachment", "fieldtype": "jira", "from": nil, "fromString": nil, "to": "10002", "toString": "é b.bin"})
	b.want(204, "DELETE", "/rest/api/2/attachment/10001", "")
	b.want(404, "GET", "/rest/api/2/attachment/10001", "")
	b.want(404, "GET", "/secure/attachment/10001/a.txt", "")
}

func TestAttachRefusals(t *testing.T) {
	b := small(t, nil)
	key := b.open("")
	path := "/rest/api/2/issue/" + key + "/attachments"
	r := multipartRequest(t, path, "a.txt", "x")
	if got := b.do(r); got.code != 403 || got.text != "XSRF check failed" {
		t.Errorf("without X-Atlassian-Token: %d %s", got.code, got.text)
	}
	r = multipartRequest(t, path)
	r.Header.Set("X-Atlassian-Token", "no-check")
	b.equal(b.do(r).code, 400)
	b.equal(b.upload("ONE-99", "a.txt", "x").code, 404)
	r = multipartRequest(t, path, "a.txt", strings.Repeat("x", 500))
	r.Header.Set("X-Atlassian-Token", "no-check")
	r.Body = cutBody{strings.NewReader("--x\r\nContent-Disp")}
	b.equal(b.do(r).code, 400)
	b.equal(b.kinds(), map[string]int{"issue": 1})
}

type cutBody struct{ *strings.Reader }

func (cutBody) Close() error { return nil }

// Too big: 404 on Data Center, 413 on Cloud; none of the files is kept.
func TestAttachmentLimit(t *testing.T) {
	dc, cl := small(t, nil), small(t, cloud).cloudRobot()
	for _, c := range []struct {
		b    *bench
		code int
	}{{dc, 404}, {cl, 413}} {
		key := c.b.open("")
		c.b.equal(c.b.want(200, "GET", "/rest/api/2/attachment/meta", "").json, map[string]any{"enabled": true, "uploadLimit": 1000})
		c.b.equal(c.b.upload(key, "max", strings.Repeat("x", 1000)).code, 200)
		got := c.b.upload(key, "small", "x", "big", strings.Repeat("x", 1001))
		c.b.equal(got.code, c.code)
		if !strings.Contains(got.text, "'big' is too large to attach") {
			t.Errorf("got %s", got.text)
		}
		c.b.equal(c.b.kinds(), map[string]int{"issue": 1, "attachment": 1})
	}
}
