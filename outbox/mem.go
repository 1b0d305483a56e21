package outbox

import (
	"bytes"
	"hash/maphash"
	"iter"
	"maps"
	"sync"
)

// NewMem returns a store that forgets everything at Close. It keeps the other
// promises, and is for tests and demonstrations.
func NewMem() Store {
	s, err := open(newMemory(), newCupboard())
	if err != nil {
		panic(err) // an empty memory holds nothing that could be wrong
	}
	return s
}

// memory is a backend of persistent trees: a change makes new nodes along its
// path, so that a reader keeps the old tree and a failed change costs nothing.
type memory struct {
	seed maphash.Seed
	mu   sync.Mutex
	now  map[bucket]*node // replaced, never changed
	shut bool
}

func newMemory() *memory {
	return &memory{seed: maphash.MakeSeed(), now: map[bucket]*node{}}
}

func (m *memory) begin() (*memoryTx, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shut {
		return nil, ErrClosed
	}
	return &memoryTx{seed: m.seed, roots: maps.Clone(m.now)}, nil
}

func (m *memory) view(fn func(reader) error) error {
	t, err := m.begin()
	if err != nil {
		return err
	}
	return fn(t)
}

func (m *memory) update(fn func(writer) error, committed func()) error {
	t, err := m.begin()
	if err != nil {
		return err
	}
	if err := fn(t); err != nil {
		return err
	}
	m.mu.Lock()
	m.now = t.roots
	m.mu.Unlock()
	committed()
	return nil
}

func (m *memory) ready() error   { return nil }
func (m *memory) doubtful() bool { return false }
func (m *memory) copied() *bolt  { return nil }
func (m *memory) hurry()         {}

func (m *memory) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shut = true
	return nil
}

type memoryTx struct {
	seed  maphash.Seed
	roots map[bucket]*node
	n     int
}

func (t *memoryTx) err() error  { return nil }
func (t *memoryTx) writes() int { return t.n }

func (t *memoryTx) get(b bucket, key []byte) []byte {
	for n := t.roots[b]; n != nil; {
		switch c := bytes.Compare(key, n.key); {
		case c == 0:
			return n.value
		case c < 0:
			n = n.left
		default:
			n = n.right
		}
	}
	return nil
}

func (t *memoryTx) put(b bucket, key, value []byte) {
	t.n++
	n := &node{key: bytes.Clone(key), value: append([]byte{}, value...), rank: maphash.Bytes(t.seed, key)}
	less, more := t.roots[b].without(key)
	t.roots[b] = join(join(less, n), more)
}

func (t *memoryTx) del(b bucket, key []byte) {
	t.n++
	t.roots[b] = join(t.roots[b].without(key))
}

func (t *memoryTx) scan(b bucket, prefix, from []byte) iter.Seq2[[]byte, []byte] {
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	return func(yield func([]byte, []byte) bool) {
		t.roots[b].walk(from, func(n *node) bool {
			return bytes.HasPrefix(n.key, prefix) && yield(n.key, n.value)
		})
	}
}

// node is a treap: a search tree by key, a heap by rank, and as the rank is the
// key's hash the tree stays shallow.
type node struct {
	key, value  []byte
	rank        uint64
	left, right *node
}

// without splits a tree into what is less and what is more than key.
func (n *node) without(key []byte) (less, more *node) {
	if n == nil {
		return nil, nil
	}
	c := *n
	switch d := bytes.Compare(n.key, key); {
	case d == 0:
		return n.left, n.right
	case d < 0:
		c.right, more = n.right.without(key)
		return &c, more
	default:
		less, c.left = n.left.without(key)
		return less, &c
	}
}

// join makes one tree of two, all of a before all of b.
func join(a, b *node) *node {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	if a.rank > b.rank {
		c := *a
		c.right = join(a.right, b)
		return &c
	}
	c := *b
	c.left = join(a, b.left)
	return &c
}

// walk visits the keys from the given one on, in order, until visit says no.
func (n *node) walk(from []byte, visit func(*node) bool) bool {
	if n == nil {
		return true
	}
	if bytes.Compare(n.key, from) < 0 {
		return n.right.walk(from, visit)
	}
	return n.left.walk(from, visit) && visit(n) && n.right.walk(from, visit)
}
