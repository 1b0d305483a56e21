package conversation

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"passerelle"
	"passerelle/mapping"
)

// filing is a play of one escalated ticket with files on both sides.
type filing struct {
	*rig
	t    *testing.T
	rnd  *rand.ChaCha8
	link *passerelle.Link
	want map[passerelle.Side][]string // what each side must hold, as held gives it
}

func newFiling(t *testing.T) *filing {
	f := &filing{t: t, rnd: rand.NewChaCha8([32]byte{24}), want: map[passerelle.Side][]string{}}
	acts, err := readActs(orleans)
	f.must(err)
	f.rig, err = newRig(t.Context(), orleans, nil)
	f.must(err)
	t.Cleanup(func() { f.must(f.close()) })
	ans, err := f.tools[passerelle.Requester].Console(f.ctx, acts.text["ticket"])
	f.must(err)
	key := ans.Get("objects.@values.0.key").String()
	f.console(`{"operation":"core/apply_stimulus","class":"UserRequest","comment":"c","key":` + key + `,"stimulus":"ev_assign","fields":{"team_id":{"name":"Support GAR"}}}`)
	f.must(f.settle())
	f.link, err = f.store.Find(f.ctx, f.contract.Name, passerelle.Requester, key)
	f.must(err)
	return f
}

func (f *filing) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *filing) console(op string) {
	f.t.Helper()
	_, err := f.tools[passerelle.Requester].Console(f.ctx, op)
	f.must(err)
}

// attach has a side's agent attach a file of size random bytes. It stands in
// that side's tool from now on, and has to in the other one if it can travel.
func (f *filing) attach(side passerelle.Side, name string, size int, travels bool) {
	f.t.Helper()
	content := make([]byte, size)
	_, _ = f.rnd.Read(content) // it never fails
	one := called(name, content)
	f.want[side] = append(f.want[side], one)
	if travels {
		f.want[side.Other()] = append(f.want[side.Other()], one)
	}
	if side == passerelle.Partner {
		_, err := f.tools[side].Upload(f.ctx, "/rest/api/2/issue/"+f.link.Partner.Key+"/attachments", name, string(content))
		f.must(err)
		return
	}
	quoted, err := json.Marshal(name)
	f.must(err)
	f.console(`{"operation":"core/create","class":"Attachment","comment":"pj","fields":{"item_class":"UserRequest","item_id":` + f.link.Requester.Key +
		`,"contents":{"data":"` + base64.StdEncoding.EncodeToString(content) + `","filename":` + string(quoted) + `,"mimetype":"application/octet-stream"}}}`)
}

func called(name string, content []byte) string {
	return fmt.Sprintf("%.60s %d %x", name, len(content), sha256.Sum256(content))
}

// same checks, by reading both tools, that they hold the files they must hold.
func (f *filing) same() {
	f.t.Helper()
	for side, held := range map[passerelle.Side][]string{passerelle.Requester: f.sumits(), passerelle.Partner: f.jiras()} {
		slices.Sort(held)
		slices.Sort(f.want[side])
		if !slices.Equal(held, f.want[side]) {
			f.t.Errorf("the %s holds\n%s\nand must hold\n%s", side, strings.Join(held, "\n"), strings.Join(f.want[side], "\n"))
		}
	}
}

func (f *filing) sumits() (out []string) {
	ans, err := f.tools[passerelle.Requester].Read(f.ctx, `{"operation":"core/get","class":"Attachment","key":"SELECT Attachment WHERE item_class='UserRequest' AND item_id=`+f.link.Requester.Key+`","output_fields":"contents"}`)
	f.must(err)
	for _, c := range ans.Get("objects.@values.#.fields.contents").Array() {
		b, err := base64.StdEncoding.DecodeString(c.Get("data").String())
		f.must(err)
		out = append(out, called(c.Get("filename").String(), b))
	}
	return out
}

func (f *filing) jiras() (out []string) {
	ans, err := f.tools[passerelle.Partner].Request(f.ctx, http.MethodGet, "/rest/api/2/issue/"+f.link.Partner.Key+"?fields=attachment", "")
	f.must(err)
	for _, a := range ans.Get("fields.attachment").Array() {
		out = append(out, called(a.Get("filename").String(), []byte(f.download(a.Get("content").String()))))
	}
	return out
}

