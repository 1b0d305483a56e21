// Package outbox keeps events from the moment they are accepted until the
// other side has heard them.
//
// It keeps on disk (for Bolt) one database file with the links, the story of
// every ticket, the names of the facts already seen and the queue, and beside
// it the attachments by content hash. A store is used by one process at a
// time.
//
// What it guarantees: what Append, Next or Settle return nil for survives a
// power cut; an entry is lent to one worker at
// a time and never before the earlier ones of its lane are final; a parked
// entry keeps its lane closed.
package outbox

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"passerelle"
)

// Status is where an entry stands.
type Status string

const (
	Waiting    Status = "waiting"    // due now or at NotBefore, when first in its lane
	Lent       Status = "lent"       // a worker has it; after a crash: its outcome is unknown
	Done       Status = "done"       // the other side has heard it, or there was nothing to tell
	Parked     Status = "parked"     // a person must decide: retry or drop; its lane is closed
	Refused    Status = "refused"    // not accepted; kept for the story
	Superseded Status = "superseded" // overtaken by a newer state, not sent (R34)
	Dropped    Status = "dropped"    // not sent: a person decided so, or it was a note that could not be written
)

// Final tells whether an entry in this status is out of its lane.
func (s Status) Final() bool {
	switch s {
	case Waiting, Lent, Parked:
		return false
	}
	return true
}

// Entry is one event and, where it has To, what becomes of it on its way to
// that side. An event that two templates carry makes two entries; one that
// tells nobody, or is refused, makes one without To.
type Entry struct {
	Schema   int               `json:"v"`  // version of this structure: EntrySchema
	ID       uint64            `json:"id"` // given by Append, growing
	Link     string            `json:"link"`
	Contract string            `json:"contract"`
	Terms    string            `json:"terms"`        // the contract version it was judged under
	To       passerelle.Side   `json:"to,omitempty"` // who shall hear it; empty: nobody
	Template string            `json:"template,omitempty"`
	Event    *passerelle.Event `json:"event"`
	State    passerelle.State  `json:"state"`          // of the link after this event
	Turn     uint64            `json:"turn"`           // of the link after this event
	Rule     string            `json:"rule,omitempty"` // the contract rule that decided
	Status   Status            `json:"status"`
	Attempts int               `json:"attempts,omitempty"` // charged to the message itself
	Tried    time.Time         `json:"tried,omitzero"`     // when the first of them failed; a retry by a person forgets it
	Created  time.Time         `json:"created"`
	Before   time.Time         `json:"not_before,omitzero"` // not due before
	Settled  time.Time         `json:"settled,omitzero"`    // when it became final or was parked
	Class    passerelle.Class  `json:"class,omitempty"`     // of the last error
	Error    string            `json:"error,omitempty"`     // the last error, for people
	Note     string            `json:"note,omitempty"`      // how it went
	Probe    bool              `json:"probe,omitempty"`     // an earlier try's outcome is unknown: ask before trying
	// Restored: it was not final in a backup that was restored. What became of it
	// since the backup was made, nobody here knows.
	Restored bool `json:"restored,omitempty"`
	// Parts counts the messages of this entry that were delivered, in order; Wrote
	// are the names of what they wrote at To, as Sent and Settle were told them.
	Parts     int        `json:"parts,omitempty"`
	Wrote     []string   `json:"wrote,omitempty"`
	Decisions []Decision `json:"decisions,omitempty"` // by people, oldest first
	// Trace is what stays of the event's words where they are not kept.
	Trace *Trace `json:"trace,omitempty"`
	// Lend numbers the loans; Sent and Settle of an older loan are ErrLost.
	Lend uint64 `json:"lend,omitempty"`
}

// EntrySchema is the version of Entry that this program writes.
const EntrySchema = 1

// Decision is what a person decided about a parked entry.
type Decision struct {
	At    time.Time `json:"at"`
	By    string    `json:"by"`
	Verb  string    `json:"verb"` // retry or drop
	Why   string    `json:"why"`
	Terms string    `json:"terms,omitempty"` // retried under this contract version
}

// Dest is who hears: a contract's side. Each has workers of its own.
type Dest struct {
	Contract string
	Side     passerelle.Side
}

