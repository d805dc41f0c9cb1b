package faultfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// content is what is known about the bytes of one file that was created or written through this FS.
type content struct {
	size    int64  // bytes in the file
	durable int64  // bytes that a loss of power leaves
	cut     []byte // that were durable behind there before the file was truncated, which no sync covers
	// dropped is what a failed sync left in memory as though it were on the disk: no later sync writes it, unless it is
	// written again first. That is how Linux treats a failed write-back.
	dropped span
}

type span struct{ from, to int64 }

// change is one of a name: made, moved or taken away.
type change struct {
	op   Op
	name string
	from string  // what a Rename moved
	was  *former // what the name was before, for Rename and Remove
}

// former is a file whose name was taken away.
type former struct {
	content content
	data    []byte
}

// remember keeps what a name stands for before it is taken away; nil for nothing, and for a directory.
func (f *FS) remember(name string) *former {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	if c := f.files[name]; c != nil {
		return &former{*c, data}
	}
	return &former{content{size: int64(len(data)), durable: int64(len(data))}, data}
}

// Durable returns how many of the file's bytes would survive a loss of power whatever else it took.
func (f *FS) Durable(name string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.names {
		if c.name == name {
			return 0
		}
	}
	if c := f.files[name]; c != nil {
		return c.durable
	}
	return 0
}

// PowerLoss leaves on the disk what a loss of power might: of a file's bytes that no sync covers what damage returns for
// them, and of the names that no sync covers those that [FS.Survives] lets live.
func (f *FS) PowerLoss(damage func(name string, unsynced []byte) []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for name, c := range f.files {
		if err := f.lose(name, c, damage); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	for _, c := range slices.Backward(f.names) {
		if !f.survives(c.op, c.name) {
			errs = append(errs, c.undo())
		}
	}
	f.files, f.names = map[string]*content{}, nil
	return errors.Join(errs...)
}

func (f *FS) survives(op Op, name string) bool { return f.Survives != nil && f.Survives(op, name) }

// lose takes the bytes of one file that no sync covers.
func (f *FS) lose(name string, c *content, damage func(string, []byte) []byte) error {
	if c.cut != nil && !f.survives(Truncate, name) {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(name, append(data[:c.durable:c.durable], c.cut...), 0o600)
	}
	if c.size <= c.durable {
		return nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	left := append(data[:c.durable:c.durable], damage(name, data[c.durable:])...)
	return os.WriteFile(name, left, 0o600)
}

// undo makes a name what it was. A later change that survived may have undone this one's effect already.
func (c *change) undo() error {
	switch c.op {
	case Open, Mkdir:
		return os.RemoveAll(c.name)
	case Rename:
		if err := os.Rename(c.name, c.from); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if c.was == nil {
		return nil
	}
	if _, err := os.Stat(filepath.Dir(c.name)); err != nil {
		return nil
	}
	return os.WriteFile(c.name, c.was.data[:min(c.was.content.durable, int64(len(c.was.data)))], 0o600)
}
