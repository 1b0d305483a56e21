package itop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"passerelle"
)

var _ passerelle.Sweeper = (*ITop)(nil)

const (
	// stamp is how iTop writes a date: its own local time, without an offset.
	stamp = "2006-01-02 15:04:05"

	// overlap is how far behind its cursor a sweep asks: in October iTop's clock
	// goes back an hour, and last_update with it.
	overlap = 65 * time.Minute
)

// Changed asks iTop which tickets moved, by last_update, which every change but
// an attachment moves; the attachments are listed whole. The cursor is the
// largest last_update that iTop told: its clock and the database's differ from
// ours and from each other. Nothing is asked in pages, which shift.
func (t *ITop) Changed(ctx context.Context, since passerelle.Since) (*passerelle.Changes, error) {
	from, err := behind(since.Cursor)
	if err != nil {
		return nil, err
	}
	c := &passerelle.Changes{Next: since.Cursor, Stamps: map[string]string{}}
	if len(since.Known) > 0 {
		if err := t.changedKnown(ctx, since.Known, from, c); err != nil {
			return nil, err
		}
	}
	if since.Others && t.cfg.Scope != "" {
		if c.Handed, err = t.moved(ctx, "id IN ("+t.cfg.Scope+")", from, c); err != nil {
			return nil, t.aboutScope(err)
		}
	}
	return c, nil
}

func (t *ITop) changedKnown(ctx context.Context, known []passerelle.Ref, from string, c *passerelle.Changes) error {
	var keys []string
	for _, r := range known {
		keys = append(keys, r.Key)
	}
	list, err := idList(keys)
	if err != nil {
		return err
	}
	if c.Keys, err = t.moved(ctx, "id IN ("+list+")", from, c); err != nil {
		return err
	}
	files, err := t.attachmentsOf(ctx, keys...)
	if err != nil {
		return err
	}
	c.Attached = map[string][]string{}
	for _, a := range files {
		c.Attached[a.item] = append(c.Attached[a.item], attachmentName(a.item, a.id))
	}
	return nil
}

// moved are the keys of the tickets of a condition that changed, and moves Next
// on. Where there is no date to ask from, it does the latter only.
func (t *ITop) moved(ctx context.Context, where, from string, c *passerelle.Changes) ([]string, error) {
	where = "SELECT " + t.cfg.Class + " WHERE " + where
	if from != "" {
		where += " AND last_update >= '" + from + "'" // ">" would lose the second write of one second
	}
	ans, err := t.call(ctx, call{body: query(t.cfg.Class, where, "id,last_update")})
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, o := range objects(ans) {
		key, at := o.Get("key").String(), o.Get("fields.last_update").String()
		if numeric(key) != nil {
			return nil, unsure(false, "the answer is not iTop's: ticket %q", t.quote(key, 80))
		}
		if at == "" {
			continue // brought in by an import, and never changed since
		}
		if _, ok := civil(at); !ok {
			return nil, &passerelle.Error{Op: "itop", Class: passerelle.Stuck, Ticket: key, Err: fmt.Errorf("last_update is %q, not such as %s", t.quote(at, 80), stamp),
				Hint: "sweeps go by last_update: save the ticket once in iTop"}
		}
		if c.Next = max(c.Next, at); from != "" {
			keys = append(keys, key)
			c.Stamps[key] = at
		}
	}
	slices.SortFunc(keys, byNumber)
	return keys, nil
}

// behind is the date from which a sweep asks, "" for no cursor. It is reckoned
// on the text, as a time without a zone: iTop compares texts, too.
func behind(cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	at, ok := civil(cursor)
	if !ok {
		return "", passerelle.Errorf(passerelle.Stuck, "itop", "the cursor %q is no date of iTop's", cursor)
	}
	return at.Add(-overlap).Format(stamp), nil
}

// civil reads a date of iTop's as a time without a zone.
func civil(s string) (time.Time, bool) {
	at, err := time.Parse(stamp, s)
	return at, err == nil && at.Format(stamp) == s
}

// away tells whether a ticket is not among those that stand with the partner's
// team.
func (t *ITop) away(ctx context.Context, key string) (bool, error) {
	if t.cfg.Scope == "" {
		return false, nil
	}
	ans, err := t.call(ctx, call{body: query(t.cfg.Class, "SELECT "+t.cfg.Class+" WHERE id = "+key+" AND id IN ("+t.cfg.Scope+")", "id")})
	return len(objects(ans)) == 0, t.aboutScope(err)
}

// aboutScope says of a query with the scope in it that it is most likely this
// which iTop refuses.
func (t *ITop) aboutScope(err error) error {
	return hinted(err, "correct the scope « "+t.cfg.Scope+" »: name classes and attributes as this iTop does")
}

// hinted says what would work where iTop refused for a reason that only a person
// can mend, and nothing more is known of it.
func hinted(err error, hint string) error {
	var e *passerelle.Error
	if errors.As(err, &e) && e.Class == passerelle.Stuck && e.Hint == "" {
		e.Hint = hint
	}
	return err
}