func (f *filing) download(address string) string {
	req, err := http.NewRequestWithContext(f.ctx, http.MethodGet, address, nil)
	f.must(err)
	req.SetBasicAuth(f.tools[passerelle.Partner].Agent.User, f.tools[passerelle.Partner].Agent.Password)
	res, err := http.DefaultClient.Do(req)
	f.must(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	f.must(err)
	return string(b)
}

// TestR23ManyFilesBothWays: files of all sizes and of few names, attached on
// both sides while the tools come and go, are all there in the end, byte for
// byte, once.
func TestR23ManyFilesBothWays(t *testing.T) {
	t.Parallel()
	f := newFiling(t)
	for i := range 24 {
		for _, side := range []passerelle.Side{passerelle.Requester, passerelle.Partner} {
			if i%8 == 3 {
				f.must(f.is(side.Other(), true))
			}
			f.attach(side, []string{"écran.png", "œuvre d'été n° 1.txt", "a.b.c", `l'« avis ».pdf`}[i%4], []int{0, 1, 2, 3, 1000, 24575, 24576, 24577, 200_000}[i%9], true)
			if i%8 == 5 {
				f.must(f.is(side.Other(), false))
			}
		}
	}
	f.must(f.settle())
	f.same()
}

// TestR24TheLimitOutbound: a file whose message has exactly 10 MiB travels, one
// whose message has a byte more leaves a note on the ticket that it could not
// reach. What comes after them travels. Both ways, at the real limit.
func TestR24TheLimitOutbound(t *testing.T) {
	t.Parallel()
	f := newFiling(t)
	for _, side := range []passerelle.Side{passerelle.Requester, passerelle.Partner} {
		name, size := f.exact(side.Other(), "plan")
		f.attach(side, name, size, true)
		f.must(f.settle())
		f.attach(side, name+"x", size, false)
		f.attach(side, "petit.txt", 10, true)
		f.must(f.settle())
		notes := f.notes(side.Other())
		for _, want := range []string{"« " + name + "x »", fmt.Sprint(f.contract.LimitBytes + 1), fmt.Sprint(f.contract.LimitBytes)} {
			if !strings.Contains(notes, want) {
				t.Errorf("the %s is not told %q: %s", side.Other(), want, notes)
			}
		}
	}
	f.same()
}

// exact is the name and size of a file whose message to a side has exactly the
// contract's limit.
func (f *filing) exact(to passerelle.Side, name string) (string, int) {
	f.t.Helper()
	file := passerelle.File{Name: name, MIME: "application/octet-stream", Size: f.contract.LimitBytes}
	e := &passerelle.Event{Contract: f.contract.Name, From: to.Other(), Kind: passerelle.Attach, Files: []passerelle.File{file}, Fields: map[string]string{}}
	_, errs := f.contract.Render(mapping.Send{To: to, Template: "add-attachment"}, e, f.link, f.link.State, "m")
	var big *mapping.TooBig
	if !errors.As(errs[0], &big) {
		f.t.Fatal(errs)
	}
	left := f.contract.LimitBytes - (big.Size - int64(base64.StdEncoding.EncodedLen(int(file.Size))))
	return name + strings.Repeat("z", int(left%4)), int(left / 4 * 3)
}

// notes are the private texts on a side's ticket.
func (f *filing) notes(side passerelle.Side) string {
	if side == passerelle.Partner {
		ans, err := f.tools[side].Request(f.ctx, http.MethodGet, "/rest/api/2/issue/"+f.link.Partner.Key+"/comment", "")
		f.must(err)
		return fmt.Sprint(ans.Get("comments.#.body").Array())
	}
	ans, err := f.tools[side].Read(f.ctx, `{"operation":"core/get","class":"UserRequest","key":"`+f.link.Requester.Key+`","output_fields":"private_log"}`)
	f.must(err)
	return fmt.Sprint(ans.Get("objects.@values.0.fields.private_log.entries.#.message").Array())
}

// TestR24AVeryLongEntry: of an entry over Jira's own limit every word arrives, in
// a file that the comment names.
func TestR24AVeryLongEntry(t *testing.T) {
	t.Parallel()
	f := newFiling(t)
	words := make([]string, 6000)
	for i := range words {
		words[i] = fmt.Sprintf("mot%dé", i)
	}
	f.console(`{"operation":"core/update","class":"UserRequest","comment":"c","key":` + f.link.Requester.Key + `,"fields":{"public_log":"<p>` + strings.Join(words, " ") + `</p>"}}`)
	f.must(f.settle())
	ans, err := f.tools[passerelle.Partner].Request(f.ctx, http.MethodGet, "/rest/api/2/issue/"+f.link.Partner.Key+"?fields=attachment", "")
	f.must(err)
	file := ans.Get("fields.attachment.0")
	if name := file.Get("filename").String(); name == "" || !strings.Contains(f.notes(passerelle.Partner), "« "+name+" »") {
		t.Fatalf("the comment does not name %q: %s", name, f.notes(passerelle.Partner))
	}
	doc := f.download(file.Get("content").String())
	if !strings.Contains(doc, "<p>"+strings.Join(words, " ")+"</p>") {
		t.Errorf("the file is not whole: %d bytes", len(doc))
	}
}
