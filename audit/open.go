package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// OpenLog opens the log in dir, or creates one where dir is missing or empty; opts may be nil. Close it when done.
//
// Opening reads and checks what was recorded since the log's state was last written, which is every 100,000 events and
// when it is closed; [Verify] reads all. Behind the end of a log that was closed nothing may stand. Of a log that was not
// closed, every batch behind the last checkpoint must authenticate itself; what a write cut short left behind them, which nobody was ever told was
// recorded, is cut off, and an audit.recovered event says how much. Events of a log without such authentication, which
// an earlier release or a signer that cannot have it left, are kept, and that event says for ever that nothing
// authenticates them. Anything else that is not as it was written is an error that wraps [ErrTampered], and nothing is
// changed. Creating a log either succeeds or leaves nothing behind. Every error names what is wrong and what to do.
func OpenLog(dir string, opts *Options) (*Log, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	undo := &undo{fs: o.fs}
	if err := makeDirs(o.fs, filepath.Clean(dir), undo); err != nil {
		return nil, errors.Join(fmt.Errorf("audit: cannot make the log's directory: %w; see to its parent's permissions", err), undo.run())
	}
	lockPath := filepath.Join(dir, lockName)
	_, statErr := o.fs.Lstat(lockPath)
	lock, err := o.fs.Lock(lockPath)
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("audit: the log in %s is in use: %w by another process or another Log in this one; give each process a directory of its own", dir, err)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("audit: cannot lock the log in %s: %w; the directory must be writable for this process", dir, err), undo.run())
	}
	if errors.Is(statErr, fs.ErrNotExist) {
		undo.remove(lockPath)
	}
	l := newLog(dir, o)
	l.lock.lock = lock
	err = l.open(undo)
	if err != nil {
		l.telemetry.Close()
		// The names go first: while the lock is held, nobody else can have begun a log there.
		return nil, errors.Join(err, undo.run(), l.lock.close())
	}
	return l, nil
}

func (l *Log) open(undo *undo) error {
	c, err := readConfig(l.opts.fs, l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return l.create(undo)
	}
	if err != nil {
		return err
	}
	undo.keep()
	if l.opts.Origin != "" && l.opts.Origin != c.Origin {
		return fmt.Errorf("audit: the log in %s is %q and Options.Origin is %q; leave Origin empty or use another directory", l.dir, c.Origin, l.opts.Origin)
	}
	return l.reopen(c)
}

// reopen goes on with a log that exists.
func (l *Log) reopen(c config) error {
	fsys := l.opts.fs
	// The key that goes on is its own only witness: whoever can write to the log's files can put others before it.
	own, err := verifierList(c.Verifiers[len(c.Verifiers)-1:], c.Origin)
	if err != nil {
		return err
	}
	w, err := l.writer(c)
	if err != nil {
		return err
	}
	r := &replay{fs: fsys, dir: l.dir, origin: c.Origin, verifiers: own, chained: true, fromState: own,
		chain: func(nonce string) (*chain, error) { return openChain(w.signer, nonce) }, whole: w.missed(own)}
	if err := r.run(context.Background()); err != nil {
		if errors.Is(err, ErrTampered) {
			err = fmt.Errorf("%w; nothing was changed: verify a copy of %s, keep it as evidence, and begin a new log in another directory", err, l.dir)
		}
		return err
	}
	if err := ensureReserve(fsys, l.dir, l.opts.ReserveBytes); err != nil {
		return err
	}
	w.stated = r.stated
	w.tree, w.last, w.lacks = r.tree, r.sealed, r.lacks
	w.disk, err = openDisk(fsys, l.dir, r.tail.first, r.tail.size, r.sealedLeaves()*tlog.HashSize, r.cpEnd, os.O_CREATE)
	if err != nil {
		return fmt.Errorf("audit: cannot open the log in %s for writing: %w", l.dir, err)
	}
	w.disk.segments = r.segments
	w.summary = r.summary
	l.streams = r.streams
	for _, t := range r.tenants {
		t.assigned = t.tree.size
		l.tenants[t.id] = t
		w.noteUncovered(t, t.tree.size)
	}
	if err := w.repair(r); err != nil {
		return errors.Join(err, w.disk.close())
	}
	if err := l.begin(w, recovery(r)); err != nil {
		return errors.Join(fmt.Errorf("audit: cannot begin to record in %s: %w; %s", l.dir, err, remedy(err)), w.disk.close())
	}
	l.start(w)
	return nil
}

// writer returns a writer without its disk.
func (l *Log) writer(c config) (*writer, error) {
	signer, err := openSigner(l.opts.fs, l.dir, c, &l.opts)
	if err != nil {
		return nil, err
	}
	pseudonym, err := openPseudonymKey(l.opts.fs, l.dir)
	if err != nil {
		return nil, err
	}
	// Read first: where locks are mandatory, nobody reads a file that is locked.
	if l.lock.key, err = l.opts.fs.Lock(filepath.Join(l.dir, pseudonymName)); err != nil {
		return nil, fmt.Errorf("audit: the log in %s is in use, although its %s was removed or replaced: %s: %w; close the process that has it open", l.dir, lockName, pseudonymName, err)
	}
	if err := l.observe(l.opts.Telemetry, c.Origin); err != nil {
		return nil, fmt.Errorf("audit: Options.Telemetry: %w", err)
	}
	l.key = c.Verifiers[len(c.Verifiers)-1]
	l.enc = newEncoder(c.Origin, l.opts.Service, l.opts.now, pseudonym)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return &writer{log: l, signer: signer, hasher: newLeafHasher(), swept: l.opts.now(), sync: timer, encoded: make(chan encodedState, 1)}, nil
}

