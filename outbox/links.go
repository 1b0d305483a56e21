package outbox

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"passerelle"
)

// youngest finds the link with the greatest number that has this key or number
// on this side; nil if there is none. One that was never escalated, such as that
// of a refusal, stands back behind any that was.
func youngest(r reader, contract string, side passerelle.Side, key string) (*passerelle.Link, error) {
	if key == "" || len(key) > longestKey {
		return nil, r.err()
	}
	prefix := append(sideKey(contract, side, key), 0)
	var found []uint64
	for k := range r.scan(keyBucket, prefix, prefix) {
		if len(k) == len(prefix)+8 { // else a longer key that begins like this one
			found = append(found, number(k[len(prefix):]))
		}
	}
	var last *passerelle.Link
	for _, n := range slices.Backward(found) {
		l, err := readLink(r, n)
		if err != nil || l.State != passerelle.New {
			return l, err
		}
		last = cmp.Or(last, l)
	}
	return last, r.err()
}

func readLink(r reader, n uint64) (*passerelle.Link, error) {
	key := numberKey(n)
	raw := r.get(linkBucket, key)
	err := r.err()
	if err == nil && raw == nil {
		err = passerelle.ErrNotFound
	}
	var l *passerelle.Link
	if err == nil {
		l, err = decodedLinks.link(key, raw)
	}
	if err != nil {
		return nil, fmt.Errorf("link %d: %w", n, err)
	}
	return l, nil
}

// decodedLinks remembers what rows of links say: one event reads the row of its
// ticket some eight times. A row that changed is another one.
var decodedLinks linkMemo

// linkMemo is safe for many goroutines.
type linkMemo struct {
	mu   sync.Mutex
	rows map[string]*passerelle.Link
}

// linkMemoMost bounds how many rows are remembered, of about a kilobyte each.
const linkMemoMost = 1024

// link is the link that a row says, for the caller to keep and change.
func (m *linkMemo) link(key, raw []byte) (*passerelle.Link, error) {
	m.mu.Lock()
	l := m.rows[string(raw)]
	m.mu.Unlock()
	if l != nil {
		return l.Clone(), nil
	}
	l, err := decode[passerelle.Link](linkBucket, key, raw)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.rows) >= linkMemoMost || m.rows == nil {
		m.rows = map[string]*passerelle.Link{}
	}
	m.rows[string(raw)] = l
	return l.Clone(), nil
}

// baptize gives a new link its number: the next, or the one that it had before.
func (t *tx) baptize(l *passerelle.Link, format string) {
	if l.ID == "" {
		l.ID = strconv.FormatUint(count(t, ownCounter), 10)
		l.Own = passerelle.Ref{Key: l.ID}
	}
	if l.Own.Number != "" {
		return
	}
	l.Own.Number = l.ID
	if format != "" {
		l.Own.Number = fmt.Sprintf(format, linkNumber(l.ID))
	}
}

// checkGiven refuses a new link with an ID that is no number of ours.
func checkGiven(l *passerelle.Link) error {
	if l.Version != 0 || l.ID == "" {
		return nil
	}
	if n := linkNumber(l.ID); n == 0 || strconv.FormatUint(n, 10) != l.ID || l.Own.Key != l.ID {
		return fmt.Errorf("a new link with the ID %.40q and the own key %.40q (one number as both works, or an empty ID)", l.ID, l.Own.Key)
	}
	return nil
}

// checkFormat refuses a format that does not show the number.
func checkFormat(format string) error {
	if format == "" {
		return nil
	}
	one, two := fmt.Sprintf(format, 1), fmt.Sprintf(format, 2)
	if one == two || strings.Contains(one, "%!") {
		return fmt.Errorf("the number format %q shows %q (one %%d works: FRS-%%06d)", format, one)
	}
	return nil
}

// checkRefs refuses keys that no table could hold.
func checkRefs(l *passerelle.Link) error {
	for _, s := range []passerelle.Side{passerelle.Requester, passerelle.Partner, passerelle.Broker} {
		if r := l.Ref(s); len(r.Key) > longestKey || len(r.Number) > longestKey {
			return fmt.Errorf("a %s key of more than %d bytes", s, longestKey)
		}
	}
	return nil
}

// saveLink writes a link's next version and moves its keys from its old form,
// nil for a new link.
func (t *tx) saveLink(l, old *passerelle.Link) {
	l.Version = 1
	if old != nil {
		l.Version = old.Version + 1
	}
	n := linkNumber(l.ID)
	save(t, linkBucket, numberKey(n), l)
	t.rest(l, old)
	t.list(l)
	if old != nil && old.Own == l.Own && old.Requester == l.Requester && old.Partner == l.Partner {
		return // the common case
	}
	now, before := linkKeys(l), map[string]bool{}
	if old != nil {
		before = linkKeys(old)
	}
	for k := range before {
		if !now[k] {
			t.del(keyBucket, []byte(k))
		}
	}
	for k := range now {
		if !before[k] {
			t.put(keyBucket, []byte(k), nil)
		}
	}
}

// linkKeys are the rows of a link in the table of keys.
func linkKeys(l *passerelle.Link) map[string]bool {
	n := numberKey(linkNumber(l.ID))
	keys := map[string]bool{}
	for _, s := range []passerelle.Side{passerelle.Requester, passerelle.Partner, passerelle.Broker} {
		for _, k := range []string{l.Ref(s).Key, l.Ref(s).Number} {
			if k != "" {
				keys[string(sideKey(l.Contract, s, k))+"\x00"+string(n)] = true
			}
		}
	}
	return keys
}
