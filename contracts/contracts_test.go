// Package contracts_test plays the conversations of every contract.
package contracts_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"passerelle/internal/conversation"
	"passerelle/mapping"
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

// TestNames checks that a folder is called as its contract: name/version.
func TestNames(t *testing.T) {
	dirs, err := filepath.Glob("*/v*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		c, err := mapping.Load(os.DirFS(dir))
		if err != nil {
			t.Errorf("%s: %v", dir, err)
		} else if wrong := misnamed(dir, c); wrong != "" {
			t.Error(wrong)
		}
	}
}

// misnamed tells of a contract that is not what its folder is called.
func misnamed(dir string, c *mapping.Contract) string {
	if own := filepath.Join(c.Name, c.Version); !strings.HasSuffix("/"+filepath.ToSlash(dir), "/"+own) {
		return dir + ": contract.yaml says " + own
	}
	return ""
}
