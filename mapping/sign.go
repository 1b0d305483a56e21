package mapping

import (
	"html"
	"strings"

	"passerelle"
)

// sign writes above a journal entry who spoke, as the contract says: the party,
// or the person where the sender's tool names one (R25).
func (c *Contract) sign(e *passerelle.Event) {
	if c.Sign == "none" || e.Kind != passerelle.PublicLog && e.Kind != passerelle.PrivateLog {
		return
	}
	who := c.party(e.From).Name
	if name := strings.TrimSpace(e.Fields["author"]); c.Sign == "name" && name != "" {
		who = name + ", " + who
	}
	for _, log := range []string{"public_log", "private_log"} {
		if e.Fields[log] != "" {
			e.Fields[log] = "<p><em>" + html.EscapeString(who) + " :</em></p>" + e.Fields[log]
		}
	}
}
