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
	size    int64  // bytes that were written
	durable int64  // bytes of them that a loss of power leaves
	length  int64  // of the file: behind what was written there are zeros
	kept    int64  // length that a sync covers
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
	n := int64(len(data))
	return &former{content{size: n, durable: n, length: n, kept: n}, data}
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
// them, and of the names that no sync covers those that [FS.Survives] lets live. When damage is called the file ends with
// the bytes in question; zeros that were written ahead of them, and synced, stand behind what it returns.
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
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if (c.cut != nil || c.length < c.kept) && !f.survives(Truncate, name) {
		return write(name, append(data[:c.durable:c.durable], c.cut...), c.kept)
	}
	left := data[:c.durable:c.durable]
	if c.durable < c.size {
		if err := os.Truncate(name, c.size); err != nil {
			return err
		}
		left = append(left, damage(name, data[c.durable:c.size])...)
	}
	if kept := min(c.kept, c.length); len(left) < len(data) || kept > int64(len(left)) || c.durable < c.size {
		return write(name, left, kept)
	}
	return nil
}

// write makes a file that has some bytes, and zeros behind them to a length.
func write(name string, data []byte, length int64) error {
	if err := os.WriteFile(name, data, 0o600); err != nil || length <= int64(len(data)) {
		return err
	}
	return os.Truncate(name, length)
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
