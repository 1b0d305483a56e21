package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"passerelle"
)

// change is a Change made ready: checked, encoded, and apart from what the
// caller holds.
type change struct {
	link    *passerelle.Link // nil: about no ticket that we know
	format  string
	follows string
	entries []*fresh
	names   []Name
	looks   []Look
}

// Append implements Store.
func (s *engine) Append(ctx context.Context, c *Change) error {
	ready, err := prepare(c, s.files.object)
	if err != nil {
		return wrap("append", err)
	}
	var written *passerelle.Link
	err = s.ask(ctx, "append", func(t *tx) (err error) {
		written, err = t.append(ready, s.files.has)
		return err
	})
	if err != nil {
		return err
	}
	if written != nil {
		c.Link.ID, c.Link.Own, c.Link.Version = written.ID, written.Own, written.Version
	}
	copyBack(c.Entries, ready.entries)
	return nil
}

// copyBack gives the caller's entries what the store gave them.
func copyBack(given []*Entry, stored []*fresh) {
	for i, f := range stored {
		event := given[i].Event
		*given[i] = f.stored
		given[i].Event = event
	}
}

func prepare(c *Change, object func(sum string) string) (*change, error) {
	ready := &change{format: c.OwnFormat, follows: c.Follows, names: slices.Clone(c.Names), looks: slices.Clone(c.Looks)}
	if c.Link != nil {
		ready.link = c.Link.Clone()
		if err := errors.Join(checkRefs(c.Link), checkFormat(c.OwnFormat), checkGiven(c.Link)); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(checkNames(c.Names), checkLooks(c.Looks)); err != nil {
		return nil, err
	}
	var err error
	ready.entries, err = prepareEntries(c.Entries, object)
	return ready, err
}

func prepareEntries(entries []*Entry, object func(sum string) string) ([]*fresh, error) {
	var ready []*fresh
	for i, e := range entries {
		f, err := newFresh(e, object)
		if err != nil {
			return nil, fmt.Errorf("entry %d of %d: %w", i+1, len(entries), err)
		}
		ready = append(ready, f)
	}
	return ready, nil
}

// append checks a change against the tables, then writes it. It returns the
// link as written.
func (t *tx) append(c *change, pinned func(sum string) bool) (*passerelle.Link, error) {
	for _, n := range c.names {
		if t.get(nameBucket, sideKey(n.Contract, n.Side, n.Name)) != nil {
			return nil, ErrSeen
		}
	}
	old, err := t.guard(c)
	if err != nil {
		return nil, err
	}
	if err := t.checkEntries(c.entries, c.link, pinned); err != nil {
		return nil, err
	}
	var link *passerelle.Link
	id := ""
	if c.link != nil {
		link = c.link.Clone()
		if old == nil {
			t.baptize(link, c.format)
		}
		t.saveLink(link, old)
		id = link.ID
	}
	t.addEntries(c.entries, link)
	t.see(c.names, id)
	t.addLooks(c.looks)
	return link, nil
}

// guard refuses a change that was judged on a link that moved since. It returns
// the link as it is; nil for a new one.
func (t *tx) guard(c *change) (*passerelle.Link, error) {
	switch {
	case c.link == nil:
		return nil, nil
	case c.link.Version == 0:
		return nil, t.guardNew(c)
	}
	old, err := readLink(t, linkNumber(c.link.ID))
	if errors.Is(err, passerelle.ErrNotFound) || err == nil && old.Version != c.link.Version {
		return nil, ErrConflict
	}
	return old, err
}

func (t *tx) guardNew(c *change) error {
	known, err := youngest(t, c.link.Contract, passerelle.Requester, c.link.Requester.Key)
	if err != nil {
		return err
	}
	id := ""
	if known != nil {
		id = known.ID
	}
	if id != c.follows && c.link.Requester.Key != "" {
		return ErrConflict
	}
	return t.guardGiven(c.link)
}

// errNeverGiven refuses a number that the next new link would get once more.
var errNeverGiven = errors.New("was never given (leave Link.ID empty, and the link gets the next one)")

// guardGiven refuses a new link whose number another has, or will have.
func (t *tx) guardGiven(l *passerelle.Link) error {
	if l.ID == "" {
		return nil
	}
	n := linkNumber(l.ID)
	if last := lastGiven(t, ownCounter); n > last {
		return fmt.Errorf("number %d, after the last %d, %w", n, last, errNeverGiven)
	}
	if t.get(linkBucket, numberKey(n)) != nil {
		return ErrConflict
	}
	return nil
}

// checkEntries refuses an entry whose lane or files do not exist.
func (t *tx) checkEntries(entries []*fresh, link *passerelle.Link, pinned func(string) bool) error {
	for _, f := range entries {
		if f.Status.Final() {
			continue
		}
		if f.Link == "" && link == nil {
			return errors.New("an entry that shall be heard, without a link (set Change.Link)")
		}
		if f.Link != "" && (link == nil || f.Link != link.ID) {
			if _, err := readLink(t, linkNumber(f.Link)); err != nil {
				return err
			}
		}
		for _, sum := range f.Sums {
			if t.get(fileBucket, []byte(sum)) == nil && !pinned(sum) {
				return fmt.Errorf("file %s: %w (Put it, and Release it after Append)", sum, passerelle.ErrNotFound)
			}
		}
	}
	return nil
}

func (t *tx) addEntries(entries []*fresh, link *passerelle.Link) {
	for _, f := range entries {
		t.addEntry(f, link)
	}
}
