package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// Each checkpoint vouches for all before it: it has the hash of the note before, and its tree holds theirs. So a log that
// publishes its tree needs the newest alone, and that is what one serves (C2SP tlog-tiles, "Checkpoints") and what a witness keeps
// of it (C2SP tlog-witness); older ones are for those who kept them, who compare them with the tree. Those that seal nothing but
// deleted events may therefore go as well, the oldest first.
//
// What the record of the deletion then has of them is the last one: its number, size and hash. The first note that is there must
// continue it, or be older and lead to it, as where the deletion was interrupted. So nobody without the log's key takes one away, or
// puts another before them.

// dropped is what is to be known of the checkpoints that were deleted; the zero value stands for none.
type dropped struct {
	Number int64  `json:"number"` // of the last of them
	Size   int64  `json:"size"`   // events that it seals
	Hash   []byte `json:"hash"`   // of its note
	Bytes  int64  `json:"bytes"`  // of all of them in the file
	Before int64  `json:"before"` // bytes of those that were deleted earlier: so many the file lacks until this is done
}

// plausible tells whether it may stand in a record of so many deleted events.
func (d *dropped) plausible(events int64) bool {
	return d.Number > 0 && d.Size >= d.Number && d.Size <= events && len(d.Hash) == tlog.HashSize && d.Before >= 0 && d.Bytes >= d.Before && d.Bytes > 0
}

// droppedCheckpoints is what the record says of them.
func (p *pruned) droppedCheckpoints() dropped {
	if p == nil || p.Checkpoints == nil {
		return dropped{}
	}
	return *p.Checkpoints
}

// lacks is how many bytes of checkpoints a file lacks at its beginning.
func (d *dropped) lacks(file io.ReaderAt, origin string) (int64, error) {
	if d.Number == 0 {
		return 0, nil
	}
	first, err := firstNumber(file, origin)
	if err != nil {
		return 0, err
	}
	if first > d.Number {
		return d.Bytes, nil
	}
	return d.Before, nil
}

// firstNumber returns the number of the first note in a file of checkpoints. Whether it is genuine is for those who read it to
// find out.
func firstNumber(file io.ReaderAt, origin string) (int64, error) {
	r := bufio.NewReader(io.NewSectionReader(file, 0, maxStateNote))
	var msg []byte
	for range checkpointLines {
		line, err := r.ReadSlice('\n')
		if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
			return 0, err
		}
		msg = append(msg, line...)
	}
	c, err := parseCheckpoint(msg, origin)
	if err != nil {
		return 0, &TamperError{checkpointsName, -1, "the first one: " + err.Error()}
	}
	return c.number, nil
}

// continues checks a note against what is known of those before it, of which the first may have been deleted.
func (r *checkpointReader) continues(c *checkpoint) error {
	number, size, hash := r.last.number, r.last.tree.N, hashNote(r.last.note)
	if r.last.number == 0 && r.dropped.Number > 0 {
		switch d := r.dropped; {
		case c.number > d.Number+1:
			return &noteError{c.number, fmt.Sprintf("it is the first one, and retention deleted those up to number %d: one was taken out", d.Number)}
		case c.number == d.Number+1:
			number, size, hash = d.Number, d.Size, [len(hash)]byte(d.Hash)
		case c.number > 1: // one of those that are to be deleted: it is whoever leads to the last of them
			number, size, hash = c.number-1, 0, c.before
		}
	}
	switch own := hashNote(c.note); {
	case c.number != number+1:
		return &noteError{c.number, fmt.Sprintf("it follows number %d: one was taken out, put in or moved", number)}
	case c.before != hash:
		return &noteError{c.number, "it does not continue the one before it, which was changed or replaced"}
	case c.tree.N <= size:
		return &noteError{c.number, fmt.Sprintf("its size %d is not above the size %d before it", c.tree.N, size)}
	case c.number == r.dropped.Number && (string(own[:]) != string(r.dropped.Hash) || c.tree.N != r.dropped.Size):
		return &noteError{c.number, "it is not the one that the record of what retention deleted names"}
	}
	if r.last.number == 0 {
		r.first = c.number
	}
	return nil
}

// droppable returns what the record is to say of the checkpoints once those up to last are deleted, which end at an offset of a file
// of so many bytes. It is what it said before where they are less than half of the file: for what is kept is written anew, and so
// what that costs stays below what is freed.
func (p *pruned) droppable(last *checkpoint, end, size int64) dropped {
	before := p.droppedCheckpoints()
	before.Before = before.Bytes // it is done
	if last.number <= before.Number || end < size-end {
		return before
	}
	hash := hashNote(last.note)
	return dropped{last.number, last.tree.N, hash[:], before.Bytes + end, before.Bytes}
}