// recovery is the event about what a log that was not closed looked like, or nil for one that was.
func recovery(r *replay) *Event {
	unproven := r.unproven()
	if r.lastCode == CodeLogStopping && r.tail.torn == 0 && unproven.Count == 0 {
		return nil
	}
	reason := fmt.Sprintf("the log had not been closed; cut off: %d bytes of unfinished events, %d of leaf hashes, %d of checkpoints; not yet under a checkpoint: %d events",
		r.tail.torn, r.tail.stray, r.cpTorn, r.tree.size-r.sealed.tree.N)
	if r.tail.dropped > 0 {
		reason += fmt.Sprintf("; whole lines of events among what was cut off: %d", r.tail.dropped)
	}
	if unproven.Count > 0 {
		reason += fmt.Sprintf("; not authenticated: %d events from index %d on", unproven.Count, unproven.First)
	}
	return &Event{Code: CodeLogRecovered, Status: Success, Reason: reason, own: own{unproven: unproven}}
}

// begin records that the log is open, and seals that. It is one batch, and no tag authenticates it: if it is never
// sealed, the next opening cuts it off.
func (l *Log) begin(w *writer, recovered *Event) error {
	next, err := newChain(w.signer)
	if err != nil && err != errNoChain {
		return err
	}
	started := &Event{Code: CodeLogStarted, Status: Success, Reason: "opened, " + l.opts.Durability.String()}
	if next != nil {
		started.own.chain = next.nonce
	}
	if recovered != nil {
		if err := w.own(recovered); err != nil {
			return err
		}
	}
	if err := w.own(started); err != nil {
		return err
	}
	err = w.write(&w.batch)
	w.batch.reset()
	if err != nil {
		return err
	}
	if err := w.seal(); err != nil {
		return err
	}
	w.chain = next
	return nil
}

// repair brings the files to where replay found all well. Events that no checkpoint seals yet may be in the kernel's
// memory alone, and if writing them back once failed, the kernel would not try again: so they are written again, in
// place and with the same bytes, before anything is signed.
func (w *writer) repair(r *replay) error {
	d := w.disk
	// The lines last: while they are there, what else is unfinished is known for what it is.
	for _, a := range []*appender{&d.checkpoints, &d.leaves, &d.lines} {
		if err := cut(a.f, a.size); err != nil {
			return fmt.Errorf("audit: cutting the unfinished end of %s: %w; %s", a.name, err, remedy(err))
		}
	}
	for _, name := range r.unused {
		if err := ignoreMissing(d.fs.Remove(name)); err != nil {
			return fmt.Errorf("audit: removing a segment that was begun and never written to: %w", err)
		}
	}
	if err := rewrite(d.fs, d.lines.name, r.tail.sealed, r.tail.size); err != nil {
		return fmt.Errorf("audit: making the last events in %s durable: %w; %s", d.lines.name, err, remedy(err))
	}
	missing, err := w.missingLeaves(r)
	if err != nil {
		return err
	}
	w.leaves = missing
	if err := w.flushLeaves(); err != nil {
		return fmt.Errorf("audit: completing %s: %w; %s", d.leaves.name, err, remedy(err))
	}
	if err := d.fs.SyncDir(filepath.Join(w.log.dir, segmentsName)); err != nil {
		return fmt.Errorf("audit: syncing the segments' directory: %w", err)
	}
	return nil
}

// missingLeaves returns the hashes of the last segment's lines that no checkpoint seals: whatever the file has of them
// is written anew.
func (w *writer) missingLeaves(r *replay) ([]byte, error) {
	f, err := w.disk.fs.OpenFile(w.disk.lines.name, os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	defer f.Close()
	lines := newLineReader(io.NewSectionReader(f, r.tail.sealed, r.tail.size-r.tail.sealed))
	var leaves []byte
	for {
		line, err := lines.next()
		if err == io.EOF {
			return leaves, nil
		}
		if err != nil {
			return nil, fmt.Errorf("audit: reading %s: %w", w.disk.lines.name, err)
		}
		hash := w.hasher.leaf(line[:len(line)-1])
		leaves = append(leaves, hash[:]...)
	}
}

// rewrite writes the bytes of a file from from to to again, and syncs the file.
func rewrite(fsys vfs.FS, name string, from, to int64) error {
	f, err := fsys.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	buf := make([]byte, min(1<<20, max(to-from, 1)))
	for err == nil && from < to {
		part := buf[:min(int64(len(buf)), to-from)]
		if _, err = f.ReadAt(part, from); err == nil {
			_, err = f.WriteAt(part, from)
		}
		from += int64(len(part))
	}
	if err == nil {
		err = f.Datasync()
	}
	return errors.Join(err, f.Close())
}
