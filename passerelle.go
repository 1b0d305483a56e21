// Package passerelle is the vocabulary of the gateway: the words that every
// room of the house uses for tickets, events and tools. It does no input or
// output and imports the standard library only.
//
// A ticket exists twice: in the requester's tool (the academy's iTop) and in
// the partner's (its Jira). A Link ties the two together and says where they
// stand. An Event is one fact about one of them, as its tool told it; a
// Message is what the other tool is told of it.
package passerelle

// Side is one of the parties to a contract, seen from a ticket.
type Side string

const (
	Requester Side = "requester" // where tickets are born (R1): the academy's tool
	Partner   Side = "partner"   // who works on them: the subcontractor's tool
	Broker    Side = "broker"    // the gateway itself, for what it says of its own accord
)

// Other is the side that hears what s says; for the Broker it is empty.
func (s Side) Other() Side {
	switch s {
	case Requester:
		return Partner
	case Partner:
		return Requester
	}
	return ""
}

// Kind says what an event is about. The set is closed: a contract's tables
// speak of these kinds only.
type Kind string

const (
	Create     Kind = "create"      // the ticket is handed to the partner (R1)
	Reference  Kind = "reference"   // the partner's number comes back (R5)
	PublicLog  Kind = "public-log"  // an entry in the journal that users read (R16)
	PrivateLog Kind = "private-log" // an entry in the journal between agents (R16)
	Attach     Kind = "attach"      // one or more files (R23)
	Pend       Kind = "pend"        // the partner asks for more: « A compléter » (R18)
	Resume     Kind = "resume"      // « A compléter » ends (R19, R20)
	Resolve    Kind = "resolve"     // the partner has solved it (R21)
	Close      Kind = "close"       // the requester's side closes (R21)
	Reopen     Kind = "reopen"      // the solution, or a rejection, is refused (R22)
	Reject     Kind = "reject"      // the partner sends it back (R22)
	Leave      Kind = "leave"       // the requester takes it out of the interface (R32, R35)
	Change     Kind = "change"      // a field that may not change after creation did (R13)
	Note       Kind = "note"        // what the gateway itself tells agents (R13)
)

// Kinds lists every Kind, in the order of a ticket's life.
func Kinds() []Kind {
	return []Kind{Create, Reference, PublicLog, PrivateLog, Attach, Pend, Resume, Resolve, Close, Reopen, Reject, Leave, Change, Note}
}

// State is where a pair of tickets stands in the contract's life cycle.
type State string

const (
	New      State = "new"      // known to the gateway, not (or not yet) accepted
	Open     State = "open"     // « Traitement sous-traitant »
	Pending  State = "pending"  // « A compléter »
	Resolved State = "resolved" // « Résolue »
	Closed   State = "closed"   // « Fermée », final (R31)
	Rejected State = "rejected" // sent back by the partner (R22)
	Left     State = "left"     // out of the interface (R32, R35)
)

// States lists every State, in the order of a ticket's life.
func States() []State {
	return []State{New, Open, Pending, Resolved, Closed, Rejected, Left}
}

// French is what people call an event of this kind, on tickets.
func (k Kind) French() string {
	switch k {
	case Create:
		return "création"
	case Reference:
		return "numéro du partenaire"
	case PublicLog:
		return "journal public"
	case PrivateLog:
		return "journal privé"
	case Attach:
		return "pièce jointe"
	case Pend:
		return "demande de complément"
	case Resume:
		return "reprise"
	case Resolve:
		return "résolution"
	case Close:
		return "fermeture"
	case Reopen:
		return "réouverture"
	case Reject:
		return "rejet"
	case Leave:
		return "réaffectation"
	case Change:
		return "modification"
	}
	return "note"
}
