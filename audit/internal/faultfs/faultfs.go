// Package faultfs is a file system for tests: any step can be made to fail or fall short, and it knows what would be
// left if the power failed now.
package faultfs

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// Op is one kind of step.
type Op string

// The steps.
const (
	Open     Op = "open"
	Read     Op = "read"
	Write    Op = "write"
	Datasync Op = "datasync"
	Truncate Op = "truncate"
	Zero     Op = "zero"
	Allocate Op = "allocate"
	Stat     Op = "stat"
	Close    Op = "close"
	Mkdir    Op = "mkdir"
	Rename   Op = "rename"
	Remove   Op = "remove"
	ReadDir  Op = "readdir"
	Lstat    Op = "lstat"
	SyncDir  Op = "syncdir"
	Lock     Op = "lock"
)

// Step is one call that is about to happen.
type Step struct {
	Op   Op
	Name string // the file's path, or the directory's
	Size int    // bytes, for Read, Write and Zero
}

// Short is an error that lets the first N bytes of a write through before it fails with Err.
type Short struct {
	N   int
	Err error
}

func (s *Short) Error() string { return "short write: " + s.Err.Error() }
func (s *Short) Unwrap() error { return s.Err }

// FS wraps the operating system's file system.
type FS struct {
	// Before is asked before every step; an error makes the step fail, without effect unless it is a [Short].
	// It may block, and is called without any lock held. It must not be changed while the file system is in use.
	Before func(Step) error
	// Volatile makes syncs only noted and not done, for tests that lose power only by [FS.PowerLoss].
	Volatile bool
	// Survives is asked by [FS.PowerLoss] for every change that no sync covers, whether the disk has it nonetheless:
	// a name made (Open, Mkdir), moved (Rename, with the new name) or taken away (Remove), and a file cut (Truncate).
	// Nil: the disk has none of them. Disks and journals promise no order among changes that were not synced.
	Survives func(op Op, name string) bool

	mu    sync.Mutex
	files map[string]*content
	names []change // that no SyncDir covers, in their order
}

// New returns a file system in which nothing fails yet.
func New() *FS { return &FS{files: map[string]*content{}} }

func (f *FS) before(op Op, name string, size int) error {
	if f.Before == nil {
		return nil
	}
	if err := f.Before(Step{op, name, size}); err != nil {
		return &fs.PathError{Op: string(op), Path: name, Err: err}
	}
	return nil
}

// OpenFile implements [vfs.FS].
func (f *FS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if err := f.before(Open, name, 0); err != nil {
		return nil, err
	}
	_, statErr := os.Lstat(name)
	inner, err := vfs.OS{}.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if statErr != nil {
		f.names = append(f.names, change{op: Open, name: name})
		delete(f.files, name)
	}
	if c := f.files[name]; c == nil {
		var size int64
		if info, err := inner.Stat(); err == nil {
			size = info.Size()
		}
		f.files[name] = &content{size: size, durable: size, length: size, kept: size}
	} else if flag&os.O_TRUNC != 0 {
		c.size, c.durable, c.length, c.kept = 0, 0, 0, 0
	}
	return &file{inner, f, name}, nil
}

// Mkdir implements [vfs.FS].
func (f *FS) Mkdir(name string, perm fs.FileMode) error {
	if err := f.before(Mkdir, name, 0); err != nil {
		return err
	}
	if err := os.Mkdir(name, perm); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names = append(f.names, change{op: Mkdir, name: name})
	return nil
}

// Rename implements [vfs.FS].
func (f *FS) Rename(oldname, newname string) error {
	if err := f.before(Rename, newname, 0); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c := change{op: Rename, name: newname, from: oldname, was: f.remember(newname)}
	if err := os.Rename(oldname, newname); err != nil {
		return err
	}
	f.names = append(f.names, c)
	delete(f.files, newname)
	if moved := f.files[oldname]; moved != nil {
		f.files[newname] = moved
		delete(f.files, oldname)
	}
	return nil
}

// Remove implements [vfs.FS].
func (f *FS) Remove(name string) error {
	if err := f.before(Remove, name, 0); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c := change{op: Remove, name: name, was: f.remember(name)}
	if err := os.Remove(name); err != nil {
		return err
	}
	f.names = append(f.names, c)
	delete(f.files, name)
	return nil
}

// ReadDir implements [vfs.FS].
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := f.before(ReadDir, name, 0); err != nil {
		return nil, err
	}
	return os.ReadDir(name)
}

// Lstat implements [vfs.FS].
func (f *FS) Lstat(name string) (fs.FileInfo, error) {
	if err := f.before(Lstat, name, 0); err != nil {
		return nil, err
	}
	return os.Lstat(name)
}

