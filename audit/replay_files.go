package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

func (r *replay) segmentFiles() ([]fs.DirEntry, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	if info, err := r.fs.Lstat(filepath.Join(r.dir, segmentsName)); err == nil && !info.IsDir() {
		return nil, r.tampered(segmentsName, -1, "it is not a directory; put the directory itself there")
	}
	entries, err := r.fs.ReadDir(filepath.Join(r.dir, segmentsName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, r.tampered(segmentsName, -1, "the directory is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("audit: listing the segments: %w", err)
	}
	return entries, nil
}

// segmentOf returns the index of the first event in the segment that a file belongs to.
func (r *replay) segmentOf(e fs.DirEntry) (int64, error) {
	first, ext, err := splitName(e.Name())
	if err != nil || ext != "jsonl" && ext != "jsonl.zst" && ext != "leaves" || !e.Type().IsRegular() {
		return 0, r.tampered(segmentsName+"/"+e.Name(), -1, "it is neither a segment nor its leaves; move it elsewhere if you put it there")
	}
	return first, nil
}

// listAll finds the segments, and what was deleted of them. What is deleted while it looks makes it look again: of the events
// that it then finds, one states the record.
func (r *replay) listAll() error {
	const tries = 4
	for try := 1; try <= tries; try++ {
		before, err := r.readPruned()
		if err != nil {
			return err
		}
		r.pruned, r.segments, r.unused, r.kept, r.total = before, nil, nil, nil, 0
		listed := r.list()
		after, err := r.readPruned()
		if err != nil {
			return err
		}
		if before.same(after) && (listed != errMoved || try == tries) {
			return listed
		}
	}
	return errors.New("audit: events were deleted again and again while the log was looked at; try again")
}

// errMoved means that the newest segment is compressed, as it may be once it is no longer the newest.
var errMoved = &TamperError{segmentsName, -1, "the newest segment is compressed, and it never is"}

func (r *replay) readPruned() (*pruned, error) {
	p, err := readPruned(r.fs, r.dir, r.origin, r.verifiers)
	if errors.Is(err, errPruned) {
		return nil, r.tampered(prunedName, -1, "%v", err)
	}
	return p, err
}

// list finds the segments. A file that is no segment is refused, for nobody would look at what is in it.
//
// A listing may miss a file that is made while it is taken, and have one that is made after that. So it is taken twice,
// and of the second what goes as far as the first: all of that was there when the second began.
func (r *replay) list() error {
	entries, err := r.segmentFiles()
	if err != nil {
		return err
	}
	newest := int64(-1)
	for _, e := range entries {
		first, err := r.segmentOf(e)
		if err != nil {
			return err
		}
		newest = max(newest, first)
	}
	if entries, err = r.segmentFiles(); err != nil {
		return err
	}
	leaves, seen := map[int64]bool{}, map[int64]bool{}
	for _, e := range entries {
		first, err := r.segmentOf(e)
		if err != nil {
			return err
		}
		switch {
		case first > newest:
			continue // made meanwhile
		case strings.HasSuffix(e.Name(), ".leaves"):
			leaves[first] = true
			r.kept = append(r.kept, first)
			continue
		case first < r.pruned.first():
			continue // its deletion was interrupted
		}
		if seen[first] {
			continue // in both forms: compressing it was interrupted
		}
		r.segments, seen[first] = append(r.segments, first), true
		if r.progress == nil {
			continue // an opening asks nothing of files that it does not read
		}
		if info, err := e.Info(); err == nil {
			r.total += info.Size()
		}
	}
	for first := range leaves {
		if first < r.pruned.first() {
			delete(leaves, first)
		} else if seen[first] {
			continue
		} else if _, err := r.fs.Lstat(compressedPath(r.dir, first)); err == nil {
			r.segments = append(r.segments, first) // it was compressed while it was looked for
		}
	}
	slices.Sort(r.segments)
	slices.Sort(r.kept)
	if len(r.segments) == 0 {
		return r.tampered(segmentsName, -1, "there is no segment")
	}
	for _, first := range r.segments {
		delete(leaves, first)
	}
	return r.measure(leaves)
}

// measure notes how long the last segment's files are; the leaves first, for the lines are always ahead of them. A new
// segment's two names are synced together before anything is in its files, so power may have left one of them or both,
// empty: then the one before is the last. Alone are leaves without a segment.
func (r *replay) measure(alone map[int64]bool) error {
	for {
		last := r.segments[len(r.segments)-1]
		leaves, err := r.size(leavesPath(r.dir, last))
		if err != nil {
			return err
		}
		lines, err := r.size(segmentPath(r.dir, last))
		if err != nil {
			return err
		}
		if _, err := r.fs.Lstat(compressedPath(r.dir, last)); err == nil && lines == 0 {
			return errMoved
		}
		r.tail.limit, r.tail.leafLimit = lines, leaves
		if lines+leaves > 0 || len(r.segments) == 1 {
			break
		}
		r.segments = r.segments[:len(r.segments)-1]
		r.unused = append(r.unused, segmentPath(r.dir, last), leavesPath(r.dir, last))
	}
	for first := range alone {
		name := leavesPath(r.dir, first)
		if size, err := r.size(name); err != nil || size > 0 || first < r.segments[len(r.segments)-1] {
			return errors.Join(err, r.alone(name))
		}
		r.unused = append(r.unused, name)
	}
	return nil
}

func (r *replay) alone(name string) error {
	return r.tampered(r.rel(name), -1, "its segment is missing, and no event could be in it")
}

// size returns the length of a file, 0 for one that is missing.
func (r *replay) size(name string) (int64, error) {
	info, err := r.fs.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("audit: %w", err)
	}
	return info.Size(), nil
}

// open opens a file for reading and returns its size.
func (r *replay) open(name string) (vfs.File, int64, error) {
	f, err := r.fs.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, vfs.ErrNotRegular) {
		return nil, 0, r.tampered(r.rel(name), -1, "%v; put the file itself there", vfs.ErrNotRegular)
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// rel returns a path in the log's directory as reports show it.
func (r *replay) rel(name string) string {
	rel, err := filepath.Rel(r.dir, name)
	if err != nil {
		return name
	}
	return filepath.ToSlash(rel)
}
