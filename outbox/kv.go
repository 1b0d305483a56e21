package outbox

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"

	"passerelle"
)

// bucket names one ordered table.
type bucket string

const (
	metaBucket   bucket = "meta"    // schema, counters
	linkBucket   bucket = "links"   // link number → link
	keyBucket    bucket = "keys"    // contract, side, key or number, link number → nothing
	nameBucket   bucket = "names"   // contract, side, name → link id
	entryBucket  bucket = "entries" // entry id → record: the entry without its event
	eventBucket  bucket = "events"  // entry id → event: written once
	storyBucket  bucket = "story"   // link number, entry id → nothing
	queueBucket  bucket = "queue"   // status, entry id → place: what is not final
	fileBucket   bucket = "files"   // sum → fileRefs
	lookBucket   bucket = "looks"   // contract, side, key → Look
	keptBucket   bucket = "kept"    // key → value, as Keep was given it
	leadBucket   bucket = "leads"   // contract → Leader, where several gateways share the store
	schemaKey           = "schema"
	ownCounter          = "own"   // the last own number given
	entryCounter        = "entry" // the last entry id given
	schema              = 1
	longestKey          = 4096 // bytes of a name or a ticket's key
)

func buckets() []bucket {
	return []bucket{metaBucket, linkBucket, keyBucket, nameBucket, entryBucket, eventBucket,
		storyBucket, queueBucket, fileBucket, lookBucket, keptBucket, leadBucket, restBucket, openBucket}
}

// reader reads ordered tables as they were at one moment. What it returns is
// valid until its transaction ends, and must not be changed.
type reader interface {
	// get returns nil if there is no such key.
	get(b bucket, key []byte) []byte
	// scan runs over the keys with this prefix, from the given one on, in order.
	// Nothing may be written before it ends.
	scan(b bucket, prefix, from []byte) iter.Seq2[[]byte, []byte]
	// err tells what went wrong below; what was read is then not to be believed.
	err() error
}

// writer writes them too; it reads what it wrote.
type writer interface {
	reader
	put(b bucket, key, value []byte)
	del(b bucket, key []byte)
	// writes counts put and del.
	writes() int
}

// backend keeps the tables. update is called by one goroutine; it returns nil
// when everything written is durable, and an error when nothing is. It may run fn
// more than once. committed is called before anybody else's later change is told.
type backend interface {
	view(fn func(reader) error) error
	update(fn func(writer) error, committed func()) error
	// ready tells why nothing could be stored, nil if nothing is known of that.
	ready() error
	// doubtful tells whether a commit ended in a way that leaves open what a
	// restart will find.
	doubtful() bool
	// hurry ends what waits for other machines: the store closes.
	hurry()
	// copied is the database that a backup copies; nil for none.
	copied() *bolt
	close() error
}

// load reads one value; an error that is ErrNotFound means that there is none.
func load[T any](r reader, b bucket, key []byte) (*T, error) {
	raw := r.get(b, key)
	if err := r.err(); err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, passerelle.ErrNotFound
	}
	return decode[T](b, key, raw)
}

func decode[T any](b bucket, key, raw []byte) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, fmt.Errorf("%s %q is damaged: %w", b, key, err)
	}
	return v, nil
}

// save writes one value. Only our own plain structures come here: they always
// encode.
func save(w writer, b bucket, key []byte, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("outbox: encode %T: %v", v, err))
	}
	w.put(b, key, raw)
}

// count takes the next number of a counter.
func count(w writer, counter string) uint64 {
	n := lastGiven(w, counter) + 1
	w.put(metaBucket, []byte(counter), numberKey(n))
	return n
}

// lastGiven is the last number that a counter gave, or skipped.
func lastGiven(r reader, counter string) uint64 {
	return number(r.get(metaBucket, []byte(counter)))
}

// numberKey orders as numbers do.
func numberKey(n ...uint64) []byte {
	k := make([]byte, 0, 8*len(n))
	for _, v := range n {
		k = binary.BigEndian.AppendUint64(k, v)
	}
	return k
}

func number(k []byte) uint64 {
	if len(k) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(k)
}

// linkNumber is the number that a link's id shows in decimal, 0 if it is none.
func linkNumber(id string) uint64 {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// sideKey is the key of what a contract's side calls key.
func sideKey(contract string, side passerelle.Side, key string) []byte {
	return bytes.Join([][]byte{[]byte(contract), []byte(side), []byte(key)}, []byte{0})
}

// queueKey orders by status, then by id, so that what is parked is found
// without a look at what waits.
func queueKey(s Status, id uint64) []byte {
	return append([]byte{s[0]}, numberKey(id)...)
}
