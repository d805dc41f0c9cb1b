package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// disk is the part of a log's files that grows: the newest segment, its leaves, and the checkpoints. Only the log's
// writer uses it. For each file it knows up to where all is well, so that after a failed write the rest can be cut.
type disk struct {
	fs  vfs.FS
	dir string

	first       int64   // index of the segment's first event
	segments    []int64 // those of all segments
	lines       appender
	leaves      appender
	checkpoints appender
	rolling     []string // files of a segment that was begun and could not be finished
	ahead, most int64    // of the lines of each segment: see appender
}

// appender is a file that is appended to by one writer.
//
// It may have zeros behind what was written, which later writes fill: a sync after such a write has neither a new length
// nor new blocks to record, only the bytes, and so does not wait for the file system's journal and what others have put
// into it. The zeros are written in front of the one sync that records their blocks, which the write that found no room
// needs anyway. What is left of them when power is lost reads as a tail that was never filled in, which it is.
type appender struct {
	name  string
	f     vfs.File
	size  int64 // bytes that were written without an error
	room  int64 // where the zeros behind them end
	ahead int64 // how many zeros are written at a time; 0: none
	most  int64 // zeros do not make the file longer than this
}

func (a *appender) open(fsys vfs.FS, flag int) (err error) {
	a.f, err = fsys.OpenFile(a.name, os.O_WRONLY|flag, 0o600)
	a.room = a.size
	return err
}

// write appends b whole, or returns a [writeError].
func (a *appender) write(b []byte) error {
	n, err := a.f.WriteAt(b, a.size)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return &writeError{err}
	}
	if a.size += int64(n); a.size > a.room {
		a.room = a.size
		if err := a.makeRoom(); err != nil {
			a.size -= int64(n) // whoever is told of an error is not told that it was written
			return err
		}
	}
	return nil
}

// makeRoom writes zeros behind what was written. Where they cannot be written, as on a disk that is nearly full, the file
// is appended to without: what there is room for is left to the lines.
func (a *appender) makeRoom() error {
	to := min(a.size+a.ahead, a.most)
	if a.ahead == 0 || to <= a.size {
		return nil
	}
	a.room = to
	if err := a.f.Zero(a.size, to); err != nil {
		return a.giveBack()
	}
	return nil
}

// giveBack cuts the zeros off and writes no more of them. The cut is durable with what is synced next.
func (a *appender) giveBack() error {
	a.ahead = 0
	if a.room == a.size {
		return nil
	}
	if err := a.f.Truncate(a.size); err != nil {
		return &writeError{fmt.Errorf("giving back the space behind the last event: %w", err)}
	}
	a.room = a.size
	return nil
}

func (a *appender) close() error {
	if a.f == nil {
		return nil
	}
	err := a.f.Close()
	a.f = nil
	return err
}

// writeError is a failed write, as opposed to a failed sync: what was written before it is not in doubt.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// open opens the files of the segment that begins with event first, with the given sizes, for appending.
func openDisk(fsys vfs.FS, dir string, first, lines, leaves, checkpoints int64, flag int) (*disk, error) {
	d := &disk{
		fs: fsys, dir: dir, first: first, segments: []int64{first},
		lines:       appender{name: segmentPath(dir, first), size: lines},
		leaves:      appender{name: leavesPath(dir, first), size: leaves},
		checkpoints: appender{name: filepath.Join(dir, checkpointsName), size: checkpoints},
	}
	return d, d.openAll(flag)
}

func (d *disk) openAll(flag int) error {
	for _, a := range []*appender{&d.lines, &d.leaves, &d.checkpoints} {
		if err := a.open(d.fs, flag); err != nil {
			return errors.Join(err, d.close())
		}
	}
	return nil
}

// close closes the files. What matters has been synced before.
func (d *disk) close() error {
	return errors.Join(d.lines.close(), d.leaves.close(), d.checkpoints.close())
}

// makeAhead has zeros written ahead of the lines from now on, so many at a time.
func (d *disk) makeAhead(ahead, most int64) {
	d.ahead, d.most = max(ahead, 0), most
	d.lines.ahead, d.lines.most = d.ahead, d.most
}

// end gives the segment the length of its lines, durably: behind one that is not the newest nothing may stand.
func (d *disk) end() error {
	if d.lines.room == d.lines.size {
		return nil
	}
	err := d.lines.giveBack()
	if err == nil {
		err = d.lines.f.Datasync()
	}
	return err
}

// roll begins the segment whose first event is first. The old one must be synced, its leaves too.
func (d *disk) roll(first int64) error {
	lines := appender{name: segmentPath(d.dir, first), ahead: d.ahead, most: d.most}
	leaves := appender{name: leavesPath(d.dir, first)}
	d.rolling = []string{lines.name, leaves.name}
	err := lines.open(d.fs, os.O_CREATE|os.O_EXCL)
	if err == nil {
		err = leaves.open(d.fs, os.O_CREATE|os.O_EXCL)
	}
	if err == nil {
		err = d.fs.SyncDir(filepath.Join(d.dir, segmentsName))
	}
	if err != nil {
		return errors.Join(&writeError{fmt.Errorf("beginning a new segment: %w", err)}, lines.close(), leaves.close())
	}
	old := []*appender{{f: d.lines.f}, {f: d.leaves.f}}
	d.lines, d.leaves, d.first, d.rolling = lines, leaves, first, nil
	d.segments = append(d.segments[:len(d.segments):len(d.segments)], first)
	return errors.Join(old[0].close(), old[1].close())
}

// renew closes every file and opens each anew, cut to where all is well. A descriptor on which anything failed is never
// used again: the kernel reports a failed write-back once, and then acts as though nothing had happened.
func (d *disk) renew() error {
	d.close() // its errors are about what is given up
	for _, name := range d.rolling {
		if err := ignoreMissing(d.fs.Remove(name)); err != nil {
			return err
		}
	}
	if len(d.rolling) > 0 {
		if err := d.fs.SyncDir(filepath.Join(d.dir, segmentsName)); err != nil {
			return err
		}
	}
	d.rolling = nil
	d.makeAhead(0, 0)
	if err := d.openAll(0); err != nil {
		return err
	}
	for _, a := range []*appender{&d.lines, &d.leaves, &d.checkpoints} {
		if err := cut(a.f, a.size); err != nil {
			return err
		}
	}
	return nil
}

// cut durably truncates a file where it is longer than size.
func cut(f vfs.File, size int64) error {
	info, err := f.Stat()
	if err != nil || info.Size() <= size {
		return err
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Datasync()
}
