package jirasim

import "time"

// Write is one effect that took place here, whether or not its answer arrived.
type Write struct {
	Time   time.Time `json:"time"`
	User   string    `json:"user"`
	Kind   string    `json:"kind"` // issue, edit, transition, comment, comment-edit, comment-delete, attachment, attachment-delete, property, comment-property, watch, unwatch, link, move, delete …
	Issue  string    `json:"issue"`
	Detail string    `json:"detail"`
}

func (s *Sim) wrote(u *User, kind string, is *issue, detail string) {
	s.writes = append(s.writes, Write{Time: s.clock(), User: u.Name, Kind: kind, Issue: is.key, Detail: detail})
}

// Writes lists every effect in the order it took place.
func (s *Sim) Writes() []Write {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Write{}, s.writes...)
}
