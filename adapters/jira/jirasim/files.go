package jirasim

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
)

// upload is one file as it comes in. Of one that is too big only the size is
// kept.
type upload struct {
	name, mime string
	data       []byte
	size       int64
}

// readFiles takes in the parts called file.
func (s *Sim) readFiles(c *call) *answer {
	parts, err := c.r.MultipartReader()
	for err == nil {
		part, e := parts.NextPart()
		if errors.Is(e, io.EOF) {
			return nil
		}
		if err = e; err != nil {
			break
		}
		if part.FormName() != "file" {
			continue
		}
		u := upload{name: path.Base(strings.ReplaceAll(part.FileName(), `\`, "/")), mime: part.Header.Get("Content-Type")}
		if u.data, err = io.ReadAll(io.LimitReader(part, s.fx.AttachmentLimit+1)); err == nil {
			var rest int64
			rest, err = io.Copy(io.Discard, part)
			u.size = int64(len(u.data)) + rest
		}
		c.parts = append(c.parts, u)
	}
	return ref(fail(http.StatusBadRequest, "the multipart body cannot be read: "+err.Error()))
}

// attach adds all files or none.
func (s *Sim) attach(c *call, is *issue) answer {
	if token := c.r.Header.Get("X-Atlassian-Token"); token != "no-check" && token != "nocheck" {
		return answer{code: http.StatusForbidden, kind: "text/html;charset=UTF-8", raw: []byte("XSRF check failed")}
	}
	if len(c.parts) == 0 {
		return fail(http.StatusBadRequest, "no part named 'file' in the request")
	}
	for _, u := range c.parts {
		if u.size > s.fx.AttachmentLimit {
			return s.tooBig(u)
		}
	}
	s.touch(is, c.now)
	var items []change
	list := []m{}
	for _, u := range c.parts {
		f := s.newFile(c, is, u)
		items = append(items, remark("Attachment", nil, nil, str(f.id), str(f.name)))
		list = append(list, c.file(f))
		s.fireFile(c.view, is, f, "attachment_created")
	}
	h := s.record(is, c.user, c.now, items)
	s.fireIssue(c.view, is, "jira:issue_updated", "issue_updated", c.user, h, nil)
	return ok(list)
}

func (s *Sim) newFile(c *call, is *issue, u upload) *file {
	if u.mime == "" {
		u.mime = http.DetectContentType(u.data)
	}
	f := &file{id: fmt.Sprint(s.next.file), name: u.name, mime: u.mime, author: c.user, created: c.now, data: u.data}
	s.next.file++
	is.files = append(is.files, f)
	s.wrote(c.user, "attachment", is, fmt.Sprintf("%s: %s (%s, %d bytes)", f.id, f.name, f.mime, len(f.data)))
	return f
}

// tooBig: Data Center answers 404, Cloud 413.
func (s *Sim) tooBig(u upload) answer {
	code := http.StatusNotFound
	if s.cloud() {
		code = http.StatusRequestEntityTooLarge
	}
	return fail(code, fmt.Sprintf("'%s' is too large to attach. Attachment is %s but the largest allowed attachment is %s.", u.name, megabytes(u.size), megabytes(s.fx.AttachmentLimit)))
}

func megabytes(n int64) string { return fmt.Sprintf("%.2f MB", float64(n)/(1<<20)) }

func (s *Sim) attachmentMeta(*call) answer {
	return ok(m{"enabled": true, "uploadLimit": s.fx.AttachmentLimit})
}

func (s *Sim) onFile(h func(*call, *issue, *file) answer) handler {
	return func(c *call) answer {
		for _, is := range s.issues {
			for _, f := range is.files {
				if f.id == c.arg("id") {
					return h(c, is, f)
				}
			}
		}
		return fail(http.StatusNotFound, fmt.Sprintf("The attachment with id '%s' does not exist", c.arg("id")))
	}
}

func (s *Sim) getFile(c *call, _ *issue, f *file) answer { return ok(c.file(f)) }

func (s *Sim) redirectToFile(c *call, _ *issue, f *file) answer {
	to := c.file(f)["content"].(string)
	return answer{code: http.StatusSeeOther, head: http.Header{"Location": {to}}}
}

// download goes by the id alone: the name in the address is for people.
func (s *Sim) download(c *call) answer {
	return s.onFile(func(_ *call, _ *issue, f *file) answer {
		return answer{code: http.StatusOK, kind: f.mime, raw: f.data}.
			with("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.name})).
			with("X-Content-Type-Options", "nosniff")
	})(c)
}

func (s *Sim) deleteFile(c *call, is *issue, f *file) answer {
	if !c.user.staff() && f.author != c.user {
		return fail(http.StatusForbidden, fmt.Sprintf("You do not have permission to delete attachment with id: %s", f.id))
	}
	s.touch(is, c.now)
	is.files = slices.DeleteFunc(is.files, func(x *file) bool { return x == f })
	h := s.record(is, c.user, c.now, []change{remark("Attachment", str(f.id), str(f.name), nil, nil)})
	s.wrote(c.user, "attachment-delete", is, f.id+": "+f.name)
	s.fireFile(c.view, is, f, "attachment_deleted")
	s.fireIssue(c.view, is, "jira:issue_updated", "issue_updated", c.user, h, nil)
	return done()
}
