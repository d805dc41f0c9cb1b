package audit

import (
	"context"
	"fmt"
	"iter"
)

// ReadVerified returns the entries of the logs that [Verify] reported on, by time as [ReadAll] does: of each log the events
// that the report is about, and none that came later. It hashes what it reads, and where that is not what was verified, since somebody
// changed the files in between, the sequence ends with an error that wraps [ErrTampered]; until then nothing tells the entries
// that were returned from genuine ones. A report with an error beside it is good as far as it goes.
func ReadVerified(ctx context.Context, reports []*Report, filter *Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := filter.check(); err != nil {
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
		hasher, more := newLeafHasher(), tree.size < r.Head.Size
		take := func(e Entry, err error) bool {
			if err != nil {
				more = false
				yield(e, err)
				return false
			}
			tree.add(hasher.leaf(e.Raw))
			if filter.match(&e) && !yield(e, nil) {
				more = false
				return false
			}
			return tree.size < r.Head.Size
		}
		all := &Filter{}
		if filter != nil {
			all.Progress = filter.Progress
		}
		if more {
			if readSegments(ctx, r.Dir, segments, r.Head.Size, all, take); !more {
				return
			}
		}
		if tree.size != r.Head.Size || tree.root() != r.Head.Root {
			yield(Entry{}, &TamperError{segmentsName, -1, "its events are not those that were verified just before: somebody changed the files in between"})
		}
	}
}