// Change is what one accepted, refused or known event changes, all or nothing.
type Change struct {
	// Link in its next form. Version is the version that was read; 0 for a new
	// link, whose ID and Own are given by Append: the key is the next number of
	// the store, in decimal, the Number is that number in OwnFormat.
	//
	// A new link whose ID is set gets that number back, for a pair that a restored
	// backup has forgotten: Own.Key must equal ID, Own.Number stays as given or, if
	// empty, is made by OwnFormat. The number must be one that the store has given
	// or skipped; ErrConflict if a link has it. Follows is asked as ever, and of two
	// links with one key Find still takes the one with the greater number.
	Link      *passerelle.Link
	OwnFormat string // such as "FRS-%06d"
	// Follows is, for a new link, the ID of the youngest link that the caller
	// knew under its requester key, empty for none: a ticket that comes back
	// after closing makes a new link (R31), two at once do not.
	Follows string
	Entries []*Entry // ID, Created and (if empty) Link are set by Append
	// Names become seen, for the link, under contract and side.
	Names []Name
	// Looks are committed with it: "read this ticket again".
	Looks []Look
}

// Name is one identity of a fact, within a contract and the side whose tool
// holds it.
type Name struct {
	Contract string
	Side     passerelle.Side
	Name     string
}

// Look is a ticket to read again. Hints for one ticket coalesce.
type Look struct {
	Contract string          `json:"contract"`
	Side     passerelle.Side `json:"side"`
	Key      string          `json:"key"`
	Count    uint64          `json:"count"` // of the hints that were stored: Looked drops it only if no newer one came
	Since    time.Time       `json:"since"` // of the oldest hint
	Before   time.Time       `json:"not_before,omitzero"`
	Tries    int             `json:"tries,omitempty"`
	Error    string          `json:"error,omitempty"`
}

// Outcome is how a loan ended.
type Outcome struct {
	To     Status    // Done, Waiting, Parked, Superseded, Dropped
	Before time.Time // for Waiting
	Charge bool      // count an attempt against the message
	Probe  bool      // the outcome is unknown: ask before the next try
	Class  passerelle.Class
	Error  string
	Note   string
	Names  []Name // of what was written there
	// Ref is the reference learned for the entry's To side, if any: the link and
	// its keys learn it in the same commit.
	Ref passerelle.Ref
	// Shown is the turn that the entry's To side has now been shown, 0 for none.
	Shown uint64
	// Follow are entries queued in the same commit (R5: update-reference).
	Follow []*Entry
	Looks  []Look
}

// Query selects entries. Zero fields select all; the order is by ID.
type Query struct {
	Link     string // the story of one ticket
	Contract string
	To       passerelle.Side // the side that shall hear it
	Status   []Status        // Waiting, Lent, Parked answer from an index
	After    uint64          // entries with a greater ID
	Limit    int             // 0 = all
	Bare     bool            // without their events: Event is nil
}

// Stats counts what is not final.
type Stats struct {
	ByStatus      map[Dest]map[Status]int
	OldestWaiting map[Dest]time.Time // creation of the oldest entry not final
	Blocked       map[Dest]int       // lanes whose head is parked
	Looks         int
	LooksAt       map[Dest]int // the same by tool
	// Due and LooksDue tell since when an entry, or a hint, could have been lent
	// and was not; Committing since when the oldest change waits for the disk.
	// What is not there, or zero, waits for nothing.
	Due        map[Dest]time.Time
	LooksDue   map[Dest]time.Time
	Committing time.Time
	// Led are the contracts that this gateway leads, nil for all: of the others it
	// lends nothing, whatever is due.
	Led map[string]bool
	// Size is the length of the database file, or of this gateway's replica, and
	// Unused what of it holds nothing, both in bytes; 0 for a store in memory. Every
	// commit writes the list of unused pages: a long one makes it slow.
	Size, Unused int64
	// Rejected counts the commits that had to be decided again because another
	// gateway's came first.
	Rejected int
}

// The errors that callers ask about with errors.Is.
var (
	ErrSeen     = errors.New("outbox: already seen")
	ErrConflict = errors.New("outbox: the ticket changed meanwhile; judge again")
	ErrLost     = errors.New("outbox: this loan is over; another worker has the entry")
	ErrClosed   = errors.New("outbox: closed")
)

