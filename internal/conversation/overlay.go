package conversation

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/rogpeppe/go-internal/txtar"
)

// overlay holds what a conversation's « with » sections change in the contract:
// whole files, and of contract.yaml the keys that are given.
type overlay map[string][]byte

// with reads the sections « with FILE ».
func with(script *txtar.Archive) overlay {
	o := overlay{}
	for _, f := range script.Files {
		if name, is := strings.CutPrefix(f.Name, "with "); is {
			o[name] = f.Data
		}
	}
	return o
}

// over is the folder with the overlay's files in place of its own.
func (o overlay) over(dir fs.FS) fs.FS {
	if len(o) == 0 {
		return dir
	}
	return &changed{dir, o}
}

// changed is a folder in which some files are others.
type changed struct {
	fs.FS
	files overlay
}

// ReadFile is how contracts are read.
func (c *changed) ReadFile(name string) ([]byte, error) {
	own, err := fs.ReadFile(c.FS, name)
	b, is := c.files[name]
	switch {
	case !is:
		return own, err
	case name == "contract.yaml" && err == nil:
		return merge(own, b)
	}
	return b, nil
}

// ReadDir lists a folder, with the files that the overlay adds to it.
func (c *changed) ReadDir(name string) ([]fs.DirEntry, error) {
	list, err := fs.ReadDir(c.FS, name)
	for _, file := range slices.Sorted(maps.Keys(c.files)) {
		known := slices.ContainsFunc(list, func(e fs.DirEntry) bool { return e.Name() == path.Base(file) })
		if path.Dir(file) == name && !known {
			list = append(list, added(path.Base(file)))
		}
	}
	return list, err
}

// added is a file that only the overlay has.
type added string

func (a added) Name() string               { return string(a) }
func (a added) IsDir() bool                { return false }
func (a added) Type() fs.FileMode          { return 0 }
func (a added) Info() (fs.FileInfo, error) { return nil, fs.ErrNotExist }

// merge puts keys in the place of those of one name.
func merge(own, keys []byte) ([]byte, error) {
	var all, some yaml.MapSlice
	if err := yaml.Unmarshal(own, &all); err != nil {
		return nil, err
	}
	if err := yaml.Unmarshal(keys, &some); err != nil {
		return nil, fmt.Errorf("with contract.yaml: %w", err)
	}
	for _, item := range some {
		i := slices.IndexFunc(all, func(x yaml.MapItem) bool { return x.Key == item.Key })
		if i < 0 {
			all = append(all, item)
			continue
		}
		all[i] = item
	}
	return yaml.Marshal(all)
}
