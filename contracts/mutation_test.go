package contracts_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"passerelle/internal/conversation"
	"passerelle/mapping"
)

var (
	mutations = flag.String("mutations", "", "damage everything in the files whose names begin so (\"all\": in all files), not only a few places")
	mutated   = flag.String("mutated", "orleans-tours-gar/v1", "the contract that is damaged")
)

// few is how many damages apart those are that are tried without -mutations.
const few = 100

// TestMutations damages each row of a contract's tables, each of its switches
// and each member of its templates in turn. Loading the folder, a cell of the
// grid, a create or a conversation must fail for each: what survives is a
// missing test.
func TestMutations(t *testing.T) {
	all := allMutants(t, *mutated)
	if *mutations == "" {
		all = slices.DeleteFunc(all, func(m *mutant) bool { return m.number%few != 0 })
	} else if *mutations != "all" {
		all = slices.DeleteFunc(all, func(m *mutant) bool { return !strings.HasPrefix(m.file, *mutations) })
	}
	j := newJury(t, *mutated)
	begin := time.Now()
	t.Run("damaged", func(t *testing.T) {
		for _, m := range all {
			t.Run(fmt.Sprintf("%s:%d/%s", m.file, m.line, m.what), func(t *testing.T) {
				t.Parallel()
				j.judge(t, m)
			})
		}
	})
	if *mutations != "" {
		fmt.Printf("%s: %d damages, of which %d make no difference: %d survive (%v)\n", *mutated, len(all), j.equal, j.survivors, time.Since(begin).Round(time.Second))
	}
}

// jury is all that may notice a damage.
type jury struct {
	dir     string
	whole   *mapping.Contract
	cells   []*conversation.Cell
	creates []*conversation.Creation
	talks   []*talk

	mu        sync.Mutex
	equal     int // mutants that mean the same as the contract itself
	survivors int
}

// talk is a conversation that holds without damage.
type talk struct {
	file, text string
	takes      time.Duration
}

func newJury(t *testing.T, dir string) *jury {
	j := &jury{dir: dir}
	files, err := conversation.Files(dir)
	if err == nil {
		j.whole, err = mapping.Load(os.DirFS(dir))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		begin := time.Now()
		if *mutations != "" && noticedBy(t.Context(), dir, f) {
			t.Errorf("%s fails without any damage: it does not count", f)
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		j.talks = append(j.talks, &talk{f, string(b), time.Since(begin)})
	}
	if all, err := conversation.Grid(dir); err == nil { // a contract may have none
		j.cells = asPlayed(t, dir, possible(all))
	}
	if j.creates, err = conversation.Creations(dir); err != nil {
		t.Logf("no creates: %v", err)
	}
	return j
}

// asPlayed has open cells expect what happens now, so that they notice damage
// too.
func asPlayed(t *testing.T, dir string, cells []*conversation.Cell) []*conversation.Cell {
	open := slices.DeleteFunc(slices.Clone(cells), func(c *conversation.Cell) bool { return !c.Open() })
	if len(open) == 0 {
		return cells
	}
	got, err := conversation.PlayGrid(t.Context(), dir, open)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range open {
		c.Want, c.Rules = *got[i], strings.Fields(got[i].Rule)
	}
	return cells
}

// silent tells whether a conversation notices nothing.
func silent(ctx context.Context, dir, file string) bool {
	want, got, err := conversation.Play(ctx, dir, file)
	return err == nil && conversation.Diff(want, got) == ""
}

// noticedBy tells whether a conversation notices damage: twice, as noticed.
func noticedBy(ctx context.Context, dir, file string) bool {
	for range 2 {
		if silent(ctx, dir, file) {
			return false
		}
	}
	return true
}

// judge fails if nothing notices the damage.
func (j *jury) judge(t *testing.T, m *mutant) {
	dir := filepath.Join(t.TempDir(), j.dir)
	if err := os.CopyFS(dir, os.DirFS(j.dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, m.file), m.text, 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := mapping.Load(os.DirFS(dir))
	if err != nil || misnamed(dir, c) != "" {
		return
	}
	equal := reflect.DeepEqual(c, j.whole) // a key that says what its absence says
	if !equal && j.notices(t, dir, m) {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if equal {
		j.equal++
		return
	}
	j.survivors++
	t.Errorf("survives: %s:%d %s: %s", m.file, m.line, m.what, m.was)
}

// notices asks all, those first that have to do with the damage.
func (j *jury) notices(t *testing.T, dir string, m *mutant) bool {
	about := func(k *talk) bool {
		return slices.ContainsFunc(m.words, func(w string) bool { return strings.Contains(k.text, w) })
	}
	other := func(k *talk) bool { return !about(k) }
	near := func(c *conversation.Cell) bool { return c.Event == m.event }
	far := func(c *conversation.Cell) bool { return !near(c) }
	return j.gridNotices(t, dir, far) ||
		m.ofCreate() && j.createsNotice(t, dir) ||
		j.talksNotice(t, dir, other) ||
		j.gridNotices(t, dir, near) ||
		!m.ofCreate() && j.createsNotice(t, dir) ||
		j.talksNotice(t, dir, about)
}

// gridNotices plays the cells but those that are left out.
func (j *jury) gridNotices(t *testing.T, dir string, left func(*conversation.Cell) bool) bool {
	return noticed(slices.DeleteFunc(slices.Clone(j.cells), left), func(cells []*conversation.Cell) ([]string, error) {
		got, err := conversation.PlayGrid(t.Context(), dir, cells)
		if err != nil {
			return nil, err
		}
		differ := make([]string, len(cells))
		for i := range got {
			differ[i] = differs(cells[i], got[i])
		}
		return differ, nil
	})
}

func (j *jury) createsNotice(t *testing.T, dir string) bool {
	return noticed(j.creates, func(list []*conversation.Creation) ([]string, error) {
		return conversation.PlayCreations(t.Context(), dir, list)
	})
}

// noticed plays witnesses, and those that differ once more: on a busy machine
// one may differ without cause.
func noticed[W any](list []W, play func([]W) (differ []string, err error)) bool {
	for range 2 {
		if len(list) == 0 {
			return false
		}
		differ, err := play(list)
		if err != nil {
			continue
		}
		var again []W
		for i, d := range differ {
			if d != "" {
				again = append(again, list[i])
			}
		}
		list = again
	}
	return len(list) > 0
}

// talksNotice plays the conversations but those that are left out, short ones
// first.
func (j *jury) talksNotice(t *testing.T, dir string, left func(*talk) bool) bool {
	talks := slices.DeleteFunc(slices.Clone(j.talks), left)
	slices.SortStableFunc(talks, func(a, b *talk) int { return cmp.Compare(a.takes, b.takes) })
	return slices.ContainsFunc(talks, func(k *talk) bool { return noticedBy(t.Context(), dir, k.file) })
}