// Store is the whole of it. Users take the part they need.
type Store interface {
	// Find returns the link that has this key or number on this side (the
	// broker's own id or ref for Broker); passerelle.ErrNotFound if none. Two
	// links with one key: the youngest.
	Find(ctx context.Context, contract string, side passerelle.Side, key string) (*passerelle.Link, error)
	// Seen tells which of the names are seen, by name.
	Seen(ctx context.Context, names ...Name) (map[string]bool, error)
	// Append commits a change and returns when it is on disk: ErrConflict if the
	// link's version moved or (new link) another link took its requester key
	// since it was read; ErrSeen if one of the names is already seen. The given
	// link and entries are updated in place (ids, version).
	Append(ctx context.Context, c *Change) error

	// Next lends the head of a due lane of dest, waiting until there is one. The
	// loan is on disk when it returns: it is the record of the intent.
	Next(ctx context.Context, d Dest) (*Entry, error)
	// Sent records that the first parts messages of an entry were delivered,
	// with their names.
	Sent(ctx context.Context, e *Entry, parts int, names []Name) error
	// Settle ends a loan. It returns when the outcome is committed, with
	// whatever else was waiting to be: every later call sees it.
	Settle(ctx context.Context, e *Entry, o Outcome) error

	// Look commits a hint. NextLook returns a due one of a tool, waiting until there is
	// one; it stays until Looked drops it or puts it off.
	Look(ctx context.Context, l Look) error
	NextLook(ctx context.Context, d Dest) (*Look, error)
	Looked(ctx context.Context, l *Look, again time.Time, err error) error

	// Entry returns one entry; passerelle.ErrNotFound if there is none.
	Entry(ctx context.Context, id uint64) (*Entry, error)
	Entries(ctx context.Context, q Query) iter.Seq2[*Entry, error]
	// Links are all links, the oldest first. OpenLinks are those of a contract that
	// are neither new nor closed, at a cost that is theirs alone, however many are
	// over. Both read as they go.
	Links(ctx context.Context) iter.Seq2[*passerelle.Link, error]
	OpenLinks(ctx context.Context, contract string) iter.Seq2[*passerelle.Link, error]
	// Retry puts a parked entry back in its lane; Drop makes it final unsent.
	// Both open the lane, and record who decided and why. An entry that is not
	// parked is refused, but a waiting one may be retried at once.
	Retry(ctx context.Context, id uint64, d Decision) (*Entry, error)
	Drop(ctx context.Context, id uint64, d Decision) (*Entry, error)

	// Kept returns a small value by its key, "" if none is kept. Keep returns when
	// it is on disk; "" removes it.
	Kept(ctx context.Context, key string) (string, error)
	Keep(ctx context.Context, key, value string) error

	// Lead waits until this gateway is the one that works for a contract: the one
	// to which its entries and hints are lent. The term ends by itself when that is
	// not certain any more; ask passerelle.Held right before each write to a tool. resign ends it, and lets another gateway
	// lead at once: call it when all that was under way has come to its end. Of a
	// store that only one gateway uses, a term never ends.
	Lead(ctx context.Context, contract string) (term context.Context, resign func(), err error)
	// Leaders tells who leads, by contract; nobody in a store of one gateway.
	Leaders(ctx context.Context) (map[string]Leader, error)
	// Purger takes out what people wrote on tickets that are over.
	Purger

	Stats(ctx context.Context) (*Stats, error)
	// Ready returns nil while changes and files can be stored, else what is wrong
	// and what would work. Where the last one failed it tries.
	Ready(ctx context.Context) error
	// Files is the spool that lies beside the store.
	Files() passerelle.Spool
	// Backup writes the store as it is at one moment, with every change that was
	// acknowledged before; Restore reads it. The store goes on meanwhile. progress,
	// if not nil, is told how many bytes are written, and of how many.
	//
	// First the database is copied beside itself, which takes as much room again
	// for as long as the backup runs. During that copy, not for longer, the database
	// grows with each change instead of using its old pages again, and a change for
	// which it must be mapped anew waits. How slowly w takes the backup, even if it
	// stops, does not matter to the store; only the attachments stay until the end.
	//
	// Attachments that are lost or damaged are listed in the report, and the backup
	// is whole without them. A damaged database is an error. What was written
	// before an error is no backup: Restore refuses it.
	Backup(ctx context.Context, w io.Writer, progress func(done, total int64)) (*BackupReport, error)
	// Close finishes what is being committed and releases the files.
	Close() error
}
