package audit

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// writer is the one goroutine that writes a log. The order is always: write, sync, acknowledge, then sign; nothing is
// signed that is not on the disk.
type writer struct {
	log    *Log
	disk   *disk
	signer note.Signer
	hasher *leafHasher

	batch    batch
	shared   sharing
	tree     frontier   // over every line that was written
	leaves   []byte     // hashes that are not yet in the leaves file
	unsynced bool       // there are written lines that no sync covers
	last     checkpoint // the newest one
	lacks    int64      // bytes of deleted checkpoints that their file lacks
	chain    *chain     // authenticates what is behind it; nil while the log is opened, and once it is closed

	due   []*tenantState // wait for a head leaf
	open  []*tenantState // have had events since the last sweep
	swept time.Time      // when all tenants with uncovered events last got a head leaf

	summary     *summary     // of the newest segment; nil where its first events were not seen
	summarized  summaryQueue // of those before that are not written yet
	summarizing atomic.Bool  // some are being written

	stated  int64             // the size of the tree under the newest state
	saving  sync.WaitGroup    // for what is written beside the writer
	saved   chan struct{}     // closed when the newest of that is; nil for none
	busy    atomic.Bool       // a state is among it, or being encoded
	encoded chan encodedState // to be signed; has room for one

	sync   *time.Timer // bounds how long a Written event is unsynced
	failed bool
}

// run writes until the log is closed or fails.
func (w *writer) run() {
	l := w.log
	defer close(l.stopped)
	defer func() { w.disk.close() }() // everything that matters has been synced
	defer w.saving.Wait()             // its file is in the directory that Close releases
	tick := time.NewTicker(l.opts.CheckpointEvery)
	defer tick.Stop()
	for !w.failed {
		select {
		case <-l.wake:
			w.shared.yield()
			w.commit()
		case <-w.sync.C:
			w.check(w.syncLines(), nil)
		case <-tick.C:
			w.maintain()
		case a := <-l.adoptions:
			w.adopt(a)
		case do := <-l.tasks:
			do(w)
		case e := <-w.encoded:
			w.writeState(e)
		case answer := <-l.requests:
			w.commit()
			w.maintain()
			answer <- sealed{slices.Clone(w.last.note), l.failure()}
		case <-l.quit:
			w.shutdown()
			return
		}
	}
}

// failure is the log's error unless it is merely closed.
func (l *Log) failure() error {
	if err := l.Err(); err != errClosed {
		return err
	}
	return nil
}

// commit writes one batch of what waits, head leaves that are due and events, and comes back for the rest.
func (w *writer) commit() {
	if w.failed {
		return
	}
	b := &w.batch
	err := w.addHeads(b)
	// Head leaves take up to a quarter, and what is in a batch fits into one segment unless it is a single event.
	b.items = w.log.take(b.items, min(maxBatch, int(w.log.opts.SegmentBytes)-spare)-len(b.buf))
	callers := 0
	for _, it := range b.items {
		b.add(it.line, it.tenant, it, it.about)
		if !it.lazy {
			callers++
		}
	}
	w.shared.note(callers)
	if err == nil {
		err = w.write(b)
	}
	w.log.committed(err)
	w.check(err, b)
	b.reset()
	if len(w.due) > 0 {
		w.log.signal()
	}
}

// maintain seals what was written since the last checkpoint, and sees to it that no tenant waits too long for a head.
func (w *writer) maintain() {
	if now := w.log.opts.now(); now.Sub(w.swept) >= w.log.opts.HeadAfter {
		w.sweep()
		w.swept = now
	}
	if len(w.due) > 0 || w.log.Stats().Waiting > 0 { // also outcomes that nobody waits for
		w.commit()
	}
	if !w.failed {
		w.check(w.seal(), nil)
	}
	if !w.failed {
		w.saveSummaries(signingSummaries)
		w.saveState(false)
	}
}

// shutdown brings everything to a proper end.
func (w *writer) shutdown() {
	for w.log.Stats().Waiting > 0 && !w.failed {
		w.commit()
	}
	w.sweep()
	for len(w.due) > 0 && !w.failed {
		w.commit()
	}
	if w.failed {
		return
	}
	w.check(w.stop(Success, "closed"), nil)
	if !w.failed {
		w.check(w.disk.end(), nil)
	}
	if !w.failed {
		w.saving.Wait() // for the newest state, and so that some of the summaries can be written
		w.signState()
		w.saveSummaries(time.Hour) // nobody waits for the writer any more; those that are too many Retain makes
		w.saveState(true)
	}
}

// stop ends the log: an audit.stopping event, under a checkpoint behind which nothing may stand.
func (w *writer) stop(status Status, reason string) error {
	w.batch.reset()
	err := w.own(&Event{Code: CodeLogStopping, Status: status, Reason: reason})
	if err == nil {
		err = w.write(&w.batch)
	}
	w.batch.reset()
	if err != nil {
		return err
	}
	w.chain = nil
	return w.seal()
}

// check makes the log fail where err is not nil. The batch, which may be nil, is what could not be written.
func (w *writer) check(err error, b *batch) {
	if err == nil {
		return
	}
	w.failed = true
	cause := w.log.fail(err)
	if b != nil {
		b.acknowledge(cause)
	}
	w.noteFullDisk(err)
}

