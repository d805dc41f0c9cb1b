package audit

// headsPerCommit bounds the head leaves of one write, some 200 KiB: however many tenants are due, an event waits for
// one such write and not for all of them.
const headsPerCommit = 256

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

// sweep makes every tenant with uncovered events due for a head leaf.
func (w *writer) sweep() {
	for _, t := range w.open {
		w.needHead(t)
	}
	w.open = nil
}

func (w *writer) needHead(t *tenantState) {
	if !t.due && t.uncovered() > 0 {
		t.due = true
		w.due = append(w.due, t)
		w.log.headsDue.Add(1)
	}
}

// addHeads adds head leaves that are due to the batch, which is empty.
func (w *writer) addHeads(b *batch) error {
	limit := min(maxBatch, int(w.log.opts.SegmentBytes)-spare) / 4
	n := 0
	for n < len(w.due) && n < headsPerCommit && (n == 0 || len(b.buf) < limit) {
		t := w.due[n]
		line, err := w.log.enc.tenantHead(b.buf, t.id, t.tree.size, t.tree.root())
		if err != nil {
			return err
		}
		b.buf = line
		b.lines = append(b.lines, batchLine{end: len(b.buf), about: subject{CodeLogHead, t.id.String()}})
		t.due, t.covered = false, t.tree.size
		n++
	}
	if w.due = w.due[n:]; len(w.due) == 0 {
		w.due = nil
	}
	w.log.headsDue.Add(-int64(n))
	return nil
}
