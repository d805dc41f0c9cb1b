package atomicfile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// infix stands in the name of a temporary file between "." and the name of the file it is to replace, and digits.
const infix = ".tmp-"

// largeDir is how many files a directory has that is not listed at each change, but only where it was changed by others
// since: by what the file system says of when, which is a few milliseconds coarse on some.
const largeDir = 4096

// openWait bounds the wait for a lock at opening. It is held by others only while they write.
const openWait = 10 * time.Second

// target returns the name of the file that a temporary one was to replace, "" if the name is none of a temporary file.
func target(name string) string {
	i := strings.LastIndex(name, infix)
	if i < 2 || name[0] != '.' {
		return ""
	}
	if digits := name[i+len(infix):]; digits == "" || strings.Trim(digits, "0123456789") != "" {
		return ""
	}
	return name[1:i]
}

// leftovers returns the temporary files in dir of those that were to replace a file whose name is ours, and how many
// files there are of all kinds.
func leftovers(dir string, ours func(name string) bool) (left []string, all int, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, 0, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, 0, err
	}
	for _, name := range names {
		if t := target(name); t != "" && ours(t) {
			left = append(left, filepath.Join(dir, name))
		}
	}
	return left, len(names), nil
}

// RemoveLeftovers removes the temporary files of writes that were interrupted: what they hold must not outlive its
// destruction. Those that write hold the lock, so what is there now is nobody's.
func (h *Held) RemoveLeftovers(dir string, ours func(name string) bool) error {
	l := h.locker
	if info, err := os.Stat(dir); err == nil && l.large && info.ModTime().Equal(l.changed) {
		return nil
	}
	left, all, err := leftovers(dir, ours)
	l.large = all > largeDir
	if err != nil || len(left) == 0 {
		return err
	}
	if err := h.check(); err != nil {
		return err
	}
	for _, path := range left {
		info, err := os.Lstat(path)
		if err == nil && !info.IsDir() {
			err = os.Remove(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return SyncDir(dir)
}

// RemoveLeftovers does what [Held.RemoveLeftovers] does, at opening. Who may not write to dir leaves that to others.
func (l *Locker) RemoveLeftovers(dir string, ours func(name string) bool) error {
	if left, _, err := leftovers(dir, ours); err != nil || len(left) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), openWait)
	defer cancel()
	h, err := l.Lock(ctx)
	if err == nil {
		defer h.Unlock()
		err = h.RemoveLeftovers(dir, ours)
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return nil
	}
	return err
}