// write writes a batch, makes it as durable as the log promises, and acknowledges it.
func (w *writer) write(b *batch) error {
	if len(b.lines) == 0 {
		return nil
	}
	// What is written takes the place of whatever is there: whoever has the locks now may have been told that theirs is durable.
	if err := w.log.lock.Held(); err != nil {
		return err
	}
	if err := w.makeRoom(int64(len(b.buf))); err != nil {
		return err
	}
	b.hash(w.hasher, w.chain, w.tree.size)
	if err := w.disk.lines.write(b.buf); err != nil {
		return err
	}
	if w.log.opts.Durability == Durable {
		if err := w.disk.lines.f.Datasync(); err != nil {
			return err
		}
	} else if !w.unsynced {
		w.unsynced = true
		w.sync.Reset(writtenSync)
	}
	if err := w.log.lock.Held(); err != nil {
		return err
	}
	b.acknowledge(nil)
	if w.chain != nil {
		w.chain.advance()
	}
	w.absorb(b)
	return nil
}

const spare = 4 << 10 // bytes of a segment that are kept for an audit.stopping and a tag

// makeRoom begins a new segment where size more bytes would not fit.
func (w *writer) makeRoom(size int64) error {
	if w.disk.lines.size == 0 || w.disk.lines.size+size+spare <= w.log.opts.SegmentBytes {
		return nil
	}
	if err := w.syncLines(); err != nil {
		return err
	}
	if err := w.flushLeaves(); err != nil {
		return err
	}
	if err := w.disk.end(); err != nil {
		return err
	}
	if err := w.disk.roll(w.tree.size); err != nil {
		return err
	}
	w.summarized.add(w.summary.packWhole(&w.tree))
	w.summary = newSummary(w.tree.size)
	return nil
}

// absorb adds written lines to the trees and to the segment's summary.
func (w *writer) absorb(b *batch) {
	start := 0
	for i, l := range b.lines {
		hash := b.hashes[i]
		w.summary.write(b.buf[start:l.end-1], l.about, l.tenant)
		start = l.end
		w.summary.grow(&w.tree, hash)
		w.leaves = append(w.leaves, hash[:]...)
		if t := l.tenant; t != nil {
			t.add(hash)
			w.noteUncovered(t, 1)
		}
	}
}

// syncLines makes written lines durable where they are not.
func (w *writer) syncLines() error {
	if !w.unsynced {
		return nil
	}
	if err := w.disk.lines.f.Datasync(); err != nil {
		return err
	}
	w.unsynced = false
	w.sync.Stop()
	return nil
}

// flushLeaves makes the leaf hashes of all written lines durable. The lines are.
func (w *writer) flushLeaves() error {
	if len(w.leaves) > 0 {
		if err := w.disk.leaves.write(w.leaves); err != nil {
			return err
		}
		w.leaves = w.leaves[:0]
	}
	return w.disk.leaves.f.Datasync()
}

// seal puts every written line under a signed checkpoint.
func (w *writer) seal() error {
	if w.tree.size == w.last.tree.N {
		return nil
	}
	if err := w.syncLines(); err != nil {
		return err
	}
	if err := w.flushLeaves(); err != nil {
		return err
	}
	if err := w.log.lock.Held(); err != nil {
		return err
	}
	c, err := signCheckpoint(w.signer, tlog.Tree{N: w.tree.size, Hash: w.tree.root()}, w.last.number+1, hashNote(w.last.note))
	if err != nil {
		return err
	}
	if err := w.disk.checkpoints.write(append(slices.Clip(c.note), '\n')); err != nil {
		return err
	}
	if err := w.disk.checkpoints.f.Datasync(); err != nil {
		return err
	}
	w.last = c
	return nil
}

// own adds an event of the log itself to the batch. e has its code, status and reason.
func (w *writer) own(e *Event) error {
	e.Phase = Single
	line, err := w.log.enc.event(nil, e)
	if err != nil {
		return err
	}
	w.log.mu.Lock()
	t := w.log.tenant(e)
	w.log.mu.Unlock()
	if len(w.batch.lines) == 0 {
		t.assigned = t.tree.size // an event that could not be written has given its number back
	}
	w.batch.add(line, t, nil, subject{e.Code, e.Tenant.String()})
	return nil
}

// noteFullDisk leaves an audit.stopping event in a log that failed because the disk is full, in the space that the
// reserve has kept for it. It does so on new descriptors, behind what is known to be well; where that fails too, the
// log is left as it is.
func (w *writer) noteFullDisk(cause error) {
	var failed *writeError
	if !errors.As(cause, &failed) || !isFull(cause) || w.log.lock.Held() != nil {
		return
	}
	if w.disk.fs.Remove(filepath.Join(w.log.dir, reserveName)) != nil || w.disk.renew() != nil {
		return
	}
	w.stop(Failure, "the disk is full") // there is nobody left to tell of an error
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// remedy says what to do about a failure.
func remedy(cause error) string {
	if errors.Is(cause, vfs.ErrLockLost) {
		return "leave that file alone while the log is in use; close the log and open it again"
	}
	if isFull(cause) {
		return "free space on the disk, then close the log and open it again"
	}
	return "see to the disk, then close the log and open it again"
}
