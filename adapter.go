package passerelle

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
)

// Message is an Event in the words of the tool that will hear it.
type Message struct {
	ID string // unique, the same at each try: the mark that a tool can keep
	// Of names the fact that it tells, and which message of it this is: the same
	// after a restore, when the same fact gets another ID. A tool that keeps marks
	// keeps it too. Empty where the fact has no name.
	Of string
	// Restored says that the store came from a backup: an earlier try may lie
	// further back, and other writes of ours may have followed it. Probe then
	// names all that it may be (Receipt.Either).
	Restored bool
	Op       string // the annex's operation: core/create, core/update, core/apply_stimulus, syn/addattachment
	Key      string // the ticket's key in the receiving tool; empty for a create
	Number   string // its number, for errors
	To       Side
	Kind     Kind
	Goals    []string // for a change of state: the receiving tool's acceptable statuses, preferred first
	Public   bool     // an adapter writes internally unless this is set (R16)
	// Body is the whole message as the contract's template renders it. For an
	// attachment the file's bytes are not in it: its place holds DataToken, and
	// the adapter streams the file.
	Body  json.RawMessage
	Rich  []string // JSON paths (gjson syntax) of the texts in Body that are HTML
	Files []File
	// Who in the receiving tool is to take notice (R25). A tool that has no such
	// thing says so in the receipt's Note.
	Mentions []string // accounts that the comment calls
	Watchers []string // accounts that become watchers of the ticket
	Labels   []string // labels that the ticket gets
}

// OpNotify is the Op of a message that only calls watchers or sets labels.
const OpNotify = "notify"

// DataToken stands in Message.Body where a file's base64 belongs.
const DataToken = "$this->data$"

// Receipt is what a delivery leaves behind.
type Receipt struct {
	Ref Ref // the ticket's reference, learned from a create
	// Names are the names of what we wrote, as a later reading of that tool
	// will call them: recorded as seen, so that nothing of ours comes back as
	// news (R17).
	Names []string
	// Either is what a Probe found where a tool keeps no marks: names of writes
	// that look like ours. If one of them is not seen yet, it is ours and the
	// message took effect; if all are, it did not.
	Either []string
	Note   string // for the story: "transition « Clôturer »"
}

// Desk is what the gateway offers an inbound face. Its methods may be called
// at once from several goroutines.
type Desk interface {
	// Accept judges the events, which are about one ticket, all or none. A nil
	// error means that they are stored and survive a power cut, or were known
	// already. A refusal is an *Error of class Refused that names the ticket and
	// what would work.
	Accept(ctx context.Context, events ...*Event) (*Link, error)
	// Look says "something changed on this ticket": it is committed when Look
	// returns nil, coalesced with others, and the ticket is read again later.
	Look(ctx context.Context, contract string, side Side, key string) error
	// Find returns the link of a ticket by the broker's own id or by a key or
	// number of side; an error that is ErrNotFound means that there is none.
	Find(ctx context.Context, contract string, side Side, key string) (*Link, error)
	Spool
}

// Spool keeps the bytes of attachments beside the store, by content hash.
type Spool interface {
	// Put writes a file durably (synced, with its folder) and returns its size
	// and sum. It keeps the bytes until Release, and longer where a stored entry
	// refers to them.
	Put(ctx context.Context, r io.Reader) (File, error)
	// Release ends what Put began: after Accept, whatever its outcome.
	Release(files ...File)
	// Open reads a file's bytes; ErrNotFound if they are gone.
	Open(sum string) (io.ReadCloser, error)
}

// Inbound is the face that a tool talks to. An adapter answers in its tool's
// own form, errors too.
type Inbound interface {
	Serve(w http.ResponseWriter, r *http.Request, d Desk)
}

// Outbound speaks to a tool.
type Outbound interface {
	// Deliver makes one write. Its errors are classified (*Error).
	Deliver(ctx context.Context, m *Message, files Spool) (*Receipt, error)
	// Probe asks whether an earlier Deliver of m took effect: a Receipt if so,
	// ErrAbsent if certainly not, ErrUnknown if the tool cannot tell. It is asked
	// only when an earlier try's outcome is not known.
	Probe(ctx context.Context, m *Message, files Spool) (*Receipt, error)
}

// Measurer is an Outbound whose tool takes texts up to a length only.
type Measurer interface {
	// Fits tells whether an HTML text fits in one text of the tool, and how many
	// characters do.
	Fits(html string) (limit int, ok bool)
}

// Watcher reads tickets of a tool that can fail to tell us.
type Watcher interface {
	// Read returns all that the tool says of a ticket, oldest first.
	Read(ctx context.Context, key string) (*Snapshot, error)
	// Fetch completes an Attach event of a Snapshot with its file's bytes.
	Fetch(ctx context.Context, e *Event, files Spool) error
}

// Sweeper is a Watcher that can be asked which tickets changed, for what its
// tool never told us.
type Sweeper interface {
	Watcher
	// Changed looks at the tool once and tells what may have changed. It errs on
	// the side of telling too much: what is read and known already has no effect.
	Changed(ctx context.Context, since Since) (*Changes, error)
}

// Since says from when on changes are asked for, and of which tickets.
type Since struct {
	// Cursor is Changes.Next of an earlier call; empty: nothing was asked yet,
	// and only Next and what needs no date is told.
	Cursor string
	// Known are tickets of ours in that tool, a batch of them.
	Known []Ref
	// Others asks also for tickets that are not among Known: those that the tool
	// hands to us, and those that carry our mark.
	Others bool
}

// Changes is what a tool says of its tickets.
type Changes struct {
	Keys []string // of tickets that changed: known ones, and ones that carry our mark
	// Stamps are, by ticket, when it changed, in the order of Next: a ticket that
	// still has the stamp with which it was read need not be read again.
	Stamps map[string]string
	// Handed are keys of tickets that stand with the partner's team and changed.
	Handed []string
	// Attached are, by ticket, the names of the attachments that it has, where
	// attaching one does not change the ticket.
	Attached map[string][]string
	// Next is the cursor for the next call: a time that the tool itself told,
	// never older than Since.Cursor; the later of two is the greater text. It may
	// be empty where there was no ticket.
	Next string
}

// Teller is a Watcher whose tool pushes what its administrator composed of
// placeholders, as an iTop does. It composes the same from a reading.
type Teller interface {
	Watcher
	// Tell returns what the tool would have pushed of a ticket by this payload.
	Tell(ctx context.Context, key string, payload []byte) ([]*Event, error)
}
