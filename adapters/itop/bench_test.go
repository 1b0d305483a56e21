package itop

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"passerelle"
)

// nothing is a spool that measures only.
type nothing struct{ *recorder }

func (nothing) Put(_ context.Context, r io.Reader) (passerelle.File, error) { return measure(r) }
func (nothing) Release(...passerelle.File)                                  {}

func measure(r io.Reader) (passerelle.File, error) {
	n, err := io.Copy(io.Discard, r)
	return passerelle.File{Size: n, Sum: "x"}, err
}

func benchMessage(files, each int) string {
	data := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("\xfb\xef\xbe passerelle"), each/14))
	var items []string
	for i := range files {
		items = append(items, fmt.Sprintf(`{"data":"%s","filename":"f%d","mimetype":"application/pdf"}`, strings.ReplaceAll(data, "/", `\/`), i))
	}
	return `{"operation":"syn/addattachment","comment":"c","class":"UserRequest","key":"2","fields":{"last_update_by":"provider"},"attachments":[` + strings.Join(items, ",") + `]}`
}

// BenchmarkFace measures a whole request, without network, disk and relay.
func BenchmarkFace(b *testing.B) {
	cfg := faceConfig()
	cfg.LimitBytes = 12 << 20
	it, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	log := fmt.Sprintf(benchLog, strings.Repeat("Bonjour, l'accès est impossible. ", 55))
	big := benchMessage(4, 1_900_000)
	for _, c := range []struct{ name, kind, body string }{
		{"10MB-4-files/bare", "application/json", big},
		{"10MB-4-files/form", "application/x-www-form-urlencoded", url.Values{"version": {"1.3"}, "json_data": {big}}.Encode()},
		{"2KB/bare", "application/json", log},
		{"2KB/form", "application/x-www-form-urlencoded", url.Values{"version": {"1.3"}, "json_data": {log}}.Encode()},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			for b.Loop() {
				r, _ := http.NewRequest(http.MethodPost, "/", strings.NewReader(c.body))
				r.Header.Set("Auth-Token", faceToken)
				r.Header.Set("Content-Type", c.kind)
				d := newRecorder()
				it.Serve(discard{}, r, nothing{d})
				if len(d.accepted) == 0 {
					b.Fatal("nothing was accepted")
				}
			}
		})
	}
}

const benchLog = `{"operation":"core/update","comment":"c","class":"UserRequest","fields":{"customer_id":"5","public_log":"<p>%s</p>"}}`

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
