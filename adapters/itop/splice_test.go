package itop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tidwall/gjson"

	"passerelle"
	"passerelle/internal/foreign"
)

func newSplicer(r io.Reader, d *recorder, limit int64) *splicer {
	return &splicer{r: bufio.NewReaderSize(r, 64), limit: limit, data: messageData,
		put:  func(r io.Reader) (passerelle.File, error) { return d.Put(context.Background(), r) },
		drop: func(f passerelle.File) { d.Release(f) }}
}

// letGo releases what a splice kept, as a request does at its end.
func letGo(s *splicer, d *recorder) {
	for _, f := range s.files {
		if f.err == nil {
			d.Release(f.file)
		}
	}
}

// splits are ways for a text to arrive.
var splits = map[string]func(io.Reader) io.Reader{
	"whole":     func(r io.Reader) io.Reader { return r },
	"one byte":  iotest.OneByteReader,
	"half":      iotest.HalfReader,
	"data, EOF": iotest.DataErrReader,
}

// A text without attachments comes out as it went in, but for white space.
func TestSpliceCopies(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		var v any = randomJSON(rng, 5)
		b, _ := json.MarshalIndent(v, "", " ")
		var want bytes.Buffer
		_ = json.Compact(&want, b)
		for name, split := range splits {
			s := newSplicer(split(bytes.NewReader(b)), newRecorder(), 1<<20)
			if err := s.splice(); err != nil || s.out.String() != want.String() || s.size != int64(len(b)) || len(s.files) != 0 {
				t.Fatalf("%s: %v: %s\nbecame %s (size %d)", name, err, b, s.out.String(), s.size)
			}
		}
	}
}

func randomJSON(rng *rand.Rand, depth int) any {
	words := []string{"", "data", "attachments", "fields", "é\"\\/\n\x01", "😀", strings.Repeat("long", 40), "<p>a & b</p>"}
	word := func() string { return words[rng.IntN(len(words))] }
	switch n := rng.IntN(8); {
	case n < 2 && depth > 0:
		m := map[string]any{}
		for range rng.IntN(4) {
			m[fmt.Sprint(word(), rng.IntN(9))] = randomJSON(rng, depth-1)
		}
		return m
	case n < 4 && depth > 0:
		var l []any
		for range rng.IntN(4) {
			l = append(l, randomJSON(rng, depth-1))
		}
		return l
	case n == 4:
		return rng.Float64() * 1e6
	case n == 5:
		return nil
	case n == 6:
		return rng.IntN(2) == 0
	}
	return word()
}

// The files' bytes are exact, however the text arrives and is escaped.
func TestSpliceTakesFilesOut(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, size := range []int{0, 1, 2, 3, 47, 48, 49, 1023, 1024, 1025, 5000} {
		raw := make([]byte, size)
		for i := range raw {
			raw[i] = byte(rng.Uint32() | 0xF8) // many + and /
		}
		other := []byte("other")
		for form, escape := range map[string]func(string) string{
			"plain": func(s string) string { return s },
			`\/`:    func(s string) string { return strings.ReplaceAll(s, "/", `\/`) },
			`\u`: func(s string) string {
				return strings.NewReplacer("+", `\u002B`, "/", `\u002f`, "=", `\u003D`).Replace(s)
			},
			`\r\n`:   func(s string) string { return wrap(s, `\r\n`) },
			`\u000a`: func(s string) string { return wrap(s, `\u000A\u0020`) },
			"blank":  func(s string) string { return wrap(s, ` \t `) },
		} {
			data := escape(base64.StdEncoding.EncodeToString(raw))
			text := `{"attachments":[{"data":"` + data + `","filename":"a"}, {"filename":"b","data":"` + base64.StdEncoding.EncodeToString(other) + `"}]}`
			for name, split := range splits {
				d := newRecorder()
				s := newSplicer(split(strings.NewReader(text)), d, 1<<20)
				if err := s.splice(); err != nil || len(s.files) != 2 || s.size != int64(len(text)) {
					t.Fatalf("%d bytes, %s, %s: %v, %d files, size %d of %d", size, form, name, err, len(s.files), s.size, len(text))
				}
				if got := d.bytesOf(t, s.files[0].file); got != string(raw) || s.files[0].err != nil || s.files[0].file.Size != int64(size) {
					t.Fatalf("%d bytes, %s, %s: other bytes came out (%v)", size, form, name, s.files[0].err)
				}
				if got := d.bytesOf(t, s.files[1].file); got != "other" {
					t.Fatalf("the second file is %q", got)
				}
				if want := `{"attachments":[{"data":"file:0","filename":"a"},{"filename":"b","data":"file:1"}]}`; s.out.String() != want {
					t.Fatalf("the words are %s", s.out.String())
				}
				letGo(s, d)
				d.released(t)
			}
		}
	}
}

// wrap breaks a text into lines.
func wrap(s, end string) string {
	var b strings.Builder
	for i := 0; i < len(s); i += 76 {
		b.WriteString(s[i:min(i+76, len(s))] + end)
	}
	return b.String()
}

