package richtext

import (
	"strings"
	"testing"
)

// BenchmarkWiki is a journal entry of 2 KB, as most are: prose.
func BenchmarkWiki(b *testing.B) {
	in := "<p>" + strings.Repeat("Le médiacentre ne répond pas. ", 64) + "</p>"
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		Wiki(in)
	}
}
