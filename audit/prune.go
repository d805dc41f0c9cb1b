package audit

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// prune deletes the events before a segment's first, and perhaps their leaf hashes and checkpoints. The order is: check them, record and
// seal that they are going, write the record, delete.
// Where checkpoints of which a record says that they are deleted still are not, it deletes those and no others.
func (j *retaining) prune(index int64, r *Retention, undropped bool) error {
	l := j.log
	own, err := verifierList([]string{l.key}, j.signer.Name())
	if err != nil {
		return err
	}
	read := &replay{fs: l.opts.fs, dir: l.dir, origin: j.signer.Name(), verifiers: own, chained: true, until: index}
	if err := read.run(j.ctx); err != nil {
		return fmt.Errorf("nothing is deleted: %w", err)
	}
	record := read.record(r.DropCheckpoints && !undropped)
	if undropped {
		record.Checkpoints = read.pruned.Checkpoints
	}
	if r.DropHashes {
		record.hashed = record.tree.clone()
	}
	body, err := record.body()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body) // here, since it grows with the tenants
	var front []byte
	if unasked := l.do(j.ctx, func(w *writer) {
		front, err = w.announce(index, "by retention; "+record.kept(), int64(len(body)), sum[:])
	}); unasked != nil || err != nil {
		return errors.Join(unasked, err)
	}
	if err := writeAtomic(l.opts.fs, filepath.Join(l.dir, prunedName), append(front, body...)); err != nil {
		return fmt.Errorf("audit: nothing is deleted: writing the record of it: %w", err)
	}
	if err := l.opts.fs.SyncDir(l.dir); err != nil {
		return fmt.Errorf("audit: nothing is deleted: syncing the record of it: %w", err)
	}
	if err := l.do(j.ctx, func(w *writer) { w.forget(index) }); err != nil && l.Err() == nil {
		return err
	}
	j.done.Deleted, j.done.First = index-j.segments[0], index
	return errors.Join(j.clear(index, record.firstHash()), j.dropCheckpoints(record.droppedCheckpoints()))
}

// kept says what is kept of what is going.
func (p *pruned) kept() string {
	kept := fmt.Sprintf("of the events before index %d the leaf hashes are kept", p.tree.size)
	if p.hashed.size == p.tree.size {
		kept = fmt.Sprintf("nothing is kept of the events before index %d but the checkpoints", p.tree.size)
	}
	if d := p.droppedCheckpoints(); d.Number > 0 {
		kept += fmt.Sprintf(", and of those none up to number %d, which seals %d events", d.Number, d.Size)
		if p.hashed.size < p.tree.size {
			kept = fmt.Sprintf("of the events before index %d the leaf hashes are kept, and of the checkpoints those behind number %d, which seals %d events", p.tree.size, d.Number, d.Size)
		}
	}
	return kept
}

// announce records and seals that the events before an index are going, and returns what the record of it, which has this length and
// SHA-256, begins with: what signs it.
func (w *writer) announce(index int64, reason string, length int64, sum []byte) ([]byte, error) {
	front, err := signSum(w.signer, prunedText, length, sum)
	if err != nil {
		return nil, fmt.Errorf("audit: nothing is deleted: signing the record of it: %w", err)
	}
	e := &Event{
		Code: CodeLogPruned, Status: Success, own: own{pruned: prunedClaim{index, base64.StdEncoding.EncodeToString(sum)}},
		Reason: reason,
	}
	w.batch.reset()
	if err = w.own(e); err == nil {
		err = w.write(&w.batch)
	}
	w.batch.reset()
	if err == nil {
		err = w.seal()
	}
	if err != nil {
		w.check(err, nil)
		return nil, w.log.Err()
	}
	return front, nil
}

// forget leaves the segments before an index out of what the state says.
func (w *writer) forget(index int64) {
	w.disk.segments = slices.DeleteFunc(slices.Clone(w.disk.segments), func(first int64) bool { return first < index })
}

// clear deletes the segments that begin before an index, and the leaf hashes of those before another, of which the record says
// that they are deleted.
func (j *retaining) clear(index, hashes int64) error {
	fsys, dir := j.log.opts.fs, j.log.dir
	if err := ignoreMissing(fsys.Remove(filepath.Join(dir, compressing))); err != nil {
		return fmt.Errorf("audit: removing what was begun: %w", err)
	}
	entries, err := fsys.ReadDir(filepath.Join(dir, segmentsName))
	if err != nil {
		return fmt.Errorf("audit: listing the segments: %w", err)
	}
	deleted := false
	for _, e := range entries {
		first, ext, err := splitName(e.Name())
		if err != nil || first >= index || ext == "leaves" && first >= hashes {
			continue
		}
		name := filepath.Join(dir, segmentsName, e.Name())
		if info, err := fsys.Lstat(name); err == nil {
			j.done.Freed += info.Size()
		}
		if err := ignoreMissing(fsys.Remove(name)); err != nil {
			return fmt.Errorf("audit: deleting %s, of which the record says that it is deleted: %w", name, err)
		}
		deleted = true
	}
	if !deleted {
		return nil
	}
	if err := fsys.SyncDir(filepath.Join(dir, segmentsName)); err != nil {
		return fmt.Errorf("audit: syncing the segments' directory: %w", err)
	}
	return nil
}
