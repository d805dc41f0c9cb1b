package audit

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// summarize gives those segments a summary that have none: of a log that an earlier release wrote, or of which one was taken away.
// What a signed summary says must be certain, so all events are read and checked for it, and the signature of each checkpoint: that of
// the newest, which vouches for all, would come too late.
func (j *retaining) summarize() error {
	l := j.log
	own, err := verifierList([]string{l.key}, j.signer.Name())
	if err != nil {
		return err
	}
	// Those that the writer has are on their way.
	var saved chan struct{}
	if err := l.do(j.ctx, func(w *writer) { w.saveSummaries(); saved = w.saved }); err != nil {
		return err
	}
	if saved != nil {
		<-saved
	}
	segments := slices.DeleteFunc(slices.Clone(j.segments), func(first int64) bool { return first < j.done.First })
	settled, missing := 0, map[int64]bool{}
	for ; settled+1 < len(segments) && segments[settled+1] < j.sealed; settled++ {
		if err := j.ctx.Err(); err != nil {
			return err
		}
		first, end := segments[settled], segments[settled+1]
		if _, err := readSummary(l.opts.fs, l.dir, j.signer.Name(), own, first, end); err != nil {
			missing[first] = true
		}
	}
	if len(missing) == 0 {
		return nil
	}
	read := &replay{fs: l.opts.fs, dir: l.dir, origin: j.signer.Name(), verifiers: own, until: segments[settled]}
	var wait []*packedSummary // for a checkpoint behind them
	flush := func(sealed int64) error {
		for len(wait) > 0 && wait[0].end() <= sealed {
			if err := j.writeSummary(wait[0]); err != nil {
				return err
			}
			wait = wait[1:]
		}
		return nil
	}
	read.whole = func(first int64, p *packedSummary) error {
		if p != nil && missing[first] {
			wait = append(wait, p)
		}
		return flush(read.sealed.tree.N)
	}
	if err := read.run(j.ctx); err != nil {
		return fmt.Errorf("making the summaries of %d segments: %w", len(missing), err)
	}
	return flush(read.until)
}

// writeSummary has the writer sign a summary, and writes it.
func (j *retaining) writeSummary(p *packedSummary) error {
	var file summaryFile
	var err error
	if unasked := j.log.do(j.ctx, func(w *writer) { file, err = p.sign(w.signer) }); unasked != nil || err != nil {
		return errors.Join(unasked, err)
	}
	if err := writeSummaries(j.log.opts.fs, j.log.dir, []summaryFile{file}); err != nil {
		return fmt.Errorf("audit: writing the summary of a segment: %w", err)
	}
	return nil
}

// clearSummaries deletes those of the segments before an index. One that is in the way of that keeps no other.
func (j *retaining) clearSummaries(index int64) (stuck error) {
	fsys, dir := j.log.opts.fs, filepath.Join(j.log.dir, summariesName)
	entries, err := fsys.ReadDir(dir)
	if err := ignoreMissing(err); err != nil {
		return fmt.Errorf("audit: listing the summaries of segments: %w", err)
	}
	for _, e := range entries {
		first, err := parseFirst(strings.TrimSuffix(e.Name(), temporary))
		if err != nil || first >= index {
			continue
		}
		if err := ignoreMissing(fsys.Remove(filepath.Join(dir, e.Name()))); err != nil && stuck == nil {
			stuck = fmt.Errorf("audit: deleting the summary of a segment that was deleted: %w", err)
		}
	}
	return stuck
}