func TestSpliceRefusesWhatIsNotJSON(t *testing.T) {
	a := `{"attachments":[{"data":"`
	for _, text := range []string{
		``, ` `, `{`, `[`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,}`, `[1,]`, `[1 2]`, `{"a" 1}`, `{1:2}`, `{"a":1}}`, `{"a":1} x`, `"abc`, `"a\`, "\"a\nb\"", "\"a\x00b\"",
		a, a + `aGVs`, a + `aGVs\`, a + `aGVs\u00`, a + `aGVs\u00zz"}]}`, a + `aGVs\xbG8="}]}`, a + "aGVs\nbG8=\"}]}", a + "aGVs\x00bG8=\"}]}", a + `aGVsbG8="`, a + `aGVsbG8="}`,
		strings.Repeat("[", 1_000_000), strings.Repeat(`{"a":`, 1_000_000), strings.Repeat("[", foreign.MaxDepth+1) + strings.Repeat("]", foreign.MaxDepth+1),
	} {
		for name, split := range splits {
			d := newRecorder()
			s := newSplicer(split(strings.NewReader(text)), d, 1<<30)
			var not *errNotJSON
			if err := s.splice(); !errors.As(err, &not) && gjson.ValidBytes(s.out.Bytes()) {
				t.Errorf("%s: %.60q is JSON: %v, %s", name, text, err, s.out.Bytes())
			}
			letGo(s, d)
			d.released(t)
		}
	}
	deep := strings.Repeat("[", foreign.MaxDepth) + strings.Repeat("]", foreign.MaxDepth)
	if s := newSplicer(strings.NewReader(deep), newRecorder(), 1<<20); s.splice() != nil {
		t.Errorf("%d levels are too deep", foreign.MaxDepth)
	}
}

// Through the face: each gets code 4, and the process lives.
func TestBadJSONIsCode4(t *testing.T) {
	f := newFace(t)
	for _, text := range []string{
		strings.Repeat("[", 1_000_000), strings.Repeat(`{"a":`, 200_000),
		`{"operation":"list_operations"`, "{\"operation\":\"list_operations\",\"a\":\"\xff\"}", "{\"operation\":\"list_operations\",\"a\":\"\x00\"}",
		`{"operation":"list_operations","a":"\ud83d"}`, `{"operation":"list_operations","a":"\ud83dx\ude00"}`, `{"operation":"list_operations","a":"\ude00"}`, `{"operation":"list_operations","a":"\ud83d\n"}`,
		`{"operation":"list_operations","a":tru}`, `{"operation":"list_operations","a":01}`, `{"operation":"list_operations","a":"\x"}`, `{"operation":"list_operations"}{}`, `[]`, `null`,
	} {
		f.fails(text, 4, badJSON)
	}
	for _, text := range []string{`{"operation":"list_operations","a":"\ud83d\ude00\\ud83d\u0000 \uFFFF"}`, `{"operation":"list_operations","a":"\ud83d\ude00\ud83d\ude00"}`} {
		if h := f.hook(text); h.Code != 0 {
			t.Errorf("%s: %s", text, h.raw)
		}
	}
}

// A sender cannot put our own token where a file belongs, nor hide a file.
func TestNoTrickWithNames(t *testing.T) {
	f := newFace(t)
	with := func(item string) string {
		return `{"operation":"syn/addattachment","comment":"c","class":"UserRequest","key":2,"attachments":[{"data":"c2VjcmV0","filename":"a"},` + item + `]}`
	}
	for _, item := range []string{
		`{"\u0064ata":"file:0","filename":"b"}`, `{"\u0064\u0061\u0074\u0061":"file:0","filename":"b"}`, `{"data":0,"filename":"b"}`, `{"data":"file:0","filename":"b"}`,
		`{"data":["file:0"],"filename":"b"}`, `{"data":{"a":"file:0"},"filename":"b"}`, `{"data":"ZmlsZTo=0","filename":"b"}`, `{"data":null,"filename":"b"}`, `"file:0"`, `{"filename":"b"}`,
	} {
		f.fails(with(item), 4, "attachments[1]")
	}
	h := f.hook(with(`{"\u0064ata":"aGVsbG8=","filename":"b"}`))
	events := f.desk.events()
	if h.Code != 0 || len(events) != 2 || f.desk.bytesOf(t, events[1].Files[0]) != "hello" {
		t.Errorf("an escaped name: %s", h.raw)
	}
	// Of two names alike the last counts, as in iTop; both files are let go.
	h = f.hook(with(`{"data":"aGVsbG8=","data":"b3RoZXI=","filename":"b","filename":"c"}`))
	if events := f.desk.events(); h.Code != 0 || len(events) != 2 || f.desk.bytesOf(t, events[1].Files[0]) != "other" || events[1].Files[0].Name != "c" {
		t.Errorf("twice the same name: %s", h.raw)
	}
	h = f.hook(`{"attachments":[{"data":"aGVsbG8=","filename":"x"}],` + with(`{"data":"b3RoZXI=","filename":"b"}`)[1:])
	if events := f.desk.events(); h.Code != 0 || len(events) != 2 || f.desk.bytesOf(t, events[1].Files[0]) != "other" {
		t.Errorf("twice attachments: %s", h.raw)
	}
	h = f.post("application/x-www-form-urlencoded", "version=1.3&json_data=%7B%22operation%22:%22list_operations%22%7D&json_data=%7B%7D", "Auth-Token", faceToken)
	if h.Code != 4 || !strings.Contains(h.message(), "twice") {
		t.Error(h.raw)
	}
}

func TestBadBase64NamesTheFile(t *testing.T) {
	f := newFace(t)
	for _, data := range []string{"***", "aGVsbG8", "aGVsbG8=aGVs", "aG\\\\sbG8=", "aG\\\"sbG8=", "aG\\bsbG8=", "aG\\u00e9bG8=", "a-_b", "file:0"} {
		f.fails(`{"operation":"syn/addattachment","comment":"c","class":"UserRequest","key":2,"attachments":[{"data":"aGVsbG8=","filename":"good"},{"data":"`+data+`","filename":"d/é.txt"}]}`,
			4, "attachments[1]: data must be base64", "« é.txt »")
	}
}

func TestFourFilesOfOneMessage(t *testing.T) {
	f := newFace(t)
	var items []string
	for i := range 4 {
		items = append(items, fmt.Sprintf(`{"data":"%s","filename":"f%d","mimetype":"text/plain"}`, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{byte(i)}, i*1000)), i))
	}
	h := f.hook(`{"operation":"syn/addattachment","comment":"c","class":"UserRequest","key":2,"attachments":[` + strings.Join(items, ",") + `]}`)
	events := f.desk.events()
	if h.Code != 0 || len(events) != 4 {
		t.Fatal(h.raw)
	}
	for i, e := range events {
		if got := f.desk.bytesOf(t, e.Files[0]); got != string(bytes.Repeat([]byte{byte(i)}, i*1000)) || e.Files[0].Name != fmt.Sprint("f", i) {
			t.Errorf("file %d: %+v", i, e.Files[0])
		}
	}
}

// FuzzSplice: never a panic, a leak, nor words that hide a file; what the
// splicer accepts and the standard library calls JSON means the same.
func FuzzSplice(f *testing.F) {
	for _, s := range []string{`{"attachments":[{"data":"aGVsbG8=","filename":"a"}]}`, `{"fields":{"contents":{"\u0064ata":"aGVs\/bG8="}}}`, `[1,"\ud83d\ude00",null]`, `{"a":"\u`, strings.Repeat("[", 200), `{"attachments":[{"data":"*"}]}`} {
		f.Add([]byte(s), int64(1000))
	}
	f.Fuzz(func(t *testing.T, b []byte, limit int64) {
		d := newRecorder()
		s := newSplicer(bytes.NewReader(b), d, limit)
		err := s.splice()
		one := newSplicer(iotest.OneByteReader(bytes.NewReader(b)), d, limit)
		if oneErr := one.splice(); (err == nil) != (oneErr == nil) || err == nil && (one.out.String() != s.out.String() || len(one.files) != len(s.files)) {
			t.Fatalf("read byte by byte it differs: %v, %v", err, oneErr)
		}
		if err == nil && s.size != int64(len(b)) {
			t.Fatalf("size %d of %d", s.size, len(b))
		}
		if err != nil && json.Valid(b) && depth(b) <= foreign.MaxDepth && !bytes.Contains(b, []byte("data")) {
			t.Fatalf("JSON was refused: %v", err)
		}
		letGo(s, d)
		letGo(one, d)
		d.released(t)
		if int64(s.out.Len()) > max(0, limit)+int64(40*len(s.files))+8 && limit >= 0 {
			t.Fatalf("%d bytes were kept, the limit is %d", s.out.Len(), limit)
		}
		if err != nil || s.over() || len(s.files) > 0 || !json.Valid(b) {
			return
		}
		var want bytes.Buffer
		_ = json.Compact(&want, b)
		if want.String() != s.out.String() {
			t.Fatalf("%s became %s", b, s.out.Bytes())
		}
	})
}

func depth(b []byte) int {
	deepest, now, quoted, escaped := 0, 0, false, false
	for _, c := range b {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '{' || c == '['):
			now++
			deepest = max(deepest, now)
		case !quoted && (c == '}' || c == ']'):
			now--
		}
	}
	return deepest
}

func FuzzLoneSurrogate(f *testing.F) {
	for _, s := range []string{`\ud83d\ude00`, `\ud83d`, `\\ud83d`, `a\ude00`, `\ud83d\n\ude00`, `\ud83dx\ude00`, `\ud83d\ud83d\ude00`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text := `"` + s + `"`
		var plain string
		if json.Unmarshal([]byte(text), &plain) != nil || strings.ContainsRune(s, '\uFFFD') || strings.Contains(strings.ToLower(s), "fffd") || strings.ToValidUTF8(s, "") != s {
			return
		}
		// The standard library puts U+FFFD in the place of half a pair.
		if got, want := loneSurrogate([]byte(text)), strings.ContainsRune(plain, '\uFFFD'); got != want {
			t.Fatalf("%s: %v, want %v", text, got, want)
		}
	})
}
