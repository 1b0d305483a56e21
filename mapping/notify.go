package mapping

import (
	"fmt"
	"html"
	"slices"
	"strings"

	"passerelle"
)

// NotifyTemplate is the name by which a Send tells the partner's team of an
// event, in the way that contract.yaml says (R25).
const NotifyTemplate = "notify"

// Notify says what the partner's team is told in its own tool, and how (R25).
// The reporter is a generic one, and nothing is ever sent to it.
type Notify struct {
	By  string            `yaml:"by"`  // none, comment, mention, watcher or label; default none
	Who []string          `yaml:"who"` // accounts to mention or to make watchers, or labels; default none
	On  []passerelle.Kind `yaml:"on"`  // of what; default all of R25
}

// notable are the events of R25, in the order of a ticket's life.
var notable = []passerelle.Kind{passerelle.Create, passerelle.Attach, passerelle.PublicLog, passerelle.PrivateLog, passerelle.Resume,
	passerelle.Resolve, passerelle.Reopen, passerelle.Close}

func (c *Contract) checkNotify(p *Problems) {
	n := &c.Notify
	ways := []string{"none", "comment", "mention", "watcher", "label"}
	if !slices.Contains(ways, n.By) {
		p.add(contractFile, c.line("notify.by"), "one of "+strings.Join(ways, ", "), "notify.by is %q", n.By)
	}
	for i, k := range n.On {
		if !slices.Contains(notable, k) {
			p.add(contractFile, c.line(fmt.Sprintf("notify.on[%d]", i)), "one of "+join(notable), "notify.on: %q is nothing that a team is told of", k)
		}
	}
	called := n.By == "mention" || n.By == "watcher" || n.By == "label"
	switch {
	case called && len(n.Who) == 0:
		p.add(contractFile, c.line("notify.by"), "name them in notify.who", "notify: %s needs accounts or labels", n.By)
	case !called && len(n.Who) > 0:
		p.add(contractFile, c.line("notify.who"), "mention, watcher and label take names", "notify.who names somebody, but notify.by is %q", n.By)
	}
	for _, who := range n.Who {
		if c.reporter() != "" && same(who, c.reporter()) && n.By != "label" {
			p.add(contractFile, c.line("notify.who"), "name an account of the partner's team", "notify.who: « %s » is the generic reporter, who is never notified", who)
		}
	}
	if len(n.On) == 0 {
		n.On = notable
	}
}

// reporter is the account that the create names as the partner's reporter.
func (c *Contract) reporter() string {
	t := c.templates[Send{passerelle.Partner, string(passerelle.Create)}]
	at := func(n *node, name string) *node {
		if n == nil {
			return nil
		}
		return n.member(name)
	}
	if t == nil {
		return ""
	}
	if name := at(at(at(t.root, "fields"), "reporter"), "name"); name != nil {
		return name.plain()
	}
	return ""
}

// notifies tells whether the partner's team is told of an admitted event: of
// what the requester does, and of a resolution. What else its own people do they
// know.
func (c *Contract) notifies(e *passerelle.Event, before passerelle.State) bool {
	kind := e.Kind
	if kind == passerelle.Create && before != passerelle.New {
		kind = passerelle.Reopen // R30: a refused rejection
	}
	return c.Notify.By != "none" && (e.From == passerelle.Requester || kind == passerelle.Resolve) && slices.Contains(c.Notify.On, kind)
}

// renderNotify makes the message that tells the partner's team of an event: a
// private comment, with or without mention, or no text at all.
func (c *Contract) renderNotify(e *passerelle.Event, l *passerelle.Link, state passerelle.State, id string) (*passerelle.Message, error) {
	if by := c.Notify.By; by == "watcher" || by == "label" {
		m := &passerelle.Message{ID: id, Op: passerelle.OpNotify, To: passerelle.Partner, Kind: passerelle.Note, Key: l.Partner.Key, Number: l.Partner.Number, Body: []byte("{}")}
		if m.Labels = c.Notify.Who; by == "watcher" {
			m.Labels, m.Watchers = nil, c.Notify.Who
		}
		return m, nil
	}
	note := &passerelle.Event{Contract: c.Name, From: passerelle.Broker, Kind: passerelle.Note, Fields: map[string]string{"private_log": news(e, l)}}
	m, err := c.renderOne(c.noteTemplate(passerelle.Partner), note, l, state, nil)
	if err != nil {
		return nil, err
	}
	if m.ID = id; c.Notify.By == "mention" {
		m.Mentions = c.Notify.Who
	}
	return m, nil
}

// news is what the team reads of an event: French first, English second.
func news(e *passerelle.Event, l *passerelle.Link) string {
	var files []string
	for _, f := range e.Files {
		files = append(files, "« "+f.Name+" »")
	}
	list := strings.Join(files, ", ")
	fr, en := "nouvelle entrée du journal ("+e.Kind.French()+")", "a new entry in the journal ("+string(e.Kind)+")"
	kind := e.Kind
	if kind == passerelle.Create && l.Generation > 0 && l.Facts["previous_ref"] == "" {
		kind = passerelle.Reopen // R30
	}
	switch kind {
	case passerelle.Create:
		fr, en = "nouveau ticket du demandeur", "a new ticket of the requester's"
	case passerelle.Attach:
		fr, en = "nouvelle pièce jointe "+list, "a new attachment "+list
	case passerelle.Resume:
		fr, en = "le demandeur a répondu : l'attente prend fin", "the requester has answered: the wait is over"
	case passerelle.Resolve:
		fr, en = "le ticket est résolu", "the ticket is resolved"
	case passerelle.Reopen:
		fr, en = "le demandeur refuse la solution ou le rejet : le ticket est rouvert", "the requester refuses the solution or the rejection: the ticket is open again"
	case passerelle.Close:
		fr, en = "le demandeur a fermé le ticket", "the requester has closed the ticket"
	}
	who := l.Requester.String()
	return "<p>" + html.EscapeString("Passerelle : "+who+" : "+fr+".") + "</p><p>" + html.EscapeString("Gateway: "+who+": "+en+".") + "</p>"
}
