package outbox

import (
	"bytes"
	"testing"
)

// FuzzBatch: rows travel as they are, and hostile bytes make an error or rows that
// travel as they are.
func FuzzBatch(f *testing.F) {
	for _, rows := range [][]row{
		nil,
		{{bucket: metaBucket, key: []byte("k"), value: []byte{}}},
		{{bucket: keptBucket, key: []byte("k"), value: []byte("v")}, {bucket: keptBucket, key: []byte("k")}},
		{{bucket: entryBucket, key: numberKey(7), value: []byte(`{"id":7,"status":"waiting","to":"partner"}`)}},
		{{bucket: lookBucket, key: sideKey(deal, "partner", "k")}, {bucket: fileBucket, key: []byte("sum"), value: []byte(`{"refs":1}`)}},
		{{bucket: "of a newer program", key: []byte{0}, value: bytes.Repeat([]byte{255}, 300)}},
	} {
		f.Add(encodeRows(rows))
	}
	for _, b := range []string{"", "\x00", "\x01\x00\x00\x00", "\x01\x01a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x01\x01a\x01b\x80\x00", "\x01\x01a\x01b\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, err := decodeRows(b)
		if err != nil {
			return
		}
		again, err := decodeRows(encodeRows(rows))
		if err != nil || len(again) != len(rows) {
			t.Fatalf("%d rows come back as %d, %v", len(rows), len(again), err)
		}
		for i, r := range rows {
			a := again[i]
			if a.bucket != r.bucket || !bytes.Equal(a.key, r.key) || !bytes.Equal(a.value, r.value) || (a.value == nil) != (r.value == nil) {
				t.Errorf("row %d: %+v comes back as %+v", i, r, a)
			}
		}
		_, _ = newsOf(rows) // an error, no panic
	})
}
