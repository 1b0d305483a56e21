package outbox

import (
	"cmp"
	"context"
	"errors"
	"iter"

	"passerelle"
)

// openBucket holds a row for each link that is open: its contract and its number
// → nothing. So who asks for these reads none of those that are over, which are
// nearly all after some years.
const openBucket bucket = "open"

// IsOpen tells whether something may still come of a pair in a state: it was
// escalated, and is not closed, which is final (R31). One that was rejected or
// has left may come back.
func IsOpen(s passerelle.State) bool { return s != passerelle.New && s != passerelle.Closed }

func openKey(contract string, n uint64) []byte {
	return append(openPrefix(contract), numberKey(n)...)
}

// openPrefix ends with a byte that no name has.
func openPrefix(contract string) []byte { return append([]byte(contract), 0) }

// list keeps the index of open links, when a link is written.
func (t *tx) list(l *passerelle.Link) {
	k := openKey(l.Contract, linkNumber(l.ID))
	is, listed := IsOpen(l.State), t.get(openBucket, k) != nil
	switch {
	case is && !listed:
		t.put(openBucket, k, nil)
	case !is && listed:
		t.del(openBucket, k)
	}
}

// OpenLinks implements Store.
func (s *engine) OpenLinks(ctx context.Context, contract string) iter.Seq2[*passerelle.Link, error] {
	return func(yield func(*passerelle.Link, error) bool) {
		for l, err := range s.linksOf(ctx, "open links", openBucket, openPrefix(contract)) {
			if err == nil && !IsOpen(l.State) {
				continue // closed by a program that does not know the index
			}
			if !yield(l, err) {
				return
			}
		}
	}
}

const (
	// openedKey holds, in meta, the last own number up to which every open link is
	// in the index. A program that does not know it may have made links since: one
	// of before an upgrade, or another gateway that shares the store and is upgraded
	// later.
	openedKey = "open"
	// indexStep is how many links are looked at in one commit.
	indexStep = 5000
)

// indexOpen brings the index up to the last own number: it is made where there was
// none, and otherwise costs what was made since the store was opened before.
func indexOpen(kv backend) error {
	for more := true; more; {
		err := kv.update(func(w writer) (err error) {
			more, err = (&tx{writer: w}).indexOpen()
			return err
		}, func() {})
		if err != nil && !errors.Is(err, errNothing) {
			return err
		}
	}
	return nil
}

// indexOpen does one step, and tells whether there is another.
func (t *tx) indexOpen() (more bool, err error) {
	after, last := lastGiven(t, openedKey), lastGiven(t, ownCounter)
	if after >= last {
		return false, cmp.Or(t.err(), errNothing)
	}
	found, err := linksAfter(t, after, indexStep)
	if err != nil {
		return false, err
	}
	for _, l := range found {
		t.list(l)
	}
	if more = len(found) == indexStep; more {
		last = linkNumber(found[len(found)-1].ID)
	}
	t.put(metaBucket, []byte(openedKey), numberKey(last))
	return more, nil
}
