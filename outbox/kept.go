package outbox

import (
	"context"
	"fmt"
)

// Kept implements Store.
func (s *engine) Kept(ctx context.Context, key string) (string, error) {
	value := ""
	err := s.view(ctx, "kept", func(r reader) error {
		if key != "" && len(key) <= longestKey {
			value = string(r.get(keptBucket, []byte(key)))
		}
		return nil
	})
	return value, err
}

// Keep implements Store.
func (s *engine) Keep(ctx context.Context, key, value string) error {
	if key == "" || len(key) > longestKey {
		return fmt.Errorf("outbox: keep: the key %.40q of %d bytes (1 to %d work)", key, len(key), longestKey)
	}
	return s.ask(ctx, "keep", func(t *tx) error {
		if old := t.get(keptBucket, []byte(key)); value == "" && old != nil {
			t.del(keptBucket, []byte(key))
		} else if value != string(old) {
			t.put(keptBucket, []byte(key), []byte(value))
		}
		return nil
	})
}
