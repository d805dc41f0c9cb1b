package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/uuid"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// undo removes what a failed creation made.
type undo struct {
	fs    vfs.FS
	names []string
}

func (u *undo) remove(name string) { u.names = append(u.names, name) }
func (u *undo) keep()              { u.names = nil }

func (u *undo) run() error {
	var errs []error
	for _, name := range slices.Backward(u.names) {
		if err := ignoreMissing(u.fs.Remove(name)); err != nil {
			errs = append(errs, fmt.Errorf("audit: removing what was begun: %w", err))
		}
	}
	u.names = nil
	return errors.Join(errs...)
}

// makeDirs makes dir and its missing parents, for this user alone.
func makeDirs(fsys vfs.FS, dir string, undo *undo) error {
	info, err := fsys.Lstat(dir)
	if err == nil && info.Mode()&fs.ModeSymlink == 0 && !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := makeDirs(fsys, parent, undo); err != nil {
			return err
		}
	}
	if err := fsys.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) { // somebody else was faster
			return nil
		}
		return err
	}
	undo.remove(dir)
	return fsys.SyncDir(filepath.Dir(dir))
}

// create makes a new log. Its last step is log.json: a directory without it holds no log, and what an earlier attempt
// left there when its process died is removed first.
func (l *Log) create(undo *undo) error {
	if err := l.clear(); err != nil {
		return err
	}
	c := config{Schema: schemaVersion, Origin: l.opts.Origin, Created: l.opts.now().UTC()}
	if c.Origin == "" {
		id, err := uuid.NewRandom()
		if err != nil {
			return fmt.Errorf("audit: no randomness for the log's name: %w", err)
		}
		c.Origin = "strongroom/" + id.String()
	}
	w, err := l.lay(&c, undo)
	if err != nil {
		return fmt.Errorf("audit: cannot create a log in %s: %w; %s", l.dir, err, remedy(err))
	}
	err = l.begin(w, nil)
	if err == nil {
		err = l.commitCreation(c, undo)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("audit: cannot create a log in %s: %w; %s", l.dir, err, remedy(err)), w.disk.close())
	}
	l.start(w)
	return nil
}

// lay makes the files of an empty log.
func (l *Log) lay(c *config, undo *undo) (*writer, error) {
	fsys := l.opts.fs
	name := func(n string) string { return filepath.Join(l.dir, n) }
	if l.opts.Signer != nil {
		c.Verifiers = []string{l.opts.Verifier}
	} else {
		undo.remove(name(signerName))
		key, err := createSigner(fsys, l.dir, c.Origin)
		if err != nil {
			return nil, err
		}
		c.Verifiers = []string{key}
	}
	undo.remove(name(pseudonymName))
	if err := createPseudonymKey(fsys, l.dir); err != nil {
		return nil, err
	}
	undo.remove(name(reserveName))
	if err := ensureReserve(fsys, l.dir, l.opts.ReserveBytes); err != nil {
		return nil, err
	}
	undo.remove(name(segmentsName))
	if err := fsys.Mkdir(name(segmentsName), 0o700); err != nil {
		return nil, err
	}
	undo.remove(segmentPath(l.dir, 0))
	undo.remove(leavesPath(l.dir, 0))
	undo.remove(name(checkpointsName))
	w, err := l.writer(*c)
	if err != nil {
		return nil, err
	}
	w.summary = newSummary(0)
	w.disk, err = openDisk(fsys, l.dir, 0, 0, 0, 0, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(fsys.SyncDir(name(segmentsName)), fsys.SyncDir(l.dir)); err != nil {
		return nil, errors.Join(err, w.disk.close())
	}
	return w, nil
}

// commitCreation writes log.json.
func (l *Log) commitCreation(c config, undo *undo) error {
	data, err := json.MarshalIndent(c, "", "\t")
	if err != nil {
		return err
	}
	path := filepath.Join(l.dir, configName)
	undo.remove(path)
	if err := writeAtomic(l.opts.fs, path, append(data, '\n')); err != nil {
		return err
	}
	return l.opts.fs.SyncDir(l.dir)
}

// clear removes what an interrupted creation left, and refuses a directory with anything else in it: a log whose
// log.json was taken away is evidence, not a place for a new one.
func (l *Log) clear() error {
	entries, err := l.opts.fs.ReadDir(l.dir)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	var names []string
	for _, e := range entries {
		switch e.Name() {
		case lockName:
			continue
		case signerName, signerName + temporary, pseudonymName, pseudonymName + temporary, configName + temporary,
			reserveName, reserveName + temporary, checkpointsName:
		case segmentsName:
			inner, err := l.unusedSegments()
			if err != nil {
				return err
			}
			names = append(names, inner...)
		default:
			return fmt.Errorf("audit: %s holds no log and is not empty (%q is there); use an empty directory", l.dir, e.Name())
		}
		names = append(names, filepath.Join(l.dir, e.Name()))
	}
	for _, name := range names {
		if err := l.opts.fs.Remove(name); err != nil {
			return fmt.Errorf("audit: removing what an interrupted creation left: %w", err)
		}
	}
	return nil
}

// unusedSegments lists the segment files of a log that was never opened with success. It holds at most the log's own
// first event: nobody was ever told that any other was recorded there.
func (l *Log) unusedSegments() ([]string, error) {
	dir := filepath.Join(l.dir, segmentsName)
	entries, err := l.opts.fs.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	used := fmt.Errorf("audit: %s holds a log whose %s is missing; restore that file from a backup, or use another directory", l.dir, configName)
	var names []string
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		switch name {
		case leavesPath(l.dir, 0):
		case segmentPath(l.dir, 0):
			data, err := readSmall(l.opts.fs, name)
			if err != nil || bytes.Count(data, []byte("\n")) > 1 {
				return nil, errors.Join(used, err)
			}
		default:
			return nil, used
		}
		names = append(names, name)
	}
	return names, nil
}

// ensureReserve makes the file whose space is given up when the disk is full.
func ensureReserve(fsys vfs.FS, dir string, size int64) (err error) {
	name := filepath.Join(dir, reserveName)
	if size < 0 {
		return nil
	}
	if info, err := fsys.Lstat(name); err == nil && info.Size() >= size {
		return nil
	}
	tmp := name + temporary
	f, err := fsys.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		err = errors.Join(f.Allocate(size), f.Close())
	}
	if err == nil {
		err = fsys.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("audit: cannot reserve %d bytes in %s: %w; %s, or lower Options.ReserveBytes", size, name, err, remedy(err)),
			ignoreMissing(fsys.Remove(tmp)))
	}
	return fsys.SyncDir(dir)
}
