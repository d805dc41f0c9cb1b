package audit

import (
	"context"
	"fmt"
	"iter"
)

// ReadVerified returns the entries of the logs that [Verify] reported on, by time as [ReadAll] does: of each log the events
// that the report is about, and none that came later. It hashes what it reads, and where that is not what was verified, since somebody
// changed the files in between, the sequence ends with an error that wraps [ErrTampered]; until then nothing tells the entries
// that were returned from genuine ones. Of segments in which Verify saw nothing that filter selects, it reads the leaf hashes alone. A report with an error beside it is good as far as it goes.
func ReadVerified(ctx context.Context, reports []*Report, filter *Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := filter.Check(); err != nil {
			yield(Entry{}, err)
			return
		}
		dirs := map[string]string{}
		var logs []iter.Seq2[Entry, error]
		filters := filter.share(len(reports))
		for i, r := range reports {
			if other, twice := dirs[r.Origin]; twice {
				yield(Entry{}, sameLog(other, r.Dir, r.Origin))
				return
			}
			dirs[r.Origin] = r.Dir
			logs = append(logs, readVerified(ctx, r, filters[i]))
		}
		merge(logs, yield)
	}
}

func readVerified(ctx context.Context, r *Report, filter *Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		segments, deleted, err := retained(r.Dir, nil, nil) // the tree that it ends with must be the report's
		if err == nil && deleted.first() != r.Deleted {
			err = fmt.Errorf("audit: %s: events were deleted by retention after the log was verified; verify it again", r.Dir)
		}
		if err != nil {
			yield(Entry{}, err)
			return
		}
		var tree frontier
		if deleted != nil {
			tree = deleted.tree.clone()
		}
		hasher, more, stopped := newLeafHasher(), tree.size < r.Head.Size, false
		take := func(e Entry, err error) bool {
			if err != nil {
				stopped = true
				yield(e, err)
				return false
			}
			tree.add(hasher.leaf(e.Raw))
			stopped = filter.match(&e) && !yield(e, nil)
			return !stopped && tree.size < r.Head.Size
		}
		all := &Filter{}
		if filter != nil {
			all.Progress = filter.Progress
		}
		skip := r.skipped(segments, filter)
		filter.tellSkipped(skip)
		m := newMeter(all, r.Dir, segments, skip)
		defer m.tell()
		for i := 0; i < len(segments) && more; i++ {
			if !skip[i] {
				more = readSegment(ctx, r.Dir, segments[i], i == len(segments)-1, r.Head.Size, all, m, take)
			} else if _, err := readLeafFile(ctx, leavesPath(r.Dir, segments[i]), segments[i], segments[i], segments[i+1], tree.add); err != nil {
				yield(Entry{}, shortened(r.Dir, nil, deleted, err))
				return
			} else {
				more = tree.size < r.Head.Size // what is behind it came later
			}
		}
		if stopped {
			return
		}
		if tree.size != r.Head.Size || tree.root() != r.Head.Root {
			yield(Entry{}, &TamperError{segmentsName, -1, "its events are not those that were verified just before: somebody changed the files in between"})
		}
	}
}

// skipped tells of each segment whether the filter selects nothing in it, going by what Verify itself read there. The leaf hashes show
// that it is that segment still.
func (r *Report) skipped(segments []int64, filter *Filter) []bool {
	skip := make([]bool, len(segments))
	if !filter.selective() {
		return skip
	}
	for i := range skip[:len(skip)-1] {
		p := r.segments[segments[i]]
		skip[i] = p.plausible(segments[i], segments[i+1]) && p.excludes(filter)
	}
	return skip
}
