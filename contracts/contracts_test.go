// Package contracts_test plays the conversations of every contract.
package contracts_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"passerelle/internal/conversation"
)

var update = flag.Bool("update", false, "rewrite what the conversations hear")

// TestConversations plays every conversation of every contract version: the
// file must read as what really happened.
func TestConversations(t *testing.T) {
	dirs, err := filepath.Glob("*/v*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no contracts: %v", err)
	}
	for _, dir := range dirs {
		files, err := conversation.Files(dir)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no conversations: %v", dir, err)
		}
		for _, file := range files {
			t.Run(filepath.Join(dir, filepath.Base(file)), func(t *testing.T) {
				t.Parallel()
				play(t, dir, file)
			})
		}
	}
}

func play(t *testing.T, dir, file string) {
	want, got, err := conversation.Play(t.Context(), dir, file)
	if err != nil {
		t.Fatal(err)
	}
	diff := conversation.Diff(want, got)
	if diff == "" {
		return
	}
	if !*update {
		t.Fatalf("%s is not what happened (go test ./contracts -update rewrites it):\n%s", file, diff)
	}
	if err := os.WriteFile(filepath.Join(dir, file), got, 0o644); err != nil {
		t.Fatal(err)
	}
}
