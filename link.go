package passerelle

import "time"

// Ref names a ticket in one tool: the key for the tool, the number for people
// (iTop: 1504 and R-001515; Jira: 10042 and GSN1-4711).
type Ref struct {
	Key    string `json:"key,omitempty"`
	Number string `json:"number,omitempty"`
}

// String is what people should read: the number, or the key without one.
func (r Ref) String() string {
	if r.Number != "" {
		return r.Number
	}
	return r.Key
}

// Link ties the two tickets that are one, and says where they stand.
type Link struct {
	ID       string `json:"id"`       // equal to Own.Key
	Contract string `json:"contract"` // by name
	Terms    string `json:"terms"`    // the contract's version it was born under
	// Own is the broker's own ticket: what the annex's $this->id$ and $this->ref$
	// are (R26). A store never gives it twice.
	Own       Ref `json:"own"`
	Requester Ref `json:"requester"`
	Partner   Ref `json:"partner"` // empty until the partner's number is known (R28)

	State State `json:"state"` // after every event accepted so far
	// Turn grows with each change of State; Shown tells which turn each side
	// has been shown (R34).
	Turn  uint64          `json:"turn"`
	Shown map[Side]uint64 `json:"shown,omitempty"`
	// Generation grows when the pair leaves the interface, so that a second
	// escalation of the same ticket is a new fact.
	Generation int `json:"generation,omitempty"`
	// Facts are the scalars of the create that later templates name.
	Facts map[string]string `json:"facts,omitempty"`
	// Baseline tells, for each side, up to when its history was taken as known
	// at escalation (R29); empty until it was read.
	Baseline map[Side]string `json:"baseline,omitempty"`
	Born     time.Time       `json:"born"`
	Moved    time.Time       `json:"moved"` // the last change of State
	// Purged is when what people wrote on it was last taken out of the store.
	Purged time.Time `json:"purged,omitzero"`
	// Version grows with every write; it guards Append.
	Version uint64 `json:"version"`
}

// Ref returns the ticket's reference on one side.
func (l *Link) Ref(s Side) Ref {
	switch s {
	case Requester:
		return l.Requester
	case Partner:
		return l.Partner
	}
	return l.Own
}

// SetRef records the ticket's reference on one side.
func (l *Link) SetRef(s Side, r Ref) {
	switch s {
	case Requester:
		l.Requester = r
	case Partner:
		l.Partner = r
	default:
		l.Own = r
	}
}

// Names lists the ticket's references as people write them, for errors and
// logs: "R-001515 (GSN1-4711)".
func (l *Link) Names() string {
	s := l.Requester.String()
	if s == "" {
		s = l.Own.String()
	}
	switch p := l.Partner.String(); {
	case s == "":
		return p
	case p != "":
		return s + " (" + p + ")"
	}
	return s
}

// Clone returns a deep copy, so that a judgement can be thrown away.
func (l *Link) Clone() *Link {
	c := *l
	c.Shown = cloneMap(l.Shown)
	c.Facts = cloneMap(l.Facts)
	c.Baseline = cloneMap(l.Baseline)
	return &c
}

func cloneMap[K comparable, V any](m map[K]V) map[K]V {
	c := make(map[K]V, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}
