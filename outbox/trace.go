package outbox

import (
	"encoding/json"
	"time"

	"passerelle"
)

// Trace is what stays of words that are not kept, or not kept any more: how much
// they were, and a hash by which who still has them can show that these they
// were. It tells nobody what they said; but a text that can be guessed can be
// compared with the hash, so it is no anonymous one.
type Trace struct {
	Bytes int64 `json:"bytes"` // of all fields together, in UTF-8
	// Sum is the SHA-256, hexadecimal, of the fields as one JSON object, its names
	// in order, as Go's encoding/json writes it; empty where there were none.
	Sum string `json:"sha256,omitempty"`
	// Error is the SHA-256 of the error that stood in the entry, for an error may
	// quote: the same refusal is still known to be the same.
	Error string `json:"error_sha256,omitempty"`
	// Purged is when they were taken out of the store; zero: they never were in it.
	Purged time.Time `json:"purged,omitzero"`
}

// Strip returns an event without what people wrote, its fields and the names of
// its files, and the trace of that; nil if there was nothing. The event that is
// given stays as it is. What tells the same fact again stays: the names of facts
// and the hashes of files.
func Strip(e *passerelle.Event) (*passerelle.Event, *Trace) {
	bare, trace := *e, &Trace{}
	bare.Fields, bare.Files, bare.Source = nil, nil, ""
	for _, f := range e.Files {
		bare.Files = append(bare.Files, passerelle.File{Size: f.Size, Sum: f.Sum})
	}
	if len(e.Fields) == 0 {
		return &bare, nil
	}
	for _, v := range e.Fields {
		trace.Bytes += int64(len(v))
	}
	raw, _ := json.Marshal(e.Fields) // a map of strings always encodes, keys sorted
	trace.Sum = sumOf(raw)
	return &bare, trace
}

// RefusedFor tells whether the entry is a refusal with this error, though the
// error's words may be purged.
func (e *Entry) RefusedFor(why string) bool {
	if e.Trace != nil && e.Trace.Error != "" {
		return e.Status == Refused && e.Trace.Error == sumOf([]byte(why))
	}
	return e.Status == Refused && e.Error == why
}
