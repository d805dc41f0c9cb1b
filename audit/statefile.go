package audit

import (
	"crypto/sha256"
	"maps"
	"path/filepath"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
	"github.com/strongroom-go/strongroom/tenant"
)

// saveState writes the state under the newest checkpoint, if enough has been recorded since the last one. It signs on the
// writer's goroutine, and encodes and writes beside it: with very many tenants either takes longer than an event may wait. A state
// that cannot be written is no failure of the log: opening reads more.
func (w *writer) saveState(closed bool) {
	l := w.log
	l.mu.Lock()
	every := max(l.opts.stateEvents, 4*int64(len(l.tenants)))
	if closed {
		every = min(every, closingEvents)
	}
	if w.tree.size-w.stated < every || w.last.tree.N != w.tree.size {
		l.mu.Unlock()
		return
	}
	tenants := make([]*tenantState, 0, len(l.tenants))
	for _, t := range l.tenants {
		tenants = append(tenants, t)
	}
	l.mu.Unlock()
	if closed {
		w.saving.Wait()
	} else if !w.busy.CompareAndSwap(false, true) {
		return // the disk is slower than the events
	}
	s := &state{checkpoint: w.last, tree: w.tree.clone(), stateHead: stateHead{
		Segments: w.disk.segments, Lines: w.disk.lines.size, Checkpoints: w.lacks + w.disk.checkpoints.size, Closed: closed,
		Summary: w.summary.pack(&w.tree), Streams: maps.Clone(w.log.streams),
	}}
	if w.chain != nil {
		s.Chain, s.Position = w.chain.nonce, w.chain.position
	}
	w.stated = w.tree.size
	ends := tenantEnds(tenants)
	w.saving.Go(func() {
		body, err := s.encodeHead()
		if err != nil {
			w.busy.Store(false)
			return
		}
		w.encoded <- encodeState(body, ends)
	})
	if closed {
		w.saving.Wait()
		w.signState()
		w.saving.Wait()
	}
}

// tenantEnd is what the state has of a tenant. Its frontier is shared with the tenant's until that has another event.
type tenantEnd struct {
	id      tenant.ID
	covered int64
	tree    frontier
}

// tenantEnds returns those of tenants that have events.
func tenantEnds(tenants []*tenantState) []tenantEnd {
	ends := make([]tenantEnd, 0, len(tenants))
	for _, t := range tenants {
		if t.tree.size > 0 { // otherwise nothing of theirs is written yet
			t.shared = true
			ends = append(ends, tenantEnd{t.id, t.covered, t.tree})
		}
	}
	return ends
}

// encodedState is the body of a state, and its SHA-256.
type encodedState struct {
	body []byte
	sum  [sha256.Size]byte
}

// encodeState does beside the writer what grows with the tenants. What grows with the streams, encodeHead does, of a copy of them.
func encodeState(body []byte, tenants []tenantEnd) encodedState {
	for i := range tenants {
		body = tenants[i].appendTo(body)
	}
	return encodedState{body, sha256.Sum256(body)}
}

// signState signs a state that was encoded, if there is one, and has it written beside the writer.
func (w *writer) signState() {
	select {
	case e := <-w.encoded:
		w.writeState(e)
	default:
	}
}

func (w *writer) writeState(e encodedState) {
	l := w.log
	front, err := signSum(w.signer, stateText, int64(len(e.body)), e.sum[:])
	if err != nil {
		w.busy.Store(false)
		return
	}
	w.beside(func() {
		defer w.busy.Store(false)
		writeState(l.opts.fs, l.dir, append(front, e.body...))
	})
}

// beside calls f beside the writer, behind what it was given before: a state that is on the disk says that the summaries of the
// segments before are, too, unless they could not be written.
func (w *writer) beside(f func()) {
	before, done := w.saved, make(chan struct{})
	w.saved = done
	w.saving.Go(func() {
		defer close(done)
		if before != nil {
			<-before
		}
		f()
	})
}

func writeState(fsys vfs.FS, dir string, content []byte) error {
	if err := writeAtomic(fsys, filepath.Join(dir, stateName), content); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

// resume makes replay go on from a state.
func (r *replay) resume(s *state) {
	n := s.checkpoint.tree.N
	first := s.Segments[len(s.Segments)-1]
	r.tree, r.tenants = s.tree, s.tenants
	if s.Streams != nil {
		r.streams = s.Streams
	}
	r.sealed, r.requiredN = s.checkpoint, n
	if r.nonce = s.Chain; s.Closed {
		r.lastCode = CodeLogStopping
	}
	r.end = sealedEnd{r.lastCode, s.Chain, s.Position}
	r.batches = batchReader{position: s.Position}
	r.tail.first, r.tail.size, r.tail.sealed = first, s.Lines, s.Lines
	if p := s.Summary; p.plausible(first, n) {
		r.summary = p.unpack(&r.tree)
	}
	r.resumed = &resumed{first: first, lines: s.Lines, leaves: n - first}
}

// resumed is where reading begins that goes on from a state: in the segment that begins with first, behind so many bytes
// and leaf hashes.
type resumed struct{ first, lines, leaves int64 }