// dropCheckpoints deletes the checkpoints of which the record says so: those that are kept are written to a new file, beside the
// goroutine that writes the log but for the newest, and it takes the old one's name.
func (j *retaining) dropCheckpoints(d dropped) error {
	fsys, dir := j.log.opts.fs, j.log.dir
	name := filepath.Join(dir, checkpointsName)
	tmp := name + temporary
	if err := ignoreMissing(fsys.Remove(tmp)); err != nil {
		return fmt.Errorf("audit: removing what was begun: %w", err)
	}
	if d.Number == 0 || d.Bytes == d.Before {
		return nil
	}
	from, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("audit: deleting checkpoints: %w", err)
	}
	defer from.Close()
	lacks, err := d.lacks(from, j.signer.Name())
	if err != nil {
		return fmt.Errorf("audit: deleting checkpoints: %w", err)
	}
	if lacks == d.Bytes {
		return nil // done
	}
	to, err := fsys.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("audit: deleting checkpoints: %w", err)
	}
	c := &checkpointCopy{fs: fsys, dir: dir, name: name, from: from, to: to, at: d.Bytes - d.Before, dropped: d, origin: j.signer.Name()}
	var size int64
	if err = j.log.do(j.ctx, func(w *writer) { size = w.disk.checkpoints.size }); err == nil {
		err = c.upTo(size, j.reader)
	}
	if err == nil {
		err = to.Datasync()
	}
	if err == nil {
		if unasked := j.log.do(j.ctx, func(w *writer) { err = c.replace(w) }); unasked != nil {
			err = unasked
		}
	}
	err = errors.Join(err, to.Close())
	if !c.replaced {
		err = errors.Join(err, ignoreMissing(fsys.Remove(tmp)))
	}
	if err != nil {
		return fmt.Errorf("audit: deleting checkpoints: %w", err)
	}
	j.done.Freed += d.Bytes - d.Before
	return nil
}

// checkpointCopy is the checkpoints that are kept, on their way to a file of their own.
type checkpointCopy struct {
	fs        vfs.FS
	dir, name string
	from, to  vfs.File
	at        int64 // of the old file; from there on it is still to be copied
	size      int64 // of the new file
	dropped   dropped
	origin    string
	replaced  bool
}

// upTo copies what the old file has up to an offset.
func (c *checkpointCopy) upTo(end int64, wrap func(io.Reader) io.Reader) error {
	n, err := io.Copy(io.NewOffsetWriter(c.to, c.size), wrap(io.NewSectionReader(c.from, c.at, end-c.at)))
	if err == nil && n < end-c.at {
		err = io.ErrUnexpectedEOF
	}
	c.at += n
	c.size += n
	return err
}

// replace puts the new file in the old one's place. It is called on the goroutine that writes the log. Once the name is another's, a
// failure is one of the log.
func (c *checkpointCopy) replace(w *writer) error {
	if w.failed {
		return w.log.Err()
	}
	old := &w.disk.checkpoints
	if err := w.log.lock.Held(); err != nil {
		return err
	}
	if err := c.upTo(old.size, func(r io.Reader) io.Reader { return r }); err != nil {
		return err
	}
	if err := c.to.Datasync(); err != nil {
		return err
	}
	if err := c.begins(); err != nil {
		return err
	}
	if err := c.fs.Rename(c.name+temporary, c.name); err != nil {
		return err
	}
	c.replaced = true
	next := appender{name: c.name, size: c.size}
	err := c.fs.SyncDir(c.dir)
	if err == nil {
		err = next.open(c.fs, 0)
	}
	if err != nil {
		w.check(fmt.Errorf("replacing %s: %w", c.name, err), nil)
		return w.log.Err()
	}
	err = old.close()
	*old, w.lacks = next, c.dropped.Bytes
	return err
}

// begins makes sure that the new file continues what the record says of those before it.
func (c *checkpointCopy) begins() error {
	f, err := c.fs.OpenFile(c.name+temporary, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	r := newCheckpointReader(f, c.origin)
	r.dropped = c.dropped
	first, err := r.next()
	if err == nil && first.number != c.dropped.Number+1 {
		err = errors.New("they are not where the record says")
	}
	if err != nil {
		err = &TamperError{checkpointsName, -1, fmt.Sprintf("behind number %d: %v; none was deleted", c.dropped.Number, err)}
	}
	return errors.Join(err, f.Close())
}
