package passerelle

import (
	"errors"
	"fmt"
	"time"
)

// Class says who is to blame for an error, and so what happens next.
type Class string

const (
	Temporary Class = "temporary" // try again later; after a while, park
	Refused   Class = "refused"   // the sender must change what it sends: tell it
	Stuck     Class = "stuck"     // only a person can help: park
	Down      Class = "down"      // the destination is in trouble: wait, charge no attempt to the message
	Denied    Class = "denied"    // the destination refuses our account: stop all traffic there (Jira locks accounts)
	Unsure    Class = "unsure"    // the request may have taken effect: probe before trying again
)

// Error is an error of the trade: what happened, to which ticket, whose fault
// it is, and what would work.
type Error struct {
	Op     string        // what was being done: "jira: create issue"
	Class  Class         // who is to blame
	Ticket string        // the ticket, as people call it
	Rule   string        // the contract's rule, "R12", where one decides
	Hint   string        // what would work
	Local  string        // the same in French, for the ticket of whoever must read it
	After  time.Duration // do not try again before (Retry-After)
	// Perhaps says of a write that failed without our fault or the message's that it
	// may have taken effect all the same: a proxy answers 503 for a tool that it lost
	// in the midst of its work. It is asked about before it is tried again.
	Perhaps bool
	Err     error // the cause
}

// Error reads "op: ticket: cause (hint)".
func (e *Error) Error() string {
	s := e.Op
	if e.Ticket != "" {
		s += ": " + e.Ticket
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Rule != "" {
		s += " [" + e.Rule + "]"
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf builds an Error of a class; the message may wrap a cause with %w.
func Errorf(class Class, op, format string, args ...any) *Error {
	return &Error{Op: op, Class: class, Err: fmt.Errorf(format, args...)}
}

// ClassOf tells an error's class; an unclassified one is Temporary.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) && e.Class != "" {
		return e.Class
	}
	return Temporary
}

// The answers that callers ask about with errors.Is.
var (
	// ErrNotFound: no such ticket, entry or file.
	ErrNotFound = errors.New("not found")
	// ErrAbsent: a Probe is certain that the message took no effect.
	ErrAbsent = errors.New("the message took no effect")
	// ErrUnknown: a Probe cannot tell whether the message took effect.
	ErrUnknown = errors.New("nobody can tell whether the message took effect")
)
