package jira

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"passerelle"
)

// attachment is one file of an issue, without its bytes.
type attachment struct {
	id      string
	name    string
	mime    string
	size    int64
	author  string
	account string
	ours    bool
	created time.Time
	content string // address
}

// attached lists an issue's files, in no order.
func (j *Jira) attached(ctx context.Context, issue gjson.Result) ([]attachment, error) {
	me, err := j.whoami(ctx)
	if err != nil {
		return nil, err
	}
	var list []attachment
	for _, f := range issue.Get("fields.attachment").Array() {
		list = append(list, attachment{
			id: f.Get("id").String(), name: f.Get("filename").String(), mime: f.Get("mimeType").String(),
			size: f.Get("size").Int(), author: f.Get("author.displayName").String(), account: accountOf(f.Get("author")), ours: me.is(f.Get("author")),
			created: moment(f.Get("created").String()), content: f.Get("content").String(),
		})
	}
	return list, nil
}

// fileEvent tells of one file.
func (j *Jira) fileEvent(of *passerelle.Snapshot, f attachment) *passerelle.Event {
	e := j.event(of.Ref.Key, f.created, f.author, f.account)
	e.Names = []string{fileName(of.Ref.Key, f.id)}
	e.Kind = passerelle.Attach
	e.Files = []passerelle.File{{Name: f.name, MIME: f.mime, Size: f.size}}
	e.Source = f.content
	e.Mark = j.byUs(of, j.sent.of(f.id), f.ours)
	return e
}

// Fetch downloads the file of an Attach event into the spool and completes the
// event with its size and sum. The caller releases the file.
func (j *Jira) Fetch(ctx context.Context, e *passerelle.Event, files passerelle.Spool) error {
	c := call{op: "jira: download", ticket: e.Key, method: http.MethodGet}
	if e.Kind != passerelle.Attach || len(e.Files) != 1 {
		return c.fail(passerelle.Stuck, "", "the event holds no file to fetch")
	}
	want := e.Files[0]
	var got passerelle.File
	err := j.download(ctx, c, e.Source, want.Size, func(r io.Reader) (err error) {
		got, err = files.Put(ctx, r)
		return err
	})
	if err != nil {
		return err
	}
	if got.Size != want.Size {
		files.Release(got)
		return c.fail(passerelle.Temporary, "", "%q came with %d bytes, Jira says it has %d", want.Name, got.Size, want.Size)
	}
	e.Files[0].Size, e.Files[0].Sum = got.Size, got.Sum
	return nil
}

// download streams a file's content to use, which reads at most one byte more
// than size.
func (j *Jira) download(ctx context.Context, c call, source string, size int64, use func(io.Reader) error) error {
	link, err := j.pin(source)
	if err != nil {
		return c.fail(passerelle.Stuck, "", "%w", err)
	}
	within, cancel := context.WithTimeout(ctx, j.cfg.Transfer)
	defer cancel()
	res, err := request(within, j.files, map[string]string{"Accept": "*/*"}, nil).Get(link)
	if err != nil {
		return c.broken(ctx, err, false)
	}
	defer func() { _ = res.RawBody().Close() }()
	if res.StatusCode() != http.StatusOK {
		_, err := c.take(ctx, res)
		if err == nil {
			err = c.fail(passerelle.Down, "", "Jira answered %d without the file", res.StatusCode())
		}
		return err
	}
	from := &watched{r: io.LimitReader(res.RawBody(), size+1)}
	if err := use(from); from.err != nil {
		return c.broken(ctx, fmt.Errorf("the file is cut short: %w", from.err), false)
	} else if err != nil {
		return c.fail(passerelle.Temporary, "", "%w", err)
	}
	return nil
}

// watched remembers why reading ended, to tell Jira's trouble from the spool's.
type watched struct {
	r   io.Reader
	err error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// downloads are where Jira has its files, below its base.
var downloads = regexp.MustCompile(`/secure/(?:attachment|thumbnail)/[^?#]+$|/rest/api/(?:[0-9]|latest)/attachment/content/[0-9]+$`)

// pin puts the address of a file under our own base, scheme, host and path:
// wherever Jira believes to live, our credentials go nowhere else.
func (j *Jira) pin(content string) (string, error) {
	u, err := url.Parse(content)
	if err != nil || u.Path == "" {
		return "", fmt.Errorf("the file has no usable address")
	}
	path := downloads.FindString(u.EscapedPath())
	if path == "" || climbs(u.Path) {
		return "", fmt.Errorf("the file's address %s is not one of Jira's downloads", u.Redacted())
	}
	link := j.cfg.BaseURL + path
	if u.RawQuery != "" {
		link += "?" + u.RawQuery
	}
	return link, nil
}

// climbs tells whether a path, once decoded, leads out of where it begins: some
// servers and proxies decode before they look.
func climbs(path string) bool {
	for range 2 { // escaped twice, too
		steps := strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' })
		if slices.Contains(steps, ".") || slices.Contains(steps, "..") {
			return true
		}
		path, _ = url.PathUnescape(path) // "" where it is badly escaped
	}
	return false
}
