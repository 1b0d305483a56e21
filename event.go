package passerelle

import "time"

// Event is one fact about one ticket, as one side told it.
type Event struct {
	// Names are its identities, scoped by contract and side: the same fact has
	// the same name however we heard of it. Any one already seen means that
	// the event is known. May be empty for a pushed status change, which the
	// relay names by the turn of the link.
	Names    []string `json:"names,omitempty"`
	Contract string   `json:"contract"`
	From     Side     `json:"from"`
	// Kind is what it is about; an adapter that cannot know leaves it empty and
	// gives a Signal, which the contract's signals table turns into a Kind.
	Kind   Kind   `json:"kind,omitempty"`
	Signal string `json:"signal,omitempty"` // the tool's own word: "ev_close", or a status "A clôturer"
	// Key is the ticket's key in From's tool; empty where the sender gave other
	// references only.
	Key string `json:"key,omitempty"`
	// Claims are the references by which the sender named the ticket. All that
	// are known must mean the same link (R28).
	Claims []Claim   `json:"claims,omitempty"`
	Author string    `json:"author,omitempty"` // who made the change, by role: last_update_by, a hint, never proof (R17)
	At     time.Time `json:"at"`
	// Fields holds texts and scalars: by From's own field codes as the adapter
	// gives them, by the contract's names once interpreted.
	Fields map[string]string `json:"fields,omitempty"`
	Files  []File            `json:"files,omitempty"`
	// Read says that the event was found by reading the ticket, not pushed.
	Read bool `json:"read,omitempty"`
	// Unread says that the sender's tool cannot be read again, as a partner's own
	// agent: a text that is known is then the same post again only if it is the
	// last that this sender wrote there.
	Unread bool `json:"unread,omitempty"`
	// Alias is a weaker identity: an event whose Alias is seen is the same fact,
	// unless another name has claimed that alias already. A pushed file has one,
	// because only a later reading tells the attachment's id.
	Alias string `json:"alias,omitempty"`
	// Private says that a file was shown in private only, and Edited that an
	// entry is a new form of one that travelled before (R33).
	Private bool `json:"private,omitempty"`
	Edited  bool `json:"edited,omitempty"`
	// Overtaken says that the ticket's state was changed by the gateway after this
	// change of state, which had not been read by then (R34).
	Overtaken bool `json:"overtaken,omitempty"`
	// Mark is the id of the gateway's own message that made this change, where
	// the tool keeps our marks: such an event is an echo (R17).
	Mark string `json:"mark,omitempty"`
	// Account is the tool's own id of who made the change, where it tells: what our
	// own account wrote is an echo even where the tool keeps no marks (R17).
	Account string `json:"-"`
	// Source is an adapter's handle for Watcher.Fetch, such as an attachment's id.
	Source string `json:"source,omitempty"`
	// In names the facts whose texts show this file, in a Snapshot: an image that
	// was pasted into a text goes where the text goes (R29). The ticket's own
	// description is one too. Empty for a file that was attached.
	In []string `json:"-"`
}

// Claim is one reference to a ticket: a key or number in a side's tool, or the
// broker's own id or number.
type Claim struct {
	Side Side   `json:"side"`
	Key  string `json:"key"`
}

// File is one attachment. Its bytes lie in the Spool, by content hash.
type File struct {
	Name string `json:"name"`
	MIME string `json:"mime,omitempty"`
	Size int64  `json:"size"` // bytes
	Sum  string `json:"sum"`  // SHA-256 of the content, hexadecimal
}

// Snapshot is what a tool says of one ticket when asked: every journal entry,
// status change and attachment it still holds, as events, oldest first.
type Snapshot struct {
	Ref    Ref               // the ticket in its tool
	Own    string            // the broker's own id, where the ticket carries it
	Fields map[string]string // its scalars, by the tool's own field codes
	Events []*Event          // without bytes: see Watcher.Fetch
	Of     string            // what our create of the ticket told (Message.Of), where the ticket carries it
	Gone   bool              // the tool says that there is no such ticket
	// Status is where the ticket stands, in the tool's own word, for a tool that
	// does not tell how it came there; empty where Events have the steps. Away says
	// that it is not with the partner's team.
	Status string
	Away   bool
	// Forgets says that the tool may lose a journal entry when two are written at
	// once: what we wrote there is looked for at each reading. Overwritten are the
	// losses that its history shows.
	Forgets     bool
	Overwritten []Overwritten
}

// Overwritten is a journal entry that another one, written at the same moment,
// took the place of.
type Overwritten struct {
	Name    string // identity of the loss: the tool's id of the operation
	Log     string // public_log or private_log
	Author  string // who wrote what is lost, as the tool names them
	Account string // the tool's id of the author, where it tells
	At      string // when, in the tool's local time
}

// Ticket names the ticket for people, as far as the event alone can tell.
func (e *Event) Ticket() string {
	for _, c := range e.Claims {
		if c.Side == e.From && c.Key != e.Key {
			return c.Key
		}
	}
	if e.Key == "" && len(e.Claims) > 0 {
		return e.Claims[0].Key
	}
	return e.Key
}
