package outbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"passerelle"
)

// row is one row that a commit wrote or, without a value, removed.
type row struct {
	bucket bucket
	key    []byte
	value  []byte // nil: removed
}

// recorder is a writer that notes what is written, for the other gateways.
type recorder struct {
	writer
	rows []row
}

func (r *recorder) put(b bucket, key, value []byte) {
	r.writer.put(b, key, value)
	r.rows = append(r.rows, row{b, bytes.Clone(key), append([]byte{}, value...)})
}

func (r *recorder) del(b bucket, key []byte) {
	r.writer.del(b, key)
	r.rows = append(r.rows, row{b, bytes.Clone(key), nil})
}

// batchFormat begins each encoded batch.
const batchFormat = 1

// encodeRows writes rows as they travel: a format byte, then for each row the
// bucket, the key and the value, each after its length; a value's is one more, and
// 0 stands for a row that was removed.
func encodeRows(rows []row) []byte {
	out := []byte{batchFormat}
	for _, r := range rows {
		out = appendText(out, []byte(r.bucket))
		out = appendText(out, r.key)
		if r.value == nil {
			out = append(out, 0)
			continue
		}
		out = binary.AppendUvarint(out, uint64(len(r.value))+1)
		out = append(out, r.value...)
	}
	return out
}

func appendText(out, text []byte) []byte {
	return append(binary.AppendUvarint(out, uint64(len(text))), text...)
}

var errBatch = errors.New("no batch of rows, or one that is damaged")

// decodeRows reads what encodeRows wrote. The rows point into b.
func decodeRows(b []byte) ([]row, error) {
	if len(b) == 0 || b[0] != batchFormat {
		return nil, fmt.Errorf("%w (another program's, or a newer one's)", errBatch)
	}
	var rows []row
	for b = b[1:]; len(b) > 0; {
		var r row
		var name []byte
		var ok [3]bool
		name, b, ok[0] = cutText(b)
		r.key, b, ok[1] = cutText(b)
		r.value, b, ok[2] = cutValue(b)
		if ok != [3]bool{true, true, true} || len(name) == 0 {
			return nil, errBatch
		}
		r.bucket = bucket(name)
		rows = append(rows, r)
	}
	return rows, nil
}

func cutText(b []byte) (text, rest []byte, ok bool) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return nil, nil, false
	}
	return b[used : used+int(n)], b[used+int(n):], true
}

func cutValue(b []byte) (value, rest []byte, ok bool) {
	if len(b) > 0 && b[0] == 0 {
		return nil, b[1:], true
	}
	n, used := binary.Uvarint(b)
	if used <= 0 || n == 0 || n-1 > uint64(len(b)-used) {
		return nil, nil, false
	}
	n--
	return b[used : used+int(n) : used+int(n)], b[used+int(n):], true
}

// write writes rows as another gateway wrote them.
func write(w writer, rows []row) {
	for _, r := range rows {
		if r.value == nil {
			w.del(r.bucket, r.key)
		} else {
			w.put(r.bucket, r.key, r.value)
		}
	}
}

// newsOf is what memory must learn of rows that another gateway wrote.
func newsOf(rows []row) (news, error) {
	n := news{files: map[string]fileRefs{}}
	for _, r := range rows {
		if err := n.add(r); err != nil {
			return news{}, err
		}
	}
	return n, nil
}

func (n *news) add(r row) error {
	switch {
	case r.bucket == entryBucket && r.value != nil:
		rec, err := decode[record](r.bucket, r.key, r.value)
		if err != nil {
			return err
		}
		n.entries = append(n.entries, rec.step())
	case r.bucket == lookBucket && r.value != nil:
		l, err := decode[Look](r.bucket, r.key, r.value)
		if err != nil {
			return err
		}
		n.looks = append(n.looks, lookStep(r.key, l, false))
	case r.bucket == lookBucket:
		contract, side, _ := cutSideKey(r.key)
		gone := lookStep(r.key, &Look{Contract: contract, Side: side}, true)
		gone.status = Done
		n.looks = append(n.looks, gone)
	case r.bucket == keptBucket && string(r.key) == scrubKey:
		n.purged = true
	case r.bucket == fileBucket:
		n.files[string(r.key)] = fileRefs{}
		if r.value == nil {
			return nil
		}
		f, err := decode[fileRefs](r.bucket, r.key, r.value)
		if err != nil {
			return err
		}
		n.files[string(r.key)] = *f
	}
	return nil
}

// cutSideKey takes apart what sideKey made.
func cutSideKey(k []byte) (contract string, side passerelle.Side, key string) {
	parts := bytes.SplitN(k, []byte{0}, 3)
	for len(parts) < 3 {
		parts = append(parts, nil)
	}
	return string(parts[0]), passerelle.Side(parts[1]), string(parts[2])
}
