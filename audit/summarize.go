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
	if err := j.waiting(); err != nil {
		return err
	}
	segments := slices.DeleteFunc(slices.Clone(j.segments), func(first int64) bool { return first < j.done.First })
	settled, nodes := 0, make([][]byte, len(segments))
	for ; settled+1 < len(segments) && segments[settled+1] < j.sealed.N; settled++ {
		if err := j.ctx.Err(); err != nil {
			return err
		}
		if p, err := readSummary(l.opts.fs, l.dir, j.signer.Name(), own, segments[settled], segments[settled+1]); err == nil {
			nodes[settled] = p.Nodes
		}
	}
	deleted, err := j.recorded()
	if err != nil {
		return err
	}
	by := summaries{dir: l.dir, origin: j.signer.Name(), verifiers: own, sealed: j.sealed}
	by.bind(j.ctx, segments, deleted, nodes) // what is of another life of the log is not there, and is made anew
	missing := map[int64]bool{}
	for i, first := range segments[:settled] {
		if nodes[i] == nil {
			missing[first] = true
		}
	}
	stuck := l.stuck.retry(missing, segments[settled], j.write)
	if len(missing) == 0 {
		return stuckError(stuck)
	}
	made := len(missing)
	read := &replay{fs: l.opts.fs, dir: l.dir, origin: j.signer.Name(), verifiers: own, until: segments[settled]}
	var wait []*packedSummary // for a checkpoint behind them
	flush := func(sealed int64) error {
		for len(wait) > 0 && wait[0].end() <= sealed {
			switch unwritten, err := j.writeSummary(wait[0]); {
			case err != nil:
				return err
			case stuck == nil: // reading goes on: what is made is kept until it can be written
				stuck = unwritten
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
		return fmt.Errorf("making the summaries of %d segments: %w", made, err)
	}
	if err := flush(read.until); err != nil {
		return err
	}
	return stuckError(stuck)
}

// waiting waits for those that the writer has and is to write, of segments that the call is about: on a slow disk others may come as fast
// as these are written.
func (j *retaining) waiting() error {
	for more := true; more; {
		var saved chan struct{}
		err := j.log.do(j.ctx, func(w *writer) {
			w.saveSummaries(signingSummaries)
			more, saved = w.summarized.due(j.sealed.N), w.saved
		})
		if err != nil {
			return err
		}
		if saved == nil {
			continue
		}
		select {
		case <-saved:
		case <-j.ctx.Done():
			return j.ctx.Err()
		}
	}
	return nil
}

// stuckError is about summaries that could not be written.
func stuckError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("audit: writing the summary of a segment: %w; readers read more until that is mended, and then the next time writes it", err)
}

// writeSummary has the writer sign a summary, and writes it. One that cannot be written is kept.
func (j *retaining) writeSummary(p *packedSummary) (stuck, err error) {
	var file summaryFile
	if unasked := j.log.do(j.ctx, func(w *writer) { file, err = p.sign(w.signer) }); unasked != nil || err != nil {
		return nil, errors.Join(unasked, err)
	}
	if stuck = j.write(file); stuck != nil {
		j.log.stuck.put(file)
	}
	return stuck, nil
}

// write writes a summary.
func (j *retaining) write(file summaryFile) (err error) {
	writeSummaries(j.log.opts.fs, j.log.dir, []summaryFile{file}, func(_ summaryFile, because error) { err = because })
	return err
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
