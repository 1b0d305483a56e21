package passerelle

import "fmt"

// Secret is a text that prints as *** whatever the verb or the encoder, so that
// it cannot reach a log, an error or the store by accident.
type Secret string

const masked = "***"

// Format prints ***.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(masked)) }

// String is ***.
func (Secret) String() string { return masked }

// MarshalText writes ***, as JSON and YAML too.
func (Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// Reveal is the secret itself, for the one place that sends it.
func (s Secret) Reveal() string { return string(s) }