// SyncDir implements [vfs.FS].
func (f *FS) SyncDir(name string) error {
	if err := f.before(SyncDir, name, 0); err != nil {
		return err
	}
	if !f.Volatile {
		if err := (vfs.OS{}).SyncDir(name); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names = slices.DeleteFunc(f.names, func(c change) bool { return filepath.Dir(c.name) == filepath.Clean(name) })
	return nil
}

// Lock implements [vfs.FS].
func (f *FS) Lock(name string) (vfs.Lock, error) {
	if err := f.before(Lock, name, 0); err != nil {
		return nil, err
	}
	l, err := vfs.OS{}.Lock(name)
	if err != nil {
		return nil, err
	}
	return &lock{l, f, name}, nil
}

type lock struct {
	vfs.Lock
	fs   *FS
	name string
}

func (l *lock) Held() error {
	if err := l.fs.before(Lstat, l.name, 0); err != nil {
		return err
	}
	return l.Lock.Held()
}

type file struct {
	vfs.File
	fs   *FS
	name string
}

func (f *file) Read(p []byte) (int, error) {
	if err := f.fs.before(Read, f.name, len(p)); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.before(Read, f.name, len(p)); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

// WriteAt writes somewhere in the file. Of other bytes than there were, and of all behind them, it is not known until the next
// sync what a loss of power would leave.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	err := f.fs.before(Write, f.name, len(p))
	var short *Short
	if errors.As(err, &short) {
		p = p[:min(short.N, len(p))]
	} else if err != nil {
		return 0, err
	}
	was := make([]byte, len(p))
	if _, err := readWhole(f.name, was, off); err != nil {
		was = nil
	}
	n, werr := f.File.WriteAt(p, off)
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if d := f.fs.files[f.name]; d != nil {
		if off <= d.dropped.from && d.dropped.to <= off+int64(n) {
			d.dropped = span{}
		}
		if n > 0 && !bytes.Equal(was, p) {
			d.durable = min(d.durable, off)
		}
		d.size = max(d.size, off+int64(n))
		d.length = max(d.length, d.size)
	}
	return n, errors.Join(err, werr)
}

// readWhole reads bytes of a file that may not be open for reading.
func readWhole(name string, p []byte, off int64) (int, error) {
	file, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	return file.ReadAt(p, off)
}

// Zero writes zeros, of which nothing is known but that they make the file longer.
func (f *file) Zero(from, to int64) error {
	err := f.fs.before(Zero, f.name, int(to-from))
	var short *Short
	if errors.As(err, &short) {
		to = from + min(int64(short.N), to-from)
	} else if err != nil {
		return err
	}
	zerr := f.File.Zero(from, to)
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if d := f.fs.files[f.name]; d != nil {
		d.length = max(d.length, to)
	}
	return errors.Join(err, zerr)
}

func (f *file) Write(p []byte) (int, error) {
	err := f.fs.before(Write, f.name, len(p))
	var short *Short
	if errors.As(err, &short) {
		p = p[:min(short.N, len(p))]
	} else if err != nil {
		return 0, err
	}
	n, werr := f.File.Write(p)
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if d := f.fs.files[f.name]; d != nil {
		d.size += int64(n)
		d.length = max(d.length, d.size)
	}
	return n, errors.Join(err, werr)
}

func (f *file) Datasync() error {
	// What counts is what was written before the sync began.
	f.fs.mu.Lock()
	d := f.fs.files[f.name]
	var size, length int64
	if d != nil {
		size, length = d.size, d.length
	}
	f.fs.mu.Unlock()
	if err := f.fs.before(Datasync, f.name, 0); err != nil {
		f.fs.mu.Lock()
		defer f.fs.mu.Unlock()
		if d != nil && size > d.durable {
			d.dropped = span{d.durable, size}
		}
		return err
	}
	if !f.fs.Volatile {
		if err := f.File.Datasync(); err != nil {
			return err
		}
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if d != nil {
		d.durable, d.kept, d.cut = size, length, nil
		if d.dropped.to > 0 {
			d.durable = min(size, d.dropped.from)
		}
	}
	return nil
}

func (f *file) Truncate(size int64) error {
	if err := f.fs.before(Truncate, f.name, 0); err != nil {
		return err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	d := f.fs.files[f.name]
	if d != nil && size < d.durable {
		data, err := os.ReadFile(f.name)
		if err != nil {
			return err
		}
		d.cut = append(data[size:d.durable:d.durable], d.cut...)
	}
	if err := f.File.Truncate(size); err != nil {
		return err
	}
	if d != nil {
		d.size, d.durable, d.length = min(d.size, size), min(d.durable, size), size
		if size <= d.dropped.from { // what is written there later is new to the kernel
			d.dropped = span{}
		}
	}
	return nil
}

func (f *file) Allocate(size int64) error {
	if err := f.fs.before(Allocate, f.name, 0); err != nil {
		return err
	}
	return f.File.Allocate(size)
}

func (f *file) Stat() (fs.FileInfo, error) {
	if err := f.fs.before(Stat, f.name, 0); err != nil {
		return nil, err
	}
	return f.File.Stat()
}

func (f *file) Close() error {
	err := f.fs.before(Close, f.name, 0)
	return errors.Join(err, f.File.Close())
}
