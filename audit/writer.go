package audit

import (
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/tenant"
)

// writer is the one goroutine that writes a log. The order is always: write, sync, acknowledge, then sign; nothing is
// signed that is not on the disk.
type writer struct {
	log    *Log
	disk   *disk
	signer note.Signer
	hasher *leafHasher

	tree     frontier   // over every line that was written
	leaves   []byte     // hashes that are not yet in the leaves file
	unsynced bool       // there are written lines that no sync covers
	last     checkpoint // the newest one

	due   []*tenantState // wait for a head leaf
	open  []*tenantState // have had events since the last sweep
	swept time.Time      // when all tenants with uncovered events last got a head leaf

	sync   *time.Timer // bounds how long a Written event is unsynced
	failed bool
}

// run writes until the log is closed or fails.
func (w *writer) run() {
	l := w.log
	defer close(l.stopped)
	defer func() { w.disk.close() }() // everything that matters has been synced
	tick := time.NewTicker(l.opts.CheckpointEvery)
	defer tick.Stop()
	for !w.failed {
		select {
		case <-l.wake:
			w.commit()
		case <-w.sync.C:
			w.check(w.syncLines())
		case <-tick.C:
			w.maintain()
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

// commit writes what waits: head leaves that are due, then the pending events.
func (w *writer) commit() {
	if w.failed {
		return
	}
	heads, err := w.heads()
	b := w.log.take()
	if err == nil {
		err = w.write(heads, b)
	}
	w.check(err, heads, b)
}

// maintain seals what was written since the last checkpoint, and sees to it that no tenant waits too long for a head.
func (w *writer) maintain() {
	if now := w.log.opts.now(); now.Sub(w.swept) >= w.log.opts.HeadAfter {
		w.sweep()
		w.swept = now
	}
	if len(w.due) > 0 {
		w.commit()
	}
	if !w.failed {
		w.check(w.seal())
	}
}

// shutdown brings everything to a proper end.
func (w *writer) shutdown() {
	w.commit()
	w.sweep()
	w.commit()
	if w.failed {
		return
	}
	stop, err := w.own(CodeLogStopping, Success, "closed")
	if err == nil {
		err = w.write(stop)
	}
	if err == nil {
		err = w.seal()
	}
	w.check(err)
}

// check makes the log fail where err is not nil.
func (w *writer) check(err error, batches ...*batch) {
	if err == nil {
		return
	}
	w.failed = true
	w.log.fail(err, batches...)
	w.noteFullDisk(err)
}

// write writes the batches (nil ones are skipped), makes them as durable as the log promises, and acknowledges them.
func (w *writer) write(batches ...*batch) error {
	batches = slices.DeleteFunc(slices.Clone(batches), func(b *batch) bool { return b == nil })
	size := int64(0)
	for _, b := range batches {
		size += int64(len(b.buf))
	}
	if size == 0 {
		return nil
	}
	if err := w.makeRoom(size); err != nil {
		return err
	}
	mark := w.disk.lines.size
	for _, b := range batches {
		if err := w.disk.lines.write(b.buf); err != nil {
			w.disk.lines.size = mark // all or none
			return err
		}
	}
	if w.log.opts.Durability == Durable {
		if err := w.disk.lines.f.Datasync(); err != nil {
			return err
		}
	} else if !w.unsynced {
		w.unsynced = true
		w.sync.Reset(writtenSync)
	}
	for _, b := range batches {
		close(b.done)
	}
	for _, b := range batches {
		w.absorb(b)
	}
	return nil
}

// makeRoom begins a new segment where size more bytes would not fit.
func (w *writer) makeRoom(size int64) error {
	const spare = 4 << 10 // for an audit.stopping
	if w.disk.lines.size == 0 || w.disk.lines.size+size+spare <= w.log.opts.SegmentBytes {
		return nil
	}
	if err := w.syncLines(); err != nil {
		return err
	}
	if err := w.flushLeaves(); err != nil {
		return err
	}
	return w.disk.roll(w.tree.size)
}

// absorb adds written lines to the trees.
func (w *writer) absorb(b *batch) {
	start := 0
	for _, q := range b.events {
		hash := w.hasher.leaf(b.buf[start : q.end-1])
		start = q.end
		w.tree.add(hash)
		w.leaves = append(w.leaves, hash[:]...)
		t := q.tenant
		if t == nil {
			continue
		}
		t.tree.add(hash)
		w.noteUncovered(t, 1)
	}
	w.log.recycle(b)
}

// noteUncovered puts a tenant that has new events without a head leaf on the lists that lead to one.
func (w *writer) noteUncovered(t *tenantState, added int64) {
	n := t.uncovered()
	if n > 0 && n <= added {
		w.open = append(w.open, t)
	}
	if n >= int64(w.log.opts.HeadEvery) {
		w.needHead(t)
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

// sweep makes every tenant with uncovered events due for a head leaf.
func (w *writer) sweep() {
	for _, t := range w.open {
		w.needHead(t)
	}
	w.open = w.open[:0]
}

func (w *writer) needHead(t *tenantState) {
	if !t.due && t.uncovered() > 0 {
		t.due = true
		w.due = append(w.due, t)
	}
}

// heads returns a batch with the head leaves that are due, or nil.
func (w *writer) heads() (*batch, error) {
	if len(w.due) == 0 {
		return nil, nil
	}
	b := &batch{done: make(chan struct{})}
	for _, t := range w.due {
		line, err := w.log.enc.tenantHead(b.buf, t.id, t.tree.size, t.tree.root())
		if err != nil {
			return nil, err
		}
		b.buf = line
		b.events = append(b.events, queued{len(b.buf), nil})
		t.due, t.covered = false, t.tree.size
	}
	w.due = w.due[:0]
	return b, nil
}

// own returns a batch with one event of the log itself. Nothing may be pending between this and its writing.
func (w *writer) own(code Code, status Status, reason string) (*batch, error) {
	line, err := w.log.enc.event(nil, &Event{Code: code, Phase: Single, Status: status, Reason: reason})
	if err != nil {
		return nil, err
	}
	l := w.log
	l.mu.Lock()
	t := l.tenants[tenant.ID{}]
	if t == nil {
		t = &tenantState{}
		l.tenants[tenant.ID{}] = t
	}
	t.assigned = t.tree.size + 1
	l.mu.Unlock()
	line = append(strconv.AppendInt(line, t.tree.size+1, 10), lineEnd...)
	return &batch{buf: line, events: []queued{{len(line), t}}, done: make(chan struct{})}, nil
}

// noteFullDisk leaves an audit.stopping event in a log that failed because the disk is full, in the space that the
// reserve has kept for it. It does so on new descriptors, behind what is known to be well; where that fails too, the
// log is left as it is.
func (w *writer) noteFullDisk(cause error) {
	var failed *writeError
	if !errors.As(cause, &failed) || !isFull(cause) {
		return
	}
	if w.disk.fs.Remove(filepath.Join(w.log.dir, reserveName)) != nil || w.disk.renew() != nil {
		return
	}
	stop, err := w.own(CodeLogStopping, Failure, "the disk is full")
	if err == nil && w.write(stop) == nil {
		w.seal() // there is nobody left to tell of an error
	}
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// remedy says what to do about a failure.
func remedy(cause error) string {
	if isFull(cause) {
		return "free space on the disk, then close the log and open it again"
	}
	return "see to the disk, then close the log and open it again"
}
