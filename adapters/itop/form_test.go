package itop

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func readForm(r io.Reader) (names, values []string, err error) {
	err = (&formReader{r: bufio.NewReaderSize(r, 16)}).each(func(p part) error {
		b, err := io.ReadAll(p.r)
		names, values = append(names, p.name), append(values, string(b))
		return err
	})
	return names, values, err
}

func TestFormIsReadAsPHPReadsIt(t *testing.T) {
	for body, want := range map[string]string{
		"a=1&b=2": "a:1 b:2", "": "", "a": "a:", "a&b=1": "a: b:1", "a=&b": "a: b:", "a=%41+%e9%": "a:A \xe9%", "a=%4": "a:%4", "a=%zz%2": "a:%zz%2",
		"a=1&&b=2": "a:1 : b:2", "a=b=c": "a:b=c", "%61=1": "a:1", "a%=1": "a%:1", "a=1;b=2": "a:1;b=2", "a=%2B%26%3D": "a:+&=",
	} {
		for name, split := range splits {
			names, values, err := readForm(split(strings.NewReader(body)))
			var got []string
			for i := range names {
				got = append(got, names[i]+":"+values[i])
			}
			if err != nil || strings.Join(got, " ") != want {
				t.Errorf("%s: %q is %q (%v), want %q", name, body, got, err, want)
			}
		}
	}
	if _, _, err := readForm(strings.NewReader(strings.Repeat("n", 300) + "=1")); err == nil {
		t.Error("a name without end was taken")
	}
}

func FuzzForm(f *testing.F) {
	for _, s := range []string{"a=1&b=%41+c", "json_data=%7B%22a%22%3A1%7D&version=1.3", "a=%", "&&=&"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		names, values, err := readForm(bytes.NewReader(b))
		names1, values1, err1 := readForm(iotest.OneByteReader(bytes.NewReader(b)))
		if !slices.Equal(names, names1) || !slices.Equal(values, values1) || (err == nil) != (err1 == nil) {
			t.Fatalf("read byte by byte it differs: %q %q %v, %q %q %v", names, values, err, names1, values1, err1)
		}
		want, wantErr := url.ParseQuery(string(b))
		if err != nil || wantErr != nil {
			return
		}
		got := url.Values{}
		for i := range names {
			got.Add(names[i], values[i])
		}
		for name, list := range want {
			if name != "" && !slices.Equal(got[name], list) {
				t.Fatalf("%q: %q is %q, want %q", b, name, got[name], list)
			}
		}
	})
}

func TestCappedReader(t *testing.T) {
	for n, want := range map[int]error{0: nil, 9: nil, 10: nil, 11: errTooLong, 100: errTooLong} {
		for name, split := range splits {
			b, err := io.ReadAll(&cappedReader{r: split(strings.NewReader(strings.Repeat("x", n))), left: 10})
			if err != want || len(b) > 10 || want == nil && len(b) != n {
				t.Errorf("%s, %d bytes of 10: %d, %v", name, n, len(b), err)
			}
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, s := range []string{logMessage, `{"operation":"core/create","comment":"c","class":"UserRequest","fields":{"org_id":"SELECT A WHERE name='x'","public_log":{"add_item":{"message":"<"}}},"attachments":[{"data":"","filename":"a"}]}`} {
		f.Add(s)
	}
	face := newFace(f)
	f.Fuzz(func(t *testing.T, s string) {
		q := &request{http: httptest.NewRequest(http.MethodPost, "/", nil), header: credentials{token: faceToken}, bare: true}
		if err := face.itop.readJSON(t.Context(), strings.NewReader(s), q, face.desk); err != nil {
			t.Fatal(err)
		}
		defer func() { face.desk.Release(q.kept()...) }()
		if q.check() == nil {
			_, _ = face.itop.operate(t.Context(), q, face.desk)
		}
	})
}
